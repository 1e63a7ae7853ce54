//! What all pods use and may use, read in one go: a kubelet asks for it every few seconds. No program is started for it.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
};

use ferry_cgroup::{BlkioEntry, Detail};
use ferry_errkind::Failure;
use ferry_model::container::Container;
use ferry_stdx::time::Timestamp;
use rustix::fs::{AtFlags, CWD, StatVfs, StatxFlags};

use super::{container::Counters, find, list, part};
use crate::{
    Engine, Shared,
    ops::{
        container::{interfaces_of, machine_memory},
        disk::Room,
    },
    propagation,
};

/// What a sandbox or a container of a pod uses.
#[derive(Debug, Clone)]
pub struct Usage {
    /// When this was read.
    pub read: Timestamp,
    /// What its cgroup says; a memory limit above the machine's memory is the latter.
    pub detail: Detail,
    /// By interface; none in the host's network, or in another container's.
    pub networks: BTreeMap<String, Counters>,
}

/// What one of them uses; `None`: it does not run.
///
/// # Errors
/// There is none, or several.
pub async fn usage(engine: &Engine, id: &str) -> Result<Option<Usage>, Failure> {
    let (shared, it) = (Arc::clone(&engine.shared), find(engine, id)?);
    crate::blocking(move || {
        let cgroup = shared.cgroup(&it).ok().filter(|_| it.state.phase.is_running());
        Ok(cgroup.map(|cgroup| {
            let mut detail = cgroup.detail();
            let stats = &mut detail.stats;
            stats.memory_limit = stats.memory_limit.min(machine_memory());
            Usage { read: shared.now(), detail, networks: interfaces_of(&it) }
        }))
    })
    .await
}

/// A pod that runs.
#[derive(Debug, Clone)]
pub struct PodFigures {
    /// Its sandbox.
    pub pod: Arc<Container>,
    /// When this was read.
    pub read: Timestamp,
    /// By interface; none for a pod in the host's network.
    pub networks: BTreeMap<String, Counters>,
    /// Its containers that run.
    pub containers: Vec<ContainerFigures>,
}

/// A container that runs.
#[derive(Debug, Clone)]
pub struct ContainerFigures {
    /// Its record.
    pub container: Arc<Container>,
    /// When this was read.
    pub read: Timestamp,
    /// What its cgroup says.
    pub usage: Detail,
    /// What its processes have open.
    pub processes: Processes,
    /// Where it writes.
    pub disk: Disk,
    /// Names of the devices in `usage`, by their numbers: `/dev/sda`.
    pub devices: BTreeMap<(u64, u64), String>,
}

/// Processes of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Processes {
    /// How many there are; a thread is none.
    pub count: u64,
    /// Open files of them all.
    pub descriptors: u64,
    /// Sockets among them.
    pub sockets: u64,
    /// How many open files the first process may have (the soft limit), if there is a limit.
    pub descriptors_max: Option<u64>,
}

/// The file system that a container writes to, and what it has written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// What is mounted there: `/dev/sda1`.
    pub device: String,
    /// What the container has written.
    pub used: Room,
    /// Bytes that fit there, or that its quota allows.
    pub bytes: Option<u64>,
    /// Inodes there are in all and free ones; `None` for a file system that makes them as they are needed.
    pub inodes: Option<(u64, u64)>,
}

/// The figures of all pods that run.
///
/// # Errors
/// None of its own; what goes away meanwhile is left out.
pub async fn figures(engine: &Engine) -> Result<Vec<PodFigures>, Failure> {
    let (shared, all) = (Arc::clone(&engine.shared), list(engine));
    crate::blocking(move || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut members: HashMap<String, Vec<ContainerFigures>> = HashMap::new();
        let running = all.into_iter().filter(|it| it.state.phase.is_running());
        let (containers, pods): (Vec<_>, Vec<_>) =
            running.partition(|it| part(it).is_some_and(|part| part.sandbox.is_some()));
        for it in containers {
            let Some(pod) = part(&it).and_then(|part| part.sandbox.clone()) else { continue };
            if let Some(figures) = of_container(&shared, it, &mounts) {
                members.entry(pod).or_default().push(figures);
            }
        }
        let of_pod = |pod: Arc<Container>| PodFigures {
            read: shared.now(),
            networks: interfaces_of(&pod),
            containers: members.remove(&pod.id).unwrap_or_default(),
            pod,
        };
        Ok(pods.into_iter().map(of_pod).collect())
    })
    .await
}

/// `None`: it has ended meanwhile.
fn of_container(
    shared: &Shared,
    container: Arc<Container>,
    mounts: &str,
) -> Option<ContainerFigures> {
    let cgroup = shared.cgroup(&container).ok()?;
    let pids = cgroup.pids().ok()?;
    let mut usage = cgroup.detail();
    let asked = u64::try_from(container.spec.host.resources.cpu_shares).unwrap_or(0);
    if asked != 0 && shared.hierarchy.is_v2() {
        // The kernel has a weight only.
        usage.limits.cpu_shares = Some(asked);
    }
    let entries = usage.stats.io_bytes.iter().chain(&usage.stats.io_operations);
    let numbers = |entry: &BlkioEntry| (entry.major, entry.minor);
    let devices = entries.map(numbers).map(|of| (of, device_name(of))).collect();
    let processes = processes(Path::new("/proc"), container.state.pid?, &pids);
    let disk = disk(&shared.dirs.data(&container.id).join("upper"), mounts);
    Some(ContainerFigures { read: shared.now(), usage, processes, disk, devices, container })
}

/// A block device's name; its numbers where it has none.
fn device_name((major, minor): (u64, u64)) -> String {
    let link = fs::read_link(format!("/sys/dev/block/{major}:{minor}"));
    let name = link.ok().and_then(|to| Some(to.file_name()?.to_str()?.replace('!', "/")));
    name.map_or_else(|| format!("{major}:{minor}"), |name| format!("/dev/{name}"))
}

fn disk(upper: &Path, mounts: &str) -> Disk {
    let (bytes, files) = crate::usage::room(upper);
    let mount = rustix::fs::statx(CWD, upper, AtFlags::empty(), StatxFlags::MNT_ID);
    let device = mount.ok().and_then(|status| propagation::source(mounts, status.stx_mnt_id));
    let system = rustix::fs::statvfs(upper).ok();
    let bytes_of = |system: &StatVfs| system.f_blocks.saturating_mul(system.f_frsize);
    Disk {
        device: device.unwrap_or_default().to_owned(),
        used: Room { bytes, files },
        bytes: system.as_ref().map(bytes_of),
        inodes: system.map(|it| (it.f_files, it.f_ffree)).filter(|(all, _)| *all != 0),
    }
}

fn processes(proc: &Path, first: i32, pids: &[i32]) -> Processes {
    let of = |pid: i32| proc.join(pid.to_string());
    let limits = fs::read_to_string(of(first).join("limits")).unwrap_or_default();
    let mut found = Processes { descriptors_max: open_files(&limits), ..Processes::default() };
    for &pid in pids {
        found.count += 1;
        for entry in fs::read_dir(of(pid).join("fd")).into_iter().flatten().flatten() {
            found.descriptors += 1;
            let target = fs::read_link(entry.path()).unwrap_or_default();
            found.sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
        }
    }
    found
}

/// The soft limit in a line of `Max open files  1024  524288  files`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files "))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn open_files_are_counted_and_sockets_among_them() {
        let proc = std::env::temp_dir().join(format!("ferry-figures-{}", std::process::id()));
        for (pid, fd, target) in [
            (7, 0, "/dev/null"),
            (7, 1, "socket:[12]"),
            (7, 2, "pipe:[3]"),
            (8, 0, "/socket:"),
            (8, 9, "socket:[12]"),
            (9, 0, "socket:[13]"),
        ] {
            fs::create_dir_all(proc.join(format!("{pid}/fd"))).unwrap();
            symlink(target, proc.join(format!("{pid}/fd/{fd}"))).unwrap();
        }
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max processes             100                  200                  processes \n\
            Max open files            1024                 524288               files     \n";
        fs::write(proc.join("7/limits"), limits).unwrap();
        let found = processes(&proc, 7, &[7, 8]);
        fs::remove_dir_all(&proc).unwrap();
        let two = Processes { count: 2, descriptors: 5, sockets: 2, descriptors_max: Some(1024) };
        assert_eq!(found, two);
        assert_eq!(
            open_files("Max open files            unlimited            unlimited   files"),
            None
        );
    }

    #[test]
    fn a_directory_is_on_a_file_system() {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let found = disk(Path::new("/proc/self/ns"), &mounts);
        assert_eq!((found.device.as_str(), found.inodes), ("proc", None));
        assert_eq!(disk(Path::new("/nowhere/at/all"), &mounts), Disk::default());
    }

    #[test]
    fn devices_have_the_kernel_s_names() {
        assert_eq!(device_name((4095, 1)), "4095:1");
        for entry in fs::read_dir("/sys/dev/block").into_iter().flatten().flatten() {
            let numbers = entry.file_name().into_string().unwrap();
            let (major, minor) = numbers.split_once(':').unwrap();
            let name = device_name((major.parse().unwrap(), minor.parse().unwrap()));
            let told = fs::read_to_string(entry.path().join("uevent")).unwrap();
            let told = told.lines().find_map(|line| line.strip_prefix("DEVNAME="));
            assert_eq!(Some(name.as_str()), told.map(|told| format!("/dev/{told}")).as_deref());
        }
    }
}
