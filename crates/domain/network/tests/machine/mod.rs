//! Machines for tests: network namespaces that stand for the host, containers and strangers. They end with the test.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use ferry_netlink::namespace::NetNamespace;
use ferry_network::{Attach, Bridge, BridgeSettings, mac_for};
use serde_json::Value;

/// Long enough for a packet between namespaces that is sent once more after a second, as on a busy machine; short enough to wait for one
/// that is dropped.
pub const PATIENCE: Duration = Duration::from_millis(2500);

/// A network namespace, kept by a process that sleeps.
pub struct Machine(Child);

impl Machine {
    pub fn new() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "sleep", "300"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare");
        let machine = Machine(child);
        let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/net")).ok();
        let (mine, its) = (of("thread-self"), machine.pid().to_string());
        for _ in 0..1000 {
            // `sleep` runs when the namespace is made for sure.
            let name = fs::read_to_string(format!("/proc/{its}/comm")).unwrap_or_default();
            if name.trim_end() == "sleep" && of(&its) != mine {
                return machine;
            }
            thread::sleep(Duration::from_millis(2));
        }
        panic!("no new network namespace");
    }

    /// A machine that this thread, and what it starts, is on from now on: the host.
    pub fn host() -> Self {
        let machine = Machine::new();
        let namespace = NetNamespace::of(machine.pid()).expect("its namespace");
        rustix::thread::move_into_link_name_space(namespace.fd().as_fd(), None).expect("setns");
        run("ip link set lo up");
        machine
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid")
    }

    /// Does something on this machine.
    pub fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        NetNamespace::of(self.pid()).expect("its namespace").run(work).expect("setns")
    }

    /// The output of a command on this machine.
    pub fn json(&self, command: &str) -> Value {
        json(&format!("nsenter -t {} -n {command}", self.pid()))
    }

    pub fn run(&self, command: &str) {
        run(&format!("nsenter -t {} -n {command}", self.pid()));
    }

    /// Answers each connection with the address that it came from, forever.
    pub fn serve_tcp(&self, port: u16) {
        let listener = self
            .within(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .expect("a listener");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let peer = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
                stream.write_all(peer.as_bytes()).ok();
            }
        });
    }

    /// Sends each datagram back with its own name before it, forever.
    pub fn serve_udp(&self, port: u16, name: &'static str) {
        let socket =
            self.within(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).expect("a socket");
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let answer = [name.as_bytes(), &buffer[..length]].concat();
                socket.send_to(&answer, peer).ok();
            }
        });
    }

    /// What [`Machine::serve_tcp`] answers there, asked from this machine.
    pub fn fetch(&self, at: (Ipv4Addr, u16)) -> Option<String> {
        self.within(move || fetch(at))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What [`Machine::serve_tcp`] answers there, asked from the host.
pub fn fetch(at: (Ipv4Addr, u16)) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(at), PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.shutdown(Shutdown::Write).ok();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// What [`Machine::serve_udp`] answers there.
pub fn echo(socket: &UdpSocket, at: (Ipv4Addr, u16)) -> Option<String> {
    let mut buffer = [0; 512];
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.send_to(b"!", at).ok()?;
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    assert_eq!(from, SocketAddr::from(at), "answered by somebody else");
    String::from_utf8(buffer[..length].to_vec()).ok()
}

pub fn run(command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect("a program");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn json(command: &str) -> Value {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect("a program");
    if output.stdout.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&output.stdout).expect("json")
}

/// Settings of a bridge of the test.
pub fn settings(link: &str, third: u8) -> BridgeSettings {
    BridgeSettings {
        link: link.to_owned(),
        table: "ferrytest".to_owned(),
        addresses: vec![(Ipv4Addr::new(10, 231, third, 1).into(), 24)],
        mtu: 0,
        internal: false,
        masquerade: true,
        open: true,
        modes: Default::default(),
        inhibit_ipv4: false,
        hosts: [None, None],
        trusted: Vec::new(),
    }
}

/// The bridge's IPv4 address.
pub fn gateway(bridge: &Bridge) -> Ipv4Addr {
    let v4 = |(ip, _): &ferry_network::Net| match ip {
        std::net::IpAddr::V4(ip) => Some(*ip),
        std::net::IpAddr::V6(_) => None,
    };
    bridge.addresses().iter().find_map(v4).expect("an IPv4 address")
}

/// A new container with that last byte of the address.
pub fn container(bridge: &Bridge, host_link: &str, last: u8) -> (Machine, Ipv4Addr) {
    let machine = Machine::new();
    let [a, b, c, _] = gateway(bridge).octets();
    let ip = Ipv4Addr::new(a, b, c, last);
    let prefix_len = bridge.addresses()[0].1;
    let attach = Attach {
        pid: machine.pid(),
        host_link,
        addresses: &[(ip.into(), prefix_len)],
        mac: mac_for(ip.into()),
        inside: "eth0",
        gateways: &[gateway(bridge).into()],
        direct: &[],
        sysctls: &[],
    };
    bridge.attach(&attach).expect("attached");
    (machine, ip)
}

/// A machine beside the host, with 198.51.100.9; the host has 198.51.100.1 there.
pub fn neighbour() -> Machine {
    let machine = Machine::new();
    run(&format!("ip link add lan type veth peer name lan0 netns {}", machine.pid()));
    run("ip addr add 198.51.100.1/24 dev lan");
    run("ip link set lan up");
    machine.run("ip link set lo up");
    machine.run("ip addr add 198.51.100.9/24 dev lan0");
    machine.run("ip link set lan0 up");
    machine.run("ip route add default via 198.51.100.1");
    machine
}

pub const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// A link with that address and a default route over it, and nobody at its other end.
pub fn uplink(address: &str, gateway: &str) {
    run("ip link add ftnd0 mtu 1400 type veth peer name ftnd1");
    run("ip link set ftnd1 up");
    run(&format!("ip addr add {address} dev ftnd0"));
    run("ip link set ftnd0 up");
    run(&format!("ip route add default via {gateway}"));
}

/// Only root may make network namespaces that the kernel's packet filter works in.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
