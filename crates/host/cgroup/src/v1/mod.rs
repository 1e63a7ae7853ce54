//! Version 1: one tree per controller, one directory per group in each.

mod limits;

use std::path::{Path, PathBuf};

use ferry_oci::runtime::LinuxResources;
use ferry_sys::Errno;
use rustix::fs::{Mode, mkdir};

use crate::file;
use crate::{ApplyError, CgroupError, MountPoint};

pub(crate) use limits::plan;

/// Controllers a container joins, when the machine has them. `systemd` is a hierarchy without a controller: a process
/// that stays in the daemon's unit there would be killed with it.
const KNOWN: [&str; 13] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "memory",
    "pids",
    "blkio",
    "devices",
    "freezer",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "systemd",
];

/// The controllers of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
    /// Name and directory; controllers mounted together (`cpu,cpuacct`) share a directory.
    controllers: Vec<(String, PathBuf)>,
}

impl Tree {
    /// Looks for directories named like controllers.
    pub(crate) fn read(root: &Path) -> Result<Tree, CgroupError> {
        let mut controllers = Vec::new();
        for name in KNOWN {
            let dir = root.join(name);
            // "cpu" is often a link to "cpu,cpuacct".
            if let Ok(real) = dir.canonicalize()
                && real.join("cgroup.procs").exists()
            {
                controllers.push((name.to_owned(), real));
            }
        }
        let real = controllers.iter().any(|(name, _)| name != "systemd");
        if !real {
            return Err(CgroupError::NoControllers(root.to_owned()));
        }
        Ok(Tree { root: root.to_owned(), controllers })
    }

    pub(crate) fn controllers(&self) -> Vec<&str> {
        let limits = self.controllers.iter().filter(|(name, _)| name != "systemd");
        limits.map(|(name, _)| name.as_str()).collect()
    }

    pub(crate) fn group(&self, path: &str) -> Group {
        let mut controllers = Vec::with_capacity(self.controllers.len());
        for (name, dir) in &self.controllers {
            controllers.push((name.clone(), dir.join(path)));
        }
        Group { controllers }
    }

    /// Makes the directory of every controller. A cpuset must have CPUs and memory nodes before it takes processes.
    pub(crate) fn create(&self, path: &str) -> Result<Group, CgroupError> {
        let group = self.group(path);
        for (name, dir) in &self.controllers {
            let made = make(dir, path, name == "cpuset");
            if let Err(error) = made {
                let _ = crate::kill::delete(group.dirs().iter().map(PathBuf::as_path));
                return Err(error);
            }
        }
        Ok(group)
    }
}

/// Makes `base/path`. Only the last directory on the quick way; those above when the kernel says they are missing.
fn make(base: &Path, path: &str, cpuset: bool) -> Result<(), CgroupError> {
    let dir = base.join(path);
    match mkdir(&dir, Mode::from_raw_mode(0o755)) {
        // One that is left over from a crash is taken over.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(Errno::NOENT) => {
            let parent = Path::new(path).parent().and_then(Path::to_str).unwrap_or("");
            if parent.is_empty() {
                return Err(CgroupError::Make { path: dir, source: Errno::NOENT });
            }
            make(base, parent, cpuset)?;
            if cpuset {
                // From here on the kernel copies both values to new groups below. Where it does not know how, the
                // copying below does it.
                let _ = file::write(&base.join(parent).join("cgroup.clone_children"), "1");
            }
            let again = mkdir(&dir, Mode::from_raw_mode(0o755));
            if let Err(source) = again
                && source != Errno::EXIST
            {
                return Err(CgroupError::Make { path: dir, source });
            }
        }
        Err(source) => return Err(CgroupError::Make { path: dir, source }),
    }
    if cpuset { inherit_cpuset(base, &dir) } else { Ok(()) }
}

/// Copies what is empty from the parent. Somebody else may have made the parent just now and not have got so far: then the
/// parent gets its values here, too.
fn inherit_cpuset(base: &Path, dir: &Path) -> Result<(), CgroupError> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let is_empty =
            |dir: &Path| file::read_from(&dir.join(name)).map(|text| text.trim().is_empty());
        if !is_empty(dir)? {
            continue;
        }
        let Some(parent) = dir.parent().filter(|parent| parent.starts_with(base)) else { continue };
        if parent != base && is_empty(parent)? {
            inherit_cpuset(base, parent)?;
        }
        let value = file::read_from(&parent.join(name))?;
        file::write_to(&dir.join(name), value.trim())?;
    }
    Ok(())
}

/// One group: its directory in each controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    controllers: Vec<(String, PathBuf)>,
}

impl Group {
    pub(crate) fn dir(&self, controller: &str) -> Option<&Path> {
        let found = self.controllers.iter().find(|(name, _)| name == controller);
        found.map(|(_, dir)| dir.as_path())
    }

    /// Each directory once.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> = Vec::with_capacity(self.controllers.len());
        for (_, dir) in &self.controllers {
            if !dirs.contains(dir) {
                dirs.push(dir.clone());
            }
        }
        dirs
    }

    /// A directory whose `cgroup.procs` lists the members.
    pub(crate) fn any_dir(&self) -> Result<PathBuf, CgroupError> {
        let preferred = ["pids", "memory", "freezer", "devices"];
        let dir = preferred.iter().find_map(|name| self.dir(name));
        let dir = dir.or_else(|| self.controllers.first().map(|(_, dir)| dir.as_path()));
        dir.map(Path::to_owned).ok_or_else(|| CgroupError::NoControllers(PathBuf::new()))
    }

    pub(crate) fn join(&self, file: &str, pid: &str) -> Result<(), CgroupError> {
        for dir in self.dirs() {
            file::write_to(&dir.join(file), pid)?;
        }
        Ok(())
    }

    pub(crate) fn mount_points(&self) -> Vec<MountPoint> {
        let point = |(name, dir): &(String, PathBuf)| MountPoint {
            name: name.clone(),
            options: if name == "systemd" { "name=systemd".to_owned() } else { name.clone() },
            host: dir.clone(),
        };
        self.controllers.iter().map(point).collect()
    }

    pub(crate) fn apply(&self, resources: &LinuxResources) -> Result<Vec<String>, ApplyError> {
        let mut warnings: Vec<String> = Vec::new();
        for setting in plan(resources)? {
            let warning = match setting.file.as_str() {
                limits::MEMORY_LIMIT => self.set_memory(&setting, resources)?,
                _ => setting.write(self.dir(setting.controller))?,
            };
            if let Some(words) = warning
                && !warnings.iter().any(|known| known == words)
            {
                warnings.push(words.to_owned());
            }
        }
        self.apply_devices(resources)?;
        Ok(warnings)
    }

    /// The limit of memory alone may not rise above that of memory and swap together, so one of them has to go first,
    /// and which one depends on what was set before.
    fn set_memory(
        &self,
        setting: &crate::setting::Setting,
        resources: &LinuxResources,
    ) -> Result<Option<&'static str>, ApplyError> {
        let dir = self.dir("memory");
        let refused = match setting.write(dir) {
            Err(ApplyError::Set { source: Errno::INVAL, .. }) => {
                for swap in plan(resources)?.iter().filter(|s| s.file == limits::SWAP_LIMIT) {
                    swap.write(dir)?;
                }
                setting.write(dir)
            }
            other => other,
        };
        match (refused, dir) {
            (Err(ApplyError::Set { source: Errno::BUSY, .. }), Some(dir)) => {
                let usage = file::number(&dir.join("memory.usage_in_bytes")).unwrap_or(0);
                let limit = setting.value.parse().unwrap_or(0);
                Err(ApplyError::MemoryInUse { limit, usage })
            }
            (other, _) => other,
        }
    }

    /// Rules in their order. No controller is an error: without it every device of the machine would be open.
    fn apply_devices(&self, resources: &LinuxResources) -> Result<(), ApplyError> {
        for rule in crate::devices::v1_rules(resources)? {
            let set = crate::setting::Setting::required("devices", rule.file, &rule.line);
            set.write(self.dir("devices"))?;
        }
        Ok(())
    }
}
