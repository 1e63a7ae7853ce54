//! What the kernel counted.

use crate::file;
use crate::{CgroupError, v1, v2};

/// Processes the kernel killed for lack of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OomCount {
    /// How often the limit was hit with nothing left to reclaim (version 2 only; else the same as `kills`).
    pub ooms: u64,
    /// How many processes were killed.
    pub kills: u64,
}

pub(crate) fn v1(group: &v1::Group) -> Result<OomCount, CgroupError> {
    let Some(dir) = group.dir("memory") else { return Ok(OomCount::default()) };
    let path = dir.join("memory.oom_control");
    let text = file::read_from(&path)?;
    let kills = value(&text, "oom_kill");
    Ok(OomCount { ooms: kills, kills })
}

pub(crate) fn v2(group: &v2::Group) -> Result<OomCount, CgroupError> {
    let text = file::read_from(&group.dir().join("memory.events"))?;
    Ok(OomCount { ooms: value(&text, "oom"), kills: value(&text, "oom_kill") })
}

fn value(text: &str, key: &str) -> u64 {
    let pair = |line: &str| match line.split_once(' ') {
        Some((name, value)) if name == key => value.trim().parse().ok(),
        _ => None,
    };
    text.lines().find_map(pair).unwrap_or(0)
}
