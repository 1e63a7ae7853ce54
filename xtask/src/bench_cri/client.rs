//! One connection to a runtime, as a kubelet has it, and the few calls that are timed.

use std::path::Path;

use bytes::{Buf, Bytes};
use ferry_testkit::grpc::Connection;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::{Status, body::Body, codegen::Service};

use self::api::runtime_service_client::RuntimeServiceClient;

pub(super) mod api {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/face/cri/src/proto/runtime.v1.rs"));
}

/// A runtime by its socket.
#[derive(Clone)]
pub(super) struct Client(RuntimeServiceClient<Connection>, Connection);

/// Where a pod's network comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Net {
    /// Its own.
    Pod,
    /// The machine's.
    Host,
}

/// What stands before a message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// The program in every container.
pub(super) const PROGRAM: [&str; 2] = ["sleep", "36000"];

impl Client {
    pub(super) async fn connect(socket: &Path) -> Result<Client, String> {
        let origin = http::Uri::from_static("http://localhost");
        let connection = Connection::open(socket).await?;
        let client = RuntimeServiceClient::with_origin(connection.clone(), origin);
        Ok(Client(client.max_decoding_message_size(16 << 20), connection))
    }

    /// A pod without containers.
    pub(super) async fn pod(&mut self, config: &api::PodSandboxConfig) -> Result<String, Status> {
        let request = api::RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: String::new(),
        };
        Ok(self.0.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
    }

    /// A container in a pod, not started.
    pub(super) async fn container(
        &mut self,
        pod: &str,
        name: &str,
        config: &api::PodSandboxConfig,
    ) -> Result<String, Status> {
        let image = "docker.io/library/busybox:latest".to_owned();
        let own = api::ContainerConfig {
            metadata: Some(api::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(api::ImageSpec { image, ..api::ImageSpec::default() }),
            command: PROGRAM.map(str::to_owned).to_vec(),
            log_path: format!("{name}.log"),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            linux: Some(api::LinuxContainerConfig {
                security_context: Some(api::LinuxContainerSecurityContext {
                    namespace_options: config.linux.as_ref().and_then(|linux| {
                        linux.security_context.as_ref()?.namespace_options.clone()
                    }),
                    ..api::LinuxContainerSecurityContext::default()
                }),
                ..api::LinuxContainerConfig::default()
            }),
            ..api::ContainerConfig::default()
        };
        let request = api::CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(own),
            sandbox_config: Some(config.clone()),
        };
        Ok(self.0.create_container(request).await?.into_inner().container_id)
    }

    pub(super) async fn start(&mut self, id: &str) -> Result<(), Status> {
        let request = api::StartContainerRequest { container_id: id.to_owned() };
        self.0.start_container(request).await.map(drop)
    }

    /// The pods that there are.
    pub(super) async fn pods(&mut self) -> Result<Vec<String>, Status> {
        let request = api::ListPodSandboxRequest { filter: None };
        let pods = self.0.list_pod_sandbox(request).await?.into_inner().items;
        Ok(pods.into_iter().map(|pod| pod.id).collect())
    }

    /// The bytes of `ListContainers`: what a client makes of them is no runtime's time.
    pub(super) async fn containers(&mut self) -> Result<Bytes, String> {
        let asked =
            http::Request::post("http://localhost/runtime.v1.RuntimeService/ListContainers")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                // A message without fields, which is not compressed.
                .body(Body::new(Full::new(Bytes::from_static(&[0; HEAD]))))
                .map_err(|error| error.to_string())?;
        let answer = self.1.call(asked).await.map_err(|error| error.to_string())?;
        let answer = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        let status = answer.trailers().and_then(|trailers| trailers.get("grpc-status"));
        if status.is_none_or(|status| status != "0") {
            return Err(format!("ListContainers: {status:?}"));
        }
        let mut bytes = answer.to_bytes();
        bytes.advance(HEAD.min(bytes.len()));
        Ok(bytes)
    }

    /// How many containers an answer has.
    pub(super) fn count(answer: Bytes) -> Result<usize, String> {
        let answer = api::ListContainersResponse::decode(answer);
        answer.map(|answer| answer.containers.len()).map_err(|error| error.to_string())
    }

    /// Stops and removes a pod with all that is in it.
    pub(super) async fn remove(&mut self, pod: &str) -> Result<(), Status> {
        let id = pod.to_owned();
        self.0.stop_pod_sandbox(api::StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await?;
        self.0.remove_pod_sandbox(api::RemovePodSandboxRequest { pod_sandbox_id: id }).await?;
        Ok(())
    }
}

/// The configuration of a pod, with about as many words as a kubelet gives.
pub(super) fn config(logs: &Path, parent: &str, name: &str, net: Net) -> api::PodSandboxConfig {
    let words = |words: &[(&str, &str)]| {
        words.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let network = if net == Net::Host { api::NamespaceMode::Node } else { api::NamespaceMode::Pod };
    api::PodSandboxConfig {
        metadata: Some(api::PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("0f5e4c1e-{name}"),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        hostname: if net == Net::Host { String::new() } else { name.to_owned() },
        log_directory: logs.join(name).to_string_lossy().into_owned(),
        labels: words(&[
            ("app", "bench"),
            ("io.kubernetes.pod.name", name),
            ("io.kubernetes.pod.namespace", "default"),
        ]),
        annotations: words(&[("io.kubernetes.container.restartCount", "0")]),
        linux: Some(api::LinuxPodSandboxConfig {
            cgroup_parent: parent.to_owned(),
            security_context: Some(api::LinuxSandboxSecurityContext {
                namespace_options: Some(api::NamespaceOption {
                    network: network.into(),
                    pid: api::NamespaceMode::Container.into(),
                    ..api::NamespaceOption::default()
                }),
                ..api::LinuxSandboxSecurityContext::default()
            }),
            ..api::LinuxPodSandboxConfig::default()
        }),
        ..api::PodSandboxConfig::default()
    }
}
