//! Holds the containers of a volume still while its content is read.
//!
//! A file in a container's run directory says that it is us who froze it: when the daemon dies meanwhile, the next one lets the
//! container go on ([`was_frozen`]).

use std::{fs, path::Path};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, MountKind, Phase};
use tokio::sync::oneshot;

use crate::{Shared, actor::Command, registry::Handle};

const MARK: &str = "frozen-for-its-volume";

/// Containers that are frozen until [`Frozen::thaw`].
#[derive(Debug, Default)]
pub(crate) struct Frozen(Vec<Handle>);

/// Freezes every container that runs and has the volume where it may write to it.
pub(crate) async fn freeze(shared: &Shared, volume: &str) -> Result<Frozen, Failure> {
    let mut frozen = Frozen::default();
    for handle in shared.containers.all() {
        let container = handle.container();
        if container.state.phase != Phase::Running || !writes_to(&container, volume) {
            continue;
        }
        let mark = shared.dirs.run(&container.id).join(MARK);
        if let Err(error) = fs::write(&mark, "") {
            frozen.thaw(shared).await;
            let words = format!("cannot freeze container {}: {error}", container.id);
            return Err(Failure::new(ErrorKind::Internal, words));
        }
        match ask(&handle, |reply| Command::Pause { reply }).await {
            Ok(()) => frozen.0.push(handle),
            // It has ended, or its user has frozen it: it writes nothing.
            Err(failure) if failure.kind() == ErrorKind::Conflict => drop(fs::remove_file(&mark)),
            Err(failure) => {
                fs::remove_file(&mark).ok();
                frozen.thaw(shared).await;
                return Err(failure);
            }
        }
    }
    Ok(frozen)
}

impl Frozen {
    /// Lets them go on.
    pub(crate) async fn thaw(self, shared: &Shared) {
        for handle in self.0 {
            if let Err(failure) = ask(&handle, |reply| Command::Unpause { reply }).await {
                tracing::warn!(id = %handle.id, %failure, "container stays frozen");
            }
            fs::remove_file(shared.dirs.run(&handle.id).join(MARK)).ok();
        }
    }
}

/// Whether the daemon before has frozen the container and died.
pub(crate) fn was_frozen(run_dir: &Path) -> bool {
    run_dir.join(MARK).exists()
}

/// Takes the mark away.
pub(crate) fn forget_frozen(run_dir: &Path) {
    fs::remove_file(run_dir.join(MARK)).ok();
}

fn writes_to(container: &Container, volume: &str) -> bool {
    let mut mounts = container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
    mounts.any(|mount| mount.rw && mount.name.as_deref() == Some(volume))
}

async fn ask(
    handle: &Handle,
    command: impl FnOnce(oneshot::Sender<Result<(), Failure>>) -> Command,
) -> Result<(), Failure> {
    let (reply, answer) = oneshot::channel();
    handle.send(command(reply)).await?;
    answer.await.unwrap_or_else(|_| {
        Err(Failure::new(ErrorKind::Conflict, format!("container {} is gone", handle.id)))
    })
}
