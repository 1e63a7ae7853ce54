//! Owner, extended attributes, mode and times, in the one order that keeps them all: a change of owner clears
//! set-id bits and file capabilities, and everything but setting the times changes the times.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::tree::Spot;
use super::{Attempt, UnpackError};
use crate::entry::{Entry, Mtime, Xattr};

/// What an entry says about its inode.
#[derive(Debug)]
pub(super) struct Attributes {
    /// `None`: whoever makes it.
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: u32,
    /// `None` for a directory that no entry describes: whatever the unpacking leaves.
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: Vec<Xattr>,
}

impl Attributes {
    pub(super) fn of(entry: &mut Entry) -> Self {
        Self {
            owner: Some((entry.uid, entry.gid)),
            mode: entry.mode,
            mtime: Some(entry.mtime),
            xattrs: std::mem::take(&mut entry.xattrs),
        }
    }

    /// A parent that the archive uses but does not describe (Docker's mode and owner for it).
    pub(super) fn implied(owner: Option<(u32, u32)>) -> Self {
        Self { owner, mode: 0o755, mtime: None, xattrs: Vec::new() }
    }

    /// Sets everything on an open file or directory. `owner` is whom it belongs to now, where that is known.
    pub(super) fn apply(
        &self,
        fd: BorrowedFd<'_>,
        owner: Option<(u32, u32)>,
        path: &[u8],
        refused: &mut u64,
    ) -> Result<(), UnpackError> {
        if let Some((uid, gid)) = self.owner.filter(|wanted| owner != Some(*wanted)) {
            rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(Attempt::SetOwner.on(path))?;
        }
        self.apply_xattrs(path, refused, |xattr| {
            rustix::fs::fsetxattr(fd, &*xattr.name, &xattr.value, XattrFlags::empty())
        })?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(self.mode))
            .map_err(Attempt::SetMode.on(path))?;
        match self.mtime {
            Some(mtime) => {
                rustix::fs::futimens(fd, &times(mtime)).map_err(Attempt::SetTimes.on(path))
            }
            None => Ok(()),
        }
    }

    /// Sets everything on a symlink, device or fifo, by its name in its directory, never following it.
    pub(super) fn apply_by_name(
        &self,
        spot: &Spot,
        symlink: bool,
        owner: Option<(u32, u32)>,
        refused: &mut u64,
    ) -> Result<(), UnpackError> {
        let (parent, name, path) = (spot.parent.fd.as_fd(), &*spot.name, &*spot.real);
        if let Some((uid, gid)) = self.owner.filter(|wanted| owner != Some(*wanted)) {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Attempt::SetOwner.on(path))?;
        }
        // There is no fsetxattrat before Linux 6.13, and an O_PATH descriptor does not do; the directory's
        // descriptor in /proc is the way to name the file without resolving its path again.
        let proc = [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat();
        self.apply_xattrs(path, refused, |xattr| {
            rustix::fs::lsetxattr(&*proc, &*xattr.name, &xattr.value, XattrFlags::empty())
        })?;
        if !symlink {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(self.mode), AtFlags::empty())
                .map_err(Attempt::SetMode.on(path))?;
        }
        match self.mtime {
            Some(mtime) => {
                let times = times(mtime);
                rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(Attempt::SetTimes.on(path))
            }
            None => Ok(()),
        }
    }

    fn apply_xattrs(
        &self,
        path: &[u8],
        refused: &mut u64,
        mut set: impl FnMut(&Xattr) -> Result<(), Errno>,
    ) -> Result<(), UnpackError> {
        for xattr in &self.xattrs {
            // These steer overlayfs itself (redirects, metadata-only copies): no archive has a say there.
            if xattr.name.starts_with(b"trusted.overlay.") {
                continue;
            }
            match set(xattr) {
                Ok(()) => {}
                // As Docker: in a user namespace some attributes cannot be set, and the image works without.
                Err(Errno::PERM) => *refused += 1,
                Err(error) => return Err(Attempt::SetXattr.on(path)(error)),
            }
        }
        Ok(())
    }
}

/// Access time is set to the modification time: archives of layers do not carry one.
fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
