//! How much a volume may hold: its directory is a project of its own (ext4 and xfs, mounted with `prjquota`), whose number is in its record.

use std::{collections::BTreeMap, fs::File, io, path::Path};

use ferry_model::volume::Volume;
use ferry_sys::quota::{self, Limits};

use crate::{VolumeError, VolumeStore};

/// Numbers of volumes' projects: from here on, below those of containers.
pub(crate) const FIRST: u32 = 0x2000_0000;

/// Bytes; Docker's option.
const SIZE: &str = "size";
/// Files and directories.
const INODES: &str = "inodes";

/// Whether an option of the driver is one of a quota.
pub fn is_quota(option: &str) -> bool {
    matches!(option, SIZE | INODES)
}

/// What the options ask for; nothing if there is no limit. Errors in Docker's words.
pub(crate) fn wanted(options: &BTreeMap<String, String>) -> Result<Option<Limits>, String> {
    let mut limits = Limits::default();
    if let Some(text) = options.get(SIZE) {
        let bytes = ferry_stdx::size::parse_bytes(text).map_err(|error| error.to_string())?;
        limits.bytes = u64::try_from(bytes).map_err(|_| format!("invalid size: '{text}'"))?;
    }
    if let Some(text) = options.get(INODES) {
        limits.files = text.parse().map_err(|_| format!("invalid number of inodes: '{text}'"))?;
    }
    Ok(Some(limits).filter(|limits| *limits != Limits::default()))
}

impl VolumeStore {
    /// Refuses a quota that does not read, or that the file system cannot keep.
    pub(crate) fn check_quota(
        &self,
        name: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(), VolumeError> {
        let wrong = |why: String| VolumeError::Option { name: name.to_owned(), why };
        let Some(limits) = wanted(options).map_err(wrong)? else { return Ok(()) };
        if options.contains_key("type") {
            let why = "a quota is for volumes without a device; give a tmpfs its size with o=size=";
            return Err(wrong(why.to_owned()));
        }
        let place = File::open(&self.root).map_err(|source| self.quota_error(source))?;
        if quota::are_kept(&place).is_ok_and(|kept| kept) {
            return Ok(());
        }
        let what = if limits.bytes > 0 { "size" } else { "inodes" };
        Err(wrong(format!("quota {what} requested but no quota support")))
    }

    /// The project of a new volume; 0 is none.
    pub(crate) fn project_for(&self, options: &BTreeMap<String, String>) -> u32 {
        match wanted(options) {
            Ok(Some(_)) => self.next_project.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            _ => 0,
        }
    }

    /// Puts a volume's directory, which is empty, into its project.
    pub(crate) fn enclose(&self, directory: &Path, project: u32) -> Result<(), VolumeError> {
        if project == 0 {
            return Ok(());
        }
        File::open(directory)
            .and_then(|directory| Ok(quota::assign(&directory, project)?))
            .map_err(|source| self.quota_error(source))
    }

    /// Gives a project the limits that options ask for.
    pub(crate) fn limit(
        &self,
        project: u32,
        options: &BTreeMap<String, String>,
    ) -> Result<(), VolumeError> {
        self.set_limits(project, wanted(options).unwrap_or_default().unwrap_or_default())
    }

    /// Takes a project's limits away.
    pub(crate) fn unlimit(&self, project: u32) -> Result<(), VolumeError> {
        self.set_limits(project, Limits::default())
    }

    fn set_limits(&self, project: u32, limits: Limits) -> Result<(), VolumeError> {
        if project == 0 {
            return Ok(());
        }
        File::open(&self.root)
            .and_then(|root| Ok(quota::limit(&root, project, limits)?))
            .map_err(|source| self.quota_error(source))
    }

    fn quota_error(&self, source: io::Error) -> VolumeError {
        VolumeError::Quota { path: self.root.clone(), source }
    }
}

/// The first number that no volume has.
pub(crate) fn after<'v>(volumes: impl Iterator<Item = &'v Volume>) -> u32 {
    volumes.map(|volume| volume.project.saturating_add(1)).max().unwrap_or_default().max(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_limits() {
        let of = |pairs: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            wanted(&pairs.iter().map(owned).collect())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[("size", "0")]), Ok(None));
        assert_eq!(of(&[("size", "1m")]), Ok(Some(Limits { bytes: 1 << 20, files: 0 })));
        let both = of(&[("size", "1k"), ("inodes", "5")]);
        assert_eq!(both, Ok(Some(Limits { bytes: 1024, files: 5 })));
        assert_eq!(of(&[("size", "foo")]), Err("invalid size: 'foo'".to_owned()));
        assert!(of(&[("inodes", "-1")]).is_err());
    }

    #[test]
    fn numbers_are_of_one_volume() {
        let volume = |project| Volume { project, ..Volume::default() };
        assert_eq!(after([].iter()), FIRST);
        assert_eq!(after([volume(0), volume(FIRST + 4)].iter()), FIRST + 5);
    }
}
