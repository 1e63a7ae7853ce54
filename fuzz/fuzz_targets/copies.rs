//! The archive endpoints: `PUT /containers/…/archive` of a script of entries into a tree that has files and links in it, and then
//! `GET` of all that is there. No panic; nothing outside the tree changes; what was copied out goes in again.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;

use ferry_archive::{
    Limits, Options, Owner, TarWriter, TreeOptions, Whiteouts, remove_tree, unpack_renamed,
    write_resource,
};
use ferry_fuzz::scratch::{self, SCRATCH};
use ferry_fuzz::tar;
use libfuzzer_sys::fuzz_target;

/// The container's tree; short for the sake of `../../o`.
const TREE: &str = "l";
/// Trees with larger files are not copied out: the holes of a sparse file are written out.
const LARGEST: u64 = 1 << 20;

fuzz_target!(init: scratch::enter(), |data: &[u8]| {
    let Some((how, script)) = data.split_first() else { return };
    let tree = PathBuf::from(SCRATCH).join(TREE);
    fs::create_dir(&tree).expect("a tree");
    fs::create_dir(tree.join("d")).expect("a directory");
    fs::write(tree.join("f"), "x").expect("a file");
    std::os::unix::fs::symlink("../o", tree.join("c")).expect("a link that leads out");
    let before = scratch::picture(&[TREE]);
    let options = Options {
        limits: Limits::default(),
        whiteouts: Whiteouts::Literal,
        owner: match how & 3 {
            0 => Owner::Archived,
            1 => Owner::Unpacker,
            _ => Owner::Fixed { uid: 1000, gid: 1000 },
        },
        ids: None,
        keep_types: how & 4 != 0,
        keep_root: true,
    };
    let root = File::open(&tree).expect("the tree");
    let archive = tar::archive(script);
    let unpacked = unpack_renamed(&mut archive.as_slice(), root.as_fd(), None, &options);
    assert_eq!(scratch::picture(&[TREE]), before, "the archive reached outside");
    if unpacked.is_ok_and(|unpacked| unpacked.files_size <= LARGEST) {
        let mut out = TarWriter::new(Vec::new());
        let written = write_resource(root.as_fd(), b".", b".", &TreeOptions::COPY, &mut out);
        if let (Ok(()), Ok(copied)) = (written, out.finish()) {
            let options = Options { keep_types: true, ..options };
            let again = unpack_renamed(&mut copied.as_slice(), root.as_fd(), None, &options);
            assert!(again.is_ok(), "what was copied out does not go in: {again:?}");
        }
    }
    drop(root);
    let parent = File::open(SCRATCH).expect("the scratch directory");
    remove_tree(parent.as_fd(), TREE.as_bytes()).expect("a tree can be removed");
});
