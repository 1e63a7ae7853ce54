//! Files under other ids: user namespaces that only map, and root file systems seen through them.
//!
//! A container in a user namespace has layers and volumes that others have, too, and that were written by the host's
//! ids. Nothing on the disk is changed for it: its mounts show id 0 as its own root (`mount_setattr(2)`,
//! `MOUNT_ATTR_IDMAP`, Linux 5.19 for the layers of an overlay). What it writes lands on the disk under the ids that
//! it sees. So an image is stored once, and a container's directory looks the same with and without a user namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ferry_oci::runtime::{LinuxIdMapping, Spec};
use ferry_sys::idmap::{self, Range};
use ferry_sys::mount::{self, Change, Filesystem, OwnedFdRef, Propagation, attr};
use ferry_sys::namespace::flag;
use ferry_sys::overlay::{self, Durability, MountNamespace, Overlay};
use ferry_sys::process::{self, Forked};
use ferry_sys::{Errno, caps, fdpass, pidfd};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use crate::error::{Failure, Outcome, words};
use crate::fork;

/// How ids inside are ids outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Maps {
    uids: Vec<Range>,
    gids: Vec<Range>,
}

impl Maps {
    /// Those of a mount, or of a container.
    pub(crate) fn new(uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Maps {
        let range = |map: &LinuxIdMapping| Range {
            inside: map.container_id,
            outside: map.host_id,
            size: map.size,
        };
        Maps { uids: uids.iter().map(range).collect(), gids: gids.iter().map(range).collect() }
    }

    /// Those of a container that is in a user namespace, be it new or joined.
    pub(crate) fn of(spec: &Spec) -> Option<Maps> {
        let linux = spec.linux.as_ref()?;
        let in_namespace = linux.namespaces.iter().any(|namespace| namespace.kind == "user");
        let maps = Maps::new(&linux.uid_mappings, &linux.gid_mappings);
        (in_namespace && !maps.uids.is_empty() && !maps.gids.is_empty()).then_some(maps)
    }

    /// What root inside is outside.
    pub(crate) fn root(&self) -> Option<(u32, u32)> {
        let outside = |ranges: &[Range]| {
            ranges.iter().find(|range| range.inside == 0 && range.size > 0).map(|r| r.outside)
        };
        Some((outside(&self.uids)?, outside(&self.gids)?))
    }

    /// A user namespace with these maps and nobody in it.
    pub(crate) fn namespace(&self) -> Outcome<OwnedFd> {
        let told = |errno| Failure::errno("make a user namespace for id mapped mounts", errno);
        match fork::clone3(flag::USER, None).map_err(told)? {
            Forked::Child => {
                let _ = process::set_parent_death_signal(libc::SIGKILL);
                loop {
                    // Its maker ends it when the namespace has its maps.
                    let hour = rustix::thread::Timespec { tv_sec: 3600, tv_nsec: 0 };
                    let _ = rustix::thread::nanosleep(&hour);
                }
            }
            Forked::Parent { pid, pidfd } => {
                let opened = self.write_and_open(pid);
                let _ = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
                let _ = pidfd::wait(pidfd.as_fd());
                opened.map_err(told)
            }
        }
    }

    fn write_and_open(&self, pid: i32) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())?;
        idmap::write(proc.as_fd(), &self.uids, &self.gids)?;
        openat(&proc, "ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    }
}

/// Shows a detached mount through `namespace`, with those below it if asked.
pub(crate) fn shift(
    tree: BorrowedFd<'_>,
    namespace: &OwnedFd,
    recursive: bool,
) -> Result<(), Errno> {
    let userns = OwnedFdRef(namespace.as_fd());
    let change = Change { set: attr::IDMAP, userns: Some(&userns), ..Change::default() };
    mount::set_attributes(tree, &change, recursive)
}

/// An overlay whose layers are seen through `maps`, as a detached mount.
///
/// # Errors
/// Where the kernel (before 5.19) or the file system cannot do it.
pub(crate) fn overlay(layers: &Overlay, durability: Durability, maps: &Maps) -> Outcome<OwnedFd> {
    let namespace = maps.namespace()?;
    let root = maps.root().ok_or_else(|| Failure::new("no id is mapped to root"))?;
    let told = |errno| Failure::errno("make an id mapped overlay", errno);
    let (ours, theirs) = fdpass::pair().map_err(told)?;
    // Overlayfs takes layers by their path. Where these paths are nobody else looks: a mount namespace of the maker.
    match fork::clone3(flag::MOUNT, None).map_err(told)? {
        Forked::Child => {
            drop(ours);
            let answer = assemble(layers, durability, &namespace, root);
            // With nobody to hear it there is nothing to tell.
            let _ = match answer {
                Ok(fd) => fdpass::send(&theirs, b"+", &[fd.as_fd()]),
                Err(failure) => fdpass::send(&theirs, failure.message.as_bytes(), &[]),
            };
            process::exit_now(0)
        }
        Forked::Parent { pid: _, pidfd } => {
            drop(theirs);
            let mut buffer = [0; 4096];
            let received = fdpass::receive(&ours, &mut buffer);
            let _ = pidfd::wait(pidfd.as_fd());
            let (length, mut fds) = received.map_err(told)?;
            fds.pop().ok_or_else(|| {
                let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
                Failure::new(if message.is_empty() { "its maker died".to_owned() } else { message })
            })
        }
    }
}

/// In a process and a mount namespace of its own: all layers side by side in a tmpfs, and the overlay of them.
fn assemble(
    layers: &Overlay,
    durability: Durability,
    namespace: &OwnedFd,
    (uid, gid): (u32, u32),
) -> Outcome<OwnedFd> {
    let told = |what: &str| {
        let what = what.to_owned();
        move |errno| Failure::errno(what, errno)
    };
    let lower: Vec<OwnedFd> =
        layers.lower.iter().map(|dir| shifted(dir, namespace)).collect::<Outcome<_>>()?;
    let writable = layers.upper.as_deref().and_then(Path::parent);
    let writable = writable.map(|dir| shifted(dir, namespace)).transpose()?;
    mount::set_tree_propagation(Propagation::Private)
        .map_err(told("make the mount namespace private"))?;
    let stage = Filesystem::open("tmpfs")
        .and_then(|context| context.mount(0))
        .map_err(|error| Failure::new(error.to_string()))?;
    let root = openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(told("open /"))?;
    mount::attach(stage.as_fd(), root.as_fd()).map_err(told("attach a tmpfs"))?;
    rustix::process::fchdir(&stage).map_err(told("enter a tmpfs"))?;
    for (index, layer) in lower.iter().enumerate() {
        place(&stage, &index.to_string(), layer)?;
    }
    if let Some(writable) = &writable {
        place(&stage, "w", writable)?;
    }
    let inside = |path: &Path| path.file_name().map(|name| Path::new("w").join(name));
    let staged = Overlay {
        lower: (0..lower.len()).map(|index| index.to_string().into()).collect(),
        upper: layers.upper.as_deref().and_then(inside),
        work: layers.work.as_deref().and_then(inside),
        context: layers.context.clone(),
    };
    // Overlayfs makes files of its own as whoever mounted it: that must be somebody whom the maps know.
    process::set_filesystem_ids(uid, gid);
    let own = caps::get().map_err(told("capget"))?;
    caps::set(caps::Caps { effective: own.permitted, ..own }).map_err(told("capset"))?;
    overlay::detached_as(&staged, durability, MountNamespace::Own)
        .map_err(|error| Failure::new(format!("cannot mount the root overlay: {error}")))
}

fn shifted(dir: &Path, namespace: &OwnedFd) -> Outcome<OwnedFd> {
    let told =
        |what: &str, errno| Failure::new(format!("{what} {}: {}", dir.display(), words(errno)));
    let tree = mount::clone_path(dir, false).map_err(|errno| told("open", errno))?;
    match shift(tree.as_fd(), namespace, false) {
        Ok(()) => Ok(tree),
        Err(errno) => {
            let what = "the file system or this kernel cannot map ids (Linux 5.19 and ext4, xfs or btrfs can):";
            Err(told(what, errno))
        }
    }
}

fn place(stage: &OwnedFd, name: &str, tree: &OwnedFd) -> Outcome<()> {
    let told = |errno| Failure::errno("place a layer", errno);
    mkdirat(stage, name, Mode::from_raw_mode(0o755)).map_err(told)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = openat(stage, name, flags, Mode::empty()).map_err(told)?;
    mount::attach(tree.as_fd(), target.as_fd()).map_err(told)
}
