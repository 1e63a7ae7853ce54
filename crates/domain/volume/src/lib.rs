//! Volumes of the `local` driver: directories below `<data root>/volumes` and a record for each.
//!
//! Knows: names, directories, records, how an image's content gets into an empty volume. Does not know: which container uses
//! a volume (the engine asks its containers before it removes one), mounts, the API.
//! Start with [`VolumeStore`], [`VolumeError`], [`populate`]; `whole.rs` for copies, snapshots and other names.
//!
//! Invariant: a record is written after its directory is there and deleted before it goes, so that a crash leaves at worst an empty
//! directory without record, which nobody lists and a later `create` of that name takes over. What is removed has another name by then.

mod copy;
mod error;
mod hold;
mod quota;
#[cfg(test)]
mod tests;
mod whole;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU32},
};

use ferry_db::{Batch, Db, Table};
use ferry_model::volume::Volume;
use ferry_stdx::time::Timestamp;
use ferry_sys::failpoint;

pub use copy::{CopyError, PopulateError, populate};
pub use error::VolumeError;
pub use hold::Hold;
pub use quota::is_quota;
pub use whole::{Draft, Snapshot};

/// What stands before the name of a directory that was a volume. Before its record is gone, it can be one again.
const GONE: &str = ".gone-";
const VOLUMES: Table<Volume> = Table::new("volume");

/// All volumes of one data root.
#[derive(Debug)]
pub struct VolumeStore {
    root: PathBuf,
    db: Arc<Db>,
    state: Mutex<State>,
    holds: hold::Holds,
    /// A name is free again.
    freed: Condvar,
    /// The number of the next volume that has a quota.
    next_project: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<String, Volume>,
    /// Names of which somebody makes or removes the volume just now: the disk takes its time, and others need not wait for it.
    busy: BTreeSet<String>,
}

/// A name that nobody else changes for as long as this is there.
struct Claim<'s> {
    store: &'s VolumeStore,
    name: &'s str,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.store.lock().busy.remove(self.name);
        self.store.freed.notify_all();
    }
}

/// What a new volume is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewVolume {
    /// Its name, made up by the caller when the user gave none.
    pub name: String,
    /// The user gave no name.
    pub anonymous: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options: `type`, `device`, `o`.
    pub options: BTreeMap<String, String>,
}

impl VolumeStore {
    /// Opens the volumes below `root`.
    ///
    /// # Errors
    /// When the directory or the records cannot be read.
    pub fn open(root: &Path, db: Arc<Db>) -> Result<VolumeStore, VolumeError> {
        fs::create_dir_all(root)
            .map_err(|source| VolumeError::MakeDirectory { path: root.to_owned(), source })?;
        let volumes: BTreeMap<_, _> = db
            .all(&VOLUMES)
            .map_err(|source| VolumeError::Record { source })?
            .into_iter()
            .collect();
        let next_project = AtomicU32::new(quota::after(volumes.values()));
        let store = VolumeStore {
            root: root.to_owned(),
            db,
            state: Mutex::new(State { volumes, busy: BTreeSet::new() }),
            holds: hold::Holds::default(),
            freed: Condvar::new(),
            next_project,
        };
        store.mend().map_err(|source| VolumeError::Mend { path: root.to_owned(), source })?;
        Ok(store)
    }

    /// Makes a volume, or returns the one that has the name. The flag tells whether it is new.
    ///
    /// # Errors
    /// A name or an option that is not allowed, or a failing disk.
    pub fn create(&self, new: NewVolume, now: Timestamp) -> Result<(Volume, bool), VolumeError> {
        check_name(&new.name)?;
        check_options(&new.name, &new.options)?;
        self.check_quota(&new.name, &new.options)?;
        let name = new.name.clone();
        let _claim = self.claim(&name);
        if let Ok(volume) = self.get(&name) {
            return Ok((volume, false));
        }
        // Not while one of that name is copied or imported.
        let _shared = self.share(&new.name)?;
        let project = self.project_for(&new.options);
        let volume = self.record_of(new, project, now);
        fs::create_dir_all(&volume.mountpoint).map_err(|source| VolumeError::MakeDirectory {
            path: PathBuf::from(&volume.mountpoint),
            source,
        })?;
        self.enclose(volume.mountpoint.as_ref(), project)?;
        self.limit(project, &volume.options)?;
        let mut batch = Batch::new();
        batch
            .put(&VOLUMES, &volume.name, &volume)
            .and_then(|()| self.db.write(batch))
            .map_err(|source| VolumeError::Record { source })?;
        self.lock().volumes.insert(volume.name.clone(), volume.clone());
        Ok((volume, true))
    }

    fn record_of(&self, new: NewVolume, project: u32, now: Timestamp) -> Volume {
        let data = self.root.join(&new.name).join("_data");
        Volume {
            name: new.name,
            created: now,
            driver: "local".to_owned(),
            mountpoint: data.to_string_lossy().into_owned(),
            labels: new.labels,
            options: new.options,
            anonymous: new.anonymous,
            former_name: String::new(),
            project,
        }
    }

    /// The volume called `name`.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn get(&self, name: &str) -> Result<Volume, VolumeError> {
        self.lock().volumes.get(name).cloned().ok_or_else(|| VolumeError::NotFound(name.to_owned()))
    }

    /// All volumes by name.
    pub fn list(&self) -> Vec<Volume> {
        self.lock().volumes.values().cloned().collect()
    }

    /// Removes a volume and its content. The caller made sure that no container has it.
    ///
    /// # Errors
    /// When it is not there, or its content cannot be removed (the record is gone then; the rest is swept later).
    pub fn remove(&self, name: &str) -> Result<(), VolumeError> {
        let _claim = self.claim(name);
        let project = self.get(name)?.project;
        let _alone = self.alone(name)?;
        // Set aside first: half of it is never a volume again, not even one of that name that somebody makes later.
        let aside = self.set_aside(name)?;
        failpoint::hit("volume.aside");
        let mut batch = Batch::new();
        batch.delete(&VOLUMES, name);
        if let Err(source) = self.db.write(batch) {
            self.put_back(name)?;
            return Err(VolumeError::Record { source });
        }
        self.lock().volumes.remove(name);
        failpoint::hit("volume.forgotten");
        whole::remove_leftover(&aside)?;
        // Where quotas are off now, there is no limit to take away.
        self.unlimit(project).ok();
        Ok(())
    }

    /// Takes a volume's directory out of the way, and says where it is. The caller has the name alone.
    pub(crate) fn set_aside(&self, name: &str) -> Result<PathBuf, VolumeError> {
        let (place, aside) = (self.root.join(name), self.root.join(format!("{GONE}{name}")));
        whole::remove_leftover(&aside)?;
        match fs::rename(&place, &aside) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(VolumeError::Rename { path: place, source })
            }
            _ => Ok(aside),
        }
    }

    /// Undoes [`VolumeStore::set_aside`].
    pub(crate) fn put_back(&self, name: &str) -> Result<(), VolumeError> {
        let (place, aside) = (self.root.join(name), self.root.join(format!("{GONE}{name}")));
        match aside.exists() && !place.exists() {
            true => whole::rename(&aside, &place),
            false => Ok(()),
        }
    }

    /// Waits until nobody else makes or removes the volume of this name.
    fn claim<'s>(&'s self, name: &'s str) -> Claim<'s> {
        let mut state = self.lock();
        while !state.busy.insert(name.to_owned()) {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Claim { store: self, name }
    }

    /// A panic while the lock was held leaves the map as it was before or after one insertion: both are right.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Docker's rules for options of the `local` driver.
fn check_options(name: &str, options: &BTreeMap<String, String>) -> Result<(), VolumeError> {
    let wrong = |why: String| VolumeError::Option { name: name.to_owned(), why };
    for option in options.keys() {
        match option.as_str() {
            "type" | "device" | "o" => {}
            option if is_quota(option) => {}
            other => return Err(wrong(format!("invalid option: \"{other}\""))),
        }
    }
    let device = options.get("device").map(String::as_str).unwrap_or_default();
    let is_cifs = options.get("type").is_some_and(|kind| kind == "cifs");
    if is_cifs && server(device).is_some_and(|server| server.contains(':')) {
        let why = "port not allowed in CIFS device URL, include 'port' in 'o='";
        return Err(wrong(why.to_owned()));
    }
    for (given, needed) in [("device", "type"), ("type", "device"), ("o", "device"), ("o", "type")]
    {
        if options.contains_key(given) && !options.contains_key(needed) {
            return Err(wrong(format!("missing required option: \"{needed}\"")));
        }
    }
    Ok(())
}

/// The server of a share: `//server/share`, or as a URL.
pub fn server(device: &str) -> Option<&str> {
    let (_, rest) = device.split_once("//")?;
    let authority = rest.split('/').next()?;
    let server = authority.rsplit('@').next()?;
    Some(server).filter(|server| !server.is_empty())
}

/// Docker's rule for volume names, `^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`.
fn check_name(name: &str) -> Result<(), VolumeError> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match name.as_bytes() {
        [_] => Err(VolumeError::ShortName(name.to_owned())),
        [first, rest @ ..]
            if first.is_ascii_alphanumeric() && rest.len() < 255 && rest.iter().all(allowed) =>
        {
            Ok(())
        }
        _ => Err(VolumeError::Name(name.to_owned())),
    }
}
