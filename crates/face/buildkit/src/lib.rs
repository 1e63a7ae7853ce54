//! BuildKit's gRPC over the engine: the stock `docker build`, `docker buildx`, `bake` and `docker compose build` work as they are, with
//! the `docker` driver.
//!
//! Knows: BuildKit's control and gateway services, the services of a client's session, fsutil's packets. Does not know: HTTP/1 (the
//! server's two routes hand over connections), definitions of BuildKit's own (LLB), how anything is built.
//! Start with [`BuildKit`], `solve.rs` (from attributes to a request), `receive.rs` (how a tree of files arrives).
//!
//! Two connections make a build. On `/grpc` the client calls us: `Control.Solve` and `Control.Status`, and, because buildx runs the
//! frontend through its client, `LLBBridge.Solve` and `Return` beside them, which name their build in a header. On `/session` we call
//! the client: for its files, credentials, secrets, agents, and to hand results over.
//!
//! Invariants:
//! - What a client sends is material: paths are checked, counts and sizes are limited, and nothing is written where it names.
//! - An attribute that is not understood fails the build by its name.
//! - A build ends with the call that wants it: a client that leaves takes its build along.

mod builds;
mod caps;
mod channel;
mod client;
mod context;
mod control;
mod export;
mod gateway;
mod receive;
mod serve;
mod session;
mod solve;
mod status;
mod tar;

#[expect(
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::enum_variant_names,
    reason = "generated: what a field means is said by BuildKit"
)]
mod proto;

pub use receive::{Listing, ReceiveError};
pub use serve::BuildKit;
