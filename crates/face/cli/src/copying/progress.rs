//! What `cp` shows on a terminal while it copies, and the line at its end.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ferry_stdx::size::format_decimal_short;

use crate::framework::{Cli, write_fd};

/// Between two updates.
const UPDATE: Duration = Duration::from_millis(75);

/// Bytes so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Waits for the work; shows how far it is, if standard error is a terminal.
pub(super) async fn watch<T>(
    cli: &Cli,
    header: &str,
    counter: &Counter,
    work: impl Future<Output = T>,
) -> T {
    if !cli.stderr_is_terminal() {
        return work.await;
    }
    // Remember the place; without a cursor, rewrite the line from there.
    show("\x1b[sPreparing to copy...");
    show(&format!("\x1b[?25l\x1b[u\x1b[2K{header}{}", format_decimal_short(0)));
    let column = header.len() + 1;
    let mut ticks = tokio::time::interval(UPDATE);
    let mut last = 0;
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => {
                let now = counter.get();
                if now != last {
                    last = now;
                    show(&format!("\x1b[{column}G\x1b[0K{}", format_decimal_short(now)));
                }
            }
        }
    };
    show("\x1b[?25h\x1b[u\x1b[2K");
    done
}

/// The last line, also when it failed.
pub(super) fn summary(cli: &Cli, counter: &Counter, destination: &str) {
    let size = format_decimal_short(counter.get());
    cli.warn(&format!("Successfully copied {size} to {destination}"));
}

fn show(text: &str) {
    // That a terminal is gone is no reason to stop copying.
    drop(write_fd(rustix::stdio::stderr(), text.as_bytes()));
}
