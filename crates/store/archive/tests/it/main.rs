//! Layers on a real file system. Runs as root: devices, owners and trusted attributes need it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod damage;
mod hostile;
mod random;
mod round_trip;
mod support;
