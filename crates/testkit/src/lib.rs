//! What the tests that run the built binary need: a daemon of their own, images made from Debian's packages, a registry,
//! the real docker command line, and a look at what the kernel has.
//!
//! Knows: the command line and the Engine API from the outside. Does not know: any other crate of Ferry, so that a test can
//! never take our own word for something. Start with [`Sandbox`], [`Run`], [`Traces`], [`programs`].
//!
//! Everything here panics when it fails: these are tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod api;
mod claims;
mod command;
mod containerd;
mod ferry_registry;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod images;
pub mod programs;
mod registry;
mod sandbox;
mod traces;

pub use api::Api;
pub use claims::{free_port, free_range, free_range6};
pub use command::{Run, eventually, run, run_with_input};
pub use containerd::{Containerd, CriOptions, bridge_list};
pub use ferry_registry::{Answer, FerryRegistry, Http};
pub use registry::{Registry, RegistryOptions};
pub use sandbox::{Client, DOCKERD, Sandbox, binary};
pub use traces::Traces;
