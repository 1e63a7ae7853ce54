//! Where a checkpoint is put together: `<data root>/checkpoints/<id>`, with `tree` (what is in the archive), `work` (CRIU's own files) and
//! `archive` (the path of the archive while it has no name of its own).

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ferry_errkind::{ErrorKind, Failure};

use crate::{Shared, records::failed};

/// How the name of an archive ends that is being written.
const UNFINISHED: &str = ".ferry-unfinished";

const ARCHIVE: &str = "archive";

/// One of them; gone with everything in it when it is dropped.
pub(super) struct Place {
    root: PathBuf,
    tree: PathBuf,
    work: PathBuf,
}

fn all(shared: &Shared) -> PathBuf {
    shared.config.data_root.join("checkpoints")
}

/// Only the user who runs the daemon may read it: it has the memory of programs.
fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)
}

impl Place {
    /// Makes it. There is one at a time for each container.
    pub(super) fn make(shared: &Shared, id: &str) -> Result<Place, Failure> {
        let above = all(shared);
        match make(&above) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make directory", &above, error));
            }
            _ => {}
        }
        let root = above.join(id);
        make(&root).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::new(ErrorKind::Conflict, "another one of it is being written")
            }
            _ => failed("make directory", &root, error),
        })?;
        let place = Place { tree: root.join("tree"), work: root.join("work"), root };
        for path in [&place.tree, &place.work] {
            make(path).map_err(|error| failed("make directory", path, error))?;
        }
        Ok(place)
    }

    /// What is in the archive.
    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }

    /// CRIU's own files.
    pub(super) fn work(&self) -> &Path {
        &self.work
    }

    /// A directory of the archive.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.tree.join(name);
        make(&path).map_err(|error| failed("make directory", &path, error))?;
        Ok(path)
    }

    /// A file of the archive, open and empty.
    pub(super) fn create(&self, name: &str) -> Result<fs::File, Failure> {
        create(&self.tree.join(name))
    }

    /// A file of the archive.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.create(name)?.write_all(bytes);
        written.map_err(|error| failed("write", &self.tree.join(name), error))
    }

    /// Makes a file that CRIU wrote for itself a part of the archive.
    pub(super) fn take_from_work(&self, name: &str) -> Result<(), Failure> {
        let from = self.work.join(name);
        fs::rename(&from, self.tree.join(name)).map_err(|error| failed("take", &from, error))
    }

    /// The name of an archive until it is whole, beside where it goes; from here on the next engine knows it.
    pub(super) fn unfinished(&self, location: &Path) -> Result<PathBuf, Failure> {
        let mut name = std::ffi::OsString::from(".");
        name.push(location.file_name().unwrap_or_default());
        name.push(UNFINISHED);
        let path = location.with_file_name(name);
        let note = self.root.join(ARCHIVE);
        fs::write(&note, path.as_os_str().as_encoded_bytes())
            .map_err(|error| failed("write", &note, error))?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

/// A file that only its owner may read.
pub(super) fn create(path: &Path) -> Result<fs::File, Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.custom_flags(libc_nofollow()).open(path).map_err(|error| failed("make", path, error))
}

fn libc_nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

/// Removes it with the archive that has not got its name.
fn remove(root: &Path) {
    if let Ok(path) = fs::read(root.join(ARCHIVE)) {
        let path =
            PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&path));
        if path.as_os_str().as_encoded_bytes().ends_with(UNFINISHED.as_bytes()) {
            fs::remove_file(path).ok();
        }
    }
    if let Err(error) = fs::remove_dir_all(root)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %root.display(), %error, "what a checkpoint was made of stays");
    }
}

/// Removes what the engine before has left.
pub(crate) fn sweep(shared: &Shared) {
    for entry in fs::read_dir(all(shared)).into_iter().flatten().flatten() {
        remove(&entry.path());
    }
}
