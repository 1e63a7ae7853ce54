//! What a call costs that no runtime has to think about: a server that sends bytes which it was given. What this takes is the client's,
//! HTTP/2's and the kernel's, and no runtime can be faster.

use std::{convert::Infallible, path::Path};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;

/// Answers every call on a connection to this socket with one message, from a thread of its own with as many workers as a daemon has.
pub(super) fn serve(socket: &Path, message: &[u8]) -> Result<(), String> {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).map_err(|error| error.to_string())?);
    frame.put_slice(message);
    let frame = frame.freeze();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tokio = tokio.map_err(|error| error.to_string())?;
    let listener = {
        let _inside = tokio.enter();
        UnixListener::bind(socket).map_err(|error| format!("{}: {error}", socket.display()))?
    };
    std::thread::spawn(move || tokio.block_on(accept(listener, frame)));
    Ok(())
}

async fn accept(listener: UnixListener, frame: Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        let frame = frame.clone();
        let service = service_fn(move |_| {
            let trailers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static("0"),
            )]);
            let body =
                Full::new(frame.clone()).with_trailers(std::future::ready(Some(Ok(trailers))));
            let mut answer = http::Response::new(body);
            let kind = http::HeaderValue::from_static("application/grpc");
            answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            std::future::ready(Ok::<_, Infallible>(answer))
        });
        let served = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(served.serve_connection(TokioIo::new(stream), service));
    }
}
