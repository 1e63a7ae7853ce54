//! Mounts as descriptors: made detached, shaped while nobody sees them, attached where a descriptor says.
#![expect(unsafe_code, reason = "mount_setattr is in neither std nor rustix")]

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::raw::check;
use crate::root::InRoot;
use crate::{Errno, Result};

/// Attributes of a mount (`MOUNT_ATTR_*`), as [`set_attributes`] takes them.
pub mod attr {
    /// Nothing can be written through this mount.
    pub const RDONLY: u64 = 0x1;
    /// Set-id bits and file capabilities count for nothing.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The bits that hold the access time policy; clear them to set another one.
    pub const ATIME_MASK: u64 = 0x70;
    /// Access times are never updated.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always updated.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories are never updated.
    pub const NODIRATIME: u64 = 0x80;
    /// Ids are shifted by a user namespace.
    pub const IDMAP: u64 = 0x10_0000;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// Where mounts and unmounts below a mount travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Nowhere.
    Private,
    /// From its master to here.
    Slave,
    /// Both ways.
    Shared,
    /// Nowhere, and it cannot be bind mounted.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// What [`set_attributes`] changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change<'a> {
    /// Attributes to switch on.
    pub set: u64,
    /// Attributes to switch off.
    pub clear: u64,
    /// A new propagation type.
    pub propagation: Option<Propagation>,
    /// The user namespace for [`attr::IDMAP`].
    pub userns: Option<&'a OwnedFdRef<'a>>,
}

/// A borrowed descriptor that compares by number, so that [`Change`] can be compared in tests.
#[derive(Debug, Clone, Copy)]
pub struct OwnedFdRef<'a>(pub BorrowedFd<'a>);

impl PartialEq for OwnedFdRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_raw_fd() == other.0.as_raw_fd()
    }
}
impl Eq for OwnedFdRef<'_> {}

/// Why a file system could not be set up: which step, and what the kernel wrote about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountError {
    /// The step: a system call's name, or `option "x=y"`.
    pub step: String,
    /// Its answer.
    pub errno: Errno,
    /// The messages the kernel left in the context, if any.
    pub log: String,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.errno)?;
        if !self.log.is_empty() {
            write!(f, " ({})", self.log)?;
        }
        Ok(())
    }
}

impl std::error::Error for MountError {}

/// A file system context between `fsopen` and `fsmount`.
#[derive(Debug)]
pub struct Filesystem {
    context: OwnedFd,
}

impl Filesystem {
    /// Starts a file system of this type.
    pub fn open(kind: &str) -> std::result::Result<Filesystem, MountError> {
        match fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => Ok(Filesystem { context }),
            Err(errno) => {
                let step = format!("fsopen {kind:?}");
                Err(MountError { step, errno, log: String::new() })
            }
        }
    }

    /// Sets an option: a flag without a value, a string with one. Values may have 255 bytes.
    pub fn set(&self, key: &str, value: Option<&[u8]>) -> std::result::Result<(), MountError> {
        let done = match value {
            None => fsconfig_set_flag(&self.context, key),
            Some(value) => fsconfig_set_string(&self.context, key, value),
        };
        done.map_err(|errno| match value {
            None => self.failed(format!("option {key:?}"), errno),
            Some(value) => {
                self.failed(format!("option \"{key}={}\"", String::from_utf8_lossy(value)), errno)
            }
        })
    }

    /// Sets an option that is a directory by its descriptor.
    pub fn set_dir(&self, key: &str, path: &Path) -> std::result::Result<(), MountError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let step = || format!("option \"{key}={}\"", path.display());
        let dir = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|errno| self.failed(step(), errno))?;
        fsconfig_set_fd(&self.context, key, &dir).map_err(|errno| self.failed(step(), errno))
    }

    /// Makes the file system and answers its root as a detached mount.
    pub fn mount(self, attributes: u64) -> std::result::Result<OwnedFd, MountError> {
        if let Err(errno) = fsconfig_create(&self.context) {
            return Err(self.failed("create".to_owned(), errno));
        }
        let flags = MountAttrFlags::from_bits_retain(attributes as u32);
        fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
            .map_err(|errno| self.failed("fsmount".to_owned(), errno))
    }

    fn failed(&self, step: String, errno: Errno) -> MountError {
        let mut log = String::new();
        let mut line = [0u8; 512];
        while let Ok(length) = rustix::io::read(&self.context, &mut line) {
            if length == 0 || log.len() > 4096 {
                break;
            }
            if !log.is_empty() {
                log.push_str("; ");
            }
            log.push_str(String::from_utf8_lossy(&line[..length]).trim_end());
        }
        MountError { step, errno, log }
    }
}

/// A copy of the mount at `path` (seen from `dir`; empty for `dir` itself) as a detached mount, with those below it if
/// asked. The copy stays in the peer group of the original.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_NO_AUTOMOUNT;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(dir, path, flags)
}

/// The same for a path seen from the working directory.
pub fn clone_path(path: &Path, recursive: bool) -> Result<OwnedFd> {
    clone_tree(CWD, path, recursive)
}

/// The same for the end of a path, `below`, on which no link is followed: whoever may write there does not lead elsewhere.
pub fn clone_below(path: &Path, below: &Path, recursive: bool) -> Result<OwnedFd> {
    let top = path.ancestors().nth(below.components().count()).ok_or(Errno::INVAL)?;
    let found = InRoot::open(top)?.open_beneath(below, ResolveFlags::NO_SYMLINKS)?;
    clone_tree(found.as_fd(), Path::new(""), recursive)
}

/// Attaches a detached mount on the directory or file `target` stands for.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

/// Changes attributes of a mount, and of those below it if asked.
pub fn set_attributes(mount: BorrowedFd<'_>, change: &Change<'_>, recursive: bool) -> Result<()> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let arguments = MountAttr {
        set: change.set,
        clear: change.clear,
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns: change.userns.map_or(0, |fd| fd.0.as_raw_fd() as u64),
    };
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= 0x8000; // AT_RECURSIVE
    }
    // SAFETY: an empty NUL-terminated path and a mount_attr of the size passed, both alive until the call ends.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const arguments,
            std::mem::size_of::<MountAttr>(),
        )
    };
    check(answer).map(drop)
}

/// Sets the propagation of everything from `/` down.
pub fn set_tree_propagation(propagation: Propagation) -> Result<()> {
    set_path_propagation(Path::new("/"), propagation, true)
}

/// Sets the propagation of the mount at `path`.
pub fn set_path_propagation(path: &Path, kind: Propagation, recursive: bool) -> Result<()> {
    let mut flags = MountPropagationFlags::from_bits_retain(kind.bits() as u32);
    if recursive {
        flags |= MountPropagationFlags::REC;
    }
    rustix::mount::mount_change(path, flags)
}

/// Makes `root` (a mount) the root of this mount namespace and lets go of the old one with everything on it.
pub fn pivot_to(root: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(root)?;
    // The old root ends up mounted on top of the new one at the same place, and "." is it: see pivot_root(2).
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// Unmounts what is at `path`, even while it is in use.
pub fn detach(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

/// Whether `fd` is on a file system with this magic number (`statfs.f_type`).
pub fn is_on(fd: impl AsFd, magic: u64) -> Result<bool> {
    Ok(rustix::fs::fstatfs(fd)?.f_type as u64 == magic)
}

/// `f_type` of procfs.
pub const PROC_MAGIC: u64 = 0x9fa0;
/// `f_type` of sysfs.
pub const SYSFS_MAGIC: u64 = 0x6265_6572;
/// `f_type` of cgroup2.
pub const CGROUP2_MAGIC: u64 = 0x6367_7270;
