//! The mounts of the configuration, in its order. Every target is resolved inside the root file system.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use ferry_cgroup::Cgroup;
use ferry_oci::runtime::{Mount, Spec};
use ferry_sys::mount::{self, Change, PROC_MAGIC, Propagation, attr};
use ferry_sys::root::{InRoot, file_type};
use ferry_sys::{Errno, Result as SysResult};
use rustix::fs::FileType;

use super::options::{Depth, Options};
use super::sources::{Source, failed, wants_maps};
use super::{copy_up, filesystems};
use crate::error::{Failure, Outcome, words};

/// What later steps need of what was mounted.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    /// The devpts at `/dev/pts`, for the console.
    pub(crate) devpts: Option<OwnedFd>,
    /// File systems that become read-only when everything in them is in place.
    read_only_later: Vec<OwnedFd>,
}

impl Mounted {
    pub(crate) fn make_read_only(&self) -> Outcome<()> {
        for fd in &self.read_only_later {
            let change = Change { set: attr::RDONLY, ..Change::default() };
            mount::set_attributes(fd.as_fd(), &change, false)
                .map_err(|errno| Failure::errno("can't make a mount read-only", errno))?;
        }
        Ok(())
    }
}

/// Whether `/dev` is the container's own to fill: not when it is a bind mount of somebody else's.
pub(crate) fn makes_own_dev(spec: &Spec) -> bool {
    let is_dev = |entry: &&Mount| clean(&entry.destination) == Path::new("/dev");
    match spec.mounts.iter().rfind(is_dev) {
        None => false,
        Some(entry) => {
            let bind = Options::read(&entry.options).bind.is_some();
            !bind && entry.kind.as_deref() != Some("bind")
        }
    }
}

pub(crate) fn mount_all(
    root: &InRoot,
    spec: &Spec,
    sources: Vec<Source>,
    cgroup: Option<&Cgroup>,
    own_cgroup_namespace: bool,
    socket: BorrowedFd<'_>,
) -> Outcome<Mounted> {
    let mut mounted = Mounted::default();
    let label = filesystems::labelled(spec);
    for (entry, source) in spec.mounts.iter().zip(sources) {
        let options = Options::read(&entry.options);
        if wants_maps(entry) && matches!(source, Source::New) {
            return Err(failed(entry, "id mapped mounts are only supported for bind mounts"));
        }
        let done = match (source, entry.kind.as_deref().unwrap_or_default()) {
            (Source::Tree(tree), _) => bind(root, entry, &options, tree),
            (Source::New, "cgroup" | "cgroup2") => {
                let target = clean(&entry.destination);
                filesystems::cgroup(root, &target, &options, cgroup, own_cgroup_namespace, socket)
                    .map_err(|failure| failure.message)
            }
            (Source::New, kind) => new_filesystem(root, entry, kind, &options, label, &mut mounted),
        };
        done.map_err(|why| failed(entry, &why))?;
    }
    Ok(mounted)
}

/// Without `..` and doubled slashes. `..` cannot climb out of a rootfs, so it is dropped where it would.
pub(crate) fn clean(destination: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in Path::new(destination).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

type Step<T = ()> = Result<T, String>;

fn bind(root: &InRoot, entry: &Mount, options: &Options, tree: OwnedFd) -> Step {
    let destination = clean(&entry.destination);
    check_proc(&destination, Some(&tree))?;
    let told = |what: &str, errno| format!("{what}: {}", words(errno));
    let directory = matches!(file_type(tree.as_fd()), Ok(FileType::Directory));
    let target = if directory {
        root.mkdir_all(&destination, 0o755)
    } else {
        root.create_file(&destination, 0o755)
    };
    let target = target.map_err(|errno| {
        told(&format!("create mount destination {}", destination.display()), errno)
    })?;
    shape(&tree, options).map_err(|errno| told("set mount attributes", errno))?;
    // move_mount calls this mismatch EINVAL, where mount(2) and everybody's search results call it ENOTDIR.
    let onto_directory = matches!(file_type(target.as_fd()), Ok(FileType::Directory));
    let attached = if directory == onto_directory {
        mount::attach(tree.as_fd(), target.as_fd())
    } else {
        Err(Errno::NOTDIR)
    };
    attached.map_err(|errno| {
        let source = entry.source.as_deref().unwrap_or_default();
        let depth = if options.bind == Some(Depth::This) { "" } else { "|MS_REC" };
        let at = destination.display();
        told(&format!("mount src={source}, dst={at}, flags=MS_BIND{depth}"), errno)
    })
}

/// Attributes and propagation of a bind mount. What nobody asked for is a slave: it sees the host's later mounts, as
/// with runc, and nothing of it goes back.
fn shape(tree: &OwnedFd, options: &Options) -> SysResult<()> {
    let deep = options.bind != Some(Depth::This);
    let (propagation, depth) = options.propagation.unwrap_or((Propagation::Slave, Depth::All));
    let all = Change {
        set: options.set_all,
        clear: options.clear_all,
        // What is below a `shared` or `private` top stays what it would be without.
        propagation: Some(if depth == Depth::All { propagation } else { Propagation::Slave }),
        userns: None,
    };
    // A shared source is shared already, in the host's own peer group. Making it so again changes nothing; making it a
    // slave first would cut it off from its peers.
    let keeps_shared = propagation == Propagation::Shared;
    let all = if keeps_shared && depth == Depth::This {
        Change { propagation: None, ..all }
    } else {
        all
    };
    let this = Change {
        set: options.set,
        clear: options.clear,
        propagation: (depth == Depth::This).then_some(propagation),
        userns: None,
    };
    if deep {
        mount::set_attributes(tree.as_fd(), &all, true)?;
        if this != Change::default() {
            mount::set_attributes(tree.as_fd(), &this, false)?;
        }
        return Ok(());
    }
    let both = Change {
        set: options.set | options.set_all,
        clear: (options.clear | options.clear_all) & !(options.set | options.set_all)
            | atime_clear(options),
        propagation: Some(propagation),
        userns: None,
    };
    mount::set_attributes(tree.as_fd(), &both, false)
}

/// Setting an access time policy wants the whole field cleared in the same call.
fn atime_clear(options: &Options) -> u64 {
    (options.clear | options.clear_all) & attr::ATIME_MASK
}

/// File systems that have no device behind them: read-only is a matter of the mount, the superblock is shared.
const WITHOUT_DEVICE: [&str; 8] =
    ["proc", "sysfs", "tmpfs", "mqueue", "devpts", "devtmpfs", "securityfs", "debugfs"];

fn new_filesystem(
    root: &InRoot,
    entry: &Mount,
    kind: &str,
    options: &Options,
    label: Option<&str>,
    mounted: &mut Mounted,
) -> Step {
    let destination = clean(&entry.destination);
    let told = |what: &str, errno| format!("{what}: {}", words(errno));
    if kind.is_empty() {
        return Err("no file system type".to_owned());
    }
    let proc_or_sys = matches!(kind, "proc" | "sysfs");
    if proc_or_sys {
        refuse_link(root, &destination, kind)?;
    } else {
        check_proc(&destination, None)?;
    }
    let covered = if kind == "tmpfs" { mode_of(root, &destination) } else { None };
    let target = root.mkdir_all(&destination, 0o755).map_err(|errno| {
        told(&format!("create mount destination {}", destination.display()), errno)
    })?;
    let mut attributes = options.new_mount_attributes();
    // What will be filled, or mounted on, is closed when that is done.
    let later = kind == "tmpfs" && attributes & attr::RDONLY != 0;
    if later {
        attributes &= !attr::RDONLY;
    }
    let source = entry.source.as_deref().filter(|source| !source.is_empty());
    let mut options = options.clone();
    if let Some(mode) = covered
        && !options.data.iter().any(|(key, _)| key == "mode")
    {
        // As runc: a directory keeps its mode unless the configuration has one.
        options.data.push(("mode".to_owned(), Some(format!("{mode:o}"))));
    }
    let fd = filesystems::make(kind, source, &options, label, attributes)
        .map_err(|error| error.to_string())?;
    if options.copy_up {
        if kind != "tmpfs" {
            return Err("tmpcopyup is for tmpfs only".to_owned());
        }
        copy_up::copy(target.as_fd(), fd.as_fd()).map_err(|errno| told("tmpcopyup", errno))?;
    }
    mount::attach(fd.as_fd(), target.as_fd()).map_err(|errno| told("mount", errno))?;
    if let Some((propagation, depth)) = options.propagation {
        let change = Change { propagation: Some(propagation), ..Change::default() };
        mount::set_attributes(fd.as_fd(), &change, depth == Depth::All)
            .map_err(|errno| told("set propagation", errno))?;
    }
    if later {
        mounted.read_only_later.push(fd);
    } else if kind == "devpts" && destination == Path::new("/dev/pts") {
        mounted.devpts = Some(fd);
    }
    Ok(())
}

/// The permissions of a directory that is there already.
fn mode_of(root: &InRoot, destination: &Path) -> Option<u32> {
    let directory = root.resolve(destination).ok()?;
    rustix::fs::fstat(&directory).ok().map(|status| status.st_mode & 0o7777)
}

/// Whether a file system has its own device, so that it must itself be told to be read-only.
pub(crate) fn has_device(kind: &str) -> bool {
    !WITHOUT_DEVICE.contains(&kind)
}

/// A link at `/proc` would have what is written there later go elsewhere (CVE-2019-16884, CVE-2019-19921).
fn refuse_link(root: &InRoot, destination: &Path, kind: &str) -> Step {
    match root.resolve_nofollow(destination).and_then(|fd| file_type(fd.as_fd())) {
        Ok(FileType::Directory) | Err(Errno::NOENT) => Ok(()),
        Ok(_) => Err(format!("filesystem {kind:?} must be mounted on ordinary directory")),
        Err(errno) => Err(words(errno)),
    }
}

/// Files of procfs that lxcfs and the like may put another file over.
const REPLACEABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Nothing but procfs goes to `/proc`, and nearly nothing into it: whoever controls what is there controls what a
/// process believes to write about itself.
fn check_proc(destination: &Path, source: Option<&OwnedFd>) -> Step {
    if destination == Path::new("/proc") {
        let is_proc = source.is_some_and(|fd| mount::is_on(fd, PROC_MAGIC) == Ok(true));
        if is_proc {
            return Ok(());
        }
        return Err(format!("{:?} cannot be mounted because it is not of type proc", "/proc"));
    }
    if !destination.starts_with("/proc") || REPLACEABLE.iter().any(|p| destination == Path::new(p))
    {
        return Ok(());
    }
    Err(format!("{destination:?} cannot be mounted because it is inside /proc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_cleaned() {
        assert_eq!(clean("/a//b/../c/."), Path::new("/a/c"));
        assert_eq!(clean("../../x"), Path::new("/x"));
    }

    #[test]
    fn proc_is_kept_for_procfs() {
        assert!(check_proc(Path::new("/proc"), None).is_err());
        assert!(check_proc(Path::new("/proc/self/attr"), None).is_err());
        assert!(check_proc(Path::new("/proc/meminfo"), None).is_ok());
        assert!(check_proc(Path::new("/process"), None).is_ok());
    }
}
