//! Damaged archives and layers: an error or the right bytes, never a panic, never the wrong bytes.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::*;
use ferry_archive::Source;

fn sample() -> Vec<u8> {
    let dir = Dir::new();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/b/file"), "some text\n".repeat(100)).unwrap();
    fs::write(dir.path().join("a").join("n".repeat(150)), "long name").unwrap();
    fs::hard_link(dir.path().join("a/b/file"), dir.path().join("link")).unwrap();
    symlink("a", dir.path().join("symlink")).unwrap();
    set_xattr(&dir.path().join("a"), "user.x", b"value");
    pack(dir.path(), Source::Plain)
}

#[test]
fn a_truncated_archive_is_refused_unless_cut_between_entries() {
    let tar = sample();
    let mut whole = 0;
    for length in (0..tar.len()).step_by(128) {
        match try_unpack(&tar[..length]) {
            // As Go's reader, for which the closing blocks are optional; the digest tells then.
            Ok(layer) => {
                whole += 1;
                assert_eq!(length % 512, 0);
                assert!(layer.tar().unwrap() == tar[..length]);
            }
            Err(error) => {
                let error = report(&error);
                assert!(error.contains("truncated"), "{length}: {error}");
            }
        }
    }
    // Before and behind each of the six entries, and behind the first closing block.
    assert_eq!(whole, 8, "cuts that were accepted");
}

#[test]
fn a_flipped_bit_never_panics_and_never_goes_unnoticed() {
    let tar = sample();
    for bit in (0..tar.len() * 8).step_by(97) {
        let mut damaged = tar.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(layer) = try_unpack(&damaged[..]) {
            assert!(layer.tar().unwrap() == damaged, "bit {bit}");
            assert_ne!(layer.applied.diff_id, ferry_oci::Digest::sha256_of(&tar));
        }
    }
}

#[test]
fn a_flipped_bit_in_a_compressed_stream_is_noticed() {
    let tar = sample();
    let digest = ferry_oci::Digest::sha256_of(&tar);
    let dir = Dir::new();
    for stream in [run("gzip", &["-c"], dir.path(), &tar), zstd::encode_all(&tar[..], 3).unwrap()] {
        for bit in (0..stream.len() * 8).step_by(61) {
            let mut damaged = stream.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok(layer) = try_unpack(&damaged[..]) {
                // Header fields such as a time stamp may differ without harm.
                let same = layer.applied.diff_id == digest;
                assert!(same || layer.tar().unwrap() != tar, "bit {bit}");
            }
        }
    }
}

#[test]
fn bytes_behind_the_end_are_kept_in_the_recipe() {
    let tar = [sample(), vec![0; 7 * 512], b"trailing bytes that are no block".to_vec()].concat();
    unpack(&tar);
    unpack(&[sample(), vec![b'x'; 3_000_000]].concat());
}

#[test]
fn archives_of_nothing_are_layers() {
    unpack(b"");
    unpack(&[0; 1024]);
    let error = refused(b"this is a text and no archive");
    assert!(error.contains("truncated"), "{error}");
    let error = refused(&[b'x'; 512]);
    assert!(error.contains("checksum"), "{error}");
}

#[test]
fn a_layer_whose_files_changed_gives_no_tar() {
    let layer = unpack(&sample());
    let path = layer.diff().join("a/b/file");
    let text = fs::read(&path).unwrap();
    let mut changed = text.clone();
    changed[500] ^= 1;
    fs::write(&path, &changed).unwrap();
    let error = layer.tar().unwrap_err().to_string();
    assert!(error.contains("\"a/b/file\" of the layer was changed"), "{error}");
    fs::write(&path, &text[1..]).unwrap();
    let error = layer.tar().unwrap_err().to_string();
    assert!(error.contains("\"a/b/file\""), "{error}");
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    assert!(layer.tar().is_err());
    fs::remove_file(&path).unwrap();
    mknod(&path, rustix::fs::FileType::Fifo, 0, 0);
    assert!(layer.tar().is_err());
}

#[test]
fn a_damaged_recipe_gives_no_tar() {
    let layer = unpack(&sample());
    let path = layer.dir.path().join("recipe");
    let recipe = fs::read(&path).unwrap();
    for bit in 0..recipe.len() * 8 {
        let mut damaged = recipe.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &damaged).unwrap();
        let directory = fs::File::open(layer.dir.path()).unwrap();
        let reader = ferry_archive::RecipeReader::open(std::os::fd::AsFd::as_fd(&directory));
        let Ok(mut reader) = reader else { continue };
        let mut tar = Vec::new();
        if std::io::Read::read_to_end(&mut reader, &mut tar).is_ok() {
            assert_eq!(ferry_oci::Digest::sha256_of(&tar), layer.applied.diff_id, "bit {bit}");
        }
    }
}
