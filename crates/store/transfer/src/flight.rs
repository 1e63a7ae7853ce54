//! Layers on their way: two pulls of one layer fetch it once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use ferry_oci::Digest;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The right to fetch a blob and to write its partial file.
pub(crate) type Flight = OwnedMutexGuard<()>;

/// One lock per blob that somebody fetches or waits for.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Digest, Weak<AsyncMutex<()>>>>);

impl Flights {
    /// The lock of a blob. Whoever gets it asks first whether the layer is there by now.
    pub(crate) fn of(&self, digest: &Digest) -> Arc<AsyncMutex<()>> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = flights.get(digest).and_then(Weak::upgrade) {
            return lock;
        }
        flights.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(AsyncMutex::new(()));
        flights.insert(digest.clone(), Arc::downgrade(&lock));
        lock
    }
}
