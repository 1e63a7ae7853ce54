//! The files of vendors that say what a device needs in a container, read anew each time: they are few, and change with drivers.

use std::{fs, path::Path};

use ferry_container::cdi::{CdiFile, CdiRegistry, MAX_CDI_FILE, read_cdi};
use ferry_errkind::Failure;
use ferry_model::container::DeviceRequest;
use ferry_oci::runtime::Spec;

use crate::Shared;

/// Most files of a directory that are looked at.
const MAX_FILES: usize = 1000;

/// Gives a container the devices that it asks for by name.
///
/// # Errors
/// No file names one, or no driver meets a request: in Docker's words.
pub(crate) fn inject(
    shared: &Shared,
    requests: &[DeviceRequest],
    spec: &mut Spec,
) -> Result<(), Failure> {
    if requests.is_empty() {
        return Ok(());
    }
    let registry = registry(shared);
    let names = registry.resolve(requests)?;
    Ok(registry.inject(&names, spec, &crate::devices::look_up)?)
}

/// All devices that have names.
pub(crate) fn registry(shared: &Shared) -> CdiRegistry {
    let dirs = shared.config.cdi_spec_dirs.iter().enumerate();
    CdiRegistry::new(
        dirs.flat_map(|(rank, dir)| files(dir).into_iter().map(move |file| (rank, file))).collect(),
    )
}

fn files(dir: &Path) -> Vec<CdiFile> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries.flatten().take(MAX_FILES) {
        let path = entry.path();
        let named =
            path.extension().is_some_and(|end| end == "json" || end == "yaml" || end == "yml");
        if !named || entry.metadata().is_ok_and(|status| status.len() > MAX_CDI_FILE) {
            continue;
        }
        let read = fs::read_to_string(&path).map_err(|error| error.to_string());
        match read.and_then(|text| read_cdi(&text).map_err(|error| error.to_string())) {
            Ok(file) => files.push(file),
            Err(why) => tracing::warn!(file = %path.display(), %why, "not a CDI file"),
        }
    }
    files
}
