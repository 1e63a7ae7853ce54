//! Commands about images where no daemon is asked: `manifest` (lists of manifests for several platforms, as docker's) and `image cp`
//! (from any place to any place: registries, daemons, archives, OCI layouts).
//!
//! Knows: registries by `ferry-transfer`, docker's credentials, the formats of archives and layouts, a daemon by its API. Does not know:
//! the engine, how layers are kept.
//! Start with `copy/mod.rs` (the command), `copy/work.rs` (what is copied in which order), `manifest/mod.rs`.
//!
//! Invariants: a manifest goes to its place after all that it refers to; nothing that is there already travels; nothing is believed
//! for its name, every blob is hashed on its way.

mod copy;
mod manifest;
mod registry;

use ferry_cli::face::Group;

/// The commands.
pub const GROUPS: &[Group] =
    &[manifest::GROUP, Group { name: "image", short: "Manage images", commands: &[copy::COMMAND] }];
