//! Services in the order of their dependencies, side by side where nothing stands between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
};

use ferry_cli::face::CliError;
use futures_util::future::try_join_all;
use tokio::sync::watch;

use crate::model::Project;

/// Runs `act` for each name, after those that it comes after. The first failure ends all.
pub(crate) async fn in_order<F, Fut>(
    after: &BTreeMap<String, BTreeSet<String>>,
    act: F,
) -> Result<(), CliError>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<(), CliError>>,
{
    let done: BTreeMap<&String, watch::Sender<bool>> =
        after.keys().map(|name| (name, watch::channel(false).0)).collect();
    let jobs = after.iter().map(|(name, before)| {
        let mut waits: Vec<watch::Receiver<bool>> =
            before.iter().filter_map(|other| Some(done.get(other)?.subscribe())).collect();
        let (act, done) = (&act, &done);
        async move {
            for wait in &mut waits {
                // The sender lives as long as this does.
                drop(wait.wait_for(|done| *done).await);
            }
            act(name.clone()).await?;
            if let Some(sender) = done.get(name) {
                sender.send_replace(true);
            }
            Ok(())
        }
    });
    try_join_all(jobs).await.map(drop)
}

/// The other direction: what is stopped first.
pub(crate) fn reversed(
    after: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut back: BTreeMap<String, BTreeSet<String>> =
        after.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
    for (name, before) in after {
        for other in before {
            if let Some(list) = back.get_mut(other) {
                list.insert(name.clone());
            }
        }
    }
    back
}

/// Services with those first that others depend on.
pub(crate) fn sorted(project: &Project, names: &BTreeSet<String>) -> Vec<String> {
    let mut after = super::dependencies(project, names);
    let mut order = Vec::new();
    while !after.is_empty() {
        let ready: Vec<String> = after
            .iter()
            .filter(|(_, before)| before.iter().all(|other| !after.contains_key(other)))
            .map(|(name, _)| name.clone())
            .collect();
        if ready.is_empty() {
            // A circle, which the loader refuses.
            break;
        }
        for name in ready {
            after.remove(&name);
            order.push(name);
        }
    }
    order
}
