//! Lists as bytes. What a kubelet asks for every second has hardly changed since: each item is encoded once, an answer is these
//! bytes one after another, and one that nobody has narrowed down is sent again as it is. gRPC's own way would copy every text of
//! every item, encode it and throw it away.
//!
//! Both answers have one field, number 1, with the items.

use std::{
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use prost::Message;
use tonic::{Status, body::Body};

use super::{Runtime, container, sandbox};
use crate::api;

/// An item of a list, and its bytes in the answer: the field's head and the item.
#[derive(Debug, Clone)]
pub(super) struct Listed<T> {
    pub(super) item: T,
    pub(super) bytes: Bytes,
}

impl<T: Message> Listed<T> {
    pub(super) fn new(item: T) -> Listed<T> {
        // Field 1, with a length.
        let mut bytes = vec![1 << 3 | 2];
        bytes.extend(item.encode_length_delimited_to_vec());
        Listed { item, bytes: bytes.into() }
    }
}

/// What stands before a message in gRPC: a byte that says that it is not compressed, and four with its length.
const HEAD: usize = 5;

/// The answer that has these items, as gRPC sends it.
fn message(items: &[Bytes]) -> Bytes {
    let length: usize = items.iter().map(Bytes::len).sum();
    let mut message = BytesMut::with_capacity(HEAD + length);
    message.put_u8(0);
    // Nothing of that length is sent.
    message.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    items.iter().for_each(|item| message.put_slice(item));
    message.freeze()
}

/// The last answer with everything, and of which version of the engine's records it is.
#[derive(Debug, Default)]
pub(super) struct Whole(Mutex<Option<(u64, Bytes)>>);

impl Whole {
    /// The message with the items that `pick` finds; the one that has them all (`is_all`) is only made when records have changed.
    pub(super) fn answer(
        &self,
        version: u64,
        is_all: bool,
        pick: impl FnOnce() -> Vec<Bytes>,
    ) -> Bytes {
        if !is_all {
            return message(&pick());
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, message)) if *known == version => message.clone(),
            _ => {
                let message = message(&pick());
                *last = Some((version, message.clone()));
                message
            }
        }
    }
}

/// Answers a list; gives back every other request. No message is larger than `limit`.
pub(crate) async fn answer(
    runtime: &Arc<Runtime>,
    request: Request<Incoming>,
    limit: usize,
) -> Result<http::Response<Body>, Request<Incoming>> {
    let answered = match request.uri().path() {
        "/runtime.v1.RuntimeService/ListContainers" => {
            let asked = read::<api::ListContainersRequest>(request, limit).await;
            asked.map(|request| container::answer(runtime, request.filter))
        }
        "/runtime.v1.RuntimeService/ListPodSandbox" => {
            let asked = read::<api::ListPodSandboxRequest>(request, limit).await;
            asked.map(|request| sandbox::answer(runtime, request.filter))
        }
        _ => return Err(request),
    };
    Ok(answered.and_then(|message| written(message, limit)).unwrap_or_else(Status::into_http))
}

/// The message of a request. By hand: gRPC's own reader takes a buffer for each call that is larger than most answers.
async fn read<Q: Message + Default>(request: Request<Incoming>, limit: usize) -> Result<Q, Status> {
    let mut body = request.into_body();
    let mut read = BytesMut::new();
    loop {
        if let Some(message) = whole(&read, limit)? {
            let wrong = |error: prost::DecodeError| Status::internal(error.to_string());
            return Q::decode(message).map_err(wrong);
        }
        let frame = body.frame().await.transpose();
        let frame = frame.map_err(|error| Status::cancelled(format!("cannot read: {error}")))?;
        let frame = frame.ok_or_else(|| Status::internal("the request has no message"))?;
        // What is no data is the end.
        let Ok(data) = frame.into_data() else { continue };
        read.extend_from_slice(&data);
    }
}

/// The message that these bytes begin with, if it is there to its end.
fn whole(read: &[u8], limit: usize) -> Result<Option<&[u8]>, Status> {
    let Some((&[compressed, length @ ..], rest)) = read.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    if compressed != 0 {
        return Err(Status::unimplemented("messages are read uncompressed only"));
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > limit {
        let words = format!("the request has {length} bytes, and {limit} is the most");
        return Err(Status::out_of_range(words));
    }
    Ok(rest.get(..length))
}

/// A message, with its status after it.
fn written(message: Bytes, limit: usize) -> Result<http::Response<Body>, Status> {
    let length = message.len().saturating_sub(HEAD);
    if length > limit {
        let words =
            format!("the list has {length} bytes, and {limit} is the most: ask with a filter");
        return Err(Status::out_of_range(words));
    }
    let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    let trailers = HeaderMap::from_iter([status]);
    let body = Full::new(message).with_trailers(ready(Some(Ok(trailers))));
    let mut answer = http::Response::new(Body::new(body));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn items_one_after_another_are_the_answer() {
        let container = |id: &str, labels: usize| api::Container {
            id: id.to_owned(),
            labels: (0..labels).map(|at| (format!("label-{at}"), "x".repeat(at))).collect(),
            ..api::Container::default()
        };
        let containers = vec![container("one", 0), container("", 0), container("three", 100)];
        let items: Vec<Bytes> = containers.iter().map(|it| Listed::new(it.clone()).bytes).collect();
        let answer = api::ListContainersResponse { containers };
        assert_eq!(message(&items), framed(&answer));
        let sandbox = |id: &str| api::PodSandbox { id: id.to_owned(), ..Default::default() };
        let sandboxes = vec![sandbox("one"), sandbox("two")];
        let items: Vec<Bytes> = sandboxes.iter().map(|it| Listed::new(it.clone()).bytes).collect();
        let answer = api::ListPodSandboxResponse { items: sandboxes };
        assert_eq!(message(&items), framed(&answer));
        assert_eq!(message(&[]), [0; HEAD].as_slice());
    }

    /// As gRPC sends it.
    fn framed(answer: &impl Message) -> Vec<u8> {
        let bytes = answer.encode_to_vec();
        let length = u32::try_from(bytes.len()).unwrap();
        [&[0], &length.to_be_bytes()[..], &bytes].concat()
    }

    #[test]
    fn an_answer_is_made_anew_when_a_record_has_changed() {
        let made = Cell::new(0);
        let whole = Whole::default();
        let ask = |version, is_all| {
            whole.answer(version, is_all, || {
                made.set(made.get() + 1);
                vec![Bytes::from(vec![made.get(); 3])]
            })
        };
        let first = ask(0, true);
        assert_eq!(first.slice(HEAD..), [1; 3].as_slice());
        assert_eq!(ask(0, true), first);
        assert_eq!(ask(0, false).slice(HEAD..), [2; 3].as_slice(), "another question");
        assert_eq!(ask(0, true), first);
        assert_eq!(ask(1, true).slice(HEAD..), [3; 3].as_slice());
        assert_eq!(made.get(), 3);
    }

    #[test]
    fn a_request_is_read_to_its_end() {
        let asked = api::ListContainersRequest {
            filter: Some(api::ContainerFilter { id: "0123".to_owned(), ..Default::default() }),
        };
        let mut bytes = framed(&asked);
        for length in 0..bytes.len() {
            assert!(whole(&bytes[..length], 1000).unwrap().is_none(), "{length}");
        }
        let message = whole(&bytes, 1000).unwrap().unwrap();
        assert_eq!(api::ListContainersRequest::decode(message).unwrap(), asked);
        let long = whole(&bytes, bytes.len() - HEAD - 1).unwrap_err();
        assert_eq!(long.code(), tonic::Code::OutOfRange);
        bytes[0] = 1;
        let packed = whole(&bytes, 1000).unwrap_err();
        assert_eq!(packed.code(), tonic::Code::Unimplemented);
    }

    #[tokio::test]
    async fn a_list_that_is_too_long_is_refused() {
        let long = message(&[Bytes::from_static(b"0123456789")]);
        let refused = written(long.clone(), 9).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::OutOfRange);
        let sent = written(long.clone(), 10).unwrap().into_body().collect().await.unwrap();
        assert_eq!(sent.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(sent.to_bytes(), long);
    }
}
