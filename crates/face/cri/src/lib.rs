//! Kubernetes' Container Runtime Interface v1 on a unix socket: a kubelet uses Ferry as it uses containerd.
//!
//! Knows: the engine, CRI's messages (`proto`, generated from `proto/api.proto`), HTTP/2, the remote command protocols of the
//! streaming server. Does not know: Docker's API, what is below the engine, Kubernetes' own API.
//! Start with [`serve`], `runtime/mod.rs` (one file for each noun), `image.rs`.
//!
//! Invariants:
//! - A pod and its containers are containers of the engine, of a kind that Docker's face does not show.
//! - Everything that an answer needs is in the engine's records: this face keeps nothing that a crash could lose.

mod answer;
mod cadvisor;
mod convert;
pub mod fuzzing;
mod image;
mod record;
mod runtime;
mod serve;
mod stream;

#[expect(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::doc_lazy_continuation,
    rustdoc::bare_urls,
    reason = "generated: what a field means is said in the proto file"
)]
mod proto;
pub use convert::image::pinned_image;
pub use proto::runtime::v1 as api;
pub use serve::{BindError, CriListener, Product, serve};
