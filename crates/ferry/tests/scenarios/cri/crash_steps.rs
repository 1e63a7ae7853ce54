//! The daemon dies between any two steps of each call that makes or ends a pod. The same call, asked again, succeeds, and when
//! the pod is gone nothing of it is left in the kernel or on the disk.

use std::fs;

use ferry_cri::api;
use ferry_testkit::{Traces, free_port};
use tonic::Status;

use super::{Bed, IDLE, conf::Conf, userns};

/// What a kubelet asks for in the life of a pod, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    RunPodSandbox,
    CreateContainer,
    StartContainer,
    StopPodSandbox,
    RemovePodSandbox,
}

use Call::{CreateContainer, RemovePodSandbox, RunPodSandbox, StartContainer, StopPodSandbox};

const CALLS: [Call; 5] =
    [RunPodSandbox, CreateContainer, StartContainer, StopPodSandbox, RemovePodSandbox];

/// The steps of making and of starting something.
const CREATE: [&str; 4] = ["create.name", "create.directories", "create.volumes", "create.record"];
const START: [&str; 8] = [
    "start.network-plan",
    "start.launch-plan",
    "start.shim",
    "start.asked",
    "start.created",
    "start.network",
    "start.running",
    "pod.started",
];
/// Those of our own bridge.
const BRIDGE: [&str; 3] = ["start.ports-held", "start.wired", "start.published"];
const STOP: [&str; 7] = [
    "stop.signal",
    "stop.exited",
    "stop.network",
    "stop.record",
    "pod.members-stopped",
    "pod.released",
    "pod.stopped",
];
const REMOVE: [&str; 4] = ["remove.begin", "remove.files", "remove.volumes", "pod.members-removed"];

/// One life of a pod, and how far it is.
struct Life<'a> {
    bed: &'a Bed,
    config: api::PodSandboxConfig,
    container: api::ContainerConfig,
    pod: String,
    id: String,
    /// Without a container it is the sandbox that is stopped and removed first.
    empty: bool,
}

impl Life<'_> {
    fn call(&mut self, call: Call) -> Result<(), Status> {
        let cri = &self.bed.cri;
        match call {
            RunPodSandbox => self.pod = cri.run_pod(self.config.clone())?,
            CreateContainer | StartContainer if self.empty => {}
            CreateContainer => {
                self.id = cri.create(&self.pod, self.container.clone(), &self.config)?;
            }
            StartContainer => cri.start(&self.id)?,
            StopPodSandbox => cri.stop_pod(&self.pod)?,
            RemovePodSandbox => cri.remove_pod(&self.pod)?,
        }
        Ok(())
    }

    /// What must be true after a call, however often it was asked for.
    fn check(&self, call: Call) {
        let cri = &self.bed.cri;
        let state = |id: &str| cri.status(id).unwrap().state();
        assert_eq!(cri.pods().len(), usize::from(call != RemovePodSandbox));
        let containers =
            usize::from(!self.empty && (CreateContainer..RemovePodSandbox).contains(&call));
        assert_eq!(cri.containers().len(), containers);
        match call {
            RunPodSandbox => {
                let status = cri.pod_status(&self.pod).unwrap().status.unwrap();
                assert_eq!(status.state(), api::PodSandboxState::SandboxReady);
            }
            CreateContainer => {
                assert_eq!(state(&self.id), api::ContainerState::ContainerCreated);
            }
            StartContainer => {
                assert_eq!(state(&self.id), api::ContainerState::ContainerRunning);
                assert_eq!(cri.output(&self.id, "echo works"), "works");
                let user = cri.status(&self.id).unwrap().user.unwrap().linux.unwrap();
                assert_eq!((user.uid, user.gid), (0, 0));
            }
            StopPodSandbox if !self.empty => {
                assert_eq!(state(&self.id), api::ContainerState::ContainerExited);
            }
            StopPodSandbox | RemovePodSandbox => {}
        }
    }
}

/// How pods are made in a test.
struct Way<'a> {
    bed: &'a Bed,
    config: api::PodSandboxConfig,
    container: api::ContainerConfig,
}

impl<'a> Way<'a> {
    fn plain(bed: &'a Bed) -> Way<'a> {
        Way { bed, config: bed.pod("crash"), container: bed.container("main", IDLE) }
    }

    fn life(&self, empty: bool) -> Life<'a> {
        let (config, container) = (self.config.clone(), self.container.clone());
        Life { bed: self.bed, config, container, pod: String::new(), id: String::new(), empty }
    }

    /// Dies at each of these points of a call, and looks.
    fn dies_in(&self, call: Call, points: &[&str], empty: bool) {
        let ferry = self.bed.ferry();
        // What is made once and stays, the bridge, is there from here on.
        let mut first = self.life(empty);
        CALLS.into_iter().for_each(|call| first.call(call).unwrap());
        let before = Traces::at_rest(ferry);
        for point in points {
            let mut life = self.life(empty);
            let told = |what: &str, status: Status| panic!("{call:?} at {point}, {what}: {status}");
            for earlier in CALLS.into_iter().filter(|earlier| *earlier < call) {
                life.call(earlier).unwrap_or_else(|status| told("before", status));
            }
            ferry.kill_daemon();
            ferry.start_daemon(Some(point));
            life.call(call).expect_err(&format!("{call:?} at {point}"));
            ferry.wait_for_death();
            ferry.start_daemon(None);
            for _ in 0..2 {
                life.call(call).unwrap_or_else(|status| told("again", status));
                // The second time a container cannot be started that runs already.
                if matches!(call, StartContainer) {
                    break;
                }
            }
            life.check(call);
            for later in CALLS.into_iter().filter(|later| *later > call) {
                life.call(later).unwrap_or_else(|status| told("after", status));
            }
            // What the daemon keeps open for itself is no matter here.
            Traces::come_back_to(ferry, &before, 1000, &format!("{call:?} at {point}"));
        }
    }
}

fn published() -> Vec<api::PortMapping> {
    vec![api::PortMapping {
        container_port: 80,
        host_port: free_port().into(),
        ..api::PortMapping::default()
    }]
}

#[test]
fn a_sandbox_is_made_again() {
    let bed = Bed::ours(&[]);
    let mut way = Way::plain(&bed);
    way.config.port_mappings = published();
    way.dies_in(RunPodSandbox, &[&CREATE[..], &["pod.made"], &START, &BRIDGE].concat(), false);
}

#[test]
fn a_container_is_made_again() {
    let bed = Bed::ours(&[]);
    Way::plain(&bed).dies_in(CreateContainer, &CREATE, false);
}

#[test]
fn a_container_is_started_again() {
    let bed = Bed::ours(&[]);
    let points: Vec<&str> = START.into_iter().filter(|point| *point != "pod.started").collect();
    Way::plain(&bed).dies_in(StartContainer, &points, false);
}

#[test]
fn a_pod_is_stopped_again() {
    let bed = Bed::ours(&[]);
    let mut way = Way::plain(&bed);
    way.config.port_mappings = published();
    way.dies_in(StopPodSandbox, &STOP, false);
    way.dies_in(StopPodSandbox, &STOP[..4], true);
}

#[test]
fn a_pod_is_removed_again() {
    let bed = Bed::ours(&[]);
    let way = Way::plain(&bed);
    way.dies_in(RemovePodSandbox, &REMOVE, false);
    way.dies_in(RemovePodSandbox, &REMOVE, true);
}

#[test]
fn pods_with_ids_of_their_own_come_and_go_again() {
    let bed = Bed::ours(&[]);
    let way = Way {
        bed: &bed,
        config: userns::pod(&bed, "crash"),
        container: userns::container(&bed, "main"),
    };
    way.dies_in(
        RunPodSandbox,
        &["create.record", "start.shim", "start.created", "start.running"],
        false,
    );
    way.dies_in(StartContainer, &["start.shim", "start.created", "start.running"], false);
    way.dies_in(StopPodSandbox, &["stop.exited", "pod.members-stopped", "pod.stopped"], false);
}

#[test]
fn plugins_undo_all_that_they_were_asked_to_do() {
    let (conf, log) = Conf::noting("steps");
    let bed = conf.bed(None);
    let way = Way::plain(&bed);
    let points = ["pod.made", "start.shim", "start.created", "pod.cni-noted", "pod.cni-added"];
    way.dies_in(RunPodSandbox, &[&points[..], &["start.network", "start.running"]].concat(), false);
    let points = ["pod.members-stopped", "pod.cni-leaving", "pod.cni-deleted", "pod.released"];
    way.dies_in(StopPodSandbox, &points, false);
    way.dies_in(
        StopPodSandbox,
        &["stop.signal", "stop.exited", "stop.network", "stop.record"],
        true,
    );
    way.dies_in(RemovePodSandbox, &["remove.begin", "remove.files"], true);
    let calls = fs::read_to_string(&log).unwrap();
    let added: Vec<&str> = calls.lines().filter_map(|line| line.strip_prefix("ADD ")).collect();
    assert!(added.len() >= 17, "{calls}");
    for id in added {
        // The last that plugins hear of a pod is that it is to go.
        let last = calls.lines().rfind(|line| line.ends_with(id)).unwrap();
        assert_eq!(last, format!("DEL {id}"), "{calls}");
    }
}
