//! Published ports in both families, by TCP and UDP: who reaches them, and whom the container sees then. The program in the container answers
//! everybody with the address that it was asked from.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use ferry_testkit::{Client, Sandbox, eventually, free_port, free_range, free_range6};

use crate::{
    lan::{self, Lan, ip},
    names, with_busybox,
};

through_all!(containers_see_who_asks, ports_in_ranges);

/// Debian's busybox has no server for UDP; the perl of the daemon's machine has one. It listens by TCP and UDP at each port that it is given.
const MIRROR: &str = "use Socket qw(:all); sub who { my ($port, $ip) = unpack_sockaddr_in6($_[0]); \
    my $text = inet_ntop(AF_INET6, $ip); $text =~ s/^::ffff://; return $text } \
    for my $port (@ARGV) { \
    socket(U, AF_INET6, SOCK_DGRAM, 17) or die $!; bind(U, pack_sockaddr_in6($port, IN6ADDR_ANY)) or die $!; \
    socket(T, AF_INET6, SOCK_STREAM, 6) or die $!; setsockopt(T, SOL_SOCKET, SO_REUSEADDR, 1); \
    bind(T, pack_sockaddr_in6($port, IN6ADDR_ANY)) or die $!; listen(T, 9) or die $!; \
    if (!fork) { while (1) { my $from = recv(U, my $said, 99, 0); send(U, \"$port \" . who($from), 0, $from) } } \
    if (!fork) { while (my $from = accept(C, T)) { syswrite(C, \"$port \" . who($from)); close C } } } \
    sleep 1000";

pub(crate) fn mirror(sandbox: &Sandbox, name: &str, options: &[&str], ports: &[&str]) {
    let program = ["-v", "/:/host:ro", "busybox", "chroot", "/host", "perl", "-e", MIRROR];
    sandbox.ok(&[&["run", "-d", "--name", name], options, &program, ports].concat());
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Tcp,
    Udp,
}

/// What a mirror says: its port, and who asked. Nothing where nobody answers.
pub(crate) fn asked(by: By, to: SocketAddr) -> Option<(u16, IpAddr)> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut said = [0; 99];
    let length = match by {
        By::Tcp => {
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"?").ok()?;
            stream.read(&mut said).ok()?
        }
        By::Udp => {
            let any: IpAddr = if to.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(to).ok()?;
            socket.send(b"?").ok()?;
            socket.recv(&mut said).ok()?
        }
    };
    let said = String::from_utf8_lossy(&said[..length]).into_owned();
    let (port, who) = said.split_once(' ')?;
    // Where it is not published, somebody else may answer.
    Some((port.parse().ok()?, who.parse().ok()?))
}

/// The same in the network namespace of that file.
fn asked_from(namespace: &str, by: By, to: SocketAddr) -> Option<(u16, IpAddr)> {
    lan::inside(namespace.to_owned(), move || asked(by, to))
}

const HERE: &str = "/proc/self/ns/net";

/// A network of both families; what its gateways are.
fn network(sandbox: &Sandbox, name: &str) -> [IpAddr; 2] {
    let (four, six) = (free_range(), free_range6());
    let (subnet, subnet6) = (format!("{four}.0/24"), format!("{six}::/64"));
    let subnets = ["--subnet", &subnet, "--ipv6", "--subnet", &subnet6];
    sandbox.ok(&[&["network", "create"], &subnets[..], &[name]].concat());
    [format!("{four}.1"), format!("{six}::1")].map(|gateway| gateway.parse().unwrap())
}

/// Other hosts, and this one under an address of its own, are seen as who they are. What comes from loopback, and from containers, is seen
/// as the gateway: the answer would not come back otherwise.
fn containers_see_who_asks(client: Client) {
    let sandbox = with_busybox(client);
    let (outer, outer6) = (free_range(), free_range6());
    let lan = Lan::new(&format!("{outer}.2/24"));
    ip(&format!("-n {} addr add {outer6}::2/64 dev lan nodad", lan.host));
    ip(&format!("addr add {outer}.1/24 dev {}", lan.parent));
    ip(&format!("addr add {outer6}::1/64 dev {} nodad", lan.parent));
    let gateways = network(&sandbox, "vi-own");
    network(&sandbox, "vi-other");
    let port = free_port();
    let (tcp, udp) = (format!("{port}:7"), format!("{port}:7/udp"));
    mirror(&sandbox, "vi-web", &["--network", "vi-own", "-p", &tcp, "-p", &udp], &["7"]);
    names::sleeper(&sandbox, "vi-mate", &["--network", "vi-own"]);
    names::sleeper(&sandbox, "vi-guest", &["--network", "vi-other"]);
    let of = |name: &str| names::namespace(&sandbox, name);
    let [web, mate, guest] = ["vi-web", "vi-mate", "vi-guest"].map(of);
    let host: [IpAddr; 2] =
        [format!("{outer}.1"), format!("{outer6}::1")].map(|it| it.parse().unwrap());
    let there: [IpAddr; 2] =
        [format!("{outer}.2"), format!("{outer6}::2")].map(|it| it.parse().unwrap());
    let loopback: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let other = lan.namespace();
    for (family, by) in [(0, By::Tcp), (0, By::Udp), (1, By::Tcp), (1, By::Udp)] {
        for (who, namespace, to, seen) in [
            ("another host", other.as_str(), host, there),
            ("this host", HERE, host, host),
            ("this host, by loopback", HERE, loopback, gateways),
            ("another network's container", &guest, host, gateways),
            ("its neighbour", &mate, host, gateways),
            ("itself", &web, host, gateways),
        ] {
            let (to, seen) = (SocketAddr::new(to[family], port), seen[family]);
            let what = format!("{who} is answered by {by:?} at {to}");
            assert_eq!(eventually(&what, || asked_from(namespace, by, to)), (7, seen), "{what}");
        }
    }
    sandbox.ok(&["rm", "-f", "vi-web", "vi-mate", "vi-guest"]);
    sandbox.ok(&["network", "rm", "vi-own", "vi-other"]);
}

/// Ports of the host that follow each other and that nobody has.
fn free_ports<const N: usize>() -> [u16; N] {
    loop {
        let ports = [(); N].map(|()| free_port());
        if ports.windows(2).all(|pair| pair[0] + 1 == pair[1]) {
            return ports;
        }
    }
}

fn ports_in_ranges(client: Client) {
    let sandbox = with_busybox(client);
    let at = |address: &str, port: u16| SocketAddr::new(address.parse().unwrap(), port);
    let answers = |by: By, to: SocketAddr, inner: u16| {
        let (seen, _) = eventually(&format!("{by:?} at {to}"), || asked(by, to));
        assert_eq!(seen, inner, "{by:?} at {to}");
    };
    // A range of the host's for one port: each container gets another one of it, until all are taken.
    let ports: [u16; 2] = free_ports();
    let range = format!("127.0.0.1:{}-{}:7", ports[0], ports[1]);
    let mut got: Vec<String> = ["one", "two"]
        .map(|name| {
            mirror(&sandbox, name, &["-p", &range], &["7"]);
            sandbox.ok(&["port", name, "7"])
        })
        .to_vec();
    for place in &got {
        answers(By::Tcp, place.parse().unwrap(), 7);
    }
    got.sort();
    assert_eq!(got, ports.map(|port| format!("127.0.0.1:{port}")));
    let third = ["run", "--rm", "-p", &range, "busybox", "true"];
    sandbox.run(&third).fails(125).says("all ports are allocated");
    sandbox.ok(&["rm", "-f", "two"]);
    sandbox.ok(&third);

    // As many as the container's: one for one, in both families and protocols.
    let ports: [u16; 3] = free_ports();
    let outer = format!("{}-{}", ports[0], ports[2]);
    let (tcp, udp) = (format!("{outer}:7-9"), format!("{outer}:7-9/udp"));
    mirror(&sandbox, "row", &["-p", &tcp, "-p", &udp], &["7", "8", "9"]);
    for (port, inner) in ports.into_iter().zip(7..) {
        for by in [By::Tcp, By::Udp] {
            answers(by, at("127.0.0.1", port), inner);
            answers(by, at("::1", port), inner);
        }
    }

    // The long form, and a range at one address of IPv6.
    let ports: [u16; 2] = free_ports();
    let long =
        |port: u16, protocol| format!("published={port},target=7,protocol={protocol},mode=host");
    let (tcp, udp) = (long(ports[0], "tcp"), long(ports[1], "udp"));
    let six: [u16; 2] = free_ports();
    let near = format!("[::1]:{}-{}:7-8", six[0], six[1]);
    mirror(&sandbox, "long", &["--publish", &tcp, "--publish", &udp, "-p", &near], &["7", "8"]);
    answers(By::Tcp, at("127.0.0.1", ports[0]), 7);
    answers(By::Udp, at("127.0.0.1", ports[1]), 7);
    assert_eq!(asked(By::Udp, at("127.0.0.1", ports[0])), None, "TCP alone");
    assert_eq!(asked(By::Tcp, at("127.0.0.1", ports[1])), None, "UDP alone");
    answers(By::Tcp, at("::1", six[0]), 7);
    answers(By::Tcp, at("::1", six[1]), 8);
    assert_eq!(asked(By::Tcp, at("127.0.0.1", six[0])), None, "IPv6 alone");
}
