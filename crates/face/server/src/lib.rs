//! The Docker Engine API over HTTP: Ferry's face to the docker CLI, docker-py, bollard, testcontainers and the rest.
//!
//! Knows: HTTP, the wire types of `ferry-docker-api`, how they become the engine's nouns and back. Does not know: how
//! anything is done (that is one engine call a handler), nor what older versions of the API looked like outside `versions`.
//! Start with [`endpoints`] (the table), [`serve`], [`Address`].
//!
//! A request goes `dispatch` (version, table row, query) -> `handlers::<noun>` (read, one engine call, render) ->
//! `convert::<noun>` (exhaustive destructuring, both ways). Attach and exec leave HTTP behind in `hijack`.

mod body;
mod convert;
mod detach;
mod dispatch;
pub mod fuzzing;
mod handed;
mod handlers;
mod hijack;
mod listen;
mod metrics;
mod query;
mod read_body;
mod refuse;
mod reply;
mod request;
mod request_body;
mod splice;
mod table;
mod tls;
mod versions;

pub use dispatch::Product;
pub use listen::{Address, BindError, InvalidAddress, Listener, serve};
pub use metrics::serve_metrics;
pub use table::{Endpoint, endpoints};
pub use tls::{TlsError, TlsFiles};
