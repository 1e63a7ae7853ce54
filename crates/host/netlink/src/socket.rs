//! A netlink socket: requests go out together, answers are read until the last one is acknowledged.
#![expect(unsafe_code, reason = "netlink's socket options, which rustix does not have")]

use std::{
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::{
    Errno, NetlinkError,
    wire::{self, Message, Request, flag},
};

/// The kernel writes dumps in pieces of at most this much.
const BUFFER: usize = 32 * 1024;
/// Answers longer than this altogether are refused: a routing table of a million entries is not for us.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// The kernel answers while we send. This only ends the wait for an answer that was lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests longer than this do not fit the send buffer that a socket begins with.
const SEND_BUFFER: usize = 64 * 1024;
/// How often a dump is made again that changed under the kernel's hands.
const DUMP_TRIES: u32 = 8;

/// Who is told of changes of nftables.
const NFNLGRP_NFTABLES: libc::c_int = 7;

/// Which part of the kernel is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes.
    Route,
    /// nftables, conntrack.
    Netfilter,
}

/// A netlink socket. Stays in the network namespace that it was opened in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in this thread's network namespace.
    pub fn open(family: Family) -> Result<Socket, NetlinkError> {
        let open = |source| NetlinkError::Open { source };
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(net::netlink::NETFILTER),
        };
        let fd = net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )
        .map_err(open)?;
        // Without these errors have no words, and carry the whole request.
        set_option(&fd, libc::NETLINK_EXT_ACK).map_err(open)?;
        set_option(&fd, libc::NETLINK_CAP_ACK).map_err(open)?;
        if family == Family::Route {
            // Dumps honour the filters in their requests.
            set_option(&fd, libc::NETLINK_GET_STRICT_CHK).map_err(open)?;
        }
        net::sockopt::set_socket_timeout(&fd, net::sockopt::Timeout::Recv, Some(PATIENCE))
            .map_err(open)?;
        Ok(Socket { fd, sequence: 0, buffer: Vec::new() })
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Sends all requests at once, and reads until the last is acknowledged. Messages that are not acks go to `each`.
    ///
    /// The kernel goes on after a request that fails: the first failure is answered.
    pub fn exchange(
        &mut self,
        requests: &[Request],
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<(), NetlinkError> {
        let Some(last) = requests.len().checked_sub(1) else { return Ok(()) };
        let mut out = Vec::with_capacity(requests.iter().map(Request::len).sum());
        let first = self.sequence.wrapping_add(1);
        for (index, request) in requests.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let flags = if index == last { flag::ACK } else { 0 };
            finish(request, self.sequence, flags, &mut out)?;
        }
        self.send(&out, requests[last].what())?;
        let mut failure = None;
        self.receive(requests[last].what(), |message| {
            let index = message.sequence.wrapping_sub(first) as usize;
            let Some(request) = requests.get(index) else { return Ok(false) };
            if message.kind != wire::ERROR {
                each(message);
                return Ok(false);
            }
            if let Err(error) = check(message, request.what()) {
                failure.get_or_insert(error);
            }
            Ok(index == last)
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// A socket that hears of every change of nftables, whoever makes it.
    pub fn of_nftables_changes() -> Result<Socket, NetlinkError> {
        let open = |source| NetlinkError::Open { source };
        let mut socket = Socket::open(Family::Netfilter)?;
        // Nobody is told who has no address.
        net::bind(&socket.fd, &net::netlink::SocketAddrNetlink::new(0, 0)).map_err(open)?;
        set_number(&socket.fd, libc::NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES).map_err(open)?;
        net::sockopt::set_socket_timeout(&socket.fd, net::sockopt::Timeout::Recv, None)
            .map_err(open)?;
        socket.buffer.resize(BUFFER, 0);
        Ok(socket)
    }

    /// Blocks until something has changed, and until nothing has for `quiet`, or for ten times that.
    pub fn await_changes(&mut self, quiet: Duration) -> Result<(), NetlinkError> {
        let failed = |source| NetlinkError::Receive { what: "watch nftables".to_owned(), source };
        let timeout = |fd: &OwnedFd, timeout| {
            net::sockopt::set_socket_timeout(fd, net::sockopt::Timeout::Recv, timeout)
        };
        timeout(&self.fd, None).map_err(failed)?;
        let mut began: Option<Instant> = None;
        loop {
            // Where somebody changes something all the time, it is never quiet.
            if began.is_some_and(|began| began.elapsed() > 10 * quiet) {
                return Ok(());
            }
            match net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                // Too many to be kept: something has changed all the same.
                Ok(_) | Err(Errno::NOBUFS) => {
                    began.get_or_insert_with(Instant::now);
                    timeout(&self.fd, Some(quiet)).map_err(failed)?;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(source) => return Err(failed(source)),
            }
        }
    }

    /// The same for an nftables batch: `requests` is done as a whole or not at all. `begin` and `end` frame it.
    pub(crate) fn transaction(
        &mut self,
        begin: &Request,
        requests: &[Request],
        end: &Request,
    ) -> Result<(), NetlinkError> {
        let Some(last) = requests.len().checked_sub(1) else { return Ok(()) };
        let mut out = Vec::with_capacity(requests.iter().map(Request::len).sum::<usize>() + 64);
        self.sequence = self.sequence.wrapping_add(1);
        let first = self.sequence;
        finish(begin, first, 0, &mut out)?;
        for (index, request) in requests.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            finish(request, self.sequence, if index == last { flag::ACK } else { 0 }, &mut out)?;
        }
        self.sequence = self.sequence.wrapping_add(1);
        finish(end, self.sequence, 0, &mut out)?;
        self.send(&out, begin.what())?;
        let mut failure = None;
        self.receive(begin.what(), |message| {
            let offset = message.sequence.wrapping_sub(first) as usize;
            if message.kind != wire::ERROR || offset > requests.len() + 1 {
                return Ok(false);
            }
            let request = offset.checked_sub(1).and_then(|index| requests.get(index));
            if let Err(error) = check(message, request.unwrap_or(begin).what()) {
                failure.get_or_insert(error);
            }
            // A commit that fails is told of with the number of the batch's first message, and nothing else is said.
            Ok(offset == 0 || offset == requests.len())
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// Reads all objects that `request` asks for; again if they changed meanwhile.
    pub fn dump<T>(
        &mut self,
        request: &Request,
        decode: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut found = Vec::new();
        for _ in 0..DUMP_TRIES {
            found.clear();
            self.sequence = self.sequence.wrapping_add(1);
            let sequence = self.sequence;
            let mut out = Vec::with_capacity(request.len());
            finish(request, sequence, flag::DUMP, &mut out)?;
            self.send(&out, request.what())?;
            let mut interrupted = false;
            self.receive(request.what(), |message| {
                if message.sequence != sequence {
                    return Ok(false);
                }
                interrupted |= message.flags & flag::DUMP_INTERRUPTED != 0;
                if message.kind == wire::DONE || message.kind == wire::ERROR {
                    check(message, request.what())?;
                    return Ok(true);
                }
                found.extend(decode(message));
                Ok(false)
            })?;
            if !interrupted {
                break;
            }
        }
        // After so many tries it is the best there is: changes go on all the time.
        Ok(found)
    }

    fn send(&self, bytes: &[u8], what: &str) -> Result<(), NetlinkError> {
        if bytes.len() > SEND_BUFFER {
            // Twice as much, since the kernel counts its own headers too. If it may not be, the send says so.
            net::sockopt::set_socket_send_buffer_size_force(&self.fd, 2 * bytes.len()).ok();
        }
        loop {
            match net::send(&self.fd, bytes, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(source) => return Err(NetlinkError::Send { what: what.to_owned(), source }),
            }
        }
    }

    /// Gives all messages to `take` until it says that this was the last.
    fn receive(
        &mut self,
        what: &str,
        mut take: impl FnMut(&Message<'_>) -> Result<bool, NetlinkError>,
    ) -> Result<(), NetlinkError> {
        let malformed = || NetlinkError::Malformed { what: what.to_owned() };
        self.buffer.resize(BUFFER, 0);
        let mut total = 0;
        loop {
            let length = match net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((_, length)) => length,
                Err(Errno::INTR) => continue,
                Err(source) => {
                    return Err(NetlinkError::Receive { what: what.to_owned(), source });
                }
            };
            total += length;
            let datagram = self.buffer.get(..length).ok_or_else(malformed)?;
            if total > ANSWER_LIMIT || datagram.is_empty() {
                return Err(malformed());
            }
            let mut ended = false;
            for message in wire::messages(datagram) {
                ended |= take(&message)?;
            }
            if ended {
                return Ok(());
            }
        }
    }
}

fn finish(
    request: &Request,
    sequence: u32,
    flags: u16,
    out: &mut Vec<u8>,
) -> Result<(), NetlinkError> {
    if request.overflows() {
        return Err(NetlinkError::TooLong { what: request.what().to_owned() });
    }
    request.finish(sequence, flags, out);
    Ok(())
}

fn check(message: &Message<'_>, what: &str) -> Result<(), NetlinkError> {
    let Some(ack) = wire::ack(message) else {
        return Err(NetlinkError::Malformed { what: what.to_owned() });
    };
    if ack.errno == 0 {
        return Ok(());
    }
    // Not every number is an errno: the type takes 1 to 4095.
    let number = if (1..4096).contains(&ack.errno) { ack.errno } else { libc::EIO };
    let source = Errno::from_raw_os_error(number);
    Err(NetlinkError::Refused { what: what.to_owned(), message: ack.text, source })
}

fn set_option(fd: &OwnedFd, option: libc::c_int) -> Result<(), Errno> {
    set_number(fd, option, 1)
}

fn set_number(fd: &OwnedFd, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the kernel reads the four bytes of `value`, which live until the call ends.
    let answer = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if answer == 0 {
        return Ok(());
    }
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Err(Errno::from_raw_os_error(code))
}
