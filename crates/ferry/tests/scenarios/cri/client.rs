//! A client of the runtime interface: gRPC over a unix socket, one call at a time.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use ferry_cri::api::{
    self, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient,
};
use ferry_testkit::grpc::Connection;
use tonic::Status;

/// Calls take less than this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that waits for each answer.
pub(crate) struct Cri {
    runtime: tokio::runtime::Runtime,
    socket: PathBuf,
}

/// Calls one method of a service and answers its message.
macro_rules! call {
    ($cri:expr, $client:ident . $method:ident ( $request:expr )) => {{
        let request = $request;
        $cri.block(async move |connection| {
            #[expect(unused_imports, reason = "one of them")]
            use crate::cri::client::{image, runtime};
            $client(connection).$method(tonic::Request::new(request)).await
        })
    }};
}
pub(crate) use call;

pub(crate) fn runtime(connection: Connection) -> RuntimeServiceClient<Connection> {
    RuntimeServiceClient::with_origin(connection, http::Uri::from_static("http://localhost"))
        .max_decoding_message_size(16 << 20)
}

pub(crate) fn image(connection: Connection) -> ImageServiceClient<Connection> {
    ImageServiceClient::with_origin(connection, http::Uri::from_static("http://localhost"))
}

impl Cri {
    pub(crate) fn new(socket: &Path) -> Cri {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Cri { runtime, socket: socket.to_owned() }
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Calls with a connection of its own.
    pub(crate) fn block<T>(
        &self,
        work: impl AsyncFnOnce(Connection) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        self.runtime.block_on(async {
            let limited = tokio::time::timeout(PATIENCE, async {
                let connection = Connection::open(&self.socket).await;
                let connection = connection.map_err(Status::unavailable)?;
                work(connection).await.map(tonic::Response::into_inner)
            });
            limited.await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
        })
    }

    pub(crate) fn run_pod(&self, config: api::PodSandboxConfig) -> Result<String, Status> {
        let request =
            api::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        call!(self, runtime.run_pod_sandbox(request)).map(|answer| answer.pod_sandbox_id)
    }

    pub(crate) fn create(
        &self,
        pod: &str,
        config: api::ContainerConfig,
        sandbox: &api::PodSandboxConfig,
    ) -> Result<String, Status> {
        let request = api::CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox.clone()),
        };
        call!(self, runtime.create_container(request)).map(|answer| answer.container_id)
    }

    pub(crate) fn start(&self, id: &str) -> Result<(), Status> {
        let request = api::StartContainerRequest { container_id: id.to_owned() };
        call!(self, runtime.start_container(request)).map(drop)
    }

    pub(crate) fn stop(&self, id: &str, timeout: i64) -> Result<(), Status> {
        let request = api::StopContainerRequest { container_id: id.to_owned(), timeout };
        call!(self, runtime.stop_container(request)).map(drop)
    }

    pub(crate) fn remove(&self, id: &str) -> Result<(), Status> {
        let request = api::RemoveContainerRequest { container_id: id.to_owned() };
        call!(self, runtime.remove_container(request)).map(drop)
    }

    pub(crate) fn stop_pod(&self, id: &str) -> Result<(), Status> {
        let request = api::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        call!(self, runtime.stop_pod_sandbox(request)).map(drop)
    }

    pub(crate) fn remove_pod(&self, id: &str) -> Result<(), Status> {
        let request = api::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        call!(self, runtime.remove_pod_sandbox(request)).map(drop)
    }

    pub(crate) fn list_pods(&self) -> Result<Vec<api::PodSandbox>, Status> {
        call!(self, runtime.list_pod_sandbox(api::ListPodSandboxRequest { filter: None }))
            .map(|answer| answer.items)
    }

    pub(crate) fn pods(&self) -> Vec<api::PodSandbox> {
        self.list_pods().unwrap()
    }

    pub(crate) fn containers(&self) -> Vec<api::Container> {
        call!(self, runtime.list_containers(api::ListContainersRequest { filter: None }))
            .unwrap()
            .containers
    }

    pub(crate) fn pod_status(&self, id: &str) -> Result<api::PodSandboxStatusResponse, Status> {
        let request = api::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        call!(self, runtime.pod_sandbox_status(request))
    }

    pub(crate) fn status(&self, id: &str) -> Result<api::ContainerStatus, Status> {
        let request = api::ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        call!(self, runtime.container_status(request)).map(|answer| answer.status.unwrap())
    }

    /// What a program in a container prints.
    pub(crate) fn exec(&self, id: &str, script: &str) -> api::ExecSyncResponse {
        let request = api::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: 10,
        };
        call!(self, runtime.exec_sync(request)).unwrap()
    }

    /// The standard output of a program in a container, without the space around it.
    pub(crate) fn output(&self, id: &str, script: &str) -> String {
        String::from_utf8(self.exec(id, script).stdout).unwrap().trim().to_owned()
    }
}
