use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
    sync::Arc,
};

use ferry_db::Db;
use ferry_stdx::time::Timestamp;

use crate::{NewVolume, VolumeStore, populate};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ferry-volume-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    fn store(&self) -> VolumeStore {
        let db = Arc::new(Db::open(&self.0.join("db")).unwrap());
        VolumeStore::open(&self.0.join("volumes"), db).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn named(name: &str) -> NewVolume {
    NewVolume { name: name.to_owned(), ..NewVolume::default() }
}

#[test]
fn a_volume_keeps_its_content_and_record_over_a_restart() {
    let scratch = Scratch::new("keep");
    let (volume, new) = scratch.store().create(named("data"), Timestamp::default()).unwrap();
    assert!(new);
    fs::write(PathBuf::from(&volume.mountpoint).join("row"), "1").unwrap();
    let store = scratch.store();
    assert_eq!(store.get("data").unwrap(), volume);
    assert!(!store.create(named("data"), Timestamp::default()).unwrap().1);
    store.remove("data").unwrap();
    assert!(!PathBuf::from(&volume.mountpoint).exists());
    assert_eq!(store.get("data").unwrap_err().to_string(), "get data: no such volume");
}

#[test]
fn names_that_leave_the_directory_are_refused() {
    let scratch = Scratch::new("names");
    let store = scratch.store();
    for bad in ["", "a", "..", "../x", "a/b", ".hidden", "a b"] {
        assert!(store.create(named(bad), Timestamp::default()).is_err(), "{bad}");
    }
}

#[test]
fn an_empty_volume_gets_the_images_content_once() {
    let scratch = Scratch::new("populate");
    let image = scratch.0.join("image");
    fs::create_dir_all(image.join("sub")).unwrap();
    fs::write(image.join("sub/file"), "text").unwrap();
    fs::hard_link(image.join("sub/file"), image.join("again")).unwrap();
    symlink("/etc/passwd", image.join("link")).unwrap();
    fs::set_permissions(image.join("sub/file"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(&image, fs::Permissions::from_mode(0o1770)).unwrap();
    std::os::unix::fs::chown(image.join("sub"), Some(70), Some(71)).unwrap();

    let volume = scratch.0.join("volume");
    fs::create_dir(&volume).unwrap();
    let from = fs::File::open(&image).unwrap();
    assert!(populate(std::os::fd::AsFd::as_fd(&from), &volume).unwrap());

    let file = fs::metadata(volume.join("sub/file")).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o4750);
    assert_eq!(file.ino(), fs::metadata(volume.join("again")).unwrap().ino());
    assert_eq!(fs::read_link(volume.join("link")).unwrap(), PathBuf::from("/etc/passwd"));
    let sub = fs::metadata(volume.join("sub")).unwrap();
    assert_eq!((sub.uid(), sub.gid()), (70, 71));
    assert_eq!(fs::metadata(&volume).unwrap().mode() & 0o7777, 0o1770);
    assert!(!populate(std::os::fd::AsFd::as_fd(&from), &volume).unwrap(), "not a second time");
}

#[test]
fn a_copy_is_there_whole_or_not_at_all() {
    let scratch = Scratch::new("drafts");
    let root = scratch.0.join("volumes");
    let store = scratch.store();
    store.create(named("source"), Timestamp::default()).unwrap();
    fs::write(root.join("source/_data/f"), "content").unwrap();
    // It dies before the record.
    let draft = store.draft(named("early")).unwrap();
    store.copy_into("source", &draft).unwrap();
    assert!(store.draft(named("early")).is_err(), "one at a time");
    std::mem::forget(draft);
    // It dies between the record and the name.
    let draft = store.draft(named("late")).unwrap();
    store.copy_into("source", &draft).unwrap();
    store.keep(draft, Timestamp::default()).unwrap();
    fs::rename(root.join("late"), root.join(".new-late")).unwrap();
    // It dies between a renaming's record and its directory.
    store.create(named("old"), Timestamp::default()).unwrap();
    fs::write(root.join("old/_data/f"), "kept").unwrap();
    store.rename("old", "new").unwrap();
    fs::rename(root.join("new"), root.join("old")).unwrap();
    // It dies while it removes one: before its record is gone, and after that.
    for name in ["stays", "goes"] {
        store.create(named(name), Timestamp::default()).unwrap();
        fs::write(root.join(name).join("_data/f"), "whole").unwrap();
    }
    store.set_aside("stays").unwrap();
    store.remove("goes").unwrap();
    fs::create_dir_all(root.join(".gone-goes/_data")).unwrap();
    drop(store);
    let store = scratch.store();
    assert!(!root.join(".new-early").exists() && store.get("early").is_err());
    let read = |volume: &str| fs::read_to_string(root.join(volume).join("_data/f")).unwrap();
    assert_eq!(read("late"), "content");
    assert_eq!(read("new"), "kept");
    assert_eq!(read("stays"), "whole");
    assert!(store.get("goes").is_err());
    assert!(!root.join(".gone-goes").exists() && !root.join(".gone-stays").exists());
    assert!(store.get("old").is_err() && !root.join("old").exists());
    // What was not finished does not stand in the way.
    let draft = store.draft(named("early")).unwrap();
    drop(draft);
    assert!(!root.join(".new-early").exists());
    store.create(named("early"), Timestamp::default()).unwrap();
}

#[test]
fn who_has_a_volume_alone_has_it_alone() {
    let scratch = Scratch::new("holds");
    let store = scratch.store();
    store.create(named("volume"), Timestamp::default()).unwrap();
    let (one, two) = (store.share("volume").unwrap(), store.share("volume").unwrap());
    drop(one);
    assert!(store.alone("volume").is_err() && store.remove("volume").is_err());
    drop(two);
    let alone = store.alone("volume").unwrap();
    assert!(store.share("volume").is_err());
    drop(alone);
    // A snapshot that is read is not removed meanwhile.
    store.snapshot("volume", "kept").unwrap();
    let reading = store.share("volume").unwrap();
    assert!(store.remove_snapshot("volume", "kept").is_err());
    assert_eq!(store.snapshots("volume").unwrap().len(), 1);
    drop(reading);
    store.remove_snapshot("volume", "kept").unwrap();
    store.remove("volume").unwrap();
}

#[test]
fn many_make_and_remove_one_name_at_once() {
    let scratch = Scratch::new("at-once");
    let store = scratch.store();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let (volume, _) =
                        store.create(named("vv"), Timestamp::from_seconds(0)).unwrap();
                    assert_eq!(volume.name, "vv");
                    // Another one may have been first.
                    drop(store.remove("vv"));
                }
            });
        }
    });
    assert!(store.list().is_empty());
    assert!(!scratch.0.join("volumes/vv").exists(), "nobody's directory was removed under another");
    let (volume, new) = store.create(named("vv"), Timestamp::from_seconds(0)).unwrap();
    assert!(new && PathBuf::from(volume.mountpoint).is_dir());
}
