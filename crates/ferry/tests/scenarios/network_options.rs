//! What networks are made with: ranges, options, IPv6. Looked up in the kernel.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

use ferry_testkit::{Client, Sandbox, eventually, free_range, free_range6, run};
use serde_json::Value;

use crate::with_busybox;

through_all!(
    ranges,
    options_of_bridges,
    networks_are_apart,
    both_families,
    ports_in_both_families,
    configurations
);

fn sleeper(sandbox: &Sandbox, name: &str, options: &[&str]) {
    sandbox.ok(&[&["run", "-d", "--name", name], options, &["busybox", "sleep", "1000"]].concat());
}

fn ip(sandbox: &Sandbox, name: &str, network: &str) -> String {
    sandbox.inspect(name, &format!("{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}"))
}

/// Docker's bridges have another name than ours.
fn bridge_of(sandbox: &Sandbox, network: &str) -> String {
    let id = sandbox.ok(&["network", "inspect", "-f", "{{slice .Id 0 12}}", network]);
    let names = [format!("fr-{id}"), format!("br-{id}")];
    let there = |name: &&String| Path::new("/sys/class/net").join(name).exists();
    names.iter().find(there).cloned().unwrap_or_default()
}

fn json(words: &str) -> Value {
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().unwrap());
    serde_json::from_str(&run(command.args(words)).ok()).unwrap()
}

fn ranges(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    let subnet = format!("{base}.0/24");
    sandbox.ok(&[
        "network",
        "create",
        "--subnet",
        &subnet,
        "--gateway",
        &format!("{base}.254"),
        "--ip-range",
        &format!("{base}.128/30"),
        "--aux-address",
        &format!("printer={base}.129"),
        "office",
    ]);
    let addresses = json(&format!("ip -j -4 addr show {}", bridge_of(&sandbox, "office")));
    assert_eq!(addresses[0]["addr_info"][0]["local"], format!("{base}.254"));
    for (name, last) in [("a", 128), ("b", 130), ("c", 131)] {
        let name = format!("box-{name}");
        sleeper(&sandbox, &name, &["--network", "office"]);
        assert_eq!(ip(&sandbox, &name, "office"), format!("{base}.{last}"));
    }
    sandbox
        .run(&["run", "--rm", "--network", "office", "busybox"])
        .fails(125)
        .says("no available IPv4 addresses on this network's address pools");
    let own = format!("{base}.9");
    sleeper(&sandbox, "own", &["--network", "office", "--ip", &own]);
    sandbox
        .run(&["run", "--rm", "--network", "office", "--ip", &own, "busybox"])
        .fails(125)
        .says("Address already in use");
    sandbox
        .run(&["network", "create", "--subnet", &format!("{base}.64/26"), "clash"])
        .fails(1)
        .says("invalid pool request: Pool overlaps with other one on this address space");
    let config = sandbox.ok(&["network", "inspect", "-f", "{{json .IPAM.Config}}", "office"]);
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config[0]["Gateway"], format!("{base}.254"));
    assert_eq!(config[0]["AuxiliaryAddresses"]["printer"], format!("{base}.129"));
    sandbox.ok(&["network", "create", "--subnet", &format!("{}.0/24", free_range()), "plain"]);
    let config = sandbox.ok(&["network", "inspect", "-f", "{{json .IPAM.Config}}", "plain"]);
    assert!(!config.contains("Gateway"), "what was not asked for is not shown: {config}");
}

fn options_of_bridges(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    let name = format!("fx{}", base.replace('.', "x"));
    let name_option = format!("com.docker.network.bridge.name={name}");
    sandbox.ok(&[
        "network",
        "create",
        "--subnet",
        &format!("{base}.0/25"),
        "-o",
        &name_option,
        "-o",
        "com.docker.network.driver.mtu=1280",
        "-o",
        "com.docker.network.bridge.host_binding_ipv4=127.0.0.1",
        "-o",
        "com.docker.network.bridge.enable_ip_masquerade=false",
        "-o",
        "com.docker.network.bridge.enable_icc=false",
        "quiet",
    ]);
    assert_eq!(json(&format!("ip -j link show {name}"))[0]["mtu"], 1280);
    sleeper(&sandbox, "one", &["--network", "quiet", "-p", "80"]);
    sleeper(&sandbox, "two", &["--network", "quiet"]);
    let seen = sandbox.ok(&["exec", "one", "cat", "/sys/class/net/eth0/mtu"]);
    assert_eq!(seen, "1280");
    assert!(sandbox.ok(&["port", "one", "80"]).starts_with("127.0.0.1:"));
    let two = ip(&sandbox, "two", "quiet");
    sandbox.run(&["exec", "one", "ping", "-c1", "-W1", &two]).fails(1);
    sandbox.ok(&["exec", "one", "ping", "-c1", "-W2", &format!("{base}.1")]);
    // Our own rules; Docker's have other names.
    if client != Client::FerryOnDocker {
        let set = ["list", "set", "ip", &sandbox.table(), "outbound"];
        let outbound = run(Command::new("nft").args(set)).ok();
        assert!(!outbound.contains(&name), "{outbound}");
    }
    for (option, message) in [
        (
            "com.docker.network.bridge.host_binding_ipv4=foo",
            "failed to parse com.docker.network.bridge.host_binding_ipv4 value: foo (nil ip)",
        ),
        (
            "com.docker.network.bridge.enable_icc=foo",
            "failed to parse com.docker.network.bridge.enable_icc value: foo (strconv.ParseBool: parsing \"foo\": invalid syntax)",
        ),
    ] {
        sandbox.run(&["network", "create", "-o", option, "wrong"]).fails(1).says(message);
    }
}

fn networks_are_apart(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    sandbox.ok(&["network", "create", "--subnet", &format!("{base}.0/25"), "left"]);
    sandbox.ok(&["network", "create", "--subnet", &format!("{base}.128/25"), "right"]);
    sandbox.ok(&["network", "create", "--internal", "cell"]);
    sleeper(&sandbox, "in-left", &["--network", "left"]);
    sleeper(&sandbox, "in-right", &["--network", "right"]);
    sleeper(&sandbox, "in-cell", &["--network", "cell"]);
    let right = ip(&sandbox, "in-right", "right");
    sandbox.run(&["exec", "in-left", "ping", "-c1", "-W1", &right]).fails(1);
    sandbox.run(&["exec", "in-cell", "ping", "-c1", "-W1", &right]).fails(1);
    assert_eq!(sandbox.inspect("in-cell", "{{.NetworkSettings.Networks.cell.Gateway}}"), "");
    assert!(!sandbox.ok(&["exec", "in-cell", "ip", "route"]).contains("default"));
    sandbox.ok(&["network", "connect", "right", "in-left"]);
    sandbox.ok(&["exec", "in-left", "ping", "-c1", "-W2", &right]);
}

fn both_families(client: Client) {
    let sandbox = with_busybox(client);
    let six = free_range6();
    let subnet = format!("{six}::/64");
    sandbox.ok(&["network", "create", "--ipv6", "--subnet", &subnet, "six"]);
    sleeper(&sandbox, "a1", &["--network", "six"]);
    sleeper(&sandbox, "a2", &["--network", "six", "--ip6", &format!("{six}::77")]);
    let address = "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}";
    assert_eq!(sandbox.inspect("a1", address), format!("{six}::2"));
    assert_eq!(sandbox.inspect("a2", address), format!("{six}::77"));
    let bridge = bridge_of(&sandbox, "six");
    let links = json(&format!("ip -j -6 addr show {bridge} scope global"));
    assert_eq!(links[0]["addr_info"][0]["local"], format!("{six}::1"));
    sandbox.ok(&["exec", "a1", "ping", "-6", "-c1", "-W2", &format!("{six}::1")]);
    // A dockerd on the same machine drops what other bridges forward, and bridges show it to its rules.
    let dropped = run(Command::new("nft").args(["list", "chain", "ip6", "filter", "FORWARD"]));
    if !dropped.stdout.contains("policy drop") {
        sandbox.ok(&["exec", "a1", "ping", "-6", "-c1", "-W2", "a2"]);
    }
    assert!(sandbox.ok(&["exec", "a1", "nslookup", "a2"]).contains(&format!("{six}::77")));
    sandbox.ok(&["exec", "a1", "ping", "-4", "-c1", "-W2", "a2"]);
    let routes = sandbox.ok(&["exec", "a1", "ip", "-6", "route"]);
    assert!(routes.contains(&format!("default via {six}::1 dev eth0")), "{routes}");
    let is_ours = client != Client::FerryOnDocker;
    if is_ours {
        let set = ["list", "set", "ip6", &sandbox.table(), "outbound"];
        let masked = run(Command::new("nft").args(set)).ok();
        assert!(masked.contains(&bridge), "NAT66: {masked}");
    }
    // A range of this machine's own where none is named.
    sandbox.ok(&["network", "create", "--ipv6", "chosen"]);
    let config = sandbox.ok(&["network", "inspect", "-f", "{{json .IPAM.Config}}", "chosen"]);
    let config: Value = serde_json::from_str(&config).unwrap();
    assert!(config[1]["Subnet"].as_str().unwrap().starts_with("fd"), "{config}");
    sandbox.ok(&["network", "create", "plain"]);
    sandbox
        .run(&["run", "--rm", "--network", "plain", "--ip6", "fd00::9", "busybox"])
        .fails(125)
        .says("user specified IP address is supported only when connecting to networks with user configured subnets");
    sandbox.ok(&["network", "rm", "chosen", "plain"]);
    sandbox.ok(&["rm", "-f", "a1", "a2"]);
    sandbox.ok(&["network", "rm", "six"]);
    if is_ours {
        let left = run(Command::new("nft").args(["list", "table", "ip6", &sandbox.table()]));
        assert_ne!(left.code, 0, "{}", left.stdout);
    }
}

fn fetch(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned())
}

fn ports_in_both_families(client: Client) {
    let sandbox = with_busybox(client);
    let six = free_range6();
    let subnet = format!("{six}::/64");
    sandbox.ok(&["network", "create", "--ipv6", "--subnet", &subnet, "six"]);
    let script = "echo here > /index.html; exec httpd -f -p 80 -h /";
    let server = |name: &str, options: &[&str]| {
        let words =
            [&["run", "-d", "--name", name], options, &["busybox", "sh", "-c", script]].concat();
        sandbox.ok(&words);
    };
    server("four", &["-p", "80"]);
    let loopback = format!("[::1]:{}:80", crate::network::some_port(client));
    server("both", &["--network", "six", "-p", "80", "-p", &loopback]);
    for name in ["four", "both"] {
        let ports = sandbox.ok(&["port", name, "80"]);
        let (v4, v6) = (
            ports.lines().find(|line| line.starts_with("0.0.0.0:")).unwrap(),
            ports.lines().find(|line| line.starts_with("[::]:")).unwrap(),
        );
        let port = v4.rsplit_once(':').unwrap().1;
        assert_eq!(v6, format!("[::]:{port}"), "one number in both families");
        let mut places = vec![format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
        if name == "both" {
            places.push(format!("[{six}::1]:{port}"));
            let loopback = ports.lines().find(|line| line.starts_with("[::1]:")).unwrap();
            places.push(loopback.to_owned());
        }
        for place in places {
            eventually(&format!("{name} at {place}"), || {
                fetch(&place).filter(|body| body == "here")
            });
        }
    }
    // Docker's daemon is not ours to kill.
    if client != Client::FerryOnDocker {
        sandbox.kill_daemon();
        sandbox.start_daemon(None);
    }
    let ports = sandbox.ok(&["port", "four", "80"]);
    let port = ports.lines().next().unwrap().rsplit_once(':').unwrap().1.to_owned();
    eventually("carried by the next daemon", || fetch(&format!("[::1]:{port}")));
    sandbox.ok(&["rm", "-f", "four", "both"]);
    assert_eq!(fetch(&format!("[::1]:{port}")), None);
}

/// A network that is only a configuration, and one that is made with it.
fn configurations(client: Client) {
    let sandbox = with_busybox(client);
    let subnet = format!("{}.0/28", free_range());
    let create = |flags: &[&str]| sandbox.run(&[&["network", "create"], flags].concat());
    let flags = ["--config-only", "--subnet", &subnet, "--label", "a=b", "-o"];
    create(&[&flags[..], &["com.docker.network.driver.mtu=1400", "conf"]].concat()).ok();
    let shown = "{{.Driver}} {{.ConfigOnly}} {{.ConfigFrom.Network}} {{.Labels}} {{(index .IPAM.Config 0).Subnet}}";
    let inspect = |name: &str| sandbox.ok(&["network", "inspect", "-f", shown, name]);
    assert_eq!(inspect("conf"), format!("null true  map[a:b] {subnet}"));
    create(&["--config-from", "conf", "real"]).ok();
    assert_eq!(inspect("real"), format!("bridge false conf map[a:b] {subnet}"));
    let mtu = ["run", "--rm", "--network", "real", "busybox", "cat", "/sys/class/net/eth0/mtu"];
    assert_eq!(sandbox.ok(&mtu), "1400");
    for (flags, words) in [
        (
            &["--config-only", "--config-from", "conf"][..],
            "a configuration network cannot depend on another configuration network",
        ),
        (&["--config-from", "absent"], "configuration network \"absent\" does not exist"),
        (&["--config-from", "real"], "configuration network \"real\" does not exist"),
        (
            &["--config-from", "conf", "--label", "x=y"],
            "user specified configurations are not supported if the network depends",
        ),
        (
            &["--config-from", "conf", "-o", "a=b"],
            "network driver options are not supported if the network depends",
        ),
        (
            &["--config-only", "--internal"],
            "configuration network can only contain network specific fields.",
        ),
    ] {
        create(&[flags, &["other"]].concat()).fails(1).says(words);
    }
    let words = "failed to set up container networking: cannot create endpoint on configuration-only network";
    sandbox.run(&["run", "--rm", "--network", "conf", "busybox", "true"]).fails(125).says(words);
    sleeper(&sandbox, "on", &[]);
    let words = "cannot create endpoint on configuration-only network";
    sandbox.run(&["network", "connect", "conf", "on"]).fails(1).says(words);
    if client != Client::FerryOnDocker {
        sandbox.kill_daemon();
        sandbox.start_daemon(None);
    }
    assert_eq!(inspect("conf"), format!("null true  map[a:b] {subnet}"));
    let words = "configuration network \"conf\" is in use";
    sandbox.run(&["network", "rm", "conf"]).fails(1).says(words);
    let pruned = sandbox.ok(&["network", "prune", "-f"]);
    assert!(pruned.contains("real") && !pruned.contains("conf"), "{pruned}");
    sandbox.ok(&["network", "prune", "-f"]);
    assert_eq!(inspect("conf"), format!("null true  map[a:b] {subnet}"), "nobody can be on it");
    sandbox.ok(&["network", "rm", "conf"]);
}
