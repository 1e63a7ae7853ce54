//! `ferry kube`: Kubernetes' manifests on one machine, and manifests of what runs here.
//!
//! Knows: manifests of a few kinds, the client and the wire types. Does not know: the engine, or which daemon answers.
//! Start with `manifest.rs` (documents to objects), `plan.rs` (a pod to bodies of container create), `play.rs`, `generate.rs`.
//!
//! Invariants: what has no meaning on one machine is named; what is not supported is refused by name; the same manifest played
//! twice changes nothing.

mod commands;
mod generate;
mod manifest;
mod plan;
mod play;
mod ports;
mod probes;
mod reader;
mod settings;
#[cfg(test)]
mod tests;
mod volumes;

use ferry_cli::face::Extension;

/// `ferry kube`.
pub const EXTENSION: Extension = Extension {
    name: "kube",
    short: "Run Kubernetes manifests on this machine, and write them",
    run: commands::run,
};
