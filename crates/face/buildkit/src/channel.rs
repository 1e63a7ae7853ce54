//! Calls into a client: the daemon is the HTTP/2 client on the connection that the client opened to `/session`.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderValue, Request, Response, Uri, uri};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    rt::{Read, Write},
};
use hyper_util::rt::TokioExecutor;
use tonic::{body::Body, codegen::Service};

/// Window of one stream and of the connection: contexts are large, and the way is short.
const WINDOW: u32 = 4 << 20;

/// A connection that gRPC calls go through; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    send: SendRequest<Body>,
}

/// What runs the connection until it ends.
pub(crate) type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Channel {
    /// Speaks HTTP/2 over `io`. The second half of the answer has to be polled for anything to move.
    pub(crate) async fn open<T>(io: T) -> Result<(Channel, Connection), hyper::Error>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let (send, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(io)
            .await?;
        let run = async move {
            if let Err(error) = connection.await {
                tracing::debug!("a session's connection: {error}");
            }
        };
        Ok((Channel { send }, Box::pin(run)))
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.send.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // HTTP/2 wants a whole address; nobody looks the name up.
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(uri::Scheme::HTTP);
        parts.authority = Some(uri::Authority::from_static("localhost"));
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        let agent = HeaderValue::from_static("ferry");
        request.headers_mut().entry(http::header::USER_AGENT).or_insert(agent);
        Box::pin(self.send.send_request(request))
    }
}
