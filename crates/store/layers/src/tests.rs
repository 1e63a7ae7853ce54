//! The store on a real directory. Runs as root, as the unpacker's tests do.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ferry_archive::{Entry, Kind, TarWriter};
use ferry_oci::Digest;

use crate::meta::{META, Meta, SYNCED};
use crate::*;

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ferry-layers-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn store(&self) -> LayerStore {
        LayerStore::open(&self.0).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Waits for what is removed in the background.
    fn comes_to_hold(&self, names: &[&str]) {
        for _ in 0..500 {
            if self.names() == names {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(self.names(), names);
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A sweep in the background may remove the same files at the same time.
        while fs::remove_dir_all(&self.0).is_err() && self.0.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// A layer with one file.
fn tar(path: &str, text: &str) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let entry = Entry {
        path: path.into(),
        kind: Kind::File,
        mode: 0o644,
        size: text.len() as u64,
        ..Entry::default()
    };
    tar.append_file(&entry, text.as_bytes()).unwrap();
    tar.finish().unwrap()
}

fn read(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Pretends that the layer was ingested before the machine last started.
fn age(layer: &Path) {
    let meta = Meta { boot_id: "another boot".into(), ..Meta::read(layer).unwrap() };
    fs::remove_file(layer.join(META)).unwrap();
    meta.write(layer).unwrap();
}

#[test]
fn a_layer_goes_in_and_comes_out() {
    let dir = Dir::new();
    let store = dir.store();
    let tar = tar("etc/motd", "hello");
    let diff_id = Digest::sha256_of(&tar);
    let layer = store.ingest(&zstd(&tar)[..], Some(&diff_id)).unwrap();
    assert_eq!((&layer.diff_id, layer.size, layer.entries), (&diff_id, 5, 1));
    assert_eq!(layer.tar_size, tar.len() as u64);
    let stream = store.tar(&diff_id).unwrap();
    assert_eq!(stream.length(), tar.len() as u64);
    assert!(read(stream) == tar);
    store.verify(&diff_id).unwrap();
    let lower = store.lower_dirs(std::slice::from_ref(&diff_id)).unwrap();
    assert_eq!(fs::read_to_string(lower[0].join("etc/motd")).unwrap(), "hello");
    assert_eq!(store.get(&diff_id), Some(layer.clone()));
    assert_eq!((store.size(&diff_id), store.list()), (Some(5), vec![layer.clone()]));
    // The same after the next start.
    assert_eq!(dir.store().list(), [layer]);
}

fn zstd(tar: &[u8]) -> Vec<u8> {
    // A frame with one raw block, so that no compressor is needed here.
    assert!(tar.len() < 1 << 17);
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0];
    frame.extend_from_slice(&u32::try_from(tar.len()).unwrap().to_le_bytes());
    let header = u32::try_from(tar.len() << 3).unwrap() | 1;
    frame.extend_from_slice(&header.to_le_bytes()[..3]);
    frame.extend_from_slice(tar);
    frame
}

#[test]
fn lower_directories_are_top_first() {
    let dir = Dir::new();
    let store = dir.store();
    let ids: Vec<Digest> =
        ["a", "b"].map(|name| store.ingest(&tar(name, "")[..], None).unwrap().diff_id).to_vec();
    let lower = store.lower_dirs(&ids).unwrap();
    assert!(lower[0].join("b").exists() && lower[1].join("a").exists());
    // The same layer twice: its upper place is the one that counts.
    let twice = [&ids[..], &ids[..1]].concat();
    assert_eq!(store.lower_dirs(&twice).unwrap(), [lower[1].clone(), lower[0].clone()]);
    let unknown = Digest::sha256_of(b"");
    let error = store.lower_dirs(std::slice::from_ref(&unknown)).unwrap_err();
    assert_eq!(error.to_string(), format!("layer {unknown} is not in the store"));
}

#[test]
fn another_tar_than_expected_is_refused_and_leaves_nothing() {
    let dir = Dir::new();
    let store = dir.store();
    let expected = Digest::sha256_of(b"something else");
    let error = store.ingest(&tar("a", "x")[..], Some(&expected)).unwrap_err();
    assert!(matches!(error, IngestError::Mismatch { .. }), "{error}");
    let error = store.ingest(&tar("a", "x")[..700], None).unwrap_err();
    assert!(matches!(error, IngestError::Apply(_)), "{error}");
    let error = store.ingest(&tar("../a", "x")[..], None).unwrap_err();
    assert!(matches!(error, IngestError::Apply(_)), "{error}");
    assert_eq!(dir.names(), [""; 0]);
    assert!(store.list().is_empty());
}

#[test]
fn a_stream_that_fails_aborts_the_ingest() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("cancelled"))
        }
    }
    let dir = Dir::new();
    let store = dir.store();
    let tar = tar("a", "x");
    let error = store.ingest(tar[..600].chain(Broken), None).unwrap_err();
    let chain = ferry_errkind::chain(&error);
    assert!(chain.contains("cancelled"), "{chain}");
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_layer_that_is_here_is_not_read_again() {
    struct Untouchable;
    impl Read for Untouchable {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            panic!("read although the layer is here");
        }
    }
    let dir = Dir::new();
    let store = dir.store();
    let layer = store.ingest(&tar("a", "x")[..], None).unwrap();
    assert_eq!(store.ingest(Untouchable, Some(&layer.diff_id)).unwrap(), layer);
}

#[test]
fn many_ingests_of_one_layer_at_once_all_succeed() {
    let dir = Dir::new();
    let store = dir.store();
    let tar = tar("a", &"x".repeat(1_000_000));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| store.ingest(&tar[..], None).unwrap());
        }
    });
    let diff_id = Digest::sha256_of(&tar);
    // The copies that came too late go in the background.
    dir.comes_to_hold(&[&diff_id.hex()]);
    store.verify(&diff_id).unwrap();
}

#[test]
fn a_removed_layer_is_gone_and_can_come_back() {
    let dir = Dir::new();
    let store = dir.store();
    let tar = tar("a", "x");
    let diff_id = store.ingest(&tar[..], None).unwrap().diff_id;
    store.remove(&diff_id).unwrap();
    assert_eq!(dir.names(), [""; 0]);
    assert!(!store.contains(&diff_id));
    assert!(matches!(store.remove(&diff_id), Err(RemoveError::Unknown(_))));
    assert!(matches!(store.tar(&diff_id), Err(OpenTarError::Unknown(_))));
    store.ingest(&tar[..], Some(&diff_id)).unwrap();
    assert!(read(store.tar(&diff_id).unwrap()) == tar);
}

#[test]
fn a_layer_that_somebody_has_is_not_removed() {
    let dir = Dir::new();
    let store = dir.store();
    let made = store.ingest(&tar("a", "x")[..], None).unwrap();
    let diff_id = made.diff_id.clone();
    assert!(matches!(store.remove(&diff_id), Err(RemoveError::InUse { .. })));
    let found = store.get(&diff_id).unwrap();
    drop(made);
    assert!(matches!(store.detach(&diff_id), Err(RemoveError::InUse { .. })));
    drop(found);
    // A list keeps nothing.
    let listed = store.list();
    let detached = store.detach(&diff_id).unwrap();
    assert!(!store.contains(&diff_id) && listed.len() == 1);
    detached.remove().unwrap();
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn leftovers_are_swept_and_strangers_left_alone() {
    let dir = Dir::new();
    drop(dir.store());
    fs::create_dir_all(dir.0.join("tmp-0123/diff/a/b")).unwrap();
    fs::write(dir.0.join("lost+found"), "").unwrap();
    drop(dir.store());
    dir.comes_to_hold(&["lost+found"]);
}

#[test]
fn what_was_not_synced_before_the_machine_went_down_is_dropped() {
    let dir = Dir::new();
    let store = dir.store();
    let synced = store.ingest(&tar("a", "x")[..], None).unwrap();
    store.sync().unwrap();
    store.sync().unwrap();
    let unsynced = store.ingest(&tar("b", "x")[..], None).unwrap();
    let at = |layer: &Layer| dir.0.join(layer.diff_id.hex());
    assert!(at(&synced).join(SYNCED).exists() && !at(&unsynced).join(SYNCED).exists());
    // A killed process loses nothing.
    assert_eq!(dir.store().list().len(), 2);
    age(&at(&synced));
    age(&at(&unsynced));
    assert_eq!(dir.store().list(), std::slice::from_ref(&synced));
    assert!(!at(&unsynced).exists());
}

#[test]
fn a_layer_without_its_record_is_dropped() {
    let dir = Dir::new();
    let layer = dir.store().ingest(&tar("a", "x")[..], None).unwrap();
    let path = dir.0.join(layer.diff_id.hex());
    fs::write(path.join(META), "{").unwrap();
    assert!(dir.store().list().is_empty());
    assert!(!path.exists());
}

#[test]
fn damage_is_found_by_verify() {
    let dir = Dir::new();
    let store = dir.store();
    let layer = store.ingest(&tar("a", "x")[..], None).unwrap();
    fs::write(dir.0.join(layer.diff_id.hex()).join("diff/a"), "y").unwrap();
    let error = store.verify(&layer.diff_id).unwrap_err();
    assert!(matches!(error, VerifyError::Damaged { .. }), "{error}");
}

/// Set for the child of the next test: where it ingests until it is killed.
const VICTIM: &str = "FERRY_LAYERS_VICTIM";

#[test]
fn a_process_killed_at_any_instant_leaves_whole_layers_or_none() {
    if let Ok(root) = std::env::var(VICTIM) {
        let store = LayerStore::open(root).unwrap();
        for number in 0.. {
            let layer =
                store.ingest(&tar("a", &number.to_string().repeat(9000))[..], None).unwrap();
            if number % 3 == 0 {
                store.remove(&layer.diff_id).unwrap();
            }
        }
    }
    let dir = Dir::new();
    let mut seen = 0;
    for round in 0..20 {
        let name = "tests::a_process_killed_at_any_instant_leaves_whole_layers_or_none";
        let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(VICTIM, &dir.0)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_micros(20_000 + round * 3_137));
        victim.kill().unwrap();
        victim.wait().unwrap();
        let store = dir.store();
        for layer in store.list() {
            store.verify(&layer.diff_id).unwrap();
            seen += 1;
        }
    }
    assert!(seen > 0, "no child came as far as a layer");
}
