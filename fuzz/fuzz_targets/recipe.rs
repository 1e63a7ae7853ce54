//! The recipe reader on any operations: no panic, nothing read outside the layer, no wrong bytes without an error.
#![no_main]

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use ferry_archive::{DIFF, KEPT, RECIPE, RecipeReader};
use ferry_fuzz::scratch::{self, SCRATCH};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: scratch::enter(), |data: &[u8]| {
    let layer = Path::new(SCRATCH).join("l");
    if !layer.exists() {
        fs::create_dir_all(layer.join(DIFF).join("d")).unwrap();
        fs::create_dir_all(layer.join(KEPT)).unwrap();
        fs::write(layer.join(DIFF).join("f"), "file").unwrap();
        fs::write(layer.join(DIFF).join("d/f"), "another file").unwrap();
        fs::write(layer.join(KEPT).join("1"), "kept").unwrap();
        fs::write(layer.join("s"), "secret!").unwrap();
        std::os::unix::fs::symlink("../s", layer.join(DIFF).join("l")).unwrap();
    }
    // Half of the inputs are the compressed file itself, half are operations for us to compress.
    let recipe = match data.split_first() {
        Some((0..=127, operations)) => {
            let compressed = zstd::encode_all(operations, 1).unwrap();
            [&b"FERRYRCP\x01"[..], &compressed].concat()
        }
        Some((_, file)) => file.to_vec(),
        None => return,
    };
    fs::write(layer.join(RECIPE), recipe).unwrap();
    let directory = File::open(&layer).unwrap();
    for strict in [false, true] {
        let Ok(reader) = RecipeReader::open(directory.as_fd()) else { return };
        let reader = if strict { reader.strict() } else { reader };
        let mut tar = Vec::new();
        // A sparse map may repeat one file without end; that is bounded by its length, not by ours.
        if reader.take(1 << 20).read_to_end(&mut tar).is_ok() && !data.windows(7).any(|w| w == b"secret!") {
            assert!(!tar.windows(7).any(|window| window == b"secret!"), "read outside the layer");
        }
    }
});
