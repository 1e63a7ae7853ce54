//! D-Bus, as much of it as calling a method takes: a connection that blocks, calls, answers, and signals of one name.
//!
//! Knows the wire format and how to be let in. Does not know who is called: firewalld's words are in `network`, systemd's in
//! `cgroup`. No asynchronous code, no threads, so that a shim can use it.
//!
//! Start with [`Connection`], [`Call`] and [`Value`].
//!
//! Invariants:
//! - What another program sends is read by total functions, with limits on its length and on the time that it may take.
//! - Only little-endian messages are understood, which is what programs on x86-64 and arm64 send.

mod connection;
mod message;
mod value;

pub use connection::{BUS_VARIABLE, CallError, Connection};
pub use message::{Call, Kind, Message, Peer};
pub use value::Value;
