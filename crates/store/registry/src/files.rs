//! Where files are, and how one is put in its place so that a crash leaves all of it or nothing.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use ferry_oci::Digest;

use crate::StoreError;

/// The paths below a registry's root.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
}

impl Files {
    /// Makes the directories that are not there. All 256 directories of blobs are made at once, so that later only the one that a
    /// blob goes into has to be synced.
    pub(crate) fn create(root: &Path) -> Result<Files, StoreError> {
        let files = Files { root: root.to_owned() };
        // Not every user of the machine may read what not everybody may pull.
        let make = |path: PathBuf| {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(StoreError::file("make directory", &path))
        };
        make(files.uploads())?;
        let last = files.root.join("blobs/ff");
        if !last.is_dir() {
            for first in 0..=u8::MAX {
                make(files.root.join(format!("blobs/{first:02x}")))?;
            }
            sync_directory(&files.root.join("blobs"))?;
            sync_directory(&files.root)?;
        }
        Ok(files)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("registry.db")
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(crate) fn blob_directories(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (0..=u8::MAX).map(|first| self.root.join(format!("blobs/{first:02x}")))
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let first = hex.get(..2).unwrap_or("00");
        self.root.join("blobs").join(first).join(&hex)
    }

    /// Renames a synced file, whose digest was computed just now, to where the blob of this digest is. One that is there may be
    /// damaged, so the new one takes its place. The caller holds the digest's lock.
    pub(crate) fn place(&self, from: &Path, digest: &Digest) -> Result<(), StoreError> {
        let to = self.blob(digest);
        fs::rename(from, &to).map_err(StoreError::file("place blob", &to))?;
        match to.parent() {
            Some(parent) => sync_directory(parent),
            None => Ok(()),
        }
    }

    /// Takes a damaged blob out of the way; its bytes stay for whoever wants to know what happened. The caller holds the digest's
    /// lock.
    pub(crate) fn set_aside(&self, digest: &Digest) -> Result<(), StoreError> {
        let (from, directory) = (self.blob(digest), self.root.join("damaged"));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(StoreError::file("make directory", &directory))?;
        let to = directory.join(digest.hex());
        fs::rename(&from, &to).map_err(StoreError::file("set aside", &from))?;
        sync_directory(&directory)?;
        from.parent().map_or(Ok(()), sync_directory)
    }

    /// Writes a file into the directory of uploads and syncs it.
    pub(crate) fn write_temporary(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.uploads().join(name);
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(bytes)?;
            file.sync_data()
        };
        write().map_err(StoreError::file("write", &path))?;
        Ok(path)
    }
}

/// Removes a file that need not be there.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::file("sync directory", path))
}
