//! Holds containers still while what they write to is read.
//!
//! A file in a container's run directory says that it is us who froze it: when the daemon dies meanwhile, the next one lets the
//! container go on ([`was_frozen`]).

use std::{fs, future::Future, io, path::Path, sync::Arc};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::Phase;
use tokio::sync::oneshot;

use crate::{Shared, actor::Command, registry::Handle};

const MARK: &str = "frozen-for-its-volume";

/// Does blocking work while those of the containers that run are frozen.
pub(crate) async fn while_frozen<T: Send + 'static>(
    shared: &Arc<Shared>,
    containers: Vec<Handle>,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let frozen = Frozen::all(shared, containers).await?;
    let done = crate::blocking(work).await;
    frozen.thaw(shared).await;
    done
}

/// A client that goes away must not leave containers frozen: the work has a task of its own.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    tokio::spawn(work)
        .await
        .unwrap_or_else(|error| Err(Failure::new(ErrorKind::Internal, error.to_string())))
}

/// Containers that are frozen until [`Frozen::thaw`].
#[derive(Debug, Default)]
struct Frozen(Vec<Handle>);

impl Frozen {
    async fn all(shared: &Shared, containers: Vec<Handle>) -> Result<Frozen, Failure> {
        let mut frozen = Frozen::default();
        for handle in containers {
            let container = handle.container();
            if container.state.phase != Phase::Running {
                continue;
            }
            let mark = shared.dirs.run(&container.id).join(MARK);
            if let Err(error) = fs::write(&mark, "") {
                // It has ended, and its run directory is gone.
                if error.kind() == io::ErrorKind::NotFound {
                    continue;
                }
                frozen.thaw(shared).await;
                let words = format!("cannot freeze container {}: {error}", container.id);
                return Err(Failure::new(ErrorKind::Internal, words));
            }
            match ask(&handle, |reply| Command::Pause { reply }).await {
                Ok(()) => frozen.0.push(handle),
                // It has ended, is removed, or its user has frozen it: it writes nothing.
                Err(failure)
                    if matches!(failure.kind(), ErrorKind::Conflict | ErrorKind::NotFound) =>
                {
                    drop(fs::remove_file(&mark));
                }
                Err(failure) => {
                    fs::remove_file(&mark).ok();
                    frozen.thaw(shared).await;
                    return Err(failure);
                }
            }
        }
        Ok(frozen)
    }

    /// Lets them go on.
    async fn thaw(self, shared: &Shared) {
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
