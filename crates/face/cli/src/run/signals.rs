//! Signals that are meant for the container: what we receive, it receives.

use ferry_client::{Client, path_segment};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that are forwarded, with the names that the daemon knows. Not among them: those that cannot be caught, those that mean a
/// fault of our own, `CHLD`, `PIPE` and `URG`.
const FORWARDED: [(i32, &str); 20] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (5, "TRAP"),
    (6, "ABRT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
    (16, "STKFLT"),
    (18, "CONT"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (28, "WINCH"),
    (29, "IO"),
    (30, "PWR"),
];
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Forwards signals to a container from now on, for as long as the runtime runs.
pub(crate) fn forward(client: &Client, container: &str) {
    for (number, name) in FORWARDED {
        forward_one(client, container, number, name.to_owned());
    }
    for number in RTMIN..=RTMAX {
        forward_one(client, container, number, number.to_string());
    }
}

fn forward_one(client: &Client, container: &str, number: i32, name: String) {
    // One that cannot be caught keeps doing to us what it does.
    let Ok(mut stream) = signal(SignalKind::from_raw(number)) else { return };
    let client = client.clone();
    let path = format!("/containers/{}/kill", path_segment(container));
    tokio::spawn(async move {
        while stream.recv().await.is_some() {
            // A container that is not running has nobody to tell; docker says nothing either.
            drop(client.post(&path).query("signal", &name).done().await);
        }
    });
}

/// Signals that end us while the terminal is raw: it must be given back first.
#[derive(Debug)]
pub(crate) struct Deadly {
    signals: Vec<(i32, Signal)>,
}

impl Deadly {
    /// Catches them, if `raw`.
    pub(crate) fn catch(raw: bool) -> Self {
        let numbers: &[i32] = if raw { &[1, 2, 3, 15] } else { &[] };
        let catch = |number: &i32| Some((*number, signal(SignalKind::from_raw(*number)).ok()?));
        Deadly { signals: numbers.iter().filter_map(catch).collect() }
    }

    /// Waits for one; the exit code that tells of it.
    pub(crate) async fn received(&mut self) -> u8 {
        std::future::poll_fn(|context| {
            for (number, signal) in &mut self.signals {
                if signal.poll_recv(context).is_ready() {
                    // The numbers are the four above.
                    return std::task::Poll::Ready(128 + u8::try_from(*number).unwrap_or(0));
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}
