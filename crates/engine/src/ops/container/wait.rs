//! `wait`: until a container has ended or is gone.

use std::sync::Arc;

use ferry_errkind::Failure;
use ferry_model::container::{Phase, WaitCondition, WaitOutcome};
use tokio::sync::watch;

use crate::{Engine, registry::Snapshot};

/// A wait that has begun: everything that happens from now on is seen.
#[derive(Debug)]
pub struct Wait {
    condition: WaitCondition,
    exits: u64,
    /// The start that had failed already.
    failed_start: Option<Arc<str>>,
    snapshots: watch::Receiver<Snapshot>,
}

/// Begins to wait. The caller can tell its client so (Docker's clients start the container only then), and call
/// [`Wait::finish`].
///
/// # Errors
/// No such container.
pub async fn wait(engine: &Engine, name: &str, condition: WaitCondition) -> Result<Wait, Failure> {
    let handle = engine.shared.containers.find(name)?;
    let Snapshot { exits, failed_start, .. } = handle.snapshot.borrow().clone();
    Ok(Wait { condition, exits, failed_start, snapshots: handle.snapshot })
}

impl Wait {
    /// Returns when the condition holds.
    pub async fn finish(mut self) -> WaitOutcome {
        let Wait { condition, exits: before, ref failed_start, ref mut snapshots } = self;
        // Each failure has a text of its own, also when the words are the same.
        let failed = |snapshot: &Snapshot| match (&snapshot.failed_start, failed_start) {
            (Some(now), Some(before)) => !Arc::ptr_eq(now, before),
            (now, _) => now.is_some(),
        };
        let holds = |snapshot: &Snapshot| match condition {
            // An end ends the wait also where a policy or `restart` brings the container back, as Docker has it: else whoever
            // looks late would miss it, and of a container that always comes back nobody would learn.
            WaitCondition::NotRunning => {
                let phase = snapshot.container.state.phase;
                let ended = !phase.is_running() && phase != Phase::Restarting;
                ended || snapshot.exits > before
            }
            WaitCondition::NextExit => snapshot.exits > before || failed(snapshot),
            WaitCondition::Removed => false,
        };
        let outcome = |snapshot: &Snapshot| {
            // Whoever waits for the removal learns why it never ran from `start`.
            let error = match condition {
                WaitCondition::Removed => None,
                _ => snapshot.failed_start.as_deref().map(str::to_owned),
            };
            WaitOutcome { exit_code: snapshot.last_exit, error }
        };
        // It counts how things stood when the condition held: the container may be started again by now.
        if let Ok(held) = snapshots.wait_for(holds).await {
            return outcome(&held);
        }
        // The container is gone, which ends every wait.
        outcome(&snapshots.borrow())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferry_model::container::{Container, ContainerSpec};

    use super::*;

    fn snapshot(exits: u64, last_exit: i32, failed_start: Option<&Arc<str>>) -> Snapshot {
        let image = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let container =
            Container::new("0123456789abcdef".to_owned(), image, ContainerSpec::default());
        let failed_start = failed_start.cloned();
        Snapshot { container: Arc::new(container), exits, last_exit, failed_start }
    }

    #[tokio::test]
    async fn a_start_that_failed_before_ends_no_wait() {
        let words: Arc<str> = "no such directory".into();
        let (show, snapshots) = watch::channel(snapshot(0, 128, Some(&words)));
        let begin = || Wait {
            condition: WaitCondition::NextExit,
            exits: 0,
            failed_start: Some(Arc::clone(&words)),
            snapshots: snapshots.clone(),
        };
        let early = tokio::time::timeout(Duration::from_millis(20), begin().finish()).await;
        assert!(early.is_err(), "{early:?}");
        // It fails once more, in the same words.
        show.send_replace(snapshot(0, 127, Some(&words.to_string().into())));
        let outcome = WaitOutcome { exit_code: 127, error: Some(words.to_string()) };
        assert_eq!(begin().finish().await, outcome);
        show.send_replace(snapshot(1, 3, None));
        assert_eq!(begin().finish().await, WaitOutcome { exit_code: 3, error: None });
    }

    #[tokio::test]
    async fn an_end_counts_though_it_comes_back() {
        let in_phase = |exits, phase| {
            let mut snapshot = snapshot(exits, 3, None);
            Arc::make_mut(&mut snapshot.container).state.phase = phase;
            snapshot
        };
        for phase in [Phase::Running, Phase::Restarting] {
            let (show, snapshots) = watch::channel(in_phase(1, Phase::Restarting));
            let begin = || Wait {
                condition: WaitCondition::NotRunning,
                exits: 1,
                failed_start: None,
                snapshots: snapshots.clone(),
            };
            show.send_replace(in_phase(1, Phase::Running));
            let early = tokio::time::timeout(Duration::from_millis(20), begin().finish()).await;
            assert!(early.is_err(), "{early:?}");
            show.send_replace(in_phase(2, phase));
            assert_eq!(begin().finish().await, WaitOutcome { exit_code: 3, error: None });
        }
    }
}
