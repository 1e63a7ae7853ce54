//! The content of a registry in one directory, or with its blobs in a bucket: blobs by digest, uploads under way, manifests and tags of repositories.
//!
//! Knows: which blobs a repository has, what a manifest refers to, what nobody needs any more; how all of that survives a crash.
//! Does not know: HTTP, who asks, the registry protocol's words.
//! Start with [`Store`], [`Upload`], [`StoreError`].
//!
//! ```text
//! <root>/lock              flock: one process for a directory
//! <root>/storage           which bucket has the blobs instead; without it, they are files (see `shelf.rs`, `objects.rs`)
//! <root>/registry.db       which repository has which blobs, manifests, tags, referrers
//! <root>/blobs/ab/<hex>    content, manifests too, each once whoever pushed it
//! <root>/damaged/<hex>     what was a blob, and had another digest when [`Store::scrub`] read it
//! <root>/uploads/<id>      what came of a blob so far; <id>.repository says for whom
//! ```
//!
//! # Invariants
//!
//! - what is at `blobs/ab/<hex>` had exactly that digest when it was put there, by one rename of a synced file;
//! - a record names a file only after that file is durable; a file without a record is swept by [`Store::collect`];
//! - a manifest is recorded in one transaction with its tag, and only if all that it refers to is in its repository;
//! - what is decided on records (a manifest's blobs are there; a blob is needed by nobody) is decided and written under one
//!   lock, so that neither can happen between the other's question and its answer;
//! - a list of tags that is kept in memory is that of the records: who writes a tag forgets it before the write is answered;
//! - locks are taken in this order: the digest's, the records'.

mod collect;
mod content;
mod error;
mod files;
mod lists;
mod manifests;
#[cfg(test)]
mod model;
mod objects;
mod records;
mod replicate;
mod retention;
mod scrub;
mod shelf;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;

pub use self::{
    collect::{Collected, GcOptions},
    content::{Blob, BlobContent},
    error::{Refusal, StoreError},
    lists::TagPage,
    manifests::{ManifestContent, Put, PutManifest, Target, references},
    objects::Object,
    records::{ManifestRecord, Referrer, TagRecord},
    replicate::Wanting,
    retention::{Expired, Pattern, Rule, seconds},
    scrub::{Damage, Scrubbed},
    store::{Limits, Store, now},
    upload::{Claim, Upload},
};
