//! The daemon dies at the worst moments: containers go on, nothing is lost, nothing half made stays.

use std::process::Command;

use ferry_testkit::{Client, Run, Sandbox, Traces, eventually, run};

use crate::with_busybox;

#[test]
fn containers_outlive_the_daemon() {
    let sandbox = with_busybox(Client::Ferry);
    let script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "on",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    sandbox.ok(&["run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 1; exit 5"]);
    let pid = sandbox.inspect("on", "{{.State.Pid}}");
    let (address, port) = (
        sandbox.inspect("on", "{{.NetworkSettings.Networks.bridge.IPAddress}}"),
        sandbox.ok(&["port", "on"]),
    );
    for _ in 0..3 {
        sandbox.kill_daemon();
        std::thread::sleep(std::time::Duration::from_millis(600));
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
        sandbox.start_daemon(None);
        assert_eq!(
            sandbox.inspect("on", "{{.State.Pid}} {{.State.Status}}"),
            format!("{pid} running")
        );
    }
    assert_eq!(sandbox.ok(&["port", "on"]), port);
    assert_eq!(sandbox.inspect("on", "{{.NetworkSettings.Networks.bridge.IPAddress}}"), address);
    eventually("the other ended, while nobody was there or later", || {
        let state = sandbox.inspect("ends", "{{.State.Status}} {{.State.ExitCode}}");
        (state == "exited 5").then_some(())
    });
    assert_eq!(sandbox.ok(&["exec", "on", "echo", "inside"]), "inside");
    sandbox.ok(&["stop", "-t", "0", "on"]);
    let lines = sandbox.ok(&["logs", "on"]);
    let expected: Vec<String> =
        (1..=lines.lines().count()).map(|number| number.to_string()).collect();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected, "no line was lost");
}

#[test]
fn beside_one_on_the_network_of_the_host() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "-d", "--name", "own", "busybox", "sleep", "1000"]);
    sandbox.ok(&["run", "-d", "--name", "hosts", "--network", "host", "busybox", "sleep", "1000"]);
    let address = || sandbox.ok(&["exec", "own", "ip", "-o", "-4", "addr", "show", "eth0"]);
    let before = address();
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    assert_eq!(address(), before);
    assert_eq!(sandbox.inspect("hosts", "{{.State.Status}}"), "running");
    sandbox.stop_daemon();
    sandbox.start_daemon(None);
    assert_eq!(address(), before);
}

#[test]
fn a_record_that_does_not_read_costs_nothing_that_was_written() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "--name", "kept", "busybox", "sh", "-c", "echo precious > /file"]);
    let id = sandbox.inspect("kept", "{{.Id}}");
    let record = sandbox.data().join("containers").join(&id).join("config.json");
    let whole = std::fs::read(&record).unwrap();
    for damaged in [&b""[..], &whole[..whole.len() / 2]] {
        sandbox.kill_daemon();
        std::fs::write(&record, damaged).unwrap();
        sandbox.start_daemon(None);
        assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
        assert!(sandbox.daemon_log().contains("its record does not read"));
    }
    sandbox.kill_daemon();
    std::fs::write(&record, whole).unwrap();
    sandbox.start_daemon(None);
    let back = sandbox.dir().join("back");
    sandbox.ok(&["cp", "kept:/file", back.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(back).unwrap(), "precious\n");
}

#[test]
fn a_commit_that_is_cut_short_leaves_its_container_running() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "-d", "--name", "on", "busybox", "sleep", "1000"]);
    sandbox.stop_daemon();
    sandbox.start_daemon(Some("commit.frozen"));
    sandbox.run(&["commit", "on", "half"]).fails(1);
    sandbox.wait_for_death();
    sandbox.start_daemon(None);
    assert_eq!(sandbox.inspect("on", "{{.State.Status}}"), "running");
    assert_eq!(sandbox.ok(&["exec", "on", "echo", "inside"]), "inside");
    sandbox.ok(&["commit", "on", "whole"]);
}

#[test]
fn restart_policies_survive_the_daemon() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "always",
        "--restart",
        "always",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "stopped",
        "--restart",
        "unless-stopped",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(&["stop", "-t", "0", "stopped"]);
    let pid: i32 = sandbox.inspect("always", "{{.State.Pid}}").parse().unwrap();
    sandbox.kill_daemon();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    sandbox.start_daemon(None);
    eventually("it is brought back", || {
        (sandbox.inspect("always", "{{.State.Status}}") == "running").then_some(())
    });
    assert_eq!(sandbox.inspect("stopped", "{{.State.Status}}"), "exited");
}

/// Ports of both families and of TCP and UDP, those of IPv6 led by rules, too.
const ALL_PORTS: [&str; 8] =
    ["-p", "127.0.0.1::80", "-p", "[::]::80", "-p", "127.0.0.1::53/udp", "-p", "[::]::53/udp"];

/// A container on a network of both families with something of everything.
fn victim(sandbox: &Sandbox, how: &[&str], command: &[&str]) -> Run {
    let flags = ["--name", "victim", "--network", "both", "-v", "/scratch"];
    sandbox.run(&[&["run"], how, &flags, &ALL_PORTS, &["busybox"], command].concat())
}

/// At every step of create, start, stop and remove the daemon is killed; the next one must find or undo everything.
fn dies_at(failpoint: &str) {
    let sandbox: Sandbox = with_busybox(Client::Ferry);
    let subnet = format!("{}::/64", ferry_testkit::free_range6());
    sandbox.ok(&["network", "create", "--ipv6", "--subnet", &subnet, "both"]);
    victim(&sandbox, &["--rm"], &["true"]).ok();
    let before = Traces::at_rest(&sandbox);
    let begun = failpoint.split('.').next().unwrap();
    let sleep = ["sleep", "1000"];
    if matches!(begun, "stop" | "remove") {
        victim(&sandbox, &["-d"], &sleep).ok();
        let of_ports = |element: &&String| element.contains("_any") || element.contains("_at");
        let elements = Traces::of(&sandbox).elements;
        assert_eq!(elements.iter().filter(of_ports).count(), 4, "{elements:?}");
    }
    sandbox.stop_daemon();
    sandbox.start_daemon(Some(failpoint));
    let outcome = match begun {
        "stop" => sandbox.run(&["stop", "-t", "0", "victim"]),
        "remove" => sandbox.run(&["rm", "-f", "-v", "victim"]),
        _ => victim(&sandbox, &["-d"], &sleep),
    };
    assert_ne!(outcome.code, 0, "the daemon was to die under this: {outcome}");
    sandbox.wait_for_death();
    sandbox.start_daemon(None);
    // Whatever became of it, it can be used or removed, and its name is free afterwards.
    sandbox.run(&["rm", "-f", "-v", "victim"]);
    victim(&sandbox, &["--rm"], &["true"]).ok();
    // Descriptors differ from daemon to daemon.
    Traces::come_back_to(&sandbox, &before, usize::MAX, failpoint);
}

/// The daemon is killed between two steps of `network connect` or `disconnect`: the container goes on, and the next daemon
/// either finished the change or undid it, in the kernel as on record.
fn dies_while_networks_change(failpoint: &str) {
    let sandbox: Sandbox = with_busybox(Client::Ferry);
    // The default bridge is there from here on.
    sandbox.ok(&["run", "--rm", "busybox", "true"]);
    let before = Traces::at_rest(&sandbox).elements;
    assert!(!before.is_empty(), "its bridge is in sets");
    let base = ferry_testkit::free_range();
    for (name, last) in [("back", 0), ("front", 128)] {
        let subnet = format!("{base}.{last}/25");
        sandbox.ok(&["network", "create", "--subnet", &subnet, name]);
    }
    let script = "echo here > /index.html; exec httpd -f -p 80 -h /";
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "victim",
        "--network",
        "front",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    let port = sandbox.ok(&["port", "victim", "80"]);
    let disconnects = failpoint.starts_with("disconnect");
    if disconnects {
        sandbox.ok(&["network", "connect", "back", "victim"]);
    }
    sandbox.stop_daemon();
    sandbox.start_daemon(Some(failpoint));
    let verb = if disconnects { "disconnect" } else { "connect" };
    let outcome = sandbox.run(&["network", verb, "back", "victim"]);
    assert_ne!(outcome.code, 0, "the daemon was to die under this: {outcome}");
    sandbox.wait_for_death();
    sandbox.start_daemon(None);
    let networks = "{{range $n, $e := .NetworkSettings.Networks}}{{$n}} {{end}}";
    let is_on = sandbox.inspect("victim", networks).contains("back ");
    let links = sandbox.ok(&["exec", "victim", "ls", "/sys/class/net"]);
    assert_eq!(links.contains("eth1"), is_on, "{failpoint}: {links}");
    let routes = sandbox.ok(&["exec", "victim", "ip", "route"]);
    assert!(routes.contains("default via"), "{failpoint}: {routes}");
    assert_eq!(routes.lines().filter(|line| line.contains("default")).count(), 1);
    eventually("the port answers", || crate::network::fetch(&port));
    sandbox.ok(&["exec", "victim", "ping", "-c1", "-W2", "victim"]);
    // Whatever became of it, the change can be made now.
    let verb = if is_on { "disconnect" } else { "connect" };
    sandbox.ok(&["network", verb, "back", "victim"]);
    sandbox.ok(&["rm", "-f", "victim"]);
    for name in ["back", "front"] {
        let bridge =
            format!("fr-{}", sandbox.ok(&["network", "inspect", "-f", "{{slice .Id 0 12}}", name]));
        // The kernel takes the links of a container that ended apart when it has time.
        eventually(&format!("{failpoint} leaves no links on {name}"), || {
            let left = std::fs::read_dir(format!("/sys/class/net/{bridge}/brif")).unwrap().count();
            (left == 0).then_some(())
        });
        sandbox.ok(&["network", "rm", name]);
    }
    assert_eq!(Traces::of(&sandbox).elements, before, "{failpoint} leaves no rules");
}

/// The daemon is killed while a network is made or removed: the next one knows it, or nothing of it is there; and when it is removed,
/// nothing is left.
fn dies_while_a_network_is_made(failpoint: &str) {
    let sandbox: Sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "--rm", "busybox", "true"]);
    let before = Traces::at_rest(&sandbox).elements;
    let (base, six) = (ferry_testkit::free_range(), ferry_testkit::free_range6());
    let (subnet, subnet6) = (format!("{base}.0/24"), format!("{six}::/64"));
    let create = ["network", "create", "--subnet", &subnet, "--ipv6", "--subnet", &subnet6, "made"];
    let removes = failpoint.starts_with("network-remove");
    if removes {
        sandbox.ok(&create);
    }
    sandbox.stop_daemon();
    sandbox.start_daemon(Some(failpoint));
    let outcome =
        if removes { sandbox.run(&["network", "rm", "made"]) } else { sandbox.run(&create) };
    assert_ne!(outcome.code, 0, "the daemon was to die under this: {outcome}");
    sandbox.wait_for_death();
    sandbox.start_daemon(None);
    let traces = || {
        let shown = run(Command::new("ip").arg("addr")).stdout;
        let ours = shown.lines().filter(|line| line.contains(&base) || line.contains(&six));
        let elements = Traces::of(&sandbox).elements;
        let elements = elements.difference(&before).cloned();
        ours.map(str::to_owned).chain(elements).collect::<Vec<_>>()
    };
    if sandbox.ok(&["network", "ls", "--format", "{{.Name}}"]).lines().all(|name| name != "made") {
        assert_eq!(traces(), Vec::<String>::new(), "{failpoint}: of a network that nobody knows");
        sandbox.ok(&create);
    }
    sandbox.ok(&["run", "--rm", "--network", "made", "busybox", "true"]);
    assert!(!traces().is_empty(), "its bridge is found by its address");
    sandbox.ok(&["network", "rm", "made"]);
    assert_eq!(traces(), Vec::<String>::new(), "{failpoint}: of a network that was removed");
}

#[test]
fn network_create_and_remove() {
    for failpoint in [
        "network-create.record",
        "network-create.raised",
        "network-create.placed",
        "network-create.rules",
        "network-create.link",
        "network-remove.rules",
        "network-remove.link",
        "network-remove.record",
    ] {
        dies_while_a_network_is_made(failpoint);
    }
}

macro_rules! network_failpoints {
    ($($name:ident = $failpoint:literal),+ $(,)?) => {
        $(#[test] fn $name() { dies_while_networks_change($failpoint); })+
    };
}

network_failpoints!(
    connect_lease = "connect.lease",
    connect_pair = "wire.pair",
    connect_link = "connect.link",
    connect_ports = "connect.ports",
    connect_hosts = "connect.hosts",
    connect_record = "connect.record",
    disconnect_record = "disconnect.record",
    disconnect_ports = "disconnect.ports",
    disconnect_link = "disconnect.link",
    disconnect_mended = "disconnect.mended",
);

macro_rules! failpoints {
    ($($name:ident = $failpoint:literal),+ $(,)?) => { $(#[test] fn $name() { dies_at($failpoint); })+ };
}

failpoints!(
    create_name = "create.name",
    create_directories = "create.directories",
    create_volumes = "create.volumes",
    create_record = "create.record",
    start_network_plan = "start.network-plan",
    start_launch_plan = "start.launch-plan",
    start_shim = "start.shim",
    start_asked = "start.asked",
    start_created = "start.created",
    start_ports_held = "start.ports-held",
    start_pair = "wire.pair",
    start_wired = "start.wired",
    start_published = "start.published",
    start_network = "start.network",
    start_running = "start.running",
    stop_signal = "stop.signal",
    stop_exited = "stop.exited",
    stop_network = "stop.network",
    stop_record = "stop.record",
    remove_begin = "remove.begin",
    remove_files = "remove.files",
    remove_volumes = "remove.volumes",
);
