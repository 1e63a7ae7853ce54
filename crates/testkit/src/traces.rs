//! What containers leave in the kernel and on the disk, counted from the kernel's own files.

use std::{collections::BTreeSet, path::Path, process::Command, time::Duration};

use crate::{
    Sandbox,
    command::{eventually, run},
};

/// Everything that belongs to one sandbox at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Mount points of the machine that mention the sandbox.
    pub mounts: BTreeSet<String>,
    /// Links on its bridge.
    pub links: BTreeSet<String>,
    /// Its cgroups.
    pub cgroups: BTreeSet<String>,
    /// Elements of its nftables maps and sets, in both families.
    pub elements: BTreeSet<String>,
    /// Network namespaces that processes or files hold, machine-wide, are not told apart by owner; ours are those of our
    /// processes.
    pub processes: BTreeSet<String>,
    /// Directories of containers and volumes.
    pub directories: BTreeSet<String>,
    /// Open descriptors of the daemon.
    pub descriptors: usize,
    /// Children of the daemon that nobody has waited for.
    pub zombies: usize,
}

impl Traces {
    /// Looks now.
    #[track_caller]
    pub fn of(sandbox: &Sandbox) -> Traces {
        // With the slash: `…-1` is not `…-10`.
        let root = format!("{}/", sandbox.dir().display());
        let pid = sandbox.daemon_pid();
        Traces {
            mounts: lines("/proc/self/mountinfo").filter(|line| line.contains(&root)).collect(),
            links: links(sandbox.bridge()),
            cgroups: cgroups(&sandbox.cgroup_parent()),
            elements: elements(&sandbox.table()),
            processes: processes(&root, pid),
            directories: ["data/containers", "data/volumes", "run/c"]
                .iter()
                .flat_map(|name| names(&sandbox.dir().join(name)))
                .collect(),
            descriptors: names(Path::new(&format!("/proc/{pid}/fd"))).len(),
            zombies: zombies(pid),
        }
    }

    /// Looks when nothing moves any more: of no container is anything left, and two looks are the same.
    #[track_caller]
    pub fn at_rest(sandbox: &Sandbox) -> Traces {
        let mut last = Traces::of(sandbox);
        eventually("nothing is left of any container, and nothing moves", || {
            std::thread::sleep(PAUSE);
            let now = Traces::of(sandbox);
            let rests = now == last && now.has_no_containers();
            last = now;
            rests.then(|| last.clone())
        })
    }

    /// Waits until everything is as it was, but for `more` descriptors: a daemon keeps some for what it has learnt.
    #[track_caller]
    pub fn come_back_to(sandbox: &Sandbox, before: &Traces, more: usize, what: &str) {
        let mut now = Traces::of(sandbox);
        for _ in 0..200 {
            let same = Traces { descriptors: before.descriptors, ..now.clone() } == *before;
            if same && now.descriptors <= before.descriptors.saturating_add(more) {
                return;
            }
            std::thread::sleep(PAUSE);
            now = Traces::of(sandbox);
        }
        assert_eq!(now, *before, "{what}: something stays (up to {more} descriptors may)");
    }

    /// The directories of containers and volumes of no name have ids as names.
    fn has_no_containers(&self) -> bool {
        let of_nobody = |path: &String| path.rsplit('/').next().unwrap_or_default().len() != 64;
        self.links.is_empty()
            && self.processes.is_empty()
            && self.zombies == 0
            && self.cgroups.iter().chain(&self.directories).all(of_nobody)
    }
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

fn lines(path: &str) -> impl Iterator<Item = String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn links(bridge: &str) -> BTreeSet<String> {
    names(&Path::new("/sys/class/net").join(bridge).join("brif")).into_iter().collect()
}

fn cgroups(parent: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let root = Path::new("/sys/fs/cgroup");
    for hierarchy in names(root).iter().map(|name| root.join(name)).chain([root.to_owned()]) {
        let own = hierarchy.join(parent);
        for name in names(&own) {
            if own.join(&name).is_dir() {
                found.insert(own.join(name).to_string_lossy().into_owned());
            }
        }
    }
    found
}

fn elements(table: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for family in ["ip", "ip6"] {
        let listing = run(Command::new("nft").args(["-j", "list", "table", family, table]));
        // Without a table there is nothing in it.
        let listing: serde_json::Value = serde_json::from_str(&listing.stdout).unwrap_or_default();
        let objects = listing["nftables"].as_array().into_iter().flatten();
        let holders = objects.filter_map(|it| it.get("map").or_else(|| it.get("set")));
        for holder in holders {
            let name = holder["name"].as_str().unwrap();
            let elements = holder["elem"].as_array().into_iter().flatten();
            found.extend(elements.map(|element| format!("{family} {name}: {element}")));
        }
    }
    found
}

/// Command lines and pids of processes that have the sandbox in their environment, command line or mounts: shims and what
/// they run. The daemon and its template are not counted.
fn processes(root: &str, daemon: u32) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for pid in names(Path::new("/proc")).iter().filter_map(|name| name.parse::<u32>().ok()) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
        let is_template = parent == Some(&daemon.to_string()) && status.contains("ferry-template");
        if pid == daemon || pid == std::process::id() || is_template {
            continue;
        }
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let name = status.lines().next().unwrap_or_default();
        if is_shim_of(Path::new(root), pid) {
            found.insert(format!("{pid} {name}"));
        }
        if mounts.contains(root)
            && !std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().contains(root)
        {
            found.insert(format!("{pid} {name}"));
        }
    }
    found
}

/// The shims that daemons with this directory have made.
pub(crate) fn shims(root: &Path) -> Vec<u32> {
    let pids = names(Path::new("/proc")).into_iter().filter_map(|name| name.parse().ok());
    pids.filter(|pid| is_shim_of(root, *pid)).collect()
}

/// A shim whose container is gone has no mounts any more, but the log of the daemon that it is from.
fn is_shim_of(root: &Path, pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let log = std::fs::read_link(format!("/proc/{pid}/fd/2")).unwrap_or_default();
    name == "ferry-shim\n" && log.starts_with(root)
}

/// Dead children of the daemon and of the process that it forks shims from. What these two leave when they die is not theirs
/// any more.
fn zombies(daemon: u32) -> usize {
    let pids: Vec<u32> =
        names(Path::new("/proc")).into_iter().filter_map(|name| name.parse().ok()).collect();
    let status =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let children_of = |parent: u32| {
        let line = format!("PPid:\t{parent}\n");
        pids.iter().filter(|pid| status(pid).contains(&line)).copied().collect::<Vec<_>>()
    };
    let children = children_of(daemon);
    let all = children.iter().flat_map(|child| children_of(*child)).chain(children.clone());
    all.filter(|pid| status(pid).contains("State:\tZ")).count()
}
