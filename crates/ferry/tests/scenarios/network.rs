//! The default bridge and published ports: FEATURES A31, A32, A51.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use ferry_testkit::{Client, Sandbox, eventually, free_port, free_range, run};

use crate::{
    lan::{Lan, ip},
    visitors::{self, By},
    with_busybox,
};

through_all!(
    published_ports_answer,
    published_ports_answer_other_hosts,
    udp_ports_answer,
    a_taken_port_names_its_holder,
    modes,
    addresses_are_its_own,
    containers_reach_out,
    networks_of_ones_own
);

/// A port of the host to publish at: any, but of Docker's daemon a certain one. It chooses the same for several addresses, and fails, and
/// loses what it has chosen when a network is joined (moby/moby#44137).
pub(crate) fn some_port(client: Client) -> String {
    if client == Client::FerryOnDocker { free_port().to_string() } else { String::new() }
}

/// What a web server says on a port.
pub(crate) fn fetch(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned())
}

fn web_server(sandbox: &Sandbox, name: &str, options: &[&str]) {
    let script = format!("echo {name} > /index.html; exec httpd -f -p 80 -h /");
    let words =
        [&["run", "-d", "--name", name], options, &["busybox", "sh", "-c", &script]].concat();
    sandbox.ok(&words);
}

/// An address of the host on the link that leads out: all others may be those of tests, and go with them.
fn host_address() -> Option<String> {
    let json = |words: &str| -> serde_json::Value {
        let shown = run(Command::new("ip").args(words.split(' '))).ok();
        serde_json::from_str(&shown).unwrap_or_default()
    };
    let routes = json("-j -4 route show default");
    let link = routes[0]["dev"].as_str()?;
    let links = json(&format!("-j -4 addr show dev {link}"));
    links[0]["addr_info"][0]["local"].as_str().map(str::to_owned)
}

fn published_ports_answer(client: Client) {
    let sandbox = with_busybox(client);
    let local = format!("127.0.0.1:{}:80", some_port(client));
    let everywhere = format!("{}:80", some_port(client));
    let everywhere = if everywhere == ":80" { "0:80" } else { &everywhere };
    web_server(&sandbox, "web", &["-p", &local, "-p", everywhere, "-P"]);
    let ports = sandbox.ok(&["port", "web", "80"]);
    let mut ports = ports.lines().filter(|line| !line.starts_with("[::]"));
    let (first, second) = (ports.next().unwrap(), ports.next().unwrap());
    let number = |line: &str| line.rsplit_once(':').unwrap().1.to_owned();
    let (everywhere, local) =
        if first.starts_with("0.0.0.0") { (first, second) } else { (second, first) };
    assert!(local.starts_with("127.0.0.1:"), "{local}");
    eventually("localhost answers", || {
        fetch(&format!("127.0.0.1:{}", number(local))).filter(|body| body == "web")
    });
    assert_eq!(fetch(&format!("127.0.0.1:{}", number(everywhere))).as_deref(), Some("web"));
    if let Some(address) = host_address() {
        assert_eq!(fetch(&format!("{address}:{}", number(everywhere))).as_deref(), Some("web"));
        assert_eq!(
            fetch(&format!("{address}:{}", number(local))),
            None,
            "a port on localhost is on localhost only"
        );
        let url = format!("http://{address}:{}/index.html", number(everywhere));
        assert_eq!(sandbox.ok(&["run", "--rm", "busybox", "wget", "-qO-", &url]), "web");
        assert_eq!(
            sandbox.ok(&["exec", "web", "wget", "-qO-", &url]),
            "web",
            "a container reaches itself through the host"
        );
    }
    sandbox.ok(&["rm", "-f", "web"]);
    assert_eq!(fetch(&format!("127.0.0.1:{}", number(everywhere))), None);
}

fn published_ports_answer_other_hosts(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    let lan = Lan::new(&format!("{base}.1/24"));
    ip(&format!("addr add {base}.2/24 dev {}", lan.parent));
    let one_address = format!("{base}.2:{}:80", some_port(client));
    let local = format!("127.0.0.1:{}:80", some_port(client));
    web_server(&sandbox, "web", &["-p", "80", "-p", &one_address, "-p", &local]);
    let ports = sandbox.ok(&["port", "web", "80"]);
    let port = |address: &str| {
        let line = ports.lines().find(|line| line.starts_with(address));
        line.and_then(|line| line.rsplit(':').next()).unwrap().to_owned()
    };
    let from_there = |port: &str| {
        let url = format!("http://{base}.2:{port}/index.html");
        let words = ["netns", "exec", &lan.host, "curl", "-sm3", &url];
        run(Command::new("ip").args(words)).stdout.trim().to_owned()
    };
    eventually("the other host is answered", || {
        (from_there(&port("0.0.0.0")) == "web").then_some(())
    });
    assert_eq!(from_there(&port(&format!("{base}.2"))), "web");
    assert_eq!(from_there(&port("127.0.0.1")), "", "a port on localhost is on localhost only");
}

fn udp_ports_answer(client: Client) {
    let sandbox = with_busybox(client);
    let published = format!("127.0.0.1:{}:7/udp", free_port());
    visitors::mirror(&sandbox, "echo", &["-p", &published], &["7"]);
    let place = sandbox.ok(&["port", "echo", "7/udp"]);
    let answers = || visitors::asked(By::Udp, place.parse().unwrap());
    eventually("it is answered", answers);
    assert_eq!(visitors::asked(By::Tcp, place.parse().unwrap()), None, "UDP alone");
    if let Some(address) = host_address() {
        let (_, port) = place.rsplit_once(':').unwrap();
        let elsewhere = format!("{address}:{port}").parse().unwrap();
        assert_eq!(visitors::asked(By::Udp, elsewhere), None, "on localhost only");
    }
    sandbox.ok(&["rm", "-f", "echo"]);
    assert_eq!(answers(), None);
}

fn a_taken_port_names_its_holder(client: Client) {
    let sandbox = with_busybox(client);
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let taken = || {
        let run = ["run", "--rm", "-p", &format!("127.0.0.1:{port}:80"), "busybox"];
        sandbox.run(&run).fails(125)
    };
    // Who it is that has it our daemon says alone.
    let is_ours = client != Client::FerryOnDocker;
    let said = taken().says("address already in use");
    if is_ours {
        said.says(&format!("process {}", std::process::id()));
    }
    drop(listener);
    web_server(&sandbox, "first", &["-p", &format!("127.0.0.1:{port}:80")]);
    let said = taken().says("port is already allocated");
    if is_ours {
        said.says("container \"first\"");
    }
    for wrong in ["x:80", "80:x", "70000:80", "1-2:80-85", "1.2.3:80:80"] {
        sandbox.run(&["run", "--rm", "-p", wrong, "busybox"]).fails(125);
    }
}

fn modes(client: Client) {
    let sandbox = with_busybox(client);
    assert_eq!(
        sandbox.ok(&["run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net"]),
        "lo"
    );
    // Not the list of links: other tests add and remove theirs.
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(
        sandbox.ok(&[
            "run",
            "--rm",
            "--network",
            "host",
            "busybox",
            "readlink",
            "/proc/self/ns/net"
        ]),
        host.to_str().unwrap()
    );
    web_server(&sandbox, "web", &[]);
    let shared = || {
        sandbox.run(&[
            "run",
            "--rm",
            "--network",
            "container:web",
            "busybox",
            "wget",
            "-qO-",
            "http://127.0.0.1/index.html",
        ])
    };
    eventually("they share a network", || (shared().stdout.trim() == "web").then_some(()));
    sandbox
        .run(&["run", "--rm", "--network", "container:nothing", "busybox"])
        .fails(125)
        .says("No such container: nothing");
    sandbox
        .run(&["run", "--rm", "--network", "nothing", "busybox"])
        .fails(125)
        .says("network nothing not found");
}

fn addresses_are_its_own(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "-d", "--name", "first", "busybox", "sleep", "1000"]);
    sandbox.ok(&["run", "-d", "--name", "second", "busybox", "sleep", "1000"]);
    let address =
        |name: &str| sandbox.inspect(name, "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let (a, b) = (address("first"), address("second"));
    assert_ne!(a, b);
    let seen = sandbox.ok(&["exec", "first", "sh", "-c", "ip -4 addr show eth0; ip route"]);
    assert!(seen.contains(&a) && seen.contains("default via"), "{seen}");
    sandbox.ok(&["exec", "first", "ping", "-c1", "-W2", &b]);
    assert!(sandbox.ok(&["exec", "first", "cat", "/etc/hosts"]).contains(&a));
    sandbox.run(&["exec", "first", "ping", "-c1", "-W1", "second"]).fails(1);
}

/// NAT to the outside: the outside is a network namespace of the test's own, which has no way back to the containers.
fn containers_reach_out(client: Client) {
    let sandbox = with_busybox(client);
    let Some(address) = host_address() else { return };
    let listener = TcpListener::bind((address.as_str(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, visitor) = listener.accept().unwrap();
        stream.write_all(b"hello\n").unwrap();
        visitor.ip().to_string()
    });
    let seen =
        sandbox.ok(&["run", "--rm", "busybox", "nc", "-w", "5", &address, &port.to_string()]);
    assert_eq!(seen, "hello");
    server.join().unwrap();
}

fn networks_of_ones_own(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    let subnet = format!("{base}.0/24");
    let id = sandbox.ok(&["network", "create", "--subnet", &subnet, "apart"]);
    assert_eq!(id.len(), 64);
    assert!(
        sandbox
            .ok(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"])
            .contains("apart bridge")
    );
    assert_eq!(
        sandbox.ok(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "apart"]),
        subnet
    );
    let address = sandbox.ok(&["run", "--rm", "--network", "apart", "busybox", "hostname", "-i"]);
    assert!(address.starts_with(&format!("{base}.")), "{address}");
    sandbox.run(&["network", "create", "apart"]).fails(1).says("already exists");
    sandbox.run(&["network", "rm", "bridge"]).fails(1).says("pre-defined network");
    assert_eq!(sandbox.ok(&["network", "rm", "apart"]), "apart");
    sandbox.run(&["network", "inspect", "apart"]).fails(1);
}
