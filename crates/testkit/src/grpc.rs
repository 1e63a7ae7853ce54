//! gRPC over a unix socket, for clients of the interface that kubelets use.

use std::{
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tonic::{body::Body, codegen::Service};

/// A connection, which is open as long as one of its clones is.
#[derive(Debug, Clone)]
pub struct Connection(http2::SendRequest<Body>);

impl Connection {
    /// Connects to a socket, and speaks HTTP/2 from a task of its own.
    ///
    /// # Errors
    /// In words: nobody listens there, or it is no HTTP/2.
    pub async fn open(socket: &Path) -> Result<Connection, String> {
        let words = |why: &dyn std::fmt::Display| format!("{}: {why}", socket.display());
        let stream = UnixStream::connect(socket).await.map_err(|error| words(&error))?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| words(&error))?;
        tokio::spawn(connection);
        Ok(Connection(sender))
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
