//! SELinux as the kernel shows it: whether it is on, which labels its policy has for containers, and the labels of files and of
//! the calling process.
//!
//! Everything goes through three directories (selinuxfs, the policy's configuration, a process's attributes), which
//! [`Selinux::at`] takes from anywhere: a machine without SELinux can stand in for one that has it.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, XattrFlags, fstat, openat};

use crate::{Errno, Result};

/// Where the label of a file is.
const XATTR: &str = "security.selinux";

/// The label of everything as long as the kernel has no policy.
const NO_POLICY: &str = "kernel";

/// The policy whose configuration counts where `/etc/selinux/config` names none.
const DEFAULT_POLICY: &str = "targeted";

/// So deep may directories lie in each other that are labelled: each has a descriptor open.
const MAX_DEPTH: usize = 200;

/// The places that tell about SELinux.
#[derive(Debug, Clone)]
pub struct Selinux {
    filesystem: PathBuf,
    configuration: PathBuf,
    attributes: PathBuf,
}

/// What the policy has for containers (`lxc_contexts`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerContexts {
    /// Of a container's processes.
    pub process: String,
    /// Of its files.
    pub file: String,
}

impl Selinux {
    /// This machine's.
    pub fn of_host() -> Selinux {
        Selinux::at("/sys/fs/selinux", "/etc/selinux", "/proc/thread-self/attr")
    }

    /// In other directories: selinuxfs, the configuration, the attributes of a process.
    pub fn at(
        filesystem: impl Into<PathBuf>,
        configuration: impl Into<PathBuf>,
        attributes: impl Into<PathBuf>,
    ) -> Selinux {
        Selinux {
            filesystem: filesystem.into(),
            configuration: configuration.into(),
            attributes: attributes.into(),
        }
    }

    /// Whether labels mean anything: the kernel has SELinux, and a policy.
    pub fn is_enabled(&self) -> bool {
        self.is_in_kernel() && self.current().is_some_and(|label| label != NO_POLICY)
    }

    /// Whether the kernel came up with SELinux, be it without a policy.
    fn is_in_kernel(&self) -> bool {
        self.filesystem.join("enforce").exists()
    }

    /// The label of the calling process.
    pub fn current(&self) -> Option<String> {
        let text = fs::read_to_string(self.attributes.join("current")).ok()?;
        let label = text.trim_end_matches(['\0', '\n']);
        (!label.is_empty()).then(|| label.to_owned())
    }

    /// What the policy in use has for containers; `None` where it has nothing.
    pub fn container_contexts(&self) -> Option<ContainerContexts> {
        let policy = fs::read_to_string(self.configuration.join("config"))
            .ok()
            .and_then(|text| assigned(&text, "SELINUXTYPE"))
            .filter(|policy| !policy.is_empty() && !policy.contains('/'))
            .unwrap_or_else(|| DEFAULT_POLICY.to_owned());
        let path = self.configuration.join(policy).join("contexts/lxc_contexts");
        let text = fs::read_to_string(path).ok()?;
        let process = assigned(&text, "process").filter(|label| !label.is_empty())?;
        let file = assigned(&text, "file").filter(|label| !label.is_empty())?;
        Some(ContainerContexts { process, file })
    }

    /// Opens what sets the label of the program that this process executes next.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open_on_exec(&self) -> Result<OwnedFd> {
        self.open_attribute("exec")
    }

    /// Opens what sets the label of this process itself.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open_current(&self) -> Result<OwnedFd> {
        self.open_attribute("current")
    }

    /// Gives the keyrings that this process makes from now on a label.
    ///
    /// # Errors
    /// The kernel's: the policy does not know the label, or does not let this process set it.
    pub fn set_on_keys(&self, label: &str) -> Result<()> {
        let file = self.open_attribute("keycreate")?;
        rustix::io::write(file, label.as_bytes()).map(drop)
    }

    fn open_attribute(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        openat(CWD, self.attributes.join(name), flags, Mode::empty())
    }
}

/// What a line `key = "value"` of a policy's configuration says.
fn assigned(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The label that a file has on its disk.
///
/// # Errors
/// The kernel's; [`Errno::NODATA`] without a label.
pub fn file_label(path: &Path) -> Result<String> {
    let mut buffer = [0; 4096];
    let length = rustix::fs::lgetxattr(path, XATTR, &mut buffer[..])?;
    let label = String::from_utf8_lossy(&buffer[..length]);
    Ok(label.trim_end_matches('\0').to_owned())
}

/// Gives a file, or a directory and all that is in it, a label. Symbolic links get it themselves; nothing is reached through
/// them, even if somebody swaps them in meanwhile. What disappears meanwhile is no error.
///
/// # Errors
/// The kernel's; [`Errno::OPNOTSUPP`] where the file system takes no labels.
pub fn relabel(path: &Path, label: &str) -> Result<()> {
    let top = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mut open: Vec<Dir> = relabel_one(top.as_fd(), label)?.into_iter().collect();
    while let Some(directory) = open.last_mut() {
        let Some(entry) = directory.read() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let here = directory.fd()?;
        match relabel_entry(here, name, label) {
            Ok(Some(below)) if open.len() < MAX_DEPTH => open.push(below),
            Ok(Some(_)) => return Err(Errno::NAMETOOLONG),
            Ok(None) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Labels what has a name in a directory. If it is a directory, it comes back to be read.
fn relabel_entry(
    directory: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    label: &str,
) -> Result<Option<Dir>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(directory, name, flags, Mode::empty())?;
    relabel_one(found.as_fd(), label)
}

/// Labels what is open. If it is a directory, it comes back to be read.
fn relabel_one(file: BorrowedFd<'_>, label: &str) -> Result<Option<Dir>> {
    set_label(file, label)?;
    if FileType::from_raw_mode(fstat(file)?.st_mode) != FileType::Directory {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(file, c".", flags, Mode::empty()).and_then(Dir::new).map(Some)
}

/// Gives a file that is open, be it only as a path, a label. A descriptor that is only a path takes no attributes, but its name in
/// `/proc` does.
///
/// # Errors
/// The kernel's; [`Errno::OPNOTSUPP`] where the file system takes no labels.
pub fn set_label(file: BorrowedFd<'_>, label: &str) -> Result<()> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mut value = label.as_bytes().to_vec();
    value.push(0);
    let mut before = [0; 4096];
    // What is right already keeps its change time.
    if let Ok(length) = rustix::fs::getxattr(&path, XATTR, &mut before[..])
        && before[..length] == value
    {
        return Ok(());
    }
    rustix::fs::setxattr(&path, XATTR, &value, XattrFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with SELinux, in a directory of its own.
    struct Machine {
        base: PathBuf,
    }

    impl Machine {
        fn new(name: &str) -> Machine {
            let base =
                std::env::temp_dir().join(format!("ferry-selinux-{name}-{}", std::process::id()));
            for dir in ["fs", "etc/strict/contexts", "attr"] {
                fs::create_dir_all(base.join(dir)).unwrap();
            }
            Machine { base }
        }

        fn write(&self, path: &str, text: &str) {
            fs::write(self.base.join(path), text).unwrap();
        }

        fn selinux(&self) -> Selinux {
            let dir = |name: &str| self.base.join(name);
            Selinux::at(dir("fs"), dir("etc"), dir("attr"))
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.base);
        }
    }

    #[test]
    fn it_is_on_when_the_kernel_has_it_and_a_policy() {
        let machine = Machine::new("on");
        let selinux = machine.selinux();
        assert!(!selinux.is_in_kernel() && !selinux.is_enabled());
        machine.write("fs/enforce", "0");
        assert!(selinux.is_in_kernel() && !selinux.is_enabled());
        machine.write("attr/current", "kernel\0");
        assert!(!selinux.is_enabled(), "no policy is loaded");
        machine.write("attr/current", "system_u:system_r:unconfined_t:s0\0");
        assert!(selinux.is_enabled());
        assert_eq!(selinux.current().unwrap(), "system_u:system_r:unconfined_t:s0");
    }

    #[test]
    fn what_a_policy_has_for_containers() {
        let machine = Machine::new("contexts");
        let selinux = machine.selinux();
        assert_eq!(selinux.container_contexts(), None);
        machine.write("etc/config", "# a comment\nSELINUX=enforcing\nSELINUXTYPE=strict\n");
        let contexts = "etc/strict/contexts/lxc_contexts";
        machine.write(contexts, "process = \"system_u:system_r:container_t:s0\"\n");
        assert_eq!(selinux.container_contexts(), None, "half of it is nothing");
        machine.write(
            contexts,
            "process = \"system_u:system_r:container_t:s0\"\ncontent = \"x\"\nfile = \"system_u:object_r:container_file_t:s0\"\n",
        );
        let found = selinux.container_contexts().unwrap();
        assert_eq!(found.process, "system_u:system_r:container_t:s0");
        assert_eq!(found.file, "system_u:object_r:container_file_t:s0");
        machine.write("etc/config", "SELINUXTYPE=../../somewhere\n");
        assert_eq!(selinux.container_contexts(), None);
    }

    #[test]
    fn labels_of_programs_and_keys_go_to_the_attributes() {
        let machine = Machine::new("attributes");
        let selinux = machine.selinux();
        assert_eq!(selinux.set_on_keys("a:b:c:s0"), Err(Errno::NOENT));
        machine.write("attr/keycreate", "");
        machine.write("attr/exec", "");
        selinux.set_on_keys("a:b:c:s0").unwrap();
        rustix::io::write(selinux.open_on_exec().unwrap(), b"d:e:f:s0").unwrap();
        let read = |name: &str| fs::read_to_string(machine.base.join("attr").join(name)).unwrap();
        assert_eq!((read("keycreate"), read("exec")), ("a:b:c:s0".into(), "d:e:f:s0".into()));
    }

    /// Without SELinux the attribute is an ordinary one, which root may set on most file systems.
    #[test]
    fn a_tree_is_labelled_and_nothing_that_its_links_lead_to() {
        let machine = Machine::new("relabel");
        let label = "system_u:object_r:container_file_t:s0:c1,c2";
        machine.write("outside", "x");
        let tree = machine.base.join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("../outside", tree.join("link")).unwrap();
        match relabel(&tree, label) {
            Ok(()) => {}
            // Not root, or a file system without such attributes.
            Err(Errno::PERM | Errno::OPNOTSUPP) => return,
            Err(errno) => panic!("{errno}"),
        }
        for path in ["", "a", "a/b", "a/b/file", "link"] {
            assert_eq!(file_label(&tree.join(path)).as_deref(), Ok(label), "{path}");
        }
        let outside = file_label(&machine.base.join("outside"));
        assert_ne!(outside.as_deref(), Ok(label));
        // Again, with another one, and of a single file.
        relabel(&tree.join("a/b/file"), "u:r:t:s0").unwrap();
        assert_eq!(file_label(&tree.join("a/b/file")).unwrap(), "u:r:t:s0");
        assert_eq!(file_label(&tree.join("a/b")).unwrap(), label);
        assert_eq!(relabel(&tree.join("gone"), label), Err(Errno::NOENT));
    }
}
