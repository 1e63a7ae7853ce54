//! Container logs: which drivers and options there are, and reading what a shim wrote.
//!
//! Knows: Docker's json-file format and its options. Does not know: containers, the API; it does not write logs, because a log
//! must go on when the daemon is gone (the shim does).
//! Start with [`plan`], [`OpenLog`], [`ReadOptions`].

mod decode;
mod file;
mod reader;
mod settings;
#[cfg(test)]
mod tests;

pub use decode::{Record, decode};
pub use reader::{Follow, Framing, OpenLog, ReadError, ReadOptions};
pub use settings::{LogContext, SettingsError, check_settings, is_readable, plan};
