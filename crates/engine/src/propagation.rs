//! Binds that are to pass on what is mounted below their sources later: that takes a source on a mount which passes it on.

use std::{fs, path::Path};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, ContainerSpec, MountKind, MountPoint};
use rustix::fs::{AtFlags, CWD, StatxFlags};

/// What `/proc/self/mountinfo` has of a mount that others get its mounts from, and of one that gets those of others.
const SHARED: &str = "shared:";
const SLAVE: &str = "master:";

/// Binds that have the data root in them, or lie in it, follow the host's mounts unless they are told otherwise, as with Docker: what is mounted
/// there comes and goes.
pub(crate) fn settle(data_root: &Path, spec: &ContainerSpec, mounts: &mut [MountPoint]) {
    // Kubernetes says what it wants of every mount.
    if spec.pod.is_some() {
        return;
    }
    for mount in mounts {
        if is_near(data_root, mount) && mount.propagation == "rprivate" && !is_asked(spec, mount) {
            "rslave".clone_into(&mut mount.propagation);
        }
    }
}

fn is_near(data_root: &Path, mount: &MountPoint) -> bool {
    let source = Path::new(&mount.source);
    mount.kind == MountKind::Bind
        && (data_root.starts_with(source) || source.starts_with(data_root))
}

/// Whether somebody has said how a mount is to pass on others.
fn is_asked(spec: &ContainerSpec, mount: &MountPoint) -> bool {
    let words = ["private", "shared", "slave"];
    let in_mode = mount.mode.split(',').any(|word| words.contains(&word.trim_start_matches('r')));
    let target = Path::new(&mount.destination);
    let mut requests = spec.host.mounts.iter().filter(|it| Path::new(&it.target) == target);
    in_mode || requests.any(|request| !request.propagation.is_empty())
}

/// Refuses what would silently be private, in Docker's words. The sources are there.
///
/// # Errors
/// A source is on no such mount.
pub(crate) fn check(data_root: &Path, container: &Container) -> Result<(), Failure> {
    let settled =
        |mount: &MountPoint| is_near(data_root, mount) && !is_asked(&container.spec, mount);
    let binds = container.mounts.iter().filter(|mount| mount.kind == MountKind::Bind);
    let binds = binds.filter(|mount| !settled(mount));
    let binds: Vec<_> = binds.filter_map(|mount| Some((mount, wanted(mount)?))).collect();
    if binds.is_empty() {
        return Ok(());
    }
    let all = fs::read_to_string("/proc/self/mountinfo").map_err(|error| {
        let words =
            format!("cannot read /proc/self/mountinfo for the propagation of binds: {error}");
        Failure::new(ErrorKind::Internal, words)
    })?;
    for (mount, (fields, kind)) in binds {
        let id = match rustix::fs::statx(CWD, &mount.source, AtFlags::empty(), StatxFlags::MNT_ID) {
            Ok(status) => status.stx_mnt_id,
            Err(errno) => {
                let words = format!("cannot look at {}: {errno}", mount.source);
                return Err(Failure::new(ErrorKind::Internal, words));
            }
        };
        // A mount that the list has not is of another namespace: the runtime sees what becomes of it.
        let Some((place, options)) = find(&all, id) else { continue };
        if options.iter().any(|option| fields.iter().any(|field| option.starts_with(field))) {
            continue;
        }
        let source = &mount.source;
        let words = format!("path {source} is mounted on {place} but it is not a {kind} mount");
        let hint = format!("\"mount --make-rshared {place}\" makes it one");
        return Err(Failure::new(ErrorKind::Internal, words).with_hint(hint));
    }
    Ok(())
}

/// What a mount's source must be on, and how that is called.
fn wanted(mount: &MountPoint) -> Option<(&'static [&'static str], &'static str)> {
    match mount.propagation.as_str() {
        "shared" | "rshared" => Some((&[SHARED], "shared")),
        "slave" | "rslave" => Some((&[SHARED, SLAVE], "shared or slave")),
        _ => None,
    }
}

/// Where the mount of that number is, and its optional fields: those before the hyphen.
fn find(all: &str, id: u64) -> Option<(&str, Vec<&str>)> {
    all.lines().find_map(|line| {
        let mut fields = line.split(' ');
        if fields.next()?.parse() != Ok(id) {
            return None;
        }
        let place = fields.nth(3)?;
        Some((place, fields.skip(1).take_while(|field| *field != "-").collect()))
    })
}

/// What is mounted there, by the mount's number: a device, or the name of a file system that has none.
pub(crate) fn source(all: &str, id: u64) -> Option<&str> {
    let line = all
        .lines()
        .find(|line| line.split(' ').next().and_then(|it| it.parse().ok()) == Some(id))?;
    // After the hyphen: type, source, options.
    line.split_once(" - ")?.1.split(' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::{find, source};

    #[test]
    fn mounts_are_found_by_their_number() {
        let all = "21 1 8:1 / / rw,relatime - ext4 /dev/a rw\n\
            22 21 0:20 / /sh rw shared:5 master:2 - tmpfs shared:9 rw\n";
        assert_eq!(find(all, 21), Some(("/", vec![])));
        assert_eq!(
            (source(all, 21), source(all, 22), source(all, 23)),
            (Some("/dev/a"), Some("shared:9"), None)
        );
        assert_eq!(find(all, 22), Some(("/sh", vec!["shared:5", "master:2"])));
        assert_eq!(find(all, 2), None);
    }
}
