//! All containers by id and name, and the handle through which everyone else speaks to the one task that owns each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::Container;
use tokio::sync::{mpsc, watch};

use crate::actor::Command;

/// A container as its task last published it.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) container: Arc<Container>,
    /// How often it ended since the engine started: lets `wait` see an exit that a restart already hid.
    pub(crate) exits: u64,
    /// The code of the latest of these.
    pub(crate) last_exit: i32,
    /// Whether the last attempt to start it failed, and how.
    pub(crate) failed_start: Option<Arc<str>>,
}

/// How to reach a container's task.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) id: Arc<str>,
    pub(crate) snapshot: watch::Receiver<Snapshot>,
    pub(crate) commands: mpsc::Sender<Command>,
    /// Held by whoever writes into the files of a container that does not run, and while it starts.
    pub(crate) files: Arc<tokio::sync::Mutex<()>>,
}

impl Handle {
    pub(crate) fn container(&self) -> Arc<Container> {
        Arc::clone(&self.snapshot.borrow().container)
    }

    /// Whether it belongs to a Kubernetes pod.
    pub(crate) fn is_of_pod(&self) -> bool {
        self.snapshot.borrow().container.spec.pod.is_some()
    }

    /// Sends a command; the task is gone only when the container is.
    pub(crate) async fn send(&self, command: Command) -> Result<(), Failure> {
        self.commands.send(command).await.map_err(|_| no_such(&self.id))
    }
}

/// The containers.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    inner: RwLock<Inner>,
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: BTreeMap<String, Handle>,
    /// Names with the ids that have or are about to have them.
    by_name: HashMap<String, String>,
}

impl Registry {
    /// Takes a name for an id, before the container is there.
    pub(crate) fn reserve_name(&self, name: &str, id: &str) -> Result<(), Failure> {
        let mut inner = self.write();
        if let Some(owner) = inner.by_name.get(name) {
            return Err(Failure::new(
                ErrorKind::Conflict,
                format!(
                    "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove (or rename) that container to be able to reuse that name."
                ),
            ));
        }
        inner.by_name.insert(name.to_owned(), id.to_owned());
        Ok(())
    }

    /// Gives a name back, if `id` has it.
    pub(crate) fn release_name(&self, name: &str, id: &str) {
        let mut inner = self.write();
        if inner.by_name.get(name).is_some_and(|owner| owner == id) {
            inner.by_name.remove(name);
        }
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.read().by_name.contains_key(name)
    }

    pub(crate) fn insert(&self, handle: Handle) {
        self.write().by_id.insert(handle.id.to_string(), handle);
        self.changed();
    }

    pub(crate) fn remove(&self, id: &str) {
        let mut inner = self.write();
        inner.by_id.remove(id);
        inner.by_name.retain(|_, owner| owner != id);
        drop(inner);
        self.changed();
    }

    /// Which containers there are, or what one of them shows, is another now.
    pub(crate) fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// A number that is another one after each change: what was read after asking for it is as new as it says, or newer.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Finds by full id, name (with or without slash), or unique beginning of an id: Docker's order.
    pub(crate) fn find(&self, name: &str) -> Result<Handle, Failure> {
        let inner = self.read();
        if let Some(handle) = inner.by_id.get(name) {
            return Ok(handle.clone());
        }
        let bare = name.strip_prefix('/').unwrap_or(name);
        if let Some(handle) = inner.by_name.get(bare).and_then(|id| inner.by_id.get(id)) {
            return Ok(handle.clone());
        }
        if bare.is_empty() {
            return Err(no_such(name));
        }
        // The beginning of an id is too little to mean a pod's container: its owner is somebody else.
        inner.by_beginning(bare, false, name)
    }

    /// Finds a sandbox or container of a pod by its id or the unique beginning of it.
    pub(crate) fn find_pod(&self, id: &str) -> Result<Handle, Failure> {
        let inner = self.read();
        match inner.by_id.get(id) {
            Some(handle) if handle.is_of_pod() => Ok(handle.clone()),
            Some(_) => Err(no_such(id)),
            None if id.is_empty() => Err(no_such(id)),
            None => inner.by_beginning(id, true, id),
        }
    }

    /// Finds by the whole name.
    pub(crate) fn by_name(&self, name: &str) -> Option<Handle> {
        let inner = self.read();
        inner.by_name.get(name).and_then(|id| inner.by_id.get(id)).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Handle> {
        self.read().by_id.values().cloned().collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The only one whose id begins so, among those of pods or among the others.
    fn by_beginning(&self, bare: &str, of_pods: bool, name: &str) -> Result<Handle, Failure> {
        let mut found = self
            .by_id
            .range(bare.to_owned()..)
            .take_while(|(id, _)| id.starts_with(bare))
            .filter(|(_, handle)| handle.is_of_pod() == of_pods);
        match (found.next(), found.next()) {
            (Some((_, handle)), None) => Ok(handle.clone()),
            (Some(_), Some(_)) => Err(Failure::new(
                ErrorKind::InvalidArgument,
                format!("multiple IDs found with provided prefix: {name}"),
            )),
            (None, _) => Err(no_such(name)),
        }
    }
}

pub(crate) fn no_such(name: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("No such container: {name}"))
}
