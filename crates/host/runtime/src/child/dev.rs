//! `/dev`: nodes and links.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ferry_oci::runtime::LinuxDevice;
use ferry_sys::mount;
use ferry_sys::root::InRoot;
use ferry_sys::{Errno, Result as SysResult};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Stat, Uid, chownat, fstat, major, makedev, minor, mknodat,
    statat, symlinkat, unlinkat,
};

use super::mounts::clean;
use crate::error::{Failure, Outcome, words};

/// Nodes every container has (runtime-spec, "Default Devices").
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// And links.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Fills the container's own `/dev`.
pub(crate) fn populate(root: &InRoot, devices: &[LinuxDevice]) -> Outcome<()> {
    let dev = root
        .mkdir_all(Path::new("/dev"), 0o755)
        .map_err(|errno| Failure::errno("open /dev", errno))?;
    for (name, major, minor) in NODES {
        let node =
            Node { kind: FileType::CharacterDevice, major, minor, mode: 0o666, uid: 0, gid: 0 };
        node.make(&dev, &Path::new("/dev").join(name)).map_err(|errno| {
            Failure::new(format!("error creating device node \"/dev/{name}\": {}", words(errno)))
        })?;
    }
    // A link below takes the place of that one, which could not be if the host's were mounted there.
    for device in devices.iter().filter(|device| clean(&device.path) != Path::new("/dev/ptmx")) {
        add(root, device)?;
    }
    for (target, name) in LINKS {
        link(&dev, target, name)
            .map_err(|errno| Failure::errno(format!("error creating /dev/{name}"), errno))?;
    }
    if Path::new("/proc/kcore").exists() {
        // Programs look for it; /proc/kcore itself is masked.
        link(&dev, "/proc/kcore", "core")
            .map_err(|errno| Failure::errno("error creating /dev/core", errno))?;
    }
    Ok(())
}

fn link(dev: &OwnedFd, target: &str, name: &str) -> SysResult<()> {
    match symlinkat(target, dev, name) {
        Err(Errno::EXIST) if name == "ptmx" => {
            unlinkat(dev, name, AtFlags::empty())?;
            symlinkat(target, dev, name)
        }
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn add(root: &InRoot, device: &LinuxDevice) -> Outcome<()> {
    let told =
        |why: &str| Failure::new(format!("error creating device node {:?}: {why}", device.path));
    let kind = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => return Err(told(&format!("{other:?} is not a valid device type"))),
    };
    let number = |value: i64| u32::try_from(value).map_err(|_| told("device number out of range"));
    let (major, minor) = match kind {
        FileType::Fifo => (0, 0),
        _ => (number(device.major)?, number(device.minor)?),
    };
    let node = Node {
        kind,
        major,
        minor,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    };
    let path = clean(&device.path);
    let Some(parent) = path.parent() else { return Err(told("invalid path")) };
    let parent = root.mkdir_all(parent, 0o755).map_err(|errno| told(&words(errno)))?;
    node.make(&parent, &path).map_err(|errno| told(&words(errno)))
}

struct Node {
    kind: FileType,
    major: u32,
    minor: u32,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Node {
    /// Makes the node that the container has at `path`, in the directory that is there.
    fn make(&self, dir: &OwnedFd, path: &Path) -> SysResult<()> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let device = makedev(self.major, self.minor);
        match mknodat(dir, name, self.kind, Mode::from_raw_mode(self.mode), device) {
            Ok(()) => {}
            // One the image brought is as good if it is the same; anything else there is not to be trusted.
            Err(Errno::EXIST) => return self.check(dir, name),
            // In a user namespace, or where device rules forbid it: show the host's node instead.
            Err(Errno::PERM) => return self.bind(dir, path),
            Err(errno) => return Err(errno),
        }
        if (self.uid, self.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    fn check(&self, dir: &OwnedFd, name: &std::ffi::OsStr) -> SysResult<()> {
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if self.is(&stat) { Ok(()) } else { Err(Errno::EXIST) }
    }

    /// Character and block devices have the same numbers for different things.
    fn is(&self, stat: &Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == self.kind
            && (major(stat.st_rdev), minor(stat.st_rdev)) == (self.major, self.minor)
    }

    fn bind(&self, dir: &OwnedFd, path: &Path) -> SysResult<()> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let tree = self.host_s(path)?;
        match mknodat(dir, name, FileType::RegularFile, Mode::from_raw_mode(0o600), 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags =
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let place = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        mount::attach(tree.as_fd(), place.as_fd())
    }

    /// The host's node of this kind with these numbers: at the same place, or where udev lists nodes by number.
    fn host_s(&self, path: &Path) -> SysResult<OwnedFd> {
        let kind = if self.kind == FileType::BlockDevice { "block" } else { "char" };
        let listed = format!("/dev/{kind}/{}:{}", self.major, self.minor);
        for place in [path, Path::new(&listed)] {
            let Ok(tree) = mount::clone_path(place, false) else { continue };
            if fstat(&tree).is_ok_and(|stat| self.is(&stat)) {
                return Ok(tree);
            }
        }
        Err(Errno::PERM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_its_kind_and_its_numbers() {
        let null = rustix::fs::stat("/dev/null").unwrap();
        let node = |kind, major, minor| Node { kind, major, minor, mode: 0o666, uid: 0, gid: 0 };
        assert!(node(FileType::CharacterDevice, 1, 3).is(&null));
        assert!(!node(FileType::BlockDevice, 1, 3).is(&null));
        assert!(!node(FileType::CharacterDevice, 1, 5).is(&null));
        // A file has no numbers, which are zeros, as those of a named pipe.
        let file = rustix::fs::stat("/etc/passwd").unwrap();
        assert!(!node(FileType::Fifo, 0, 0).is(&file));
    }
}
