use super::*;

fn on<'a>(capabilities: &'a [&'a str]) -> Circumstances<'a> {
    Circumstances { capabilities, arch: "x86_64", kernel: (6, 1) }
}

fn rules_about<'p>(profile: &'p LinuxSeccomp, name: &str) -> Vec<&'p LinuxSyscall> {
    profile.syscalls.iter().filter(|rule| rule.names.iter().any(|known| known == name)).collect()
}

#[test]
fn the_default_profile_is_dockers() {
    let profile = default_profile(on(&[]));
    assert_eq!(profile.default_action, "SCMP_ACT_ERRNO");
    assert_eq!(profile.default_errno_ret, Some(1));
    assert_eq!(profile.architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    assert_eq!(profile.syscalls[0].names.len(), 361);
    assert_eq!(rules_about(&profile, "socket").len(), 3);
    assert_eq!(rules_about(&profile, "personality").len(), 5);
    for forbidden in ["mount", "unshare", "bpf", "reboot", "init_module", "keyctl", "userfaultfd"] {
        assert!(rules_about(&profile, forbidden).is_empty(), "{forbidden}");
    }
    assert_eq!(rules_about(&profile, "clone3")[0].errno_ret, Some(38));
    assert_eq!(rules_about(&profile, "clone")[0].args[0].value, 2_114_060_288);
    assert_eq!(rules_about(&profile, "arch_prctl").len(), 1);
    assert!(rules_about(&profile, "breakpoint").is_empty());
}

#[test]
fn capabilities_open_more() {
    let profile = default_profile(on(&["CAP_SYS_ADMIN", "CAP_SYS_BOOT"]));
    let clone3 = rules_about(&profile, "clone3");
    assert_eq!((clone3.len(), clone3[0].action.as_str()), (1, "SCMP_ACT_ALLOW"));
    assert!(rules_about(&profile, "clone")[0].args.is_empty());
    assert_eq!(rules_about(&profile, "reboot").len(), 1);
    assert_eq!(rules_about(&profile, "mount").len(), 1);
}

#[test]
fn the_kernel_counts() {
    let old = Circumstances { kernel: (4, 7), ..on(&[]) };
    assert!(rules_about(&default_profile(old), "ptrace").is_empty());
    assert_eq!(rules_about(&default_profile(on(&[])), "ptrace").len(), 1);
    assert_eq!(kernel_version("6.18.44-fc-v595"), (6, 18));
    assert_eq!(kernel_version("5.4"), (5, 4));
    assert_eq!(kernel_version("odd"), (0, 0));
}

#[test]
fn files_of_users_are_read_with_their_conditions() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":null,
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":null}],
        "syscalls":[
            {"name":"chmod","action":"SCMP_ACT_ERRNO","args":[]},
            {"names":["ptrace"],"action":"SCMP_ACT_ERRNO","excludes":{"caps":["CAP_SYS_PTRACE"]}},
            {"names":["reboot"],"action":"SCMP_ACT_KILL","includes":{"arches":["arm64"]}}]}"#;
    let profile: Profile = serde_json::from_str(json).unwrap();
    let resolved = resolve(profile.clone(), on(&["CAP_SYS_PTRACE"])).unwrap().unwrap();
    assert_eq!(resolved.architectures, ["SCMP_ARCH_X86_64"]);
    assert_eq!(resolved.syscalls.len(), 1);
    assert_eq!(resolved.syscalls[0].names, ["chmod"]);
    assert_eq!(resolve(profile, on(&[])).unwrap().unwrap().syscalls.len(), 2);
}

#[test]
fn contradictions_are_refused() {
    let refused = |json: &str| {
        let profile: Profile = serde_json::from_str(json).unwrap();
        resolve(profile, on(&[])).unwrap_err()
    };
    let both = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],
        "archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#;
    assert_eq!(refused(both), ProfileError::Architectures);
    let names = r#"{"syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}]}"#;
    assert_eq!(refused(names), ProfileError::Names);
    let kernel = r#"{"syscalls":[{"names":["b"],"includes":{"minKernel":"x"}}]}"#;
    assert_eq!(refused(kernel), ProfileError::Kernel("x".into()));
    assert_eq!(resolve(Profile::default(), on(&[])).unwrap(), None);
}
