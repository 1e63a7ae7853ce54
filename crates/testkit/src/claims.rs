//! What a machine has once, and two tests at a time must not share: ports and ranges of addresses.
//!
//! A number is taken by binding a socket of that name in the abstract namespace: it leaves no file, nobody else can take it meanwhile, and
//! it is free again at the latest when the test's process ends, however that happens.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixDatagram},
    },
    sync::Mutex,
};

/// Below the ports that the kernel gives to programs that ask for any, and above those that the guide's examples have.
const PORTS: (u16, u16) = (20_000, 12_000);

/// A number that no other test has as long as this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) number: u32,
    /// Its closing frees the number.
    _socket: UnixDatagram,
}

/// What this process holds until it ends.
static HELD: Mutex<Vec<Claim>> = Mutex::new(Vec::new());

/// A number below `count` that nobody has, as far as claims and `is_free` tell.
#[track_caller]
pub(crate) fn claim(what: &str, count: u32, is_free: impl Fn(u32) -> bool) -> Claim {
    // Tests that start together have process ids that are close.
    let first = std::process::id() % count;
    for number in (first..count).chain(0..first) {
        let name = format!("ferry-test-{what}-{number}");
        let address = UnixAddr::from_abstract_name(name).unwrap();
        if let Ok(socket) = UnixDatagram::bind_addr(&address)
            && is_free(number)
        {
            return Claim { number, _socket: socket };
        }
    }
    panic!("tests have taken all {count} numbers for {what}");
}

/// Whether no link of the machine leads to a network that begins there. A test that was killed leaves its links, and no claim.
pub(crate) fn is_unrouted(base: Ipv4Addr) -> bool {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap();
    let destination = format!("{:08X}", u32::from_le_bytes(base.octets()));
    !routes.lines().any(|line| line.split('\t').nth(1) == Some(&destination))
}

/// One that is held until the process ends.
#[track_caller]
fn keep(what: &str, count: u32, is_free: impl Fn(u32) -> bool) -> u32 {
    let claim = claim(what, count, is_free);
    let number = claim.number;
    HELD.lock().unwrap().push(claim);
    number
}

/// A port that nobody has, for a program that is told where to listen: no other test gets it, and the kernel gives it to nobody by chance.
#[track_caller]
pub fn free_port() -> u16 {
    let (first, count) = PORTS;
    loop {
        let port = first + u16::try_from(keep("port", count.into(), |_| true)).unwrap();
        let places: [SocketAddr; 2] =
            [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
        let taken = |error: std::io::Error| error.kind() == std::io::ErrorKind::AddrInUse;
        let is_taken = places.iter().any(|place| {
            TcpListener::bind(place).is_err_and(taken) || UdpSocket::bind(place).is_err_and(taken)
        });
        if !is_taken {
            return port;
        }
    }
}

/// The first three numbers of a range of 256 addresses that no other test has: `10.188.7`.
#[track_caller]
pub fn free_range() -> String {
    let base = |number: u32| Ipv4Addr::from_bits((10 << 24) + (188 << 16) + (number << 8));
    let number = keep("range", 12 * 256, |number| is_unrouted(base(number)));
    base(number).to_string().strip_suffix(".0").unwrap().to_owned()
}

/// The first three numbers of a range of IPv6 addresses that no other test has: `fd00:5e:7`.
#[track_caller]
pub fn free_range6() -> String {
    // As the kernel writes destinations: without colons.
    let routes = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let is_free = |number| {
        let start = format!("fd00005e{number:04x}");
        !routes.lines().any(|line| line.starts_with(&start))
    };
    format!("fd00:5e:{:x}", keep("range6", 0xffff, is_free))
}
