//! The directory that a runtime is given: `config.json`, and a root file system that only the runtime sees.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
};

use ferry_oci::runtime::{Root, Spec, User};
use ferry_runtime::Rootfs;
use ferry_sys::{
    mount::{self, Propagation},
    namespace::{self, flag},
    root::{InRoot, file_type},
};
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};

/// Where the bundle of a container is.
pub(super) fn dir(run_dir: &Path) -> PathBuf {
    run_dir.join("bundle")
}

/// The newest version of the specification whose parts Ferry writes. Runtimes refuse ones that are newer than they are.
const OCI_VERSION: &str = "1.1.0";

/// The root file system, and sources of mounts that a runtime could not open by itself: nowhere yet.
#[derive(Debug)]
pub(super) struct Mounted {
    trees: Vec<(OwnedFd, PathBuf)>,
    /// Who the program will run as.
    pub(super) user: Option<User>,
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
    let mut trees = sources(&bundle, &mut spec)?;
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
    if let Some((_, gid)) = ferry_runtime::host_root(&spec) {
        // The container's root, which is nobody here, must come as far as to what is mounted in the bundle.
        for dir in [run_dir, &bundle] {
            let mode = fs::Permissions::from_mode(0o710);
            chown(dir, None, Some(gid))
                .and_then(|()| fs::set_permissions(dir, mode))
                .map_err(|error| failed(dir, error))?;
        }
    }
    trees.push((root.into_fd(), place));
    Ok(Mounted { trees, user: spec.process.map(|process| process.user) })
}

/// Opens what the runtime could not, and lets the mounts begin at places in the bundle where that will be.
fn sources(bundle: &Path, spec: &mut Spec) -> Result<Vec<(OwnedFd, PathBuf)>, String> {
    let mut trees = Vec::new();
    let mut mounts = std::mem::take(&mut spec.mounts);
    for (number, mount) in mounts.iter_mut().enumerate() {
        let opened = ferry_runtime::detached_source(mount, spec)
            .map_err(|error| ferry_errkind::chain(&error))?;
        let Some(tree) = opened else { continue };
        let place = bundle.join(format!("mount-{number}"));
        let is_dir = file_type(tree.as_fd()) == Ok(FileType::Directory);
        let made = if is_dir { fs::create_dir(&place) } else { fs::write(&place, "") };
        made.map_err(|error| format!("write {}: {error}", place.display()))?;
        mount.source = Some(place.to_string_lossy().into_owned());
        mount.uid_mappings.clear();
        mount.gid_mappings.clear();
        mount.options.retain(|option| {
            !matches!(option.as_str(), "idmap" | "ridmap") && !option.starts_with("lowerdir+=")
        });
        if mount.kind.as_deref() != Some("bind") {
            mount.kind = Some("bind".to_owned());
            mount.options.push("bind".to_owned());
        }
        trees.push((tree, place));
    }
    spec.mounts = mounts;
    Ok(trees)
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
        for (tree, place) in &self.trees {
            let failed = |errno| format!("attach a mount at {}: {errno}", place.display());
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let target = openat(CWD, place, flags, Mode::empty()).map_err(failed)?;
            mount::attach(tree.as_fd(), target.as_fd()).map_err(failed)?;
        }
        Ok(())
    }
}
