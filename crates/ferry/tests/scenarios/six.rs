//! IPv6: networks that have nothing else, and what other hosts see of containers.

use std::process::Command;

use ferry_testkit::{Client, Sandbox, eventually, free_port, free_range, free_range6, run};
use serde_json::Value;

use crate::{
    lan::{Lan, Mirror, ip},
    names::{self, AAAA, PTR},
    with_busybox,
};

through_all!(networks_without_ipv4, senders_outside, apart_in_ipv6, names_in_ipv6);

/// What `ip -j` says in a container.
fn ip_in(sandbox: &Sandbox, container: &str, words: &str) -> Value {
    let pid = sandbox.inspect(container, "{{.State.Pid}}");
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-n", "ip", "-j"]).args(words.split(' '));
    serde_json::from_str(&run(&mut command).ok()).unwrap()
}

fn asks(words: &[&str], at: &str) -> Option<String> {
    let url = format!("http://{at}/index.html");
    let words = [words, &["curl", "-gsm3", &url]].concat();
    let asked = run(Command::new(words[0]).args(&words[1..]));
    (asked.code == 0).then(|| asked.stdout.trim().to_owned())
}

fn networks_without_ipv4(client: Client) {
    let sandbox = with_busybox(client);
    let (inner, outer) = (free_range6(), free_range6());
    let subnet = format!("{inner}::/64");
    let create = ["network", "create", "--ipv6", "--ipv4=false", "--subnet", &subnet, "v6-only"];
    sandbox.ok(&create);
    let shown = "{{.EnableIPv4}} {{.EnableIPv6}} {{len .IPAM.Config}}";
    assert_eq!(sandbox.ok(&["network", "inspect", "-f", shown, "v6-only"]), "false true 1");
    let port = free_port();
    let published = format!("[::]:{port}:80");
    let script = "echo six > /tmp/index.html; exec httpd -f -p 80 -h /tmp";
    let flags = ["run", "-d", "--name", "v6-web", "--network", "v6-only", "-p", &published];
    sandbox.ok(&[&flags[..], &["busybox", "sh", "-c", script]].concat());
    let asker = ["run", "-d", "--name", "v6-asks", "--network", "v6-only"];
    sandbox.ok(&[&asker[..], &["busybox", "sleep", "1000"]].concat());

    // Inside there is no IPv4 but loopback's.
    let links = ip_in(&sandbox, "v6-web", "addr show dev eth0");
    let families: Vec<&str> = links[0]["addr_info"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|address| address["family"].as_str())
        .collect();
    assert!(families.contains(&"inet6") && !families.contains(&"inet"), "{links}");
    assert_eq!(ip_in(&sandbox, "v6-web", "-4 route"), serde_json::json!([]));
    let route = ip_in(&sandbox, "v6-web", "-6 route show default");
    assert_eq!(route[0]["gateway"], format!("{inner}::1"));
    assert!(!sandbox.inspect("v6-web", "{{.NetworkSettings.Networks}}").contains("10."));

    // By name, and through the host: from itself and from elsewhere.
    let url = "http://v6-web/index.html";
    let seen = eventually("a neighbour is answered by name", || {
        let asked = sandbox.run(&["exec", "v6-asks", "wget", "-qO-", url]);
        (asked.code == 0).then(|| asked.stdout.trim().to_owned())
    });
    assert_eq!(seen, "six");
    let ports = sandbox.ok(&["port", "v6-web", "80"]);
    assert_eq!(ports, format!("[::]:{port}"));
    assert_eq!(asks(&[], &format!("[::1]:{port}")).as_deref(), Some("six"));
    let lan = Lan::new(&format!("{outer}::2/64 nodad"));
    ip(&format!("addr add {outer}::1/64 dev {} nodad", lan.parent));
    let there = ["ip", "netns", "exec", &lan.host];
    let at = format!("[{outer}::1]:{port}");
    eventually("another host is answered", || asks(&there, &at).filter(|seen| seen == "six"));
    assert_eq!(asks(&[], &format!("127.0.0.1:{port}")), None, "only IPv6 was published");
    sandbox.ok(&["rm", "-f", "v6-web", "v6-asks"]);
    sandbox.ok(&["network", "rm", "v6-only"]);
}

/// With NAT66 the host's address, which is all that the other host has a route to; routed, the container's own.
fn senders_outside(client: Client) {
    let sandbox = with_busybox(client);
    let (inner, outer, v4) = (free_range6(), free_range6(), free_range());
    let lan = Lan::new(&format!("{outer}::2/64 nodad"));
    ip(&format!("addr add {outer}::1/64 dev {} nodad", lan.parent));
    let mirror = Mirror::on(&lan, "TCP6-LISTEN", 7006);
    let create = |name: &str, part: u8, mode: &str| {
        let mode = format!("com.docker.network.bridge.gateway_mode_ipv6={mode}");
        let subnet = format!("{inner}:{part}::/64");
        let subnet4 = format!("{v4}.{}/25", u16::from(part - 1) * 128);
        let flags = ["network", "create", "--ipv6", "--subnet", &subnet, "--subnet", &subnet4];
        sandbox.ok(&[&flags[..], &["-o", &mode, name]].concat());
    };
    create("s6-nat", 1, "nat");
    create("s6-routed", 2, "routed");
    let seen = |network: &str, container: &str| {
        let there = format!("{outer}::2");
        let on = ["run", "--rm", "--network", network, "--ip6", container];
        let asked = sandbox.run(&[&on[..], &["busybox", "nc", "-w", "3", &there, "7006"]].concat());
        let seen = asked.stdout.trim().trim_matches(['[', ']']).to_owned();
        seen.parse::<std::net::Ipv6Addr>().ok()
    };
    let host: std::net::Ipv6Addr = format!("{outer}::1").parse().unwrap();
    let own = format!("{inner}:1::77");
    let sender = eventually("the other host answers", || seen("s6-nat", &own));
    assert_eq!(sender, host);
    let own = format!("{inner}:2::77");
    assert_eq!(seen("s6-routed", &own), None, "nobody knows the way back");
    ip(&format!("-n {} -6 route add {inner}:2::/64 via {outer}::1", lan.host));
    let sender = eventually("routed, with a way back", || seen("s6-routed", &own));
    assert_eq!(sender.to_string(), own);
    drop(mirror);
    sandbox.ok(&["network", "rm", "s6-nat", "s6-routed"]);
}

fn address(sandbox: &Sandbox, name: &str, network: &str) -> String {
    let part = format!("(index .NetworkSettings.Networks \"{network}\").GlobalIPv6Address");
    sandbox.inspect(name, &format!("{{{{{part}}}}}"))
}

/// Who must not reach whom in IPv4 must not in IPv6 either: containers kept apart, other networks, and what is behind internal ones.
fn apart_in_ipv6(client: Client) {
    let sandbox = with_busybox(client);
    let (inner, outer) = (free_range6(), free_range6());
    let lan = Lan::new(&format!("{outer}::2/64 nodad"));
    ip(&format!("addr add {outer}::1/64 dev {} nodad", lan.parent));
    ip(&format!("-n {} -6 route add {inner}::/48 via {outer}::1", lan.host));
    let closed = "com.docker.network.bridge.enable_icc=false";
    for (name, part, flags) in [
        ("s6-open", 1, &[][..]),
        ("s6-closed", 2, &["-o", closed][..]),
        ("s6-cell", 3, &["--internal"][..]),
    ] {
        let subnet = format!("{inner}:{part}::/64");
        let create = ["network", "create", "--ipv6", "--ipv4=false", "--subnet", &subnet];
        sandbox.ok(&[&create[..], flags, &[name]].concat());
        for number in [1, 2] {
            let container = format!("{name}-{number}");
            names::sleeper(&sandbox, &container, &["--network", name]);
        }
    }
    let ping = |from: &str, to: &str| {
        sandbox.run(&["exec", from, "ping", "-6", "-c1", "-W1", to]).code == 0
    };
    let second = |network: &str| address(&sandbox, &format!("{network}-2"), network);
    let outside = format!("{outer}::2");
    let gateway = |part: u8| format!("{inner}:{part}::1");
    // First that the ways are there at all.
    eventually("a neighbour is reached", || ping("s6-open-1", &second("s6-open")).then_some(()));
    eventually("the other host is reached", || ping("s6-open-1", &outside).then_some(()));
    eventually("out of the closed one, too", || ping("s6-closed-1", &outside).then_some(()));
    assert!(
        ping("s6-closed-1", &gateway(2)),
        "the host is reached where containers are kept apart"
    );
    assert!(ping("s6-cell-1", &second("s6-cell")), "neighbours in an internal network");
    for (from, to, why) in [
        ("s6-closed-1", second("s6-closed"), "containers are kept apart"),
        ("s6-open-1", second("s6-closed"), "another network"),
        ("s6-open-1", second("s6-cell"), "into an internal network"),
        ("s6-cell-1", second("s6-open"), "out of an internal network"),
        ("s6-cell-1", outside.clone(), "from an internal network to another host"),
    ] {
        assert!(!ping(from, &to), "{why}: {from} reaches {to}");
    }
    let routes = ip_in(&sandbox, "s6-cell-1", "-6 route show default");
    assert_eq!(routes, serde_json::json!([]), "an internal network leads nowhere");
    // Even with a way out of its own it stays inside.
    let pid = sandbox.inspect("s6-cell-1", "{{.State.Pid}}");
    let route = ["-t", &pid, "-n", "ip", "-6", "route", "add", "default", "via", &gateway(3)];
    run(Command::new("nsenter").args(route)).ok();
    assert!(!ping("s6-cell-1", &outside), "with a route of its own");
    let from_there = |to: &str| {
        let mut ping = Command::new("ip");
        ping.args(["netns", "exec", &lan.host, "busybox", "ping", "-6", "-c1", "-W1", to]);
        run(&mut ping).code == 0
    };
    assert!(from_there(&format!("{outer}::1")));
    for network in ["s6-open", "s6-closed", "s6-cell"] {
        assert!(!from_there(&second(network)), "{network}: another host that has a route");
    }
}

/// AAAA and PTR, and who asks for names with how many dots.
fn names_in_ipv6(client: Client) {
    let sandbox = with_busybox(client);
    let (inner, inner4) = (free_range6(), free_range());
    let (subnet, subnet4) = (format!("{inner}::/64"), format!("{inner4}.0/24"));
    let subnets = ["--ipv6", "--subnet", &subnet, "--subnet", &subnet4];
    sandbox.ok(&[&["network", "create"], &subnets[..], &["s6-names"]].concat());
    let six = format!("{inner}::77").parse::<std::net::Ipv6Addr>().unwrap();
    let own = ["--network", "s6-names", "--ip6", &six.to_string(), "--network-alias", "www"];
    names::sleeper(&sandbox, "s6-db", &own);
    names::sleeper(&sandbox, "s6-asks", &["--network", "s6-names", "--dns-option", "ndots:3"]);
    for name in ["s6-db", "S6-DB", "www", "s6-db.s6-names"] {
        let (code, records, _) = names::ask_in(&sandbox, "s6-asks", name, AAAA, Some(1232));
        assert_eq!((code, records), (0, vec![six.octets().to_vec()]), "{name}");
        let (code, records, _) = names::ask_in(&sandbox, "s6-asks", name, names::A, None);
        assert_eq!((code, records.len()), (0, 1), "{name}");
    }
    let digits = six.octets().into_iter().rev().flat_map(|byte| [byte & 0xf, byte >> 4]);
    let reverse: String =
        digits.map(|digit| format!("{digit:x}.")).collect::<String>() + "ip6.arpa";
    let (code, records, _) = names::ask_in(&sandbox, "s6-asks", &reverse, PTR, None);
    assert_eq!((code, records), (0, vec![b"\x05s6-db\x08s6-names\x00".to_vec()]));
    let file = sandbox.ok(&["exec", "s6-asks", "cat", "/etc/resolv.conf"]);
    assert!(file.lines().any(|line| line == "options ndots:3"), "{file}");
    sandbox.ok(&["rm", "-f", "s6-db"]);
    // Somebody outside may know of no such name, or of nothing in IPv6.
    for (name, kind) in [("s6-db", AAAA), (&reverse, PTR)] {
        let (_, records, _) = names::ask_in(&sandbox, "s6-asks", name, kind, None);
        assert!(records.is_empty(), "{name} is nobody's now: {records:?}");
    }
}
