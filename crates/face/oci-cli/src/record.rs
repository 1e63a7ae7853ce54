//! What is kept of a container between commands: `<root>/<id>/state.json`, and its lock.
//!
//! A container's status is never written down: it follows from its process, its gate and its cgroup.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use ferry_cgroup::{Cgroup, Hierarchy, Place};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::runtime::Spec;
use ferry_runtime::Gate;
use ferry_sys::pidfd;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::{
    options::Global,
    report::{failed, invalid},
};

/// Largest record that is read.
const MAX_RECORD: u64 = 32 << 20;

/// Longest id.
const MAX_ID: usize = 1024;

/// A container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) pid: i32,
    /// When the process began, in the kernel's ticks: another one may have its pid by now.
    pub(crate) start_time: u64,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    /// RFC 3339.
    pub(crate) created: String,
    pub(crate) cgroup: Option<String>,
    pub(crate) spec: Spec,
}

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// A container that nobody else changes meanwhile.
#[derive(Debug)]
pub(crate) struct Locked {
    pub(crate) record: Record,
    pub(crate) dir: PathBuf,
    _lock: File,
}

/// Ids become names of directories.
pub(crate) fn check_id(id: &str) -> Result<(), Failure> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if id.is_empty() {
        return Err(invalid("container id cannot be empty"));
    }
    if id.len() > MAX_ID || !id.bytes().all(fine) || matches!(id, "." | "..") {
        return Err(invalid("invalid container ID format"));
    }
    Ok(())
}

impl Record {
    /// A container by its id.
    pub(crate) fn load(global: &Global, id: &str) -> Result<Record, Failure> {
        check_id(id)?;
        read(&global.root.join(id))
    }

    /// All containers.
    pub(crate) fn all(global: &Global) -> Result<Vec<Record>, Failure> {
        let entries = match fs::read_dir(&global.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(global.root.display(), error)),
        };
        let mut dirs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        dirs.sort();
        // One that is just being made or deleted is not there.
        Ok(dirs.iter().filter_map(|dir| read(dir).ok()).collect())
    }

    /// Replaces what is on disk at once.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), Failure> {
        let (scratch, file) = (dir.join("state.json.new"), dir.join("state.json"));
        let written = serde_json::to_vec(self).map_err(io::Error::from);
        written
            .and_then(|bytes| fs::write(&scratch, bytes))
            .and_then(|()| fs::rename(&scratch, &file))
            .map_err(|error| failed(format!("write {}", file.display()), error))
    }

    /// A descriptor of its process, as long as that has not ended.
    pub(crate) fn process(&self) -> Option<OwnedFd> {
        let pidfd = pidfd::open(self.pid).ok()?;
        // Looked at after it was opened: from here on it is this one or nobody.
        (start_time(self.pid)? == self.start_time).then_some(pidfd)
    }

    pub(crate) fn status(&self, dir: &Path) -> Status {
        if self.pid <= 0 || start_time(self.pid) != Some(self.start_time) {
            return Status::Stopped;
        }
        if Gate::is_closed(dir) {
            return Status::Created;
        }
        match self.cgroup() {
            Ok(Some(cgroup)) if cgroup.is_frozen() => Status::Paused,
            _ => Status::Running,
        }
    }

    pub(crate) fn cgroup(&self) -> Result<Option<Cgroup>, Failure> {
        let Some(path) = &self.cgroup else { return Ok(None) };
        let hierarchy = Hierarchy::detect().map_err(Failure::of)?;
        let opened = Place::read(path).and_then(|place| place.open(&hierarchy));
        opened.map(Some).map_err(Failure::of)
    }

    /// The same, for what cannot do without.
    pub(crate) fn need_cgroup(&self) -> Result<Cgroup, Failure> {
        self.cgroup()?.ok_or_else(|| invalid(format!("container {} has no cgroup", self.id)))
    }

    /// Whether its processes end with the first of them.
    pub(crate) fn has_own_pids(&self) -> bool {
        let linux = self.spec.linux.as_ref();
        linux.is_some_and(|linux| {
            linux.namespaces.iter().any(|namespace| {
                namespace.kind == "pid"
                    && namespace.path.as_ref().is_none_or(|path| path.as_os_str().is_empty())
            })
        })
    }
}

fn read(dir: &Path) -> Result<Record, Failure> {
    let file = dir.join("state.json");
    let wrong = |why: String| failed(file.display(), why);
    match fs::metadata(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::new(ErrorKind::NotFound, "container does not exist"));
        }
        Ok(status) if status.len() > MAX_RECORD => {
            return Err(wrong("larger than the limit".to_owned()));
        }
        _ => {}
    }
    let bytes = fs::read(&file).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))
}

impl Locked {
    /// A container by its id, once nobody else is at it.
    pub(crate) fn open(global: &Global, id: &str) -> Result<Locked, Failure> {
        check_id(id)?;
        let dir = global.root.join(id);
        let lock = match File::open(&dir) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::new(ErrorKind::NotFound, "container does not exist"));
            }
            Err(error) => return Err(failed(dir.display(), error)),
        };
        rustix::fs::flock(lock.as_fd(), FlockOperation::LockExclusive)
            .map_err(|errno| failed(format!("lock {}", dir.display()), errno))?;
        Ok(Locked { record: read(&dir)?, dir, _lock: lock })
    }

    pub(crate) fn status(&self) -> Status {
        self.record.status(&self.dir)
    }
}

/// When a process began; `None` once it has ended, also while nobody has reaped it.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<u64> {
    // The name of a program may have spaces and brackets.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    // Field 22 of proc_pid_stat(5); the state is field 3.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names() {
        for fine in ["a", "0123abc", "a.b_c-d+e"] {
            assert!(check_id(fine).is_ok(), "{fine}");
        }
        for wrong in ["", ".", "..", "a/b", "a b", "\u{e9}"] {
            assert!(check_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_process_has_a_beginning() {
        let own = start_time(i32::try_from(std::process::id()).unwrap());
        assert!(own.is_some());
        assert_eq!(start_time(-1), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_stat(stat), Some(4242));
        assert_eq!(parse_stat(&stat.replace(" S ", " Z ")), None);
    }
}
