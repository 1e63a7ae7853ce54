//! Nothing stays of what came and went: FEATURES A18.

use ferry_testkit::{Client, Traces};

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
    let before = Traces::at_rest(&sandbox);
    for _ in 0..TIMES {
        run();
    }
    Traces::come_back_to(&sandbox, &before, 2, "after two hundred containers");
}
