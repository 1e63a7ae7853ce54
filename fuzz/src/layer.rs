//! A stream goes into a layer directory and comes out again.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use ferry_archive::compress::Codec;
use ferry_archive::{
    Applied, DIFF, KEPT, Options, RECIPE, RecipeReader, RecipeWriter, Source, TarWriter, apply,
    TreeOptions, remove_tree, write_tree,
};
use ferry_oci::Digest;

use crate::scratch::{SCRATCH, picture};

/// The layer's name; short for the sake of `../../o`.
const LAYER: &str = "l";
/// Larger tars are not read again: a few bytes of zstd may say "a gigabyte of zeros".
const LARGEST: u64 = 8 << 20;
/// Trees with larger files are not packed: the holes of a sparse file are written out.
const LARGEST_FILES: u64 = 1 << 20;

/// Unpacks `stream` and asserts that nothing outside the layer changed, that the layer directory has nothing in it that it
/// should not have, and that the recipe gives exactly the tar that was unpacked.
pub fn check(stream: &[u8], options: &Options) {
    let before = picture(&[LAYER]);
    let layer = PathBuf::from(SCRATCH).join(LAYER);
    let applied = unpack(&layer, stream, options);
    assert_eq!(picture(&[LAYER]), before, "the archive reached outside");
    for entry in fs::read_dir(&layer).expect("the layer") {
        let name = entry.expect("an entry").file_name();
        assert!([DIFF, KEPT, RECIPE].iter().any(|known| name == *known), "{name:?} in the layer");
    }
    if let Some(applied) = applied {
        compare(&layer, stream, &applied);
    }
    remove();
}

/// As [`check`]; and if it unpacked, its tree is packed, unpacked, and packed to the same bytes.
pub fn check_packing(stream: &[u8], options: &Options) {
    let layer = PathBuf::from(SCRATCH).join(LAYER);
    let unpacked = unpack(&layer, stream, options);
    let packed = unpacked
        .filter(|applied| applied.unpacked.files_size <= LARGEST_FILES)
        .filter(|_| !has_marker_names(&layer.join(DIFF)) && !is_opaque(&layer.join(DIFF)))
        .and_then(|_| pack(&layer));
    remove();
    let Some(packed) = packed else { return };
    check(&packed, &Options::default());
    let again = unpack(&layer, &packed, &Options::default()).and_then(|_| pack(&layer));
    remove();
    assert!(again.as_ref() == Some(&packed), "a packed tree does not come back as it was");
}

fn unpack(layer: &Path, stream: &[u8], options: &Options) -> Option<Applied> {
    fs::create_dir_all(layer.join(DIFF)).expect("a layer");
    let directory = File::open(layer).expect("the layer");
    let diff = File::open(layer.join(DIFF)).expect("the layer's files");
    let recipe = RecipeWriter::create(directory.as_fd()).expect("a recipe");
    apply(stream, diff.as_fd(), options, recipe).ok()
}

fn compare(layer: &Path, stream: &[u8], applied: &Applied) {
    if applied.tar_size > LARGEST {
        return;
    }
    let directory = File::open(layer).expect("the layer");
    for strict in [false, true] {
        let reader = RecipeReader::open(directory.as_fd()).expect("the recipe");
        let mut reader = if strict { reader.strict() } else { reader };
        let mut again = Vec::new();
        reader.read_to_end(&mut again).expect("the tar again");
        assert_eq!(Digest::sha256_of(&again), applied.diff_id, "the recipe gives another tar");
        assert_eq!(again.len() as u64, applied.tar_size);
        assert!(applied.codec != Codec::Plain || again == stream, "the tar is another");
    }
}

/// The tree as a new layer. `None` where the kernel cannot say what is in it (a link count that grew too large, …).
fn pack(layer: &Path) -> Option<Vec<u8>> {
    let diff = File::open(layer.join(DIFF)).expect("the layer's files");
    let mut tar = TarWriter::new(Vec::new());
    write_tree(diff.as_fd(), &TreeOptions::layer(Source::Upper), &mut tar).ok()?;
    tar.finish().ok()
}

/// A directory that is really called `.wh.a` (made as the parent of `.wh.a/b`) has no spelling in a layer.
fn has_marker_names(directory: &Path) -> bool {
    fs::read_dir(directory).expect("a directory").any(|entry| {
        let entry = entry.expect("an entry");
        entry.file_name().as_encoded_bytes().starts_with(b".wh.")
            || entry.file_type().is_ok_and(|kind| kind.is_dir()) && has_marker_names(&entry.path())
    })
}

/// The mark of an opaque root has the root's own times and mode, which are not in a layer otherwise.
fn is_opaque(root: &Path) -> bool {
    rustix::fs::lgetxattr(root, "trusted.overlay.opaque", &mut [0; 8][..]).is_ok()
}

fn remove() {
    let parent = File::open(SCRATCH).expect("the scratch directory");
    remove_tree(parent.as_fd(), LAYER.as_bytes()).expect("a layer can be removed");
}
