//! A plan to set limits, as data.

use std::path::Path;

use ferry_sys::Errno;

use crate::ApplyError;
use crate::file;

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The controller it belongs to.
    pub(crate) controller: &'static str,
    /// The file in the group's directory.
    pub(crate) file: String,
    /// What to write.
    pub(crate) value: String,
    /// What to say where the machine has no such file; `None` makes it an error.
    pub(crate) otherwise: Option<&'static str>,
}

impl Setting {
    pub(crate) fn new(
        controller: &'static str,
        file: impl Into<String>,
        value: impl ToString,
        otherwise: &'static str,
    ) -> Setting {
        let value = value.to_string();
        Setting { controller, file: file.into(), value, otherwise: Some(otherwise) }
    }

    pub(crate) fn required(
        controller: &'static str,
        file: impl Into<String>,
        value: impl ToString,
    ) -> Setting {
        Setting { controller, file: file.into(), value: value.to_string(), otherwise: None }
    }

    /// Writes it. `Ok(Some(warning))` where the file (or the controller: `dir` is `None`) is missing.
    pub(crate) fn write(&self, dir: Option<&Path>) -> Result<Option<&'static str>, ApplyError> {
        let answer = match dir {
            Some(dir) => file::write(&dir.join(&self.file), &self.value),
            None => Err(Errno::NOENT),
        };
        match (answer, self.otherwise) {
            (Ok(()), _) => Ok(None),
            // cgroupfs answers a missing file with EPERM or EACCES to some kinds of open.
            (Err(Errno::NOENT | Errno::OPNOTSUPP | Errno::NODEV), Some(words)) => Ok(Some(words)),
            (Err(source), _) => Err(ApplyError::Set {
                path: dir.unwrap_or(Path::new("")).join(&self.file),
                value: self.value.clone(),
                source,
            }),
        }
    }
}

/// Docker's words for what a kernel lacks (daemon/daemon_unix.go, verifyPlatformContainerResources).
pub(crate) mod words {
    pub(crate) const MEMORY: &str = "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.";
    pub(crate) const SWAP: &str = "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.";
    pub(crate) const SWAPPINESS: &str = "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.";
    pub(crate) const RESERVATION: &str = "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.";
    pub(crate) const KERNEL_MEMORY: &str = "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded.";
    pub(crate) const OOM_DISABLE: &str =
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.";
    pub(crate) const PIDS: &str = "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.";
    pub(crate) const SHARES: &str =
        "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.";
    pub(crate) const CFS: &str = "Your kernel does not support CPU CFS scheduler or the cgroup is not mounted. CPU period/quota discarded.";
    pub(crate) const REALTIME: &str =
        "Your kernel does not support CPU real-time scheduler. Real-time limits discarded.";
    pub(crate) const IDLE: &str = "Your kernel does not support idle CPU groups. Idle discarded.";
    pub(crate) const BURST: &str = "Your kernel does not support CPU burst. Burst discarded.";
    pub(crate) const CPUSET: &str =
        "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.";
    pub(crate) const WEIGHT: &str = "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.";
    pub(crate) const WEIGHT_DEVICE: &str = "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.";
    pub(crate) const READ_BPS: &str = "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. Block I/O BPS read limit discarded.";
    pub(crate) const WRITE_BPS: &str = "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. Block I/O BPS write limit discarded.";
    pub(crate) const READ_IOPS: &str = "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. Block I/O IOPS read limit discarded.";
    pub(crate) const WRITE_IOPS: &str = "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.";
    pub(crate) const HUGEPAGES: &str = "Your kernel does not support huge page limits or the cgroup is not mounted. Limitation discarded.";
    pub(crate) const NETWORK: &str = "Your kernel does not support network class or priority cgroups or they are not mounted. Network class discarded.";
    pub(crate) const RDMA: &str = "Your kernel does not support RDMA limits or the cgroup is not mounted. Limitation discarded.";
}
