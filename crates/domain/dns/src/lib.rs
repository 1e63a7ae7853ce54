//! Names of containers: who is called what on which network, and DNS messages about it.
//!
//! Knows: the format of questions and answers, the names on each network, how long an answer of others may be remembered.
//! Does not know: sockets, time (it is an argument), containers beyond their names and addresses.
//!
//! Start with [`Query`] (a message that was received), [`Directory`] (the names), [`View`] (which of them one container
//! sees), [`Cache`] (answers of other servers).
//!
//! Invariants:
//! - Any bytes may be given to [`Query::parse`] and [`Cache::keep`]: they answer, and never read outside of what is there.
//! - A name is compared without regard to case, as DNS has it.

mod cache;
mod directory;
mod message;

pub use cache::Cache;
pub use directory::{Directory, Found, Link, View};
pub use message::{Malformed, Query, Rcode, Record, is_useful, refusal, with_id};

/// Type of a question.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Mail server.
    pub const MX: u16 = 15;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
}

/// How long others may remember an answer of ours, in seconds: Docker's value.
pub const TTL: u32 = 600;
