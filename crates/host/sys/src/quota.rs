//! Project quotas: how much a directory may hold, with everything below it, on ext4 and xfs (quotactl(2), `linux/fs.h`).
#![expect(
    unsafe_code,
    reason = "quotactl_fd and the ioctls for a directory's project have no safe wrapper"
)]

use std::os::fd::{AsFd, AsRawFd};

use crate::{Result, raw::check};

/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR`.
const GET_ATTRIBUTES: libc::c_ulong = 0x801c_581f;
const SET_ATTRIBUTES: libc::c_ulong = 0x401c_5820;
/// What is made in the directory is of its project, too.
const INHERIT: u32 = 0x200;
/// The system call has one number on all machines.
const QUOTACTL_FD: libc::c_long = 443;
/// `QCMD(Q_SETQUOTA, PRJQUOTA)` and `QCMD(Q_XGETQSTATV, PRJQUOTA)`, which is not of xfs alone.
const SET_QUOTA: libc::c_uint = 0x8000_0802;
const GET_STATE: libc::c_uint = 0x0058_0802;
/// `FS_QSTATV_VERSION1`, and `FS_QUOTA_PDQ_ENFD` of the flags.
const STATE_VERSION: u8 = 1;
const PROJECTS_ARE_KEPT: u16 = 1 << 5;
/// The limits of blocks and inodes are set.
const ALL_LIMITS: u32 = 1 | 4;
/// Limits are in blocks of so many bytes.
const BLOCK: u64 = 1024;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    pad: [u8; 8],
}

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    block_hard_limit: u64,
    block_soft_limit: u64,
    space: u64,
    inode_hard_limit: u64,
    inode_soft_limit: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// Whether the file system of `place` keeps the limits of projects. ext4 that was made with projects counts them however it is mounted, xfs
/// with `pqnoenforce` does, and both take limits then which hold nobody up.
///
/// # Errors
/// `ENOSYS`, `EINVAL` or `ESRCH` where nothing counts projects.
pub fn are_kept(place: impl AsFd) -> Result<bool> {
    // `struct fs_quota_statv` has 160 bytes: its version, its flags after two of them, and what is of no concern here.
    let mut state = [0_u16; 128];
    state[0] = u16::from_ne_bytes([STATE_VERSION, 0]);
    quotactl(place, GET_STATE, 0, state.as_mut_ptr().cast())?;
    Ok(state[1] & PROJECTS_ARE_KEPT != 0)
}

/// How much a project may hold; 0 is any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

/// Lets a project have so much on the file system of `place`.
///
/// # Errors
/// As the kernel says it.
pub fn limit(place: impl AsFd, project: u32, limits: Limits) -> Result<()> {
    let blocks = limits.bytes.div_ceil(BLOCK);
    let mut quota = Quota {
        block_hard_limit: blocks,
        block_soft_limit: blocks,
        inode_hard_limit: limits.files,
        inode_soft_limit: limits.files,
        valid: ALL_LIMITS,
        ..Quota::default()
    };
    quotactl(place, SET_QUOTA, project, std::ptr::from_mut(&mut quota).cast())
}

/// Puts an empty directory, and what will be made in it, into a project.
///
/// # Errors
/// As the kernel says it: `ENOTTY` where there are no projects.
pub fn assign(directory: impl AsFd, project: u32) -> Result<()> {
    let directory = directory.as_fd().as_raw_fd();
    let mut attributes = Attributes::default();
    // SAFETY: the descriptor is open, and the kernel writes a `struct fsxattr` to an address that is one.
    let answer =
        unsafe { libc::syscall(libc::SYS_ioctl, directory, GET_ATTRIBUTES, &raw mut attributes) };
    check(answer)?;
    attributes.project = project;
    attributes.flags |= INHERIT;
    // SAFETY: the descriptor is open, and the kernel reads a `struct fsxattr` that is one.
    let answer =
        unsafe { libc::syscall(libc::SYS_ioctl, directory, SET_ATTRIBUTES, &raw const attributes) };
    check(answer).map(drop)
}

/// What the kernel reads or writes for the command is at `data`.
fn quotactl(place: impl AsFd, command: u32, project: u32, data: *mut libc::c_void) -> Result<()> {
    let place = place.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, and both callers give the address of a value of their own, as large as what the kernel reads
    // (`struct if_dqblk`) or writes (`struct fs_quota_statv`) for their command.
    let answer = unsafe { libc::syscall(QUOTACTL_FD, place, command, project, data) };
    check(answer).map(drop)
}
