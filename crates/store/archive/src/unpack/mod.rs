//! Unpacks a tar into a directory that nothing in the tar can leave. Start with [`unpack`].
//!
//! Every parent directory is opened with `openat2` below the root's descriptor: without symlinks first, and where
//! the tar itself made one, with `RESOLVE_IN_ROOT`, so that it leads where it would lead inside a container. Names
//! are then made, linked and removed in that directory by their last component alone, which is never followed.
//!
//! Where an entry meets something in its place, it does what Docker does: directory over directory merges, anything
//! else replaces, a whole tree included. Directories get owner, mode, attributes and times at the end, because what
//! is put into them changes their times, and a set-group-id directory would change the owner of what is made in it.

mod attributes;
mod error;
mod input;
mod place;
mod remove;

mod tree;

use std::io::BufRead;
use std::os::fd::BorrowedFd;

use self::input::Input;
use self::place::Placer;
use crate::clones::Clones;
use crate::ids::IdShift;
use crate::parse::{Limits, Parser, Step};
use crate::recipe::RecipeWriter;

pub use self::error::{Attempt, UnpackError};
pub use self::remove::remove_tree;

/// How to unpack.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Bounds for the parser.
    pub limits: Limits,
    /// What `.wh.` names mean.
    pub whiteouts: Whiteouts,
    /// Whom files belong to.
    pub owner: Owner,
    /// Refuse to put a directory in the place of a file, or a file in the place of a directory.
    pub keep_types: bool,
    /// The archive's owners (and [`Owner::Fixed`]) are a container's, and the tree is reached from the host.
    pub ids: Option<&'a IdShift>,
    /// Leave the directory that is unpacked into as it is, whatever the archive says of it.
    pub keep_root: bool,
    /// Files that are there already and only need their names.
    pub clones: Option<&'a Clones>,
}

/// Whom files belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// Whom the archive says.
    #[default]
    Archived,
    /// This user and group.
    Fixed {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Whoever unpacks.
    Unpacker,
}

/// A name that entries start with, and what they start with instead. An empty name stands before every entry.
pub type Rename<'a> = (&'a [u8], &'a [u8]);

/// What `.wh.` names mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// Docker's and OCI's layer convention: `.wh.x` becomes overlayfs' character device 0:0 named `x`, and
    /// `.wh..wh..opq` the attribute `trusted.overlay.opaque` of its directory.
    #[default]
    Overlay,
    /// Nothing special: files of that name.
    Literal,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries in the archive.
    pub entries: u64,
    /// Sum of the sizes of all files, as Docker counts a layer's size.
    pub files_size: u64,
    /// Extended attributes that the kernel would not let us set (as in a user namespace), left out as Docker does.
    pub refused_xattrs: u64,
}

/// Unpacks the tar into `root`, to its end: bytes behind the end marker are read (and recorded), too.
pub fn unpack(
    tar: &mut impl BufRead,
    root: BorrowedFd<'_>,
    options: &Options<'_>,
    recipe: Option<&mut RecipeWriter>,
) -> Result<Unpacked, UnpackError> {
    let mut placer = Placer::new(root, None, options)?;
    let entries = place_all(tar, &mut placer, options, recipe)?;
    finished(placer, entries)
}

/// The same for archives that are no layers: without a recipe, and under other names.
pub fn unpack_renamed(
    tar: &mut impl BufRead,
    root: BorrowedFd<'_>,
    rename: Option<Rename<'_>>,
    options: &Options<'_>,
) -> Result<Unpacked, UnpackError> {
    let mut placer = Placer::new(root, rename, options)?;
    match place_all(tar, &mut placer, options, None) {
        Ok(entries) => finished(placer, entries),
        Err(error) => {
            // What is there stays, so it should be as it was meant to be.
            placer.finish().ok();
            Err(error)
        }
    }
}

fn finished(placer: Placer<'_>, entries: u64) -> Result<Unpacked, UnpackError> {
    let (files_size, refused_xattrs) = placer.finish()?;
    Ok(Unpacked { entries, files_size, refused_xattrs })
}

/// Answers how many entries there were.
fn place_all(
    tar: &mut impl BufRead,
    placer: &mut Placer<'_>,
    options: &Options<'_>,
    recipe: Option<&mut RecipeWriter>,
) -> Result<u64, UnpackError> {
    let mut input = Input::new(tar, recipe);
    let mut parser = Parser::new(options.limits);
    let mut entries = 0;
    while let Some(block) = input.block()? {
        let step = parser.block(&block);
        match step.map_err(|source| UnpackError::Parse { offset: input.offset(), source })? {
            Step::More => {}
            Step::Entry(entry) => {
                entries += 1;
                placer.place(*entry, &mut input)?;
            }
            Step::End => {
                input.rest()?;
                break;
            }
        }
    }
    if !parser.may_end() {
        return Err(UnpackError::Truncated { offset: input.offset() });
    }
    Ok(entries)
}
