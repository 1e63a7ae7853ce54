//! Groups that systemd makes: a transient scope for each container, asked for over D-Bus, so that the machine's manager of cgroups
//! knows them and their limits (decision 17).

mod holder;
mod manager;
mod properties;

use std::path::Path;
use std::time::Duration;

use ferry_dbus::{CallError, Value};
use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::runtime::LinuxResources;
use ferry_sys::Errno;

pub use holder::Holder;

use crate::place::Scope;
use crate::setting::Setting;
use crate::{ApplyError, CreateError, Hierarchy, file, v2};
use manager::Manager;

/// The oldest systemd that knows all properties that are set (`AllowedCPUs` is the newest).
const OLDEST: u32 = 244;

/// A machine that is busy starting everything takes a while.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an end waits for systemd: nobody hears of it meanwhile.
const PATIENCE_AT_END: Duration = Duration::from_secs(2);

/// The first systemd that writes `memory.oom.group` of scopes, as their `OOMPolicy` says.
const KILLS_ALL: u32 = 253;

/// What systemd did not do.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// Another init.
    #[error(
        "systemd is not this machine's init: there is no /run/systemd/system (use the cgroup driver \"cgroupfs\")"
    )]
    NotRunning,
    /// Version 1.
    #[error(
        "the cgroup driver \"systemd\" needs cgroup v2 (boot with systemd.unified_cgroup_hierarchy=1, or use \"cgroupfs\")"
    )]
    Version1,
    /// Too old.
    #[error("the cgroup driver \"systemd\" needs systemd 244 or newer, and this is {0:?}")]
    TooOld(String),
    /// Nobody answers.
    #[error("cannot talk to systemd at {place}")]
    Connect {
        /// Where.
        place: String,
        /// Why.
        source: std::io::Error,
    },
    /// It refused.
    #[error("systemd did not do as asked")]
    Call(#[from] CallError),
    /// The scope was not made.
    #[error("systemd could not start {unit}: {result}")]
    Job {
        /// Which.
        unit: String,
        /// Its word for it.
        result: String,
    },
    /// It does not say how that went.
    #[error("systemd did not say whether {unit} has started")]
    Silent {
        /// Which.
        unit: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another root than ours.
    #[error(
        "systemd put {unit} into {seen:?} instead of {expected:?}: it does not see the cgroups that we see"
    )]
    Elsewhere {
        /// Which.
        unit: String,
        /// Where it is.
        seen: String,
        /// Where it should be.
        expected: String,
    },
    /// The process that a scope begins with.
    #[error("cannot start the process that the scope begins with")]
    Holder(#[source] Errno),
}

impl Kinded for SystemdError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Whether scopes can be had here, as the daemon asks when it comes up.
///
/// # Errors
/// Why not.
pub fn check(hierarchy: &Hierarchy) -> Result<(), SystemdError> {
    if !hierarchy.is_v2() {
        return Err(SystemdError::Version1);
    }
    let version = Manager::connect(PATIENCE)?.version()?;
    if number(&version) < OLDEST {
        return Err(SystemdError::TooOld(version));
    }
    Ok(())
}

/// `252` of `252.38-1~deb12u1`; 0 for what is no version.
fn number(version: &str) -> u32 {
    let digits = version.trim_start_matches('v').split(|it: char| !it.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Whether systemd is this machine's init (sd_booted(3)).
pub fn is_there() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Has systemd make a scope with these limits, in which the holder is.
pub(crate) fn start(
    hierarchy: &Hierarchy,
    scope: &Scope,
    directory: &str,
    resources: &LinuxResources,
) -> Result<Holder, CreateError> {
    if !hierarchy.is_v2() {
        return Err(SystemdError::Version1.into());
    }
    let limits = v2::limits::plan(resources).map_err(CreateError::Apply)?;
    // Before there is a connection that it would keep open.
    let holder = Holder::start().map_err(SystemdError::Holder)?;
    let mut manager = Manager::connect(PATIENCE)?;
    let mut properties = first_properties(scope, holder.pid());
    properties.extend(properties::of(&limits));
    if !limits.iter().any(|limit| limit.file == "pids.max") {
        // Else it has systemd's own default.
        properties.push(("TasksMax", Value::U64(u64::MAX)));
    }
    let kills_all = |limit: &Setting| limit.file == "memory.oom.group" && limit.value == "1";
    if limits.iter().any(kills_all) && number(&manager.version()?) >= KILLS_ALL {
        // Later it cannot be told.
        properties.push(("OOMPolicy", Value::text("kill")));
    }
    manager.start(&scope.unit, properties)?;
    let path = format!("/proc/{}/cgroup", holder.pid());
    let seen = file::read(Path::new(&path)).unwrap_or_default();
    let seen = seen.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    if seen.trim_start_matches('/') != directory {
        let (unit, seen) = (scope.unit.clone(), seen.to_owned());
        return Err(SystemdError::Elsewhere { unit, seen, expected: directory.to_owned() }.into());
    }
    Ok(holder)
}

/// What makes it a container's.
fn first_properties(scope: &Scope, pid: i32) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::text(text);
    vec![
        ("Description", Value::Text(format!("container {}", scope.unit))),
        ("Slice", text(&scope.slice)),
        ("PIDs", Value::Array("u", vec![Value::U32(pid.unsigned_abs())])),
        // What is below is the container's own, and an out-of-memory kill in it is no reason to stop it.
        ("Delegate", Value::Bool(true)),
        // A failed one is forgotten as others are, so that its name is free again.
        ("CollectMode", text("inactive-or-failed")),
        ("DefaultDependencies", Value::Bool(false)),
        ("CPUAccounting", Value::Bool(true)),
        ("MemoryAccounting", Value::Bool(true)),
        ("IOAccounting", Value::Bool(true)),
        ("TasksAccounting", Value::Bool(true)),
    ]
}

/// Ends a scope that has no processes any more. systemd mostly notices that by itself; but a directory that is gone before it has
/// looked tells it nothing, and then the unit would stay. That there is none is as it should be, and who cannot be asked keeps none.
pub(crate) fn stop(unit: &str) {
    if let Ok(mut manager) = Manager::connect(PATIENCE_AT_END) {
        manager.stop(unit);
    }
}

/// Tells systemd the limits of a running scope, so that it does not put back what it knew.
pub(crate) fn update(unit: &str, resources: &LinuxResources) -> Result<(), ApplyError> {
    let properties = properties::of(&v2::limits::plan(resources)?);
    if properties.is_empty() {
        return Ok(());
    }
    let told = Manager::connect(PATIENCE).and_then(|mut manager| manager.set(unit, properties));
    told.map_err(ApplyError::Systemd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_begin_with_a_number() {
        let cases =
            [("252.38-1~deb12u1", 252), ("v249", 249), ("257~rc1", 257), ("", 0), ("x1", 0)];
        for (version, expected) in cases {
            assert_eq!(number(version), expected, "{version}");
        }
    }
}
