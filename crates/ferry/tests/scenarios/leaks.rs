//! Nothing stays of what came and went: FEATURES A18.

use ferry_testkit::{Client, Traces, eventually};

use crate::with_busybox;

/// How often; the issue that asked for it says two hundred.
const TIMES: usize = 200;

#[test]
fn two_hundred_containers_leave_nothing() {
    let sandbox = with_busybox(Client::Ferry);
    let run = || {
        sandbox.ok(&[
            "run",
            "--rm",
            "-p",
            "127.0.0.1::80",
            "-v",
            "/scratch",
            "-m",
            "64m",
            "busybox",
            "true",
        ])
    };
    // What is made once and kept (the bridge, its table) is there after the first.
    run();
    let settled = |what: &str| {
        let mut last = Traces::of(&sandbox);
        eventually(what, || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            let now = Traces::of(&sandbox);
            let same = now == last;
            last = now;
            same.then(|| last.clone())
        })
    };
    let before = settled("the first container's traces go");
    for _ in 0..TIMES {
        run();
    }
    let after = settled("the last container's traces go");
    assert_eq!(
        (after.descriptors as i64 - before.descriptors as i64).max(2),
        2,
        "{before:?}\n{after:?}"
    );
    let without_descriptors = |mut traces: Traces| {
        traces.descriptors = 0;
        traces
    };
    assert_eq!(without_descriptors(after), without_descriptors(before));
}
