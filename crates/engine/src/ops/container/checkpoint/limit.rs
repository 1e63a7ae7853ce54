//! How long something may take, and whether anybody waits for it still.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ferry_errkind::{ErrorKind, Failure};

/// A time limit that its owner may bring forward.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    whole: Duration,
    end: Instant,
    given_up: Arc<AtomicBool>,
}

/// Whoever waits; nobody does when it is dropped.
pub(super) struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Limit {
    pub(super) fn new(whole: Duration) -> (Limit, Waiting) {
        let given_up = Arc::new(AtomicBool::new(false));
        let end = Instant::now() + whole;
        (Limit { whole, end, given_up: Arc::clone(&given_up) }, Waiting(given_up))
    }

    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Whether there is time, and somebody who wants it.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let words = if self.given_up.load(Ordering::Acquire) {
            "nobody waits for it any more".to_owned()
        } else if self.left().is_zero() {
            format!("it did not come to its end in {} s", self.whole.as_secs())
        } else {
            return Ok(());
        };
        Err(Failure::new(ErrorKind::Unavailable, words))
    }
}

/// What is written only while there is time.
pub(super) struct Limited<'a, W> {
    pub(super) limit: &'a Limit,
    pub(super) out: W,
}

impl<W: Write> Write for Limited<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.limit.check().map_err(|failure| io::Error::new(io::ErrorKind::TimedOut, failure))?;
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
