//! Pods with ids of their own: root of the pod is nobody on the host, and files are whose they are.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
};

use ferry_cri::api::{self, NamespaceMode};
use ferry_testkit::{eventually, programs};

use super::{Bed, IDLE, client::call, conf::Conf};

/// Where the ids of these tests' pods begin on the host, and how many they are.
const FIRST: u32 = 0x6000_0000;
const COUNT: u32 = 65_536;

pub(super) fn mapping(first: u32) -> Vec<api::IdMapping> {
    vec![api::IdMapping { container_id: 0, host_id: first, length: COUNT }]
}

pub(super) fn options(first: u32) -> api::NamespaceOption {
    api::NamespaceOption {
        pid: NamespaceMode::Container.into(),
        userns_options: Some(api::UserNamespace {
            mode: NamespaceMode::Pod.into(),
            uids: mapping(first),
            gids: mapping(first),
        }),
        ..api::NamespaceOption::default()
    }
}

/// A pod's configuration with a user namespace.
pub(super) fn pod(bed: &Bed, name: &str) -> api::PodSandboxConfig {
    let mut config = bed.pod(name);
    let security = api::LinuxSandboxSecurityContext {
        namespace_options: Some(options(FIRST)),
        ..api::LinuxSandboxSecurityContext::default()
    };
    config.linux.as_mut().unwrap().security_context = Some(security);
    config
}

/// A container's configuration with the same.
pub(super) fn container(bed: &Bed, name: &str) -> api::ContainerConfig {
    let mut container = bed.container(name, IDLE);
    super::with_namespaces(&mut container, options(FIRST));
    container
}

fn security(container: &mut api::ContainerConfig) -> &mut api::LinuxContainerSecurityContext {
    container.linux.get_or_insert_default().security_context.get_or_insert_default()
}

/// The process that holds a pod's namespaces.
fn holder(bed: &Bed, pod: &str) -> u64 {
    let status = bed.cri.pod_status(pod).unwrap();
    let info: serde_json::Value = serde_json::from_str(&status.info["info"]).unwrap();
    info["pid"].as_u64().unwrap()
}

fn started(
    bed: &Bed,
    pod: &str,
    container: api::ContainerConfig,
    config: &api::PodSandboxConfig,
) -> String {
    let id = bed.cri.create(pod, container, config).unwrap();
    bed.cri.start(&id).unwrap();
    id
}

#[test]
fn root_of_a_pod_is_nobody_on_the_host() {
    let bed = Bed::ours(&[]);
    let mut config = pod(&bed, "userns");
    config.linux.as_mut().unwrap().sysctls =
        [("net.ipv4.ip_default_ttl".into(), "77".into())].into();
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let holder = holder(&bed, &pod);
    let namespace = fs::read_link(format!("/proc/{holder}/ns/user")).unwrap();
    assert_ne!(namespace, fs::read_link("/proc/self/ns/user").unwrap());
    assert_eq!(fs::metadata(format!("/proc/{holder}")).unwrap().uid(), FIRST);

    let id = started(&bed, &pod, container(&bed, "main"), &config);
    let said = |script: &str| bed.cri.output(&id, script);
    let map: Vec<String> =
        said("cat /proc/self/uid_map").split_whitespace().map(str::to_owned).collect();
    assert_eq!(map, ["0".to_owned(), FIRST.to_string(), COUNT.to_string()]);
    assert_eq!(said("readlink /proc/1/ns/user"), namespace.to_string_lossy());
    // Everything of the image and all that the runtime makes belongs to root.
    let owners = "stat -c %u:%g / /bin/busybox /etc/hosts /etc/resolv.conf /dev/shm | sort -u";
    assert_eq!(said(&format!("id -u; {owners}")), "0\n0:0");
    // The pod's network is the user namespace's own: there are links to see, and they may be changed.
    assert_eq!(said("cat /proc/sys/net/ipv4/ip_default_ttl; ls /sys/class/net"), "77\neth0\nlo");
    assert_eq!(said("hostname"), "userns");

    // The second container is in the same namespaces, and what one writes to shared memory the other owns, too.
    let mut second = container(&bed, "second");
    security(&mut second).run_as_user = Some(api::Int64Value { value: 1000 });
    security(&mut second).capabilities = Some(api::Capability {
        drop_capabilities: vec!["ALL".into()],
        ..api::Capability::default()
    });
    let second = started(&bed, &pod, second, &config);
    bed.cri.exec(&second, "echo hello > /dev/shm/note");
    assert_eq!(said("cat /dev/shm/note; stat -c %u /dev/shm/note"), "hello\n1000");
    for kind in ["user", "net", "ipc", "uts"] {
        let look = format!("readlink /proc/self/ns/{kind}");
        assert_eq!(said(&look), bed.cri.output(&second, &look), "{kind}");
    }
    assert_eq!(bed.cri.output(&second, "id -u; echo x > /new || echo refused"), "1000\nrefused");

    let status = bed.cri.pod_status(&pod).unwrap().status.unwrap();
    let shown = status.linux.unwrap().namespaces.unwrap().options.unwrap();
    assert_eq!(shown.userns_options, options(FIRST).userns_options);
    let log = bed.cri.status(&id).unwrap().log_path;
    eventually("its output is logged", || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("stdout F ready"))
    });
    bed.cri.stop(&id, 5).unwrap();
    assert_eq!(bed.cri.status(&id).unwrap().exit_code, 7);
}

/// A directory of the machine with root's and another user's files, with the pods' ids or with the machine's.
pub(super) fn volume(bed: &Bed, place: &str, mapped: bool) -> api::Mount {
    let directory = bed.logs.join(place);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("user"), "u").unwrap();
    chown(directory.join("user"), Some(1000), Some(2000)).unwrap();
    let map = if mapped { mapping(FIRST) } else { Vec::new() };
    api::Mount {
        container_path: format!("/{place}"),
        host_path: directory.to_string_lossy().into_owned(),
        uid_mappings: map.clone(),
        gid_mappings: map,
        ..api::Mount::default()
    }
}

#[test]
fn volumes_of_a_pod_with_ids_of_its_own() {
    let bed = Bed::ours(&[]);
    let config = pod(&bed, "volumes");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let mut container = container(&bed, "main");
    container.mounts = vec![volume(&bed, "mapped", true), volume(&bed, "plain", false)];
    let id = started(&bed, &pod, container, &config);
    let said = |script: &str| bed.cri.output(&id, script);
    assert_eq!(said("stat -c %u:%g /mapped /mapped/user"), "0:0\n1000:2000");
    said("echo x > /mapped/root; chown 7:8 /mapped/user");
    let owner = |path: &str| {
        let status = fs::metadata(bed.logs.join(path)).unwrap();
        (status.uid(), status.gid())
    };
    assert_eq!((owner("mapped/root"), owner("mapped/user")), ((0, 0), (7, 8)));
    // Without maps the host's files are the host's.
    assert_eq!(said("stat -c %u:%g /plain /plain/user"), "65534:65534\n65534:65534");
    assert_eq!(said("echo x > /plain/root || echo refused"), "refused");
}

/// A container of the host's ids may have mounts that show others, too.
#[test]
fn mounts_with_id_maps_need_no_user_namespace() {
    let bed = Bed::ours(&[]);
    let config = bed.pod("idmap");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let directory = bed.logs.join("volume");
    fs::create_dir_all(&directory).unwrap();
    chown(&directory, Some(5000), Some(6000)).unwrap();
    let map = |on_disk: u32, shown: u32| {
        vec![api::IdMapping { container_id: on_disk, host_id: shown, length: 1 }]
    };
    let mounted = |name: &str, change: &dyn Fn(&mut api::Mount)| {
        let mut container = bed.container(name, IDLE);
        container.mounts = vec![api::Mount {
            container_path: "/volume".to_owned(),
            host_path: directory.to_string_lossy().into_owned(),
            uid_mappings: map(5000, 0),
            gid_mappings: map(6000, 0),
            ..api::Mount::default()
        }];
        change(&mut container.mounts[0]);
        let id = bed.cri.create(&pod, container, &config)?;
        bed.cri.start(&id).map(|()| id)
    };
    let id = mounted("main", &|_| {}).unwrap();
    assert_eq!(bed.cri.output(&id, "stat -c %u:%g /volume"), "0:0");
    bed.cri.exec(&id, "touch /volume/new");
    let new = fs::metadata(directory.join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (5000, 6000));
    let id = mounted("closed", &|mount| mount.readonly = true).unwrap();
    assert!(bed.cri.output(&id, "touch /volume/x 2>&1").contains("Read-only"));

    for (what, change) in [
        (
            "gid_mappings",
            &(|mount: &mut api::Mount| mount.gid_mappings.clear()) as &dyn Fn(&mut api::Mount),
        ),
        ("uid_mappings", &|mount: &mut api::Mount| mount.uid_mappings[0].length = 0),
    ] {
        let refused = mounted("refused", change).unwrap_err();
        assert!(refused.message().contains(&format!("mounts (/volume).{what}")), "{refused}");
    }
}

/// An image of a single layer at `/one`, and one of two at `/two`.
pub(super) fn image_volumes(bed: &Bed) -> [api::Mount; 2] {
    let script = "mkdir /more && echo 2 > /more/two && chown 9:9 /more/two";
    bed.ferry().ok(&["run", "--name", "layer", "busybox", "sh", "-c", script]);
    bed.ferry().ok(&["commit", "layer", "two"]);
    [("/one", "busybox:latest"), ("/two", "two:latest")].map(|(place, image)| api::Mount {
        container_path: place.to_owned(),
        image: Some(api::ImageSpec { image: image.to_owned(), ..api::ImageSpec::default() }),
        readonly: true,
        ..api::Mount::default()
    })
}

/// Tells whose what is in them.
pub(super) const OWNERS: &str =
    "stat -c %u:%g /one/bin/busybox /two/bin/busybox /two/more /two/more/two";

#[test]
fn images_as_volumes_belong_to_the_pod() {
    let bed = Bed::ours(&[]);
    let images = image_volumes(&bed);
    let config = pod(&bed, "images");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let mut container = container(&bed, "main");
    container.mounts = images.to_vec();
    let id = started(&bed, &pod, container, &config);
    assert_eq!(bed.cri.output(&id, OWNERS), "0:0\n0:0\n0:0\n9:9");
    assert!(bed.cri.output(&id, "touch /two/x 2>&1").contains("Read-only"));
    assert!(bed.cri.output(&id, "touch /one/x 2>&1").contains("Read-only"));

    // With ids of the mount's own, in a pod that has the host's.
    let config = bed.pod("host-s");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let mut container = bed.container("main", IDLE);
    container.mounts = images
        .into_iter()
        .map(|mount| api::Mount {
            uid_mappings: mapping(7000),
            gid_mappings: mapping(7000),
            ..mount
        })
        .collect();
    let id = started(&bed, &pod, container, &config);
    assert_eq!(bed.cri.output(&id, OWNERS), "7000:7000\n7000:7000\n7000:7000\n7009:7009");
}

#[test]
fn what_a_user_namespace_cannot_be() {
    let bed = Bed::ours(&[]);
    let refused = |change: &dyn Fn(&mut api::NamespaceOption)| {
        let mut config = pod(&bed, "refused");
        let linux = config.linux.as_mut().unwrap();
        change(linux.security_context.as_mut().unwrap().namespace_options.as_mut().unwrap());
        bed.cri.run_pod(config).unwrap_err()
    };
    refused(&|it| it.userns_options.as_mut().unwrap().uids.clear());
    refused(&|it| it.userns_options.as_mut().unwrap().gids.clear());
    refused(&|it| it.userns_options.as_mut().unwrap().set_mode(NamespaceMode::Node));
    refused(&|it| it.userns_options.as_mut().unwrap().set_mode(NamespaceMode::Container));

    // A container has its pod's ids, no others, and not the host's.
    let config = pod(&bed, "different");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    for options in [api::NamespaceOption::default(), options(FIRST + COUNT)] {
        let mut container = bed.container("main", IDLE);
        super::with_namespaces(&mut container, options);
        let refused = bed.cri.create(&pod, container, &config).unwrap_err();
        let words = "user namespace config for sandbox is different from container";
        assert!(refused.message().contains(words), "{refused}");
    }
    let config = bed.pod("of-the-host");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let refused = bed.cri.create(&pod, container(&bed, "main"), &config).unwrap_err();
    assert!(refused.message().contains("is different from container"), "{refused}");
    assert!(bed.cri.containers().iter().all(|it| it.pod_sandbox_id != pod));
}

#[test]
fn a_privileged_container_is_so_over_its_own_namespaces() {
    let bed = Bed::ours(&[]);
    let mut config = pod(&bed, "privileged");
    let linux = config.linux.as_mut().unwrap();
    linux.security_context.as_mut().unwrap().privileged = true;
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let mut container = container(&bed, "main");
    security(&mut container).privileged = true;
    let id = started(&bed, &pod, container, &config);
    let said = |script: &str| bed.cri.output(&id, script);
    let look = "ip addr add 10.99.0.1/32 dev lo && ip addr show lo | grep -c 10.99.0.1";
    assert_eq!(said(look), "1");
    assert_eq!(said("mkdir /m && mount -t tmpfs none /m && grep -c ' /m ' /proc/mounts"), "1");
    assert_eq!(said("echo 1 > /proc/sys/vm/drop_caches || echo refused"), "refused");
    assert_eq!(fs::metadata(format!("/proc/{}", holder(&bed, &pod))).unwrap().uid(), FIRST);
}

#[test]
fn plugins_make_the_network_of_a_pod_with_ids_of_its_own() {
    let Some(plugins) = programs::plugins() else { return };
    let (conf, _bridge) = Conf::bridged("userns");
    let bed = conf.bed(Some(&plugins));
    let config = pod(&bed, "plugins");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let ip = bed.cri.pod_status(&pod).unwrap().status.unwrap().network.unwrap().ip;
    let id = started(&bed, &pod, container(&bed, "main"), &config);
    assert!(bed.cri.output(&id, "ip -4 addr show eth0").contains(&ip), "{ip}");
    assert!(bed.cri.output(&id, "cat /etc/hosts").contains(&format!("{ip}\tplugins")));
    let (range, _) = ip.rsplit_once('.').unwrap();
    let ping = format!("ping -c 1 -W 2 {range}.1 | grep -c ttl");
    assert_eq!(bed.cri.output(&id, &ping), "1");
    bed.cri.remove_pod(&pod).unwrap();
}

#[test]
fn pods_with_ids_of_their_own_outlive_the_daemon() {
    let bed = Bed::ours(&[]);
    let config = pod(&bed, "survive");
    let pod = bed.cri.run_pod(config.clone()).unwrap();
    let id = started(&bed, &pod, container(&bed, "main"), &config);
    bed.ferry().kill_daemon();
    bed.ferry().start_daemon(None);
    assert_eq!(bed.cri.output(&id, "echo x > /new; stat -c %u /new"), "0");
    let later = started(&bed, &pod, container(&bed, "later"), &config);
    assert_eq!(bed.cri.output(&later, "stat -c %u /bin/busybox"), "0");
    assert!(bed.cri.output(&later, "cat /proc/self/uid_map").contains(&FIRST.to_string()));
}

#[test]
fn the_status_says_that_there_are_user_namespaces() {
    let bed = Bed::ours(&[]);
    let status = call!(bed.cri, runtime.status(api::StatusRequest { verbose: false })).unwrap();
    let own = status.runtime_handlers.iter().find(|it| it.name.is_empty()).unwrap();
    let features = own.features.unwrap();
    assert!(features.user_namespaces && features.recursive_read_only_mounts);
}
