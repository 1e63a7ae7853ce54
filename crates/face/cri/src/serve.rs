//! gRPC on a unix socket: HTTP/2 connections, two services and what cAdvisor asks, told apart by the path.

use std::{
    convert::Infallible,
    future::Future,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ferry_engine::{Engine, ops::pod};
use ferry_errkind::{ErrorKind, Kinded};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinSet,
};
use tonic::codegen::Service;

use crate::{
    api::{image_service_server::ImageServiceServer, runtime_service_server::RuntimeServiceServer},
    cadvisor,
    image::Images,
    runtime::{Runtime, listed},
};

/// Largest message that is read: kubelet's own limit.
const MAX_MESSAGE: usize = 16 << 20;

/// Which version the program has, and what its user says about images.
#[derive(Debug, Clone)]
pub struct Product {
    /// Ferry's version.
    pub version: String,
    /// Images that a kubelet must not collect, as [`crate::pinned_image`] reads them.
    pub pinned: Vec<String>,
    /// A pull that does not get on for so long is given up, however long it takes as a whole.
    pub pull_patience: Duration,
}

/// A socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Not `unix:///…`.
    #[error("invalid CRI address \"{0}\": expected unix:///path")]
    Address(String),
    /// Somebody answers there.
    #[error("another runtime is listening on \"{}\"", .0.display())]
    InUse(PathBuf),
    /// The kernel refused.
    #[error("cannot {what} \"{}\"", path.display())]
    Listen {
        /// What was tried.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Kinded for BindError {
    fn kind(&self) -> ErrorKind {
        match self {
            BindError::Address(_) => ErrorKind::InvalidArgument,
            BindError::InUse(_) => ErrorKind::Conflict,
            BindError::Listen { .. } => ErrorKind::Internal,
        }
    }
}

/// The socket that a kubelet connects to.
#[derive(Debug)]
pub struct CriListener(UnixListener);

impl CriListener {
    /// Opens the socket at `unix:///path`. One that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The address is none, somebody else listens there, or the kernel refuses.
    pub fn bind(address: &str) -> Result<Self, BindError> {
        let path = address.strip_prefix("unix://").filter(|path| path.starts_with('/'));
        let path = Path::new(path.ok_or_else(|| BindError::Address(address.to_owned()))?);
        let failed = |what| move |source| BindError::Listen { what, path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed("make the directory of"))?;
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(BindError::InUse(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => std::fs::remove_file(path).map_err(failed("remove the old socket"))?,
        }
        let listener = UnixListener::bind(path).map_err(failed("listen on"))?;
        // Who may connect is root on this machine.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(failed("set the permissions of"))?;
        Ok(CriListener(listener))
    }
}

/// The services, and what cAdvisor's questions are answered from.
#[derive(Clone)]
struct Services {
    runtime: RuntimeServiceServer<Runtime>,
    /// Answers its lists past that one.
    lists: Arc<Runtime>,
    image: ImageServiceServer<Images>,
    engine: Engine,
    version: Arc<str>,
}

/// Serves the interface until `stop` is done.
pub async fn serve(
    engine: Engine,
    product: Product,
    listener: CriListener,
    stop: impl Future<Output = ()> + Send,
) {
    let images = Images::new(engine.clone(), &product);
    let version = Arc::from(product.version.as_str());
    let runtime = Arc::new(Runtime::new(engine.clone(), product).await);
    let services = Services {
        lists: Arc::clone(&runtime),
        runtime: RuntimeServiceServer::from_arc(runtime)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE),
        image: ImageServiceServer::new(images)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE),
        engine: engine.clone(),
        version,
    };
    let mut connections = JoinSet::new();
    let settling = engine.clone();
    connections.spawn(async move { pod::settle_networks(&settling).await });
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            accepted = listener.0.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(services.clone(), stream));
                }
                Err(error) => {
                    // Out of descriptors: others may give some back.
                    tracing::warn!(%error, "cannot accept a CRI connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(services: Services, stream: UnixStream) {
    let service = service_fn(move |request| answer(services.clone(), request));
    let served = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a CRI connection ended");
    }
}

async fn answer(
    services: Services,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<tonic::body::Body>, Infallible> {
    match listed::answer(&services.lists, request, MAX_MESSAGE).await {
        Ok(answer) => Ok(answer),
        // In a box: a list's task is small without it.
        Err(request) => Box::pin(called(services, request)).await,
    }
}

/// What generated code answers.
async fn called(
    services: Services,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<tonic::body::Body>, Infallible> {
    let Services { mut runtime, lists: _, mut image, engine, version } = services;
    let path = request.uri().path();
    if path.starts_with("/runtime.v1.RuntimeService/") {
        return runtime.call(request).await;
    }
    if path.starts_with("/runtime.v1.ImageService/") {
        return image.call(request).await;
    }
    match cadvisor::answer(&engine, &version, request).await {
        Ok(answer) => Ok(answer),
        Err(request) => {
            let path = request.uri().path();
            let words = format!("no service at {path}: this is CRI v1 (runtime.v1)");
            Ok(tonic::Status::unimplemented(words).into_http())
        }
    }
}
