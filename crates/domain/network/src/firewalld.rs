//! firewalld, a firewall of the host that decides by zones: what is forwarded between links that are in none is rejected, whatever our
//! rules accept. Where it runs it is asked to have our bridges in its zone `trusted`, over the system bus as any program may: no rule of
//! its is touched. Docker has a zone of its own there, Podman names its subnets.
//!
//! The little of D-Bus that this takes is written down here: strings to a method, a string back.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use ferry_netlink::{Family, Socket, nft};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

use crate::firewall::close_behind;

/// Where the system bus listens unless the environment says otherwise.
const BUS: &str = "/run/dbus/system_bus_socket";
const BUS_VARIABLE: &str = "DBUS_SYSTEM_BUS_ADDRESS";
/// The table that it has with nftables.
const TABLE: &str = "firewalld";
/// The chain of its zones that it has with iptables, whose programs write nftables on every machine of today.
const ZONES_CHAIN: &str = "FORWARD_ZONES";
/// What is in it may go everywhere.
const ZONE: &str = "trusted";
/// It reloads its rules while it lets others wait: so long for all that is asked at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// Answers are a few words.
const ANSWER_LIMIT: usize = 1 << 20;

const FIREWALLD: Peer =
    Peer { name: "org.fedoraproject.FirewallD1", path: "/org/fedoraproject/FirewallD1" };
const ZONES: &str = "org.fedoraproject.FirewallD1.zone";

/// Has firewalld forward what comes from these links and goes to them, if it runs. `changed` gets those that it did not before, also where it
/// stops to answer on the way.
///
/// # Errors
/// It did not answer, or refused.
pub fn trust_in_firewalld(links: &[String], changed: &mut Vec<String>) -> io::Result<()> {
    if links.is_empty() || !is_in_force() {
        return Ok(());
    }
    let Some(mut bus) = Bus::open()? else { return Ok(()) };
    for link in links {
        // In a zone that somebody chose it stays.
        if bus.call(&FIREWALLD, ZONES, "getZoneOfInterface", &[link])?.is_empty() {
            bus.call(&FIREWALLD, ZONES, "addInterface", &[ZONE, link])?;
            changed.push(link.clone());
        }
    }
    Ok(())
}

/// Takes a link that is gone out of the zone again.
///
/// # Errors
/// It did not answer, or refused.
pub fn forget_in_firewalld(link: &str) -> io::Result<()> {
    if !is_in_force() {
        return Ok(());
    }
    let Some(mut bus) = Bus::open()? else { return Ok(()) };
    if bus.call(&FIREWALLD, ZONES, "getZoneOfInterface", &[link])? == ZONE {
        bus.call(&FIREWALLD, ZONES, "removeInterface", &[ZONE, link])?;
    }
    Ok(())
}

/// Whether its rules are there: everywhere else nobody is asked.
fn is_in_force() -> bool {
    let Ok(mut socket) = Socket::open(Family::Netfilter) else { return false };
    let chains = nft::chain_names(&mut socket);
    close_behind(socket);
    let is_its = |(table, name): &(String, String)| table == TABLE || name == ZONES_CHAIN;
    chains.is_ok_and(|chains| chains.iter().any(is_its))
}

struct Peer {
    name: &'static str,
    path: &'static str,
}

struct Bus {
    stream: UnixStream,
    serial: u32,
    /// When nobody waits any more.
    end: Instant,
}

impl Bus {
    /// The system bus; `None` if there is none.
    fn open() -> io::Result<Option<Bus>> {
        let named = std::env::var(BUS_VARIABLE).unwrap_or_default();
        let named = named.strip_prefix("unix:path=").and_then(|rest| rest.split([',', ';']).next());
        let path = Path::new(named.unwrap_or(BUS));
        if path.exists() { Bus::open_at(path, PATIENCE).map(Some) } else { Ok(None) }
    }

    fn open_at(path: &Path, patience: Duration) -> io::Result<Bus> {
        // A bus that does not accept lets whoever connects wait, too, for as long as he may send.
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
        connect(&socket, &SocketAddrUnix::new(path)?).map_err(|error| match error {
            rustix::io::Errno::AGAIN => io::ErrorKind::TimedOut.into(),
            error => io::Error::from(error),
        })?;
        let mut bus = Bus { stream: socket.into(), serial: 0, end: Instant::now() + patience };
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        bus.stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            bus.read_exact(&mut byte)?;
            answer.extend(byte);
            if answer.len() > 512 {
                return Err(malformed());
            }
        }
        if !answer.starts_with(b"OK ") {
            return Err(io::Error::other("the system bus does not let us in"));
        }
        bus.stream.write_all(b"BEGIN\r\n")?;
        let own = Peer { name: "org.freedesktop.DBus", path: "/org/freedesktop/DBus" };
        bus.call(&own, own.name, "Hello", &[])?;
        Ok(bus)
    }

    /// Whoever sends a byte now and then is not waited for any longer.
    fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Calls a method that takes strings. Answers the string that it gives back, or nothing.
    fn call(
        &mut self,
        peer: &Peer,
        interface: &str,
        method: &str,
        arguments: &[&str],
    ) -> io::Result<String> {
        self.serial += 1;
        let message = encode(self.serial, peer, interface, method, arguments);
        self.stream.write_all(&message)?;
        loop {
            let answer = self.receive()?;
            if answer.reply_to != Some(self.serial) {
                continue;
            }
            return match answer.kind {
                RETURN => Ok(answer.text),
                _ => Err(io::Error::other(format!("{method}: {}", answer.text))),
            };
        }
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut head = [0; 16];
        self.read_exact(&mut head)?;
        let number = |at: usize| u32_at(&head, at).map(|it| it as usize).ok_or_else(malformed);
        let (body, fields) = (number(4)?, number(12)?);
        if head[0] != b'l' || body > ANSWER_LIMIT || fields > ANSWER_LIMIT {
            return Err(malformed());
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.read_exact(&mut rest)?;
        decode(head[1], &rest, fields).ok_or_else(malformed)
    }
}

const CALL: u8 = 1;
const RETURN: u8 = 2;
/// Nobody is started to answer.
const NO_AUTO_START: u8 = 2;

/// Numbers of header fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

fn encode(serial: u32, peer: &Peer, interface: &str, method: &str, arguments: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for argument in arguments {
        put_text(&mut body, argument);
    }
    let mut fields = Vec::new();
    for (code, kind, value) in [
        (field::PATH, b'o', peer.path),
        (field::INTERFACE, b's', interface),
        (field::MEMBER, b's', method),
        (field::DESTINATION, b's', peer.name),
    ] {
        pad(&mut fields, 8);
        fields.extend([code, 1, kind, 0]);
        put_text(&mut fields, value);
    }
    if !arguments.is_empty() {
        pad(&mut fields, 8);
        fields.extend([field::SIGNATURE, 1, b'g', 0, byte(arguments.len())]);
        fields.extend(arguments.iter().map(|_| b's'));
        fields.push(0);
    }
    let mut message = vec![b'l', CALL, NO_AUTO_START, 1];
    for number in [length(&body), serial, length(&fields)] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

/// What another program has sent.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    kind: u8,
    reply_to: Option<u32>,
    /// Its first argument, if that is a string.
    text: String,
}

/// `rest` is header fields, padding and body.
fn decode(kind: u8, rest: &[u8], fields: usize) -> Option<Answer> {
    let header = rest.get(..fields)?;
    let body = rest.get(fields.next_multiple_of(8)..)?;
    let (mut at, mut reply_to, mut has_text) = (0, None, false);
    while at < header.len() {
        let (code, size) = (*header.get(at)?, *header.get(at + 1)?);
        let signature = *header.get(at + 2)?;
        if size != 1 {
            return None;
        }
        at += 4;
        match signature {
            b's' | b'o' => at += 4 + u32_at(header, at)? as usize + 1,
            b'u' => {
                reply_to =
                    if code == field::REPLY_SERIAL { Some(u32_at(header, at)?) } else { reply_to };
                at += 4;
            }
            b'g' => {
                let size = usize::from(*header.get(at)?);
                has_text |= code == field::SIGNATURE && header.get(at + 1) == Some(&b's');
                at += 1 + size + 1;
            }
            _ => return None,
        }
        at = at.next_multiple_of(8);
    }
    let text = match has_text {
        true => body.get(4..)?.get(..u32_at(body, 0)? as usize)?,
        false => &[],
    };
    Some(Answer { kind, reply_to, text: String::from_utf8_lossy(text).into_owned() })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.get(..4)?.try_into().ok()?))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    pad(out, 4);
    out.extend(length(text.as_bytes()).to_le_bytes());
    out.extend(text.as_bytes());
    out.push(0);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the system bus sent what is no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_laid_out_as_the_specification_has_it() {
        let message = encode(7, &FIREWALLD, ZONES, "addInterface", &["trusted", "br0"]);
        assert_eq!(message[..4], [b'l', 1, 2, 1]);
        // "trusted" with its length and NUL is 12 bytes, "br0" 8.
        assert_eq!((u32_at(&message, 4), u32_at(&message, 8)), (Some(20), Some(7)));
        let fields = u32_at(&message, 12).expect("a length") as usize;
        assert_eq!(message.len(), 16 + fields.next_multiple_of(8) + 20);
        assert!(message.ends_with(b"\x03\0\0\0br0\0"));
        // It reads as what is received does.
        let read = decode(1, &message[16..], fields).expect("a message");
        assert_eq!(read, Answer { kind: 1, reply_to: None, text: "trusted".to_owned() });
    }

    #[test]
    fn a_bus_that_does_not_answer_is_not_waited_for() {
        let place = std::env::temp_dir().join(format!("ferry-bus-{}", std::process::id()));
        let open =
            || Bus::open_at(&place, Duration::from_millis(50)).map(|_| ()).map_err(|e| e.kind());
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .expect("a socket");
        std::fs::remove_file(&place).ok();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&place).expect("an address"))
            .expect("bound");
        rustix::net::listen(&socket, 0).expect("listening");
        // Nobody reads what the first says; the second is not even let in.
        let first = UnixStream::connect(&place).expect("connected");
        assert_eq!(open(), Err(io::ErrorKind::TimedOut));
        let accepted = rustix::net::accept(&socket).expect("accepted");
        assert_eq!(open(), Err(io::ErrorKind::TimedOut));
        drop((first, accepted));
        std::fs::remove_file(&place).expect("removed");
    }

    #[test]
    fn answers_that_lie_about_their_lengths_are_none() {
        let message = encode(7, &FIREWALLD, ZONES, "addInterface", &["trusted", "br0"]);
        let fields = u32_at(&message, 12).expect("a length") as usize;
        for end in 16..message.len() {
            decode(2, &message[16..end], fields);
        }
        for at in 16..message.len() {
            let mut changed = message.clone();
            changed[at] = 0xff;
            decode(2, &changed[16..], fields);
        }
        assert_eq!(decode(2, &[5, 1, b'u'], 3), None);
    }
}
