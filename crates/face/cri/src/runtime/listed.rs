//! Lists as bytes. What a kubelet asks for every second has hardly changed since: each item is encoded once, and an answer is these
//! bytes one after another. gRPC's own way would copy every text of every item, encode it and throw it away.
//!
//! Both answers have one field, number 1, with the items.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes};
use http::Request;
use hyper::body::Incoming;
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, skip_field},
};
use tonic::{Response, Status, body::Body, server::Grpc};

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

/// An answer of such items. It is only written.
#[derive(Debug, Default)]
struct Items(Vec<Bytes>);

impl Message for Items {
    fn encode_raw(&self, out: &mut impl BufMut) {
        self.0.iter().for_each(|item| out.put_slice(item));
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// A list, by its request.
struct List<Q>(Arc<Runtime>, fn(&Runtime, Q) -> Vec<Bytes>);

impl<Q> tonic::server::UnaryService<Q> for List<Q> {
    type Response = Items;
    type Future = Ready<Result<Response<Items>, Status>>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        ready(Ok(Response::new(Items(self.1(&self.0, request.into_inner())))))
    }
}

impl<Q: Message + Default + 'static> List<Q> {
    async fn answer(self, request: Request<Incoming>, limit: usize) -> http::Response<Body> {
        let codec = tonic_prost::ProstCodec::<Items, Q>::default();
        let mut grpc =
            Grpc::new(codec).max_decoding_message_size(limit).max_encoding_message_size(limit);
        grpc.unary(self, request).await
    }
}

/// Answers a list; gives back every other request. No message is larger than `limit`.
pub(crate) async fn answer(
    runtime: &Arc<Runtime>,
    request: Request<Incoming>,
    limit: usize,
) -> Result<http::Response<Body>, Request<Incoming>> {
    let own = Arc::clone(runtime);
    match request.uri().path() {
        "/runtime.v1.RuntimeService/ListContainers" => {
            let bytes: fn(&Runtime, api::ListContainersRequest) -> Vec<Bytes> =
                |own, request| container::list(own, request.filter, |listed| listed.bytes.clone());
            Ok(List(own, bytes).answer(request, limit).await)
        }
        "/runtime.v1.RuntimeService/ListPodSandbox" => {
            let bytes: fn(&Runtime, api::ListPodSandboxRequest) -> Vec<Bytes> =
                |own, request| sandbox::list(own, request.filter, |listed| listed.bytes.clone());
            Ok(List(own, bytes).answer(request, limit).await)
        }
        _ => Err(request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_one_after_another_are_the_answer() {
        let container = |id: &str, labels: usize| api::Container {
            id: id.to_owned(),
            labels: (0..labels).map(|at| (format!("label-{at}"), "x".repeat(at))).collect(),
            ..api::Container::default()
        };
        let containers = vec![container("one", 0), container("", 0), container("three", 100)];
        let items = Items(containers.iter().cloned().map(|it| Listed::new(it).bytes).collect());
        let answer = api::ListContainersResponse { containers };
        assert_eq!(items.encode_to_vec(), answer.encode_to_vec());
        let sandbox = |id: &str| api::PodSandbox { id: id.to_owned(), ..Default::default() };
        let sandboxes = vec![sandbox("one"), sandbox("two")];
        let items = Items(sandboxes.iter().cloned().map(|it| Listed::new(it).bytes).collect());
        let answer = api::ListPodSandboxResponse { items: sandboxes };
        assert_eq!(items.encode_to_vec(), answer.encode_to_vec());
        assert_eq!(Items::default().encode_to_vec(), Vec::<u8>::new());
    }
}
