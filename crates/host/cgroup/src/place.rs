//! Where a group is, in the two forms that `linux.cgroupsPath` has.

use ferry_oci::runtime::LinuxResources;

use crate::systemd::{self, Holder};
use crate::{Cgroup, CreateError, Hierarchy, Kind, file};

/// The slice of scopes that name none, as runc has it.
const DEFAULT_SLICE: &str = "system.slice";

/// Longest name of a unit (systemd's `UNIT_NAME_MAX`).
const MAX_UNIT: usize = 255;

/// A group's place: with `cgroupfs` a directory, with `systemd` a scope in a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory below the root of the hierarchy.
    Directory(String),
    /// A unit of systemd's, which makes the directory and is told the limits, too.
    Scope(Scope),
}

/// A transient unit of systemd's that has one container's processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub(crate) slice: String,
    pub(crate) unit: String,
    directory: String,
}

impl Place {
    /// Reads `/a/directory` or `slice:prefix:name`.
    pub fn read(text: &str) -> Result<Place, CreateError> {
        // A scope's names have no slashes, and a container's directory has one before its id.
        if text.contains('/') || text.matches(':').count() != 2 {
            return Ok(Place::Directory(file::check_path(text)?));
        }
        let mut parts = text.split(':');
        let mut part = || parts.next().unwrap_or_default();
        Scope::new(part(), part(), part())
            .map(Place::Scope)
            .ok_or_else(|| CreateError::Scope(text.to_owned()))
    }

    /// Its directory below the root of the hierarchy.
    pub fn directory(&self) -> String {
        match self {
            Place::Directory(path) => path.clone(),
            Place::Scope(scope) => {
                format!("{}/{}", scope.directory, scope.unit).trim_start_matches('/').to_owned()
            }
        }
    }

    /// Makes the group and sets its limits. On an error nothing of it is left. A scope ends when it has no process: the
    /// holder is the one it begins with, to be kept until another one is there.
    pub fn create(
        &self,
        hierarchy: &Hierarchy,
        resources: &LinuxResources,
    ) -> Result<(Cgroup, Option<Holder>), CreateError> {
        match self {
            Place::Directory(path) => Ok((Cgroup::create(hierarchy, path, resources)?, None)),
            Place::Scope(scope) => {
                let mut holder = systemd::start(hierarchy, scope, &self.directory(), resources)?;
                // On an error the holder ends, and with it the scope.
                let mut group = Cgroup::make(hierarchy, &self.directory())?;
                group.warnings = group.apply(resources).map_err(CreateError::Apply)?;
                group.unit = Some(scope.unit.clone());
                if let Kind::V2(group) = &group.kind {
                    holder.make_room(group.dir().join("pids.max"));
                }
                Ok((group, Some(holder)))
            }
        }
    }

    /// The group, for a process that did not make it.
    pub fn open(&self, hierarchy: &Hierarchy) -> Result<Cgroup, CreateError> {
        let mut group = Cgroup::open(hierarchy, &self.directory())?;
        if let Place::Scope(scope) = self {
            group.unit = Some(scope.unit.clone());
        }
        Ok(group)
    }
}

impl Scope {
    /// `prefix-name.scope` in a slice; `None` if these are no names of units.
    pub fn new(slice: &str, prefix: &str, name: &str) -> Option<Scope> {
        let slice = if slice.is_empty() { DEFAULT_SLICE } else { slice };
        let dash = if prefix.is_empty() { "" } else { "-" };
        let unit = format!("{prefix}{dash}{name}.scope");
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
        if name.is_empty() || unit.len() > MAX_UNIT || !unit.bytes().all(fits) {
            return None;
        }
        Some(Scope { slice: slice.to_owned(), unit, directory: slice_directory(slice)? })
    }
}

/// The directory of a slice: its name says which slices it is in. `None` for what is no slice's name.
pub fn slice_directory(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice")?;
    if name == "-" {
        return Some(String::new());
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
    let mut parts = name.split('-');
    if slice.len() > MAX_UNIT || !name.bytes().all(fits) || parts.any(str::is_empty) {
        return None;
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Some(ends.map(|end| format!("{}.slice", &name[..end])).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_in_the_slices_that_their_names_begin_with() {
        let directory = |slice| slice_directory(slice).unwrap_or("none".to_owned());
        assert_eq!(directory("system.slice"), "system.slice");
        assert_eq!(
            directory("kubepods-burstable-pod1_2.slice"),
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"
        );
        assert_eq!(directory("-.slice"), "");
        for wrong in
            ["", ".slice", "a", "-a.slice", "a-.slice", "a--b.slice", "a/b.slice", "a b.slice"]
        {
            assert_eq!(directory(wrong), "none", "{wrong}");
        }
    }

    #[test]
    fn places_have_two_forms() {
        let directory = |text| Place::read(text).map(|place| place.directory()).ok();
        assert_eq!(directory("/ferry/abc").as_deref(), Some("ferry/abc"));
        assert_eq!(directory("/a:b:c/abc").as_deref(), Some("a:b:c/abc"));
        assert_eq!(directory("m.slice:ferry:abc").as_deref(), Some("m.slice/ferry-abc.scope"));
        assert_eq!(directory(":runc:abc").as_deref(), Some("system.slice/runc-abc.scope"));
        assert_eq!(directory("-.slice::abc").as_deref(), Some("abc.scope"));
        for wrong in ["m.slice:ferry:", "m:ferry:abc", "m.slice:a b:c", "", "..", "/a/../b"] {
            assert_eq!(directory(wrong), None, "{wrong}");
        }
    }
}
