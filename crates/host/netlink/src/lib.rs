//! Netlink: links, addresses, routes, nftables batches and conntrack entries, spoken to the kernel synchronously.
//!
//! Knows: the wire format, and the messages that Ferry sends. Does not know: containers, bridges' policies, which rule
//! is for what. Requests are values ([`wire::Request`]) made by pure functions and sent together by a socket.
//!
//! Start with [`socket::Socket`] (one netlink socket, perhaps of another network namespace), [`link`] and [`address`]
//! (rtnetlink), [`nft::Batch`] (nftables).
//!
//! Invariants:
//! - Every function that reads bytes of the kernel is total: no bytes make it panic, loop or allocate without limit.
//! - `unsafe` is in `socket` only: one option that rustix does not have.

pub mod address;
pub mod conntrack;
pub mod error;
pub mod link;
pub mod namespace;
pub mod nft;
pub mod route;
pub mod socket;
pub mod upper;
pub mod wire;

pub use error::{Errno, NetlinkError};
pub use socket::{Family, Socket};
