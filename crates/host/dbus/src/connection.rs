//! A connection to the system bus, or to a program without a bus between.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

use crate::{
    message::{Call, HEAD, Kind, Message, Peer},
    value::Value,
};

/// Where the system bus listens unless the environment says otherwise.
const BUS: &str = "/run/dbus/system_bus_socket";
/// The variable of the environment that names another place.
pub const BUS_VARIABLE: &str = "DBUS_SYSTEM_BUS_ADDRESS";
const OWN: Peer = Peer { name: "org.freedesktop.DBus", path: "/org/freedesktop/DBus" };

/// Signals that are kept for who asks later: more than can come before an answer.
const MAX_SIGNALS: usize = 4096;

/// Why a call was not answered as wanted.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection.
    #[error("{method}: {source}")]
    Connection {
        /// What was called.
        method: String,
        /// Why it did not work.
        source: io::Error,
    },
    /// Whoever was called refused.
    #[error("{method}: {words} ({name})")]
    Refused {
        /// What was called.
        method: String,
        /// The name of the error.
        name: String,
        /// The reason, in words.
        words: String,
    },
}

impl CallError {
    /// Whether this is the error of that name.
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, CallError::Refused { name, .. } if name == wanted)
    }
}

/// A connection. Calls wait for their answers, all together no longer than was said when it was opened.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    serial: u32,
    /// When nobody waits any more.
    end: Instant,
    /// The signal that is listened for, and those that have come.
    wanted: Option<&'static str>,
    signals: VecDeque<Message>,
}

impl Connection {
    /// To the system bus; `None` if there is none.
    ///
    /// # Errors
    /// It does not answer in time, or does not let us in.
    pub fn system(patience: Duration) -> io::Result<Option<Connection>> {
        let named = match std::env::var(BUS_VARIABLE) {
            Ok(named) => named,
            Err(_) => format!("unix:path={BUS}"),
        };
        let path = named.strip_prefix("unix:path=").and_then(|rest| rest.split([',', ';']).next());
        let path = path.map(Path::new).ok_or_else(|| {
            let words = format!(
                "cannot reach the system bus: {BUS_VARIABLE}={named} does not begin with unix:path="
            );
            io::Error::new(io::ErrorKind::InvalidInput, words)
        })?;
        if path.exists() { Connection::bus(path, patience).map(Some) } else { Ok(None) }
    }

    /// To the bus that listens there.
    ///
    /// # Errors
    /// As for [`Connection::system`].
    pub fn bus(path: &Path, patience: Duration) -> io::Result<Connection> {
        let mut bus = Connection::peer(path, patience)?;
        let hello = Call { peer: &OWN, interface: OWN.name, method: "Hello", arguments: &[] };
        bus.call(&hello).map_err(|error| match error {
            CallError::Connection { source, .. } => source,
            refused => io::Error::other(refused),
        })?;
        Ok(bus)
    }

    /// To a program that listens there itself.
    ///
    /// # Errors
    /// As for [`Connection::system`].
    pub fn peer(path: &Path, patience: Duration) -> io::Result<Connection> {
        // Who does not accept lets whoever connects wait, too, for as long as he may send.
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
        connect(&socket, &SocketAddrUnix::new(path)?).map_err(|error| match error {
            rustix::io::Errno::AGAIN => io::ErrorKind::TimedOut.into(),
            error => io::Error::from(error),
        })?;
        let mut connection = Connection {
            stream: socket.into(),
            serial: 0,
            end: Instant::now() + patience,
            wanted: None,
            signals: VecDeque::new(),
        };
        connection.authenticate()?;
        Ok(connection)
    }

    fn authenticate(&mut self) -> io::Result<()> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        // At once: systemd takes no notice of a call that it reads together with the last line of these.
        self.stream.write_all(format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n").as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n") {
            let mut byte = [0];
            self.read_exact(&mut byte)?;
            answer.extend(byte);
            if answer.len() > 512 {
                return Err(malformed());
            }
        }
        if !answer.starts_with(b"OK ") {
            return Err(io::Error::other("D-Bus does not let us in"));
        }
        Ok(())
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

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// None came, or a refusal.
    pub fn call(&mut self, call: &Call<'_>) -> Result<Message, CallError> {
        let method = call.method.to_owned();
        let answer = self
            .exchange(call)
            .map_err(|source| CallError::Connection { method: method.clone(), source })?;
        match answer.kind {
            Kind::Error => {
                Err(CallError::Refused { method, words: answer.text(), name: answer.error })
            }
            _ => Ok(answer),
        }
    }

    fn exchange(&mut self, call: &Call<'_>) -> io::Result<Message> {
        self.serial += 1;
        let serial = self.serial;
        let message = call.encode(serial).ok_or_else(malformed)?;
        self.stream.write_all(&message)?;
        loop {
            let message = self.receive()?;
            match message.kind {
                Kind::Return | Kind::Error if message.reply_to == Some(serial) => {
                    return Ok(message);
                }
                Kind::Signal if self.wanted == Some(&message.member) => self.keep(message),
                _ => {}
            }
        }
    }

    fn keep(&mut self, signal: Message) {
        if self.signals.len() == MAX_SIGNALS {
            self.signals.pop_front();
        }
        self.signals.push_back(signal);
    }

    /// From now on signals of this name are kept for [`Connection::signal`]. Behind a bus that takes its own `AddMatch`, too.
    pub fn listen(&mut self, member: &'static str) {
        self.wanted = Some(member);
    }

    /// Has the bus send what fits a rule.
    ///
    /// # Errors
    /// It refused.
    pub fn add_match(&mut self, rule: &str) -> Result<(), CallError> {
        let arguments = [Value::text(rule)];
        let call =
            Call { peer: &OWN, interface: OWN.name, method: "AddMatch", arguments: &arguments };
        self.call(&call).map(drop)
    }

    /// The next signal of the name that was listened for; waits for it.
    ///
    /// # Errors
    /// None came in time.
    pub fn signal(&mut self) -> io::Result<Message> {
        if let Some(signal) = self.signals.pop_front() {
            return Ok(signal);
        }
        loop {
            let message = self.receive()?;
            if message.kind == Kind::Signal && self.wanted == Some(&message.member) {
                return Ok(message);
            }
        }
    }

    fn receive(&mut self) -> io::Result<Message> {
        let mut head = [0; HEAD];
        self.read_exact(&mut head)?;
        let (length, fields) = Message::lengths(&head).ok_or_else(malformed)?;
        let mut rest = vec![0; length];
        self.read_exact(&mut rest)?;
        Message::decode(&head, &rest, fields).ok_or_else(malformed)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what came over D-Bus is no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_not_waited_for() {
        let place = std::env::temp_dir().join(format!("ferry-bus-{}", std::process::id()));
        let open =
            || Connection::bus(&place, Duration::from_millis(50)).map(|_| ()).map_err(|e| e.kind());
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
}
