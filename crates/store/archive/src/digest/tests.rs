//! What changes a tree's digest, what does not, and what is read of it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("ferry-digest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn sum(&self, memory: Option<&dyn Memory>) -> Digest {
        let skip = |path: &[u8]| path.ends_with(b".skip");
        let options = DigestOptions { owner: Some((0, 0)), skip: &skip, memory };
        let root = File::open(&self.0).unwrap();
        digest_tree(root.as_fd(), b".", &options).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn everything_but_times_counts() {
    let place = Place::new("counts");
    let root = &place.0;
    for at in 0..1300 {
        write(root, &format!("many/f{at}"), "x");
    }
    write(root, "a/b/c", "1");
    symlink("a", root.join("link")).unwrap();
    let mut last = place.sum(None);
    assert_eq!(place.sum(None), last);
    std::fs::File::options()
        .write(true)
        .open(root.join("many/f700"))
        .and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH))
        .unwrap();
    write(root, "a/not.skip", "1");
    assert_eq!(place.sum(None), last, "times and what is left out do not count");
    let changes: [&dyn Fn(); 8] = [
        &|| write(root, "a/b/c", "2"),
        &|| write(root, "many/f1250", "y"),
        &|| std::fs::rename(root.join("many/f3"), root.join("many/g3")).unwrap(),
        &|| std::fs::create_dir(root.join("a/empty")).unwrap(),
        &|| std::fs::set_permissions(root.join("a/b"), PermissionsExt::from_mode(0o700)).unwrap(),
        &|| {
            std::fs::remove_file(root.join("link")).unwrap();
            symlink("b", root.join("link")).unwrap();
        },
        &|| {
            std::fs::remove_file(root.join("many/f5")).unwrap();
            std::fs::hard_link(root.join("many/f4"), root.join("many/f5")).unwrap();
        },
        &|| std::fs::rename(root.join("a/b"), root.join("a/d")).unwrap(),
    ];
    for (at, change) in changes.iter().enumerate() {
        change();
        let now = place.sum(None);
        assert_ne!(now, last, "change {at}");
        last = now;
    }
}

#[test]
fn what_is_one_file_must_be_one_in_the_tree() {
    let (place, outside) = (Place::new("links"), Place::new("elsewhere"));
    write(&place.0, "f", "x");
    let alone = place.sum(None);
    std::fs::hard_link(place.0.join("f"), outside.0.join("g")).unwrap();
    assert_eq!(place.sum(None), alone);
}

/// Knows everything after it was told once.
#[derive(Default)]
struct Notes {
    known: Mutex<BTreeMap<Identity, [u8; 32]>>,
    read: AtomicUsize,
}

impl Memory for Notes {
    fn file_system(&self, _: BorrowedFd<'_>) -> Option<u64> {
        Some(1)
    }

    fn recall(&self, file: &Identity) -> Option<[u8; 32]> {
        self.known.lock().unwrap().get(file).copied()
    }

    fn note(&self, file: &Identity, digest: [u8; 32], _: (i64, u32)) {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.known.lock().unwrap().insert(*file, digest);
    }
}

#[test]
fn a_file_is_read_once() {
    let place = Place::new("once");
    for at in 0..600 {
        write(&place.0, &format!("d{}/f{at}", at % 7), &at.to_string());
    }
    let notes = Notes::default();
    let first = place.sum(Some(&notes));
    assert_eq!(first, place.sum(None));
    assert_eq!(notes.read.swap(0, Ordering::Relaxed), 600);
    assert_eq!(place.sum(Some(&notes)), first);
    assert_eq!(notes.read.load(Ordering::Relaxed), 0);
    write(&place.0, "d3/f3", "other");
    assert_ne!(place.sum(Some(&notes)), first);
    assert_eq!(notes.read.load(Ordering::Relaxed), 1);
}
