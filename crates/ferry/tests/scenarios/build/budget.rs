//! How much the cache may take: the oldest goes first.

use ferry_testkit::{Client, Sandbox, eventually, run_with_input};

use crate::with_busybox;

/// A build whose step leaves two megabytes, and no image.
fn step(sandbox: &Sandbox, name: &str) {
    let text =
        format!("FROM busybox\nRUN dd if=/dev/urandom of=/{name} bs=1M count=2 2>/dev/null\n");
    let words = ["build", "-q", "-o", "type=cacheonly", "-"];
    run_with_input(&mut sandbox.command(&words), text.as_bytes()).ok();
}

fn records(sandbox: &Sandbox) -> String {
    sandbox.ok(&["builder", "du", "--format", "{{.Description}}"])
}

#[test]
fn by_hand_what_was_used_longest_ago_goes_first() {
    let sandbox = with_busybox(Client::Ferry);
    for name in ["one", "two", "three"] {
        step(&sandbox, name);
    }
    // Used again.
    step(&sandbox, "one");
    let said = sandbox.ok(&["builder", "prune", "-f", "--all", "--max-used-space", "5MB"]);
    assert!(said.contains("Total reclaimed space: 2."), "{said}");
    let left = records(&sandbox);
    assert!(left.contains("/one") && left.contains("/three") && !left.contains("/two"), "{left}");
    sandbox.ok(&["builder", "prune", "-f", "--all", "--reserved-space", "20MB"]);
    assert_eq!(records(&sandbox), left);
    sandbox.ok(&["builder", "prune", "-f", "--all", "--min-free-space", "1MB"]);
    assert_eq!(records(&sandbox), left);
    sandbox.ok(&["builder", "prune", "-f", "--all", "--keep-storage", "3MB"]);
    let left = records(&sandbox);
    assert!(left.contains("/one") && !left.contains("/three"), "{left}");
}

#[test]
fn after_a_build_the_daemon_does_it() {
    let sandbox =
        Sandbox::prepared(&["--builder", r#"{"gc": {"policy": [{"maxUsedSpace": "5MB"}]}}"#]);
    sandbox.start_daemon(None);
    sandbox.busybox();
    for name in ["one", "two", "three"] {
        step(&sandbox, name);
    }
    eventually("the oldest goes", || (!records(&sandbox).contains("/one")).then_some(()));
    let left = records(&sandbox);
    assert!(left.contains("/three"), "{left}");
}
