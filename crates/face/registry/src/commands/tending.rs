//! What a server does on its own: it collects garbage, and keeps a copy of its records in the bucket.

use std::{sync::Arc, time::Duration};

use ferry_cli::flags::Matches;
use ferry_errkind::chain;
use ferry_registry_store::{GcOptions, Rule, Store};

use super::seconds;
use crate::{control, journal::Audit};

/// What was pushed to a bucket since the last copy of the records is lost with the directory.
const COPY_EVERY: Duration = Duration::from_secs(20);

/// How to collect, and how often.
pub(super) fn options(matches: &Matches) -> (Duration, GcOptions) {
    let untagged = seconds(matches, "gc-untagged");
    let options = GcOptions {
        grace: seconds(matches, "gc-grace"),
        untagged: (untagged > 0).then_some(untagged),
        ..GcOptions::default()
    };
    (Duration::from_secs(seconds(matches, "gc-every")), options)
}

/// Collects now and then.
pub(super) async fn keep_tidy(
    store: Arc<Store>,
    audit: Arc<Audit>,
    (every, options): (Duration, GcOptions),
    rules: Vec<Rule>,
) {
    if every.is_zero() {
        return;
    }
    let rules = Arc::new(rules);
    loop {
        tokio::time::sleep(every).await;
        let (store, audit, rules) = (Arc::clone(&store), Arc::clone(&audit), Arc::clone(&rules));
        let options = options.clone();
        let work = move || control::collect(&store, Some(&audit), &options, &rules);
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(answer)) => tracing::info!(?answer.collected, "garbage collection"),
            Ok(Err(words)) => tracing::error!("garbage collection: {words}"),
            Err(error) => tracing::error!("garbage collection: {}", chain(&error)),
        }
    }
}

/// Has a copy of the records in the bucket soon after they change.
pub(super) async fn keep_records(store: Arc<Store>) {
    let mut saved = None;
    loop {
        let version = store.records_version().ok();
        if version != saved && save_records(Arc::clone(&store)).await {
            saved = version;
        }
        tokio::time::sleep(COPY_EVERY).await;
    }
}

/// Has a copy of the records in the bucket.
pub(super) async fn save_records(store: Arc<Store>) -> bool {
    match tokio::task::spawn_blocking(move || store.save_records()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!("no copy of the records is in the bucket: {}", chain(&error));
            false
        }
        Err(error) => {
            tracing::error!("no copy of the records is in the bucket: {}", chain(&error));
            false
        }
    }
}
