//! The daemon dies while the ports of a running container change, in both families, by TCP and UDP.

use ferry_testkit::{Client, Sandbox, Traces, eventually};

use crate::{
    visitors::{self, By},
    with_busybox,
};

#[test]
fn ports_of_a_running_container() {
    for failpoint in ["ports.withdrawn", "ports.held", "ports.changed"] {
        dies_while_ports_change(failpoint);
    }
}

/// The daemon is killed while a running container gets other ports: it has those of before, and can be given the others.
fn dies_while_ports_change(failpoint: &str) {
    let sandbox: Sandbox = with_busybox(Client::Ferry);
    let subnet = format!("{}::/64", ferry_testkit::free_range6());
    sandbox.ok(&["network", "create", "--ipv6", "--subnet", &subnet, "both"]);
    let port = || ferry_testkit::free_port().to_string();
    let (old, new, old_udp, new_udp) = (port(), port(), port(), port());
    // At a port of any address, which both families lead to.
    let of = |tcp: &str, udp: &str| [format!("{tcp}:7"), format!("{udp}:7/udp")];
    let ([old_tcp, old_udp_flag], [new_tcp, new_udp_flag]) =
        (of(&old, &old_udp), of(&new, &new_udp));
    let ports = ["--network", "both", "-p", &old_tcp, "-p", &old_udp_flag];
    visitors::mirror(&sandbox, "web", &ports, &["7"]);
    let shown = || sandbox.ok(&["port", "web"]);
    let before = (shown(), Traces::of(&sandbox).elements);
    let answers = |tcp: &str, udp: &str| {
        for (by, port) in [(By::Tcp, tcp), (By::Udp, udp)] {
            for host in ["127.0.0.1", "[::1]"] {
                let to = format!("{host}:{port}").parse().unwrap();
                eventually(&format!("{failpoint}: {by:?} at {to}"), || visitors::asked(by, to));
            }
        }
    };
    let is_closed = |tcp: &str, udp: &str| {
        for (by, port) in [(By::Tcp, tcp), (By::Udp, udp)] {
            let to = format!("127.0.0.1:{port}").parse().unwrap();
            assert_eq!(visitors::asked(by, to), None, "{failpoint}: {by:?} at {to}");
        }
    };
    answers(&old, &old_udp);
    sandbox.stop_daemon();
    sandbox.start_daemon(Some(failpoint));
    let old_udp_rm = format!("{old_udp}/udp");
    let goes = ["--publish-rm", &old, "--publish-rm", &old_udp_rm];
    let comes = ["--publish-add", &new_tcp, "--publish-add", &new_udp_flag];
    let change = [&["update"], &goes[..], &comes, &["web"]].concat();
    let outcome = sandbox.run(&change);
    assert_ne!(outcome.code, 0, "the daemon was to die under this: {outcome}");
    sandbox.wait_for_death();
    sandbox.start_daemon(None);
    assert_eq!(shown(), before.0, "{failpoint}");
    answers(&old, &old_udp);
    is_closed(&new, &new_udp);
    assert_eq!(Traces::of(&sandbox).elements, before.1, "{failpoint}");
    sandbox.ok(&change);
    answers(&new, &new_udp);
    is_closed(&old, &old_udp);
}
