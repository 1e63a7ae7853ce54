//! What the kernel counted.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags, open};

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
    Ok(v2_count(&text))
}

/// Follows what the kernel counts in a group that systemd makes: it removes the group when the last process has ended, which may
/// be before whoever waits for that process hears of it.
#[derive(Debug)]
pub struct EndWatch {
    /// `memory.events` tells kills, but at most every ten milliseconds; `cgroup.events` tells that the last process has gone.
    memory: OwnedFd,
    group: OwnedFd,
    peak: PathBuf,
    is_there: bool,
    last: OomCount,
    last_peak: u64,
}

impl EndWatch {
    pub(crate) fn new(group: &v2::Group) -> Option<EndWatch> {
        let file = |name: &str| {
            open(group.dir().join(name), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
        };
        let mut watch = EndWatch {
            memory: file("memory.events")?,
            group: file("cgroup.events")?,
            peak: group.dir().join("memory.peak"),
            is_there: true,
            last: OomCount::default(),
            last_peak: 0,
        };
        watch.look();
        Some(watch)
    }

    /// Tell by `POLLPRI` that it is time to look; none once there is nothing to see any more.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.memory, &self.group].into_iter().filter(|_| self.is_there).map(AsFd::as_fd)
    }

    /// Reads what there is to read.
    pub fn look(&mut self) {
        if !self.is_there {
            return;
        }
        let mut text = [0; 1024];
        let read = rustix::io::pread(&self.memory, &mut text, 0);
        if let Ok(length) = read {
            self.last = v2_count(&String::from_utf8_lossy(&text[..length]));
            self.last_peak = file::number(&self.peak).unwrap_or(self.last_peak);
        }
        // Read once, it tells only what is new.
        self.is_there = read.and(rustix::io::pread(&self.group, &mut text, 0)).is_ok();
    }

    /// What was counted when there was something to read.
    pub fn count(&self) -> OomCount {
        self.last
    }

    /// The most memory that was in use then; 0 if the kernel does not know.
    pub fn memory_peak(&self) -> u64 {
        self.last_peak
    }
}

fn v2_count(text: &str) -> OomCount {
    OomCount { ooms: value(text, "oom"), kills: value(text, "oom_kill") }
}

fn value(text: &str, key: &str) -> u64 {
    let pair = |line: &str| match line.split_once(' ') {
        Some((name, value)) if name == key => value.trim().parse().ok(),
        _ => None,
    };
    text.lines().find_map(pair).unwrap_or(0)
}
