//! A container like Docker's, made by hand: for the tests and the example of this crate.
#![allow(dead_code, unreachable_pub, reason = "each user needs a part of it")]
#![allow(clippy::unwrap_used, reason = "for tests")]

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ferry_cgroup::{Cgroup, Hierarchy};
use ferry_oci::runtime::{
    Linux, LinuxCapabilities, LinuxDeviceCgroup, LinuxNamespace, LinuxResources, Mount, Process,
    Root, Spec,
};
use ferry_runtime::{Bundle, Created, Rootfs, Running, Stdio, StdioRequest};

/// Docker's default set.
pub const CAPS: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(source.into()),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

pub fn bind(source: &Path, destination: &str, options: &[&str]) -> Mount {
    mount(destination, "bind", &source.to_string_lossy(), options)
}

pub fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What dockerd would write for `docker run --network none IMAGE ARGS`.
pub fn spec(args: &[&str]) -> Spec {
    let caps = strings(&CAPS);
    Spec {
        oci_version: "1.2.0".into(),
        process: Some(Process {
            args: strings(args),
            env: strings(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]),
            cwd: "/".into(),
            capabilities: Some(LinuxCapabilities {
                bounding: caps.clone(),
                effective: caps.clone(),
                permitted: caps,
                ..LinuxCapabilities::default()
            }),
            oom_score_adj: Some(0),
            ..Process::default()
        }),
        root: Some(Root { path: "/".into(), readonly: false }),
        hostname: Some("0123456789ab".into()),
        mounts: vec![
            mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"],
            ),
        ],
        linux: Some(Linux {
            namespaces: ["mount", "network", "uts", "pid", "ipc", "cgroup"]
                .iter()
                .map(|kind| LinuxNamespace { kind: (*kind).into(), path: None })
                .collect(),
            masked_paths: strings(&[
                "/proc/asound",
                "/proc/acpi",
                "/proc/interrupts",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/proc/scsi",
                "/sys/firmware",
                "/sys/devices/virtual/powercap",
            ]),
            readonly_paths: strings(&[
                "/proc/bus",
                "/proc/fs",
                "/proc/irq",
                "/proc/sys",
                "/proc/sysrq-trigger",
            ]),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

fn device(allow: bool, kind: &str, major: Option<i64>, minor: Option<i64>) -> LinuxDeviceCgroup {
    LinuxDeviceCgroup {
        allow,
        kind: Some(kind.into()),
        major,
        minor,
        access: Some(if major.is_none() && kind != "a" { "m".into() } else { "rwm".into() }),
    }
}

/// Docker's device rules.
pub fn resources() -> LinuxResources {
    let mut devices = vec![
        device(false, "a", None, None),
        device(true, "c", None, None),
        device(true, "b", None, None),
    ];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)] {
        devices.push(device(true, "c", Some(major), Some(minor)));
    }
    devices.push(device(true, "c", Some(136), None));
    LinuxResources { devices, ..LinuxResources::default() }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A root file system with busybox, an overlay on it, and a cgroup; all gone when dropped.
pub struct Bed {
    pub dir: PathBuf,
    pub id: String,
    pub rootfs: Rootfs,
    pub cgroup: Option<Cgroup>,
}

impl Bed {
    /// `None` where this cannot be run: no root, or no static busybox.
    pub fn new(resources: &LinuxResources) -> Option<Bed> {
        if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("rt{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(format!("ferry-runtime-{id}"));
        make_busybox(&dir.join("lower"));
        let hierarchy = Hierarchy::detect().ok()?;
        let cgroup = Cgroup::create(&hierarchy, &format!("ferry-test-{id}"), resources).unwrap();
        let rootfs = overlay(&dir, vec![dir.join("lower")]);
        Some(Bed { dir, id, rootfs, cgroup: Some(cgroup) })
    }

    pub fn lower(&self) -> PathBuf {
        self.dir.join("lower")
    }

    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    pub fn bundle<'a>(&'a self, spec: &'a Spec) -> Bundle<'a> {
        Bundle {
            id: &self.id,
            spec,
            rootfs: &self.rootfs,
            filter: None,
            cgroup: self.cgroup.as_ref(),
            init: false,
            bundle_dir: &self.dir,
            gate: None,
            preserve_fds: 0,
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            let _ = cgroup.kill_all();
            if let Err(error) = cgroup.delete() {
                eprintln!("left behind: {error}");
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// An overlay's directories below `dir`.
pub fn overlay(dir: &Path, lower: Vec<PathBuf>) -> Rootfs {
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    fs::create_dir_all(&upper).unwrap();
    fs::create_dir_all(&work).unwrap();
    Rootfs::Overlay { lower, upper, work }
}

fn make_busybox(root: &Path) {
    for dir in ["bin", "etc", "tmp", "proc", "sys", "dev", "root", "srv"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let applets = [
        "sh", "true", "false", "cat", "id", "ls", "sleep", "mknod", "mount", "stat", "tty", "env",
        "echo", "hostname", "readlink", "kill", "dd", "grep", "ps", "test", "touch", "mkdir",
        "unshare", "setsid", "umount", "stty", "head", "wc", "nproc",
    ];
    for applet in applets {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:www:/srv:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:33:\nadm:x:4:web\n").unwrap();
    fs::write(root.join("bin/bad"), "#!/no/such/interpreter\n").unwrap();
    fs::write(root.join("bin/garbage"), "\x7fELFnonsense").unwrap();
    for script in ["bin/bad", "bin/garbage"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(root.join(script), mode).unwrap();
    }
}

/// Standard files that lead to a pipe; `/dev/null` for input.
pub fn piped() -> (StdioRequest, OwnedFd) {
    let flags = rustix::pipe::PipeFlags::CLOEXEC;
    let (read, write) = rustix::pipe::pipe_with(flags).unwrap();
    let stdin = fs::File::open("/dev/null").unwrap().into();
    let stderr = write.try_clone().unwrap();
    (StdioRequest::Files(Stdio { stdin, stdout: write, stderr }), read)
}

/// Everything until the other end is closed.
pub fn drain(fd: OwnedFd) -> String {
    let mut bytes = Vec::new();
    // A terminal whose other side is gone answers EIO.
    let _ = std::io::Read::read_to_end(&mut fs::File::from(fd), &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for the end: its exit code.
pub fn finish(running: Running) -> i32 {
    use std::os::fd::AsFd;
    ferry_sys::pidfd::wait(running.pidfd.as_fd()).unwrap().code()
}

/// Creates, starts, waits: exit code and output.
pub fn run(bundle: &Bundle<'_>) -> (i32, String) {
    let (stdio, output) = piped();
    let created: Created = ferry_runtime::create(bundle, stdio).unwrap();
    let running = created.start().unwrap();
    let text = drain(output);
    (finish(running), text)
}
