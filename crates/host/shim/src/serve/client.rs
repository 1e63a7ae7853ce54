//! A connection to the shim: what it is, what it still has to get.

use std::{
    io::{self, IoSlice, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use crate::wire;

/// A connection that has sent this much without making sense is closed.
const MAX_INPUT: usize = wire::MAX_FRAME + 4;

/// What a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// It has not said yet.
    New,
    /// Commands and events.
    Control { owner: bool },
    /// Streams of the container, or of the exec at this index.
    Stream { exec: Option<usize>, stdin: bool, stdout: bool, stderr: bool },
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    pub(super) role: Role,
    /// Bytes that did not fit into the socket yet.
    outgoing: Vec<u8>,
    sent: usize,
    /// Bytes of a frame that is not whole, or input that the process did not take yet.
    pub(super) incoming: Vec<u8>,
    /// The other side sends nothing more.
    pub(super) half_closed: bool,
    /// Close it when everything is sent.
    pub(super) closing: bool,
    pub(super) dead: bool,
}

impl Client {
    pub(super) fn new(stream: UnixStream) -> Self {
        Client {
            stream,
            role: Role::New,
            outgoing: Vec::new(),
            sent: 0,
            incoming: Vec::new(),
            half_closed: false,
            closing: false,
            dead: false,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether it has to take something before it gets more.
    pub(super) fn is_behind(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Sends `head` and `body`, and keeps what does not fit.
    pub(super) fn send(&mut self, head: &[u8], body: &[u8]) {
        if self.dead {
            return;
        }
        let mut done = 0;
        if self.outgoing.is_empty() {
            match (&self.stream).write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(count) => done = count,
                Err(error) if would_wait(&error) => {}
                Err(_) => {
                    self.dead = true;
                    return;
                }
            }
        }
        if let Some(rest) = head.get(done..) {
            self.outgoing.extend_from_slice(rest);
            self.outgoing.extend_from_slice(body);
        } else {
            self.outgoing.extend_from_slice(&body[done - head.len()..]);
        }
    }

    /// Sends a message.
    pub(super) fn tell(&mut self, event: &wire::Event) {
        match wire::encode(event) {
            Ok(frame) => self.send(&frame, &[]),
            Err(_) => self.dead = true,
        }
    }

    /// Sends what is still to be sent.
    pub(super) fn flush(&mut self) {
        while self.sent < self.outgoing.len() {
            match (&self.stream).write(&self.outgoing[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if would_wait(&error) => return,
                Err(_) => {
                    self.dead = true;
                    return;
                }
            }
        }
        self.outgoing = Vec::new();
        self.sent = 0;
    }

    /// Reads what is there.
    pub(super) fn fill(&mut self) {
        let mut buffer = [0; 16 * 1024];
        match (&self.stream).read(&mut buffer) {
            Ok(0) => self.half_closed = true,
            Ok(count) if self.incoming.len() + count > MAX_INPUT => self.dead = true,
            Ok(count) => self.incoming.extend_from_slice(&buffer[..count]),
            Err(error) if would_wait(&error) => {}
            Err(_) => self.dead = true,
        }
    }

    /// Takes a frame off what was read.
    pub(super) fn frame<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        match wire::decode(&self.incoming) {
            Ok(Some((value, used))) => {
                self.incoming.drain(..used);
                Some(value)
            }
            Ok(None) => None,
            Err(_) => {
                self.dead = true;
                None
            }
        }
    }
}

pub(super) fn would_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
