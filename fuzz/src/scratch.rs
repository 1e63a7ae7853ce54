//! A file system of the fuzzer's own, in a mount namespace of its own: what a target writes is gone with the process, and
//! what it should not write can be watched without anybody else changing it meanwhile.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount,
};
use rustix::thread::UnshareFlags;

/// Where it is mounted. Short, so that a fuzzer finds it as a target of links.
pub const SCRATCH: &str = "/dev/shm";
/// Canaries: what an archive may want to reach. Short for the same reason.
pub const OUTSIDE: &str = "/dev/shm/o";

/// Mounts it, and makes the rest of the machine read-only for this process, except where libFuzzer writes. To be called once,
/// before there are threads.
///
/// # Panics
/// Without the right to mount (root).
pub fn enter() {
    // SAFETY: without FILES there is no table of descriptors that another thread could lose.
    let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) };
    unshared.expect("a mount namespace of our own: run as root");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("private mounts");
    let here = std::env::current_dir().expect("a working directory");
    for writable in [env!("CARGO_MANIFEST_DIR"), "/tmp"].map(Path::new).into_iter().chain([&*here])
    {
        mount_bind(writable, writable).expect("a mount of what stays writable");
    }
    // The working directory is still the one below the new mount.
    std::env::set_current_dir(&here).expect("the working directory");
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, "").expect("a read-only root");
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("scratch", SCRATCH, "tmpfs", flags, Some(c"size=512m,mode=755")).expect("a tmpfs");
    canaries(Path::new(OUTSIDE));
}

fn canaries(outside: &Path) {
    fs::create_dir(outside).expect("a directory");
    fs::write(outside.join("f"), "canary").expect("a file");
    fs::create_dir(outside.join("d")).expect("a directory");
    fs::write(outside.join("d/f"), "another").expect("a file");
    symlink("f", outside.join("l")).expect("a symlink");
}

/// All that there is to see of the scratch file system but for what is below the `allowed` names in its root.
pub fn picture(allowed: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut names: Vec<_> = fs::read_dir(SCRATCH)
        .expect("the scratch directory")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| !allowed.iter().any(|allowed| name == allowed))
        .collect();
    names.sort();
    // The times of the root itself change with what is allowed.
    let root = fs::symlink_metadata(SCRATCH).expect("the scratch directory");
    lines.push(format!("{:o} {} {} {names:?}", root.mode(), root.uid(), root.gid()));
    for name in ["", "f", "d", "d/f", "l"] {
        lines.push(line(&Path::new(OUTSIDE).join(name)));
    }
    lines
}

fn line(path: &Path) -> String {
    let meta = fs::symlink_metadata(path).expect("a canary");
    let content = if meta.is_file() {
        fs::read_to_string(path).unwrap_or_default()
    } else if meta.is_dir() {
        let names = fs::read_dir(path).expect("a directory");
        let mut names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        format!("{names:?}")
    } else {
        format!("{:?}", fs::read_link(path).ok())
    };
    // The change time also tells of modes, owners, attributes and links.
    let (inode, links) = (meta.ino(), meta.nlink());
    let (seconds, nanos) = (meta.ctime(), meta.ctime_nsec());
    format!("{} {inode} {links} {seconds}.{nanos} {content}", path.display())
}
