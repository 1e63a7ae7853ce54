//! The wire types of the Docker Engine API, 1.24 to 1.51, as the newest of these versions spells them.
//!
//! Knows: which fields there are, in which order dockerd writes them, and which are `null`, `[]`, `{}` or left out when
//! empty. Does not know: the engine's model, HTTP, what a field means. Both the server and the client stand on it, so every
//! type reads and writes.
//! Start with [`ContainerCreateRequest`], [`HostConfig`], [`ContainerInspect`].
//!
//! Rules, which the `wire!` macro keeps for every struct:
//! - A field that is missing or `null` reads as its default, as in Go's `encoding/json`; unknown fields are ignored.
//! - `omitempty` marks what dockerd leaves out when it is empty. Without it, an `Option` list or map writes `null`
//!   when it is `None`: that is Go's nil, which `docker inspect` shows as such.
//! - Fields are in dockerd's order, because clients print the JSON as it comes.
#![recursion_limit = "256"]

#[macro_use]
mod wire;

mod auth;
pub mod build_history;
mod container;
mod error;
mod event;
mod exec;
pub mod filters;
pub mod go_mode;
pub mod handed;
mod host_config;
mod image;
mod mount;
mod names;
mod network;
pub mod progress;
pub mod solve;
mod stats;
pub mod stream;
mod system;
mod version;
mod volume;

pub use auth::*;
pub use container::*;
pub use error::ErrorResponse;
pub use event::*;
pub use exec::*;
pub use filters::Filters;
pub use host_config::*;
pub use image::*;
pub use mount::*;
pub use names::*;
pub use network::*;
pub use progress::{JsonError, JsonMessage, ProgressDetail};
pub use stats::*;
pub use system::*;
pub use version::{ApiVersion, InvalidApiVersion};
pub use volume::*;
pub use wire::{Nothing, StrSlice, ZERO_TIME};

#[cfg(test)]
mod tests;
