//! Device nodes of the host.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use ferry_container::{HostDevice, SpecError};

/// Directories below `/dev` that have nodes of their own in every container, or none that may be shared.
const OWN: [&str; 8] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"];

/// The device node at `path`.
pub(crate) fn look_up(path: &str) -> Result<HostDevice, SpecError> {
    let failed = |reason: String| SpecError::Device { path: path.to_owned(), reason };
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("no such file or directory".to_owned()),
        _ => failed(error.to_string()),
    })?;
    device(path, &metadata).ok_or_else(|| failed("not a device node".to_owned()))
}

/// All device nodes below `/dev`, for `--privileged`.
pub(crate) fn all() -> Vec<HostDevice> {
    let mut devices = Vec::new();
    collect(Path::new("/dev"), &mut devices);
    devices
}

fn collect(folder: &Path, devices: &mut Vec<HostDevice>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            collect(&path, devices);
        } else if let Some(device) = device(&path.to_string_lossy(), &metadata) {
            devices.push(device);
        }
    }
}

fn device(path: &str, metadata: &fs::Metadata) -> Option<HostDevice> {
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => 'c',
        kind if kind.is_block_device() => 'b',
        _ => return None,
    };
    let number = metadata.rdev();
    Some(HostDevice {
        path: path.to_owned(),
        kind,
        major: i64::from(rustix::fs::major(number)),
        minor: i64::from(rustix::fs::minor(number)),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}
