//! The daemon dies while a network on a link of the host is made, joined, left or removed: no container keeps a link that nobody knows of, no
//! address stays taken, and the host's link stays what it was.

use std::path::Path;

use ferry_testkit::{Client, Sandbox, eventually, free_range};

use crate::{lan::Lan, with_busybox};

/// The daemon dies under that command, and the next one comes.
fn dies_under(sandbox: &Sandbox, failpoint: &str, words: &[&str]) {
    sandbox.stop_daemon();
    sandbox.start_daemon(Some(failpoint));
    let outcome = sandbox.run(words);
    assert_ne!(outcome.code, 0, "the daemon was to die under this: {outcome}");
    sandbox.wait_for_death();
    sandbox.start_daemon(None);
}

#[test]
fn networks_on_a_link_of_the_host() {
    let sandbox = with_busybox(Client::Ferry);
    let base = free_range();
    let lan = Lan::new(&format!("{base}.1/24"));
    let (subnet, parent) = (format!("{base}.0/24"), format!("parent={}", lan.parent));
    let create = ["network", "create", "-d", "macvlan", "--subnet", &subnet, "-o", &parent, "lan"];
    for failpoint in ["network-create.record", "network-create.link"] {
        dies_under(&sandbox, failpoint, &create);
        // The record was first.
        sandbox.ok(&["run", "--rm", "--network", "lan", "busybox", "true"]);
        sandbox.ok(&["network", "rm", "lan"]);
    }
    for (failpoint, goes) in [("network-remove.link", false), ("network-remove.record", true)] {
        sandbox.ok(&create);
        dies_under(&sandbox, failpoint, &["network", "rm", "lan"]);
        assert_eq!(sandbox.run(&["network", "rm", "lan"]).code != 0, goes, "{failpoint}");
    }
    let parent_is_there = || Path::new("/sys/class/net").join(&lan.parent).exists();
    assert!(parent_is_there(), "it is not ours");
    sandbox.ok(&create);
    sandbox.ok(&["run", "-d", "--name", "mate", "--network", "lan", "busybox", "sleep", "1000"]);
    let mate = sandbox.inspect("mate", "{{.NetworkSettings.Networks.lan.IPAddress}}");
    let address = format!("{base}.77");
    let connect = ["network", "connect", "--ip", &address, "lan", "victim"];
    let disconnect = ["network", "disconnect", "lan", "victim"];
    for failpoint in [
        "connect.lease",
        "connect.link",
        "connect.ports",
        "connect.hosts",
        "connect.record",
        "disconnect.record",
        "disconnect.ports",
        "disconnect.link",
        "disconnect.mended",
    ] {
        sandbox.ok(&["run", "-d", "--name", "victim", "busybox", "sleep", "1000"]);
        let connects = failpoint.starts_with("connect");
        if !connects {
            sandbox.ok(&connect);
        }
        dies_under(&sandbox, failpoint, if connects { &connect } else { &disconnect });
        let networks = "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}";
        let is_on =
            sandbox.inspect("victim", networks).split_whitespace().any(|name| name == "lan");
        let has_link = || sandbox.ok(&["exec", "victim", "ls", "/sys/class/net"]).contains("eth1");
        assert_eq!(has_link(), is_on, "{failpoint}");
        let other = if is_on { &disconnect[..] } else { &connect };
        sandbox.ok(other);
        assert_eq!(has_link(), !is_on, "{failpoint}");
        if !is_on {
            sandbox.ok(&["exec", "victim", "ping", "-c1", "-W3", &mate]);
        }
        sandbox.ok(&["rm", "-f", "victim"]);
        // Its address is free.
        let own = ["run", "--rm", "--network", "lan", "--ip", &address, "busybox", "true"];
        sandbox.ok(&own);
    }
    sandbox.ok(&["rm", "-f", "mate"]);
    eventually("the network goes", || {
        (sandbox.run(&["network", "rm", "lan"]).code == 0).then_some(())
    });
    assert!(parent_is_there(), "it is not ours");
}
