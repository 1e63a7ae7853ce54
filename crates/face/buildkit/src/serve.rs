//! One HTTP/2 connection of a client, and the services on it, told apart by the path.

use std::{convert::Infallible, sync::Arc};

use ferry_engine::Engine;
use ferry_errkind::Failure;
use http::HeaderMap;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioExecutor;
use tonic::codegen::Service;

use crate::{
    builds::Builds,
    control::Control,
    gateway::Gateway,
    proto::{
        grpc::health::v1::{
            HealthCheckRequest, HealthCheckResponse,
            health_check_response::ServingStatus,
            health_server::{Health, HealthServer},
        },
        moby::buildkit::v1::{
            control_server::ControlServer, frontend::llb_bridge_server::LlbBridgeServer,
        },
    },
    session::Sessions,
};

/// Largest message that is read: BuildKit's own limit.
const MAX_MESSAGE: usize = 16 << 20;

/// Builds by BuildKit's protocol. Clones share sessions and builds.
#[derive(Clone, Debug)]
pub struct BuildKit {
    pub(crate) shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) version: String,
    pub(crate) sessions: Sessions,
    pub(crate) builds: Builds,
}

impl BuildKit {
    /// Builds with `engine`; `version` is what it says it is.
    pub fn new(engine: Engine, version: String) -> BuildKit {
        let (sessions, builds) = (Sessions::default(), Builds::default());
        BuildKit { shared: Arc::new(Shared { engine, version, sessions, builds }) }
    }

    /// Whether `/session` may be opened with these headers, asked before the connection is taken over.
    ///
    /// # Errors
    /// No id, or one that is taken.
    pub fn check_session(&self, headers: &HeaderMap) -> Result<(), Failure> {
        self.shared.sessions.identify(headers).map(drop)
    }

    /// Serves a connection of `/session` until the client leaves.
    pub async fn session<T>(&self, headers: &HeaderMap, io: T)
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        if let Err(failure) = self.shared.sessions.serve(headers, io).await {
            tracing::debug!("a session: {}", failure.message());
        }
    }

    /// Serves a connection of `/grpc` until the client leaves.
    pub async fn grpc<T>(&self, io: T)
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let services = Services::new(self);
        let service = service_fn(move |request| answer(services.clone(), request));
        let served = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
        if let Err(error) = served {
            tracing::debug!("a BuildKit connection: {error}");
        }
    }
}

#[derive(Clone)]
struct Services {
    control: ControlServer<Control>,
    gateway: LlbBridgeServer<Gateway>,
    health: HealthServer<Alive>,
}

impl Services {
    fn new(kit: &BuildKit) -> Services {
        Services {
            control: ControlServer::new(Control { kit: kit.clone() })
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            gateway: LlbBridgeServer::new(Gateway { kit: kit.clone() })
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            health: HealthServer::new(Alive),
        }
    }
}

async fn answer(
    services: Services,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<tonic::body::Body>, Infallible> {
    let Services { mut control, mut gateway, mut health } = services;
    let path = request.uri().path();
    tracing::debug!("BuildKit: {path}");
    match path.split('/').nth(1).unwrap_or_default() {
        "moby.buildkit.v1.Control" => control.call(request).await,
        "moby.buildkit.v1.frontend.LLBBridge" => gateway.call(request).await,
        "grpc.health.v1.Health" => health.call(request).await,
        other => {
            let words = format!("unknown service {other}");
            Ok(tonic::Status::unimplemented(words).into_http())
        }
    }
}

/// Who answers is alive.
#[derive(Debug)]
struct Alive;

#[tonic::async_trait]
impl Health for Alive {
    async fn check(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, tonic::Status> {
        let status = ServingStatus::Serving.into();
        Ok(tonic::Response::new(HealthCheckResponse { status }))
    }
}
