//! `wait`: until a container has ended or is gone.

use ferry_errkind::Failure;
use ferry_model::container::{Phase, WaitCondition, WaitOutcome};
use tokio::sync::watch;

use crate::{Engine, registry::Snapshot};

/// A wait that has begun: everything that happens from now on is seen.
#[derive(Debug)]
pub struct Wait {
    condition: WaitCondition,
    exits: u64,
    snapshots: watch::Receiver<Snapshot>,
}

/// Begins to wait. The caller can tell its client so (Docker's clients start the container only then), and call
/// [`Wait::finish`].
///
/// # Errors
/// No such container.
pub async fn wait(engine: &Engine, name: &str, condition: WaitCondition) -> Result<Wait, Failure> {
    let handle = engine.shared.containers.find(name)?;
    let exits = handle.snapshot.borrow().exits;
    Ok(Wait { condition, exits, snapshots: handle.snapshot })
}

impl Wait {
    /// Returns when the condition holds.
    pub async fn finish(mut self) -> WaitOutcome {
        let (condition, before) = (self.condition, self.exits);
        let holds = |snapshot: &Snapshot| match condition {
            WaitCondition::NotRunning => !matches!(
                snapshot.container.state.phase,
                Phase::Running | Phase::Paused | Phase::Restarting
            ),
            WaitCondition::NextExit => snapshot.exits > before || snapshot.failed_start.is_some(),
            WaitCondition::Removed => false,
        };
        // An error means that the container is gone, which ends every wait.
        self.snapshots.wait_for(holds).await.ok();
        let last = self.snapshots.borrow();
        // Whoever waits for the removal learns why it never ran from `start`.
        let error = match condition {
            WaitCondition::Removed => None,
            _ => last.failed_start.as_deref().map(str::to_owned),
        };
        WaitOutcome { exit_code: last.last_exit, error }
    }
}
