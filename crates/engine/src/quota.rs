//! `--storage-opt size=`: what a container writes is a project of its own, which may hold so much (ext4 and xfs, mounted with `prjquota`).
//!
//! Nothing is recorded: the project's number follows from the container's id.

use std::{collections::BTreeMap, fs::File};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::Container;
use ferry_sys::{
    Errno,
    quota::{self, Limits},
};

use crate::Shared;

/// Numbers below are an administrator's.
const FIRST: u32 = 0x4000_0000;

/// Docker's words, which know of xfs alone.
const NOT_HERE: &str =
    "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";

/// Refuses what cannot be honoured.
pub(crate) fn check(shared: &Shared, options: &BTreeMap<String, String>) -> Result<(), Failure> {
    if size(options)?.is_none() {
        return Ok(());
    }
    let place = File::open(shared.dirs.place());
    match place.map_err(|_| Errno::NOENT).and_then(quota::are_kept) {
        Ok(true) => Ok(()),
        _ => Err(Failure::new(ErrorKind::InvalidArgument, NOT_HERE)
            .with_hint("the data root's file system must be ext4 or xfs, mounted with prjquota")),
    }
}

/// Bytes; none where no size is asked for.
fn size(options: &BTreeMap<String, String>) -> Result<Option<u64>, Failure> {
    let invalid = |words: String| Failure::new(ErrorKind::InvalidArgument, words);
    if let Some(name) = options.keys().find(|name| !name.eq_ignore_ascii_case("size")) {
        return Err(invalid(format!("Unknown option {name}")));
    }
    let Some(text) = options.values().next() else { return Ok(None) };
    let bytes = ferry_stdx::size::parse_bytes(text).map_err(|error| invalid(error.to_string()))?;
    match u64::try_from(bytes) {
        Ok(0) => Ok(None),
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => Err(invalid(format!("invalid size: '{text}'"))),
    }
}

/// The project of a container.
fn project(id: &str) -> u32 {
    let digits = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    FIRST | (digits.unwrap_or_default() & (FIRST - 1))
}

/// Sets the limit for a container whose directories are new.
pub(crate) fn apply(shared: &Shared, container: &Container) -> Result<(), Failure> {
    let Some(bytes) = size(&container.spec.host.storage_opt)? else { return Ok(()) };
    let project = project(&container.id);
    let base = shared.dirs.data(&container.id);
    let failed = |words: String| {
        let words = format!("cannot limit what container {} writes: {words}", container.id);
        Failure::new(ErrorKind::Internal, words)
    };
    for name in ["upper", "work"] {
        let path = base.join(name);
        let directory = File::open(&path).map_err(|error| failed(error.to_string()))?;
        quota::assign(&directory, project).map_err(|error| failed(error.to_string()))?;
        if name == "upper" {
            let limited = quota::limit(&directory, project, Limits { bytes, files: 0 });
            limited.map_err(|error| failed(error.to_string()))?;
        }
    }
    Ok(())
}

/// Takes the limit away again.
pub(crate) fn lift(shared: &Shared, container: &Container) {
    if container.spec.host.storage_opt.is_empty() {
        return;
    }
    let lifted = File::open(shared.dirs.place())
        .map_err(|_| Errno::NOENT)
        .and_then(|place| quota::limit(place, project(&container.id), Limits::default()));
    if let Err(error) = lifted {
        tracing::warn!(id = %container.id, %error, "the limit of its project stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_projects() {
        let of = |name: &str, value: &str| size(&[(name.to_owned(), value.to_owned())].into());
        assert_eq!(size(&BTreeMap::new()).ok(), Some(None));
        assert_eq!(of("size", "10m").ok(), Some(Some(10 << 20)));
        assert_eq!(of("Size", "1G").ok(), Some(Some(1 << 30)));
        assert_eq!(of("foo", "1").unwrap_err().message(), "Unknown option foo");
        assert_eq!(of("size", "x").unwrap_err().message(), "invalid size: 'x'");
        assert_eq!(project("ffffffff00"), 0x7fff_ffff);
        assert_eq!(project("00000001ab"), FIRST + 1);
    }
}
