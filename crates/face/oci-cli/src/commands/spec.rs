//! `spec`: a configuration to begin with.

use std::{fs::OpenOptions, io::Write, path::Path};

use ferry_oci::runtime::{
    Linux, LinuxCapabilities, LinuxDeviceCgroup, LinuxNamespace, LinuxResources, Mount,
    PosixRlimit, Process, Root, Spec, VERSION,
};

use super::Command;
use crate::{
    Ended,
    arguments::{Arguments, Flag},
    options::Global,
    report::{failed, invalid},
};

pub(super) const COMMAND: Command = Command {
    name: "spec",
    usage: "[command options]",
    flags: &[Flag::value("bundle").short('b'), Flag::switch("rootless")],
    run,
    failure_code: 1,
};

fn run(_: &Global, arguments: &Arguments) -> Ended {
    if arguments.is_set("rootless") {
        return Err(invalid("--rootless is not supported: ferry oci needs root"));
    }
    let file = Path::new(arguments.one("bundle").unwrap_or(".")).join("config.json");
    let mut text = serde_json::to_string_pretty(&example())
        .map_err(|error| failed("cannot write the configuration", error))?;
    text.push('\n');
    let opened = OpenOptions::new().write(true).create_new(true).open(&file);
    match opened {
        Ok(mut opened) => {
            opened.write_all(text.as_bytes()).map_err(|error| failed(file.display(), error))?;
            Ok(0)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(invalid("File config.json exists. Remove it first"))
        }
        Err(error) => Err(failed(file.display(), error)),
    }
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.to_owned(),
        kind: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: words(options),
        ..Mount::default()
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A shell with three capabilities, as runc's example has it.
fn example() -> Spec {
    let capabilities = words(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let hidden = ["nosuid", "noexec", "nodev"];
    let namespace =
        |kind: &&str| LinuxNamespace { kind: (*kind).to_owned(), ..LinuxNamespace::default() };
    Spec {
        oci_version: VERSION.to_owned(),
        process: Some(Process {
            terminal: true,
            args: words(&["sh"]),
            env: words(&[
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ]),
            cwd: "/".to_owned(),
            capabilities: Some(LinuxCapabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities,
                ..LinuxCapabilities::default()
            }),
            rlimits: vec![PosixRlimit { kind: "RLIMIT_NOFILE".to_owned(), hard: 1024, soft: 1024 }],
            no_new_privileges: true,
            ..Process::default()
        }),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        hostname: Some("ferry".to_owned()),
        mounts: vec![
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            ),
            mount("/dev/mqueue", "mqueue", "mqueue", &hidden),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "relatime", "ro"],
            ),
        ],
        linux: Some(Linux {
            resources: Some(LinuxResources {
                devices: vec![LinuxDeviceCgroup {
                    access: Some("rwm".to_owned()),
                    ..LinuxDeviceCgroup::default()
                }],
                ..LinuxResources::default()
            }),
            namespaces: ["pid", "network", "ipc", "uts", "mount", "cgroup"]
                .iter()
                .map(namespace)
                .collect(),
            masked_paths: words(&[
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ]),
            readonly_paths: words(&[
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
