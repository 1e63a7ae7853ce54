//! Fields of pods and containers, each by what it makes of the kernel's view.

use std::{fs, path::Path, process::Command};

use ferry_cri::api::{self, MountPropagation, NamespaceMode, security_profile::ProfileType};
use ferry_testkit::{eventually, run};

use super::{Bed, IDLE, on_both, with_namespaces};

/// The security part of a container's configuration.
fn security(config: &mut api::ContainerConfig) -> &mut api::LinuxContainerSecurityContext {
    config.linux.get_or_insert_default().security_context.get_or_insert_default()
}

/// A container in a pod, as it is changed, started.
fn started(
    bed: &Bed,
    pod: &str,
    sandbox: &api::PodSandboxConfig,
    name: &str,
    change: impl FnOnce(&mut api::ContainerConfig),
) -> Result<String, tonic::Status> {
    let mut config = bed.container(name, IDLE);
    let pid = NamespaceMode::Container.into();
    with_namespaces(&mut config, api::NamespaceOption { pid, ..Default::default() });
    change(&mut config);
    let id = bed.cri.create(pod, config, sandbox)?;
    bed.cri.start(&id)?;
    Ok(id)
}

/// A pod of one container, as both are changed.
fn alone(bed: &Bed, name: &str, change: impl FnOnce(&mut api::ContainerConfig)) -> String {
    let config = bed.pod(name);
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    started(bed, &pod, &config, "main", change).unwrap()
}

#[test]
fn the_machine_s_processes_and_ipc() {
    on_both(|bed| {
        let mut config = bed.pod("node");
        let options = api::NamespaceOption {
            pid: NamespaceMode::Node.into(),
            ipc: NamespaceMode::Node.into(),
            ..Default::default()
        };
        let linux = config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().namespace_options = Some(options.clone());
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let id = started(bed, &pod, &config, "main", |it| with_namespaces(it, options)).unwrap();
        for kind in ["pid", "ipc"] {
            let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            let seen = bed.cri.output(&id, &format!("readlink /proc/self/ns/{kind}"));
            assert_eq!(seen, own.to_string_lossy(), "{kind}");
        }
        let status = bed.cri.pod_status(&pod).unwrap().status.unwrap();
        let seen = status.linux.unwrap().namespaces.unwrap().options.unwrap();
        assert_eq!((seen.pid(), seen.ipc()), (NamespaceMode::Node, NamespaceMode::Node));
    });
}

#[test]
fn the_processes_of_another_container() {
    on_both(|bed| {
        let config = bed.pod("target");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let first = started(bed, &pod, &config, "first", |_| ()).unwrap();
        let second = started(bed, &pod, &config, "second", |it| {
            let pid = NamespaceMode::Target.into();
            let target_id = first.clone();
            with_namespaces(it, api::NamespaceOption { pid, target_id, ..Default::default() });
        });
        let second = second.unwrap();
        let namespace = |id: &str| bed.cri.output(id, "readlink /proc/self/ns/pid");
        assert_eq!(namespace(&first), namespace(&second));
    });
}

#[test]
fn a_seccomp_profile_of_the_machine() {
    on_both(|bed| {
        let profile = bed.logs.join("profile.json");
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
        fs::write(&profile, text).unwrap();
        let id = alone(bed, "seccomp", |it| {
            security(it).seccomp = Some(api::SecurityProfile {
                profile_type: ProfileType::Localhost.into(),
                localhost_ref: profile.to_string_lossy().into_owned(),
            });
        });
        assert!(bed.cri.output(&id, "mkdir /x 2>&1").contains("not permitted"));
        assert_eq!(bed.cri.output(&id, "touch /y && echo made"), "made");
        let config = bed.pod("unconfined");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let unconfined = started(bed, &pod, &config, "main", |it| {
            let profile_type = ProfileType::Unconfined.into();
            security(it).seccomp =
                Some(api::SecurityProfile { profile_type, localhost_ref: String::new() });
        });
        let look = "grep '^Seccomp:' /proc/self/status | cut -f2";
        assert_eq!(bed.cri.output(&unconfined.unwrap(), look), "0");
        let missing = started(bed, &pod, &config, "missing", |it| {
            security(it).seccomp = Some(api::SecurityProfile {
                profile_type: ProfileType::Localhost.into(),
                localhost_ref: "/no/such/profile".to_owned(),
            });
        });
        assert!(missing.unwrap_err().message().contains("/no/such/profile"));
        // It is not for who is privileged.
        let mut config = bed.pod("privileged");
        let linux = config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().privileged = true;
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let privileged = started(bed, &pod, &config, "main", |it| {
            security(it).privileged = true;
            security(it).seccomp = Some(api::SecurityProfile {
                profile_type: ProfileType::Localhost.into(),
                localhost_ref: profile.to_string_lossy().into_owned(),
            });
        });
        assert_eq!(bed.cri.output(&privileged.unwrap(), look), "0");
    });
}

#[test]
fn capabilities_of_somebody_who_is_not_root() {
    on_both(|bed| {
        let id = alone(bed, "ambient", |it| {
            let own = security(it);
            own.run_as_username = "nobody".to_owned();
            let capability = vec!["NET_BIND_SERVICE".to_owned()];
            own.capabilities = Some(api::Capability {
                add_capabilities: capability.clone(),
                drop_capabilities: vec!["ALL".to_owned()],
                add_ambient_capabilities: capability,
            });
        });
        assert_eq!(bed.cri.output(&id, "id -u"), "65534");
        let look = |what: &str| {
            bed.cri.output(&id, &format!("grep -E '{what}' /proc/1/status | cut -f2 | sort -u"))
        };
        assert_eq!(look("CapBnd"), "0000000000000400");
        // containerd 2.1 has not come to ambient ones yet.
        if bed.is_ours() {
            assert_eq!(look("CapAmb|CapEff"), "0000000000000400");
        }
    });
}

#[test]
fn paths_that_are_hidden_or_not_to_be_written() {
    on_both(|bed| {
        let id = alone(bed, "paths", |it| {
            let own = security(it);
            own.masked_paths = vec!["/proc/version".to_owned(), "/proc/irq".to_owned()];
            own.readonly_paths = vec!["/proc/sys".to_owned()];
        });
        assert_eq!(bed.cri.output(&id, "cat /proc/version | wc -c; ls /proc/irq | wc -l"), "0\n0");
        let write = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        assert!(bed.cri.output(&id, &format!("({write}) 2>&1")).contains("Read-only"));
    });
}

#[test]
fn privileged_containers_of_privileged_pods() {
    on_both(|bed| {
        let mut config = bed.pod("privileged");
        let plain = bed.cri.run_pod(bed.pod("plain")).unwrap();
        let refused = started(bed, &plain, &config, "main", |it| security(it).privileged = true);
        assert!(refused.unwrap_err().message().contains("no privileged container allowed"));
        let linux = config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().privileged = true;
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let id = started(bed, &pod, &config, "main", |it| security(it).privileged = true).unwrap();
        let said = |script: &str| bed.cri.output(&id, script);
        assert_eq!(said("mount -t tmpfs none /tmp && echo mounted"), "mounted");
        assert_eq!(said("echo 1 > /proc/sys/net/ipv4/ip_forward && echo written"), "written");
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
        assert_eq!(said("grep CapEff /proc/1/status | cut -f2"), own);
    });
}

/// A directory of the machine that is a mount of its own, and shared.
struct Shared(std::path::PathBuf);

impl Shared {
    fn new(path: &Path) -> Shared {
        fs::create_dir_all(path.join("inner")).unwrap();
        let text = path.to_str().unwrap();
        run(Command::new("mount").args(["--bind", text, text])).ok();
        run(Command::new("mount").args(["--make-rshared", text])).ok();
        Shared(path.to_owned())
    }

    fn mount_inner(&self) {
        run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(self.0.join("inner"))).ok();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(Command::new("umount").args(["-R", "-l"]).arg(&self.0).output());
    }
}

#[test]
fn mounts_that_come_later() {
    on_both(|bed| {
        let shared = Shared::new(&bed.logs.join("shared"));
        let mut config = bed.pod("propagation");
        let linux = config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().privileged = true;
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let with = |name: &str, propagation: MountPropagation| {
            let mounted = started(bed, &pod, &config, name, |it| {
                security(it).privileged = true;
                it.mounts = vec![api::Mount {
                    container_path: "/data".to_owned(),
                    host_path: shared.0.to_string_lossy().into_owned(),
                    propagation: propagation.into(),
                    ..api::Mount::default()
                }];
            });
            mounted.unwrap()
        };
        let private = with("private", MountPropagation::PropagationPrivate);
        let slave = with("slave", MountPropagation::PropagationHostToContainer);
        let both = with("both", MountPropagation::PropagationBidirectional);
        shared.mount_inner();
        fs::write(shared.0.join("inner/note"), "here").unwrap();
        let read = |id: &str| bed.cri.output(id, "cat /data/inner/note 2>/dev/null");
        assert_eq!([read(&private), read(&slave), read(&both)], ["", "here", "here"]);
        bed.cri.exec(
            &both,
            "mkdir /data/own && mount -t tmpfs none /data/own && echo in > /data/own/x",
        );
        assert_eq!(fs::read_to_string(shared.0.join("own/x")).unwrap(), "in\n");
        bed.cri.exec(
            &slave,
            "mkdir -p /data/third && mount -t tmpfs none /data/third && touch /data/third/x",
        );
        assert!(!shared.0.join("third/x").exists());
    });
}

#[test]
fn read_only_down_to_the_last_mount() {
    on_both(|bed| {
        let shared = Shared::new(&bed.logs.join("tree"));
        shared.mount_inner();
        let config = bed.pod("rro");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let with = |name: &str, recursive_read_only: bool| {
            let mounted = started(bed, &pod, &config, name, |it| {
                it.mounts = vec![api::Mount {
                    container_path: "/data".to_owned(),
                    host_path: shared.0.to_string_lossy().into_owned(),
                    readonly: true,
                    recursive_read_only,
                    ..api::Mount::default()
                }];
            });
            mounted.unwrap()
        };
        let write = "touch /data/x 2>/dev/null && echo top; touch /data/inner/x 2>/dev/null && echo inner; true";
        assert_eq!(bed.cri.output(&with("plain", false), write), "inner");
        assert_eq!(bed.cri.output(&with("whole", true), write), "");
        for propagation in [
            api::MountPropagation::PropagationHostToContainer,
            api::MountPropagation::PropagationBidirectional,
        ] {
            let passed_on = started(bed, &pod, &config, propagation.as_str_name(), |it| {
                it.mounts = vec![api::Mount {
                    container_path: "/data".to_owned(),
                    host_path: shared.0.to_string_lossy().into_owned(),
                    readonly: true,
                    recursive_read_only: true,
                    propagation: propagation.into(),
                    ..api::Mount::default()
                }];
            });
            passed_on.unwrap_err();
        }
        let status = call_status(bed);
        let features = status.runtime_handlers.iter().find(|it| it.name.is_empty());
        assert!(features.unwrap().features.unwrap().recursive_read_only_mounts);
    });
}

fn call_status(bed: &Bed) -> api::StatusResponse {
    super::client::call!(bed.cri, runtime.status(api::StatusRequest { verbose: false })).unwrap()
}

#[test]
fn devices_of_the_machine() {
    on_both(|bed| {
        // One that no container has without being given it.
        let id = alone(bed, "devices", |it| {
            it.devices = vec![api::Device {
                container_path: "/dev/given".to_owned(),
                host_path: "/dev/fuse".to_owned(),
                permissions: "r".to_owned(),
            }];
        });
        let open =
            |how: &str| bed.cri.output(&id, &format!("(exec 3{how}/dev/given && echo open) 2>&1"));
        assert_eq!(open("<"), "open");
        assert!(open(">").contains("not permitted"), "{}", open(">"));
    });
}

#[test]
fn programs_as_the_image_or_the_pod_says() {
    on_both(|bed| {
        let config = bed.pod("words");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let id = started(bed, &pod, &config, "main", |it| {
            it.command = vec!["sh".to_owned(), "-c".to_owned()];
            it.args = vec![IDLE.to_owned()];
            it.annotations = [("of".to_owned(), "the container".to_owned())].into();
        });
        let id = id.unwrap();
        assert!(bed.cri.output(&id, "tr '\\0' ' ' < /proc/1/cmdline").starts_with("sh -c trap"));
        assert_eq!(bed.cri.status(&id).unwrap().annotations["of"], "the container");
    });
}

#[test]
fn limits_of_processors_and_swap() {
    on_both(|bed| {
        let id = alone(bed, "limits", |it| {
            it.linux.get_or_insert_default().resources = Some(api::LinuxContainerResources {
                cpuset_cpus: "0".to_owned(),
                cpuset_mems: "0".to_owned(),
                memory_limit_in_bytes: 64 << 20,
                memory_swap_limit_in_bytes: 64 << 20,
                ..Default::default()
            });
        });
        let look = "grep -E 'Cpus_allowed_list|Mems_allowed_list' /proc/1/status | cut -f2";
        assert_eq!(bed.cri.output(&id, look), "0\n0");
        let status = bed.cri.status(&id).unwrap();
        let seen = status.resources.unwrap().linux.unwrap();
        assert_eq!((seen.cpuset_cpus.as_str(), seen.memory_limit_in_bytes), ("0", 64 << 20));
    });
}

/// One of the interface's newest fields: on ours only.
#[test]
fn a_signal_of_the_pod_s_own_ends_it() {
    let bed = Bed::ours(&[]);
    let config = bed.pod("signal");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let mut container =
        bed.container("main", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done");
    container.stop_signal = api::Signal::Sigusr1.into();
    let id = bed.cri.create(&pod, container, &config).unwrap();
    bed.cri.start(&id).unwrap();
    let log = bed.cri.status(&id).unwrap().log_path;
    eventually("it is ready", || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("ready"))
    });
    bed.cri.stop(&id, 20).unwrap();
    let status = bed.cri.status(&id).unwrap();
    assert_eq!((status.exit_code, status.stop_signal()), (9, api::Signal::Sigusr1));
}
