//! What std lacks: sizes, durations, points in time, ids, made-up names, in the notations that Docker's users know; percent encoding.
//!
//! Knows: text and numbers. Does not know: the clock, randomness, the environment (all are arguments).
//! Start with [`time::Timestamp`], [`size::parse_bytes`], [`duration::human`].

pub mod duration;
pub mod id;
pub mod names;
pub mod percent;
pub mod size;
pub mod time;
