//! The directory that a runtime is given: `config.json`, and a root file system that only the runtime sees.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
};

use ferry_oci::runtime::{Root, Spec};
use ferry_runtime::Rootfs;
use ferry_sys::{
    mount::{self, Propagation},
    namespace::{self, flag},
    root::InRoot,
};

/// Where the bundle of a container is.
pub(super) fn dir(run_dir: &Path) -> PathBuf {
    run_dir.join("bundle")
}

/// The newest version of the specification whose parts Ferry writes. Runtimes refuse ones that are newer than they are.
const OCI_VERSION: &str = "1.1.0";

/// A root file system that is nowhere yet.
#[derive(Debug)]
pub(super) struct Mounted {
    tree: OwnedFd,
    place: PathBuf,
}

/// Writes the bundle of a container.
pub(super) fn write(run_dir: &Path, spec: &Spec, rootfs: &Rootfs) -> Result<Mounted, String> {
    let bundle = dir(run_dir);
    let place = bundle.join("rootfs");
    let failed = |path: &Path, error: io::Error| format!("write {}: {error}", path.display());
    fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&place)
        .map_err(|error| failed(&place, error))?;
    let tree = ferry_runtime::detached_rootfs(rootfs, spec)
        .map_err(|error| ferry_errkind::chain(&error))?;
    let mut spec = spec.clone();
    OCI_VERSION.clone_into(&mut spec.oci_version);
    let readonly = spec.root.as_ref().is_some_and(|root| root.readonly);
    spec.root = Some(Root { path: place.clone(), readonly });
    let root = InRoot::from_fd(tree);
    if let Some(process) = &mut spec.process {
        ferry_runtime::resolve_user(&root, process)
            .map_err(|error| ferry_errkind::chain(&error))?;
    }
    let config = bundle.join("config.json");
    let bytes = serde_json::to_vec(&spec).map_err(io::Error::from);
    bytes.and_then(|bytes| fs::write(&config, bytes)).map_err(|error| failed(&config, error))?;
    Ok(Mounted { tree: root.into_fd(), place })
}

impl Mounted {
    /// For the process that is about to become the runtime: a mount namespace of its own with the root file system in it.
    /// The container's namespace is a copy of it, so that it may go with the runtime.
    pub(super) fn attach(&self) -> Result<(), String> {
        namespace::unshare(flag::MOUNT)
            .map_err(|errno| format!("make a mount namespace: {errno}"))?;
        // What the host mounts and unmounts still arrives here; nothing goes the other way.
        mount::set_tree_propagation(Propagation::Slave)
            .map_err(|errno| format!("make the mount namespace a slave: {errno}"))?;
        let failed = |errno| format!("attach the rootfs at {}: {errno}", self.place.display());
        let target = InRoot::open(&self.place).map_err(failed)?;
        mount::attach(self.tree.as_fd(), target.as_dir()).map_err(failed)
    }
}
