//! Copies trees: what the image has at its place into an empty volume, a volume into another.

use std::{
    collections::HashMap,
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        self, AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps,
        Uid, XattrFlags,
    },
    io::Errno,
};

/// Deepest directory that is copied; a deeper tree is refused, so that a hostile image cannot exhaust the stack.
const MAX_DEPTH: usize = 512;

/// An image's content could not be copied.
#[derive(Debug, thiserror::Error)]
#[error("cannot copy \"{}\" of the image into the volume", path.display())]
pub struct PopulateError {
    path: PathBuf,
    source: io::Error,
}

/// A file of a volume could not be copied.
#[derive(Debug, thiserror::Error)]
#[error("cannot copy \"{}\"", path.display())]
pub struct CopyError {
    path: PathBuf,
    source: io::Error,
}

/// Copies everything below `from` into the empty directory `to`, and gives `to` what `from` has: owners, modes, times, extended
/// attributes, hard links, devices and holes. Where the file system can, the copy shares the original's blocks.
pub(crate) fn tree(from: &OwnedFd, to: &OwnedFd) -> Result<(), CopyError> {
    let mut copier = Copier { links: HashMap::new(), path: PathBuf::new(), reflinks: true };
    let copied = copier.directory(from.as_fd(), to.as_fd(), 0).and_then(|()| {
        copier.path = PathBuf::from(".");
        attributes(from.as_fd(), to.as_fd(), &fs::fstat(from)?)
    });
    copied.map_err(|errno| CopyError { path: copier.path, source: errno.into() })
}

/// Copies everything below the open directory `from` into the directory `to`, if `to` is empty, with owners, modes, times,
/// extended attributes, links and devices, and gives `to` the owner and mode of `from`, as Docker does. The flag tells whether
/// it copied.
///
/// # Errors
/// The first file that cannot be copied.
pub fn populate(from: BorrowedFd<'_>, to: &Path) -> Result<bool, PopulateError> {
    let fail =
        |path: &Path, source: Errno| PopulateError { path: path.to_owned(), source: source.into() };
    let target = fs::openat(CWD, to, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| fail(to, errno))?;
    let mut entries = Dir::read_from(&target).map_err(|errno| fail(to, errno))?;
    if entries.any(|entry| entry.is_ok_and(|entry| !is_dot(entry.file_name()))) {
        return Ok(false);
    }
    let mut copier = Copier { links: HashMap::new(), path: PathBuf::new(), reflinks: true };
    copier.directory(from, target.as_fd(), 0).map_err(|errno| fail(&copier.path, errno))?;
    let stat = fs::fstat(from).map_err(|errno| fail(to, errno))?;
    attributes(from, target.as_fd(), &stat).map_err(|errno| fail(to, errno))?;
    Ok(true)
}

struct Copier {
    /// Where a file with several links was copied to first.
    links: HashMap<(u64, u64), PathBuf>,
    path: PathBuf,
    /// No file has refused it yet.
    reflinks: bool,
}

impl Copier {
    fn directory(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        depth: usize,
    ) -> Result<(), Errno> {
        if depth > MAX_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            if is_dot(entry.file_name()) {
                continue;
            }
            let name = entry.file_name().to_owned();
            self.path.push(std::ffi::OsStr::new(name.to_str().unwrap_or("?")));
            self.entry(from, to, &name, depth)?;
            self.path.pop();
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), Errno> {
        let stat = fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                fs::mkdirat(to, name, Mode::RWXU)?;
                let inner_from = open_directory(from, name)?;
                let inner_to = open_directory(to, name)?;
                self.directory(inner_from.as_fd(), inner_to.as_fd(), depth + 1)?;
                attributes(inner_from.as_fd(), inner_to.as_fd(), &stat)
            }
            FileType::RegularFile => self.regular(from, to, name, &stat),
            FileType::Symlink => {
                let target = fs::readlinkat(from, name, Vec::new())?;
                fs::symlinkat(&target, to, name)?;
                owner(to, name, &stat)?;
                times(to, name, &stat)
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                let kind = FileType::from_raw_mode(stat.st_mode);
                fs::mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev)?;
                owner(to, name, &stat)?;
                fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode), AtFlags::empty())?;
                times(to, name, &stat)
            }
            // A socket's peer is not in the image: there is nothing to copy.
            FileType::Socket | FileType::Unknown => Ok(()),
        }
    }

    fn regular(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> Result<(), Errno> {
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            // Links are made by path below the volume's top, so only files of this copy can be reached.
            if let Some(first) = self.links.get(&identity) {
                let up: PathBuf =
                    std::iter::repeat_n("..", self.path.components().count() - 1).collect();
                return fs::linkat(to, up.join(first), to, name, AtFlags::empty());
            }
            self.links.insert(identity, self.path.clone());
        }
        let source = fs::openat(
            from,
            name,
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let target = fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
        self.reflinks = self.reflinks && fs::ioctl_ficlone(&target, &source).is_ok();
        if !self.reflinks {
            copy_data(&source, &target, u64::try_from(stat.st_size).unwrap_or_default())?;
        }
        attributes(source.as_fd(), target.as_fd(), stat)
    }
}

/// Copies what is in the file and leaves its holes out.
fn copy_data(source: &OwnedFd, target: &OwnedFd, size: u64) -> Result<(), Errno> {
    let mut at = 0;
    while at < size {
        let (begin, end) = match fs::seek(source, SeekFrom::Data(at)) {
            Ok(begin) => (begin, fs::seek(source, SeekFrom::Hole(begin))?),
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => (at, size),
            Err(errno) => return Err(errno),
        };
        copy_range(source, target, begin, end)?;
        at = end;
    }
    fs::ftruncate(target, size)
}

fn copy_range(source: &OwnedFd, target: &OwnedFd, begin: u64, end: u64) -> Result<(), Errno> {
    let (mut from, mut to) = (begin, begin);
    while from < end {
        let length = usize::try_from((end - from).min(1 << 30)).unwrap_or(1 << 30);
        match fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), length) {
            // The file has become shorter.
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => break,
            Err(errno) => return Err(errno),
        }
    }
    let mut buffer = vec![0_u8; 128 * 1024];
    while from < end {
        let room = usize::try_from(end - from).unwrap_or(usize::MAX).min(buffer.len());
        let count = rustix::io::pread(source, &mut buffer[..room], from)?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let written = rustix::io::pwrite(target, rest, to)?;
            rest = &rest[written..];
            to += written as u64;
        }
        from += count as u64;
    }
    Ok(())
}

/// Owner first: changing it clears set-id bits and file capabilities.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    extended_attributes(from, to)?;
    fs::futimens(to, &timestamps(stat))
}

fn extended_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut names = vec![0_u8; 64 * 1024];
    let length = match fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let mut value = vec![0_u8; 64 * 1024];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name).map(CString::from) else { continue };
        if name.to_bytes().starts_with(b"trusted.overlay.") {
            continue;
        }
        let size = fs::fgetxattr(from, &name, &mut value[..])?;
        match fs::fsetxattr(to, &name, &value[..size], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn owner(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    fs::utimensat(directory, name, &timestamps(stat), AtFlags::SYMLINK_NOFOLLOW)
}

fn timestamps(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as _,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, name, flags, Mode::empty())
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}
