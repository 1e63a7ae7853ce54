//! Registry client: images from OCI distribution and Docker v2 registries straight into the layer store, and back.
//!
//! Knows: HTTP, TLS, registries' credentials and tokens, mirrors, which image of an index fits a platform, how to go on
//! after an interruption. Does not know: which images there are and what they are called, how layers are kept, Docker's API.
//!
//! Start with [`Client`], [`Client::pull`], [`PullError`]; [`Client::push`] for the way back.
//!
//! # How a layer comes
//!
//! One pass: body → digest of the compressed bytes → decompression → unpacking → digest of the tar, nothing of it twice.
//! The layer is committed only when both digests are right. What came of a large layer also lies in
//! `<ingest directory>/<digest>.partial` until then, so that the next attempt, even of the next daemon, goes on where
//! this one stopped.
//!
//! # Invariants
//!
//! - nothing is believed for its name: every document and layer has the digest and the size that it was asked for by;
//! - credentials go to the registry that they are for and to the token server it names, never to a mirror or to where a
//!   registry redirects; without TLS only where the user allowed it;
//! - a mirror that fails in whatever way never fails a pull;
//! - whatever comes from outside has a limit.

mod auth;
mod browse;
mod bucket;
mod client;
mod describe;
mod error;
mod fetch;
mod flight;
mod http;
mod layer;
mod login;
mod partial;
mod progress;
mod pull;
mod push;
mod refusal;
mod repository;
mod resolve;
mod search;
mod signatures;
mod source;
mod stream;

pub use self::{
    auth::{AuthOutcome, Challenge, RegistryAuth, TokenError, parse_challenges},
    bucket::{Bucket, BucketAddress, BucketError, InvalidAddress, ObjectStream, Objects},
    client::{Client, ClientConfig, Tuning},
    describe::Described,
    error::{LayerError, PullError},
    fetch::{FetchError, Fetched},
    http::{Fault, RequestError},
    login::AuthError,
    partial::sweep_partials,
    progress::Progress,
    pull::{Pulled, PulledLayer},
    push::{KeptManifest, KnownBlob, Packing, Push, PushError, PushLayer, Pushed, composed},
    refusal::Refusal,
    repository::{
        BlobStream, COSIGN_SUFFIXES, Quota, RawManifest, Repository, RepositoryError, Wanted,
        fallback_tag,
    },
    search::{SearchError, SearchResult},
    signatures::{InvalidKey, SignatureRule, VerifyKey},
    source::SourceError,
};
