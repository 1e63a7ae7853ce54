//! A container's file system as its processes see it, whether it runs or not, for `cp` and `export`.
//!
//! What has to be mounted for that is mounted in a mount namespace of its own, which a thread makes and leaves behind as a
//! descriptor: the host's namespace never sees it, and it is gone with the [`View`]. Of a container that runs, that namespace
//! is a copy of the container's, without `/proc` and `/sys`: there `self` would be us.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use ferry_archive::{IdRange, IdShift};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, FilesystemMount, MountKind, MountPoint};
use ferry_sys::{
    Errno, caps,
    mount::{self, Change, Filesystem, PROC_MAGIC, Propagation, SYSFS_MAGIC, attr},
    namespace::{self, flag},
    overlay::{self, Overlay},
    pidfd, process,
    root::{InRoot, file_type},
};
use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::Shared;

/// What a view is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only to look: nothing is written, not even where something is to be mounted.
    Read,
    /// To put something in.
    Write,
}

/// How ids at `path` of a container that does not run are on the disk, where a bind with `idmap` is there: its caller, or the owner
/// of its source, has root's place, as when it runs.
pub(crate) fn bind_ids(container: &Container, path: &Path) -> Option<IdShift> {
    let inside = container.mounts.iter().filter(|point| path.starts_with(&point.destination));
    let point = inside.max_by_key(|point| point.destination.len())?;
    if !point.idmap || point.kind != MountKind::Bind || container.state.phase.is_running() {
        return None;
    }
    let owner = || rustix::fs::stat(&point.source).ok().map(|stat| (stat.st_uid, stat.st_gid));
    let (user, group) = point.root.or_else(owner)?;
    let ids = IdShift { users: with_root(user), groups: with_root(group) };
    ((user, group) != (0, 0)).then_some(ids)
}

/// All ids as they are, but for root, who is `owner`; the last one is no id.
fn with_root(owner: u32) -> Vec<IdRange> {
    let Some(below) = owner.checked_sub(1) else { return vec![(0, 0, u32::MAX)] };
    let above = owner.saturating_add(1);
    let ranges = [(0, owner, 1), (1, 1, below), (above, above, u32::MAX - above)];
    ranges.into_iter().filter(|(.., count)| *count > 0).collect()
}

/// A container's file system with all that is mounted in it.
#[derive(Debug)]
pub(crate) struct View {
    /// Its root.
    pub(crate) root: InRoot,
    /// How its ids are the host's, where it runs in a user namespace: its mounts show them as the host's then.
    pub(crate) ids: Option<IdShift>,
    /// As long as this is open, what is mounted stays mounted.
    _namespace: Option<OwnedFd>,
}

impl View {
    /// Does something as the container's root. In a mount that maps ids only those can make files who are mapped.
    pub(crate) fn as_its_root(
        &self,
        work: impl FnOnce() -> Result<(), Failure> + Send,
    ) -> Result<(), Failure> {
        let Some((user, group)) = self.ids.as_ref().and_then(|ids| ids.to_host((0, 0))) else {
            return work();
        };
        // Ids for files belong to threads, too.
        let shifted = || {
            process::set_filesystem_ids(user, group);
            let raised = caps::get()
                .and_then(|own| caps::set(caps::Caps { effective: own.permitted, ..own }));
            raised.map_err(|errno| {
                let words = format!("cannot act as the container's root: {errno}");
                Failure::new(ErrorKind::Internal, words)
            })?;
            work()
        };
        std::thread::scope(|scope| scope.spawn(shifted).join()).unwrap_or_else(|_| {
            let words = "the thread that acts as the container's root ended early";
            Err(Failure::new(ErrorKind::Internal, words))
        })
    }
}

/// The file system with volumes, binds and other mounts in their places.
pub(crate) fn whole(
    shared: &Shared,
    container: &Container,
    access: Access,
) -> Result<View, Failure> {
    if let Some((pid, process)) = running(container) {
        match in_thread(move || copy_namespace(&process)) {
            // It ended just now.
            Err(Fault::Kernel(_, Errno::SRCH)) => {}
            view => return with_ids(view, pid).map_err(|fault| fault.told(container)),
        }
    }
    // What a volume's options name is mounted as long as it takes to clone it.
    let user = format!("view {}", crate::random::id()?);
    crate::mounted::hold_all(shared, container, &user)?;
    let view = crate::rootfs::with_subpaths(container)
        .and_then(|container| of_stopped(shared, &container, access));
    crate::mounted::release_all(shared, container, &user);
    view
}

fn of_stopped(shared: &Shared, container: &Container, access: Access) -> Result<View, Failure> {
    if access == Access::Write {
        crate::launch::make_bind_sources(container)?;
    }
    let plan = Plan::of(shared, container)?;
    let plan = match (
        access,
        in_thread({
            let plan = plan.clone();
            move || plan.mount(access)
        }),
    ) {
        // A place where something is mounted is not there yet, so it has to be made.
        (Access::Read, Err(Fault::NoPlace)) => plan,
        (_, view) => return view.map_err(|fault| fault.told(container)),
    };
    in_thread(move || plan.mount(Access::Write)).map_err(|fault| fault.told(container))
}

/// The file system alone, to be read: what is below its mounts, too.
pub(crate) fn without_mounts(shared: &Shared, container: &Container) -> Result<View, Failure> {
    if let Some((pid, process)) = running(container) {
        match in_thread(move || clone_root(&process)) {
            Err(Fault::Kernel(_, Errno::SRCH)) => {}
            view => return with_ids(view, pid).map_err(|fault| fault.told(container)),
        }
    }
    let overlay = Plan::of(shared, container)?.overlay(Access::Read);
    let root = overlay::root(&overlay).map_err(|error| Fault::Overlay(error).told(container))?;
    Ok(View { root, ids: None, _namespace: None })
}

/// What went wrong on the way to a view.
#[derive(Debug)]
enum Fault {
    Kernel(&'static str, Errno),
    Overlay(mount::MountError),
    Mount(String, Errno),
    NoPlace,
    Thread,
}

impl Fault {
    fn told(self, container: &Container) -> Failure {
        let why = match self {
            Fault::Kernel(step, errno) => format!("{step}: {errno}"),
            Fault::Overlay(error) => error.to_string(),
            Fault::Mount(place, errno) => format!("mount {place}: {errno}"),
            Fault::NoPlace => "a mount has no place".to_owned(),
            Fault::Thread => "the thread that opens it ended early".to_owned(),
        };
        let words = format!("cannot open the file system of container {}: {why}", container.id);
        Failure::new(ErrorKind::Internal, words)
    }
}

fn step(what: &'static str) -> impl Fn(Errno) -> Fault {
    move |errno| Fault::Kernel(what, errno)
}

/// Namespaces belong to threads: this one has no other use, and ends.
fn in_thread(work: impl FnOnce() -> Result<View, Fault> + Send + 'static) -> Result<View, Fault> {
    let thread = std::thread::Builder::new().name("view".to_owned()).spawn(work);
    thread.map_err(|_| Fault::Thread)?.join().map_err(|_| Fault::Thread)?
}

/// The container's process, if it runs.
fn running(container: &Container) -> Option<(i32, OwnedFd)> {
    let pid = container.state.pid.filter(|_| container.state.phase.is_running())?;
    Some((pid, pidfd::open(pid).ok()?))
}

/// A view of a running container with its ids, as the kernel has them.
fn with_ids(view: Result<View, Fault>, pid: i32) -> Result<View, Fault> {
    let view = view?;
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{name}"))
            .map(|text| id_ranges(&text))
            .map_err(|_| Fault::Kernel("read the id maps", Errno::SRCH))
    };
    let ids = IdShift { users: read("uid_map")?, groups: read("gid_map")? };
    let host = |ranges: &[IdRange]| matches!(ranges, [(0, 0, u32::MAX)]);
    let is_hosts = host(&ids.users) && host(&ids.groups);
    Ok(View { ids: (!is_hosts).then_some(ids), ..view })
}

/// Lines of user_namespaces(7): first id inside, first outside, count.
fn id_ranges(text: &str) -> Vec<IdRange> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    text.lines().filter_map(line).collect()
}

/// A copy of the mount namespace of a process.
fn copy_namespace(process: &OwnedFd) -> Result<View, Fault> {
    let proc = open_proc()?;
    namespace::unshare(flag::FS).map_err(step("unshare"))?;
    namespace::join(process.as_fd(), flag::MOUNT).map_err(step("setns"))?;
    namespace::unshare(flag::MOUNT).map_err(step("unshare"))?;
    mount::set_tree_propagation(Propagation::Private).map_err(step("make private"))?;
    for (place, magic) in [("/proc", PROC_MAGIC), ("/sys", SYSFS_MAGIC)] {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = rustix::fs::openat(CWD, place, flags, Mode::empty());
        if found.is_ok_and(|found| mount::is_on(found, magic).unwrap_or(false)) {
            match mount::detach(Path::new(place)) {
                // What came out of another user namespace is locked in its place: something empty goes over it.
                Err(Errno::INVAL) => cover(place)?,
                done => done.map_err(step("umount"))?,
            }
        }
    }
    let root = InRoot::open(Path::new("/")).map_err(step("open /"))?;
    Ok(View { root, ids: None, _namespace: Some(own_namespace(&proc)?) })
}

fn cover(place: &str) -> Result<(), Fault> {
    let empty = Filesystem::open("tmpfs").and_then(|tmpfs| tmpfs.mount(attr::RDONLY));
    let empty = empty.map_err(Fault::Overlay)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target =
        rustix::fs::openat(CWD, place, flags, Mode::empty()).map_err(step("open a mount"))?;
    mount::attach(empty.as_fd(), target.as_fd()).map_err(step("cover a mount"))
}

/// A copy of the root mount of a process, without what is mounted in it.
fn clone_root(process: &OwnedFd) -> Result<View, Fault> {
    namespace::unshare(flag::FS).map_err(step("unshare"))?;
    namespace::join(process.as_fd(), flag::MOUNT).map_err(step("setns"))?;
    let root = mount::clone_path(Path::new("/"), false).map_err(step("open_tree"))?;
    Ok(View { root: InRoot::from_fd(root), ids: None, _namespace: None })
}

/// The host's `/proc`: another namespace may have none.
fn open_proc() -> Result<OwnedFd, Fault> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, "/proc", flags, Mode::empty()).map_err(step("open /proc"))
}

fn own_namespace(proc: &OwnedFd) -> Result<OwnedFd, Fault> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(proc, "thread-self/ns/mnt", flags, Mode::empty())
        .map_err(step("open the mount namespace"))
}

/// What a container that does not run is made of.
#[derive(Debug, Clone)]
struct Plan {
    lower: Vec<PathBuf>,
    dir: PathBuf,
    mounts: Vec<MountPoint>,
}

impl Plan {
    fn of(shared: &Shared, container: &Container) -> Result<Plan, Failure> {
        let mut mounts = container.mounts.clone();
        // Parents before what is in them.
        mounts.sort_by_key(|point| point.destination.split('/').count());
        let lower = shared.lower_dirs(&container.layers)?;
        Ok(Plan { lower, dir: shared.dirs.data(&container.id), mounts })
    }

    /// To be read, what the container has written is one more lower directory: such an overlay writes nothing, not even when
    /// it goes.
    fn overlay(&self, access: Access) -> Overlay {
        let (upper, work) = (self.dir.join("upper"), self.dir.join("work"));
        match access {
            Access::Write => Overlay {
                lower: self.lower.clone(),
                upper: Some(upper),
                work: Some(work),
                context: None,
            },
            Access::Read => {
                let lower = std::iter::once(upper).chain(self.lower.iter().cloned()).collect();
                Overlay { lower, ..Overlay::default() }
            }
        }
    }

    fn mount(&self, access: Access) -> Result<View, Fault> {
        let proc = open_proc()?;
        namespace::unshare(flag::FS | flag::MOUNT).map_err(step("unshare"))?;
        mount::set_tree_propagation(Propagation::Private).map_err(step("make private"))?;
        let tree = overlay::detached(&self.overlay(access)).map_err(Fault::Overlay)?;
        // Where nobody looks.
        let place =
            InRoot::open(&self.dir.join("work")).map_err(step("open the work directory"))?;
        mount::attach(tree.as_fd(), place.as_dir()).map_err(step("attach the overlay"))?;
        let root = InRoot::from_fd(tree);
        for point in &self.mounts {
            mount_point(&root, point, access)?;
        }
        for file in ["hosts", "hostname", "resolv.conf"] {
            self.etc_file(&root, file)?;
        }
        Ok(View { root, ids: None, _namespace: Some(own_namespace(&proc)?) })
    }

    /// The files that a container gets in `/etc`, once it has run.
    fn etc_file(&self, root: &InRoot, file: &str) -> Result<(), Fault> {
        let source = self.dir.join(file);
        let target = PathBuf::from("/etc").join(file);
        if !source.exists() || self.mounts.iter().any(|own| Path::new(&own.destination) == target) {
            return Ok(());
        }
        let Ok(place) = root.resolve(&target) else { return Ok(()) };
        if !matches!(file_type(place.as_fd()), Ok(FileType::RegularFile)) {
            return Ok(());
        }
        let failed = |errno| Fault::Mount(target.display().to_string(), errno);
        let tree = mount::clone_path(&source, false).map_err(failed)?;
        mount::attach(tree.as_fd(), place.as_fd()).map_err(failed)
    }
}

/// What a volume's driver options name, or an image.
fn filesystem(wanted: &FilesystemMount) -> Result<OwnedFd, mount::MountError> {
    let made = Filesystem::open(&wanted.kind)?;
    made.set("source", Some(wanted.device.as_bytes()))?;
    for option in &wanted.options {
        match option.split_once('=') {
            Some((key, value)) => made.set(key, Some(value.as_bytes()))?,
            // What is about the mount, not the file system, matters to the container alone.
            None if matches!(option.as_str(), "ro" | "rw" | "nosuid" | "nodev" | "noexec") => {}
            None => made.set(option, None)?,
        }
    }
    made.mount(0)
}

fn mount_point(root: &InRoot, point: &MountPoint, access: Access) -> Result<(), Fault> {
    let failed = |errno| Fault::Mount(point.destination.clone(), errno);
    let target = Path::new(&point.destination);
    let tree = if let Some(wanted) = &point.filesystem {
        filesystem(wanted).map_err(Fault::Overlay)?
    } else if point.kind == MountKind::Tmpfs {
        // What such a container has there begins anew with each start; what is put there now goes with this view.
        let made = Filesystem::open("tmpfs").and_then(|tmpfs| tmpfs.mount(0));
        made.map_err(Fault::Overlay)?
    } else {
        let (source, below) = (Path::new(&point.source), Path::new(&point.subpath));
        let cloned = match point.kind == MountKind::Volume && !point.subpath.is_empty() {
            true => mount::clone_below(source, below, true),
            false => mount::clone_path(source, true),
        };
        match cloned {
            // Its next start makes the source, or says that it is missing.
            Err(Errno::NOENT) => return Ok(()),
            tree => tree.map_err(failed)?,
        }
    };
    let is_directory = matches!(file_type(tree.as_fd()), Ok(FileType::Directory));
    let place = match access {
        Access::Write if is_directory => root.mkdir_all(target, 0o755),
        Access::Write => root.create_file(target, 0o755),
        Access::Read => match root.resolve(target) {
            Err(Errno::NOENT) => return Err(Fault::NoPlace),
            place => place,
        },
    };
    let place = place.map_err(failed)?;
    let change = Change {
        set: if point.rw { 0 } else { attr::RDONLY },
        propagation: Some(Propagation::Private),
        ..Change::default()
    };
    mount::set_attributes(tree.as_fd(), &change, true).map_err(failed)?;
    mount::attach(tree.as_fd(), place.as_fd()).map_err(failed)
}
