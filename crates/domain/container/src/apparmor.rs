//! AppArmor: which profile a container has, and the text of the one that it has unless it says otherwise.

use crate::security::SecurityOptions;

/// The profile of containers that name none: Docker's name for it, so that both engines of a machine have one.
pub const DEFAULT_PROFILE: &str = "docker-default";

/// No profile.
pub const UNCONFINED: &str = "unconfined";

/// The profile of a container on a host with AppArmor, where `default` is that of containers that name none. As Docker: a privileged
/// container has none, whatever it names.
pub fn apparmor_profile<'a>(
    security: &'a SecurityOptions,
    privileged: bool,
    default: &'a str,
) -> &'a str {
    match security.apparmor.as_deref() {
        _ if privileged => UNCONFINED,
        None | Some("") => default,
        Some(named) => named,
    }
}

/// What the default profile depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileInputs<'a> {
    /// The profile that the daemon runs under itself: it sends signals to containers.
    pub daemon: &'a str,
    /// The host has `tunables/global`.
    pub tunables: bool,
    /// The host has `abstractions/base`.
    pub base: bool,
}

/// The rules of [`DEFAULT_PROFILE`], which are dockerd's: everything that capabilities allow, but no mounts, nothing of the kernel's
/// settings but shared memory, no other container's processes.
pub fn default_profile(inputs: ProfileInputs<'_>) -> String {
    let name = DEFAULT_PROFILE;
    let proc = if inputs.tunables { "#include <tunables/global>" } else { "@{PROC}=/proc/" };
    let base = if inputs.base { "  #include <abstractions/base>\n" } else { "" };
    let mut rules: Vec<String> =
        ["network", "capability", "file", "umount"].map(str::to_owned).to_vec();
    let mut peers = vec![UNCONFINED, "runc", "crun"];
    if !peers.contains(&inputs.daemon) {
        peers.push(inputs.daemon);
    }
    rules.extend(peers.iter().map(|peer| format!("signal (receive) peer={peer}")));
    rules.push(format!("signal (send,receive) peer={name}"));
    rules.push(format!("ptrace (trace,read,tracedby,readby) peer={name}"));
    rules.extend(DENIED.map(|rule| format!("deny {rule}")));
    let rules: String = rules.iter().map(|rule| format!("  {rule},\n")).collect();
    format!(
        "{proc}\n\nprofile {name} flags=(attach_disconnected,mediate_deleted) {{\n{base}{rules}}}\n"
    )
}

/// A pattern has no "all but": what is left open is spelled around, letter by letter (processes, `sys/kernel/shm*`, `fs/cgroup`).
const DENIED: [&str; 15] = [
    "@{PROC}/* w",
    "@{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w",
    "@{PROC}/sys/[^k]** w",
    "@{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w",
    "@{PROC}/sysrq-trigger rwklx",
    "@{PROC}/kcore rwklx",
    "mount",
    "/sys/[^f]*/** wklx",
    "/sys/f[^s]*/** wklx",
    "/sys/fs/[^c]*/** wklx",
    "/sys/fs/c[^g]*/** wklx",
    "/sys/fs/cg[^r]*/** wklx",
    "/sys/firmware/** rwklx",
    "/sys/devices/virtual/powercap/** rwklx",
    "/sys/kernel/security/** rwklx",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: Option<&str>) -> SecurityOptions {
        SecurityOptions { apparmor: name.map(str::to_owned), ..SecurityOptions::default() }
    }

    #[test]
    fn who_has_which_profile() {
        for (name, privileged, profile) in [
            (None, false, "default"),
            (Some(""), false, "default"),
            (Some("mine"), false, "mine"),
            (Some("unconfined"), false, "unconfined"),
            (None, true, "unconfined"),
            (Some("mine"), true, "unconfined"),
        ] {
            assert_eq!(apparmor_profile(&named(name), privileged, "default"), profile, "{name:?}");
        }
    }

    #[test]
    fn the_default_profile_needs_nothing_of_the_host() {
        let bare = ProfileInputs { daemon: "unconfined", tunables: false, base: false };
        let text = default_profile(bare);
        assert!(text.starts_with("@{PROC}=/proc/\n\nprofile docker-default flags=("), "{text}");
        assert!(
            !text.contains("include") && text.matches("peer=unconfined").count() == 1,
            "{text}"
        );
        let full = ProfileInputs { daemon: "ferryd", tunables: true, base: true };
        let text = default_profile(full);
        assert!(
            text.contains("#include <tunables/global>") && text.contains("peer=ferryd"),
            "{text}"
        );
        assert!(text.contains("{\n  #include <abstractions/base>\n  network,"), "{text}");
    }
}
