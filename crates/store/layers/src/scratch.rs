//! A directory in the making: gone when dropped, unless it was committed.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, RenameFlags};

pub(crate) const PREFIX: &str = "tmp-";

#[derive(Debug)]
pub(crate) struct Scratch {
    parent: OwnedFd,
    name: String,
    path: PathBuf,
    committed: bool,
}

impl Scratch {
    pub(crate) fn create(root: &Path) -> io::Result<Self> {
        let (parent, name) = (open(root)?, random_name()?);
        rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o700))?;
        Ok(Self { path: root.join(&name), parent, name, committed: false })
    }

    /// Takes a committed directory back: it is gone from its place at once, and removed when dropped.
    pub(crate) fn take(root: &Path, name: &str) -> io::Result<Self> {
        let (parent, scratch) = (open(root)?, random_name()?);
        rustix::fs::renameat(&parent, name, &parent, &scratch)?;
        Ok(Self { path: root.join(&scratch), parent, name: scratch, committed: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its final name. If there is one already, that stays, and this comes back.
    pub(crate) fn commit(mut self, name: &str) -> io::Result<Option<Self>> {
        let (parent, flags) = (&self.parent, RenameFlags::NOREPLACE);
        let renamed = rustix::fs::renameat_with(parent, &self.name, parent, name, flags);
        match renamed {
            Ok(()) => {
                self.committed = true;
                Ok(None)
            }
            Err(rustix::io::Errno::EXIST) => Ok(Some(self)),
            Err(error) => Err(error.into()),
        }
    }

    /// Leaves it to a sweep, which wants its name.
    pub(crate) fn abandon(mut self) -> String {
        self.committed = true;
        std::mem::take(&mut self.name)
    }

    /// Removes it and says whether that worked; a mere drop leaves failures to the next sweep.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        self.committed = true;
        ferry_archive::remove_tree(self.parent.as_fd(), self.name.as_bytes())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        let removed = ferry_archive::remove_tree(self.parent.as_fd(), self.name.as_bytes());
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an unfinished layer");
        }
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn random_name() -> io::Result<String> {
    let mut bytes = [0_u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{PREFIX}{:016x}", u64::from_ne_bytes(bytes)))
}
