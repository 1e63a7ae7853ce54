//! `RuntimeService`: pods, containers, what they do and did.

mod checkpoint;
mod container;
mod events;
pub(crate) mod listed;
mod metrics;
mod sandbox;
mod shown;
mod stats;
mod streaming;
mod version;

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use ferry_engine::{Engine, ops::pod};
use ferry_model::container::Container;
use ferry_stdx::time::Timestamp;
use tonic::{Request, Status, async_trait};

use self::{
    listed::{Listed, Whole},
    shown::Shown,
};
use crate::{
    Product,
    answer::{Answer, done},
    api::{self, runtime_service_server::RuntimeService},
    record::Member,
    stream::Streams,
};
pub(crate) use container::status_of;
pub(crate) use events::{Answers, stream_in_parts};

/// Items in one message of a stream.
const PART: usize = 100;

/// The service.
#[derive(Debug)]
pub(crate) struct Runtime {
    engine: Engine,
    product: Product,
    streams: Option<Arc<Streams>>,
    shown_containers: Shown<Container, Listed<api::Container>>,
    shown_pods: Shown<Container, Listed<api::PodSandbox>>,
    all_containers: Whole,
    all_pods: Whole,
}

impl Runtime {
    pub(crate) async fn new(engine: Engine, product: Product) -> Self {
        // Without it all else can be done.
        let streams = Streams::open(engine.clone()).await.inspect_err(|error| {
            tracing::error!(%error, "no streaming server: no exec, attach and port forward");
        });
        Runtime {
            engine,
            product,
            streams: streams.ok(),
            shown_containers: Shown::default(),
            shown_pods: Shown::default(),
            all_containers: Whole::default(),
            all_pods: Whole::default(),
        }
    }

    fn streams(&self) -> Result<&Streams, Status> {
        self.streams.as_deref().ok_or_else(|| Status::unavailable("the streaming server is down"))
    }

    fn sandbox(&self, id: &str) -> Result<Arc<Container>, Status> {
        let it = pod::find(&self.engine, id).map_err(|_| sandbox::no_sandbox(id))?;
        if Member::of(&it).is_some() { Err(sandbox::no_sandbox(id)) } else { Ok(it) }
    }

    fn container(&self, id: &str) -> Result<Arc<Container>, Status> {
        let it = pod::find(&self.engine, id).map_err(|_| container::no_container(id))?;
        if Member::of(&it).is_some() { Ok(it) } else { Err(container::no_container(id)) }
    }
}

/// Whether all labels of a selector are there.
fn matches(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// The methods of the service that only pass on: `name(request) -> answer = how`.
macro_rules! calls {
    ($($name:ident($request:ident: $input:ident) -> $output:ty = |$own:ident| $how:expr;)+) => {
        #[async_trait]
        impl RuntimeService for Runtime {
            $(async fn $name(&self, request: Request<api::$input>) -> Answer<$output> {
                let ($own, $request) = (self, request.into_inner());
                $how
            })+
        }
    };
}

/// For the lists that `listed` answers before generated code sees them: whoever gets here was not recognised there.
fn answered_as_bytes() -> Status {
    Status::internal(
        "cannot list: this call is answered in runtime/listed.rs, which did not know its path",
    )
}

calls! {
    version(_request: VersionRequest) -> api::VersionResponse = |own| version::version(own);
    status(request: StatusRequest) -> api::StatusResponse = |own| version::status(own, request).await;
    runtime_config(_request: RuntimeConfigRequest) -> api::RuntimeConfigResponse =
        |own| version::configuration(&own.engine);
    update_runtime_config(request: UpdateRuntimeConfigRequest) -> api::UpdateRuntimeConfigResponse =
        |_own| version::update(&request);

    run_pod_sandbox(request: RunPodSandboxRequest) -> api::RunPodSandboxResponse =
        |own| sandbox::run(own, request).await;
    stop_pod_sandbox(request: StopPodSandboxRequest) -> api::StopPodSandboxResponse =
        |own| sandbox::stop(own, request).await;
    remove_pod_sandbox(request: RemovePodSandboxRequest) -> api::RemovePodSandboxResponse =
        |own| sandbox::remove(own, request).await;
    pod_sandbox_status(request: PodSandboxStatusRequest) -> api::PodSandboxStatusResponse =
        |own| sandbox::show(own, &request).await;
    list_pod_sandbox(_request: ListPodSandboxRequest) -> api::ListPodSandboxResponse =
        |_own| Err(answered_as_bytes());
    stream_pod_sandboxes(request: StreamPodSandboxesRequest) -> Answers<api::StreamPodSandboxesResponse> =
        |own| done(stream_in_parts(sandbox::list(own, request.filter, |listed| listed.item.clone()), PART, |pod_sandboxes| {
            api::StreamPodSandboxesResponse { pod_sandboxes }
        }));
    update_pod_sandbox_resources(request: UpdatePodSandboxResourcesRequest)
        -> api::UpdatePodSandboxResourcesResponse = |own| sandbox::update_resources(own, &request);

    create_container(request: CreateContainerRequest) -> api::CreateContainerResponse =
        |own| container::create(own, request).await;
    start_container(request: StartContainerRequest) -> api::StartContainerResponse =
        |own| container::start(own, request).await;
    stop_container(request: StopContainerRequest) -> api::StopContainerResponse =
        |own| container::stop(own, request).await;
    remove_container(request: RemoveContainerRequest) -> api::RemoveContainerResponse =
        |own| container::remove(own, request).await;
    list_containers(_request: ListContainersRequest) -> api::ListContainersResponse =
        |_own| Err(answered_as_bytes());
    stream_containers(request: StreamContainersRequest) -> Answers<api::StreamContainersResponse> =
        |own| done(stream_in_parts(container::list(own, request.filter, |listed| listed.item.clone()), PART, |containers| {
            api::StreamContainersResponse { containers }
        }));
    container_status(request: ContainerStatusRequest) -> api::ContainerStatusResponse =
        |own| container::show(own, &request).await;
    update_container_resources(request: UpdateContainerResourcesRequest)
        -> api::UpdateContainerResourcesResponse = |own| container::update_resources(own, request).await;
    reopen_container_log(request: ReopenContainerLogRequest) -> api::ReopenContainerLogResponse =
        |own| container::reopen_log(own, request).await;
    exec_sync(request: ExecSyncRequest) -> api::ExecSyncResponse =
        |own| container::exec_sync(own, request).await;

    exec(request: ExecRequest) -> api::ExecResponse = |own| streaming::exec(own, request);
    attach(request: AttachRequest) -> api::AttachResponse = |own| streaming::attach(own, request);
    port_forward(request: PortForwardRequest) -> api::PortForwardResponse =
        |own| streaming::port_forward(own, request);

    container_stats(request: ContainerStatsRequest) -> api::ContainerStatsResponse = |own| {
        let it = own.container(&request.container_id)?;
        let member = Member::of(&it).ok_or_else(|| container::no_container(&it.id))?;
        let stats = Some(stats::container(own, &member).await?);
        done(api::ContainerStatsResponse { stats })
    };
    list_container_stats(request: ListContainerStatsRequest) -> api::ListContainerStatsResponse =
        |own| done(api::ListContainerStatsResponse { stats: stats::containers(own, request.filter).await? });
    stream_container_stats(request: StreamContainerStatsRequest)
        -> Answers<api::StreamContainerStatsResponse> = |own| {
        let all = stats::containers(own, request.filter).await?;
        done(stream_in_parts(all, PART, |container_stats| {
            api::StreamContainerStatsResponse { container_stats }
        }))
    };
    pod_sandbox_stats(request: PodSandboxStatsRequest) -> api::PodSandboxStatsResponse = |own| {
        let it = own.sandbox(&request.pod_sandbox_id)?;
        done(api::PodSandboxStatsResponse { stats: Some(stats::pod(own, &it).await?) })
    };
    list_pod_sandbox_stats(request: ListPodSandboxStatsRequest) -> api::ListPodSandboxStatsResponse =
        |own| done(api::ListPodSandboxStatsResponse { stats: stats::pods(own, request.filter).await? });
    stream_pod_sandbox_stats(request: StreamPodSandboxStatsRequest)
        -> Answers<api::StreamPodSandboxStatsResponse> = |own| {
        let all = stats::pods(own, request.filter).await?;
        done(stream_in_parts(all, PART, |pod_sandbox_stats| {
            api::StreamPodSandboxStatsResponse { pod_sandbox_stats }
        }))
    };
    list_metric_descriptors(_request: ListMetricDescriptorsRequest)
        -> api::ListMetricDescriptorsResponse =
        |_own| done(api::ListMetricDescriptorsResponse { descriptors: metrics::descriptors() });
    list_pod_sandbox_metrics(_request: ListPodSandboxMetricsRequest)
        -> api::ListPodSandboxMetricsResponse =
        |own| done(api::ListPodSandboxMetricsResponse { pod_metrics: metrics::pods(own).await? });
    stream_pod_sandbox_metrics(_request: StreamPodSandboxMetricsRequest)
        -> Answers<api::StreamPodSandboxMetricsResponse> = |own| {
        let all = metrics::pods(own).await?;
        done(stream_in_parts(all, PART, |pod_sandbox_metrics| {
            api::StreamPodSandboxMetricsResponse { pod_sandbox_metrics }
        }))
    };
    get_container_events(_request: GetEventsRequest) -> Answers<api::ContainerEventResponse> =
        |own| done(events::stream(own));

    checkpoint_container(request: CheckpointContainerRequest) -> api::CheckpointContainerResponse =
        |own| checkpoint::write(own, request).await;
}
