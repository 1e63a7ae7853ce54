//! Version 2: one tree.

pub(crate) mod limits;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ferry_oci::runtime::LinuxResources;
use ferry_sys::Errno;
use rustix::fs::{Mode, OFlags, mkdir, open};

use crate::file;
use crate::{ApplyError, CgroupError};

/// The unified tree of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
    controllers: Vec<String>,
}

/// Controllers handed down to containers, when the machine has them.
const WANTED: [&str; 7] = ["cpuset", "cpu", "io", "memory", "pids", "hugetlb", "rdma"];

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Tree, CgroupError> {
        let text = file::read_from(&root.join("cgroup.controllers"))?;
        let controllers = text.split_whitespace().map(str::to_owned).collect();
        Ok(Tree { root: root.to_owned(), controllers })
    }

    pub(crate) fn controllers(&self) -> Vec<&str> {
        self.controllers.iter().map(String::as_str).collect()
    }

    pub(crate) fn group(&self, path: &str) -> Group {
        Group { dir: self.root.join(path) }
    }

    /// Makes the directory and, where that was not done before, has every directory above hand its controllers down.
    pub(crate) fn create(&self, path: &str) -> Result<Group, CgroupError> {
        let group = self.group(path);
        self.make(path)?;
        let parent = Path::new(path).parent().and_then(Path::to_str).unwrap_or("");
        if let Err(error) = self.hand_down(parent) {
            let _ = crate::kill::delete(std::iter::once(group.dir()));
            return Err(error);
        }
        Ok(group)
    }

    fn make(&self, path: &str) -> Result<(), CgroupError> {
        let dir = self.root.join(path);
        match mkdir(&dir, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(Errno::NOENT) if path.contains('/') => {
                let parent = Path::new(path).parent().and_then(Path::to_str).unwrap_or("");
                self.make(parent)?;
                self.make(path)
            }
            Err(source) => Err(CgroupError::Make { path: dir, source }),
        }
    }

    /// Enables the wanted controllers for the children of `path`, from the root down. One read when it is done already.
    fn hand_down(&self, path: &str) -> Result<(), CgroupError> {
        let missing = self.missing(path)?;
        if missing.is_empty() {
            return Ok(());
        }
        if !path.is_empty() {
            let parent = Path::new(path).parent().and_then(Path::to_str).unwrap_or("");
            self.hand_down(parent)?;
        }
        let control = self.root.join(path).join("cgroup.subtree_control");
        let words: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
        if file::write(&control, &words.join(" ")).is_ok() {
            return Ok(());
        }
        // All or nothing in one write: one that cannot be had (cpuset with threads, say) must not cost the others.
        for word in &words {
            // What is missing then shows as a warning when a limit of it is set.
            let _ = file::write(&control, word);
        }
        Ok(())
    }

    fn missing(&self, path: &str) -> Result<Vec<&'static str>, CgroupError> {
        let control = self.root.join(path).join("cgroup.subtree_control");
        let enabled = file::read_from(&control)?;
        let has = |name: &str| enabled.split_whitespace().any(|word| word == name);
        let known = |name: &str| self.controllers.iter().any(|own| own == name);
        Ok(WANTED.into_iter().filter(|name| known(name) && !has(name)).collect())
    }
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    dir: PathBuf,
}

impl Group {
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn join(&self, pid: &str) -> Result<(), CgroupError> {
        file::write_to(&self.dir.join("cgroup.procs"), pid)
    }

    pub(crate) fn open_dir(&self) -> Result<OwnedFd, CgroupError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(&self.dir, flags, Mode::empty())
            .map_err(|source| CgroupError::Read { path: self.dir.clone(), source })
    }

    pub(crate) fn apply(&self, resources: &LinuxResources) -> Result<Vec<String>, ApplyError> {
        let warnings = self.apply_settings(resources)?;
        self.apply_devices(resources)?;
        Ok(warnings)
    }

    /// All but the rules for devices.
    pub(crate) fn apply_settings(
        &self,
        resources: &LinuxResources,
    ) -> Result<Vec<String>, ApplyError> {
        let mut warnings: Vec<String> = Vec::new();
        for setting in limits::plan(resources)? {
            let warning = match setting.file.as_str() {
                limits::WEIGHT => self.set_weight(&setting, resources)?,
                limits::MEMORY => self.set_memory(&setting)?,
                _ => setting.write(Some(&self.dir))?,
            };
            if let Some(words) = warning
                && !warnings.iter().any(|known| known == words)
            {
                warnings.push(words.to_owned());
            }
        }
        Ok(warnings)
    }

    /// With the BFQ scheduler the weight goes to its own file, in its own scale.
    fn set_weight(
        &self,
        setting: &crate::setting::Setting,
        resources: &LinuxResources,
    ) -> Result<Option<&'static str>, ApplyError> {
        if let Some(weight) = resources.block_io.as_ref().and_then(|block| block.weight)
            && file::write(&self.dir.join("io.bfq.weight"), &weight.to_string()).is_ok()
        {
            return Ok(None);
        }
        setting.write(Some(&self.dir))
    }

    fn set_memory(
        &self,
        setting: &crate::setting::Setting,
    ) -> Result<Option<&'static str>, ApplyError> {
        match setting.write(Some(&self.dir)) {
            Err(ApplyError::Set { source: Errno::BUSY, .. }) => {
                let usage = file::number(&self.dir.join("memory.current")).unwrap_or(0);
                let limit = setting.value.parse().unwrap_or(0);
                Err(ApplyError::MemoryInUse { limit, usage })
            }
            other => other,
        }
    }

    fn apply_devices(&self, resources: &LinuxResources) -> Result<(), ApplyError> {
        let Some(program) = crate::devices::v2_program(resources)? else { return Ok(()) };
        let failed = |step| {
            let path = self.dir.clone();
            move |source| ApplyError::DeviceProgram { step, path, source }
        };
        let program = ferry_sys::bpf::load_device_program(&program).map_err(failed("load"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = open(&self.dir, flags, Mode::empty()).map_err(failed("open"))?;
        ferry_sys::bpf::attach_device_program(dir.as_fd(), program.as_fd())
            .map_err(failed("attach"))
    }
}
