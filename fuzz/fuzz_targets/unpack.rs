//! The unpacker: nothing outside the layer changes, and what was unpacked gives the same tar again.
#![no_main]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ferry_archive::{BLOCK, DIFF, Options, RecipeReader, RecipeWriter, apply};
use libfuzzer_sys::fuzz_target;

/// What an archive may name to get out: short, so that the fuzzer finds it.
const OUTSIDE: &str = "/dev/shm/o";

fuzz_target!(|data: &[u8]| {
    let tar = with_checksums(data);
    let layer = PathBuf::from(format!("/dev/shm/fuzz-unpack-{}", std::process::id()));
    fs::create_dir_all(layer.join(DIFF)).unwrap();
    fs::create_dir_all(OUTSIDE).unwrap();
    fs::write(Path::new(OUTSIDE).join("f"), "canary").unwrap();
    let before = outside();
    let directory = File::open(&layer).unwrap();
    let diff = File::open(layer.join(DIFF)).unwrap();
    let recipe = RecipeWriter::create(directory.as_fd()).unwrap();
    let applied = apply(&tar[..], diff.as_fd(), &Options::default(), recipe);
    assert_eq!(outside(), before, "the archive reached outside");
    if applied.is_ok() {
        let mut again = Vec::new();
        let mut reader = RecipeReader::open(directory.as_fd()).unwrap();
        reader.read_to_end(&mut again).unwrap();
        assert!(again == tar, "the recipe gives another tar");
    }
    let parent = File::open("/dev/shm").unwrap();
    let name = layer.file_name().unwrap().as_encoded_bytes();
    ferry_archive::remove_tree(parent.as_fd(), name).unwrap();
});

/// Attributes and content of the canaries, and what else is in /dev/shm.
fn outside() -> Vec<String> {
    let mut lines: Vec<String> = fs::read_dir("/dev/shm")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("fuzz-unpack-"))
        .collect();
    lines.sort();
    for path in [OUTSIDE.to_owned(), format!("{OUTSIDE}/f")] {
        let meta = fs::symlink_metadata(&path).unwrap();
        let (change, nanos) = (meta.ctime(), meta.ctime_nsec());
        lines.push(format!("{path} {} {} {change}.{nanos}", meta.ino(), meta.nlink()));
    }
    lines.push(fs::read_to_string(Path::new(OUTSIDE).join("f")).unwrap());
    lines
}

/// Gives every block that could be a header the right checksum, and bounds the sizes of files with holes.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut tar = data.to_vec();
    for block in tar.as_chunks_mut::<BLOCK>().0 {
        let magic = &block[257..262] == b"ustar" || block[156].is_ascii_digit();
        if !magic {
            continue;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    tar
}
