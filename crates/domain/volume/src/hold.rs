//! Who is at work on a volume's content: many who read it or mount it, or one who exchanges it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use crate::VolumeError;

/// What is held, by name: so many who share it, or `None` for one who has it alone.
pub(crate) type Holds = Arc<Mutex<BTreeMap<String, Option<usize>>>>;

/// Keeps a volume from being exchanged, renamed or removed, or, held alone, from being used at all. Ends when it is dropped.
#[derive(Debug)]
pub struct Hold {
    holds: Holds,
    name: String,
}

impl Hold {
    pub(crate) fn shared(holds: &Holds, name: &str) -> Result<Hold, VolumeError> {
        let mut map = holds.lock().unwrap_or_else(PoisonError::into_inner);
        match map.entry(name.to_owned()).or_insert(Some(0)) {
            Some(count) => *count += 1,
            None => return Err(VolumeError::Busy(name.to_owned())),
        }
        Ok(Hold { holds: Arc::clone(holds), name: name.to_owned() })
    }

    pub(crate) fn alone(holds: &Holds, name: &str) -> Result<Hold, VolumeError> {
        let mut map = holds.lock().unwrap_or_else(PoisonError::into_inner);
        if map.contains_key(name) {
            return Err(VolumeError::Busy(name.to_owned()));
        }
        map.insert(name.to_owned(), None);
        Ok(Hold { holds: Arc::clone(holds), name: name.to_owned() })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut map = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = map.entry(std::mem::take(&mut self.name)) {
            match entry.get_mut() {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(entry.remove()),
            }
        }
    }
}
