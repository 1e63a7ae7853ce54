//! The layer store: unpacked layers on disk, each with the recipe of its tar.
//!
//! Knows: layers by the digest of their uncompressed tar (diff id), where they are, whether they are whole. Does not
//! know: images, registries, compressed blobs, mounts, who uses a layer. Start with [`LayerStore`], [`Layer`],
//! [`LayerTar`].
//!
//! # On disk
//!
//! ```text
//! <root>/<hex of the diff id>/diff/       the files, a lower directory for overlayfs
//!                             recipe      what turns them back into the exact tar (ferry_archive::RecipeReader)
//!                             kept/       data of files that the tar itself replaced; rarely there
//!                             meta.json   size, entries, boot id of the ingest
//!                             synced      empty; there once a sync covered the layer
//! <root>/tmp-<random>/                    a layer in the making, or on its way out
//! ```
//!
//! # Crashes
//!
//! A layer is unpacked in a `tmp-` directory and committed by one rename, so a killed process leaves a whole layer or
//! none; leftovers are swept when the store is opened next. A power cut can also tear what was committed but not
//! written to disk. So the caller calls [`LayerStore::sync`] once per image *before* it records the image, and layers
//! without a `synced` mark that come from an earlier boot are dropped when the store is opened: no record can refer to
//! them. (To check and keep them would need all their metadata compared, for the sake of one download.)
//!
//! # Invariants
//!
//! - what is at `<root>/<hex>` was unpacked whole from a tar of exactly that digest;
//! - two ingests of one layer at once both succeed, and one copy stays;
//! - nothing writes into a committed layer.

mod error;
mod ingest;
mod meta;
mod open;
mod scratch;
mod store;
mod tar;
#[cfg(test)]
mod tests;

pub use self::error::{
    IngestError, OpenStoreError, OpenTarError, RemoveError, SyncError, UnknownLayer, VerifyError,
};
pub use self::store::{Detached, Layer, LayerStore};
pub use self::tar::LayerTar;
