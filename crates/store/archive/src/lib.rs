//! Layers in and out: tar, gzip, zstd, whiteouts.
//!
//! Knows: the formats of tar (ustar, PAX, GNU, sparse), how a tar becomes files and files a tar, how overlayfs spells
//! what a layer removes. Does not know: images, registries, digests as names, where layers are stored.
//!
//! Start with [`apply()`] (stream into directory), [`RecipeReader`] (directory back into the very same stream) and
//! [`write_tree`] (a new layer's tar out of a directory). Below them: [`Parser`] (blocks to entries, no I/O),
//! [`unpack()`] (entries to files), [`TarWriter`] (entries to blocks) and [`TarReader`] (members of an archive that is no
//! layer, as in `docker load`), [`read_zip`] (small zip archives), [`changes()`] (an upper directory against what lies below it), [`digest_tree`] (a tree as one digest).
//!
//! Invariants:
//! - nothing an archive says leads outside the directory that it is unpacked into;
//! - exactly one number, [`Entry::stored`], decides where the next header of a tar is;
//! - what a [`RecipeReader`] yields to its end is bit for bit what [`apply()`] was given, or it is an error.

mod apply;
mod changes;
mod clones;
pub mod compress;
mod digest;
mod entry;
mod ids;
mod parse;
mod path;
mod read;
mod recipe;
mod tree;
mod unpack;
mod whiteout;
mod write;
mod zip;

pub use self::apply::{Applied, ApplyError, apply};
pub use self::changes::{Change, ChangeKind, ChangesError, changes};
pub use self::clones::Clones;
pub use self::digest::{DigestOptions, DigestTreeError, Identity, Memory, digest_tree};
pub use self::entry::{Entry, Kind, Mtime, Segment, Xattr};
pub use self::ids::{IdRange, IdShift};
pub use self::parse::{BLOCK, Limits, ParseError, Parser, Step};
pub use self::path::{PathError, clean};
pub use self::read::{Member, ReadTarError, TarReader, read_buffered};
pub use self::recipe::{DIFF, KEPT, OpenRecipeError, RECIPE, RecipeReader, RecipeWriter};
pub use self::unpack::{
    Attempt, Options, Owner, Rename, UnpackError, Unpacked, Whiteouts, remove_tree, unpack,
    unpack_renamed,
};
pub use self::write::{
    Keep, Sink, Source, TarWriter, Times, TreeOptions, WriteTreeError, write_resource, write_tree,
    write_tree_in,
};
pub use self::zip::{ReadZipError, ZipMember, read_zip};
