//! One handler an endpoint: read, convert, one engine call, render. They know only the newest version of the API.

pub(crate) mod archive;
pub(crate) mod attach;
pub(crate) mod attach_ws;
pub(crate) mod build;
pub(crate) mod buildkit;
pub(crate) mod container;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod image;
pub(crate) mod logs;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod served;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod volume;

use std::time::SystemTime;

use ferry_stdx::time::Timestamp;

/// The clock.
fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}
