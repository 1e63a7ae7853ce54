//! Which mounts of a container are not its own: CRIU must take them as given, and whoever restores it brings them. Pure.

use std::collections::BTreeSet;

/// File systems that CRIU makes anew.
const REMADE: [&str; 6] = ["proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2"];

/// A line of `/proc/PID/mountinfo`.
struct Mount<'a> {
    device: &'a str,
    root: &'a str,
    place: &'a str,
    kind: &'a str,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split(' ').skip(2);
        let (device, root, place) = (fields.next()?, fields.next()?, fields.next()?);
        let kind = line.split_once(" - ")?.1.split(' ').next()?;
        Some(Mount { device, root, place, kind })
    }
}

/// The places in a container where something is mounted that is not its own, given its `mountinfo` and those of the namespaces that it has
/// mounts of: the machine's, and its pod's.
pub(super) fn external(own: &str, others: &[String]) -> Vec<String> {
    let mounts: Vec<Mount<'_>> = own.lines().filter_map(Mount::read).collect();
    let others = others.iter().flat_map(|text| text.lines());
    let foreign: BTreeSet<&str> = others.filter_map(Mount::read).map(|it| it.device).collect();
    let whole: BTreeSet<&str> =
        mounts.iter().filter(|it| it.root == "/").map(|it| it.device).collect();
    let root = mounts.iter().find(|it| it.place == "/").map(|it| it.device);
    let is_own = |it: &Mount<'_>| {
        let made = it.kind == "tmpfs" && !foreign.contains(it.device);
        it.place == "/"
            || Some(it.device) == root
            // A part of a file system can be made only out of the whole of it.
            || (whole.contains(it.device) && (made || REMADE.contains(&it.kind)))
    };
    mounts.iter().filter(|it| !is_own(it)).map(|it| plain(it.place)).collect()
}

/// A path without the kernel's escapes: `\040` is a space.
fn plain(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_external() {
        let own = "\
1 0 0:45 / / rw - overlay overlay rw
2 1 254:0 /data/hosts /etc/hosts rw - ext4 /dev/vda rw
3 1 0:47 / /proc rw - proc proc rw
4 3 0:47 /sys /proc/sys ro - proc proc rw
5 3 0:6 /null /proc/keys rw - devtmpfs devtmpfs rw
6 1 0:48 / /dev rw - tmpfs tmpfs rw
7 6 0:52 / /dev/shm rw - tmpfs shm rw
8 1 0:60 / /var/run/secrets\\040of\\134it ro - tmpfs tmpfs rw
9 1 0:31 /pod/one /sys/fs/cgroup/cpu ro - cgroup cgroup rw
10 1 0:61 / /image ro - overlay overlay rw
11 1 0:45 /data /again rw - overlay overlay rw
12 1 8:1 / /disk rw,relatime shared:5 - ext4 /dev/sdb rw
13 1 0:70 / /tmp rw - tmpfs tmpfs rw
14 1 0:71 / /sys/fs/cgroup ro - cgroup2 cgroup rw
";
        let host = "20 1 0:60 / /var/lib/kubelet/x rw - tmpfs tmpfs rw\n21 1 0:71 / /sys/fs/cgroup rw - cgroup2 c rw\n";
        let pod = "30 1 0:52 / /dev/shm rw - tmpfs shm rw\n";
        let found = external(own, &[host.to_owned(), pod.to_owned()]);
        let wanted = [
            "/etc/hosts",
            "/proc/keys",
            "/dev/shm",
            "/var/run/secrets of\\it",
            "/sys/fs/cgroup/cpu",
            "/image",
            "/disk",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(plain("/a\\0"), "/a\\0");
        assert_eq!(plain("/a\\999b\\011"), "/a\\999b\t");
    }
}
