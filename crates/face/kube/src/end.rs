//! The end of pods: hooks, the stop in the right order, and what is left.

use std::{collections::BTreeSet, time::Duration};

use ferry_cli::face::CliError;
use ferry_client::{Client, path_segment};
use ferry_docker_api::ContainerSummary;
use tokio::task::JoinSet;

use crate::{
    exec, fill,
    infra::{KEEPER, PRE_STOP, SIDECAR},
    plan::{OWNER, PARENT, POD},
    play::{Player, is_missing, label},
};

/// How often volumes are tried that somebody has.
const ATTEMPTS: u32 = 10;

/// Whether it is a keeper that makes pods.
pub(crate) fn makes_more(one: &ContainerSummary) -> bool {
    matches!(label(one, KEEPER), "job" | "cron")
}

/// Removes everything of an object, and of the objects that it made; the pods that there were.
pub(crate) async fn everything(
    player: &Player<'_>,
    owner: &str,
) -> Result<BTreeSet<String>, CliError> {
    let mut pods = BTreeSet::new();
    let mut attempts = 0;
    loop {
        // A keeper goes before what it makes is counted; what it was about to make is there the next time.
        let mut all = player.having(OWNER, owner).await?;
        if !all.iter().any(makes_more) {
            all.extend(player.having(PARENT, owner).await?);
        } else {
            all.retain(makes_more);
        }
        pods.extend(all.iter().map(|one| label(one, POD).to_owned()));
        remove(player, &all).await?;
        if !all.is_empty() {
            continue;
        }
        match fill::remove_own(player, owner, None).await {
            // The last wish of a keeper that has ended may still be on its way.
            Err(_) if attempts < ATTEMPTS => attempts += 1,
            removed => return removed.map(|()| pods),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ends containers and removes them, as [`stop_all`] does it.
pub(crate) async fn remove(player: &Player<'_>, all: &[ContainerSummary]) -> Result<(), CliError> {
    for one in all.iter().filter(|one| !matches!(label(one, KEEPER), "" | "pod")) {
        // It would make new ones.
        remove_one(player, &one.id).await?;
    }
    stop_all(player, all).await?;
    for one in all {
        remove_one(player, &one.id).await?;
    }
    Ok(())
}

/// Ends containers of pods. Hooks run before; sidecars end after the others. Keepers stay, and keep no more than the network.
pub(crate) async fn stop_all(
    player: &Player<'_>,
    all: &[ContainerSummary],
) -> Result<(), CliError> {
    for keeper in all.iter().filter(|one| label(one, KEEPER) == "pod") {
        // What ends now is meant to; hooks still need it.
        let path = format!("/containers/{}/kill", path_segment(&keeper.id));
        player.client.post(path).query("signal", "HUP").done().await.ok();
    }
    for sidecars in [false, true] {
        let mut ending = JoinSet::new();
        for one in all {
            if label(one, KEEPER).is_empty() && (label(one, SIDECAR) == "1") == sidecars {
                let hook =
                    (label(one, PRE_STOP) == "1").then(|| format!("{}_pod", label(one, POD)));
                ending.spawn(stop(player.client.clone(), one.clone(), hook));
            }
        }
        while let Some(ended) = ending.join_next().await {
            ended.map_err(|error| CliError::new(error.to_string()))??;
        }
    }
    Ok(())
}

/// Stops a container, after its hook, which its pod's keeper runs.
pub(crate) async fn stop(
    client: Client,
    one: ContainerSummary,
    keeper: Option<String>,
) -> Result<(), CliError> {
    if let Some(keeper) = keeper.filter(|_| one.state == "running") {
        let name = one.names.iter().flatten().next();
        let name = name.map_or("", |name| name.trim_start_matches('/')).to_owned();
        let words = ["/ferry", "kube", "keep", "hook", &name].map(str::to_owned);
        // As in a cluster a hook that fails does not keep a container from ending.
        exec::run(&client, &keeper, &words).await.ok();
    }
    let path = format!("/containers/{}/stop", path_segment(&one.id));
    match client.post(path).done().await {
        Err(error) if !is_missing(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Removes a container, whatever it does.
pub(crate) async fn remove_one(player: &Player<'_>, id: &str) -> Result<(), CliError> {
    let path = format!("/containers/{}", path_segment(id));
    match player.client.delete(path).query("force", 1).query("v", 1).done().await {
        Err(error) if !is_missing(&error) => Err(error.into()),
        _ => Ok(()),
    }
}
