//! Between the API's JSON types and the engine's nouns. Every struct that is read is taken apart without `..`, so that a new
//! field does not compile until it is honoured or refused.

pub(crate) mod auth;
pub(crate) mod container;
pub(crate) mod create;
pub(crate) mod endpoint;
pub(crate) mod event;
pub(crate) mod exec;
mod host_in;
mod host_out;
pub(crate) mod image;
mod ipam;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod progress;
mod resources;
mod state;
pub(crate) mod stats;
pub(crate) mod system;
#[cfg(test)]
mod tests;
pub(crate) mod update;
pub(crate) mod volume;

use std::collections::BTreeMap;

/// Go's nil for an empty list: `null`.
pub(crate) fn nil_if_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Go's nil for an empty map: `null`.
fn nil_map<K: Ord, V>(map: BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}
