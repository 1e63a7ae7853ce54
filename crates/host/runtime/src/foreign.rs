//! Other mount namespaces, and what a caller needs of this crate when it lets another OCI runtime start the container: the root file system as a mount
//! that is nowhere yet, ids for names, and dockerd's reading of a runtime's words.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ferry_oci::runtime::{Mount, Process, Spec};
use ferry_sys::namespace::{self, flag};
use ferry_sys::process::{self, Forked};
use ferry_sys::root::InRoot;
use ferry_sys::{Errno, fdpass, mount, pidfd};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::bundle::Rootfs;
use crate::child::Source;
use crate::error::{self, CreateError};
use crate::mapped::Maps;
use crate::{child, fork, user};

/// The root file system as a detached mount. Whoever attaches it says where; dropped before that, it is gone.
pub fn detached_rootfs(rootfs: &Rootfs, spec: &Spec) -> Result<OwnedFd, CreateError> {
    child::detached_rootfs(rootfs, spec).map_err(|failure| CreateError::Config(failure.message))
}

/// A detached mount of what a mount of the specification shows, if that takes more than another runtime could do by its source: it is
/// in another mount namespace, or seen under other ids.
pub fn detached_source(mount: &Mount, spec: &Spec) -> Result<Option<OwnedFd>, CreateError> {
    if !child::is_opened_outside(mount) {
        return Ok(None);
    }
    match child::open_source(mount, spec, Path::new("/")) {
        Ok(Source::Tree(tree)) => Ok(Some(tree)),
        Ok(Source::New) => Ok(None),
        Err(failure) => Err(CreateError::Config(failure.message)),
    }
}

/// What root of a specification's user namespace is on the host, user and group; `None` without a namespace.
pub fn host_root(spec: &Spec) -> Option<(u32, u32)> {
    Maps::of(spec)?.root()
}

/// A detached copy of what a process sees at a path. It takes being in its mount namespace: before Linux 6.15 nothing of
/// another one can be copied.
pub(crate) fn clone_of_process(pid: i32, path: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mounts = openat(CWD, format!("/proc/{pid}/ns/mnt"), flags, Mode::empty())?;
    let (ours, theirs) = fdpass::pair()?;
    match fork::clone3(0, None)? {
        Forked::Child => {
            drop(ours);
            let cloned = namespace::join(mounts.as_fd(), flag::MOUNT)
                .and_then(|()| mount::clone_path(path, recursive));
            // With nobody to hear it there is nothing to tell.
            let _ = match cloned {
                Ok(tree) => fdpass::send(&theirs, &0_i32.to_ne_bytes(), &[tree.as_fd()]),
                Err(errno) => fdpass::send(&theirs, &errno.raw_os_error().to_ne_bytes(), &[]),
            };
            process::exit_now(0)
        }
        Forked::Parent { pid: _, pidfd } => {
            drop(theirs);
            let mut bytes = [0; 4];
            let received = fdpass::receive(&ours, &mut bytes);
            let _ = pidfd::wait(pidfd.as_fd());
            let (_, mut fds) = received?;
            fds.pop().ok_or(match i32::from_ne_bytes(bytes) {
                0 => Errno::SRCH,
                number => Errno::from_raw_os_error(number),
            })
        }
    }
}

/// Replaces `process.user.username`, which only Ferry reads on Linux, by the ids that the files in `root` have for it.
pub fn resolve_user(root: &InRoot, process: &mut Process) -> Result<(), CreateError> {
    let user = &mut process.user;
    let Some(name) = user.username.take().filter(|name| !name.is_empty()) else { return Ok(()) };
    let identity = user::resolve(root, &name, &user.additional_gids)
        .map_err(|failure| CreateError::Config(failure.message))?;
    (user.uid, user.gid, user.additional_gids) = (identity.uid, identity.gid, identity.groups);
    Ok(())
}

/// The exit code that dockerd records for a container whose runtime said this when it could not start it, and the words
/// with what dockerd adds.
pub fn judge(message: String) -> (u8, String) {
    error::as_docker(message)
}

/// An error of the system as Go, and so every other runtime, words it.
pub fn io_words(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => error::words(ferry_sys::Errno::from_raw_os_error(number)),
        None => error.to_string(),
    }
}
