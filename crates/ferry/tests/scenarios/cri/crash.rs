//! The daemon dies at every step: nothing is left over, and asking again succeeds.

use ferry_cri::api;
use ferry_testkit::eventually;

use super::{Bed, IDLE};

#[test]
fn pods_outlive_the_daemon() {
    let bed = Bed::ours(&[]);
    let (pod, id) = bed.running("survive", IDLE);
    let before = bed.cri.pod_status(&pod).unwrap().status.unwrap();
    let pid = bed.cri.output(&id, "echo $$; readlink /proc/self/ns/net");
    let log = bed.cri.status(&id).unwrap().log_path;
    eventually("it is ready for the signal", || {
        std::fs::read_to_string(&log).ok().filter(|text| text.contains("ready"))
    });
    bed.ferry().kill_daemon();
    bed.ferry().start_daemon(None);
    assert_eq!(bed.cri.pod_status(&pod).unwrap().status.unwrap(), before);
    let status = bed.cri.status(&id).unwrap();
    assert_eq!(status.state(), api::ContainerState::ContainerRunning);
    assert_eq!(bed.cri.output(&id, "readlink /proc/self/ns/net"), pid.lines().last().unwrap());
    bed.cri.stop(&id, 5).unwrap();
    assert_eq!(bed.cri.status(&id).unwrap().exit_code, 7);
    bed.cri.remove_pod(&pod).unwrap();
    assert!(bed.cri.pods().is_empty() && bed.cri.containers().is_empty());
}

/// The daemon dies when a step is reached; the next one is asked for the same again.
fn dies_at(failpoint: &str, step: impl Fn(&Bed) -> Result<(), tonic::Status>) {
    let bed = Bed::prepared(&[]);
    let ferry = bed.ferry();
    ferry.start_daemon(None);
    ferry.busybox();
    ferry.stop_daemon();
    ferry.start_daemon(Some(failpoint));
    step(&bed).expect_err(failpoint);
    ferry.wait_for_death();
    ferry.start_daemon(None);
    step(&bed).unwrap_or_else(|status| panic!("{failpoint}: {status}"));
    for pod in bed.cri.pods() {
        bed.cri.remove_pod(&pod.id).unwrap();
    }
    assert!(bed.cri.pods().is_empty() && bed.cri.containers().is_empty(), "{failpoint}");
    let run = ferry.dir().join("run/c");
    eventually("run directories go", || {
        std::fs::read_dir(&run).unwrap().next().is_none().then_some(())
    });
}

#[test]
fn a_daemon_that_dies_while_it_makes_a_pod() {
    for failpoint in [
        "create.name",
        "create.directories",
        "create.record",
        "start.network-plan",
        "start.shim",
        "start.created",
        "start.network",
        "start.running",
    ] {
        dies_at(failpoint, |bed| {
            let config = bed.pod("crash");
            let pod = bed.cri.run_pod(config)?;
            assert_eq!(bed.cri.pods().len(), 1);
            let status = bed.cri.pod_status(&pod)?.status.unwrap();
            assert_eq!(status.state(), api::PodSandboxState::SandboxReady);
            Ok(())
        });
    }
}

#[test]
fn a_daemon_that_dies_while_it_ends_a_pod() {
    for failpoint in ["stop.signal", "stop.exited", "stop.network", "remove.begin", "remove.files"]
    {
        dies_at(failpoint, |bed| {
            let config = bed.pod("crash");
            let pod = match bed.cri.run_pod(config.clone()) {
                // One that was stopped already keeps its name until it is removed, as with containerd.
                Err(status) if status.message().contains("reserved") => {
                    bed.cri.pods()[0].id.clone()
                }
                pod => pod?,
            };
            let ready = bed.cri.pod_status(&pod)?.status.unwrap().state();
            if ready == api::PodSandboxState::SandboxReady
                && !bed.cri.containers().iter().any(|it| it.pod_sandbox_id == pod)
            {
                let id = bed.cri.create(&pod, bed.container("main", IDLE), &config)?;
                bed.cri.start(&id)?;
            }
            bed.cri.stop_pod(&pod)?;
            bed.cri.remove_pod(&pod)
        });
    }
}
