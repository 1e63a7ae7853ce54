//! The flags of `run` and `create`, and the request that they make.

mod devices;
mod files;
mod flags;
mod health;
mod mounts;
mod networks;
mod ports;
mod request;
mod security;
mod values;
mod volumes;

pub(crate) use files::{go_words, key_values, lookup_env};
pub(crate) use flags::{CREATE_FLAGS, RUN_FLAGS};
pub(crate) use ports::published_ports;
pub(crate) use request::request;
pub(crate) use values::{csv, restart_policy, ulimits};
