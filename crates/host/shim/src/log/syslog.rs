//! Messages to a syslog server, in the formats of Docker's driver (RFC 3164 and RFC 5424).

use std::{
    io::{self, Write},
    net::{TcpStream, ToSocketAddrs, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    time::Duration,
};

use ferry_stdx::time::Timestamp;

use super::Stream;
use crate::launch::{SyslogFormat, SyslogLog};

/// How long a server may take to answer a call.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long after a failed connection the next one is tried.
const PAUSE: i64 = 1_000_000_000;

/// Where the machine's own syslog listens (srslog `unixSyslog`).
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Syslog {
    spec: SyslogLog,
    connection: Option<Connection>,
    /// When the connection was lost.
    lost_at: i64,
    host: String,
}

#[derive(Debug)]
enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Datagrams(UnixDatagram),
    Stream(UnixStream),
}

impl Syslog {
    pub(super) fn open(spec: SyslogLog) -> Result<Syslog, String> {
        let connection = Some(connect(&spec)?);
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Syslog { spec, connection, lost_at: 0, host })
    }

    /// Sends a line. One that cannot be sent is lost, after a second attempt on a new connection.
    pub(super) fn send(&mut self, stream: Stream, line: &[u8], now: i64) {
        let message = message(&self.spec, &self.host, stream, line, now);
        for _ in 0..2 {
            if self.connection.is_none() {
                if now.saturating_sub(self.lost_at) < PAUSE {
                    return;
                }
                self.connection = connect(&self.spec).ok();
            }
            let Some(connection) = &mut self.connection else {
                self.lost_at = now;
                return;
            };
            match connection.send(&message) {
                Ok(()) => return,
                // Whoever does not want to wait loses what does not fit.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.connection = None,
            }
        }
        self.lost_at = now;
    }
}

impl Connection {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Connection::Udp(socket) => socket.send(message).map(drop),
            Connection::Datagrams(socket) => socket.send(message).map(drop),
            Connection::Tcp(stream) => stream.write_all(message),
            Connection::Stream(stream) => stream.write_all(message),
        }
    }
}

fn connect(spec: &SyslogLog) -> Result<Connection, String> {
    let connection = dial(&spec.address)?;
    let failed = |error: io::Error| error.to_string();
    if let Some(room) = spec.non_blocking {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let set = |fd: std::os::fd::BorrowedFd<'_>| {
            // As much as the kernel gives.
            rustix::net::sockopt::set_socket_send_buffer_size(fd, room).ok();
        };
        use std::os::fd::AsFd;
        match &connection {
            Connection::Udp(socket) => {
                set(socket.as_fd());
                socket.set_nonblocking(true).map_err(failed)?;
            }
            Connection::Tcp(socket) => {
                set(socket.as_fd());
                socket.set_nonblocking(true).map_err(failed)?;
            }
            Connection::Datagrams(socket) => socket.set_nonblocking(true).map_err(failed)?,
            Connection::Stream(socket) => socket.set_nonblocking(true).map_err(failed)?,
        }
    }
    Ok(connection)
}

fn dial(address: &str) -> Result<Connection, String> {
    let Some((scheme, place)) = address.split_once("://") else {
        let local = LOCAL.iter().find_map(|path| unix(path).ok());
        return local.ok_or_else(|| "Unix syslog delivery error".to_owned());
    };
    let told = |error: io::Error| {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            _ => error.to_string(),
        };
        format!("dial {scheme} {place}: {why}")
    };
    let resolve = || {
        let mut found = place.to_socket_addrs().map_err(told)?;
        found.next().ok_or_else(|| format!("dial {scheme} {place}: no such host"))
    };
    match scheme {
        "unix" | "unixgram" => unix(place).map_err(told),
        "udp" => {
            let address = resolve()?;
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).map_err(told)?;
            socket.connect(address).map_err(told)?;
            Ok(Connection::Udp(socket))
        }
        _ => TcpStream::connect_timeout(&resolve()?, PATIENCE).map(Connection::Tcp).map_err(told),
    }
}

fn unix(path: &str) -> io::Result<Connection> {
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Ok(()) => Ok(Connection::Datagrams(socket)),
        // It listens for streams.
        Err(_) => UnixStream::connect(path).map(Connection::Stream),
    }
}

fn message(spec: &SyslogLog, host: &str, stream: Stream, line: &[u8], now: i64) -> Vec<u8> {
    let severity = match stream {
        Stream::Stdout => 6,
        Stream::Stderr => 3,
    };
    let priority = u32::from(spec.facility) * 8 + severity;
    let (tag, pid) = (&spec.tag, std::process::id());
    let time = Timestamp::from_nanos(now);
    let head = match spec.format {
        SyslogFormat::Unix => format!("<{priority}>{} {tag}[{pid}]: ", stamp(time)),
        SyslogFormat::Rfc3164 => format!("<{priority}>{} {host} {tag}[{pid}]: ", stamp(time)),
        SyslogFormat::Rfc5424 => {
            format!("<{priority}>1 {} {host} {tag} {pid} {tag} - ", digits(time, 0))
        }
        SyslogFormat::Rfc5424Micro => {
            format!("<{priority}>1 {} {host} {tag} {pid} {tag} - ", digits(time, 6))
        }
    };
    let mut message = head.into_bytes();
    message.extend_from_slice(line);
    message.push(b'\n');
    message
}

/// `2026-11-21T13:00:00Z` with so many digits of the second's fraction.
fn digits(time: Timestamp, count: usize) -> String {
    let text = time.format_fixed();
    let (seconds, fraction) = text.trim_end_matches('Z').split_once('.').unwrap_or((&text, ""));
    match count {
        0 => format!("{}Z", seconds.trim_end_matches('Z')),
        _ => format!("{seconds}.{:0<6}Z", fraction.get(..count).unwrap_or(fraction)),
    }
}

/// Go's `time.Stamp`, `Nov  2 15:04:05`, in UTC: a static binary knows no other zone.
fn stamp(time: Timestamp) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = digits(time, 0);
    let month = text.get(5..7).and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    let day = text.get(8..10).and_then(|day| day.parse::<u8>().ok()).unwrap_or(1);
    let clock = text.get(11..19).unwrap_or_default();
    format!("{} {day:>2} {clock}", MONTHS[(month - 1).min(11)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_dockers() {
        let spec = |format| SyslogLog {
            address: String::new(),
            facility: 3,
            format,
            tag: "web".to_owned(),
            non_blocking: None,
        };
        let now = 1_795_266_000_123_456_789;
        let pid = std::process::id();
        let text = |format, stream| {
            String::from_utf8(message(&spec(format), "host", stream, b"hi", now)).unwrap()
        };
        assert_eq!(
            text(SyslogFormat::Unix, Stream::Stdout),
            format!("<30>Nov 21 13:00:00 web[{pid}]: hi\n")
        );
        assert_eq!(
            text(SyslogFormat::Rfc3164, Stream::Stderr),
            format!("<27>Nov 21 13:00:00 host web[{pid}]: hi\n")
        );
        assert_eq!(
            text(SyslogFormat::Rfc5424, Stream::Stdout),
            format!("<30>1 2026-11-21T13:00:00Z host web {pid} web - hi\n")
        );
        assert_eq!(
            text(SyslogFormat::Rfc5424Micro, Stream::Stdout),
            format!("<30>1 2026-11-21T13:00:00.123456Z host web {pid} web - hi\n")
        );
    }
}
