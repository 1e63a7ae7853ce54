//! A bundle: its configuration, read and checked for what Ferry's runtime does not do.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ferry_cgroup::Place;
use ferry_errkind::Failure;
use ferry_oci::runtime::{LinuxDeviceCgroup, LinuxResources, Spec};
use serde_json::Value;

use crate::report::{failed, invalid};

/// Largest configuration that is read.
const MAX_CONFIG: u64 = 16 << 20;

/// A bundle.
#[derive(Debug, Clone)]
pub(crate) struct Bundle {
    pub(crate) dir: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) spec: Spec,
}

/// Parts of the specification (some newer than 1.2) that are not done. What is not in any specification is ignored, as that
/// demands.
const REFUSED: [&str; 6] = [
    "/process/execCPUAffinity",
    "/linux/intelRdt",
    "/linux/memoryPolicy",
    "/linux/netDevices",
    "/linux/seccomp/listenerPath",
    "/vm",
];

impl Bundle {
    /// The bundle in a directory.
    pub(crate) fn read(dir: &Path) -> Result<Bundle, Failure> {
        let dir = fs::canonicalize(dir)
            .map_err(|error| failed(format!("chdir {}", dir.display()), error))?;
        let spec = read_spec(&dir.join("config.json"))?;
        if spec.process.is_none() {
            return Err(invalid("process property must not be empty"));
        }
        let path = match &spec.root {
            Some(root) if !root.path.as_os_str().is_empty() => dir.join(&root.path),
            _ => return Err(invalid("root.path must not be empty")),
        };
        let rootfs = fs::canonicalize(&path)
            .map_err(|error| failed(format!("invalid rootfs {}", path.display()), error))?;
        Ok(Bundle { dir, rootfs, spec })
    }
}

fn read_spec(file: &Path) -> Result<Spec, Failure> {
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(invalid("JSON specification file config.json not found"));
        }
        Ok(status) if status.len() > MAX_CONFIG => {
            return Err(failed(file.display(), "larger than 16 MiB"));
        }
        _ => {}
    }
    let text = fs::read_to_string(file).map_err(|error| failed(file.display(), error))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|error| failed(file.display(), error))?;
    for pointer in REFUSED {
        if value.pointer(pointer).is_some_and(|part| !part.is_null()) {
            let name = pointer.trim_start_matches('/').replace('/', ".");
            return Err(invalid(format!("{name} is not supported")));
        }
    }
    let spec: Spec =
        serde_json::from_value(value).map_err(|error| failed(file.display(), error))?;
    check_version(&spec.oci_version)?;
    Ok(spec)
}

/// Version 1 of the specification, whichever: what is newer than this program is refused by name above, or ignored.
fn check_version(version: &str) -> Result<(), Failure> {
    match version.split('.').next() {
        Some("1") => Ok(()),
        _ => Err(invalid(format!("unsupported spec version: {version:?}"))),
    }
}

/// The cgroup of a container: below the root, whether the path is absolute or not; with systemd the names of its scope.
pub(crate) fn cgroup_path(spec: &Spec, id: &str, systemd: bool) -> Result<String, Failure> {
    let path = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref()).unwrap_or("");
    if systemd {
        let text = if path.is_empty() { format!(":ferry:{id}") } else { path.to_owned() };
        return match Place::read(&text) {
            Ok(Place::Scope(_)) => Ok(text),
            _ => Err(invalid(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
            ))),
        };
    }
    if path.contains(':') {
        return Err(invalid(format!(
            "expected cgroupsPath to be a path, got {path:?} (of systemd)"
        )));
    }
    match path.trim_matches('/') {
        "" => Ok(id.to_owned()),
        path => Ok(path.to_owned()),
    }
}

/// Devices that every container may use, whatever its rules say: what is in its `/dev` (runtime-spec, "Default Devices"), its
/// terminals, and making nodes, which without a rule for them are of no use.
const ALLOWED: [(&str, Option<i64>, Option<i64>, &str); 10] = [
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(5), Some(2), "rwm"),
    ("c", Some(136), None, "rwm"),
];

/// The limits of a container, with the rules for devices that runc adds on both sides of the configuration's: nothing is
/// allowed to begin with.
pub(crate) fn resources(spec: &Spec) -> LinuxResources {
    let given = spec.linux.as_ref().and_then(|linux| linux.resources.clone());
    let mut resources = given.unwrap_or_default();
    let nothing =
        LinuxDeviceCgroup { access: Some("rwm".to_owned()), ..LinuxDeviceCgroup::default() };
    let allowed = ALLOWED.map(|(kind, major, minor, access)| LinuxDeviceCgroup {
        allow: true,
        kind: Some(kind.to_owned()),
        major,
        minor,
        access: Some(access.to_owned()),
    });
    let given = std::mem::take(&mut resources.devices);
    resources.devices = std::iter::once(nothing).chain(given).chain(allowed).collect();
    resources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str) -> Result<Spec, String> {
        let file = std::env::temp_dir().join(format!("ferry-config-{}.json", std::process::id()));
        fs::write(&file, config).unwrap();
        let spec = read_spec(&file).map_err(|failure| failure.to_string());
        fs::remove_file(file).unwrap();
        spec
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        assert!(read(r#"{"ociVersion": "1.2.1", "linux": {"x-later": 1}}"#).is_ok());
        for (config, words) in [
            (r#"{"ociVersion": "2.0.0"}"#, "unsupported spec version"),
            (r#"{"ociVersion": "1.0.0", "linux": {"intelRdt": {}}}"#, "linux.intelRdt is not"),
            (
                r#"{"ociVersion": "1.0.0", "linux": {"seccomp": {"listenerPath": "/x"}}}"#,
                "linux.seccomp.listenerPath is not",
            ),
            ("{", "EOF"),
        ] {
            let error = read(config).unwrap_err();
            assert!(error.contains(words), "{config}: {error}");
        }
    }
}
