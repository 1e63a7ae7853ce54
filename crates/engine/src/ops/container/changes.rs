//! `diff`: what a container has changed in its image.

use ferry_archive::Change;
use ferry_errkind::Failure;

use crate::{Engine, rootfs};

/// The changed paths of a container, parents first.
///
/// # Errors
/// No such container, or its layers cannot be read.
pub async fn changes(engine: &Engine, name: &str) -> Result<Vec<Change>, Failure> {
    let shared = engine.shared.clone();
    let container = shared.containers.find(name)?.container();
    crate::blocking(move || {
        let lower = rootfs::lower(&shared, &container)?;
        let upper = rootfs::upper(&shared, &container)?;
        let stubs = rootfs::stubs(&upper, &lower)?;
        let skip = |path: &[u8]| stubs.contains(path);
        Ok(ferry_archive::changes(upper.as_dir(), lower.as_dir(), &skip)?)
    })
    .await
}
