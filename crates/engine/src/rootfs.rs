//! A container's files as the engine sees them, without mounting anything anywhere: a detached overlay that only a
//! descriptor refers to, and paths that are resolved inside it.

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, MountPoint};
use ferry_sys::{
    Errno,
    overlay::{self, Overlay},
    root::InRoot,
};

use crate::Shared;

/// The merged view of a container that does not run.
pub(crate) fn open(shared: &Shared, container: &Container) -> Result<InRoot, Failure> {
    let dir = shared.dirs.data(&container.id);
    let overlay = Overlay {
        lower: shared.lower_dirs(&container.layers)?,
        upper: Some(dir.join("upper")),
        work: Some(dir.join("work")),
    };
    let mount = overlay::detached(&overlay).map_err(|error| {
        Failure::new(
            ErrorKind::Internal,
            format!("cannot mount the layers of container {}: {error}", container.id),
        )
    })?;
    Ok(InRoot::from_fd(mount))
}

/// Copies what the image has at a volume's place into the volume, if that is empty.
pub(crate) fn populate_volume(
    shared: &Shared,
    container: &Container,
    mount: &MountPoint,
) -> Result<(), Failure> {
    let root = open(shared, container)?;
    let target = Path::new(&mount.destination);
    let directory = match root.open_with(target, rustix::fs::OFlags::DIRECTORY, 0) {
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

/// The directory or file below a volume that `volume-subpath` names.
pub(crate) fn volume_subpath(mountpoint: &str, subpath: &str) -> Result<String, Failure> {
    let words = |why: &str| format!("cannot access volume subpath \"{subpath}\": {why}");
    let relative = Path::new(subpath);
    let plain = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if relative.is_absolute() || !plain {
        let why = "it must be a relative path inside the volume";
        return Err(Failure::new(ErrorKind::InvalidArgument, words(why)));
    }
    let root = InRoot::open(Path::new(mountpoint))
        .map_err(|errno| Failure::new(ErrorKind::Internal, words(&errno.to_string())))?;
    let found = root
        .resolve_nofollow(relative)
        .and_then(|fd| ferry_sys::root::file_type(fd.as_fd()))
        .map_err(|errno| Failure::new(ErrorKind::NotFound, words(&errno.to_string())))?;
    if found.is_symlink() {
        let why = "it is a symbolic link, which could lead out of the volume";
        return Err(Failure::new(ErrorKind::InvalidArgument, words(why)));
    }
    let path: PathBuf = Path::new(mountpoint).join(relative);
    Ok(path.to_string_lossy().into_owned())
}
