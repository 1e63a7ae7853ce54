//! What cAdvisor asks a runtime: three calls of containerd's own interface, beside CRI on the same socket.
//!
//! A kubelet takes the figures of `/metrics/cadvisor` from its own cAdvisor, which finds cgroups by itself and asks containerd whose they
//! are: without an answer the figures of containers have no names, and those of a pod's network are missing. With
//! `kubelet --containerd=/run/ferry/cri.sock` it asks here. Nothing else of containerd's interface is served.
//!
//! Sources: `containerd/api/services/{version,containers,tasks}/v1/*.proto` (field numbers), cAdvisor's `container/containerd`.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll},
};

use ferry_engine::{Engine, ops::pod};
use ferry_model::container::{Container, Phase};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::{Status, body::Body, codegen::Service, server::Grpc};
use tonic_prost::ProstCodec;

use crate::{record::Sandbox, runtime::status_of};

/// containerd's label that tells a sandbox from its containers.
const KIND: &str = "io.cri-containerd.kind";

/// Answers a request if it is one of cAdvisor's; else gives it back.
pub(crate) async fn answer(
    engine: &Engine,
    version: &str,
    request: Request<Incoming>,
) -> Result<Response<Body>, Request<Incoming>> {
    let answer = match request.uri().path() {
        "/containerd.services.version.v1.Version/Version" => {
            let version = version.to_owned();
            let call = |(): ()| async { Ok(VersionResponse { version, revision: String::new() }) };
            unary(request, call).await
        }
        "/containerd.services.containers.v1.Containers/Get" => {
            let engine = engine.clone();
            let call = |asked: GetContainerRequest| async move {
                let it = find(&engine, &asked.id)?;
                Ok(GetContainerResponse { container: Some(container(&engine, &it).await) })
            };
            unary(request, call).await
        }
        "/containerd.services.tasks.v1.Tasks/Get" => {
            let engine = engine.clone();
            let call = |asked: GetRequest| async move {
                Ok(GetResponse { process: Some(process(&*find(&engine, &asked.container_id)?)?) })
            };
            unary(request, call).await
        }
        _ => return Err(request),
    };
    Ok(answer)
}

/// Answers one message with one.
async fn unary<Q, A, F, W>(request: Request<Incoming>, call: F) -> Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    F: FnOnce(Q) -> W,
    W: Future<Output = Result<A, Status>> + Send + 'static,
{
    Grpc::new(ProstCodec::<A, Q>::default()).unary(Call(Some(call)), request).await
}

/// A function as tonic wants it: called once.
struct Call<F>(Option<F>);

impl<Q, A, F, W> Service<tonic::Request<Q>> for Call<F>
where
    F: FnOnce(Q) -> W,
    W: Future<Output = Result<A, Status>> + Send + 'static,
    A: 'static,
{
    type Response = tonic::Response<A>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<tonic::Response<A>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        let called = self.0.take().map(|call| call(request.into_inner()));
        Box::pin(async move {
            let called = called.ok_or_else(|| Status::internal("called twice"))?;
            called.await.map(tonic::Response::new)
        })
    }
}

fn find(engine: &Engine, id: &str) -> Result<Arc<Container>, Status> {
    let absent = || Status::not_found(format!("container \"{id}\": not found"));
    // cAdvisor asks for whatever cgroup has such a name, by its whole id.
    pod::find(engine, id).ok().filter(|it| it.id == id).ok_or_else(absent)
}

/// A pod's container or sandbox with the labels that name it.
async fn container(engine: &Engine, it: &Container) -> ContainerdContainer {
    let (kind, labels, image) = match status_of(engine, it).await {
        Some(status) => ("container", status.labels, status.image.unwrap_or_default().image),
        None => {
            let config = Sandbox::of(it).map(|sandbox| sandbox.config).unwrap_or_default();
            ("sandbox", config.labels, String::new())
        }
    };
    let mut labels: HashMap<String, String> = labels.into_iter().collect();
    labels.insert(KIND.to_owned(), kind.to_owned());
    // The part of a specification that is looked at, for variables that a kubelet cannot ask for.
    let spec = Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".to_owned(),
        value: br#"{"ociVersion":"1.1.0","process":{"env":[]}}"#.to_vec(),
    };
    ContainerdContainer { id: it.id.clone(), labels, image, spec: Some(spec) }
}

fn process(it: &Container) -> Result<Process, Status> {
    let status = match it.state.phase {
        Phase::Running => TaskStatus::Running,
        Phase::Paused => TaskStatus::Paused,
        Phase::Exited | Phase::Dead | Phase::Removing => TaskStatus::Stopped,
        // It asks again.
        Phase::Created | Phase::Restarting => {
            return Err(Status::not_found(format!("task {}: not found", it.id)));
        }
    };
    let number = |number: i32| u32::try_from(number).unwrap_or_default();
    Ok(Process {
        id: it.id.clone(),
        pid: it.state.pid.map(number).unwrap_or_default(),
        status: status.into(),
        exit_status: number(it.state.exit_code),
    })
}

#[derive(Clone, PartialEq, Message)]
struct VersionResponse {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    revision: String,
}

#[derive(Clone, PartialEq, Message)]
struct GetContainerRequest {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct GetContainerResponse {
    #[prost(message, optional, tag = "1")]
    container: Option<ContainerdContainer>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerdContainer {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(map = "string, string", tag = "2")]
    labels: HashMap<String, String>,
    #[prost(string, tag = "3")]
    image: String,
    #[prost(message, optional, tag = "5")]
    spec: Option<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct GetRequest {
    #[prost(string, tag = "1")]
    container_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct GetResponse {
    #[prost(message, optional, tag = "1")]
    process: Option<Process>,
}

#[derive(Clone, PartialEq, Message)]
struct Process {
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint32, tag = "3")]
    pid: u32,
    #[prost(enumeration = "TaskStatus", tag = "4")]
    status: i32,
    #[prost(uint32, tag = "9")]
    exit_status: u32,
}

/// containerd's `Status` of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum TaskStatus {
    Unknown = 0,
    Running = 2,
    Stopped = 3,
    Paused = 4,
}
