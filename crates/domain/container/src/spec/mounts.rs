//! The mounts of a container, in the order in which they are made.

use ferry_model::container::{BindRecursion, Container, MountKind, MountPoint};
use ferry_oci::runtime::{LinuxIdMapping, Mount};

use super::{Namespace, SpecInputs};
use crate::security::SecurityOptions;

/// `/dev/shm` unless the user says otherwise.
const SHM_SIZE: i64 = 64 << 20;

pub(super) fn plan(inputs: &SpecInputs<'_>, security: &SecurityOptions) -> Vec<Mount> {
    let user = user_mounts(inputs);
    let mut mounts = system_mounts(inputs, security);
    // What the user mounts there hides ours.
    mounts.retain(|own| !user.iter().any(|other| other.destination == own.destination));
    mounts.extend(user);
    mounts
}

/// The root must pass mounts on when a bind mount asks to receive them (moby `oci_linux.go` `WithMounts`).
pub(super) fn rootfs_propagation(container: &Container) -> Option<String> {
    let asks = |word: &str| {
        container.mounts.iter().any(|mount| mount.propagation.trim_start_matches('r') == word)
    };
    if asks("shared") {
        return Some("shared".to_owned());
    }
    asks("slave").then(|| "rslave".to_owned())
}

fn system_mounts(inputs: &SpecInputs<'_>, security: &SecurityOptions) -> Vec<Mount> {
    let host = &inputs.container.spec.host;
    let access = |writable: bool| if writable { "rw" } else { "ro" };
    let writable_cgroups = host.privileged || security.writable_cgroups;
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access(host.privileged)]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", access(writable_cgroups)],
        ),
    ];
    // A queue file system shows the queues of the namespace that its mounter is in: the host's too, where that is shared.
    mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
    if *inputs.ipc == Namespace::Host {
        mounts.push(mount("/dev/shm", "bind", "/dev/shm", &["rbind", "nosuid", "noexec", "nodev"]));
        return mounts;
    }
    if let Some(shm) = inputs.joined_shm {
        mounts.push(mount("/dev/shm", "bind", shm, &["rbind", "nosuid", "noexec", "nodev"]));
    } else if host.ipc_mode != Some(ferry_model::container::IpcMode::None) {
        let size = if host.shm_size > 0 { host.shm_size } else { SHM_SIZE };
        let size = format!("size={size}");
        mounts.push(mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &size],
        ));
    }
    mounts
}

/// The user's mounts and the three files in `/etc`, parents before children.
fn user_mounts(inputs: &SpecInputs<'_>) -> Vec<Mount> {
    let mut points: Vec<&MountPoint> = inputs.container.mounts.iter().collect();
    points.sort_by_key(|point| point.destination.split('/').count());
    let mut mounts: Vec<Mount> = points
        .into_iter()
        .map(|point| match point.kind {
            // What is in a volume belongs to containers, and each sees it as its own. A directory of the host stays whose
            // it is.
            MountKind::Volume => mapped(user_mount(point), inputs),
            MountKind::Bind | MountKind::Image if point.maps.is_some() => {
                with_maps(user_mount(point), point)
            }
            // Nobody's files: whoever mounts the image sees them as its own.
            MountKind::Image => mapped(user_mount(point), inputs),
            MountKind::Bind if point.idmap => owned_by_root(user_mount(point), point, inputs),
            _ => user_mount(point),
        })
        .collect();
    let targets = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
    for (target, source) in targets.into_iter().zip(inputs.etc_files) {
        if !mounts.iter().any(|mount| mount.destination == target) {
            mounts.push(mapped(mount(target, "bind", source, &["rbind", "rprivate"]), inputs));
        }
    }
    mounts
}

/// The bind with the ids that were asked for; what is mounted below its source keeps those that it has, as with containerd.
fn with_maps(mut mount: Mount, point: &MountPoint) -> Mount {
    if let Some(maps) = &point.maps {
        mount.options.push("idmap".to_owned());
        mount.uid_mappings.clone_from(&maps.uids);
        mount.gid_mappings.clone_from(&maps.gids);
    }
    mount
}

/// In a user namespace, the mount with the container's ids for the host's.
fn mapped(mut mount: Mount, inputs: &SpecInputs<'_>) -> Mount {
    if let Some(user) = inputs.user {
        mount.options.push("idmap".to_owned());
        mount.uid_mappings.clone_from(&user.maps.uids);
        mount.gid_mappings.clone_from(&user.maps.gids);
    }
    mount
}

/// The bind with its caller, or else its source's owner, in the place of the container's root, so that what root makes there belongs
/// to that one.
fn owned_by_root(mut mount: Mount, point: &MountPoint, inputs: &SpecInputs<'_>) -> Mount {
    let Some((uid, gid)) = point.root.or_else(|| (inputs.owner)(&point.source)) else {
        return mount;
    };
    let (uids, gids) = match inputs.user {
        Some(user) => (user.maps.uids.as_slice(), user.maps.gids.as_slice()),
        None if (uid, gid) == (0, 0) => return mount,
        None => (EVERYBODY.as_slice(), EVERYBODY.as_slice()),
    };
    let deep = point.recursion != BindRecursion::Disabled;
    mount.options.push(if deep { "ridmap" } else { "idmap" }.to_owned());
    mount.uid_mappings = with_root(uid, uids);
    mount.gid_mappings = with_root(gid, gids);
    mount
}

/// All ids as they are. The last one is no id.
const EVERYBODY: [LinuxIdMapping; 1] =
    [LinuxIdMapping { container_id: 0, host_id: 0, size: u32::MAX }];

/// A map in which `owner` on the disk is root. Root on the disk is nobody then: no container writes files of the host's root,
/// and what root left there shows as nobody's.
fn with_root(owner: u32, map: &[LinuxIdMapping]) -> Vec<LinuxIdMapping> {
    let holds = |range: &LinuxIdMapping, id: u32| {
        id.checked_sub(range.container_id).filter(|distance| *distance < range.size)
    };
    let root = map.iter().find_map(|range| Some(range.host_id + holds(range, 0)?));
    let mut out = Vec::new();
    out.extend(root.map(|host_id| LinuxIdMapping { container_id: owner, host_id, size: 1 }));
    for range in map {
        let mut cuts: Vec<u32> =
            [holds(range, 0), holds(range, owner)].into_iter().flatten().collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut from = 0;
        for cut in cuts.into_iter().chain([range.size]) {
            if cut > from {
                out.push(LinuxIdMapping {
                    container_id: range.container_id + from,
                    host_id: range.host_id + from,
                    size: cut - from,
                });
            }
            from = cut.saturating_add(1);
        }
    }
    out
}

fn user_mount(point: &MountPoint) -> Mount {
    if point.kind == MountKind::Tmpfs {
        return tmpfs(point);
    }
    if let Some(filesystem) = &point.filesystem {
        let mut mount = mount(&point.destination, &filesystem.kind, &filesystem.device, &[]);
        mount.options.clone_from(&filesystem.options);
        mount.options.extend((!point.rw).then(|| "ro".to_owned()));
        return mount;
    }
    let mut options = vec![match point.recursion {
        BindRecursion::Disabled => "bind",
        BindRecursion::Enabled | BindRecursion::Writable | BindRecursion::Readonly => "rbind",
    }];
    if !point.rw {
        options.push(match point.recursion {
            BindRecursion::Enabled | BindRecursion::Readonly => "rro",
            BindRecursion::Disabled | BindRecursion::Writable => "ro",
        });
    }
    options.push(if point.propagation.is_empty() { "rprivate" } else { &point.propagation });
    let below = (point.kind == MountKind::Volume && !point.subpath.is_empty())
        .then(|| point.subpath.clone());
    Mount { ferry_below: below, ..mount(&point.destination, "bind", &point.source, &options) }
}

fn tmpfs(point: &MountPoint) -> Mount {
    let mut options: Vec<String> =
        ["noexec", "nosuid", "nodev", "rprivate"].map(str::to_owned).to_vec();
    for option in point.tmpfs_options.split(',').filter(|option| !option.is_empty()) {
        // `exec` takes back what Docker sets by default.
        let opposite = match option {
            "exec" => "noexec",
            "suid" => "nosuid",
            "dev" => "nodev",
            _ => "",
        };
        options.retain(|known| known != opposite && known != option);
        options.push(option.to_owned());
    }
    if point.tmpfs_size > 0 {
        options.push(format!("size={}", point.tmpfs_size));
    }
    if point.tmpfs_mode > 0 {
        options.push(format!("mode={:o}", point.tmpfs_mode));
    }
    if !point.rw && !options.iter().any(|option| option == "ro") {
        options.push("ro".to_owned());
    }
    Mount {
        destination: point.destination.clone(),
        kind: Some("tmpfs".to_owned()),
        source: Some("tmpfs".to_owned()),
        options,
        ..Mount::default()
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_root_and_root_is_nobody() {
        let map = |ranges: &[(u32, u32, u32)]| -> Vec<LinuxIdMapping> {
            let range = |(container_id, host_id, size): &(u32, u32, u32)| LinuxIdMapping {
                container_id: *container_id,
                host_id: *host_id,
                size: *size,
            };
            ranges.iter().map(range).collect()
        };
        assert_eq!(
            with_root(1000, &EVERYBODY),
            map(&[(1000, 0, 1), (1, 1, 999), (1001, 1001, u32::MAX - 1001)])
        );
        assert_eq!(
            with_root(1, &map(&[(0, 100_000, 3)])),
            map(&[(1, 100_000, 1), (2, 100_002, 1)])
        );
        assert_eq!(
            with_root(0, &map(&[(0, 100_000, 3)])),
            map(&[(0, 100_000, 1), (1, 100_001, 2)])
        );
        // Whom the container's namespace does not know owns nothing in it but this.
        assert_eq!(
            with_root(70_000, &map(&[(0, 100_000, 65_536)])),
            map(&[(70_000, 100_000, 1), (1, 100_001, 65_535)])
        );
    }
}
