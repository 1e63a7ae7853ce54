//! Volumes that are mounted with the driver's options: once, at their mountpoint on the host, for all the containers that run on
//! them, as Docker does it. So two containers share a tmpfs, and a network's file system has one mount.
//!
//! A mount goes when the last container that has it ends, or at boot when none has it any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::{Container, MountKind},
    volume::Volume,
};
use rustix::{
    fs::{AtFlags, CWD, StatxAttributes, StatxFlags},
    io::Errno,
    mount::{MountFlags, UnmountFlags},
};

use crate::Shared;

type Users = Arc<Mutex<BTreeSet<String>>>;

/// Who uses which mounted volume.
#[derive(Debug, Default)]
pub(crate) struct Mounted(Mutex<BTreeMap<String, Users>>);

impl Mounted {
    /// One lock a volume: a network that does not answer holds up only those who wait for it.
    fn users(&self, volume: &str) -> Users {
        let mut volumes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(volumes.entry(volume.to_owned()).or_default())
    }
}

/// Mounts a volume for `user`, if it is one that is mounted and is not yet. Blocks.
pub(crate) fn hold(shared: &Shared, volume: &Volume, user: &str) -> Result<(), Failure> {
    let Some(wanted) = Wanted::of(volume) else { return Ok(()) };
    let users = shared.mounted.users(&volume.name);
    let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_mounted(&volume.mountpoint) {
        wanted.mount(&volume.mountpoint)?;
    }
    users.insert(user.to_owned());
    Ok(())
}

/// Takes `user` away; the last one's end unmounts.
pub(crate) fn release(shared: &Shared, volume: &Volume, user: &str) {
    if Wanted::of(volume).is_none() {
        return;
    }
    let users = shared.mounted.users(&volume.name);
    let mut users = users.lock().unwrap_or_else(PoisonError::into_inner);
    users.remove(user);
    if users.is_empty() && is_mounted(&volume.mountpoint) {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        if let Err(errno) = rustix::mount::unmount(&volume.mountpoint, flags) {
            tracing::warn!(volume = volume.name, %errno, "a volume stays mounted");
        }
    }
}

/// Sees to it that nothing is mounted where a volume's content is. What removes its directory would remove what is on the server, too.
///
/// # Errors
/// It cannot be unmounted, or somebody else has mounted something there.
pub(crate) fn let_go(shared: &Shared, volume: &Volume) -> Result<(), Failure> {
    release(shared, volume, "");
    if !is_mounted(&volume.mountpoint) {
        return Ok(());
    }
    let Volume { name, mountpoint, .. } = volume;
    let words = format!("remove {name}: something else is mounted at {mountpoint}");
    let hint = format!("to remove the volume and keep what is mounted: umount {mountpoint}");
    Err(Failure::new(ErrorKind::Conflict, words).with_hint(hint))
}

/// Mounts all volumes of a container for it. Blocks.
pub(crate) fn hold_all(shared: &Shared, container: &Container, user: &str) -> Result<(), Failure> {
    for volume in volumes(shared, container) {
        if let Err(failure) = hold(shared, &volume, user) {
            release_all(shared, container, user);
            return Err(failure);
        }
    }
    Ok(())
}

/// The container does not need its volumes any more.
pub(crate) fn release_all(shared: &Shared, container: &Container, user: &str) {
    for volume in volumes(shared, container) {
        release(shared, &volume, user);
    }
}

/// Unmounts what nobody holds: a daemon before has died.
pub(crate) fn sweep(shared: &Shared) {
    for volume in shared.volumes.list() {
        release(shared, &volume, "");
    }
}

fn volumes(shared: &Shared, container: &Container) -> Vec<Volume> {
    let mounts = container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
    // A record of an earlier version says itself what is to be mounted.
    let names = mounts.filter(|mount| mount.filesystem.is_none()).filter_map(|m| m.name.as_ref());
    names.filter_map(|name| shared.volumes.get(name).ok()).collect()
}

fn is_mounted(place: &str) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(CWD, place, flags, StatxFlags::empty())
        .is_ok_and(|status| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Words of `o=` that are flags of mount(2), as moby's `sys/mount` has them; `false` takes the flag back.
const FLAGS: [(&str, MountFlags, bool); 20] = [
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("suid", MountFlags::NOSUID, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("dev", MountFlags::NODEV, false),
    ("nodev", MountFlags::NODEV, true),
    ("exec", MountFlags::NOEXEC, false),
    ("noexec", MountFlags::NOEXEC, true),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("async", MountFlags::SYNCHRONOUS, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("atime", MountFlags::NOATIME, false),
    ("noatime", MountFlags::NOATIME, true),
    ("diratime", MountFlags::NODIRATIME, false),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("relatime", MountFlags::RELATIME, true),
    ("norelatime", MountFlags::RELATIME, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("nostrictatime", MountFlags::STRICTATIME, false),
    ("defaults", MountFlags::empty(), true),
];

/// What the driver's options ask for.
struct Wanted<'a> {
    kind: &'a str,
    device: &'a str,
    flags: MountFlags,
    data: Vec<String>,
}

impl Wanted<'_> {
    /// `None`: the volume is a directory of ours, or a plain bind, which containers mount from where it is.
    fn of(volume: &Volume) -> Option<Wanted<'_>> {
        let device = volume.options.get("device").filter(|device| !device.is_empty())?;
        if crate::ops::container::is_plain_bind(volume) {
            return None;
        }
        let kind = volume.options.get("type").map_or("none", String::as_str);
        let words = volume.options.get("o").map(String::as_str).unwrap_or_default();
        let mut wanted = Wanted { kind, device, flags: MountFlags::empty(), data: Vec::new() };
        for word in words.split(',').filter(|word| !word.is_empty()) {
            match FLAGS.iter().find(|(known, ..)| *known == word) {
                Some((_, flag, set)) => wanted.flags.set(*flag, *set),
                None => wanted.data.push(word.to_owned()),
            }
        }
        Some(wanted)
    }

    /// Mounts it; errors in Docker's words.
    fn mount(mut self, place: &str) -> Result<(), Failure> {
        let failed = |why: String| {
            let words = format!("error while mounting volume '{place}': {why}");
            Failure::new(ErrorKind::Internal, words)
        };
        if matches!(self.kind, "nfs" | "cifs") {
            for word in &mut self.data {
                if let Some(host) = word.strip_prefix("addr=") {
                    *word = format!("addr={}", address(host).map_err(failed)?);
                }
            }
        }
        let mut device = self.device.to_owned();
        let addressed = self.data.iter().any(|word| word.starts_with("addr="));
        if self.kind == "cifs"
            && !addressed
            && let Some(server) = ferry_volume::server(self.device)
        {
            let address = address(server).map_err(failed)?.to_string();
            device = device.replacen(server, &address, 1);
        }
        let data = self.data.join(",");
        let c_data = std::ffi::CString::new(data.as_str())
            .map_err(|_| failed("an option has a zero byte".to_owned()))?;
        rustix::mount::mount(&*device, place, self.kind, self.flags, c_data.as_c_str()).map_err(
            |errno| {
                let mut words = format!("mount {device}:{place}");
                if !self.flags.is_empty() {
                    words.push_str(&format!(", flags: {:#x}", self.flags.bits()));
                }
                if !data.is_empty() {
                    words.push_str(&format!(", data: {}", without_password(&self.data)));
                }
                let why = kernel_words(errno);
                let failure = failed(format!("failed to mount local volume: {words}: {why}"));
                match errno == Errno::NODEV && !kernel_knows(self.kind) {
                    true => failure.with_hint(unknown(self.kind)),
                    false => failure,
                }
            },
        )
    }
}

/// Whether the kernel can mount file systems of this type now: what is a module may not be loaded yet.
fn kernel_knows(kind: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split_whitespace().next_back() == Some(kind))
}

/// What to do about a type that the kernel does not know.
fn unknown(kind: &str) -> String {
    format!(
        "this kernel knows no file systems of type \"{kind}\" (/proc/filesystems): load its module with \"modprobe {kind}\", \
         or run a kernel that has it"
    )
}

/// What may be shown of the options.
fn without_password(data: &[String]) -> String {
    let shown = data.iter().map(|word| match word.strip_prefix("password=") {
        Some(_) => "password=********",
        None => word,
    });
    shown.collect::<Vec<_>>().join(",")
}

/// The kernel's reason, as Go writes it.
fn kernel_words(errno: Errno) -> String {
    let words = std::io::Error::from(errno).to_string();
    words.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// The address of a server: the kernel takes no names.
fn address(host: &str) -> Result<IpAddr, String> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let wrong =
        || format!("error resolving passed in network volume address: lookup {host}: no such host");
    let found: Vec<IpAddr> =
        (host, 0).to_socket_addrs().map_err(|_| wrong())?.map(|socket| socket.ip()).collect();
    found.iter().find(|ip| ip.is_ipv4()).or(found.first()).copied().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(kind: &str, device: &str, o: &str) -> Volume {
        let pairs = [("type", kind), ("device", device), ("o", o)];
        let options = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Volume { options: options.into_iter().collect(), ..Volume::default() }
    }

    #[test]
    fn options_are_flags_and_data() {
        let nfs = volume("nfs", ":/x", "addr=10.0.0.1,rw,noatime,soft");
        let wanted = Wanted::of(&nfs).unwrap();
        assert_eq!(wanted.flags, MountFlags::NOATIME);
        assert_eq!(wanted.data, ["addr=10.0.0.1", "soft"]);
        assert_eq!(
            without_password(&["user=x".into(), "password=y".into()]),
            "user=x,password=********"
        );
        assert_eq!(ferry_volume::server("//nas.lan/share"), Some("nas.lan"));
        assert_eq!(ferry_volume::server("/dev/sda"), None);
        assert!(Wanted::of(&volume("none", "/srv", "bind,ro")).is_none());
        assert!(Wanted::of(&Volume::default()).is_none());
        assert!(!is_mounted("/nonexistent") && is_mounted("/"));
    }

    #[test]
    fn names_become_addresses() {
        assert_eq!(address("10.1.2.3").unwrap().to_string(), "10.1.2.3");
        assert_eq!(address("localhost").unwrap().to_string(), "127.0.0.1");
        assert!(address("nowhere.invalid").unwrap_err().ends_with("nowhere.invalid: no such host"));
    }
}
