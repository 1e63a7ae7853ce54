//! The recipe of a layer: what its tar holds beyond the payload of its files, so that the exact same tar can be
//! written again from the unpacked directory. (Docker keeps the same knowledge as "tar-split" JSON.)
//!
//! A layer directory holds
//! - `diff/`: the unpacked files;
//! - `recipe`: `FERRYRCP`, a version byte, then one zstd frame (with checksum) of operations: raw bytes (headers,
//!   extension headers, padding, whatever follows the end), "the data of this file comes here" with its
//!   CRC-32, and at the end the length and SHA-256 of the whole tar;
//! - `kept/<n>`: only where the tar names one path more than once: the data of the n-th payload, whose file
//!   a later entry replaced.
//!
//! Start with [`RecipeWriter`] and [`RecipeReader`].

mod reader;
mod wire;
mod writer;

pub use self::reader::{OpenRecipeError, RecipeReader};
pub(crate) use self::writer::Payload;
pub use self::writer::RecipeWriter;

/// Directory of unpacked files inside a layer directory.
pub const DIFF: &str = "diff";
/// File with the recipe inside a layer directory.
pub const RECIPE: &str = "recipe";
/// Directory of data whose file was replaced, inside a layer directory.
pub const KEPT: &str = "kept";
