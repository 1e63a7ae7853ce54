//! A container's files as the engine sees them, without mounting anything anywhere: a detached overlay that only a
//! descriptor refers to, and paths that are resolved inside it.

mod view;

use std::{
    borrow::Cow,
    collections::BTreeSet,
    os::fd::AsFd,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, MountKind, MountPoint};
use ferry_sys::{
    Errno,
    overlay::{self, Overlay},
    root::InRoot,
};

use rustix::fs::{Dir, FileType, OFlags, ResolveFlags, Stat};

use crate::Shared;

pub(crate) use view::{Access, View, bind_ids, whole, without_mounts};

/// The merged view of a container that does not run.
pub(crate) fn open(shared: &Shared, container: &Container) -> Result<InRoot, Failure> {
    let dir = shared.dirs.data(&container.id);
    let overlay = Overlay {
        lower: shared.lower_dirs(&container.layers)?,
        upper: Some(dir.join("upper")),
        work: Some(dir.join("work")),
        context: None,
    };
    let mount = overlay::detached(&overlay).map_err(|error| {
        Failure::new(
            ErrorKind::Internal,
            format!("cannot mount the layers of container {}: {error}", container.id),
        )
    })?;
    Ok(InRoot::from_fd(mount))
}

/// What a container stands on: its image's layers, merged.
pub(crate) fn lower(shared: &Shared, container: &Container) -> Result<InRoot, Failure> {
    let broken = |words: String| {
        let words = format!("cannot open the layers of container {}: {words}", container.id);
        Failure::new(ErrorKind::Internal, words)
    };
    let lower = shared.lower_dirs(&container.layers)?;
    // Overlayfs does not mount a single directory.
    if let [only] = lower.as_slice() {
        return InRoot::open(only).map_err(|errno| broken(errno.to_string()));
    }
    let overlay = Overlay { lower, ..Overlay::default() };
    overlay::root(&overlay).map_err(|error| broken(error.to_string()))
}

/// What a container has written.
pub(crate) fn upper(shared: &Shared, container: &Container) -> Result<InRoot, Failure> {
    let path = shared.dirs.data(&container.id).join("upper");
    InRoot::open(&path).map_err(|errno| {
        let words = format!("cannot open {}: {errno}", path.display());
        Failure::new(ErrorKind::Internal, words)
    })
}

/// Directories that every container has something mounted on.
const STUB_DIRECTORIES: [&str; 3] = ["dev", "proc", "sys"];

/// Files that every container has something mounted on, and the directory that they are in.
const STUB_FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];
const STUB_PARENT: &str = "etc";

/// The paths in a container's upper directory that are there only because every container has something mounted on them.
/// They are no change that its user made. (Docker keeps them in a layer of their own.)
pub(crate) fn stubs(upper: &InRoot, lower: &InRoot) -> Result<BTreeSet<Vec<u8>>, Failure> {
    let failed = |errno: Errno| {
        let words = format!("cannot look at what a container has written: {errno}");
        Failure::new(ErrorKind::Internal, words)
    };
    let stat = |root: &InRoot, path: &str| match root.resolve_nofollow(Path::new(path)) {
        Ok(found) => rustix::fs::fstat(&found).map(Some).map_err(failed),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(failed(errno)),
    };
    let mut stubs = BTreeSet::new();
    for path in STUB_DIRECTORIES.into_iter().chain(STUB_FILES) {
        let Some(found) = stat(upper, path)? else { continue };
        let kind = FileType::from_raw_mode(found.st_mode);
        let empty = kind == FileType::Directory || found.st_size == 0;
        if !kind.is_symlink() && empty && stat(lower, path)?.is_none() {
            stubs.insert(path.as_bytes().to_vec());
        }
    }
    let Some(parent) = stat(upper, STUB_PARENT)? else { return Ok(stubs) };
    let same = |below: Stat| {
        let attributes = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
        attributes(&below) == attributes(&parent)
    };
    if stat(lower, STUB_PARENT)?.is_none_or(same) && only_stubs(upper, &stubs).map_err(failed)? {
        stubs.insert(STUB_PARENT.as_bytes().to_vec());
    }
    Ok(stubs)
}

/// Whether all that is in the stubs' directory is stubs.
fn only_stubs(upper: &InRoot, stubs: &BTreeSet<Vec<u8>>) -> Result<bool, Errno> {
    let directory = upper.open_with(Path::new(STUB_PARENT), OFlags::DIRECTORY, 0)?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let path = [STUB_PARENT.as_bytes(), b"/", name].concat();
        if !matches!(name, b"." | b"..") && !stubs.contains(&path) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies what the image has at a volume's place into the volume, if that is empty.
pub(crate) fn populate_volume(
    shared: &Shared,
    container: &Container,
    mount: &MountPoint,
) -> Result<(), Failure> {
    let root = open(shared, container)?;
    let target = Path::new(&mount.destination);
    let directory = match root.open_with(target, OFlags::DIRECTORY, 0) {
        Ok(directory) => directory,
        // A file, or nothing: nothing to copy.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => {
            let words = format!("cannot look at {} in the image: {errno}", mount.destination);
            return Err(Failure::new(ErrorKind::Internal, words));
        }
    };
    ferry_volume::populate(directory.as_fd(), Path::new(&mount.source))
        .map(|_| ())
        .map_err(|error| Failure::new(ErrorKind::Internal, ferry_errkind::chain(&error)))
}

/// Checks a `volume-subpath` as far as it can be told before the container starts. Docker's words.
pub(crate) fn check_subpath(subpath: &str) -> Result<(), Failure> {
    let mut parts = Path::new(subpath).components();
    if parts.all(|part| matches!(part, std::path::Component::Normal(_))) {
        return Ok(());
    }
    let words = "invalid mount config for type \"volume\": subpath must be a relative path within the volume";
    Err(Failure::new(ErrorKind::InvalidArgument, words))
}

/// The container with what its mounts' `volume-subpath` leads to now: links are followed inside the volume alone, and there are none in
/// the paths that it has then. Whoever mounts them follows none, for those who write to the volume may put some there meanwhile.
pub(crate) fn with_subpaths(container: &Container) -> Result<Cow<'_, Container>, Failure> {
    let has = |mount: &MountPoint| mount.kind == MountKind::Volume && !mount.subpath.is_empty();
    if !container.mounts.iter().any(has) {
        return Ok(Cow::Borrowed(container));
    }
    let mut resolved = container.clone();
    for mount in resolved.mounts.iter_mut().filter(|mount| has(mount)) {
        let (top, below) = volume_subpath(Path::new(&mount.source), Path::new(&mount.subpath))?;
        mount.source = top.join(&below).to_string_lossy().into_owned();
        mount.subpath = below.to_string_lossy().into_owned();
    }
    Ok(Cow::Owned(resolved))
}

/// Where the end of `source`, which is `subpath`, really is: the volume, and the place in it. Docker's words.
fn volume_subpath<'s>(source: &'s Path, subpath: &Path) -> Result<(&'s Path, PathBuf), Failure> {
    let top = source.ancestors().nth(subpath.components().count()).unwrap_or(source);
    let found = InRoot::open(top).and_then(|root| {
        let found = root.open_beneath(subpath, ResolveFlags::empty())?;
        root.real_path(found.as_fd())
    });
    match found {
        Ok(below) => Ok((top, below)),
        Err(Errno::XDEV) => {
            let words = format!(
                "path concatenation escapes the base directory, base: {}, subpath: {}",
                top.display(),
                subpath.display()
            );
            Err(Failure::new(ErrorKind::Internal, words))
        }
        // Not as missing: clients would take that for the image, and pull it.
        Err(errno) => {
            let why = std::io::Error::from(errno).to_string().to_lowercase();
            let why = why.split(" (os error").next().unwrap_or_default();
            let words = format!("cannot access path {0}: lstat {0}: {why}", source.display());
            Err(Failure::new(ErrorKind::Internal, words))
        }
    }
}

/// Whether a path was made for a mount only: it is not below, and empty but for other such paths.
pub(crate) fn is_stub(
    upper: &InRoot,
    lower: &InRoot,
    path: &Path,
    stubs: &BTreeSet<Vec<u8>>,
) -> bool {
    let (Ok(found), Err(Errno::NOENT | Errno::NOTDIR)) =
        (upper.resolve_nofollow(path), lower.resolve_nofollow(path))
    else {
        return false;
    };
    let Ok(stat) = rustix::fs::fstat(&found) else { return false };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => stat.st_size == 0,
        FileType::Directory => {
            let opened = upper.open_with(path, rustix::fs::OFlags::DIRECTORY, 0);
            let Ok(entries) = opened.and_then(rustix::fs::Dir::read_from) else { return false };
            entries.flatten().all(|entry| {
                let name = entry.file_name().to_bytes();
                let inside = [path.as_os_str().as_bytes(), b"/", name].concat();
                matches!(name, b"." | b"..") || stubs.contains(&inside)
            })
        }
        _ => false,
    }
}
