//! Stopping, killing and removing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ferry_sys::Errno;
use ferry_sys::signals;

use crate::file;
use crate::{CgroupError, v1, v2};

/// Pauses between attempts, in milliseconds: most groups are empty at once, a few need the kernel to finish an exit.
const PAUSES: [u64; 12] = [0, 1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// How deep a container may have nested its own groups for us to follow.
const MAX_DEPTH: usize = 64;

fn pause(attempt: usize) {
    std::thread::sleep(Duration::from_millis(PAUSES[attempt.min(PAUSES.len() - 1)]));
}

/// `freezer.state` goes to FREEZING first, and a process that forks meanwhile may need it written again.
pub(crate) fn freeze_v1(group: &v1::Group, frozen: bool) -> Result<(), CgroupError> {
    let Some(dir) = group.dir("freezer") else { return Err(CgroupError::NoFreezer) };
    let state = dir.join("freezer.state");
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    for attempt in 0..PAUSES.len() {
        file::write_to(&state, wanted)?;
        if file::read_from(&state)?.trim() == wanted {
            return Ok(());
        }
        pause(attempt);
    }
    // Half frozen is worse than not frozen.
    file::write_to(&state, "THAWED")?;
    Err(CgroupError::Freeze { path: dir.to_owned(), wanted })
}

pub(crate) fn freeze_v2(group: &v2::Group, frozen: bool) -> Result<(), CgroupError> {
    let dir = group.dir();
    file::write_to(&dir.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
    let events = dir.join("cgroup.events");
    for attempt in 0..PAUSES.len() {
        if file::pair(&events, "frozen") == Some(u64::from(frozen)) {
            return Ok(());
        }
        pause(attempt);
    }
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    Err(CgroupError::Freeze { path: dir.to_owned(), wanted })
}

pub(crate) fn is_frozen_v1(group: &v1::Group) -> bool {
    let state = group.dir("freezer").map(|dir| file::read(&dir.join("freezer.state")));
    state.is_some_and(|text| text.is_ok_and(|text| text.trim() != "THAWED"))
}

pub(crate) fn is_frozen_v2(group: &v2::Group) -> bool {
    file::pair(&group.dir().join("cgroup.events"), "frozen") == Some(1)
}

/// The members of a directory and all below it.
pub(crate) fn pids_below(dir: &Path) -> Result<Vec<i32>, CgroupError> {
    let mut pids = Vec::new();
    for dir in tree(dir) {
        let path = dir.join("cgroup.procs");
        match file::read(&path) {
            Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(source) => return Err(CgroupError::Read { path, source }),
        }
    }
    Ok(pids)
}

/// A directory and those below it, deepest last.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    let mut level = all.clone();
    for _ in 0..MAX_DEPTH {
        let below: Vec<PathBuf> = level.iter().flat_map(|dir| children(dir)).collect();
        if below.is_empty() {
            break;
        }
        all.extend(below.iter().cloned());
        level = below;
    }
    all
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.flatten().filter(is_dir).map(|entry| entry.path()).collect()
}

pub(crate) fn kill_v1(group: &v1::Group) -> Result<(), CgroupError> {
    let dir = group.any_dir()?;
    // A fork bomb is faster than we are: it has to stand still. Without a freezer the attempts have to do.
    let frozen = group.dir("freezer").is_some() && freeze_v1(group, true).is_ok();
    kill_members(&dir)?;
    if frozen {
        freeze_v1(group, false)?;
    }
    wait_until_empty(&dir)
}

pub(crate) fn kill_v2(group: &v2::Group) -> Result<(), CgroupError> {
    // Linux 5.14: the kernel kills them all, forks included.
    let kill = group.dir().join("cgroup.kill");
    match file::write(&kill, "1") {
        Ok(()) => {}
        Err(Errno::NOENT) => kill_members(group.dir())?,
        Err(source) => {
            return Err(CgroupError::Write { path: kill, value: "1".to_owned(), source });
        }
    }
    wait_until_empty(group.dir())
}

fn kill_members(dir: &Path) -> Result<(), CgroupError> {
    for pid in pids_below(dir)? {
        // 0 is a process of a pid namespace we cannot see; one that is gone needs no killing.
        if pid > 0 {
            let _ = signals::kill(pid, libc::SIGKILL);
        }
    }
    Ok(())
}

fn wait_until_empty(dir: &Path) -> Result<(), CgroupError> {
    for attempt in 0..PAUSES.len() {
        if pids_below(dir)?.is_empty() {
            return Ok(());
        }
        kill_members(dir)?;
        pause(attempt);
    }
    Err(CgroupError::Immortal(dir.to_owned()))
}

/// Removes directories with what is below them; the first error is told after all were tried.
pub(crate) fn delete<'d>(dirs: impl Iterator<Item = &'d Path>) -> Result<(), CgroupError> {
    let mut first = None;
    for dir in dirs {
        if let Err(error) = delete_one(dir) {
            first.get_or_insert(error);
        }
    }
    first.map_or(Ok(()), Err)
}

fn delete_one(dir: &Path) -> Result<(), CgroupError> {
    for attempt in 0..PAUSES.len() {
        match rustix::fs::rmdir(dir) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // Either processes that are not gone yet, or groups below: those first.
            Err(Errno::BUSY) => {
                for below in tree(dir).iter().skip(1).rev() {
                    let _ = rustix::fs::rmdir(below);
                }
                if rustix::fs::rmdir(dir).is_ok() {
                    return Ok(());
                }
                pause(attempt);
            }
            Err(source) => return Err(CgroupError::Remove { path: dir.to_owned(), source }),
        }
    }
    Err(CgroupError::Remove { path: dir.to_owned(), source: Errno::BUSY })
}
