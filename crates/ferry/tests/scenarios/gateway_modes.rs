//! What a bridge is to its containers, `com.docker.network.bridge.gateway_mode_ipv4`: who reaches whom, and how it is shown.

use std::process::Command;

use ferry_testkit::{Client, Sandbox, eventually, free_port, free_range, free_range6, run};

use crate::{
    lan::{Lan, ip},
    with_busybox,
};

through_all!(modes_of_gateways, modes_in_ipv6, isolated_networks, modes_that_are_refused);

const MODE: &str = "com.docker.network.bridge.gateway_mode_ipv4";

fn network(sandbox: &Sandbox, name: &str, subnet: &str, mode: &str) {
    let mode = format!("{MODE}={mode}");
    sandbox.ok(&["network", "create", "--subnet", subnet, "-o", &mode, name]);
}

/// Serves its name on 80, which is published, and on 81, which is not.
fn server(sandbox: &Sandbox, name: &str, network: &str) -> String {
    let script =
        format!("echo {name} > /tmp/index.html; httpd -p 81 -h /tmp; exec httpd -f -p 80 -h /tmp");
    let published = format!("{}:80", free_port());
    let flags = ["run", "-d", "--name", name, "--network", network, "-p", &published];
    sandbox.ok(&[&flags[..], &["busybox", "sh", "-c", &script]].concat());
    sandbox.inspect(
        name,
        &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"),
    )
}

fn asks(sandbox: &Sandbox, from: &str, at: &str) -> Option<String> {
    let url = format!("http://{at}/index.html");
    let asked = sandbox.run(&["exec", from, "timeout", "2", "wget", "-q", "-O", "-", &url]);
    (asked.code == 0).then(|| asked.stdout.trim().to_owned())
}

/// From another host.
fn asks_from(host: &str, at: &str) -> Option<String> {
    let url = format!("http://{at}/index.html");
    let words = ["netns", "exec", host, "curl", "-s", "-m", "2", &url];
    let asked = run(Command::new("ip").args(words));
    (asked.code == 0).then(|| asked.stdout.trim().to_owned())
}

fn modes_of_gateways(client: Client) {
    let sandbox = with_busybox(client);
    let (base, outer) = (free_range(), free_range());
    network(&sandbox, "gm-routed", &format!("{base}.0/26"), "routed");
    network(&sandbox, "gm-open", &format!("{base}.64/26"), "nat-unprotected");
    network(&sandbox, "gm-plain", &format!("{base}.128/26"), "nat");
    let routed = server(&sandbox, "gm-r", "gm-routed");
    let open = server(&sandbox, "gm-o", "gm-open");
    let plain = server(&sandbox, "gm-p", "gm-plain");
    for (name, at) in [("gm-r", &routed), ("gm-o", &open), ("gm-p", &plain)] {
        let at = format!("{at}:80");
        let own = eventually("a server answers its neighbours", || asks(&sandbox, name, &at));
        assert_eq!(own, name);
    }

    // A routed network's containers have no port of the host, and are reached at their own.
    assert_eq!(sandbox.ok(&["port", "gm-r"]).lines().next(), Some("80/tcp -> 0.0.0.0:"));
    let ports = sandbox.inspect("gm-r", "{{json (index .NetworkSettings.Ports \"80/tcp\")}}");
    assert!(ports.contains(r#"{"HostIp":"0.0.0.0","HostPort":""}"#), "{ports}");
    let listed = sandbox.ok(&["ps", "--filter", "name=gm-r", "--format", "{{.Ports}}"]);
    assert!(listed.contains("0.0.0.0:0->80/tcp"), "{listed}");
    let held = sandbox.ok(&["port", "gm-o"]);
    assert!(!held.lines().any(|line| line.ends_with(':')), "{held}");

    // Other networks.
    let at = |ip: &str, port: u16| format!("{ip}:{port}");
    for from in ["gm-o", "gm-p"] {
        assert_eq!(asks(&sandbox, from, &at(&routed, 80)).as_deref(), Some("gm-r"), "{from}");
        assert_eq!(asks(&sandbox, from, &at(&routed, 81)), None, "{from}");
        sandbox.ok(&["exec", from, "ping", "-c1", "-W3", &routed]);
    }
    for from in ["gm-r", "gm-p"] {
        assert_eq!(asks(&sandbox, from, &at(&open, 80)), None, "{from}");
    }
    assert_eq!(asks(&sandbox, "gm-r", &at(&plain, 80)), None);

    // Another host that has a route.
    let lan = Lan::new(&format!("{outer}.2/24"));
    ip(&format!("addr add {outer}.1/24 dev {}", lan.parent));
    ip(&format!("-n {} route add {base}.0/24 via {outer}.1", lan.host));
    let from_lan = |ip: &str, port: u16| asks_from(&lan.host, &at(ip, port));
    assert_eq!(from_lan(&routed, 80).as_deref(), Some("gm-r"));
    assert_eq!(from_lan(&routed, 81), None);
    assert_eq!(from_lan(&open, 80).as_deref(), Some("gm-o"));
    assert_eq!(from_lan(&open, 81).as_deref(), Some("gm-o"));
    assert_eq!(from_lan(&plain, 80), None);
    run(&mut ping_from(&lan.host, &routed)).ok();
    assert_ne!(run(&mut ping_from(&lan.host, &plain)).code, 0, "a network with NAT hides its own");

    if client != Client::FerryOnDocker {
        if client == Client::Ferry {
            let audit = sandbox.ok(&["port", "audit"]);
            let line = |name: &str, words: &str| {
                audit.lines().any(|line| line.contains(name) && line.contains(words))
            };
            assert!(line("gm-r", "whoever has a route to its address"), "{audit}");
            assert!(line("gm-o", "gm-open, which is unprotected"), "{audit}");
        }
        let table = sandbox.table();
        let set = |name: &str| run(Command::new("nft").args(["list", "set", "ip", &table, name]));
        assert!(set("direct").ok().contains(&format!("{routed} . tcp . 80")));
        assert!(!set("outbound").ok().contains(&format!("{base}.0")), "it is not translated");
        sandbox.kill_daemon();
        sandbox.start_daemon(None);
        assert!(set("direct").ok().contains(&format!("{routed} . tcp . 80")));
        assert_eq!(from_lan(&routed, 80).as_deref(), Some("gm-r"), "after a crash");
        assert_eq!(from_lan(&routed, 81), None, "after a crash");
        sandbox.ok(&["rm", "-f", "gm-r"]);
        assert!(!set("direct").ok().contains(&routed), "closed with its container");
    }
    sandbox.run(&["rm", "-f", "gm-r", "gm-o", "gm-p"]);
    sandbox.ok(&["network", "rm", "gm-routed", "gm-open", "gm-plain"]);
}

/// The same in IPv6, where the modes are those of `gateway_mode_ipv6`, and IPv4 stays as it is.
fn modes_in_ipv6(client: Client) {
    let sandbox = with_busybox(client);
    let (inner, outer) = (free_range6(), free_range6());
    let subnet = |part: u8| format!("{inner}:{part:x}::/64");
    let plain_v4 = free_range();
    let create = |name: &str, part: u8, mode: &str, more: &[&str]| {
        let mode = format!("com.docker.network.bridge.gateway_mode_ipv6={mode}");
        let subnet = subnet(part);
        let flags = ["network", "create", "--ipv6", "--subnet", &subnet, "-o", &mode];
        sandbox.ok(&[&flags[..], more, &[name]].concat());
    };
    create("gm6-routed", 1, "routed", &["--subnet", &format!("{plain_v4}.0/25")]);
    create("gm6-open", 2, "nat-unprotected", &[]);
    create("gm6-plain", 3, "nat", &[]);
    create("gm6-cell", 4, "isolated", &["--internal"]);
    let server = |name: &str, network: &str| {
        server(&sandbox, name, network);
        let part = format!("(index .NetworkSettings.Networks \"{network}\").GlobalIPv6Address");
        sandbox.inspect(name, &format!("{{{{{part}}}}}"))
    };
    let routed = server("gm6-r", "gm6-routed");
    let open = server("gm6-o", "gm6-open");
    let plain = server("gm6-p", "gm6-plain");
    let cell = server("gm6-c", "gm6-cell");
    assert_eq!(cell, subnet(4).replace("::/64", "::1"), "nobody is the gateway there");
    assert_eq!(ip(&format!("-6 route show {}", subnet(4))).trim(), "");
    let at = |ip: &str, port: u16| format!("[{ip}]:{port}");
    for (name, ip) in [("gm6-r", &routed), ("gm6-o", &open), ("gm6-p", &plain), ("gm6-c", &cell)] {
        let own =
            eventually("a server answers its neighbours", || asks(&sandbox, name, &at(ip, 80)));
        assert_eq!(own, name);
    }
    let ports = sandbox.inspect("gm6-r", "{{json (index .NetworkSettings.Ports \"80/tcp\")}}");
    assert!(ports.contains(r#"{"HostIp":"::","HostPort":""}"#), "{ports}");
    assert!(!ports.contains(r#"{"HostIp":"0.0.0.0","HostPort":""}"#), "IPv4 has NAT: {ports}");

    // Other networks.
    for from in ["gm6-o", "gm6-p"] {
        assert_eq!(asks(&sandbox, from, &at(&routed, 80)).as_deref(), Some("gm6-r"), "{from}");
        assert_eq!(asks(&sandbox, from, &at(&routed, 81)), None, "{from}");
        sandbox.ok(&["exec", from, "ping", "-6", "-c1", "-W3", &routed]);
    }
    assert_eq!(asks(&sandbox, "gm6-p", &at(&open, 80)), None);
    assert_eq!(asks(&sandbox, "gm6-r", &at(&plain, 80)), None);
    assert_eq!(asks(&sandbox, "gm6-r", &at(&cell, 80)), None);

    // Another host that has a route.
    let lan = Lan::new(&format!("{outer}::2/64 nodad"));
    ip(&format!("addr add {outer}::1/64 dev {} nodad", lan.parent));
    ip(&format!("-n {} -6 route add {inner}::/48 via {outer}::1", lan.host));
    let from_lan = |ip: &str, port: u16| asks_from(&lan.host, &at(ip, port));
    eventually("the other host is answered", || from_lan(&routed, 80));
    assert_eq!(from_lan(&routed, 81), None);
    assert_eq!(from_lan(&open, 80).as_deref(), Some("gm6-o"));
    assert_eq!(from_lan(&open, 81).as_deref(), Some("gm6-o"));
    assert_eq!(from_lan(&plain, 80), None);
    assert_eq!(from_lan(&cell, 80), None);
    if client != Client::FerryOnDocker {
        let set = |name: &str| {
            run(Command::new("nft").args(["list", "set", "ip6", &sandbox.table(), name])).ok()
        };
        assert!(set("direct").contains(&format!("{routed} . tcp . 80")), "{}", set("direct"));
        let translated = |part: u8| set("outbound").contains(&subnet(part));
        assert_eq!([1, 2, 3].map(translated), [false, true, true], "{}", set("outbound"));
        sandbox.kill_daemon();
        sandbox.start_daemon(None);
        assert_eq!(from_lan(&routed, 80).as_deref(), Some("gm6-r"), "after a crash");
        assert_eq!(from_lan(&routed, 81), None, "after a crash");
        assert_eq!(from_lan(&plain, 80), None, "after a crash");
    }
    sandbox.run(&["rm", "-f", "gm6-r", "gm6-o", "gm6-p", "gm6-c"]);
    sandbox.ok(&["network", "rm", "gm6-routed", "gm6-open", "gm6-plain", "gm6-cell"]);
}

fn ping_from(host: &str, to: &str) -> Command {
    let mut ping = Command::new("ip");
    ping.args(["netns", "exec", host, "busybox", "ping", "-c1", "-W2", to]);
    ping
}

/// The host has no address there, and a container may have the first one.
fn isolated_networks(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    let (mode, subnet) = (format!("{MODE}=isolated"), format!("{base}.0/28"));
    let flags = ["--internal", "--subnet", &subnet, "-o", &mode, "gm-cell"];
    sandbox.ok(&[&["network", "create"], &flags[..]].concat());
    let first = server(&sandbox, "gm-first", "gm-cell");
    let second = server(&sandbox, "gm-second", "gm-cell");
    assert_eq!((first.as_str(), second.as_str()), (&*format!("{base}.1"), &*format!("{base}.2")));
    let at = format!("{first}:80");
    eventually("neighbours reach each other", || asks(&sandbox, "gm-second", &at));
    let ours = run(Command::new("ip").args(["-4", "route", "show", &subnet]));
    assert_eq!(ours.stdout.trim(), "", "the host has no route there");
    let shown = sandbox.ok(&["network", "inspect", "-f", "{{json .IPAM.Config}}", "gm-cell"]);
    assert_eq!(shown, format!(r#"[{{"Subnet":"{subnet}"}}]"#));
    if client != Client::FerryOnDocker {
        sandbox.kill_daemon();
        sandbox.start_daemon(None);
        let third = server(&sandbox, "gm-third", "gm-cell");
        assert_eq!(third, format!("{base}.3"), "the first is still a container's");
    }
    sandbox.run(&["rm", "-f", "gm-first", "gm-second", "gm-third"]);
    sandbox.ok(&["network", "rm", "gm-cell"]);
}

fn modes_that_are_refused(client: Client) {
    let sandbox = with_busybox(client);
    for (mode, words) in [
        ("foo", format!("failed to parse {MODE} value: foo (unknown gateway mode foo)")),
        ("isolated", "gateway mode 'isolated' can only be used for an internal network".to_owned()),
    ] {
        let option = format!("{MODE}={mode}");
        sandbox.run(&["network", "create", "-o", &option, "gm-bad"]).fails(1).says(&words);
    }
    sandbox.run(&["network", "inspect", "gm-bad"]).fails(1);
}

/// Where the default bridge keeps its containers apart, linked ones reach each other's exposed ports, and nobody else's.
#[test]
fn linked_containers_that_are_kept_apart() {
    let base = free_range();
    let sandbox = Sandbox::start_with(&[&format!("--bip={base}.1/24"), "--icc=false"]);
    sandbox.busybox();
    let serve = "echo web > /tmp/index.html; httpd -p 81 -h /tmp; exec httpd -f -p 80 -h /tmp";
    let web = ["run", "-d", "--name", "web", "--expose", "80", "busybox", "sh", "-c", serve];
    sandbox.ok(&web);
    for (name, flags) in [("linked", &["--link", "web"][..]), ("stranger", &[])] {
        let run = [&["run", "-d", "--name", name], flags, &["busybox", "sleep", "1000"]].concat();
        sandbox.ok(&run);
    }
    let address = || sandbox.inspect("web", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let only_the_linked = |when: &str| {
        let web = address();
        let (exposed, other) = (format!("{web}:80"), format!("{web}:81"));
        eventually(when, || asks(&sandbox, "linked", &exposed));
        assert_eq!(asks(&sandbox, "linked", &other), None, "{when}");
        assert_eq!(asks(&sandbox, "stranger", &exposed), None, "{when}");
    };
    only_the_linked("linked containers talk");
    sandbox.ok(&["restart", "-t", "0", "web"]);
    only_the_linked("after the other was restarted");
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    only_the_linked("after a crash of the daemon");
    let list = || {
        let words = ["list", "set", "ip", &sandbox.table(), "linked"];
        run(Command::new("nft").args(words)).ok()
    };
    assert!(list().contains("tcp . 80"), "{}", list());
    sandbox.ok(&["rm", "-f", "linked"]);
    assert!(!list().contains("tcp . 80"), "{}", list());
}
