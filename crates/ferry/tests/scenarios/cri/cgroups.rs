//! What only some kernels have: limits of cgroup v2, AppArmor, SELinux. Those of the virtual machines have them.

use std::path::Path;

use ferry_cri::api;

use super::{Bed, IDLE, client::call};

fn limits(container: &mut api::ContainerConfig) -> &mut api::LinuxContainerResources {
    container.linux.get_or_insert_default().resources.get_or_insert_default()
}

#[test]
fn limits_of_version_2() {
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        eprintln!("SKIPPED: this machine has cgroup v1");
        return;
    }
    let bed = Bed::ours(&[]);
    let cri = &bed.cri;
    let config = bed.pod("limits");
    let pod = cri.run_pod(config.clone()).unwrap();
    let mut container = bed.container("main", IDLE);
    *limits(&mut container) = api::LinuxContainerResources {
        memory_limit_in_bytes: 64 << 20,
        cpu_shares: 512,
        cpu_quota: 50_000,
        cpu_period: 100_000,
        cpuset_cpus: "0".into(),
        unified: [("memory.high".into(), (48 << 20).to_string())].into(),
        ..Default::default()
    };
    let id = cri.create(&pod, container, &config).unwrap();
    cri.start(&id).unwrap();
    let file = |name: &str| cri.output(&id, &format!("cat /sys/fs/cgroup/{name}"));
    assert_eq!(file("memory.max"), (64 << 20).to_string());
    assert_eq!(file("memory.high"), (48 << 20).to_string());
    assert_eq!(file("cpu.max"), "50000 100000");
    assert_eq!(file("cpuset.cpus"), "0");
    assert_eq!(cri.output(&id, "cat /proc/self/cgroup"), "0::/", "a cgroup namespace of its own");

    // Limits change while it runs, by field and by file; what is not said stays.
    let update = |linux: api::LinuxContainerResources| {
        let container_id = id.clone();
        let request = api::UpdateContainerResourcesRequest {
            container_id,
            linux: Some(linux),
            ..Default::default()
        };
        call!(cri, runtime.update_container_resources(request))
    };
    update(api::LinuxContainerResources {
        memory_limit_in_bytes: 128 << 20,
        unified: [
            ("memory.high".into(), (96 << 20).to_string()),
            ("memory.low".into(), (8 << 20).to_string()),
        ]
        .into(),
        ..Default::default()
    })
    .unwrap();
    assert_eq!(file("memory.max"), (128 << 20).to_string());
    assert_eq!(file("memory.high"), (96 << 20).to_string());
    assert_eq!(file("memory.low"), (8 << 20).to_string());
    assert_eq!(file("cpu.max"), "50000 100000");
    let shown = cri.status(&id).unwrap().resources.unwrap().linux.unwrap();
    assert_eq!(shown.memory_limit_in_bytes, 128 << 20);
    assert_eq!((shown.cpu_quota, shown.unified["memory.high"].as_str()), (50_000, "100663296"));
    // No such file, and one that would be elsewhere.
    for name in ["no.such", "../memory.max"] {
        let wrong = [(name.to_owned(), "1".to_owned())].into();
        update(api::LinuxContainerResources { unified: wrong, ..Default::default() })
            .expect_err(name);
    }
    assert_eq!(file("memory.max"), (128 << 20).to_string());

    // The group of a whole pod is the kubelet's own.
    let request = api::UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: pod.clone(),
        overhead: None,
        resources: Some(api::LinuxContainerResources {
            memory_limit_in_bytes: 256 << 20,
            ..Default::default()
        }),
    };
    call!(cri, runtime.update_pod_sandbox_resources(request)).unwrap();
}

/// What a kubelet with `cgroupDriver: systemd` asks for; the pod's slice is its own.
#[test]
fn pods_in_slices_of_systemd() {
    let bed = Bed::ours(&[]);
    let cri = &bed.cri;
    let answer = call!(cri, runtime.runtime_config(api::RuntimeConfigRequest {})).unwrap();
    if answer.linux.unwrap().cgroup_driver() != api::CgroupDriver::Systemd {
        eprintln!("SKIPPED: the runtime's cgroup driver is cgroupfs");
        return;
    }
    let slice = "kubepods-burstable-pod1f_2e.slice";
    let directory = format!("kubepods.slice/kubepods-burstable.slice/{slice}");
    // A kubelet may say the whole path, too.
    for parent in [slice.to_owned(), format!("/{directory}")] {
        let mut config = bed.pod("sliced");
        config.linux.get_or_insert_default().cgroup_parent = parent;
        let pod = cri.run_pod(config.clone()).unwrap();
        let mut container = bed.container("main", IDLE);
        *limits(&mut container) = api::LinuxContainerResources {
            memory_limit_in_bytes: 64 << 20,
            // A kubelet says the latter to all containers.
            unified: [
                ("memory.high".into(), (48 << 20).to_string()),
                ("memory.oom.group".into(), "1".into()),
            ]
            .into(),
            ..Default::default()
        };
        let id = cri.create(&pod, container, &config).unwrap();
        cri.start(&id).unwrap();
        let unit = format!("ferry-{id}.scope");
        let place = Path::new("/sys/fs/cgroup").join(&directory).join(&unit);
        let file =
            |name: &str| std::fs::read_to_string(place.join(name)).unwrap().trim().to_owned();
        assert_ne!(file("cgroup.procs"), "");
        assert_eq!(shown(&unit, "Slice"), slice);
        assert_eq!(file("memory.oom.group"), "1");
        assert_eq!((shown(&unit, "MemoryMax"), file("memory.max")), pair(64 << 20));
        assert_eq!((shown(&unit, "MemoryHigh"), file("memory.high")), pair(48 << 20));
        let request = api::UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(api::LinuxContainerResources {
                memory_limit_in_bytes: 128 << 20,
                unified: [("memory.high".into(), (96 << 20).to_string())].into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        call!(cri, runtime.update_container_resources(request)).unwrap();
        let reloaded = std::process::Command::new("systemctl").arg("daemon-reload").status();
        assert!(reloaded.unwrap().success());
        assert_eq!((shown(&unit, "MemoryMax"), file("memory.max")), pair(128 << 20));
        assert_eq!((shown(&unit, "MemoryHigh"), file("memory.high")), pair(96 << 20));
        // Older releases put it back, and cannot be told.
        if version() >= 253 {
            assert_eq!(file("memory.oom.group"), "1");
        }
        let sandbox =
            Path::new("/sys/fs/cgroup").join(&directory).join(format!("ferry-{pod}.scope"));
        assert!(sandbox.is_dir(), "the pod's own process is in a scope, too");
        cri.remove_pod(&pod).unwrap();
        assert!(!place.exists() && !sandbox.exists());
    }
}

fn shown(unit: &str, property: &str) -> String {
    let output = std::process::Command::new("systemctl")
        .args(["show", "--value", "-p", property, unit])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// systemd's.
fn version() -> u32 {
    let output = std::process::Command::new("systemctl").arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn pair(bytes: u64) -> (String, String) {
    (bytes.to_string(), bytes.to_string())
}

#[test]
fn apparmor_profiles_by_name() {
    let loaded = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles");
    if !loaded.is_ok_and(|profiles| profiles.contains("mine ")) {
        eprintln!("SKIPPED: this machine has no AppArmor, or nobody loaded the profile \"mine\"");
        return;
    }
    use api::security_profile::ProfileType;
    let bed = Bed::ours(&[]);
    let config = bed.pod("apparmor");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let profile = |name: &str, profile_type: ProfileType, localhost_ref: &str| {
        let mut container = bed.container(name, IDLE);
        let linux = container.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().apparmor = Some(api::SecurityProfile {
            profile_type: profile_type.into(),
            localhost_ref: localhost_ref.to_owned(),
        });
        let id = bed.cri.create(&pod, container, &config)?;
        bed.cri.start(&id)?;
        Ok::<_, tonic::Status>(bed.cri.output(&id, "cat /proc/self/attr/current"))
    };
    assert_eq!(
        profile("named", ProfileType::Localhost, "localhost/mine").unwrap(),
        "mine (enforce)"
    );
    assert_eq!(profile("unconfined", ProfileType::Unconfined, "").unwrap(), "unconfined");
    assert!(profile("default", ProfileType::RuntimeDefault, "").unwrap().ends_with("(enforce)"));
    profile("absent", ProfileType::Localhost, "localhost/absent").unwrap_err();
}

#[test]
fn labels_of_selinux() {
    let ours = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    if !ours.starts_with("system_u:") {
        eprintln!("SKIPPED: this machine has no SELinux, or no policy");
        return;
    }
    let bed = Bed::ours(&[]);
    let option = |r#type: &str, level: &str| api::SeLinuxOption {
        r#type: r#type.to_owned(),
        level: level.to_owned(),
        ..api::SeLinuxOption::default()
    };
    let run_pod = |name: &str, options: Option<api::SeLinuxOption>| {
        let mut config = bed.pod(name);
        let linux = config.linux.get_or_insert_default();
        linux.security_context = Some(api::LinuxSandboxSecurityContext {
            selinux_options: options,
            privileged: true,
            ..api::LinuxSandboxSecurityContext::default()
        });
        (bed.cri.run_pod(config.clone()).unwrap(), config)
    };
    type Change<'a> = &'a dyn Fn(&mut api::LinuxContainerSecurityContext);
    let run = |pod: &(String, api::PodSandboxConfig),
               name: &str,
               mounts: &[api::Mount],
               change: Change<'_>| {
        let mut container = bed.container(name, IDLE);
        container.mounts = mounts.to_vec();
        change(container.linux.get_or_insert_default().security_context.get_or_insert_default());
        let id = bed.cri.create(&pod.0, container, &pod.1).unwrap();
        bed.cri.start(&id).unwrap();
        let label = bed.cri.output(&id, "cat /proc/self/attr/current");
        (id, label.trim_end_matches('\0').to_owned())
    };

    // A pod has a level, which its containers have unless they are told another one.
    let pod = run_pod("given", Some(option("", "s0:c5,c6")));
    let (_, own) = run(&pod, "own", &[], &|_| ());
    assert_eq!(own, "system_u:system_r:container_t:s0:c5,c6");
    let (_, other) =
        run(&pod, "other", &[], &|it| it.selinux_options = Some(option("other_t", "s0:c7,c8")));
    assert_eq!(other, "system_u:system_r:other_t:s0:c7,c8");
    let (_, privileged) = run(&pod, "privileged", &[], &|it| it.privileged = true);
    assert_eq!(privileged.split(':').nth(2), Some("kernel_t"), "{privileged}");

    // Without a word each pod has one of its own.
    let (first, second) = (run_pod("first", None), run_pod("second", None));
    let labels = [(&first, "a"), (&first, "b"), (&second, "a")];
    let [a, b, elsewhere] = labels.map(|(pod, name)| run(pod, name, &[], &|_| ()).1);
    assert_eq!(a, b, "one pod");
    assert_ne!(a, elsewhere, "another pod");

    // A volume is given the label when the kubelet asks for it, and not else.
    let volume = |name: &str, selinux_relabel: bool| {
        let path = bed.directory.join(name);
        std::fs::create_dir(&path).unwrap();
        api::Mount {
            container_path: format!("/{name}"),
            host_path: path.to_string_lossy().into_owned(),
            selinux_relabel,
            ..api::Mount::default()
        }
    };
    let mounts = [volume("new", true), volume("left", false)];
    run(&pod, "volumes", &mounts, &|_| ());
    let label = |name: &str| {
        let mut program = std::process::Command::new("getfattr");
        program.args(["--absolute-names", "--only-values", "-n", "security.selinux"]);
        let output = program.arg(bed.directory.join(name)).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end_matches('\0').to_owned()
    };
    assert_eq!(label("new"), "system_u:object_r:container_file_t:s0:c5,c6");
    assert_eq!(label("left"), "system_u:object_r:file_t:s0");
}

#[test]
fn scores_for_the_oom_killer_are_as_low_as_the_machine_allows() {
    let bed = Bed::ours(&[]);
    let config = bed.pod("oom");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let started = |name: &str, score: i64| {
        let mut container = bed.container(name, IDLE);
        limits(&mut container).oom_score_adj = score;
        let options = api::NamespaceOption {
            pid: api::NamespaceMode::Container.into(),
            ..api::NamespaceOption::default()
        };
        super::with_namespaces(&mut container, options);
        let id = bed.cri.create(&pod, container, &config).unwrap();
        bed.cri.start(&id).unwrap();
        bed.cri.output(&id, "cat /proc/1/oom_score_adj")
    };
    assert_eq!(started("high", 900), "900");
    // A machine may keep even root from lowering it; then it stays what the daemon's is.
    let tried = std::process::Command::new("sh")
        .args(["-c", "echo -900 > /proc/self/oom_score_adj && cat /proc/self/oom_score_adj"])
        .output()
        .unwrap();
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let allowed = String::from_utf8(tried.stdout).unwrap();
    let expected = if tried.status.success() { allowed } else { own };
    assert_eq!(started("low", -900), expected.trim());
}
