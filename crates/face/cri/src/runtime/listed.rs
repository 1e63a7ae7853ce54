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
use ferry_model::container::Container;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use prost::Message;
use tonic::{Status, Streaming, body::Body, codec::Codec};
use tonic_prost::ProstCodec;

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

/// The last answer with everything, and what it was made of. A record that changes is another one, so it is never old.
#[derive(Debug, Default)]
pub(super) struct Whole(Mutex<(Vec<Arc<Container>>, Bytes)>);

impl Whole {
    /// The message with the items that `pick` takes of `all`; the one that has them all (`is_all`) is only made when it is not known.
    pub(super) fn answer(
        &self,
        all: Vec<Arc<Container>>,
        is_all: bool,
        pick: impl FnOnce(&[Arc<Container>]) -> Vec<Bytes>,
    ) -> Bytes {
        if !is_all {
            return message(&pick(&all));
        }
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = !last.1.is_empty()
            && last.0.len() == all.len()
            && last.0.iter().zip(&all).all(|(one, other)| Arc::ptr_eq(one, other));
        if !is_same {
            let message = message(&pick(&all));
            *last = (all, message);
        }
        last.1.clone()
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

async fn read<Q: Message + Default + 'static>(
    request: Request<Incoming>,
    limit: usize,
) -> Result<Q, Status> {
    let decoder = ProstCodec::<(), Q>::default().decoder();
    let mut messages = Streaming::new_request(decoder, request.into_body(), None, Some(limit));
    messages.message().await?.ok_or_else(|| Status::internal("the request has no message"))
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

    use ferry_model::container::ContainerSpec;
    use ferry_oci::Digest;

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
        let image = Digest::sha256_of(b"image");
        let record = |id: &str| {
            Arc::new(Container::new(id.to_owned(), image.clone(), ContainerSpec::default()))
        };
        let made = Cell::new(0);
        let whole = Whole::default();
        let ask = |all: &[Arc<Container>], is_all| {
            let answer = whole.answer(all.to_vec(), is_all, |all| {
                made.set(made.get() + 1);
                all.iter().map(|it| Bytes::from(it.id.clone())).collect()
            });
            String::from_utf8(answer.slice(HEAD..).to_vec()).unwrap()
        };
        assert_eq!((ask(&[], true), made.get()), (String::new(), 1));
        let (one, two) = (record("one"), record("two"));
        for _ in 0..2 {
            assert_eq!(ask(&[one.clone(), two.clone()], true), "onetwo");
        }
        assert_eq!(made.get(), 2);
        assert_eq!(ask(&[record("one"), two.clone()], true), "onetwo");
        assert_eq!(made.get(), 3, "another record with the same words");
        assert_eq!(ask(std::slice::from_ref(&one), false), "one");
        assert_eq!(ask(&[record("one"), two], true), "onetwo");
        assert_eq!(made.get(), 5, "what was narrowed down is not kept");
        assert_eq!(ask(&[one], true), "one");
        assert_eq!((ask(&[], true), made.get()), (String::new(), 7));
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
