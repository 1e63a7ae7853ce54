//! cgroups, both versions behind one interface: limits, membership, events, statistics.
//!
//! Knows the cgroup file systems and the resources of the OCI configuration. Does not know containers, processes beyond
//! their pids, or who pays for what.
//!
//! Start with [`Hierarchy`] (what this machine has), [`Place`] (where a group goes, and who makes it), [`Cgroup`] (one group) and
//! `v1/limits.rs` or `v2/limits.rs` (the plan: which file gets which value, and what is said where the file is missing).
//!
//! Invariants:
//! - The root is an argument: version 2 is tested on a made-up tree on machines that have version 1.
//! - A limit that cannot be set is a warning in Docker's words or an error. It is never dropped silently.
//! - Making a group and joining it write no `cgroup.procs`: that waits for an RCU grace period. Version 2 is cloned
//!   into; in version 1 the new process writes itself to `tasks`, which the kernel does without that wait.
//! - What systemd manages differs in who makes the group and who is told its limits, too; from then on it is a group as any.

mod detail;
mod devices;
mod error;
mod events;
mod file;
mod kill;
mod place;
mod setting;
mod stats;
mod systemd;
mod v1;
mod v2;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ferry_oci::runtime::LinuxResources;

pub use detail::{Detail, HugePages, Limits, Pressure, Stall};
pub use error::{ApplyError, CgroupError, CreateError};
pub use events::{EndWatch, OomCount};
pub use ferry_dbus::BUS_VARIABLE;
pub use place::{Place, Scope, slice_directory};
pub use stats::{BlkioEntry, Stats};
pub use systemd::{Holder, SystemdError, check as check_systemd, is_there as has_systemd};

/// Where the kernel's cgroup file systems are mounted on an ordinary machine.
pub const DEFAULT_ROOT: &str = "/sys/fs/cgroup";

/// What kind of cgroups a machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// One directory per controller.
    V1(v1::Tree),
    /// One unified tree.
    V2(v2::Tree),
    /// Version 1 controllers beside a version 2 tree without any; limits go to version 1.
    Hybrid(v1::Tree),
}

pub use v1::Tree as V1Tree;
pub use v2::Tree as V2Tree;

impl Hierarchy {
    /// Looks at [`DEFAULT_ROOT`].
    pub fn detect() -> Result<Hierarchy, CgroupError> {
        Hierarchy::detect_at(Path::new(DEFAULT_ROOT))
    }

    /// Looks at a tree: `cgroup.controllers` in its root means version 2, directories named like controllers version 1.
    pub fn detect_at(root: &Path) -> Result<Hierarchy, CgroupError> {
        if root.join("cgroup.controllers").exists() {
            return Ok(Hierarchy::V2(v2::Tree::read(root)?));
        }
        let tree = v1::Tree::read(root)?;
        if root.join("unified/cgroup.procs").exists() {
            Ok(Hierarchy::Hybrid(tree))
        } else {
            Ok(Hierarchy::V1(tree))
        }
    }

    /// Whether limits go to version 2.
    pub fn is_v2(&self) -> bool {
        matches!(self, Hierarchy::V2(_))
    }

    /// The processors and the memory nodes that groups can be given, as the kernel lists them (`0-3,5`).
    pub fn cpuset(&self) -> (String, String) {
        let read = |path: PathBuf| file::read(&path).unwrap_or_default().trim().to_owned();
        match self {
            Hierarchy::V1(tree) | Hierarchy::Hybrid(tree) => {
                let dir = tree.group("").dir("cpuset").map(Path::to_owned).unwrap_or_default();
                (read(dir.join("cpuset.cpus")), read(dir.join("cpuset.mems")))
            }
            Hierarchy::V2(tree) => {
                let dir = tree.group("").dir().to_owned();
                (read(dir.join("cpuset.cpus.effective")), read(dir.join("cpuset.mems.effective")))
            }
        }
    }

    /// The controllers that limits can be set for.
    pub fn controllers(&self) -> Vec<&str> {
        match self {
            Hierarchy::V1(tree) | Hierarchy::Hybrid(tree) => tree.controllers(),
            Hierarchy::V2(tree) => tree.controllers(),
        }
    }
}

/// One group. Dropping it leaves it where it is: [`Cgroup::delete`] removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    kind: Kind,
    path: String,
    warnings: Vec<String>,
    /// The unit, if systemd has made it.
    unit: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    V1(v1::Group),
    V2(v2::Group),
}

/// A directory to show in a container's `/sys/fs/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// Its name below `/sys/fs/cgroup`; empty for version 2, which is mounted there itself.
    pub name: String,
    /// The options that mount this hierarchy anew in a cgroup namespace (`memory`, `name=systemd`).
    pub options: String,
    /// The group's directory on the host.
    pub host: PathBuf,
}

impl Cgroup {
    /// Makes the group `path` (relative to the root, like `ferry/<id>`) and sets its limits. On an error nothing of it
    /// is left.
    pub fn create(
        hierarchy: &Hierarchy,
        path: &str,
        resources: &LinuxResources,
    ) -> Result<Cgroup, CreateError> {
        let mut group = Cgroup::make(hierarchy, path)?;
        match group.apply(resources) {
            Ok(warnings) => {
                group.warnings = warnings;
                Ok(group)
            }
            Err(source) => {
                // The first error is the one to tell.
                let _ = group.delete();
                Err(CreateError::Apply(source))
            }
        }
    }

    fn make(hierarchy: &Hierarchy, path: &str) -> Result<Cgroup, CreateError> {
        let clean = file::check_path(path)?;
        let kind = match hierarchy {
            Hierarchy::V1(tree) | Hierarchy::Hybrid(tree) => Kind::V1(tree.create(&clean)?),
            Hierarchy::V2(tree) => Kind::V2(tree.create(&clean)?),
        };
        Ok(Cgroup { kind, path: clean, warnings: Vec::new(), unit: None })
    }

    /// A group that is there already, for a process that did not make it.
    pub fn open(hierarchy: &Hierarchy, path: &str) -> Result<Cgroup, CreateError> {
        let clean = file::check_path(path)?;
        let kind = match hierarchy {
            Hierarchy::V1(tree) | Hierarchy::Hybrid(tree) => Kind::V1(tree.group(&clean)),
            Hierarchy::V2(tree) => Kind::V2(tree.group(&clean)),
        };
        Ok(Cgroup { kind, path: clean, warnings: Vec::new(), unit: None })
    }

    /// Sets limits, also while processes run in it. What this machine cannot do comes back in words for the user.
    pub fn apply(&self, resources: &LinuxResources) -> Result<Vec<String>, ApplyError> {
        match (&self.kind, &self.unit) {
            (Kind::V1(group), _) => group.apply(resources),
            (Kind::V2(group), None) => group.apply(resources),
            (Kind::V2(group), Some(unit)) => {
                // The kernel first: systemd would not say what it refuses. Then again, since systemd rounds.
                group.apply(resources)?;
                systemd::update(unit, resources)?;
                group.apply_settings(resources)
            }
        }
    }

    /// What [`Cgroup::create`] could not set.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The path it was made with.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Moves the calling process, which must have one thread.
    pub fn join_self(&self) -> Result<(), CgroupError> {
        match &self.kind {
            Kind::V1(group) => group.join("tasks", "0"),
            Kind::V2(group) => group.join("0"),
        }
    }

    /// Moves another process. This is the slow way: the kernel may wait for a grace period.
    pub fn join(&self, pid: i32) -> Result<(), CgroupError> {
        match &self.kind {
            Kind::V1(group) => group.join("cgroup.procs", &pid.to_string()),
            Kind::V2(group) => group.join(&pid.to_string()),
        }
    }

    /// The directory for `CLONE_INTO_CGROUP`; `None` where there is no such thing and the process has to join itself.
    pub fn clone_target(&self) -> Result<Option<OwnedFd>, CgroupError> {
        match &self.kind {
            Kind::V1(_) => Ok(None),
            Kind::V2(group) => group.open_dir().map(Some),
        }
    }

    /// What a container may see of it.
    pub fn mount_points(&self) -> Vec<MountPoint> {
        match &self.kind {
            Kind::V1(group) => group.mount_points(),
            Kind::V2(group) => vec![MountPoint {
                name: String::new(),
                options: String::new(),
                host: group.dir().to_owned(),
            }],
        }
    }

    /// How often the kernel killed something in it for lack of memory.
    pub fn events(&self) -> Result<OomCount, CgroupError> {
        match &self.kind {
            Kind::V1(group) => events::v1(group),
            Kind::V2(group) => events::v2(group),
        }
    }

    /// A way to follow that, where systemd may remove the group before anybody asks.
    pub fn watch_end(&self) -> Option<EndWatch> {
        match (&self.kind, &self.unit) {
            (Kind::V2(group), Some(_)) => EndWatch::new(group),
            _ => None,
        }
    }

    /// Stops all its processes, and waits until they stand.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.set_frozen(false)
    }

    /// Whether its processes stand still.
    pub fn is_frozen(&self) -> bool {
        match &self.kind {
            Kind::V1(group) => kill::is_frozen_v1(group),
            Kind::V2(group) => kill::is_frozen_v2(group),
        }
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        match &self.kind {
            Kind::V1(group) => kill::freeze_v1(group, frozen),
            Kind::V2(group) => kill::freeze_v2(group, frozen),
        }
    }

    /// All processes in it and below it.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        match &self.kind {
            Kind::V1(group) => kill::pids_below(&group.any_dir()?),
            Kind::V2(group) => kill::pids_below(group.dir()),
        }
    }

    /// Kills every process in it and below it, also ones that fork meanwhile.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        match &self.kind {
            Kind::V1(group) => kill::kill_v1(group),
            Kind::V2(group) => kill::kill_v2(group),
        }
    }

    /// Removes it with what is below it. Waits a moment for processes that are on their way out.
    pub fn delete(&self) -> Result<(), CgroupError> {
        match &self.kind {
            Kind::V1(group) => kill::delete(group.dirs().iter().map(PathBuf::as_path)),
            Kind::V2(group) => kill::delete(std::iter::once(group.dir())),
        }?;
        if let Some(unit) = &self.unit {
            systemd::stop(unit);
        }
        Ok(())
    }

    /// What it uses right now.
    pub fn stats(&self) -> Stats {
        match &self.kind {
            Kind::V1(group) => stats::v1(group),
            Kind::V2(group) => stats::v2(group),
        }
    }

    /// What it uses and may use, with all that the kernel tells.
    pub fn detail(&self) -> Detail {
        match &self.kind {
            Kind::V1(group) => detail::v1(group),
            Kind::V2(group) => detail::v2(group),
        }
    }
}

#[cfg(test)]
mod tests;
