//! Times unpacking a layer and writing its tar again: `unpack_bench layer.tar.gz empty-dir`.
#![expect(clippy::unwrap_used, reason = "a measuring tool for developers")]

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;

use ferry_archive::{DIFF, Options, RecipeReader, RecipeWriter, apply};

fn main() {
    let mut args = std::env::args().skip(1);
    let tar = args.next().unwrap();
    let layer = PathBuf::from(args.next().unwrap());
    std::fs::create_dir_all(layer.join(DIFF)).unwrap();
    let directory = File::open(&layer).unwrap();
    let diff = File::open(layer.join(DIFF)).unwrap();

    let start = Instant::now();
    let recipe = RecipeWriter::create(directory.as_fd()).unwrap();
    let applied =
        apply(File::open(&tar).unwrap(), diff.as_fd(), &Options::default(), recipe).unwrap();
    let unpacked = start.elapsed();

    let start = Instant::now();
    let mut reader = RecipeReader::open(directory.as_fd()).unwrap();
    let (mut buffer, mut size) = (vec![0; 256 << 10], 0);
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        size += read as u64;
    }
    assert_eq!(size, applied.tar_size);
    let megabytes = applied.tar_size as f64 / 1e6;
    let rate = |time: std::time::Duration| megabytes / time.as_secs_f64();
    let (out, back) = (rate(unpacked), rate(start.elapsed()));
    #[expect(clippy::print_stdout, reason = "its purpose")]
    {
        println!("{applied:?}\nunpack {unpacked:?} = {out:.0} MB/s, tar again {back:.0} MB/s");
    }
}
