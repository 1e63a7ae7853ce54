use std::path::PathBuf;

use ferry_model::container::{Container, ContainerSpec};
use ferry_oci::{Digest, runtime::Spec};

use super::*;
use crate::plan_mounts;

fn container(spec: ContainerSpec) -> Container {
    Container {
        name: "web".into(),
        mounts: plan_mounts(&spec, Vec::new()).unwrap(),
        ..Container::new("0123456789abcdef".repeat(4), Digest::sha256_of(b""), spec)
    }
}

fn plan(change: impl FnOnce(&mut ContainerSpec)) -> Result<Spec, SpecError> {
    plan_in(&Namespace::New, change)
}

fn plan_in(
    network: &Namespace,
    change: impl FnOnce(&mut ContainerSpec),
) -> Result<Spec, SpecError> {
    let mut spec = ContainerSpec { cmd: Some(vec!["true".into()]), ..ContainerSpec::default() };
    change(&mut spec);
    let null = |path: &str| {
        Ok(HostDevice {
            path: path.into(),
            kind: 'c',
            major: 1,
            minor: 3,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
    };
    plan_spec(&SpecInputs {
        container: &container(spec),
        rootfs: "/rootfs",
        unified_cgroup: false,
        cgroup_path: "/ferry/x",
        etc_files: ["/c/hosts", "/c/hostname", "/c/resolv.conf"],
        network,
        pid: &Namespace::New,
        ipc: &Namespace::New,
        uts: &Namespace::New,
        user: None,
        joined_shm: None,
        host_name: "machine",
        bounding: &|_| true,
        arch: "x86_64",
        apparmor: Some("docker-default"),
        kernel: (6, 18),
        owner: &|_| Some((1000, 100)),
        device: &null,
        all_devices: &Vec::new,
    })
}

#[test]
fn what_every_container_gets() {
    let spec = plan(|_| ()).unwrap();
    let process = spec.process.unwrap();
    assert_eq!(process.env[1], "HOSTNAME=0123456789ab");
    assert_eq!(process.capabilities.unwrap().bounding.len(), 14);
    let linux = spec.linux.unwrap();
    let kinds: Vec<_> = linux.namespaces.iter().map(|namespace| namespace.kind.as_str()).collect();
    assert_eq!(kinds, ["mount", "network", "uts", "pid", "ipc"]);
    assert!(linux.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert_eq!(linux.sysctl["net.ipv4.ip_unprivileged_port_start"], "0");
    let last: Vec<_> =
        spec.mounts.iter().rev().take(3).map(|mount| mount.destination.as_str()).collect();
    assert_eq!(last, ["/etc/resolv.conf", "/etc/hostname", "/etc/hosts"]);
}

#[test]
fn an_apparmor_profile_for_everyone_who_is_not_privileged() {
    let profile =
        |change: fn(&mut ContainerSpec)| plan(change).unwrap().process.unwrap().apparmor_profile;
    assert_eq!(profile(|_| ()).as_deref(), Some("docker-default"));
    assert_eq!(profile(|spec| spec.host.privileged = true), None);
    assert_eq!(profile(|spec| spec.host.security_opt = vec!["apparmor=unconfined".into()]), None);
    let mine = profile(|spec| spec.host.security_opt = vec!["apparmor:mine".into()]);
    assert_eq!(mine.as_deref(), Some("mine"));
}

#[test]
fn the_users_word_replaces_the_engines() {
    let spec = plan(|spec| {
        spec.env = vec!["PATH=/x".into(), "A=1".into(), "HOSTNAME".into()];
        spec.host.binds.push(ferry_model::container::BindMount {
            text: "/mine:/etc/hosts".into(),
            ..Default::default()
        });
    })
    .unwrap();
    assert_eq!(spec.process.unwrap().env, ["PATH=/x", "A=1"]);
    let hosts: Vec<_> =
        spec.mounts.iter().filter(|mount| mount.destination == "/etc/hosts").collect();
    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0].source.as_deref(), Some("/mine"));
}

#[test]
fn limits_in_the_kernels_units() {
    let spec = plan(|spec| {
        spec.host.resources.memory = 64 << 20;
        spec.host.resources.nano_cpus = 500_000_000;
        spec.host.resources.pids_limit = Some(20);
    })
    .unwrap();
    let resources = spec.linux.unwrap().resources.unwrap();
    let memory = resources.memory.unwrap();
    assert_eq!((memory.limit, memory.swap), (Some(64 << 20), Some(128 << 20)));
    let cpu = resources.cpu.unwrap();
    assert_eq!((cpu.quota, cpu.period), (Some(50_000), Some(100_000)));
    assert_eq!(resources.pids.unwrap().limit, 20);
}

#[test]
fn privileged_is_without_walls() {
    let spec = plan(|spec| spec.host.privileged = true).unwrap();
    let linux = spec.linux.unwrap();
    assert!(linux.masked_paths.is_empty() && linux.seccomp.is_none());
    let rules = linux.resources.unwrap().devices;
    assert!(rules.len() == 1 && rules[0].allow && rules[0].major.is_none());
}

#[test]
fn what_docker_refuses() {
    let words = |result: Result<Spec, SpecError>| result.unwrap_err().to_string();
    assert_eq!(words(plan(|spec| spec.cmd = None)), "no command specified");
    let sysctl = |key: &'static str| {
        move |spec: &mut ContainerSpec| {
            spec.host.sysctls.insert(key.into(), "1".into());
        }
    };
    assert_eq!(words(plan(sysctl("vm.swappiness"))), "sysctl 'vm.swappiness' is not allowed");
    assert_eq!(
        words(plan_in(&Namespace::Host, sysctl("net.core.somaxconn"))),
        "sysctl 'net.core.somaxconn' not allowed in host network namespace"
    );
    let rule = |text: &'static str| {
        move |spec: &mut ContainerSpec| spec.host.resources.device_cgroup_rules = vec![text.into()]
    };
    assert_eq!(words(plan(rule("c 1:3"))), "invalid device cgroup rule format: 'c 1:3'");
    assert!(plan(rule("c 1:* rwm")).is_ok());
}

#[test]
fn joining_shows_in_the_namespaces() {
    let spec = plan_in(&Namespace::Join(PathBuf::from("/proc/7/ns/net")), |_| ()).unwrap();
    let network = spec.linux.unwrap().namespaces.into_iter().find(|n| n.kind == "network").unwrap();
    assert_eq!(network.path, Some(PathBuf::from("/proc/7/ns/net")));
}
