//! Lives of pods and their containers.

use std::fs;

use ferry_cri::api::{self, NamespaceMode};
use ferry_testkit::eventually;
use tonic::Code;

use super::{Bed, IDLE, client::call, on_both, with_namespaces};

#[test]
fn the_runtime_says_who_it_is_and_that_it_is_ready() {
    on_both(|bed| {
        let version =
            call!(bed.cri, runtime.version(api::VersionRequest { version: "v1".into() })).unwrap();
        assert_eq!(version.runtime_api_version, "v1");
        let status = call!(bed.cri, runtime.status(api::StatusRequest { verbose: true })).unwrap();
        let conditions = status.status.unwrap().conditions;
        let ready: Vec<(&str, bool)> =
            conditions.iter().map(|it| (it.r#type.as_str(), it.status)).collect();
        assert_eq!(&ready[..2], [("RuntimeReady", true), ("NetworkReady", true)]);
    });
}

#[test]
fn a_pod_lives() {
    on_both(|bed| {
        let cri = &bed.cri;
        let config = bed.pod("life");
        let pod = cri.run_pod(config.clone()).unwrap();
        assert_eq!(pod.len(), 64);

        // What was said is shown again.
        let status = cri.pod_status(&pod).unwrap().status.unwrap();
        assert_eq!(status.state(), api::PodSandboxState::SandboxReady);
        assert_eq!(status.metadata, config.metadata);
        assert_eq!((&status.labels, &status.annotations), (&config.labels, &config.annotations));
        let ip = status.network.unwrap().ip;
        assert!(ip.parse::<std::net::IpAddr>().is_ok(), "{ip}");

        // Its name is its own.
        let mut other = config.clone();
        other.labels.clear();
        assert!(cri.run_pod(other).unwrap_err().message().contains("reserved"));

        let script =
            "echo out; echo err >&2; echo -n part; sleep 0.3; echo ial; echo -n end; exit 3";
        let id = cri.create(&pod, bed.container("main", script), &config).unwrap();
        assert_eq!(cri.status(&id).unwrap().state(), api::ContainerState::ContainerCreated);
        cri.start(&id).unwrap();
        let ended = eventually("the container ends", || {
            let status = cri.status(&id).unwrap();
            (status.state() == api::ContainerState::ContainerExited).then_some(status)
        });
        assert_eq!((ended.exit_code, ended.reason.as_str()), (3, "Error"));
        assert!(ended.created_at <= ended.started_at && ended.started_at < ended.finished_at);

        // The log is in CRI's format, where the kubelet wants it.
        assert_eq!(ended.log_path, format!("{}/main.log", config.log_directory));
        let log = fs::read_to_string(&ended.log_path).unwrap();
        let mut lines: Vec<&str> =
            log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["stderr F err", "stdout F out", "stdout F partial", "stdout P end"]);

        let listed = cri.containers();
        let listed: Vec<_> = listed.iter().filter(|it| it.pod_sandbox_id == pod).collect();
        assert_eq!((listed.len(), &listed[0].id, &listed[0].image_id), (1, &id, &ended.image_id));

        // Everything may be asked for twice.
        for _ in 0..2 {
            cri.stop(&id, 1).unwrap();
            cri.stop_pod(&pod).unwrap();
        }
        let status = cri.pod_status(&pod).unwrap().status.unwrap();
        assert_eq!(status.state(), api::PodSandboxState::SandboxNotready);
        for _ in 0..2 {
            cri.remove(&id).unwrap();
            cri.remove_pod(&pod).unwrap();
        }
        assert_eq!(cri.pod_status(&pod).unwrap_err().code(), Code::NotFound);
        assert_eq!(cri.status(&id).unwrap_err().code(), Code::NotFound);
    });
}

#[test]
fn containers_of_a_pod_share_what_they_should() {
    on_both(|bed| {
        let cri = &bed.cri;
        let config = bed.pod("share");
        let pod = cri.run_pod(config.clone()).unwrap();
        let start = |name: &str, pid: NamespaceMode| {
            let mut container = bed.container(name, IDLE);
            let options = api::NamespaceOption { pid: pid.into(), ..Default::default() };
            with_namespaces(&mut container, options);
            let id = cri.create(&pod, container, &config).unwrap();
            cri.start(&id).unwrap();
            id
        };
        let own = start("own", NamespaceMode::Container);
        let shared = start("shared", NamespaceMode::Pod);
        let namespace =
            |id: &str, kind: &str| cri.output(id, &format!("readlink /proc/self/ns/{kind}"));
        for kind in ["net", "ipc", "uts"] {
            assert_eq!(namespace(&own, kind), namespace(&shared, kind), "{kind}");
        }
        for kind in ["mnt", "pid"] {
            assert_ne!(namespace(&own, kind), namespace(&shared, kind), "{kind}");
        }
        assert_eq!(cri.output(&own, "hostname"), "share");
        assert_eq!(cri.output(&own, "cat /etc/hostname"), "share");
        // In its own space of process ids the program is the first, in the pod's the holder is.
        assert!(cri.output(&own, "cat /proc/1/cmdline").starts_with("sh"));
        assert!(!cri.output(&shared, "cat /proc/1/cmdline").starts_with("sh"));
        // Memory is shared, too.
        cri.exec(&own, "echo hello > /dev/shm/note");
        assert_eq!(cri.output(&shared, "cat /dev/shm/note"), "hello");
        // A pod that is stopped takes its containers along.
        cri.stop_pod(&pod).unwrap();
        assert_eq!(cri.status(&own).unwrap().state(), api::ContainerState::ContainerExited);
        assert_eq!(cri.status(&own).unwrap().exit_code, 137);
    });
}

#[test]
fn stopping_is_polite_first() {
    on_both(|bed| {
        let (pod, id) = bed.running("stop", IDLE);
        let log = bed.cri.status(&id).unwrap().log_path;
        eventually("it is ready for the signal", || {
            fs::read_to_string(&log).ok().filter(|text| text.contains("ready"))
        });
        bed.cri.stop(&id, 10).unwrap();
        let status = bed.cri.status(&id).unwrap();
        assert_eq!((status.exit_code, status.state()), (7, api::ContainerState::ContainerExited));
        assert!(bed.cri.start(&id).is_err(), "a container runs once");
        bed.cri.remove_pod(&pod).unwrap();
        assert_eq!(bed.cri.status(&id).unwrap_err().code(), Code::NotFound);
    });
}

#[test]
fn further_programs_are_waited_for() {
    on_both(|bed| {
        let (_, id) = bed.running("exec", IDLE);
        let ran = bed.cri.exec(&id, "echo out; echo err >&2; exit 5");
        assert_eq!((ran.stdout.as_slice(), ran.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(ran.exit_code, 5);
        let request = api::ExecSyncRequest {
            container_id: id.clone(),
            cmd: vec!["sleep".into(), "30".into()],
            timeout: 1,
        };
        let late = call!(bed.cri, runtime.exec_sync(request)).unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
        eventually("it was ended", || {
            (bed.cri.output(&id, "ps | grep -c '[s]leep 30'") == "0").then_some(())
        });
    });
}

#[test]
fn a_log_is_reopened() {
    on_both(|bed| {
        let (_, id) =
            bed.running("reopen", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done");
        let path = bed.cri.status(&id).unwrap().log_path;
        eventually("something is logged", || {
            fs::read_to_string(&path).ok().filter(|t| !t.is_empty())
        });
        fs::rename(&path, format!("{path}.old")).unwrap();
        let request = api::ReopenContainerLogRequest { container_id: id.clone() };
        call!(bed.cri, runtime.reopen_container_log(request.clone())).unwrap();
        let new = eventually("the new file grows", || {
            fs::read_to_string(&path).ok().filter(|text| text.lines().count() > 2)
        });
        let old = fs::read_to_string(format!("{path}.old")).unwrap();
        let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        let last = number(old.lines().last().unwrap());
        assert_eq!(number(new.lines().next().unwrap()), last + 1, "nothing is lost");
        bed.cri.stop(&id, 0).unwrap();
        assert!(call!(bed.cri, runtime.reopen_container_log(request)).is_err());
    });
}

#[test]
fn settings_of_a_container_come_true() {
    on_both(|bed| {
        let cri = &bed.cri;
        let mut config = bed.pod("settings");
        config.dns_config = Some(api::DnsConfig {
            servers: vec!["10.96.0.10".into()],
            searches: vec!["default.svc.cluster.local".into()],
            options: vec!["ndots:5".into()],
        });
        config.linux.as_mut().unwrap().sysctls =
            [("net.core.somaxconn".into(), "77".into())].into();
        let pod = cri.run_pod(config.clone()).unwrap();
        let host = bed.logs.join("shared");
        fs::create_dir_all(&host).unwrap();
        let mut container = bed.container("main", IDLE);
        container.envs = vec![api::KeyValue { key: "COLOUR".into(), value: b"blue".to_vec() }];
        container.working_dir = "/tmp".into();
        container.mounts = vec![api::Mount {
            container_path: "/data".into(),
            host_path: host.to_string_lossy().into_owned(),
            readonly: true,
            ..api::Mount::default()
        }];
        container.linux = Some(api::LinuxContainerConfig {
            resources: Some(api::LinuxContainerResources {
                memory_limit_in_bytes: 64 << 20,
                cpu_shares: 512,
                cpu_quota: 50_000,
                cpu_period: 100_000,
                oom_score_adj: 500,
                hugepage_limits: vec![api::HugepageLimit { page_size: "2MB".into(), limit: 0 }],
                ..Default::default()
            }),
            security_context: Some(api::LinuxContainerSecurityContext {
                run_as_user: Some(api::Int64Value { value: 65534 }),
                run_as_group: Some(api::Int64Value { value: 50 }),
                supplemental_groups: vec![1234],
                readonly_rootfs: true,
                namespace_options: Some(api::NamespaceOption {
                    pid: NamespaceMode::Container.into(),
                    ..Default::default()
                }),
                no_new_privs: true,
                capabilities: Some(api::Capability {
                    drop_capabilities: vec!["ALL".into()],
                    add_capabilities: vec!["NET_BIND_SERVICE".into()],
                    ..Default::default()
                }),
                seccomp: Some(api::SecurityProfile::default()),
                masked_paths: vec!["/proc/kcore".into()],
                ..Default::default()
            }),
        });
        let id = cri.create(&pod, container, &config).unwrap();
        cri.start(&id).unwrap();
        let said = |script: &str| cri.output(&id, script);
        assert_eq!(said("echo $COLOUR; pwd"), "blue\n/tmp");
        assert_eq!(said("id -u; id -g"), "65534\n50");
        assert!(said("id -G").split(' ').any(|group| group == "1234"));
        assert_eq!(
            said("grep -v '^#' /etc/resolv.conf | sort"),
            "nameserver 10.96.0.10\noptions ndots:5\nsearch default.svc.cluster.local"
        );
        assert_eq!(said("cat /proc/sys/net/core/somaxconn"), "77");
        assert!(said("touch /x 2>&1; touch /data/x 2>&1").matches("Read-only").count() == 2);
        assert_eq!(
            said("grep -E 'NoNewPrivs|^Seccomp:' /proc/self/status | tr -d '\\t '"),
            "NoNewPrivs:1\nSeccomp:2"
        );
        assert_eq!(said("grep CapBnd /proc/self/status | cut -f2"), "0000000000000400");
        assert_eq!(said("cat /proc/1/oom_score_adj"), "500");
        assert_eq!(said("cat /sys/fs/cgroup/memory/memory.limit_in_bytes"), (64 << 20).to_string());
        assert_eq!(said("cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us"), "50000");

        // Limits change while it runs.
        let request = api::UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(api::LinuxContainerResources {
                memory_limit_in_bytes: 128 << 20,
                cpu_quota: 20_000,
                cpu_period: 100_000,
                ..Default::default()
            }),
            ..Default::default()
        };
        call!(cri, runtime.update_container_resources(request)).unwrap();
        assert_eq!(
            said("cat /sys/fs/cgroup/memory/memory.limit_in_bytes"),
            (128 << 20).to_string()
        );
        assert_eq!(said("cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us"), "20000");
    });
}

#[test]
fn figures_of_containers_and_pods() {
    on_both(|bed| {
        let (pod, id) =
            bed.running("stats", "dd if=/dev/zero of=/root/x bs=1M count=3; while :; do :; done");
        eventually("it uses the processor", || {
            let request = api::ContainerStatsRequest { container_id: id.clone() };
            let stats = call!(bed.cri, runtime.container_stats(request)).unwrap().stats.unwrap();
            let used = stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value;
            let written = stats.writable_layer.unwrap().used_bytes.unwrap_or_default().value;
            let memory = stats.memory.unwrap().working_set_bytes.unwrap().value;
            (used > 1_000_000 && written >= 3 << 20 && memory > 0).then_some(())
        });
        let request = api::ListContainerStatsRequest { filter: None };
        let all = call!(bed.cri, runtime.list_container_stats(request)).unwrap().stats;
        assert!(all.iter().any(|it| it.attributes.as_ref().unwrap().id == id));
        let request = api::PodSandboxStatsRequest { pod_sandbox_id: pod };
        let stats = call!(bed.cri, runtime.pod_sandbox_stats(request)).unwrap().stats.unwrap();
        let linux = stats.linux.unwrap();
        assert_eq!(linux.containers.len(), 1);
        assert!(linux.network.unwrap().default_interface.unwrap().name == "eth0");
    });
}

#[test]
fn docker_s_clients_do_not_see_pods() {
    let bed = Bed::ours(&[]);
    let ferry = bed.ferry();
    let (pod, id) = bed.running("hidden", IDLE);
    ferry.ok(&["run", "-d", "--name", "seen", "busybox", "sleep", "1000"]);
    assert_eq!(ferry.ok(&["ps", "-a", "--format", "{{.Names}}"]).trim(), "seen");
    assert_eq!(ferry.ok(&["info", "-f", "{{.Containers}}"]).trim(), "1");
    assert_ne!(ferry.run(&["inspect", &id[..12]]).code, 0, "a short id is not enough");
    ferry.ok(&["container", "prune", "-f"]);
    let all = ferry.ok(&["ps", "--all-namespaces", "-q", "--no-trunc"]);
    assert!(all.lines().count() == 3 && all.contains(&id) && all.contains(&pod), "{all}");
    // Nor does a kubelet see Docker's.
    let pods = bed.cri.pods();
    assert_eq!((pods.len(), bed.cri.containers().len()), (1, 1));
    assert_eq!(pods[0].id, pod);
    // What a pod uses is not collected.
    assert_ne!(ferry.run(&["image", "rm", "busybox"]).code, 0);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let bed = Bed::ours(&[]);
    let config = bed.pod("refuse");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let refused = |change: &dyn Fn(&mut api::ContainerConfig)| {
        let mut container = bed.container("main", IDLE);
        change(&mut container);
        bed.cri.create(&pod, container, &config).unwrap_err().message().to_owned()
    };
    // Where there is cgroup v2, they are honoured.
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        let words = refused(&|it| {
            let linux = it.linux.get_or_insert_default();
            let limits = linux.resources.get_or_insert_default();
            limits.unified.insert("memory.high".into(), "1000000".into());
        });
        assert!(words.contains("(unified) need cgroup v2"), "{words}");
    }
    let words = refused(&|it| {
        it.mounts.push(api::Mount { container_path: "x".into(), ..Default::default() });
    });
    assert!(words.contains("mount path must be absolute"), "{words}");
    let words = refused(&|it| it.image = None);
    assert_eq!(words, "config.image is required");
    let words = refused(&|it| it.metadata = None);
    assert_eq!(words, "config.metadata is required");
    let words = refused(&|it| it.log_path = "../../x".into());
    assert!(words.contains("make no path"), "{words}");
    assert_eq!(bed.cri.containers().len(), 0);
}
