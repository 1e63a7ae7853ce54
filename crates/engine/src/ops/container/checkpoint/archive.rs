//! What is in the archive besides memory, and how it is written. Members have the names that CRI-O, containerd and Podman give them.

use std::{
    fs,
    io::{self, BufWriter, Write},
    os::fd::AsFd,
    path::Path,
};

use ferry_archive::{ChangeKind, Source, TarWriter, TreeOptions, write_tree};
use ferry_errkind::{ErrorKind, Failure, chain};
use ferry_model::container::Container;

use crate::{Shared, records::failed, rootfs};

use super::{
    limit::{Limit, Limited},
    place::{self, Place},
};

/// What the container has written to its root, as a layer (containerd), whose whiteouts no other reader knows: …
const CHANGES: &str = "rootfs-diff.tar";

/// … and the paths that it has removed (CRI-O, Podman).
const DELETED: &str = "deleted.files";

/// The log of a pod's container.
const LOG: &str = "container.log";

fn internal(words: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Internal, words)
}

/// Adds what the container has changed in its image.
pub(super) fn add_changes(
    shared: &Shared,
    container: &Container,
    place: &Place,
    limit: &Limit,
) -> Result<(), Failure> {
    let (lower, upper) = (rootfs::lower(shared, container)?, rootfs::upper(shared, container)?);
    let stubs = rootfs::stubs(&upper, &lower)?;
    let skip = |path: &[u8]| stubs.contains(path);
    let options = TreeOptions { live: true, skip: &skip, ..TreeOptions::layer(Source::Upper) };
    write_tar(place.create(CHANGES)?, upper.as_dir().as_fd(), &options, limit)?;
    let changes = ferry_archive::changes(upper.as_dir(), lower.as_dir(), &skip)?;
    let deleted: Vec<String> = changes
        .iter()
        .filter(|change| change.kind == ChangeKind::Deleted)
        .map(|change| format!("/{}", String::from_utf8_lossy(&change.path)))
        .collect();
    if deleted.is_empty() {
        return Ok(());
    }
    let list = serde_json::to_vec(&deleted).map_err(|error| internal(error.to_string()))?;
    place.write(DELETED, &list)
}

fn write_tar(
    file: fs::File,
    root: std::os::fd::BorrowedFd<'_>,
    options: &TreeOptions<'_>,
    limit: &Limit,
) -> Result<(), Failure> {
    let out = BufWriter::with_capacity(256 << 10, Limited { limit, out: file });
    let mut tar = TarWriter::new(out);
    let written = write_tree(root, options, &mut tar).map_err(|error| chain(&error));
    let ended = written.and_then(|()| {
        let out = tar.finish().map_err(|error| error.to_string())?;
        let Limited { out, .. } = out.into_inner().map_err(|error| error.to_string())?;
        out.sync_all().map_err(|error| error.to_string())
    });
    // Words about time are better than those about a write that it ended.
    limit.check()?;
    ended.map_err(internal)
}

/// Adds the log of a container that has one, as long as it is now.
pub(super) fn add_log(container: &Container, place: &Place) -> Result<(), Failure> {
    let part = container.spec.pod.as_ref();
    let path = part.map(|part| part.log_path.as_str()).unwrap_or_default();
    if path.is_empty() {
        return Ok(());
    }
    let path = Path::new(path);
    let mut log = match fs::File::open(path) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("open", path, error)),
    };
    let mut to = place.create(LOG)?;
    let copied = log.metadata().and_then(|it| {
        io::copy(&mut io::Read::take(&mut log, it.len()), &mut to).and_then(|_| to.flush())
    });
    copied.map_err(|error| failed("copy", path, error))
}

/// Writes the archive beside its destination, and gives it its name when it is whole.
pub(super) fn write(place: &Place, location: &Path, limit: &Limit) -> Result<(), Failure> {
    let unfinished = place.unfinished(location)?;
    // What a daemon with other data has left there; no link is followed.
    fs::remove_file(&unfinished).ok();
    let file = place::create(&unfinished)?;
    let tree = fs::File::open(place.tree()).map_err(|error| failed("open", place.tree(), error))?;
    write_tar(file, tree.as_fd(), &TreeOptions::layer(Source::Plain), limit)?;
    ferry_sys::failpoint::hit("checkpoint.written");
    fs::rename(&unfinished, location).map_err(|error| failed("write", location, error))
}
