//! Calls that a kubelet makes besides those that make pods: lists, streams, events, settings of the whole runtime.

use std::{path::Path, sync::mpsc, thread};

use ferry_cri::api::{self, ContainerEventType};
use ferry_testkit::{eventually, grpc::Connection};
use tonic::{Code, Response, Status};

use super::{
    Bed, IDLE,
    client::{Cri, call, image, runtime},
    on_both,
};

#[test]
fn lists_are_filtered() {
    on_both(|bed| {
        let (first, one) = bed.running("first", IDLE);
        let (second, two) = bed.running("second", IDLE);
        bed.cri.stop(&two, 0).unwrap();
        let labels = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let containers = |filter: api::ContainerFilter| {
            let request = api::ListContainersRequest { filter: Some(filter) };
            let listed = call!(bed.cri, runtime.list_containers(request)).unwrap().containers;
            let mut ids: Vec<String> = listed.into_iter().map(|it| it.id).collect();
            ids.sort();
            ids
        };
        let both = |mut ids: Vec<String>| {
            ids.sort();
            ids
        };
        let every = api::ContainerFilter::default();
        assert_eq!(containers(every.clone()), both(vec![one.clone(), two.clone()]));
        assert_eq!(
            containers(api::ContainerFilter { id: one.clone(), ..every.clone() }),
            std::slice::from_ref(&one)
        );
        let of_pod = api::ContainerFilter { pod_sandbox_id: second.clone(), ..every.clone() };
        assert_eq!(containers(of_pod), std::slice::from_ref(&two));
        let state = api::ContainerState::ContainerRunning.into();
        let state = Some(api::ContainerStateValue { state });
        assert_eq!(
            containers(api::ContainerFilter { state, ..every.clone() }),
            std::slice::from_ref(&one)
        );
        let label_selector = labels("role", "main");
        let labelled = api::ContainerFilter { label_selector, ..every.clone() };
        assert_eq!(containers(labelled), both(vec![one, two]));
        let label_selector = labels("role", "other");
        assert!(containers(api::ContainerFilter { label_selector, ..every }).is_empty());

        bed.cri.stop_pod(&second).unwrap();
        let pods = |filter: api::PodSandboxFilter| {
            let request = api::ListPodSandboxRequest { filter: Some(filter) };
            let listed = call!(bed.cri, runtime.list_pod_sandbox(request)).unwrap().items;
            both(listed.into_iter().map(|it| it.id).collect())
        };
        let every = api::PodSandboxFilter::default();
        assert_eq!(pods(every.clone()), both(vec![first.clone(), second.clone()]));
        assert_eq!(
            pods(api::PodSandboxFilter { id: first.clone(), ..every.clone() }),
            std::slice::from_ref(&first)
        );
        let state = api::PodSandboxState::SandboxNotready.into();
        let state = Some(api::PodSandboxStateValue { state });
        assert_eq!(pods(api::PodSandboxFilter { state, ..every.clone() }), [second]);
        let label_selector = labels("app", "first");
        assert_eq!(pods(api::PodSandboxFilter { label_selector, ..every }), [first]);
    });
}

/// All messages of a stream.
async fn collected<T, E>(
    answer: Result<Response<tonic::Streaming<T>>, Status>,
    items: impl Fn(T) -> Vec<E>,
) -> Result<Response<Vec<E>>, Status> {
    let mut stream = answer?.into_inner();
    let mut all = Vec::new();
    while let Some(message) = stream.message().await? {
        all.extend(items(message));
    }
    Ok(Response::new(all))
}

/// The interface's newest calls: on ours only.
#[test]
fn streams_say_what_lists_say() {
    let bed = Bed::ours(&[]);
    let cri = &bed.cri;
    for name in ["one", "two"] {
        let (pod, id) = bed.running(name, IDLE);
        // Figures stand still.
        cri.stop(&id, 0).unwrap();
        cri.stop_pod(&pod).unwrap();
    }
    let request = api::StreamPodSandboxesRequest::default();
    let streamed = cri.block(async |connection: Connection| {
        let answer = runtime(connection).stream_pod_sandboxes(request).await;
        collected(answer, |message| message.pod_sandboxes).await
    });
    assert_eq!(streamed.unwrap(), cri.pods());
    let request = api::StreamContainersRequest::default();
    let streamed = cri.block(async |connection: Connection| {
        let answer = runtime(connection).stream_containers(request).await;
        collected(answer, |message| message.containers).await
    });
    assert_eq!(streamed.unwrap(), cri.containers());
    let request = api::StreamImagesRequest::default();
    let streamed = cri.block(async |connection: Connection| {
        let answer = image(connection).stream_images(request).await;
        collected(answer, |message| message.images).await
    });
    let listed = call!(cri, image.list_images(api::ListImagesRequest { filter: None })).unwrap();
    assert_eq!(streamed.unwrap(), listed.images);
    assert_eq!(listed.images.len(), 1);
}

#[test]
fn streams_of_figures() {
    let bed = Bed::ours(&[]);
    let cri = &bed.cri;
    let (pod, id) = bed.running("figures", IDLE);
    let request = api::StreamContainerStatsRequest::default();
    let containers = cri.block(async |connection: Connection| {
        let answer = runtime(connection).stream_container_stats(request).await;
        collected(answer, |message| message.container_stats).await
    });
    let ids = containers.unwrap().into_iter().filter_map(|it| it.attributes.map(|it| it.id));
    assert_eq!(ids.collect::<Vec<_>>(), [id]);
    let request = api::StreamPodSandboxStatsRequest::default();
    let pods = cri.block(async |connection: Connection| {
        let answer = runtime(connection).stream_pod_sandbox_stats(request).await;
        collected(answer, |message| message.pod_sandbox_stats).await
    });
    let ids = pods.unwrap().into_iter().filter_map(|it| it.attributes.map(|it| it.id));
    assert_eq!(ids.collect::<Vec<_>>(), std::slice::from_ref(&pod));
    let request = api::StreamPodSandboxMetricsRequest::default();
    let metrics = cri.block(async |connection: Connection| {
        let answer = runtime(connection).stream_pod_sandbox_metrics(request).await;
        collected(answer, |message| message.pod_sandbox_metrics).await
    });
    let ids = metrics.unwrap().into_iter().map(|it| it.pod_sandbox_id);
    assert_eq!(ids.collect::<Vec<_>>(), [pod]);
}

#[test]
fn figures_of_all_pods() {
    on_both(|bed| {
        let (pod, _) = bed.running("figures", IDLE);
        let (other, _) = bed.running("others", IDLE);
        let filter = api::PodSandboxStatsFilter { id: pod.clone(), ..Default::default() };
        let list = |filter| {
            let request = api::ListPodSandboxStatsRequest { filter };
            let stats = call!(bed.cri, runtime.list_pod_sandbox_stats(request)).unwrap().stats;
            let ids = stats.into_iter().filter_map(|it| it.attributes.map(|it| it.id));
            let mut ids: Vec<String> = ids.collect();
            ids.sort();
            ids
        };
        assert_eq!(list(Some(filter)), std::slice::from_ref(&pod));
        let mut all = vec![pod, other];
        all.sort();
        assert_eq!(list(None), all);
    });
}

/// Hears what happens until somebody hangs up.
fn listen(socket: &Path) -> mpsc::Receiver<(String, ContainerEventType)> {
    let (sender, receiver) = mpsc::channel();
    let socket = socket.to_owned();
    thread::spawn(move || {
        let cri = Cri::new(&socket);
        drop(cri.block(async |connection: Connection| {
            let answer = runtime(connection).get_container_events(api::GetEventsRequest {}).await;
            let mut stream = answer?.into_inner();
            while let Some(event) = stream.message().await? {
                if sender.send((event.container_id.clone(), event.container_event_type())).is_err()
                {
                    break;
                }
            }
            Ok(Response::new(()))
        }));
    });
    receiver
}

#[test]
fn events_tell_a_pod_s_life() {
    on_both(|bed| {
        let heard = listen(bed.cri.socket());
        // When a stream has begun shows by what comes.
        eventually("events come", || {
            let pod = bed.cri.run_pod(bed.pod("before")).unwrap();
            bed.cri.remove_pod(&pod).unwrap();
            heard.recv_timeout(std::time::Duration::from_millis(200)).ok()
        });
        let (pod, id) = bed.running("life", "exit 3");
        eventually("it ends", || {
            let state = bed.cri.status(&id).unwrap().state();
            (state == api::ContainerState::ContainerExited).then_some(())
        });
        bed.cri.remove(&id).unwrap();
        bed.cri.stop_pod(&pod).unwrap();
        bed.cri.remove_pod(&pod).unwrap();
        let mut own = Vec::new();
        while own.last() != Some(&(pod.clone(), ContainerEventType::ContainerDeletedEvent)) {
            let (about, kind) = heard.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
            if about == pod || about == id {
                own.push((about, kind));
            }
        }
        let of = |wanted: &String| -> Vec<ContainerEventType> {
            own.iter().filter(|(about, _)| about == wanted).map(|(_, kind)| *kind).collect()
        };
        let whole = [
            ContainerEventType::ContainerCreatedEvent,
            ContainerEventType::ContainerStartedEvent,
            ContainerEventType::ContainerStoppedEvent,
            ContainerEventType::ContainerDeletedEvent,
        ];
        assert_eq!(of(&id), whole);
        assert_eq!(of(&pod), whole);
    });
}

#[test]
fn settings_of_the_runtime() {
    on_both(|bed| {
        let config = call!(bed.cri, runtime.runtime_config(api::RuntimeConfigRequest {})).unwrap();
        assert_eq!(config.linux.unwrap().cgroup_driver(), api::CgroupDriver::Cgroupfs);
        let network_config = Some(api::NetworkConfig { pod_cidr: "10.244.3.0/24".to_owned() });
        let runtime_config = Some(api::RuntimeConfig { network_config });
        let request = api::UpdateRuntimeConfigRequest { runtime_config };
        call!(bed.cri, runtime.update_runtime_config(request)).unwrap();
    });
}

#[test]
fn limits_of_a_pod() {
    let bed = Bed::ours(&[]);
    let (pod, _) = bed.running("limits", IDLE);
    let limits = api::LinuxContainerResources { cpu_shares: 512, ..Default::default() };
    let request = api::UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: pod,
        overhead: None,
        resources: Some(limits),
    };
    call!(bed.cri, runtime.update_pod_sandbox_resources(request.clone())).unwrap();
    let request =
        api::UpdatePodSandboxResourcesRequest { pod_sandbox_id: "0".repeat(64), ..request };
    let missing = call!(bed.cri, runtime.update_pod_sandbox_resources(request)).unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}
