//! Paths that are hidden or made read-only.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ferry_sys::mount::{self, Change, attr};
use ferry_sys::root::{InRoot, file_type};
use ferry_sys::{Errno, Result as SysResult};
use rustix::fs::{FileType, fstat, major, minor};

use super::filesystems;
use super::mounts::clean;
use super::options::Options;
use crate::error::{Failure, Outcome, words};

/// Puts a read-only copy of each path's tree on top of it.
pub(crate) fn read_only_paths(root: &InRoot, paths: &[String]) -> Outcome<()> {
    for path in paths {
        if let Err(errno) = read_only(root, &clean(path)) {
            return Err(Failure::errno(format!("can't make {path:?} read-only"), errno));
        }
    }
    Ok(())
}

fn read_only(root: &InRoot, path: &Path) -> SysResult<()> {
    let Some(place) = existing(root, path)? else { return Ok(()) };
    let tree = mount::clone_tree(place.as_fd(), Path::new(""), true)?;
    let change = Change { set: attr::RDONLY, ..Change::default() };
    mount::set_attributes(tree.as_fd(), &change, true)?;
    mount::attach(tree.as_fd(), place.as_fd())
}

fn existing(root: &InRoot, path: &Path) -> SysResult<Option<OwnedFd>> {
    match root.resolve(path) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Hides each path: a directory behind an empty one, anything else behind the null device.
pub(crate) fn mask_paths(root: &InRoot, paths: &[String], label: Option<&str>) -> Outcome<()> {
    // One empty file system serves all directories: making one costs more than showing it again.
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let told = |why: &str| Failure::new(format!("can't mask path {path:?}: {why}"));
        let place = existing(root, &clean(path)).map_err(|errno| told(&words(errno)))?;
        let Some(place) = place else { continue };
        let kind = file_type(place.as_fd()).map_err(|errno| told(&words(errno)))?;
        let cover = match (kind, &empty) {
            (FileType::Directory, None) => {
                let options = Options::read(&["nr_inodes=2", "mode=755"]);
                let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
                let fresh = filesystems::make("tmpfs", Some("tmpfs"), &options, label, attributes);
                fresh.map_err(|error| told(&error.to_string()))?
            }
            (FileType::Directory, Some(known)) => {
                mount::clone_tree(known.as_fd(), Path::new(""), false)
                    .map_err(|errno| told(&words(errno)))?
            }
            _ => null_device().map_err(|errno| told(&words(errno)))?,
        };
        mount::attach(cover.as_fd(), place.as_fd()).map_err(|errno| told(&words(errno)))?;
        if kind == FileType::Directory && empty.is_none() {
            empty = Some(cover);
        }
    }
    Ok(())
}

/// The host's, and only if it is one: what a container has at `/dev/null` may be anything (CVE-2025-31133).
fn null_device() -> SysResult<OwnedFd> {
    let tree = mount::clone_path(Path::new("/dev/null"), false)?;
    let stat = fstat(&tree)?;
    let character = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if character && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3) {
        Ok(tree)
    } else {
        Err(Errno::NODEV)
    }
}
