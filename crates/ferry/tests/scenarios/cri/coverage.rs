//! Every call of the interface, and every field of what pods and containers are asked for with, has a scenario: the tables name it, and its
//! text must have the field's name.

use std::{collections::BTreeMap, fs, path::Path};

/// Calls, and a scenario that makes each. Those that say `on_both` run against containerd first. Only on ours are: the newest calls and
/// fields (`Stream…`, limits of whole pods, `stop_signal`), CNI's CHECK and GC, what needs flags of our daemon, and ambient
/// capabilities, which containerd 2.1 does not set.
const CALLS: &[(&str, &str)] = &[
    ("Version", "pods::the_runtime_says_who_it_is_and_that_it_is_ready"),
    ("Status", "pods::the_runtime_says_who_it_is_and_that_it_is_ready"),
    ("RuntimeConfig", "calls::settings_of_the_runtime"),
    ("UpdateRuntimeConfig", "calls::settings_of_the_runtime"),
    ("RunPodSandbox", "pods::a_pod_lives"),
    ("StopPodSandbox", "pods::a_pod_lives"),
    ("RemovePodSandbox", "pods::a_pod_lives"),
    ("PodSandboxStatus", "pods::a_pod_lives"),
    ("ListPodSandbox", "calls::lists_are_filtered"),
    ("StreamPodSandboxes", "calls::streams_say_what_lists_say"),
    ("UpdatePodSandboxResources", "calls::limits_of_a_pod"),
    ("CreateContainer", "pods::a_pod_lives"),
    ("StartContainer", "pods::a_pod_lives"),
    ("StopContainer", "pods::stopping_is_polite_first"),
    ("RemoveContainer", "pods::a_pod_lives"),
    ("ListContainers", "calls::lists_are_filtered"),
    ("StreamContainers", "calls::streams_say_what_lists_say"),
    ("ContainerStatus", "pods::a_pod_lives"),
    ("UpdateContainerResources", "pods::settings_of_a_container_come_true"),
    ("ReopenContainerLog", "pods::a_log_is_reopened"),
    ("CheckpointContainer", "checkpoint::a_container_is_written_down_and_goes_on"),
    ("ExecSync", "pods::further_programs_are_waited_for"),
    ("Exec", "streams::kubectl_exec"),
    ("Attach", "streams::kubectl_attach"),
    ("PortForward", "streams::kubectl_port_forward"),
    ("ContainerStats", "pods::figures_of_containers_and_pods"),
    ("ListContainerStats", "pods::figures_of_containers_and_pods"),
    ("StreamContainerStats", "calls::streams_of_figures"),
    ("PodSandboxStats", "pods::figures_of_containers_and_pods"),
    ("ListPodSandboxStats", "calls::figures_of_all_pods"),
    ("StreamPodSandboxStats", "calls::streams_of_figures"),
    ("ListMetricDescriptors", "metrics::figures_by_name"),
    ("ListPodSandboxMetrics", "metrics::figures_by_name"),
    ("StreamPodSandboxMetrics", "calls::streams_of_figures"),
    ("GetContainerEvents", "calls::events_tell_a_pod_s_life"),
    ("ListImages", "images::images_are_pulled_listed_and_removed"),
    ("StreamImages", "calls::streams_say_what_lists_say"),
    ("ImageStatus", "images::images_are_pulled_listed_and_removed"),
    ("PullImage", "images::images_are_pulled_listed_and_removed"),
    ("RemoveImage", "images::images_are_pulled_listed_and_removed"),
    ("ImageFsInfo", "images::images_are_pulled_listed_and_removed"),
];

/// Fields by message, and the file of scenarios (or of a crate's own tests, from the root) whose text has them.
const FIELDS: &[(&str, &str, &[&str])] = &[
    (
        "PodSandboxConfig",
        "mod",
        &["metadata", "hostname", "log_directory", "labels", "annotations", "linux"],
    ),
    ("PodSandboxConfig", "pods", &["dns_config"]),
    ("PodSandboxConfig", "cni", &["port_mappings"]),
    ("LinuxPodSandboxConfig", "mod", &["cgroup_parent"]),
    ("LinuxPodSandboxConfig", "pods", &["sysctls"]),
    ("LinuxPodSandboxConfig", "fields", &["security_context"]),
    ("LinuxPodSandboxConfig", "calls", &["overhead", "resources"]),
    ("LinuxSandboxSecurityContext", "fields", &["namespace_options", "privileged"]),
    ("NamespaceOption", "network", &["network"]),
    ("NamespaceOption", "fields", &["pid", "ipc", "target_id"]),
    ("NamespaceOption", "userns", &["userns_options"]),
    ("UserNamespace", "userns", &["mode", "uids", "gids"]),
    ("IDMapping", "userns", &["container_id", "host_id", "length"]),
    ("DNSConfig", "pods", &["servers", "searches", "options"]),
    ("PortMapping", "cni", &["protocol", "container_port", "host_port", "host_ip"]),
    ("ContainerConfig", "mod", &["metadata", "image", "command", "log_path", "labels", "linux"]),
    ("ContainerConfig", "pods", &["working_dir", "envs", "mounts"]),
    ("ContainerConfig", "fields", &["args", "annotations", "devices", "stop_signal"]),
    ("ContainerConfig", "given", &["cdi_devices"]),
    ("ContainerConfig", "streams", &["stdin", "stdin_once", "tty"]),
    ("LinuxContainerConfig", "pods", &["resources", "security_context"]),
    (
        "LinuxContainerSecurityContext",
        "pods",
        &[
            "run_as_user",
            "run_as_group",
            "readonly_rootfs",
            "no_new_privs",
            "seccomp",
            "namespace_options",
        ],
    ),
    (
        "LinuxContainerSecurityContext",
        "fields",
        &["capabilities", "privileged", "run_as_username", "masked_paths", "readonly_paths"],
    ),
    (
        "LinuxContainerSecurityContext",
        "given",
        &["supplemental_groups", "supplemental_groups_policy"],
    ),
    ("SecurityProfile", "fields", &["profile_type", "localhost_ref"]),
    (
        "Capability",
        "fields",
        &["add_capabilities", "drop_capabilities", "add_ambient_capabilities"],
    ),
    (
        "Mount",
        "fields",
        &["container_path", "host_path", "readonly", "propagation", "recursive_read_only"],
    ),
    ("Mount", "given", &["image", "image_sub_path"]),
    ("Mount", "userns", &["uid_mappings", "gid_mappings"]),
    ("Device", "fields", &["container_path", "host_path", "permissions"]),
    ("CDIDevice", "given", &["name"]),
    (
        "LinuxContainerResources",
        "pods",
        &[
            "cpu_period",
            "cpu_quota",
            "cpu_shares",
            "memory_limit_in_bytes",
            "oom_score_adj",
            "hugepage_limits",
            "unified",
        ],
    ),
    (
        "LinuxContainerResources",
        "fields",
        &["cpuset_cpus", "cpuset_mems", "memory_swap_limit_in_bytes"],
    ),
    ("HugepageLimit", "pods", &["page_size", "limit"]),
    ("ImageSpec", "images", &["image"]),
    ("AuthConfig", "images", &["auth", "username", "password", "server_address"]),
    ("ContainerFilter", "calls", &["id", "state", "pod_sandbox_id", "label_selector"]),
    ("PodSandboxFilter", "calls", &["id", "state", "label_selector"]),
    ("ExecSyncRequest", "pods", &["container_id", "cmd", "timeout"]),
    ("ExecRequest", "streams", &["container_id", "cmd", "tty", "stdin", "stdout", "stderr"]),
    ("AttachRequest", "streams", &["container_id", "stdin", "tty", "stdout", "stderr"]),
    ("PortForwardRequest", "streams", &["pod_sandbox_id", "port"]),
    ("LinuxContainerSecurityContext", "cgroups", &["selinux_options", "apparmor"]),
    ("LinuxSandboxSecurityContext", "cgroups", &["selinux_options"]),
    ("Mount", "cgroups", &["selinux_relabel"]),
    ("SELinuxOption", "cgroups", &["type", "level"]),
    ("CheckpointContainerRequest", "checkpoint", &["container_id", "location", "timeout"]),
];

/// Fields without a scenario, and why.
const WITHOUT: &[(&str, &[&str], &str)] = &[
    ("PodSandboxConfig", &["windows"], "there is no Windows"),
    ("ContainerConfig", &["windows"], "there is no Windows"),
    (
        "LinuxSandboxSecurityContext",
        &[
            "run_as_user",
            "run_as_group",
            "readonly_rootfs",
            "supplemental_groups",
            "supplemental_groups_policy",
            "seccomp",
            "apparmor",
            "seccomp_profile_path",
        ],
        "of the process of a pause image, which there is none of",
    ),
    (
        "LinuxContainerSecurityContext",
        &["apparmor_profile", "seccomp_profile_path"],
        "older words for a profile",
    ),
    ("SELinuxOption", &["user", "role"], "the policy of the virtual machine has one of each"),
    (
        "ImageSpec",
        &["annotations", "user_specified_image", "runtime_handler", "image_ref"],
        "a kubelet's notes to itself; images are the same for all runtimes",
    ),
    (
        "AuthConfig",
        &["identity_token", "registry_token"],
        "the engine's own, tested with registries of its own",
    ),
];

fn proto() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../face/cri/proto/api.proto");
    let text = fs::read_to_string(path).unwrap();
    let bare = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    bare.collect::<Vec<_>>().join("\n")
}

fn file(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = match name.strip_prefix('/') {
        Some(path) => root.join("../..").join(path),
        None => root.join(format!("tests/scenarios/cri/{name}.rs")),
    };
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_call_has_a_scenario() {
    let proto = proto();
    let calls = proto.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
    let calls: Vec<&str> = calls.filter_map(|rest| rest.split('(').next()).collect();
    assert!(calls.len() > 30, "{calls:?}");
    for call in &calls {
        assert!(CALLS.iter().any(|(known, _)| known == call), "{call} has no scenario");
    }
    for (call, scenario) in CALLS {
        assert!(calls.contains(call), "there is no call {call}");
        let (name, function) = scenario.split_once("::").unwrap();
        let text = file(name);
        assert!(text.contains(&format!("fn {function}(")), "{call}: there is no {scenario}");
    }
}

/// The fields of each message that the tables name.
fn fields(proto: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut all = BTreeMap::new();
    for (message, _, _) in FIELDS {
        let head = format!("\nmessage {message} {{");
        let begun = proto.find(&head).unwrap_or_else(|| panic!("there is no {message}"));
        let body = &proto[begun + head.len()..];
        let body = &body[..body.find("\n}").unwrap()];
        let lines = body.lines().filter(|line| line.contains('=') && line.contains(';'));
        // Values of an enumeration within have no type.
        let words = lines.filter_map(|line| line.split('=').next());
        let typed = words.filter(|words| words.split_whitespace().count() > 1);
        all.insert(*message, typed.filter_map(|words| words.split_whitespace().last()).collect());
    }
    all
}

/// A field's name however it is written: `uidMappings`, `uid_mappings`.
fn bare(field: &str) -> String {
    field.replace('_', "").to_lowercase()
}

#[test]
fn every_field_has_a_scenario() {
    let proto = proto();
    let all = fields(&proto);
    let mut seen = BTreeMap::<&str, Vec<String>>::new();
    for (message, name, fields) in FIELDS {
        let text = file(name);
        for field in *fields {
            // In Rust some have other names than in the proto file.
            assert!(text.contains(field), "{message}.{field} is not in {name}");
            seen.entry(message).or_default().push(bare(field));
        }
    }
    for (message, fields, why) in WITHOUT {
        assert!(!why.is_empty());
        seen.entry(message).or_default().extend(fields.iter().map(|field| bare(field)));
    }
    for (message, fields) in &all {
        let mut known = seen.remove(message).unwrap_or_default();
        let mut wanted: Vec<String> = fields.iter().map(|field| bare(field)).collect();
        known.sort();
        wanted.sort();
        assert_eq!(known, wanted, "fields of {message}");
    }
    assert!(seen.is_empty(), "there are no such messages: {seen:?}");
}
