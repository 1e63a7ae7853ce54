//! Small files: a value in, a value out.

use std::path::{Component, Path};

use ferry_sys::Errno;
use rustix::fs::{Mode, OFlags, open};

use crate::{CgroupError, CreateError};

/// cgroup files are short; memory.stat is the longest, lists of pids can be long.
const MAX_FILE: usize = 4 << 20;

/// A path without `.`, `..` and slashes at its ends.
pub(crate) fn check_path(path: &str) -> Result<String, CreateError> {
    let invalid = || CreateError::Path(path.to_owned());
    let trimmed = path.trim_matches('/');
    let normal = Path::new(trimmed).components().all(|c| matches!(c, Component::Normal(_)));
    if trimmed.is_empty() || !normal || trimmed.len() > 3000 || trimmed.contains('\0') {
        return Err(invalid());
    }
    Ok(trimmed.to_owned())
}

/// One write to a file that is there. `create` is never asked for: cgroupfs refuses it, and a missing file is an answer.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), Errno> {
    let file = open(path, OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC, Mode::empty())?;
    loop {
        match rustix::io::write(&file, value.as_bytes()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn write_to(path: &Path, value: &str) -> Result<(), CgroupError> {
    write(path, value).map_err(|source| CgroupError::Write {
        path: path.to_owned(),
        value: value.to_owned(),
        source,
    })
}

pub(crate) fn read(path: &Path) -> Result<String, Errno> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        match rustix::io::read(&file, &mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > MAX_FILE {
            return Err(Errno::FBIG);
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(crate) fn read_from(path: &Path) -> Result<String, CgroupError> {
    read(path).map_err(|source| CgroupError::Read { path: path.to_owned(), source })
}

/// A file that holds one number; `max` is the largest.
pub(crate) fn number(path: &Path) -> Option<u64> {
    let text = read(path).ok()?;
    match text.trim() {
        "max" => Some(u64::MAX),
        digits => digits.parse().ok(),
    }
}

/// Lines of `key value`.
pub(crate) fn pairs(path: &Path) -> Vec<(String, u64)> {
    let Ok(text) = read(path) else { return Vec::new() };
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

/// The value of one key in such a file.
pub(crate) fn pair(path: &Path, key: &str) -> Option<u64> {
    pairs(path).into_iter().find(|(name, _)| name == key).map(|(_, value)| value)
}
