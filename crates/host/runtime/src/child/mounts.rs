//! The mounts of the configuration, in its order. Every target is resolved inside the root file system.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use ferry_cgroup::Cgroup;
use ferry_oci::runtime::{Mount, Spec};
use ferry_sys::mount::{self, Change, PROC_MAGIC, Propagation, attr};
use ferry_sys::overlay::{Durability, Overlay};
use ferry_sys::root::{InRoot, file_type};
use ferry_sys::{Errno, Result as SysResult};
use rustix::fs::FileType;

use super::options::{Depth, Options};
use super::{copy_up, filesystems};
use crate::error::{Failure, Outcome, words};
use crate::foreign;
use crate::mapped::{self, Maps};

/// What a bind mount will show, opened while the host's tree is still as the user sees it.
#[derive(Debug)]
pub(crate) enum Source {
    /// Not a bind mount.
    New,
    /// A detached copy of the source, which stays in its peer group.
    Tree(OwnedFd),
}

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

/// Opens the sources of all bind mounts. A source keeps its place among mounts with `rshared` only if it is copied
/// before the tree around it is made private; and a container's own mounts must not hide sources from later ones.
pub(crate) fn open_sources(spec: &Spec, bundle_dir: &Path) -> Outcome<Vec<Source>> {
    spec.mounts.iter().map(|entry| open_source(entry, spec, bundle_dir)).collect()
}

/// One of them.
pub(crate) fn open_source(entry: &Mount, spec: &Spec, bundle_dir: &Path) -> Outcome<Source> {
    let options = Options::read(&entry.options);
    let is_bind = options.bind.is_some() || entry.kind.as_deref() == Some("bind");
    if !is_bind && entry.kind.as_deref() == Some("overlay") && wants_maps(entry) {
        let layers = layers_of(entry, &options, filesystems::labelled(spec))?;
        let tree = mapped::overlay(&layers, Durability::Volatile, &maps_of(entry, spec)?)
            .map_err(|failure| failed(entry, &failure.message))?;
        return Ok(Source::Tree(tree));
    }
    if !is_bind {
        return Ok(Source::New);
    }
    let source = entry.source.as_deref().unwrap_or_default();
    let recursive = options.bind != Some(Depth::This);
    // Joining with an absolute path answers that path.
    let path = bundle_dir.join(source);
    let tree = match (of_process(&path), &entry.ferry_below) {
        (Some((pid, below)), _) => foreign::clone_of_process(pid, &below, recursive),
        (None, Some(below)) => mount::clone_below(&path, Path::new(below), recursive),
        (None, None) => mount::clone_path(&path, recursive),
    };
    let tree = tree.map_err(|errno| match errno {
        Errno::NOENT => failed(entry, &format!("no such file or directory: {source}")),
        errno => failed(entry, &words(errno)),
    })?;
    if wants_maps(entry) {
        let namespace = maps_of(entry, spec)?.namespace()?;
        let deep = options.idmap == Some(Depth::All);
        mapped::shift(tree.as_fd(), &namespace, deep).map_err(|errno| {
            let why = "cannot map its ids (Linux 5.12 and ext4, xfs, btrfs or tmpfs can)";
            failed(entry, &format!("{why}: {}", words(errno)))
        })?;
    }
    Ok(Source::Tree(tree))
}

/// The maps of a mount: its own, else the container's.
fn maps_of(entry: &Mount, spec: &Spec) -> Outcome<Maps> {
    let own = (!entry.uid_mappings.is_empty())
        .then(|| Maps::new(&entry.uid_mappings, &entry.gid_mappings));
    own.or_else(|| Maps::of(spec)).ok_or_else(|| failed(entry, "id mapped mounts need id maps"))
}

/// Directories one upon the other that nobody writes to. The kernel maps ids of an overlay's layers, not of the overlay.
fn layers_of(entry: &Mount, options: &Options, label: Option<&str>) -> Outcome<Overlay> {
    let mut layers = Overlay { context: label.map(str::to_owned), ..Overlay::default() };
    for (key, value) in &options.data {
        let Some(dir) = value.as_deref().filter(|_| key == "lowerdir+") else {
            return Err(failed(entry, &format!("an id mapped overlay cannot have option {key}")));
        };
        layers.lower.push(PathBuf::from(dir));
    }
    Ok(layers)
}

/// `/proc/<pid>/root/<path>`: the process, and the path as that process sees it.
fn of_process(path: &Path) -> Option<(i32, PathBuf)> {
    let mut parts = path.components();
    let mut is = |name: &str| parts.next().is_some_and(|part| part.as_os_str() == name);
    if !is("/") || !is("proc") {
        return None;
    }
    let pid = parts.next()?.as_os_str().to_str()?.parse().ok()?;
    let is_root = parts.next()?.as_os_str() == "root";
    is_root.then(|| (pid, Path::new("/").join(parts.as_path())))
}

/// Whether a mount can only be opened by the maker: it takes another process to do it, or other runtimes do not know how.
pub(crate) fn is_opened_outside(entry: &Mount) -> bool {
    wants_maps(entry)
        || entry.ferry_below.is_some()
        || entry.source.as_deref().is_some_and(|s| of_process(Path::new(s)).is_some())
}

/// Whether a mount shows its files under other ids. The specification has options and maps for it, and either may say so.
fn wants_maps(entry: &Mount) -> bool {
    Options::read(&entry.options).idmap.is_some()
        || !entry.uid_mappings.is_empty()
        || !entry.gid_mappings.is_empty()
}

/// `error mounting "a" to rootfs at "/b": …`, runc's words.
fn failed(entry: &Mount, why: &str) -> Failure {
    let source = entry.source.as_deref().unwrap_or_default();
    Failure::new(format!("error mounting {source:?} to rootfs at {:?}: {why}", entry.destination))
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
    fn an_id_mapped_overlay_has_its_layers_and_the_label() {
        let layers = |words: &[&str]| {
            let options: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let label = Some("system_u:object_r:container_file_t:s0:c1,c2");
            layers_of(&Mount::default(), &Options::read(&options), label)
        };
        let read = layers(&["ro", "lowerdir+=/top", "lowerdir+=/base"]).unwrap();
        assert_eq!(read.lower, [Path::new("/top"), Path::new("/base")]);
        assert_eq!(read.context.unwrap(), "system_u:object_r:container_file_t:s0:c1,c2");
        let refused = layers(&["upperdir=/u"]).unwrap_err();
        assert!(refused.message.contains("cannot have option upperdir"), "{}", refused.message);
    }

    #[test]
    fn proc_is_kept_for_procfs() {
        assert!(check_proc(Path::new("/proc"), None).is_err());
        assert!(check_proc(Path::new("/proc/self/attr"), None).is_err());
        assert!(check_proc(Path::new("/proc/meminfo"), None).is_ok());
        assert!(check_proc(Path::new("/process"), None).is_ok());
    }
}
