//! UDP conversations go on when the container behind a published port starts anew: whoever sends without a pause from one port of
//! its own never makes the kernel look the way up again, unless what it remembers is forgotten.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use ferry_testkit::{Client, Sandbox, eventually, free_port, free_range, free_range6};

use crate::{
    lan::{self, Lan, ip},
    with_busybox,
};

through_both!(udp_goes_on_after_a_restart);
against_docker!(udp_goes_on_after_a_restart);

/// Debian's busybox has no server for UDP; the perl of the daemon's machine has one.
const ECHO: &str = "use Socket qw(:all); socket(S, AF_INET6, SOCK_DGRAM, 17) or die $!; \
    bind(S, pack_sockaddr_in6(7, IN6ADDR_ANY)) or die $!; \
    while (1) { my $from = recv(S, my $said, 99, 0); send(S, $said, 0, $from) }";

/// Sends ten times a second from one port, and counts what comes back.
struct Talker {
    heard: Arc<AtomicU32>,
    ends: Arc<AtomicBool>,
}

impl Talker {
    /// From the network namespace of that file.
    fn start(namespace: String, to: SocketAddr) -> Talker {
        let talker = Talker { heard: Arc::default(), ends: Arc::default() };
        let (heard, ends) = (Arc::clone(&talker.heard), Arc::clone(&talker.ends));
        std::thread::spawn(move || {
            lan::enter(&namespace);
            let any: IpAddr = if to.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let mut buffer = [0; 16];
            while !ends.load(Ordering::Relaxed) {
                // Refused while nobody is there.
                socket.send_to(b"still there?", to).ok();
                if socket.recv(&mut buffer).is_ok_and(|length| &buffer[..length] == b"still there?")
                {
                    heard.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        talker
    }

    fn is_answered(&self, what: &str) {
        let before = self.heard.load(Ordering::Relaxed);
        eventually(what, || (self.heard.load(Ordering::Relaxed) > before + 2).then_some(()));
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn serve(sandbox: &Sandbox, port: u16) {
    let published = format!("{port}:7/udp");
    let flags = ["run", "-d", "--name", "uc-echo", "--network", "uc-both", "-p", &published];
    let program = ["-v", "/:/host:ro", "busybox", "chroot", "/host", "perl", "-e", ECHO];
    sandbox.ok(&[&flags[..], &program].concat());
}

fn udp_goes_on_after_a_restart(client: Client) {
    let sandbox = with_busybox(client);
    let (inner, outer) = (free_range(), free_range());
    let (inner6, outer6) = (free_range6(), free_range6());
    let lan = Lan::new(&format!("{outer}.2/24"));
    ip(&format!("-n {} addr add {outer6}::2/64 dev lan nodad", lan.host));
    ip(&format!("addr add {outer}.1/24 dev {}", lan.parent));
    ip(&format!("addr add {outer6}::1/64 dev {} nodad", lan.parent));
    let (subnet, subnet6) = (format!("{inner}.0/24"), format!("{inner6}::/64"));
    let subnets = ["--subnet", &subnet, "--ipv6", "--subnet", &subnet6];
    sandbox.ok(&[&["network", "create"], &subnets[..], &["uc-both"]].concat());
    let port = free_port();
    serve(&sandbox, port);
    let at = |address: &str| SocketAddr::new(address.parse().unwrap(), port);
    let here = || "/proc/self/ns/net".to_owned();
    let talkers = [
        ("another host, IPv4", Talker::start(lan.namespace(), at(&format!("{outer}.1")))),
        ("another host, IPv6", Talker::start(lan.namespace(), at(&format!("{outer6}::1")))),
        ("this host, IPv4", Talker::start(here(), at(&format!("{outer}.1")))),
        ("this host, IPv6", Talker::start(here(), at(&format!("{outer6}::1")))),
    ];
    for (who, talker) in &talkers {
        talker.is_answered(&format!("{who}: at first"));
    }
    sandbox.ok(&["restart", "-t", "0", "uc-echo"]);
    for (who, talker) in &talkers {
        talker.is_answered(&format!("{who}: after a restart"));
    }
    // Nobody holds the port for a while, and another address is behind it then.
    sandbox.ok(&["rm", "-f", "uc-echo"]);
    std::thread::sleep(Duration::from_millis(500));
    let first = ["run", "-d", "--name", "uc-other", "--network", "uc-both"];
    sandbox.ok(&[&first[..], &["busybox", "sleep", "1000"]].concat());
    serve(&sandbox, port);
    for (who, talker) in &talkers {
        talker.is_answered(&format!("{who}: of another container"));
    }
}
