//! How many bytes a directory holds.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt, path::Path};

/// Sum of the sizes of all files below `path`, each once however many links it has. What cannot be read counts as nothing:
/// a container may remove it at this moment.
pub(crate) fn tree_size(path: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut total = 0;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.nlink() < 2 || seen.insert((metadata.dev(), metadata.ino())) {
                total += metadata.len();
            }
        }
    }
    total
}

/// Room on the disk of everything below `path` (blocks, directories too, each file once however many links it has): what
/// `du` says without the directory itself, so that an empty one takes nothing.
pub(crate) fn disk_use(path: &Path) -> u64 {
    let mut seen = HashSet::new();
    let mut total = 0_u64;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            total = total.saturating_add(metadata.blocks().saturating_mul(512));
        }
    }
    total
}

/// Bytes and files below `path`, for those who count both.
pub(crate) fn room(path: &Path) -> (u64, u64) {
    let mut files = 0;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            files += 1;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    (disk_use(path), files)
}
