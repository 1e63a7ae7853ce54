//! What a caller hands in and gets back: plain types, no behaviour beyond accessors.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use ferry_cgroup::Cgroup;
use ferry_oci::runtime::{Process, Spec, User};

/// Where the container's root file system comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    /// An overlay that only the container's own mount namespace will ever show.
    Overlay {
        /// Read-only layers, top first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// Overlayfs's scratch directory, on the file system of `upper`.
        work: PathBuf,
    },
    /// A directory that is there already.
    Dir(PathBuf),
}

/// Everything `create` needs to know about one container.
#[derive(Debug, Clone, Copy)]
pub struct Bundle<'a> {
    /// The container's id: names the session keyring and goes to hooks.
    pub id: &'a str,
    /// The OCI configuration. `spec.root` is ignored: `rootfs` says where it is; its `readonly` counts.
    pub spec: &'a Spec,
    /// The root file system.
    pub rootfs: &'a Rootfs,
    /// The compiled seccomp program (`seccomp::compile`); `None` loads none, whatever the spec says.
    pub filter: Option<&'a [u8]>,
    /// The cgroup to start in, made and limited by the caller.
    pub cgroup: Option<&'a Cgroup>,
    /// Run Ferry's own init as pid 1 (`docker run --init`), with the process as its child.
    pub init: bool,
    /// The directory told to hooks as `bundle`.
    pub bundle_dir: &'a Path,
    /// Who else than its maker may start it, after [`crate::Created::leave`].
    pub gate: Option<&'a crate::Gate>,
    /// So many of the caller's descriptors from 3 on that are not close-on-exec reach the program.
    pub preserve_fds: u32,
}

/// Three open files for the process.
#[derive(Debug)]
pub struct Stdio {
    /// Becomes descriptor 0.
    pub stdin: OwnedFd,
    /// Becomes descriptor 1.
    pub stdout: OwnedFd,
    /// Becomes descriptor 2.
    pub stderr: OwnedFd,
}

/// What the process gets as its standard files.
#[derive(Debug)]
pub enum StdioRequest {
    /// These files.
    Files(Stdio),
    /// A new pseudo terminal from the container's own devpts, of this size (0 leaves a side unset).
    /// The master comes back in [`crate::Created::master`] or [`Running::master`].
    Terminal {
        /// Height in characters.
        rows: u16,
        /// Width in characters.
        cols: u16,
    },
}

/// A further process for a running container.
#[derive(Debug, Clone, Copy)]
pub struct ExecRequest<'a> {
    /// A pidfd of the container's init.
    pub target: BorrowedFd<'a>,
    /// The pid of the container's init, as the caller sees it.
    pub target_pid: i32,
    /// The configuration the container was created with (namespaces, keyring).
    pub spec: &'a Spec,
    /// What to run. `process.terminal` is ignored: the [`StdioRequest`] decides.
    pub process: &'a Process,
    /// The compiled seccomp program.
    pub filter: Option<&'a [u8]>,
    /// The cgroup of the container.
    pub cgroup: Option<&'a Cgroup>,
    /// As in [`Bundle::preserve_fds`].
    pub preserve_fds: u32,
}

/// A process that has been exec'ed. Reaping it (`waitid` on `pidfd`, or SIGCHLD) is the caller's.
#[derive(Debug)]
pub struct Running {
    /// Its pid as the caller sees it; it is the caller's child.
    pub pid: i32,
    /// Its pidfd (close-on-exec).
    pub pidfd: OwnedFd,
    /// The master side of its terminal, if it asked for one and it was not taken before.
    pub master: Option<OwnedFd>,
    /// Holds the container's mounts (only from [`crate::create`]): while it is open, the end of the process is told
    /// before the kernel takes its mount namespace apart, which waits for a grace period. Drop it after telling others.
    pub mounts: Option<OwnedFd>,
    /// Who its program runs as, by the ids of its user namespace (only from [`crate::create`], where there is a program).
    pub user: Option<User>,
    /// What could not be done on this machine but was not worth failing for, in words for the user.
    pub warnings: Vec<String>,
}
