//! Containers that are being started, for one who looks on and may call it off.

use std::collections::BTreeSet;

use ferry_cli::face::CliError;
use tokio::sync::{RwLock, watch};

/// What has been started so far.
#[derive(Debug)]
pub(crate) struct Starts {
    told: watch::Sender<Told>,
    /// Held to read while the daemon starts one, so that whoever calls off can wait until it has.
    gate: RwLock<()>,
}

#[derive(Debug, Default)]
struct Told {
    /// By id, also those that ran before.
    started: BTreeSet<String>,
    /// Nothing more is started.
    over: bool,
}

impl Starts {
    pub(crate) fn new() -> Starts {
        Starts { told: watch::Sender::new(Told::default()), gate: RwLock::new(()) }
    }

    /// These run, and are not started.
    pub(crate) fn run_already(&self, ids: impl Iterator<Item = String>) {
        self.told.send_modify(|told| told.started.extend(ids));
    }

    /// Does what starts one; whether it did, and they were not called off.
    pub(crate) async fn start(
        &self,
        id: &str,
        start: impl Future<Output = Result<(), CliError>>,
    ) -> Result<bool, CliError> {
        let _pass = self.gate.read().await;
        if self.told.borrow().over {
            return Ok(false);
        }
        start.await?;
        self.told.send_modify(|told| told.started.extend([id.to_owned()]));
        Ok(true)
    }

    /// Waits until one has been started; false when it will never be.
    pub(crate) async fn has(&self, id: &str) -> bool {
        let mut told = self.told.subscribe();
        let told = told.wait_for(|told| told.over || told.started.contains(id)).await;
        told.is_ok_and(|told| told.started.contains(id))
    }

    /// Everything has been started that is to be.
    pub(crate) fn end(&self) {
        self.told.send_modify(|told| told.over = true);
    }

    /// From now on nothing is started, and the daemon is not starting anything. Whoever starts must go on meanwhile.
    pub(crate) async fn call_off(&self) {
        let _shut = self.gate.write().await;
        self.end();
    }

    /// Nothing more is being started.
    pub(crate) fn are_over(&self) -> bool {
        self.told.borrow().over
    }

    /// Waits until it is called off, or all has been started.
    pub(crate) async fn over(&self) {
        // The sender lives as long as this does.
        drop(self.told.subscribe().wait_for(|told| told.over).await);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::{FutureExt, future::join};
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn calling_off_waits_for_a_start_under_way_and_lets_no_other_begin() {
        let starts = Starts::new();
        let (done, daemon) = oneshot::channel::<()>();
        let mut first = pin!(starts.start("first", async {
            drop(daemon.await);
            Ok(())
        }));
        assert!(first.as_mut().now_or_never().is_none());
        let mut off = pin!(starts.call_off());
        assert!(off.as_mut().now_or_never().is_none(), "the daemon is at it");
        let mut second = pin!(starts.start("second", async { Ok(()) }));
        assert!(second.as_mut().now_or_never().is_none());
        drop(done);
        let (first, ()) = join(first, off).await;
        assert_eq!((first.unwrap(), second.await.unwrap()), (true, false));
        assert!(starts.has("first").await && !starts.has("second").await);
        assert_eq!(starts.over().now_or_never(), Some(()));
    }

    #[tokio::test]
    async fn what_ran_before_counts_as_started() {
        let starts = Starts::new();
        starts.run_already(["a".to_owned()].into_iter());
        assert!(starts.has("a").await);
        assert!(starts.has("b").now_or_never().is_none());
        starts.end();
        assert!(!starts.has("b").await);
    }
}
