//! Volumes as a whole: copied, renamed, kept as they are at a moment and brought back.
//!
//! What is not complete has a name that no volume has (it begins with a dot). The record decides what there is: a new volume's
//! directory gets its name after the record was written, and [`VolumeStore::open`] finishes or takes away what a crash left.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ferry_db::Batch;
use ferry_model::volume::Volume;
use ferry_stdx::time::Timestamp;
use ferry_sys::failpoint;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};

use crate::{GONE, Hold, NewVolume, VOLUMES, VolumeError, VolumeStore, check_name, copy};

/// What stands before the name of a directory that is to be a volume.
const NEW: &str = ".new-";
/// What stands before the name of a snapshot that is being made.
const PARTIAL: &str = ".partial-";
/// Where a snapshot is copied to before it takes the content's place.
const RESTORE: &str = ".restore";
const SNAPSHOTS: &str = "snapshots";

/// A volume that is being filled. Unless [`VolumeStore::keep`] gets it, nothing of it stays.
#[derive(Debug)]
pub struct Draft {
    volume: NewVolume,
    project: u32,
    directory: PathBuf,
    kept: bool,
    _alone: Hold,
}

impl Draft {
    /// The directory to fill.
    pub fn data(&self) -> PathBuf {
        self.directory.join("_data")
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            fs::remove_dir_all(&self.directory).ok();
        }
    }
}

/// A volume's content as it was at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The volume.
    pub volume: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its content on the host.
    pub path: PathBuf,
}

impl VolumeStore {
    /// Begins a volume that nobody sees before it is kept.
    ///
    /// # Errors
    /// There is a volume of that name, or somebody else makes one.
    pub fn draft(&self, volume: NewVolume) -> Result<Draft, VolumeError> {
        check_name(&volume.name)?;
        let alone = self.alone(&volume.name)?;
        if self.get(&volume.name).is_ok() {
            return Err(VolumeError::Exists(volume.name));
        }
        let directory = self.root.join(format!("{NEW}{}", volume.name));
        let data = directory.join("_data");
        remove_leftover(&directory)?;
        make(&data)?;
        let project = self.project_for(&volume.options);
        let draft = Draft { volume, project, directory, kept: false, _alone: alone };
        self.enclose(&data, project)?;
        // A number of a volume that is no more may still have its limits.
        self.unlimit(project)?;
        Ok(draft)
    }

    /// Makes a draft a volume. From the record on it is one, whatever happens.
    ///
    /// # Errors
    /// A failing disk.
    pub fn keep(&self, mut draft: Draft, now: Timestamp) -> Result<Volume, VolumeError> {
        sync(&draft.data())?;
        // Only now: what is copied may be as large as it was allowed to be.
        self.limit(draft.project, &draft.volume.options)?;
        let volume = self.record_of(draft.volume.clone(), draft.project, now);
        let place = self.root.join(&volume.name);
        // A directory without record: what a removal that was cut off has left.
        remove_leftover(&place)?;
        self.write(None, &volume)?;
        draft.kept = true;
        failpoint::hit("volume.recorded");
        rename(&draft.directory, &place)?;
        Ok(volume)
    }

    /// Copies a volume's content into a draft.
    ///
    /// # Errors
    /// There is no such volume, it is mounted from elsewhere, or its content cannot be copied.
    pub fn copy_into(&self, source: &str, draft: &Draft) -> Result<(), VolumeError> {
        let source = self.own_content(source)?;
        copy_directory(&source, &draft.data())
    }

    /// Gives a volume another name. The caller made sure that no container has it.
    ///
    /// # Errors
    /// The new name is taken or not allowed, or somebody is at work on the volume.
    pub fn rename(&self, old: &str, new: &str) -> Result<Volume, VolumeError> {
        check_name(new)?;
        let (_old, _new) = (self.alone(old)?, self.alone(new)?);
        let mut volume = self.get(old)?;
        if self.get(new).is_ok() {
            return Err(VolumeError::Exists(new.to_owned()));
        }
        let place = self.root.join(new);
        remove_leftover(&place)?;
        new.clone_into(&mut volume.name);
        volume.anonymous = false;
        volume.mountpoint = place.join("_data").to_string_lossy().into_owned();
        old.clone_into(&mut volume.former_name);
        self.write(Some(old), &volume)?;
        failpoint::hit("volume.renamed");
        rename(&self.root.join(old), &place)?;
        Ok(volume)
    }

    /// Keeps a volume's content as it is now.
    ///
    /// # Errors
    /// There is a snapshot of that name, or the content cannot be copied.
    pub fn snapshot(&self, volume: &str, name: &str) -> Result<Snapshot, VolumeError> {
        check_snapshot(name)?;
        let source = self.own_content(volume)?;
        let directory = self.root.join(volume);
        let partial = directory.join(format!("{PARTIAL}{name}"));
        let place = directory.join(SNAPSHOTS).join(name);
        let taken = || VolumeError::SnapshotExists(volume.to_owned(), name.to_owned());
        if place.exists() {
            return Err(taken());
        }
        make(&directory.join(SNAPSHOTS))?;
        if let Err(source) = fs::create_dir(&partial) {
            return Err(match source.kind() {
                io::ErrorKind::AlreadyExists => taken(),
                _ => VolumeError::MakeDirectory { path: partial, source },
            });
        }
        let data = partial.join("_data");
        let made = make(&data)
            .and_then(|()| copy_directory(&source, &data))
            .and_then(|()| sync(&data))
            .inspect(|()| failpoint::hit("volume.kept"))
            .and_then(|()| rename(&partial, &place));
        if let Err(error) = made {
            fs::remove_dir_all(&partial).ok();
            return Err(error);
        }
        read_snapshot(volume, &place).ok_or_else(|| no_snapshot(volume, name))
    }

    /// The snapshots of a volume, the oldest first.
    ///
    /// # Errors
    /// There is no such volume.
    pub fn snapshots(&self, volume: &str) -> Result<Vec<Snapshot>, VolumeError> {
        self.get(volume)?;
        let directory = self.root.join(volume).join(SNAPSHOTS);
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut found: Vec<Snapshot> =
            entries.filter_map(|entry| read_snapshot(volume, &entry.path())).collect();
        found.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)));
        Ok(found)
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// There is none of that name, or its files cannot be removed.
    pub fn remove_snapshot(&self, volume: &str, name: &str) -> Result<(), VolumeError> {
        // Not while somebody reads it.
        let _alone = self.alone(volume)?;
        let place = self.find_snapshot(volume, name)?;
        // First of all it is no snapshot any more: half of one must not look whole.
        let doomed = self.root.join(volume).join(format!("{PARTIAL}{name}"));
        rename(&place, &doomed)?;
        failpoint::hit("volume.snapshot.aside");
        remove_leftover(&doomed)
    }

    /// Puts a snapshot's content in the place of today's, which is lost. The caller made sure that no container runs on it.
    ///
    /// # Errors
    /// There is no such snapshot, somebody is at work on the volume, or the snapshot cannot be copied.
    pub fn restore(&self, volume: &str, name: &str) -> Result<Volume, VolumeError> {
        let _alone = self.alone(volume)?;
        let found = self.get(volume)?;
        let data = self.own_content(volume)?;
        let place = self.find_snapshot(volume, name)?;
        let fresh = self.root.join(volume).join(RESTORE);
        remove_leftover(&fresh)?;
        // Both are in the project for a moment.
        self.unlimit(found.project)?;
        let copied = make(&fresh)
            .and_then(|()| self.enclose(&fresh, found.project))
            .and_then(|()| copy_directory(&place.join("_data"), &fresh))
            .and_then(|()| sync(&fresh));
        let exchanged = copied.and_then(|()| {
            failpoint::hit("volume.restore.copied");
            rustix::fs::renameat_with(CWD, &fresh, CWD, &data, RenameFlags::EXCHANGE)
                .map_err(|errno| VolumeError::Rename { path: data.clone(), source: errno.into() })
        });
        failpoint::hit("volume.restore.exchanged");
        // Either what could not be put in place, or what was there.
        fs::remove_dir_all(&fresh).ok();
        self.limit(found.project, &found.options)?;
        exchanged.map(|()| found)
    }

    /// Keeps a volume from being exchanged, renamed or removed.
    ///
    /// # Errors
    /// That happens right now.
    pub fn share(&self, name: &str) -> Result<Hold, VolumeError> {
        Hold::shared(&self.holds, name)
    }

    /// Keeps everybody else away from a volume.
    ///
    /// # Errors
    /// Somebody is at work on it.
    pub fn alone(&self, name: &str) -> Result<Hold, VolumeError> {
        Hold::alone(&self.holds, name)
    }

    /// Where the content of a volume is that we keep ourselves.
    ///
    /// # Errors
    /// It is mounted from elsewhere, or not there.
    pub fn own_content(&self, name: &str) -> Result<PathBuf, VolumeError> {
        let volume = self.get(name)?;
        if volume.options.contains_key("type") {
            return Err(VolumeError::Elsewhere(name.to_owned()));
        }
        Ok(PathBuf::from(volume.mountpoint))
    }

    /// Where the content of a snapshot is.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn snapshot_content(&self, volume: &str, name: &str) -> Result<PathBuf, VolumeError> {
        self.find_snapshot(volume, name).map(|place| place.join("_data"))
    }

    fn find_snapshot(&self, volume: &str, name: &str) -> Result<PathBuf, VolumeError> {
        self.get(volume)?;
        check_snapshot(name)?;
        let place = self.root.join(volume).join(SNAPSHOTS).join(name);
        if place.is_dir() { Ok(place) } else { Err(no_snapshot(volume, name)) }
    }

    /// Writes a record, and deletes another in the same moment. The caller has the names alone.
    fn write(&self, old: Option<&str>, volume: &Volume) -> Result<(), VolumeError> {
        let mut batch = Batch::new();
        if let Some(old) = old {
            batch.delete(&VOLUMES, old);
        }
        batch
            .put(&VOLUMES, &volume.name, volume)
            .and_then(|()| self.db.write(batch))
            .map_err(|source| VolumeError::Record { source })?;
        let mut state = self.lock();
        old.map(|old| state.volumes.remove(old));
        state.volumes.insert(volume.name.clone(), volume.clone());
        Ok(())
    }

    /// Finishes what a crash has cut off after its record, and takes away what has none.
    pub(crate) fn mend(&self) -> io::Result<()> {
        let volumes = self.list();
        for volume in &volumes {
            let place = self.root.join(&volume.name);
            let draft = self.root.join(format!("{NEW}{}", volume.name));
            if !place.exists() && draft.exists() {
                fs::rename(&draft, &place)?;
            }
            self.put_back(&volume.name).map_err(io::Error::other)?;
            let former = &volume.former_name;
            if !former.is_empty() && !place.exists() && self.get(former).is_err() {
                match fs::rename(self.root.join(former), &place) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            sweep(&place, &[PARTIAL, RESTORE])?;
            // A crash while a snapshot was brought back has left it without.
            // Where quotas are off now, the volume is there without.
            self.limit(volume.project, &volume.options).ok();
        }
        sweep(&self.root, &[NEW, GONE])
    }
}

/// Removes what is in `directory` under a name that begins with one of those.
fn sweep(directory: &Path, prefixes: &[&str]) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn read_snapshot(volume: &str, place: &Path) -> Option<Snapshot> {
    let name = place.file_name()?.to_str()?.to_owned();
    let made = fs::metadata(place).and_then(|data| data.modified()).ok()?;
    let created = Timestamp::from_system(made);
    Some(Snapshot { name, volume: volume.to_owned(), created, path: place.join("_data") })
}

fn no_snapshot(volume: &str, name: &str) -> VolumeError {
    VolumeError::NoSnapshot(volume.to_owned(), name.to_owned())
}

fn check_snapshot(name: &str) -> Result<(), VolumeError> {
    check_name(name).map_err(|_| VolumeError::SnapshotName(name.to_owned()))
}

fn copy_directory(from: &Path, to: &Path) -> Result<(), VolumeError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &Path| {
        rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| VolumeError::Open { path: path.to_owned(), source: errno.into() })
    };
    let (source, target) = (open(from)?, open(to)?);
    copy::tree(&source, &target).map_err(|source| VolumeError::Copy { source })
}

fn make(path: &Path) -> Result<(), VolumeError> {
    fs::create_dir_all(path)
        .map_err(|source| VolumeError::MakeDirectory { path: path.to_owned(), source })
}

/// The whole file system: its content is to be there after a power cut, and nobody counts its files.
fn sync(path: &Path) -> Result<(), VolumeError> {
    let open = |errno: rustix::io::Errno| VolumeError::Open {
        path: path.to_owned(),
        source: errno.into(),
    };
    let directory =
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(open)?;
    rustix::fs::syncfs(&directory).map_err(open)
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), VolumeError> {
    fs::rename(from, to).map_err(|source| VolumeError::Rename { path: from.to_owned(), source })
}

pub(crate) fn remove_leftover(path: &Path) -> Result<(), VolumeError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(VolumeError::RemoveDirectory { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
