//! Making file systems: ordinary ones by their type, and the two shapes of `/sys/fs/cgroup`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ferry_cgroup::{Cgroup, MountPoint};
use ferry_oci::runtime::Spec;
use ferry_sys::mount::{self, Change, Filesystem, MountError, Propagation, attr};
use ferry_sys::root::InRoot;
use ferry_sys::selinux::{self, Selinux};

use super::mounts::has_device;
use super::options::Options;
use crate::error::{Failure, Outcome, words};

/// A new file system as a detached mount, with the label that [`labelled`] told.
pub(crate) fn make(
    kind: &str,
    source: Option<&str>,
    options: &Options,
    label: Option<&str>,
    attributes: u64,
) -> Result<OwnedFd, MountError> {
    let context = Filesystem::open(kind)?;
    if let Some(source) = source {
        context.set("source", Some(source.as_bytes()))?;
    }
    for flag in &options.flags {
        context.set(flag, None)?;
    }
    if attributes & attr::RDONLY != 0 && has_device(kind) {
        context.set("ro", None)?;
    }
    for (key, value) in &options.data {
        context.set(key, value.as_deref().map(str::as_bytes))?;
    }
    if let Some(label) = label
        && matches!(kind, "tmpfs" | "devpts" | "overlay")
    {
        context.set("context", Some(label.as_bytes()))?;
    }
    let tree = context.mount(attributes)?;
    // Message queues take no label as an option, only afterwards, as runc does it; a kernel that has none for them leaves them to
    // its policy.
    if let Some(label) = label
        && kind == "mqueue"
    {
        selinux::set_label(tree.as_fd(), label).ok();
    }
    Ok(tree)
}

/// The label of a container's files, if the machine has labels.
pub(crate) fn labelled(spec: &Spec) -> Option<&str> {
    let label = spec.linux.as_ref()?.mount_label.as_deref().filter(|label| !label.is_empty())?;
    Selinux::of_host().is_enabled().then_some(label)
}

/// The container's view of cgroups at `target`.
pub(crate) fn cgroup(
    root: &InRoot,
    target: &Path,
    options: &Options,
    cgroup: Option<&Cgroup>,
    own_namespace: bool,
    socket: BorrowedFd<'_>,
) -> Outcome<()> {
    let points = cgroup.map(Cgroup::mount_points).unwrap_or_default();
    let directory = make_dir(root, target)?;
    let attributes = options.set | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    if let [only] = points.as_slice()
        && only.name.is_empty()
    {
        let tree = version_2(only, own_namespace, attributes)?;
        return attach(&tree, &directory);
    }
    if points.is_empty() {
        super::warn(socket, "no cgroup given: /sys/fs/cgroup is empty in the container");
    }
    let base = Options::read(&["mode=755"]);
    let base = make("tmpfs", Some("tmpfs"), &base, None, attributes & !attr::RDONLY)
        .map_err(|error| Failure::new(error.to_string()))?;
    attach(&base, &directory)?;
    for point in &points {
        let place = make_dir(root, &target.join(&point.name))?;
        let tree = version_1(point, own_namespace, attributes)?;
        attach(&tree, &place)?;
    }
    if attributes & attr::RDONLY != 0 {
        let change = Change { set: attr::RDONLY, ..Change::default() };
        mount::set_attributes(base.as_fd(), &change, false)
            .map_err(|errno| Failure::errno("can't make cgroups read-only", errno))?;
    }
    Ok(())
}

fn make_dir(root: &InRoot, path: &Path) -> Outcome<OwnedFd> {
    root.mkdir_all(path, 0o755).map_err(|errno| {
        Failure::errno(format!("create mount destination {}", path.display()), errno)
    })
}

fn attach(tree: &OwnedFd, place: &OwnedFd) -> Outcome<()> {
    mount::attach(tree.as_fd(), place.as_fd()).map_err(|errno| Failure::errno("mount", errno))
}

fn version_2(point: &MountPoint, own_namespace: bool, attributes: u64) -> Outcome<OwnedFd> {
    if own_namespace
        && let Ok(tree) = make("cgroup2", Some("cgroup"), &Options::default(), None, attributes)
    {
        return Ok(tree);
    }
    bind(point, attributes)
}

/// In a cgroup namespace a fresh mount has the container's group as its root; else its directory is shown.
fn version_1(point: &MountPoint, own_namespace: bool, attributes: u64) -> Outcome<OwnedFd> {
    if !own_namespace {
        return bind(point, attributes);
    }
    let options = Options::read(&[point.options.as_str()]);
    match make("cgroup", Some("cgroup"), &options, None, attributes) {
        Ok(tree) => Ok(tree),
        // Controllers mounted together elsewhere can only be mounted together.
        Err(_) => bind(point, attributes),
    }
}

fn bind(point: &MountPoint, attributes: u64) -> Outcome<OwnedFd> {
    let host = point.host.display();
    let tree = mount::clone_path(&point.host, false)
        .map_err(|errno| Failure::new(format!("open {host}: {}", words(errno))))?;
    let change = Change {
        set: attributes,
        clear: attributes & attr::ATIME_MASK,
        propagation: Some(Propagation::Private),
        userns: None,
    };
    mount::set_attributes(tree.as_fd(), &change, false)
        .map_err(|errno| Failure::errno(format!("set attributes of {host}"), errno))?;
    Ok(tree)
}
