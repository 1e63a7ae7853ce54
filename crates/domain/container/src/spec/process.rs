//! The process of a container: program, environment, ids, limits.

use ferry_oci::runtime::{
    ConsoleSize, LinuxCapabilities, LinuxSeccomp, PosixRlimit, Process, User,
};

use super::{SpecError, SpecInputs};
use crate::{
    apparmor::{UNCONFINED, apparmor_profile},
    capability,
    seccomp::{self, Circumstances},
    security::{SeccompChoice, SecurityOptions},
};

/// What Docker sets when neither the user nor the image does.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The limits of setrlimit(2) by Docker's names.
const ULIMITS: [(&str, &str); 16] = [
    ("as", "RLIMIT_AS"),
    ("core", "RLIMIT_CORE"),
    ("cpu", "RLIMIT_CPU"),
    ("data", "RLIMIT_DATA"),
    ("fsize", "RLIMIT_FSIZE"),
    ("locks", "RLIMIT_LOCKS"),
    ("memlock", "RLIMIT_MEMLOCK"),
    ("msgqueue", "RLIMIT_MSGQUEUE"),
    ("nice", "RLIMIT_NICE"),
    ("nofile", "RLIMIT_NOFILE"),
    ("nproc", "RLIMIT_NPROC"),
    ("rss", "RLIMIT_RSS"),
    ("rtprio", "RLIMIT_RTPRIO"),
    ("rttime", "RLIMIT_RTTIME"),
    ("sigpending", "RLIMIT_SIGPENDING"),
    ("stack", "RLIMIT_STACK"),
];

pub(super) fn plan(
    inputs: &SpecInputs<'_>,
    security: &SecurityOptions,
    capabilities: &[&'static str],
    hostname: &str,
) -> Result<Process, SpecError> {
    let spec = &inputs.container.spec;
    let args: Vec<String> =
        spec.entrypoint.iter().flatten().chain(spec.cmd.iter().flatten()).cloned().collect();
    if args.is_empty() || args[0].is_empty() {
        return Err(SpecError::NoCommand);
    }
    Ok(Process {
        terminal: spec.tty,
        console_size: spec.host.console_size.map(|(height, width)| ConsoleSize { height, width }),
        user: user(&spec.user, &spec.host.group_add, is_strict(inputs)),
        args,
        env: environment(&spec.env, hostname, spec.tty),
        cwd: if spec.working_dir.is_empty() { "/".to_owned() } else { spec.working_dir.clone() },
        capabilities: Some(capability_sets(capabilities, ambient(inputs)?)),
        rlimits: rlimits(&spec.host.ulimits)?,
        no_new_privileges: security.no_new_privileges,
        apparmor_profile: inputs
            .apparmor
            .map(|default| apparmor_profile(security, spec.host.privileged, default))
            .filter(|profile| *profile != UNCONFINED)
            .map(str::to_owned),
        oom_score_adj: (spec.host.oom_score_adj != 0).then_some(spec.host.oom_score_adj),
        selinux_label: inputs
            .container
            .selinux
            .as_ref()
            .map(|labels| labels.process.clone())
            .filter(|label| !label.is_empty()),
        io_priority: None,
        scheduler: None,
    })
}

/// Names are resolved by the container's init in the container's own passwd and group: see `ferry-runtime`.
/// Whether the program has no groups but those that were asked for.
pub(crate) fn is_strict(inputs: &SpecInputs<'_>) -> bool {
    inputs.container.spec.pod.as_ref().is_some_and(|part| part.strict_groups)
}

pub(crate) fn user(text: &str, groups: &[String], strict: bool) -> User {
    // Root by default, with root's groups: Docker looks it up like any other user.
    let mut username = if text.is_empty() { "0".to_owned() } else { text.to_owned() };
    // `user[:group][+group…][+]`: how ferry-runtime takes further groups by name, and the word that there are no others.
    for group in groups.iter().map(String::as_str).chain(strict.then_some("")) {
        username.push('+');
        username.push_str(group);
    }
    User { username: Some(username), ..User::default() }
}

/// Docker's order: what the engine sets comes first, and the image's and the user's words replace it.
fn environment(own: &[String], hostname: &str, tty: bool) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    merge_environment(&mut env, own);
    env
}

/// Later words replace earlier ones in place; a name without `=` takes the variable away.
pub(crate) fn merge_environment(env: &mut Vec<String>, own: &[String]) {
    for line in own {
        let name = line.split_once('=').map_or(line.as_str(), |(name, _)| name);
        let has_name =
            |known: &String| known.split_once('=').is_some_and(|(known, _)| known == name);
        if !line.contains('=') {
            env.retain(|known| !has_name(known));
        } else if let Some(known) = env.iter_mut().find(|known| has_name(known)) {
            known.clone_from(line);
        } else {
            env.push(line.clone());
        }
    }
}

/// Docker gives the three sets that matter for root; inheritable and ambient stay empty (CVE-2022-24769).
/// Only a pod asks for more: what its program has without being root is inherited, too.
pub(crate) fn capability_sets(names: &[&'static str], ambient: Vec<String>) -> LinuxCapabilities {
    let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    names.extend(ambient.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
    LinuxCapabilities {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
        inheritable: ambient.clone(),
        ambient,
    }
}

fn ambient(inputs: &SpecInputs<'_>) -> Result<Vec<String>, SpecError> {
    let Some(pod) = &inputs.container.spec.pod else { return Ok(Vec::new()) };
    if pod.ambient.is_empty() {
        return Ok(Vec::new());
    }
    let all = ["ALL".to_owned()];
    let names = capability::capabilities(&pod.ambient, &all, false, inputs.bounding)?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

fn rlimits(ulimits: &[ferry_model::container::Ulimit]) -> Result<Vec<PosixRlimit>, SpecError> {
    ulimits
        .iter()
        .map(|limit| {
            let (_, kind) = ULIMITS
                .iter()
                .find(|(name, _)| *name == limit.name)
                .ok_or_else(|| SpecError::Ulimit(limit.name.clone()))?;
            // -1 is unlimited, which is the largest number.
            let value = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
            Ok(PosixRlimit {
                kind: (*kind).to_owned(),
                soft: value(limit.soft),
                hard: value(limit.hard),
            })
        })
        .collect()
}

pub(super) fn seccomp(
    inputs: &SpecInputs<'_>,
    security: &SecurityOptions,
    capabilities: &[&'static str],
) -> Result<Option<LinuxSeccomp>, SpecError> {
    let circumstances = Circumstances { capabilities, arch: inputs.arch, kernel: inputs.kernel };
    Ok(match &security.seccomp {
        SeccompChoice::Default => Some(seccomp::default_profile(circumstances)),
        SeccompChoice::Unconfined => None,
        SeccompChoice::Profile(profile) => seccomp::resolve((**profile).clone(), circumstances)?,
    })
}
