//! The root file system: opened, attached, entered.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ferry_oci::runtime::Spec;
use ferry_sys::mount::{self, Change, Propagation, attr};
use ferry_sys::overlay::{self, Durability, MountNamespace, Overlay};
use ferry_sys::root::InRoot;
use rustix::fs::CWD;

use super::filesystems;
use super::mounts::clean;
use super::options::{self, Depth};
use crate::bundle::Rootfs;
use crate::error::{Failure, Outcome, words};
use crate::mapped;

/// Set to `true` for a container that is removed when it ends (`--rm`): its changes are not worth writing to disk. The
/// kernel otherwise syncs the whole file system of the upper layer at the end of every container.
pub const VOLATILE_ANNOTATION: &str = "org.ferry.volatile";

/// Makes the root file system as a detached mount.
pub(crate) fn open(rootfs: &Rootfs, spec: &Spec, namespace: MountNamespace) -> Outcome<OwnedFd> {
    // A directory that somebody else made has the owners that he meant it to have.
    let maps = mapped::Maps::of(spec);
    match rootfs {
        Rootfs::Overlay { lower, upper, work: _ } if lower.is_empty() => {
            let tree = clone_dir(upper)?;
            if let Some(maps) = maps {
                mapped::shift(tree.as_fd(), &maps.namespace()?, false)
                    .map_err(|errno| Failure::errno("map the ids of the rootfs", errno))?;
            }
            Ok(tree)
        }
        Rootfs::Overlay { lower, upper, work } => {
            let (upper, work) = (Some(upper.clone()), Some(work.clone()));
            let volatile = spec.annotations.get(VOLATILE_ANNOTATION).is_some_and(|v| v == "true");
            let durability = if volatile { Durability::Volatile } else { Durability::Synced };
            let context = filesystems::labelled(spec).map(str::to_owned);
            let layers = Overlay { lower: lower.clone(), upper, work, context };
            if let Some(maps) = maps {
                return mapped::overlay(&layers, durability, &maps);
            }
            overlay::detached_as(&layers, durability, namespace)
                .map_err(|error| Failure::new(format!("cannot mount the root overlay: {error}")))
        }
        Rootfs::Dir(dir) => clone_dir(dir),
    }
}

fn clone_dir(dir: &Path) -> Outcome<OwnedFd> {
    mount::clone_path(dir, true)
        .map_err(|errno| Failure::new(format!("open rootfs {}: {}", dir.display(), words(errno))))
}

/// From here on nothing that is mounted in this mount namespace travels anywhere.
pub(crate) fn make_private() -> Outcome<()> {
    mount::set_tree_propagation(Propagation::Private)
        .map_err(|errno| Failure::errno("make the mount namespace private", errno))
}

/// Attaches it somewhere in this mount namespace, which is private.
pub(crate) fn attach(tree: OwnedFd, rootfs: &Rootfs) -> Outcome<InRoot> {
    let change = Change { propagation: Some(Propagation::Private), ..Change::default() };
    mount::set_attributes(tree.as_fd(), &change, true)
        .map_err(|errno| Failure::errno("make the rootfs private", errno))?;
    // Where nobody looks: the work directory has nothing that could be wanted as the source of a mount.
    let place = match rootfs {
        Rootfs::Overlay { lower, upper, .. } if lower.is_empty() => upper,
        Rootfs::Overlay { work, .. } => work,
        Rootfs::Dir(dir) => dir,
    };
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let told = |errno| Failure::errno(format!("attach the rootfs at {}", place.display()), errno);
    let target = rustix::fs::openat(CWD, place, flags, rustix::fs::Mode::empty()).map_err(told)?;
    mount::attach(tree.as_fd(), target.as_fd()).map_err(told)?;
    Ok(InRoot::from_fd(tree))
}

/// The working directory is made when it is missing, as runc does.
pub(crate) fn ensure_cwd(root: &InRoot, cwd: &str) -> Outcome<()> {
    let path = clean(cwd);
    root.mkdir_all(&path, 0o755)
        .map(drop)
        .map_err(|errno| Failure::errno(format!("mkdir {}", path.display()), errno))
}

/// Makes it `/` and lets go of the host's tree.
pub(crate) fn enter(root: &InRoot) -> Outcome<()> {
    mount::pivot_to(root.as_dir()).map_err(|errno| Failure::errno("pivot_root", errno))
}

/// Propagation and write protection, once everything is in place.
pub(crate) fn finish(spec: &Spec) -> Outcome<()> {
    let wanted = spec.linux.as_ref().and_then(|linux| linux.rootfs_propagation.as_deref());
    if let Some(word) = wanted.filter(|word| !word.is_empty()) {
        let Some((kind, depth)) = options::propagation(word) else {
            return Err(Failure::new(format!("rootfsPropagation={word} is not supported")));
        };
        mount::set_path_propagation(Path::new("/"), kind, depth == Depth::All)
            .map_err(|errno| Failure::errno("set rootfs propagation", errno))?;
    }
    if spec.root.as_ref().is_some_and(|root| root.readonly) {
        let told = |errno| Failure::errno("make the rootfs read-only", errno);
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, "/", flags, rustix::fs::Mode::empty()).map_err(told)?;
        let change = Change { set: attr::RDONLY, ..Change::default() };
        mount::set_attributes(root.as_fd(), &change, false).map_err(told)?;
    }
    Ok(())
}

/// Host and domain name.
pub(crate) fn set_names(spec: &Spec) -> Outcome<()> {
    if let Some(name) = spec.hostname.as_deref().filter(|name| !name.is_empty()) {
        rustix::system::sethostname(name.as_bytes())
            .map_err(|errno| Failure::errno("sethostname", errno))?;
    }
    if let Some(name) = spec.domainname.as_deref().filter(|name| !name.is_empty()) {
        rustix::system::setdomainname(name.as_bytes())
            .map_err(|errno| Failure::errno("setdomainname", errno))?;
    }
    Ok(())
}
