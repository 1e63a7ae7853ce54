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
mod daemon;
mod direct;
mod dispatch;
mod fault;
mod handlers;
mod journal;
mod pages;
mod proxy;
mod query;
mod range;
mod receive;
mod route;
mod rules;
mod serve;
mod tls;

use ferry_cli::face::Extension;

/// `ferry registry`.
pub const EXTENSION: Extension =
    Extension { name: "registry", short: "Run a registry, and look after one", run: commands::run };

/// Reads a request's path, query and ranges as the server does; whether what was read keeps its promises. For `fuzz/`, which
/// has no other way to these readers.
pub fn reads_well(path: &str, query: &str, range: &str, size: u64) -> bool {
    let part = match range::wanted(Some(range), size) {
        range::Wanted::Part(at, length) => {
            length > 0 && at.checked_add(length).is_some_and(|end| end <= size)
        }
        range::Wanted::All | range::Wanted::Beyond => true,
    };
    let piece = range::piece(range).is_none_or(|(first, last)| first <= last);
    let named = match route::Route::parse(path) {
        Some(Ok(route)) => route.repository().is_none_or(ferry_oci::Reference::is_repository),
        Some(Err(_)) | None => true,
    };
    let value = query::Query::parse(query).get("last").map(str::to_owned).unwrap_or_default();
    part && piece && named && query::decode(&query::encode(&value)) == value
}
