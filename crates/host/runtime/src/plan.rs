//! A configuration, read and checked before anything is forked: what it asks for in the kernel's terms.

use std::fs::File;
use std::os::fd::OwnedFd;

use ferry_oci::runtime::{
    Linux, LinuxCapabilities, LinuxNamespace, Process, Spec, capability_number,
};
use ferry_sys::caps::{self, CapSet};
use ferry_sys::idmap::{self, Range};
use ferry_sys::namespace::flag;
use ferry_sys::process::{CStrings, CloneFlags};
use ferry_sys::{Errno, seccomp as sys_seccomp};

use crate::error::CreateError;
use crate::seccomp;

/// Names the rlimits (comma-separated, `RLIMIT_NOFILE,…`) that nobody asked for: where the kernel refuses to raise one
/// of these, what can be had is taken, with a warning. Any other refusal is an error, as in runc.
pub const DEFAULT_RLIMITS_ANNOTATION: &str = "org.ferry.default-rlimits";

/// Which namespaces are new, which are joined.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// For clone3.
    pub(crate) new: CloneFlags,
    /// A new cgroup namespace, which has to wait until the process is in its cgroup.
    pub(crate) new_cgroup: bool,
    /// A new time namespace, which the child makes itself: its offsets are set before anybody is in it.
    pub(crate) new_time: bool,
    /// To join in the child, in this order.
    pub(crate) join: Vec<(CloneFlags, OwnedFd)>,
    /// A pid namespace to clone into: the maker joins it for its children.
    pub(crate) join_pid: Option<OwnedFd>,
}

/// The kind a namespace's name stands for.
pub(crate) fn kind(name: &str) -> Option<CloneFlags> {
    Some(match name {
        "pid" => flag::PID,
        "network" => flag::NET,
        "mount" => flag::MOUNT,
        "ipc" => flag::IPC,
        "uts" => flag::UTS,
        "user" => flag::USER,
        "cgroup" => flag::CGROUP,
        "time" => flag::TIME,
        _ => return None,
    })
}

impl Namespaces {
    pub(crate) fn read(list: &[LinuxNamespace]) -> Result<Namespaces, CreateError> {
        let mut result = Namespaces {
            new: 0,
            new_cgroup: false,
            new_time: false,
            join: Vec::new(),
            join_pid: None,
        };
        let mut seen = 0;
        for namespace in list {
            let Some(kind) = kind(&namespace.kind) else {
                let name = &namespace.kind;
                return Err(CreateError::Config(format!("namespace {name:?} is not supported")));
            };
            if seen & kind != 0 {
                let name = &namespace.kind;
                return Err(CreateError::Config(format!("namespace {name:?} given twice")));
            }
            seen |= kind;
            match namespace.path.as_ref().filter(|path| !path.as_os_str().is_empty()) {
                None if kind == flag::CGROUP => result.new_cgroup = true,
                None if kind == flag::TIME => result.new_time = true,
                None => result.new |= kind,
                Some(path) => {
                    let file = File::open(path).map_err(|error| CreateError::Prepare {
                        what: format!("cannot open namespace {}", path.display()),
                        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
                    })?;
                    match kind {
                        flag::PID => result.join_pid = Some(file.into()),
                        // Its capabilities are what the others need.
                        flag::USER => result.join.insert(0, (kind, file.into())),
                        _ => result.join.push((kind, file.into())),
                    }
                }
            }
        }
        if seen & flag::MOUNT == 0 || result.join.iter().any(|(kind, _)| *kind == flag::MOUNT) {
            let words = "a container needs a mount namespace of its own";
            return Err(CreateError::Config(words.to_owned()));
        }
        Ok(result)
    }
}

/// The kinds of namespaces a running container has apart from its pid namespace, to join at once.
pub(crate) fn kinds_to_join(spec: &Spec) -> CloneFlags {
    let list = spec.linux.as_ref().map_or(&[][..], |linux| &linux.namespaces);
    list.iter().filter_map(|namespace| kind(&namespace.kind)).fold(0, |all, one| all | one)
}

/// Id maps for a new user namespace.
pub(crate) fn maps(linux: &Linux) -> (Vec<Range>, Vec<Range>) {
    let range = |map: &ferry_oci::runtime::LinuxIdMapping| Range {
        inside: map.container_id,
        outside: map.host_id,
        size: map.size,
    };
    let uids = linux.uid_mappings.iter().map(range).collect();
    let gids = linux.gid_mappings.iter().map(range).collect();
    (uids, gids)
}

pub(crate) fn check_maps(uids: &[Range], gids: &[Range]) -> Result<(), CreateError> {
    for (name, map) in [("uid", uids), ("gid", gids)] {
        if map.is_empty() {
            let words = format!("user namespaces enabled, but no {name} mappings found");
            return Err(CreateError::Config(words));
        }
        if map.len() > idmap::MAX_RANGES {
            return Err(CreateError::Config(format!("more than 340 {name} mappings")));
        }
    }
    Ok(())
}

/// How a process is to be shaped before it execs.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) args: Vec<String>,
    pub(crate) argv: CStrings,
    pub(crate) caps: Option<Capabilities>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) filter: Option<(Vec<u8>, u32)>,
    pub(crate) warnings: Vec<String>,
}

/// The five sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) bounding: CapSet,
    pub(crate) effective: CapSet,
    pub(crate) permitted: CapSet,
    pub(crate) inheritable: CapSet,
    pub(crate) ambient: CapSet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rlimit {
    pub(crate) resource: u32,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
    /// Whether to take less where this much is refused.
    pub(crate) lenient: bool,
}

/// Docker has no bound of its own; the kernel's is 128 KiB a string and a quarter of the stack in all.
const MAX_ARGS: usize = 1 << 20;

impl Shape {
    pub(crate) fn read(
        spec: &Spec,
        process: &Process,
        filter: Option<&[u8]>,
    ) -> Result<Shape, CreateError> {
        let config = |words: &str| CreateError::Config(words.to_owned());
        if process.args.is_empty() {
            return Err(config("process.args must not be empty"));
        }
        if process.args.len() > MAX_ARGS || process.env.len() > MAX_ARGS {
            return Err(config("too many arguments or environment variables"));
        }
        let argv = CStrings::new(process.args.iter().map(String::as_str))
            .ok_or_else(|| config("an argument contains a NUL byte"))?;
        if process.env.iter().any(|pair| pair.contains('\0')) {
            return Err(config("an environment variable contains a NUL byte"));
        }
        if !process.cwd.starts_with('/') {
            return Err(config("Cwd must be an absolute path"));
        }
        let mut warnings = Vec::new();
        let caps = process.capabilities.as_ref().map(|caps| read_caps(caps, &mut warnings));
        let profile = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
        let flags = match profile {
            Some(profile) => seccomp::load_flags(profile)
                .map_err(|error| CreateError::Config(error.to_string()))?,
            None => sys_seccomp::FLAG_SPEC_ALLOW,
        };
        Ok(Shape {
            args: process.args.clone(),
            argv,
            caps,
            rlimits: read_rlimits(spec, process)?,
            filter: filter.map(|bytes| (bytes.to_vec(), flags)),
            warnings,
        })
    }
}

fn read_caps(given: &LinuxCapabilities, warnings: &mut Vec<String>) -> Capabilities {
    let mut unknown: Vec<String> = Vec::new();
    let mut set = |names: &[String]| -> CapSet {
        let mut bits = 0;
        for name in names {
            match capability_number(name) {
                Some(number) => bits |= caps::bit(number),
                None => {
                    if !unknown.contains(name) {
                        unknown.push(name.clone());
                    }
                }
            }
        }
        bits
    };
    let result = Capabilities {
        bounding: set(&given.bounding),
        effective: set(&given.effective),
        permitted: set(&given.permitted),
        inheritable: set(&given.inheritable),
        ambient: set(&given.ambient),
    };
    if !unknown.is_empty() {
        warnings.push(format!("ignoring unknown or unavailable capabilities: {unknown:?}"));
    }
    result
}

fn read_rlimits(spec: &Spec, process: &Process) -> Result<Vec<Rlimit>, CreateError> {
    let lenient = spec.annotations.get(DEFAULT_RLIMITS_ANNOTATION).map_or("", String::as_str);
    let mut rlimits: Vec<Rlimit> = Vec::with_capacity(process.rlimits.len());
    for limit in &process.rlimits {
        let Some(resource) = resource(&limit.kind) else {
            let kind = &limit.kind;
            return Err(CreateError::Config(format!("invalid rlimit type: {kind}")));
        };
        if rlimits.iter().any(|known| known.resource == resource) {
            let kind = &limit.kind;
            return Err(CreateError::Config(format!("duplicate rlimit {kind}")));
        }
        rlimits.push(Rlimit {
            resource,
            soft: limit.soft,
            hard: limit.hard,
            lenient: lenient.split(',').any(|name| name == limit.kind),
        });
    }
    Ok(rlimits)
}

fn resource(name: &str) -> Option<u32> {
    let number = match name {
        "RLIMIT_CPU" => 0,
        "RLIMIT_FSIZE" => 1,
        "RLIMIT_DATA" => 2,
        "RLIMIT_STACK" => 3,
        "RLIMIT_CORE" => 4,
        "RLIMIT_RSS" => 5,
        "RLIMIT_NPROC" => 6,
        "RLIMIT_NOFILE" => 7,
        "RLIMIT_MEMLOCK" => 8,
        "RLIMIT_AS" => 9,
        "RLIMIT_LOCKS" => 10,
        "RLIMIT_SIGPENDING" => 11,
        "RLIMIT_MSGQUEUE" => 12,
        "RLIMIT_NICE" => 13,
        "RLIMIT_RTPRIO" => 14,
        "RLIMIT_RTTIME" => 15,
        _ => return None,
    };
    Some(number)
}

/// Sysctls as paths below `/proc/sys`. Only ones that belong to a namespace of the container: the others are the host's.
pub(crate) fn sysctls(spec: &Spec) -> Result<Vec<(String, String)>, CreateError> {
    let Some(linux) = &spec.linux else { return Ok(Vec::new()) };
    let own = |name: &str| linux.namespaces.iter().any(|namespace| namespace.kind == name);
    let mut all = Vec::with_capacity(linux.sysctl.len());
    for (name, value) in &linux.sysctl {
        let path = sysctl_path(name);
        let refused = |words: &str| Err(CreateError::Config(format!("sysctl {name:?} {words}")));
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
            return refused("is not a valid name");
        }
        let allowed = match parts[0] {
            "net" => own("network"),
            "fs" => parts.get(1) == Some(&"mqueue") && own("ipc"),
            "kernel" if IPC_SYSCTLS.contains(&parts[1..].join("/").as_str()) => own("ipc"),
            "kernel" if parts[1..] == ["domainname"] => own("uts"),
            "kernel" if parts[1..] == ["hostname"] => {
                return refused("conflicts with the hostname of the container");
            }
            "user" => own("user"),
            _ => false,
        };
        if !allowed && parts[0] == "net" {
            return refused("not allowed in host network namespace");
        }
        if !allowed {
            return refused("is not in a separate kernel namespace");
        }
        all.push((path, value.clone()));
    }
    Ok(all)
}

/// What goes into `timens_offsets`: a clock, seconds and nanoseconds a line.
pub(crate) fn time_offsets(spec: &Spec, new_time: bool) -> Result<String, CreateError> {
    let Some(linux) = spec.linux.as_ref().filter(|linux| !linux.time_offsets.is_empty()) else {
        return Ok(String::new());
    };
    if !new_time {
        let words = "time namespace offsets specified, but time namespace isn't enabled";
        return Err(CreateError::Config(words.to_owned()));
    }
    let mut lines = String::new();
    for (clock, offset) in &linux.time_offsets {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(CreateError::Config(format!("invalid time namespace clock {clock:?}")));
        }
        lines.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    Ok(lines)
}

/// The execution domain, as a number.
pub(crate) fn personality(spec: &Spec) -> Result<Option<u64>, CreateError> {
    let Some(wanted) = spec.linux.as_ref().and_then(|linux| linux.personality.as_ref()) else {
        return Ok(None);
    };
    if let Some(flag) = wanted.flags.first() {
        return Err(CreateError::Config(format!("personality flag {flag:?} is not supported")));
    }
    match wanted.domain.as_str() {
        "LINUX" => Ok(Some(0)),
        "LINUX32" => Ok(Some(8)),
        other => Err(CreateError::Config(format!("invalid personality domain {other:?}"))),
    }
}

const IPC_SYSCTLS: [&str; 8] =
    ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// As sysctl(8): whichever of `.` and `/` comes first separates, and then the other one is part of a name.
fn sysctl_path(name: &str) -> String {
    let separator = name.find(['.', '/']).map(|at| name.as_bytes()[at]);
    if separator == Some(b'/') {
        return name.to_owned();
    }
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferry_oci::runtime::PosixRlimit;

    fn spec(namespaces: &[&str], sysctl: &str) -> Spec {
        let namespace = |kind: &&str| LinuxNamespace { kind: (*kind).into(), path: None };
        Spec {
            linux: Some(Linux {
                namespaces: namespaces.iter().map(namespace).collect(),
                sysctl: [(sysctl.to_owned(), "1".to_owned())].into(),
                ..Linux::default()
            }),
            ..Spec::default()
        }
    }

    #[test]
    fn only_sysctls_of_own_namespaces_are_taken() {
        let path = |namespaces: &[&str], name: &str| {
            sysctls(&spec(namespaces, name)).map(|all| all[0].0.clone()).map_err(|e| e.to_string())
        };
        assert_eq!(path(&["network"], "net.ipv4.ip_forward").unwrap(), "net/ipv4/ip_forward");
        assert_eq!(path(&["network"], "net/ipv4/conf/a.b/x").unwrap(), "net/ipv4/conf/a.b/x");
        assert_eq!(path(&["network"], "net.ipv4.conf.a/b.x").unwrap(), "net/ipv4/conf/a.b/x");
        assert_eq!(path(&["ipc"], "kernel.msgmax").unwrap(), "kernel/msgmax");
        assert!(path(&[], "net.ipv4.ip_forward").unwrap_err().contains("host network namespace"));
        assert!(path(&["ipc", "network"], "kernel.panic").unwrap_err().contains("separate kernel"));
        assert!(path(&["network"], "net/../kernel/panic").unwrap_err().contains("valid name"));
        assert!(path(&["uts"], "kernel.hostname").unwrap_err().contains("hostname"));
    }

    #[test]
    fn a_mount_namespace_is_not_optional() {
        assert!(Namespaces::read(&[]).is_err());
        let list = [LinuxNamespace { kind: "mount".into(), path: None }];
        assert_eq!(Namespaces::read(&list).unwrap().new, flag::MOUNT);
        let list = [LinuxNamespace { kind: "space".into(), path: None }];
        assert!(Namespaces::read(&list).unwrap_err().to_string().contains("\"space\""));
    }

    #[test]
    fn rlimits_have_names_and_come_once() {
        let limit = |kind: &str| PosixRlimit { kind: kind.into(), hard: 2, soft: 1 };
        let read = |kinds: &[&str]| {
            let rlimits = kinds.iter().map(|kind| limit(kind)).collect();
            read_rlimits(&Spec::default(), &Process { rlimits, ..Process::default() })
        };
        assert_eq!(read(&["RLIMIT_NOFILE"]).unwrap()[0].resource, 7);
        assert!(read(&["RLIMIT_FOO"]).is_err());
        assert!(read(&["RLIMIT_CPU", "RLIMIT_CPU"]).is_err());
    }
}
