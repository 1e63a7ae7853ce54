//! `ferry registry`: an OCI distribution server in this process, and the commands around it.
//!
//! Knows: the distribution API's paths, headers and error codes, TLS, who asks. Does not know: how content is kept
//! (`ferry-registry-store`), what a permission means (`ferry-access`), the engine.
//! Start with `commands/mod.rs` (the commands), `route.rs` (what a request asks for), `dispatch.rs` (one request from its head to its
//! answer), `handlers/`.
//!
//! Invariants: no body is ever whole in memory but a manifest's; what touches the disk runs on blocking threads; whatever a client
//! sends has a limit.

mod access;
mod body;
mod commands;
mod control;
mod dispatch;
mod fault;
mod handlers;
mod journal;
mod query;
mod range;
mod receive;
mod route;
mod serve;
mod tls;

use ferry_cli::face::Extension;

/// `ferry registry`.
pub const EXTENSION: Extension =
    Extension { name: "registry", short: "Run a registry, and look after one", run: commands::run };
