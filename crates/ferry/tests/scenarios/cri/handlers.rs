//! Runtime handlers: a pod's containers are made by the runtime that its class names.

use std::path::Path;

use ferry_cri::api;

use super::{Bed, IDLE, client::call, userns};
use crate::runtimes;

impl Bed {
    fn run_pod_with(&self, handler: &str, config: api::PodSandboxConfig) -> String {
        let request =
            api::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        call!(self.cri, runtime.run_pod_sandbox(request)).unwrap().pod_sandbox_id
    }

    /// The state directory that a runtime keeps for a container as long as it is there.
    fn kept_by_runtime(&self, id: &str) -> bool {
        self.ferry().dir().join(format!("run/c/{id}/runtime/{id}")).exists()
    }
}

/// What the runtime itself says of a container.
fn state(program: &Path, bed: &Bed, id: &str) -> serde_json::Value {
    let root = bed.ferry().dir().join(format!("run/c/{id}/runtime"));
    let mut command = std::process::Command::new(program);
    let out = command.arg("--root").arg(root).args(["state", id]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn runc_makes_the_containers_of_its_class() {
    a_handler("runc");
}

#[test]
fn crun_makes_the_containers_of_its_class() {
    a_handler("crun");
}

fn a_handler(name: &str) {
    let Some((program, _directory)) = runtimes::runtime(name) else { return };
    let add = format!("--add-runtime={name}={}", program.display());
    let bed = Bed::ours(&[&add]);
    let status = call!(bed.cri, runtime.status(api::StatusRequest { verbose: false })).unwrap();
    let names: Vec<&str> = status.runtime_handlers.iter().map(|it| it.name.as_str()).collect();
    assert!(names.contains(&"") && names.contains(&name), "{names:?}");

    let config = bed.pod("class");
    let pod = bed.run_pod_with(name, config.clone());
    let listed = bed.cri.pods();
    assert_eq!(listed[0].runtime_handler, name);
    let id = bed.cri.create(&pod, bed.container("main", IDLE), &config).unwrap();
    bed.cri.start(&id).unwrap();
    // It is the runtime's container, and it runs.
    let seen = state(&program, &bed, &id);
    assert_eq!(
        (seen["id"].as_str(), seen["status"].as_str()),
        (Some(id.as_str()), Some("running"))
    );
    let init = seen["pid"].as_u64().unwrap();
    let namespace = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/{init}/ns/{kind}")).unwrap();
        link.to_string_lossy().into_owned()
    };
    assert_eq!(bed.cri.output(&id, "readlink /proc/self/ns/net"), namespace("net"));
    let user = bed.cri.status(&id).unwrap().user.unwrap().linux.unwrap();
    assert_eq!((user.uid, user.gid, user.supplemental_groups), (0, 0, vec![0]));
    let ran = bed.cri.exec(&id, "echo out; echo err >&2; exit 5");
    assert_eq!((ran.stdout.as_slice(), ran.exit_code), (&b"out\n"[..], 5));

    let request = api::CheckpointContainerRequest {
        container_id: id.clone(),
        location: bed.logs.join("one.tar").to_string_lossy().into_owned(),
        timeout: 0,
    };
    let refused = call!(bed.cri, runtime.checkpoint_container(request)).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    assert!(refused.message().contains(&*program.to_string_lossy()), "{refused}");

    // Beside it a pod of no class: its containers are Ferry's own, in the same directory of the daemon.
    let (_, own) = bed.running("classless", IDLE);
    assert!(bed.kept_by_runtime(&id) && !bed.kept_by_runtime(&own));
    bed.cri.stop(&id, 5).unwrap();
    assert_eq!(bed.cri.status(&id).unwrap().exit_code, 7);
    bed.cri.remove_pod(&pod).unwrap();
    assert!(!bed.kept_by_runtime(&id));
}

#[test]
fn a_class_that_nobody_added() {
    let bed = Bed::ours(&[]);
    let request = api::RunPodSandboxRequest {
        config: Some(bed.pod("class")),
        runtime_handler: "runsc".to_owned(),
    };
    let refused = call!(bed.cri, runtime.run_pod_sandbox(request)).unwrap_err();
    assert_eq!(refused.message(), "no runtime for \"runsc\" is configured");
    assert!(bed.cri.pods().is_empty());
}

#[test]
fn crun_makes_containers_with_ids_of_their_own() {
    ids_of_their_own("crun");
}

#[test]
fn runc_makes_containers_with_ids_of_their_own() {
    ids_of_their_own("runc");
}

fn ids_of_their_own(name: &str) {
    let Some((program, _directory)) = runtimes::runtime(name) else { return };
    let add = format!("--add-runtime={name}={}", program.display());
    let bed = Bed::ours(&[&add]);
    let config = userns::pod(&bed, "ids");
    let pod = bed.run_pod_with(name, config.clone());
    let mut container = userns::container(&bed, "main");
    // What the runtime is given to mount: a directory with other ids, layers with other ids, several of them as one.
    container.mounts = userns::image_volumes(&bed).to_vec();
    container.mounts.push(userns::volume(&bed, "mapped", true));
    let id = bed.cri.create(&pod, container, &config).unwrap();
    bed.cri.start(&id).unwrap();
    assert_eq!(bed.cri.output(&id, "id -u; stat -c %u / /bin/busybox | sort -u"), "0\n0");
    assert_eq!(bed.cri.output(&id, userns::OWNERS), "0:0\n0:0\n0:0\n9:9");
    let look = "cat /two/more/two; touch /mapped/root; stat -c %u:%g /mapped/root /mapped/user";
    assert_eq!(bed.cri.output(&id, look), "2\n0:0\n1000:2000");
    let written = std::fs::metadata(bed.logs.join("mapped/root")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&written), 0);
    for place in ["/one/x", "/two/x"] {
        let refused = bed.cri.output(&id, &format!("touch {place} 2>&1"));
        assert!(refused.contains("Read-only"), "{refused}");
    }
    let init = state(&program, &bed, &id)["pid"].as_u64().unwrap();
    let map = std::fs::read_to_string(format!("/proc/{init}/uid_map")).unwrap();
    assert_eq!(map.split_whitespace().next(), Some("0"));
    assert_ne!(map.split_whitespace().nth(1), Some("0"), "{map}");
}
