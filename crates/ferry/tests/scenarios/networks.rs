//! Several networks for one container, and changes while it runs. What Docker says and does was looked up with dockerd 28.5.

use std::process::Command;

use ferry_testkit::{Client, Sandbox, eventually};
use serde_json::{Value, json};

use crate::{names, with_busybox};

through_all!(
    networks_come_and_go,
    several_networks_from_the_start,
    a_stopped_container_keeps_its_wishes,
    what_docker_refuses,
    ports_follow_the_way_out,
    a_running_container_changes_its_way_out,
    a_hardware_address_of_ones_own
);

/// Two networks that other tests do not use.
fn two_networks(sandbox: &Sandbox) -> [String; 2] {
    let base = ferry_testkit::free_range();
    let subnets = [format!("{base}.0/25"), format!("{base}.128/25")];
    for (name, subnet) in ["back", "front"].iter().zip(&subnets) {
        sandbox.ok(&["network", "create", "--subnet", subnet, name]);
    }
    subnets.map(|subnet| subnet.split('/').next().unwrap().rsplit_once('.').unwrap().0.to_owned())
}

fn sleeper(sandbox: &Sandbox, name: &str, options: &[&str]) {
    sandbox.ok(&[&["run", "-d", "--name", name], options, &["busybox", "sleep", "1000"]].concat());
}

fn links(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let text = sandbox.ok(&["exec", name, "ls", "/sys/class/net"]);
    text.split_whitespace().map(str::to_owned).collect()
}

/// The next hop and its link.
fn way_out(sandbox: &Sandbox, name: &str) -> String {
    sandbox.ok(&["exec", name, "sh", "-c", "ip route | sed -n 's/^default via //p'"])
}

fn networks_come_and_go(client: Client) {
    let sandbox = with_busybox(client);
    let [base, _] = two_networks(&sandbox);
    sleeper(&sandbox, "web", &["-h", "webhost"]);
    sleeper(&sandbox, "db", &["--network", "back", "--ip", &format!("{base}.9")]);
    assert_eq!(links(&sandbox, "web"), ["eth0", "lo"]);
    let address = format!("{base}.77");
    sandbox.ok(&["network", "connect", "--ip", &address, "--alias", "w", "back", "web"]);
    assert_eq!(links(&sandbox, "web"), ["eth0", "eth1", "lo"]);
    sandbox.ok(&["exec", "web", "ping", "-c1", "-W2", &format!("{base}.9")]);
    let networks = "{{range $n, $e := .NetworkSettings.Networks}}{{$n}}={{$e.IPAddress}} {{end}}";
    let seen = sandbox.inspect("web", networks);
    assert!(seen.contains(&format!("back={address} ")) && seen.contains("bridge="), "{seen}");
    let names = "{{.NetworkSettings.Networks.back.DNSNames}}";
    let id = sandbox.inspect("web", "{{slice .Id 0 12}}");
    assert_eq!(sandbox.inspect("web", names), format!("[web w {id} webhost]"));
    let hosts = sandbox.ok(&["exec", "web", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&format!("{address}\twebhost")), "{hosts}");
    let on_network = "{{range .Containers}}{{.Name}} {{.IPv4Address}} {{end}}";
    let seen = sandbox.ok(&["network", "inspect", "-f", on_network, "back"]);
    assert!(seen.contains(&format!("web {address}/25")), "{seen}");
    sandbox.run(&["network", "rm", "back"]).fails(1).says("has active endpoints");
    sandbox
        .run(&["network", "connect", "back", "web"])
        .fails(1)
        .says("endpoint with name web already exists in network back");
    sandbox.ok(&["network", "disconnect", "bridge", "web"]);
    assert_eq!(links(&sandbox, "web"), ["eth1", "lo"]);
    assert_eq!(way_out(&sandbox, "web"), format!("{base}.1 dev eth1"));
    let hosts = sandbox.ok(&["exec", "web", "cat", "/etc/hosts"]);
    assert_eq!(hosts.matches("webhost").count(), 1, "{hosts}");
    sandbox.ok(&["network", "disconnect", "back", "web"]);
    assert_eq!(links(&sandbox, "web"), ["lo"]);
    sandbox.ok(&["network", "connect", "front", "web"]);
    assert_eq!(links(&sandbox, "web"), ["eth0", "lo"]);
    let expected = ["connect back bridge", "disconnect bridge bridge", "disconnect back bridge"];
    // docker's `--until` is in whole seconds.
    eventually("the events tell of all that", || {
        let format = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}";
        let filter = ["--filter", "type=network", "--format", format];
        let words = [&["events", "--since", "60s", "--until", "0s"][..], &filter].concat();
        let events = sandbox.ok(&words);
        expected.iter().all(|line| events.lines().any(|seen| seen == *line)).then_some(())
    });
}

fn several_networks_from_the_start(client: Client) {
    let sandbox = with_busybox(client);
    let [back, front] = two_networks(&sandbox);
    let (ip, mac) = (format!("{back}.33"), "02:00:00:00:00:33");
    let long = format!("name=back,alias=b1,alias=b2,ip={ip},mac-address={mac},gw-priority=1");
    sleeper(&sandbox, "web", &["--network", "front", "--network", &long]);
    assert_eq!(links(&sandbox, "web"), ["eth0", "eth1", "lo"]);
    // Docker joins several networks in any order.
    let is_ours = client != Client::FerryOnDocker;
    let leads_back = |name: &str| {
        let (gateway, link) = (format!("{back}.1"), way_out(&sandbox, name));
        let (by, link) = link.split_once(" dev ").unwrap();
        assert_eq!(by, gateway, "{name}");
        assert!(link == "eth1" || !is_ours && link == "eth0", "{name}: {link}");
        link.to_owned()
    };
    let link = leads_back("web");
    let shown = sandbox.ok(&["exec", "web", "ip", "addr", "show", &link]);
    assert!(shown.contains(mac) && shown.contains(&format!("{ip}/25")), "{shown}");
    let shown = "{{with .NetworkSettings.Networks.back}}{{.IPAddress}} {{.MacAddress}} {{.Aliases}} {{.GwPriority}} {{.IPAMConfig.IPv4Address}}{{end}}";
    assert_eq!(sandbox.inspect("web", shown), format!("{ip} {mac} [b1 b2] 1 {ip}"));
    // Without priorities the name decides.
    sleeper(&sandbox, "plain", &["--network", "front", "--network", "back"]);
    leads_back("plain");
    let option = "name=front,driver-opt=com.docker.network.endpoint.ifname=lan0";
    sleeper(&sandbox, "named", &["--network", option]);
    assert_eq!(links(&sandbox, "named"), ["lan0", "lo"]);
    assert!(way_out(&sandbox, "named").starts_with(&front));
    sandbox.ok(&["restart", "-t", "0", "web"]);
    leads_back("web");
}

fn a_stopped_container_keeps_its_wishes(client: Client) {
    let sandbox = with_busybox(client);
    let [back, _] = two_networks(&sandbox);
    sandbox.ok(&["create", "--name", "web", "busybox", "sleep", "1000"]);
    sandbox.ok(&["network", "connect", "--ip", &format!("{back}.5"), "back", "web"]);
    sandbox.ok(&["network", "connect", "front", "web"]);
    sandbox.ok(&["network", "disconnect", "front", "web"]);
    sandbox
        .run(&["network", "disconnect", "front", "web"])
        .fails(1)
        .says("is not connected to the network front");
    sandbox.ok(&["start", "web"]);
    assert_eq!(links(&sandbox, "web"), ["eth0", "eth1", "lo"]);
    let ip = "{{.NetworkSettings.Networks.back.IPAddress}}";
    assert_eq!(sandbox.inspect("web", ip), format!("{back}.5"));
    sandbox.ok(&["stop", "-t", "0", "web"]);
    // A network may go while a container that is on it does not run.
    assert_eq!(sandbox.ok(&["network", "rm", "back"]), "back");
    // Docker says its id, by which nobody knows it.
    let words =
        if client == Client::FerryOnDocker { " not found" } else { "network back not found" };
    sandbox.run(&["start", "web"]).fails(1).says(words);
    sandbox.ok(&["network", "disconnect", "back", "web"]);
    sandbox.ok(&["start", "web"]);
    assert_eq!(links(&sandbox, "web"), ["eth0", "lo"]);
}

fn what_docker_refuses(client: Client) {
    let sandbox = with_busybox(client);
    let [_, _] = two_networks(&sandbox);
    sandbox.ok(&["network", "create", "any"]);
    sleeper(&sandbox, "web", &[]);
    for (words, message) in [
        (&["network", "connect", "nope", "web"][..], "network nope not found"),
        (&["network", "connect", "back", "nope"], "No such container: nope"),
        (
            &["network", "connect", "host", "web"],
            "cannot connect container to host network - container must be created in host network mode",
        ),
        (
            &["network", "connect", "none", "web"],
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ),
        (&["network", "disconnect", "back", "web"], "is not connected to network back"),
        (&["network", "disconnect", "-f", "back", "nope"], "endpoint nope not found"),
        (
            &["network", "connect", "--ip", "1.2.3.4", "back", "web"],
            "invalid endpoint settings:\nno configured subnet or ip-range contain the IP address 1.2.3.4",
        ),
        (
            &["network", "connect", "--ip", "1.2.3.4", "any", "web"],
            "invalid endpoint settings:\nuser specified IP address is supported only when connecting to networks with user configured subnets",
        ),
        (
            &["create", "--ip", "1.2.3.4", "busybox"],
            "invalid config for network bridge: invalid endpoint settings:\n* user specified IP address is supported on user defined networks only\n* no configured subnet or ip-range contain the IP address 1.2.3.4",
        ),
        (
            &["create", "--network", "back", "--network", "back", "busybox"],
            "network \"back\" is specified multiple times",
        ),
    ] {
        let outcome = sandbox.run(words);
        assert_ne!(outcome.code, 0, "{words:?}");
        outcome.says(message);
    }
    assert_eq!(links(&sandbox, "web"), ["eth0", "lo"]);
    sleeper(&sandbox, "alone", &["--network", "none"]);
    sandbox.run(&["network", "connect", "back", "alone"]).fails(1).says("private (none) mode");
    sleeper(&sandbox, "hosty", &["--network", "host"]);
    sandbox
        .run(&["network", "connect", "back", "hosty"])
        .fails(1)
        .says("sharing network namespace");
}

fn ports_follow_the_way_out(client: Client) {
    let sandbox = with_busybox(client);
    two_networks(&sandbox);
    let script = "echo here > /index.html; exec httpd -f -p 80 -h /";
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "front",
        "-p",
        &format!("127.0.0.1:{}:80", crate::network::some_port(client)),
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    let port = sandbox.ok(&["port", "web", "80"]);
    let answers = || {
        eventually("the port answers", || {
            crate::network::fetch(&port).filter(|body| body == "here")
        })
    };
    answers();
    sandbox.ok(&["network", "connect", "back", "web"]);
    answers();
    sandbox.ok(&["network", "disconnect", "front", "web"]);
    answers();
    assert_eq!(sandbox.ok(&["port", "web", "80"]), port);
    sandbox.ok(&["network", "disconnect", "back", "web"]);
    assert_eq!(crate::network::fetch(&port), None);
    sandbox.ok(&["network", "connect", "bridge", "web"]);
    let port = sandbox.ok(&["port", "web", "80"]);
    eventually("it is published again", || crate::network::fetch(&port));
}

/// `connect` with an alias, an address and a priority while it runs: others find it, and its default route leads there.
fn a_running_container_changes_its_way_out(client: Client) {
    let sandbox = with_busybox(client);
    let [back, front] = two_networks(&sandbox);
    sleeper(&sandbox, "web", &["--network", "front"]);
    sleeper(&sandbox, "db", &["--network", "back"]);
    let pid = sandbox.inspect("web", "{{.State.Pid}}");
    let defaults = || {
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-n", "ip", "-j", "-4", "route", "show", "default"]);
        let shown = ferry_testkit::run(&mut command).ok();
        let routes: Value = serde_json::from_str(&shown).unwrap();
        let routes = routes.as_array().unwrap().iter();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        routes.map(|route| (word(&route["gateway"]), word(&route["dev"]))).collect::<Vec<_>>()
    };
    let by = |base: &str, last: u8, link: &str| vec![(format!("{base}.{last}"), link.to_owned())];
    assert_eq!(defaults(), by(&front, 129, "eth0"));
    let address = format!("{back}.77");
    let wishes = ["--ip", &address, "--alias", "www", "--gw-priority", "10"];
    sandbox.ok(&[&["network", "connect"], &wishes[..], &["back", "web"]].concat());
    assert_eq!(defaults(), by(&back, 1, "eth1"), "the higher priority");
    for name in ["www", "web"] {
        let (code, records, _) = names::ask_in(&sandbox, "db", name, names::A, None);
        assert_eq!((code, names::addresses(&records)), (0, vec![address.clone()]), "{name}");
    }
    let (code, records, _) = names::ask_in(&sandbox, "web", "db", names::A, None);
    assert_eq!((code, records.len()), (0, 1), "and it finds others");
    sandbox.ok(&["exec", "db", "ping", "-c1", "-W2", "www"]);
    sandbox.ok(&["network", "disconnect", "back", "web"]);
    assert_eq!(defaults(), by(&front, 129, "eth0"));
    assert_ne!(names::ask_in(&sandbox, "db", "www", names::A, None).0, 0);
    // A lower one changes nothing.
    let wishes = ["--ip", &address, "--gw-priority", "-1"];
    sandbox.ok(&[&["network", "connect"], &wishes[..], &["back", "web"]].concat());
    assert_eq!(defaults(), by(&front, 129, "eth0"));
    sandbox.ok(&["exec", "web", "ping", "-c1", "-W2", "db"]);
}

/// `connect` of a running container with a hardware address, which no command line has a flag for.
fn a_hardware_address_of_ones_own(client: Client) {
    let sandbox = with_busybox(client);
    let [back, _] = two_networks(&sandbox);
    sleeper(&sandbox, "web", &["--network", "front"]);
    sleeper(&sandbox, "db", &["--network", "back"]);
    let (mac, address) = ("02:00:00:00:00:77", format!("{back}.77"));
    let connect = |mac: &str| {
        let on = json!({"MacAddress": mac, "IPAMConfig": {"IPv4Address": address}});
        let body = json!({"Container": "web", "EndpointConfig": on});
        sandbox.api().call("POST", "/networks/back/connect", Some(&body))
    };
    let (status, said) = connect("02:00:00");
    assert_eq!(status, 400, "{said}");
    assert!(said["message"].as_str().unwrap().contains("02:00:00"), "{said}");
    assert_eq!(connect(mac), (200, Value::Null));
    // Docker's daemon takes it, and gives another one.
    if client == Client::FerryOnDocker {
        return;
    }
    let pid = sandbox.inspect("web", "{{.State.Pid}}");
    let inside = || {
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-n", "ip", "-j", "addr", "show", "eth1"]);
        serde_json::from_str::<Value>(&ferry_testkit::run(&mut command).ok()).unwrap()
    };
    let seen = inside();
    assert_eq!(
        (&seen[0]["address"], &seen[0]["addr_info"][0]["local"]),
        (&json!(mac), &json!(address))
    );
    let shown = "{{.NetworkSettings.Networks.back.MacAddress}}";
    assert_eq!(sandbox.inspect("web", shown), mac);
    // A neighbour learns it from the wire.
    sandbox.ok(&["exec", "db", "ping", "-c1", "-W2", &address]);
    let known = sandbox.ok(&["exec", "db", "cat", "/proc/net/arp"]);
    let line = known.lines().find(|line| line.starts_with(&address));
    assert!(line.is_some_and(|line| line.contains(mac)), "{known}");
    // It is kept for the next start.
    sandbox.ok(&["restart", "-t", "0", "web"]);
    let shown = sandbox.inspect("web", "{{.NetworkSettings.Networks.back.MacAddress}}");
    assert_eq!(shown, mac);
}

/// Either the container comes up and its network stays, or the network goes and the container does not come up.
#[test]
fn a_network_does_not_go_while_somebody_comes() {
    let sandbox = Sandbox::start();
    sandbox.busybox();
    for round in 0..8_u64 {
        let (network, name) = (format!("n{round}"), format!("c{round}"));
        let id = sandbox.ok(&["network", "create", &network]);
        sandbox.ok(&["create", "--name", &name, "--network", &network, "busybox", "sleep", "1000"]);
        let mut start = sandbox.command(&["start", &name]);
        let start = std::thread::spawn(move || ferry_testkit::run(&mut start));
        std::thread::sleep(std::time::Duration::from_millis(round * 4));
        let removed = sandbox.run(&["network", "rm", &network]);
        let started = start.join().unwrap();
        assert_ne!(started.code == 0, removed.code == 0, "{started}\n{removed}");
        let bridge = format!("fr-{}", &id[..12]);
        let found = ferry_testkit::run(Command::new("ip").args(["link", "show", &bridge]));
        assert_eq!(found.code == 0, started.code == 0, "{started}\n{removed}");
        if started.code == 0 {
            removed.says(&format!("has active endpoints (name:\"{name}\" id:"));
            // A container that has ended is no hindrance, at once.
            sandbox.ok(&["stop", "-t", "0", &name]);
            sandbox.ok(&["network", "rm", &network]);
        }
    }
}
