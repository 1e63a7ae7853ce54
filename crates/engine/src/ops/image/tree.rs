//! An image's file system, without a container and file by file, for builds whose result is files; and images in archives under other
//! names than they have here.

use std::{
    ffi::OsStr,
    fs::File,
    os::{fd::BorrowedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, Reference};
use ferry_sys::{
    overlay::{self, Overlay},
    root::InRoot,
};
use ferry_transfer::Packing;
use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use tokio::sync::mpsc;

use super::save::save_images;
use crate::{Engine, Shared, shared::HeldLease};

/// How deep directories may lie in each other.
const MAX_DEPTH: usize = 2048;

/// The files of an image, to be read. Its layers stay as long as this.
#[derive(Debug)]
pub struct ImageTree {
    root: InRoot,
    _layers: HeldLease,
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The path in the image, without a leading slash.
    pub path: PathBuf,
    /// `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of a plain file.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// Where a symbolic link leads.
    pub link: Option<PathBuf>,
    /// Numbers of a device.
    pub device: (u32, u32),
}

impl ImageTree {
    /// The files that layers make together.
    pub(crate) fn of(shared: &Arc<Shared>, layers: &[Digest]) -> Result<ImageTree, Failure> {
        let held = shared.hold(layers);
        let lower = shared.lower_dirs(layers)?;
        let failed = |why: String| {
            Failure::new(ErrorKind::Internal, format!("cannot open the files of the image: {why}"))
        };
        let root = match lower.as_slice() {
            [only] => InRoot::open(only).map_err(|errno| failed(errno.to_string()))?,
            _ => overlay::root(&Overlay { lower, ..Overlay::default() })
                .map_err(|error| failed(error.to_string()))?,
        };
        Ok(ImageTree { root, _layers: held })
    }

    /// The directory of all of them.
    pub(crate) fn as_dir(&self) -> BorrowedFd<'_> {
        self.root.as_dir()
    }

    /// All files, parents before children, names in order. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn entries(&self) -> Result<Vec<TreeEntry>, Failure> {
        let mut found = Vec::new();
        self.list(Path::new(""), 0, &mut found)?;
        Ok(found)
    }

    /// Opens a plain file. Blocks.
    ///
    /// # Errors
    /// It is none, or cannot be read.
    pub fn file(&self, path: &Path) -> Result<File, Failure> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        let opened = self.root.open_with(&Path::new("/").join(path), flags, 0);
        opened.map(File::from).map_err(|errno| unreadable(path, errno))
    }

    fn list(
        &self,
        directory: &Path,
        depth: usize,
        found: &mut Vec<TreeEntry>,
    ) -> Result<(), Failure> {
        if depth > MAX_DEPTH {
            return Err(unreadable(directory, rustix::io::Errno::NAMETOOLONG));
        }
        let failed = |errno| unreadable(directory, errno);
        let path = Path::new("/").join(directory);
        let opened = self.root.open_with(&path, OFlags::DIRECTORY | OFlags::NOFOLLOW, 0);
        let opened = opened.map_err(failed)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&opened).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            if !matches!(name.as_slice(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let name = OsStr::from_bytes(&name);
            let path = directory.join(name);
            let stat = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| unreadable(&path, errno))?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let link = match kind {
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(&opened, name, Vec::new())
                        .map_err(|errno| unreadable(&path, errno))?;
                    Some(PathBuf::from(OsStr::from_bytes(target.to_bytes())))
                }
                _ => None,
            };
            let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
            found.push(TreeEntry {
                path: path.clone(),
                mode: stat.st_mode,
                uid: stat.st_uid,
                gid: stat.st_gid,
                size: u64::try_from(stat.st_size).unwrap_or_default(),
                modified: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos),
                link,
                device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
            });
            if kind == FileType::Directory {
                self.list(&path, depth + 1, found)?;
            }
        }
        Ok(())
    }
}

fn unreadable(path: &Path, errno: rustix::io::Errno) -> Failure {
    let words = format!("cannot read {} of the image: {errno}", path.display());
    Failure::new(ErrorKind::Internal, words)
}

/// An image as `save` writes it, with names that it need not have here.
///
/// # Errors
/// No such image, or a name that is none.
pub async fn save_as(
    engine: &Engine,
    id: &Digest,
    names: &[String],
    packing: Packing,
) -> Result<mpsc::Receiver<Result<Bytes, Failure>>, Failure> {
    let names = names
        .iter()
        .map(|name| Reference::parse(name).map(Reference::with_default_tag))
        .collect::<Result<Vec<_>, _>>()
        .map_err(super::bad_reference)?;
    let entry = engine.shared.images.get(&id.to_string())?.entry;
    // The names may mean another image here.
    let others = engine.shared.images.variants(&id.to_string());
    Ok(save_images(engine, entry, names, others, packing))
}
