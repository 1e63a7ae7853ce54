//! Networks on a link of the host (macvlan), addresses for one link alone, what the daemon is told of the default network, and
//! rules that others flush.

use std::process::Command;

use ferry_testkit::{Client, Sandbox, eventually, free_range, run};
use serde_json::Value;

use crate::{
    lan::{Lan, ip},
    with_busybox,
};

through_all!(
    macvlan_is_in_the_parents_network,
    modes_of_macvlan,
    link_local_addresses,
    drivers_refuse
);

fn json(words: &str) -> Value {
    serde_json::from_str(&ip(words)).unwrap()
}

fn macvlan_is_in_the_parents_network(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    let lan = Lan::new(&format!("{base}.1/24"));
    let parent = format!("parent={}", lan.parent);
    let (subnet, gateway) = (format!("{base}.0/24"), format!("{base}.1"));
    let create = ["network", "create", "-d", "macvlan", "--subnet", &subnet, "--gateway", &gateway];
    sandbox.ok(&[&create[..], &["-o", &parent, "lan"]].concat());
    let shown = sandbox.ok(&["network", "inspect", "lan"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown[0]["Driver"], "macvlan");
    assert_eq!(shown[0]["Options"], serde_json::json!({"parent": lan.parent}));
    let run_it = ["run", "-d", "--name", "box", "--network", "lan", "-p", "80"];
    sandbox.ok(&[&run_it[..], &["busybox", "sleep", "1000"]].concat());
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    let inside: Value = serde_json::from_str(
        &run(Command::new("nsenter")
            .args(["-t", &pid, "-n", "ip", "-j", "-d", "link", "show", "eth0"]))
        .ok(),
    )
    .unwrap();
    assert_eq!(inside[0]["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(inside[0]["linkinfo"]["info_data"]["mode"], "bridge");
    let mac = sandbox.inspect("box", "{{.NetworkSettings.Networks.lan.MacAddress}}");
    assert_eq!(inside[0]["address"], mac);
    let ports = sandbox.inspect("box", "{{json .NetworkSettings.Ports}}");
    assert!(!ports.contains("HostPort"), "nothing is published: {ports}");
    // The other host and the container reach each other; so do two containers, by name, too.
    sandbox.ok(&["exec", "box", "ping", "-c1", "-W3", &gateway]);
    let own = sandbox.inspect("box", "{{.NetworkSettings.Networks.lan.IPAddress}}");
    assert_eq!(own, format!("{base}.2"));
    sandbox.ok(&["exec", "-d", "box", "httpd", "-p", "8077", "-h", "/etc"]);
    let reached = |address: &str| {
        let url = format!("http://{address}:8077/passwd");
        let curl = ["netns", "exec", &lan.host, "curl", "-sfm3", &url];
        eventually("the container answers the other host", || {
            run(Command::new("ip").args(curl)).stdout.starts_with("root").then_some(())
        });
    };
    reached(&own);
    sandbox.ok(&["run", "--rm", "--network", "lan", "busybox", "ping", "-c1", "-W3", "box"]);
    // The address is free again, and on a network that it joins later it has a link, too.
    sandbox.ok(&["network", "disconnect", "lan", "box"]);
    let links = sandbox.ok(&["exec", "box", "ls", "/sys/class/net"]);
    assert!(!links.contains("eth0"), "{links}");
    sandbox.ok(&["network", "connect", "--ip", &format!("{base}.77"), "lan", "box"]);
    reached(&format!("{base}.77"));
    if client == Client::Ferry {
        sandbox.kill_daemon();
        sandbox.start_daemon(None);
        reached(&format!("{base}.77"));
        sandbox
            .run(&["run", "--rm", "--network", "lan", "--ip", &format!("{base}.77"), "busybox"])
            .fails(125)
            .says("Address already in use");
    }
    sandbox.run(&["network", "rm", "lan"]).fails(1).says("has active endpoints");
    sandbox.ok(&["rm", "-f", "box"]);
    // Several subnets: the first one's addresses, unless another's is asked for.
    let (one, two) = (format!("{base}.128/29"), format!("{base}.160/29"));
    sandbox.ok(&["network", "rm", "lan"]);
    let two_subnets = ["network", "create", "-d", "macvlan", "--subnet", &one, "--subnet", &two];
    sandbox.ok(&[&two_subnets[..], &["-o", &parent, "lan"]].concat());
    let route = ["run", "--rm", "--network", "lan"];
    let shell = [
        "busybox",
        "sh",
        "-c",
        "ip -4 addr show eth0 | grep -o 'inet [^ ]*'; ip route | grep default",
    ];
    let places = [(&one, 128), (&two, 160)].map(|(subnet, start)| {
        let text = format!("default via {base}.{} dev eth0", start + 1);
        (subnet.clone(), start, text)
    });
    // Docker's command line keeps subnets in a map: it sends them in any order.
    let order = sandbox.ok(&["network", "inspect", "-f", "{{json .IPAM.Config}}", "lan"]);
    let order: Value = serde_json::from_str(&order).unwrap();
    let [first, second] = [0, 1].map(|at| {
        places.iter().find(|(subnet, ..)| order[at]["Subnet"] == subnet.as_str()).unwrap()
    });
    if client == Client::Ferry {
        assert_eq!(first.0, one);
    }
    let shown = sandbox.ok(&[&route[..], &shell].concat());
    assert_eq!(shown, format!("inet {base}.{}/29\n{}", first.1 + 2, first.2));
    let wanted = format!("{base}.{}", second.1 + 3);
    let shown = sandbox.ok(&[&route[..], &["--ip", &wanted], &shell].concat());
    assert_eq!(shown, format!("inet {wanted}/29\n{}", second.2));
    sandbox.ok(&["network", "rm", "lan"]);
    assert!(json("-j link").to_string().contains(&lan.parent), "the parent is not ours to remove");
}

/// Who reaches whom by a parent whose other end sends nothing back: in `private` and `vepa` no neighbour, the other host always.
fn modes_of_macvlan(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    for (mode, neighbours) in [("bridge", true), ("private", false), ("vepa", false)] {
        let lan = Lan::new(&format!("{base}.1/24"));
        let (parent, option) = (format!("parent={}", lan.parent), format!("macvlan_mode={mode}"));
        let (subnet, gateway) = (format!("{base}.0/24"), format!("{base}.1"));
        let flags = ["--subnet", &subnet, "--gateway", &gateway, "-o", &parent, "-o", &option];
        sandbox.ok(&[&["network", "create", "-d", "macvlan"], &flags[..], &["modes"]].concat());
        for name in ["one", "two"] {
            let run = ["run", "-d", "--name", name, "--network", "modes"];
            sandbox.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
        }
        assert_eq!(mode_of(&sandbox, "one"), mode);
        sandbox.ok(&["exec", "one", "ping", "-c1", "-W3", &gateway]);
        let two = sandbox.inspect("two", "{{.NetworkSettings.Networks.modes.IPAddress}}");
        let reached = sandbox.run(&["exec", "one", "ping", "-c1", "-W1", &two]).code == 0;
        assert_eq!(reached, neighbours, "{mode}");
        sandbox.ok(&["rm", "-f", "one", "two"]);
        sandbox.ok(&["network", "rm", "modes"]);
    }
    // The parent is one container's alone.
    let lan = Lan::new(&format!("{base}.1/24"));
    let (parent, subnet) = (format!("parent={}", lan.parent), format!("{base}.0/24"));
    let gateway = format!("{base}.1");
    let flags = ["--subnet", &subnet, "--gateway", &gateway, "-o", &parent];
    let passthru = ["-o", "macvlan_mode=passthru", "modes"];
    sandbox.ok(&[&["network", "create", "-d", "macvlan"], &flags[..], &passthru].concat());
    let run = ["run", "-d", "--name", "one", "--network", "modes"];
    sandbox.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
    assert_eq!(mode_of(&sandbox, "one"), "passthru");
    sandbox.ok(&["exec", "one", "ping", "-c1", "-W3", &gateway]);
    sandbox.run(&["run", "--rm", "--network", "modes", "busybox", "true"]).fails(125);
    sandbox.ok(&["rm", "-f", "one"]);
    sandbox.ok(&["run", "--rm", "--network", "modes", "busybox", "ping", "-c1", "-W3", &gateway]);
    sandbox.ok(&["network", "rm", "modes"]);
}

/// The mode that the kernel shows.
fn mode_of(sandbox: &Sandbox, container: &str) -> String {
    let pid = sandbox.inspect(container, "{{.State.Pid}}");
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-n", "ip", "-j", "-d", "link", "show", "eth0"]);
    let shown: Value = serde_json::from_str(&run(&mut command).ok()).unwrap();
    shown[0]["linkinfo"]["info_data"]["mode"].as_str().unwrap().to_owned()
}

fn link_local_addresses(client: Client) {
    let sandbox = with_busybox(client);
    let subnet = format!("{}.0/24", free_range());
    sandbox.ok(&["network", "create", "--subnet", &subnet, "ll"]);
    let run_it = ["run", "--rm", "--network", "ll", "--link-local-ip"];
    let shell = ["busybox", "sh", "-c", "ip -4 addr show eth0 | grep -o 'inet 169[^ ]*'"];
    assert_eq!(
        sandbox.ok(&[&run_it[..], &["169.254.7.7"], &shell].concat()),
        "inet 169.254.7.7/16"
    );
    sandbox
        .run(&[&run_it[..], &["8.8.8.8", "busybox"]].concat())
        .fails(125)
        .says("invalid link local IP address: 8.8.8.8");
    sandbox.ok(&["network", "rm", "ll"]);
}

fn drivers_refuse(client: Client) {
    let sandbox = with_busybox(client);
    let refused = |options: &[&str], words: &str| {
        let create = ["network", "create", "--subnet", "10.191.0.0/24"];
        sandbox.run(&[&create[..], options, &["nope"]].concat()).fails(1).says(words);
    };
    refused(&["--subnet", "10.191.1.0/24"], "bridge driver doesn't support multiple subnets");
    refused(
        &["-d", "macvlan", "-o", "parent=nosuch"],
        "invalid subinterface vlan name nosuch, example formatting is eth0.10",
    );
    refused(
        &["-d", "macvlan", "-o", "parent=nosuch.7"],
        "-o parent interface was not found on the host: nosuch",
    );
    refused(
        &["-d", "macvlan", "-o", "parent=lo", "-o", "macvlan_mode=wrong"],
        "requested macvlan mode 'wrong' is not valid, 'bridge' mode is the macvlan driver default",
    );
    refused(
        &["-d", "ipvlan", "-o", "parent=lo", "-o", "ipvlan_mode=wrong"],
        "requested ipvlan mode 'wrong' is not valid, 'l2' mode is the ipvlan driver default",
    );
}

#[test]
fn the_default_network_as_the_daemon_is_told() {
    let number = std::process::id() % 250;
    let base = free_range();
    let sandbox = Sandbox::start_with(&[
        &format!("--bip={base}.1/24"),
        &format!("--fixed-cidr={base}.128/25"),
        &format!("--default-gateway={base}.254"),
        "--icc=false",
        "--ipv6",
        &format!("--bip6=fd00:192:{number}::1/64"),
        &format!("--fixed-cidr-v6=fd00:192:{number}::8000/113"),
        &format!("--default-gateway-v6=fd00:192:{number}::fe"),
    ]);
    sandbox.busybox();
    for name in ["one", "two"] {
        sandbox.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
    }
    let of = |name: &str, field: &str| {
        sandbox.inspect(name, &format!("{{{{.NetworkSettings.Networks.bridge.{field}}}}}"))
    };
    assert_eq!(of("one", "IPAddress"), format!("{base}.128"));
    assert_eq!(of("one", "Gateway"), format!("{base}.254"));
    assert_eq!(of("one", "GlobalIPv6Address"), format!("fd00:192:{number}::8000"));
    let route = sandbox.ok(&["exec", "one", "ip", "route"]);
    assert!(route.contains(&format!("default via {base}.254")), "{route}");
    let route = sandbox.ok(&["exec", "one", "ip", "-6", "route"]);
    assert!(route.contains(&format!("default via fd00:192:{number}::fe")), "{route}");
    // They reach the host and not each other.
    sandbox.ok(&["exec", "one", "ping", "-c1", "-W3", &format!("{base}.1")]);
    sandbox.run(&["exec", "one", "ping", "-c1", "-W1", &of("two", "IPAddress")]).fails(1);
    let shown = sandbox.ok(&["network", "inspect", "bridge"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let pool = &shown[0]["IPAM"]["Config"][0];
    assert_eq!(pool["IPRange"], format!("{base}.128/25"));
    assert_eq!(pool["AuxiliaryAddresses"]["DefaultGatewayIPv4"], format!("{base}.254"));
    assert_eq!(shown[0]["EnableIPv6"], true);
    assert_eq!(shown[0]["Options"]["com.docker.network.bridge.enable_icc"], "false");
}

/// Only our own table is flushed here: the machine's others belong to others.
#[test]
fn flushed_rules_come_back() {
    let sandbox = with_busybox(Client::Ferry);
    let serve = "echo hello > /tmp/index.html; httpd -f -p 80 -h /tmp";
    let web = ["run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c", serve];
    sandbox.ok(&web);
    let port = sandbox.ok(&["port", "web", "80"]);
    let answers = || {
        let url = format!("http://{port}/");
        (run(Command::new("curl").args(["-sm2", &url])).stdout == "hello\n").then_some(())
    };
    eventually("it serves", answers);
    let table = sandbox.table();
    let rules = || {
        let text = run(Command::new("nft").args(["-s", "list", "table", "ip", &table])).stdout;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = rules();
    for (words, left) in
        [("flush table ip", true), ("delete table ip", false), ("flush chain ip", true)]
    {
        let mut arguments: Vec<&str> = words.split(' ').collect();
        arguments.push(&table);
        arguments.extend((words == "flush chain ip").then_some("forward"));
        run(Command::new("nft").args(&arguments)).ok();
        eventually("the rules are back", || (rules() == before).then_some(()));
        eventually("it serves again", answers);
        eventually("it says so", || {
            (left || sandbox.daemon_log().contains("they are back")).then_some(())
        });
    }
    sandbox.ok(&["rm", "-f", "web"]);
}

#[test]
fn ports_are_audited() {
    let sandbox = with_busybox(Client::Ferry);
    let start = |name: &str, options: &[&str]| {
        sandbox
            .ok(&[&["run", "-d", "--name", name], options, &["busybox", "sleep", "100"]].concat())
    };
    start("near", &["-p", "127.0.0.1::80"]);
    start("far", &["-p", "81", "--expose", "82"]);
    let listed = sandbox.ok(&["port", "audit"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("ADDRESS"), "{listed}");
    assert!(lines[1].starts_with("0.0.0.0:") && lines[1].contains("whoever reaches this machine"));
    let near = lines.iter().find(|line| line.contains("near")).unwrap();
    assert!(near.starts_with("127.0.0.1:") && near.ends_with("this machine"), "{listed}");
    let exposed = lines.iter().find(|line| line.contains("82/tcp")).unwrap();
    assert!(exposed.ends_with("containers on bridge"), "{listed}");
}

/// What is not for this machine's services is not for published ports either.
#[test]
fn the_hosts_firewall_is_respected() {
    let sandbox = Sandbox::start_with(&["--firewall=respect"]);
    sandbox.busybox();
    let base = free_range();
    let lan = Lan::new(&format!("{base}.1/24"));
    ip(&format!("addr add {base}.2/24 dev {}", lan.parent));
    let serve = "echo hello > /tmp/index.html; httpd -f -p 80 -h /tmp";
    sandbox.ok(&["run", "-d", "--name", "web", "-p", "0.0.0.0::80", "busybox", "sh", "-c", serve]);
    let port = sandbox.ok(&["port", "web", "80"]).rsplit(':').next().unwrap().to_owned();
    let answers = |netns: &[&str], address: &str| {
        let url = format!("http://{address}:{port}/");
        let words = [netns, &["curl", "-sm2", &url]].concat();
        run(Command::new(words[0]).args(&words[1..])).stdout == "hello\n"
    };
    let from_lan = ["ip", "netns", "exec", &lan.host];
    let host = format!("{base}.2");
    eventually("it serves the machine", || answers(&[], "127.0.0.1").then_some(()));
    eventually("and others", || answers(&from_lan, &host).then_some(()));
    let table = format!("ferrytest{}", std::process::id());
    let nft = |words: &str| run(Command::new("nft").args(words.split(' '))).ok();
    nft(&format!("add table ip {table}"));
    nft(&format!("add chain ip {table} incoming {{ type filter hook input priority 0 ; }}"));
    nft(&format!("add rule ip {table} incoming iifname {} tcp dport {port} drop", lan.parent));
    let outcome = (answers(&from_lan, &host), answers(&[], "127.0.0.1"));
    nft(&format!("delete table ip {table}"));
    assert_eq!(outcome, (false, true), "the rule holds for others");
    eventually("others again", || answers(&from_lan, &host).then_some(()));
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    eventually("the next daemon carries on", || answers(&from_lan, &host).then_some(()));
}
