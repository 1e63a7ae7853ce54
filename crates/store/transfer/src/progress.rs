//! What a pull tells on its way, in Docker's words.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use ferry_oci::Digest;

/// At most so often a layer tells how far it is.
const EVERY_MS: u64 = 100;
/// Digits of a layer's digest that are shown.
const SHORT: usize = 12;

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it is about: the short form of a layer's digest, or a tag.
    pub id: Option<String>,
    /// What happens to it.
    pub status: String,
    /// Bytes done.
    pub current: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
}

/// Who listens.
pub(crate) type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// The voice of one layer.
pub(crate) struct LayerVoice<'a> {
    tell: Tell<'a>,
    id: String,
    start: Instant,
    last: AtomicU64,
}

impl<'a> LayerVoice<'a> {
    pub(crate) fn new(tell: Tell<'a>, digest: &Digest) -> LayerVoice<'a> {
        let mut id = digest.hex();
        id.truncate(SHORT);
        LayerVoice { tell, id, start: Instant::now(), last: AtomicU64::new(0) }
    }

    pub(crate) fn say(&self, status: impl Into<String>) {
        let id = Some(self.id.clone());
        (self.tell)(Progress { id, status: status.into(), current: None, total: None });
    }

    pub(crate) fn at(&self, status: &str, current: u64, total: u64) {
        let id = Some(self.id.clone());
        let (current, total) = (Some(current), Some(total));
        (self.tell)(Progress { id, status: status.to_owned(), current, total });
    }

    /// As [`LayerVoice::at`], but not too often.
    pub(crate) fn passing(&self, status: &str, current: u64, total: u64) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.last.load(Ordering::Relaxed);
        if last == 0 || now.saturating_sub(last) >= EVERY_MS {
            self.last.store(now.max(1), Ordering::Relaxed);
            self.at(status, current, total);
        }
    }

    /// Waits before the next attempt, counting the seconds.
    pub(crate) async fn count_down(&self, pause: Duration) {
        let mut left = pause;
        while !left.is_zero() {
            let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            let plural = if seconds == 1 { "" } else { "s" };
            self.say(format!("Retrying in {seconds} second{plural}"));
            let step = left.min(Duration::from_secs(1));
            tokio::time::sleep(step).await;
            left -= step;
        }
    }
}
