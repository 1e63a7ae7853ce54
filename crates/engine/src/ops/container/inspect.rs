//! `inspect`: everything about one container.

use std::{path::Path, sync::Arc};

use ferry_errkind::Failure;
use ferry_model::container::{Container, ContainerView, DiskUse};

use crate::{Engine, Shared};

/// A container's record with what was computed for this look at it. `size` walks its writable layer.
///
/// # Errors
/// No such container.
pub async fn inspect(engine: &Engine, name: &str, size: bool) -> Result<ContainerView, Failure> {
    let container = engine.shared.containers.find(name)?.container();
    let shared = engine.shared.clone();
    crate::blocking(move || Ok(view(&shared, &container, size))).await
}

/// Blocks for as long as the disk needs, when `size` is wanted.
fn view(shared: &Shared, container: &Arc<Container>, size: bool) -> ContainerView {
    let dir = shared.dirs.data(&container.id);
    let lower = shared.lower_dirs(&container.layers).unwrap_or_default();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let driver = &shared.log_settings(&container.spec.host.log).driver;
    ContainerView {
        size: size.then(|| disk_use(shared, container)),
        apparmor_profile: match container.state.started_at {
            Some(_) => shared.apparmor.of(&container.spec),
            None => String::new(),
        },
        exec_ids: shared.execs.of_container(&container.id),
        log_path: (driver == "json-file").then(|| text(&shared.dirs.log(&container.id))),
        upper_dir: text(&dir.join("upper")),
        work_dir: text(&dir.join("work")),
        lower_dirs: lower.iter().map(|path| text(path)).collect(),
        dir: text(&dir),
        container: Arc::clone(container),
    }
}

/// Walks what the container has written.
pub(super) fn disk_use(shared: &Shared, container: &Container) -> DiskUse {
    let rw = crate::usage::tree_size(&shared.dirs.data(&container.id).join("upper"));
    let layers: u64 = container.layers.iter().filter_map(|layer| shared.layers.size(layer)).sum();
    DiskUse { rw, total: rw + layers }
}
