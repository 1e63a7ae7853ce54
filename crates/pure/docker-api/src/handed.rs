//! A file or directory that our own command line has open and the daemon takes out of its process, instead of its bytes going through a
//! socket. Only over a unix socket, and never said to a daemon that is not Ferry's.

use serde::{Deserialize, Serialize};

/// The header that holds a [`Handed`] as JSON, where a request would otherwise have a file as its body.
pub const HANDED: &str = "X-Ferry-Handed";

/// What the client has open: the daemon takes it out of the client's process and looks whether it is this one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed {
    /// Its number there.
    pub descriptor: i32,
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}
