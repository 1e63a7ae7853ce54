//! Volumes as a whole, beyond Docker: clone, rename, snapshot, restore, export, import.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use ferry_testkit::{Client, Sandbox, eventually};
use rustix::fs::XattrFlags;

use crate::with_busybox;

/// Where a volume's content is.
fn content(sandbox: &Sandbox, volume: &str) -> PathBuf {
    PathBuf::from(sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", volume]))
}

/// A volume with one of everything that a copy can lose.
fn furnished(sandbox: &Sandbox) -> PathBuf {
    sandbox.ok(&["volume", "create", "--label", "kind=test", "origin"]);
    let at = content(sandbox, "origin");
    fs::write(at.join("plain"), "words\n").unwrap();
    fs::hard_link(at.join("plain"), at.join("also-plain")).unwrap();
    std::os::unix::fs::symlink("/nowhere", at.join("link")).unwrap();
    fs::create_dir(at.join("folder")).unwrap();
    fs::write(at.join("folder/secret"), "s").unwrap();
    fs::set_permissions(at.join("folder/secret"), fs::Permissions::from_mode(0o4600)).unwrap();
    std::os::unix::fs::chown(at.join("folder"), Some(1234), Some(4321)).unwrap();
    let xattr = rustix::fs::setxattr(at.join("plain"), "user.colour", b"red", XattrFlags::empty());
    xattr.unwrap();
    let sparse = File::create(at.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    sparse.write_all_at(b"in the middle", 512 << 20).unwrap();
    fs::set_permissions(&at, fs::Permissions::from_mode(0o750)).unwrap();
    at
}

fn assert_furnished(at: &Path, sparse: bool) {
    let stat = |name: &str| fs::symlink_metadata(at.join(name)).unwrap();
    assert_eq!(fs::read_to_string(at.join("plain")).unwrap(), "words\n");
    assert_eq!(stat("plain").ino(), stat("also-plain").ino(), "hard links stay links");
    assert_eq!(fs::read_link(at.join("link")).unwrap(), Path::new("/nowhere"));
    assert_eq!(stat("folder/secret").mode() & 0o7777, 0o600 | 0o4000);
    assert_eq!((stat("folder").uid(), stat("folder").gid()), (1234, 4321));
    assert_eq!(stat("").mode() & 0o7777, 0o750, "the volume's own mode");
    let mut value = [0_u8; 8];
    let length = rustix::fs::getxattr(at.join("plain"), "user.colour", &mut value).unwrap();
    assert_eq!(&value[..length], b"red");
    assert_eq!(stat("sparse").len(), 1 << 30);
    let mut middle = [0_u8; 13];
    let file = File::open(at.join("sparse")).unwrap();
    file.read_exact_at(&mut middle, 512 << 20).unwrap();
    assert_eq!(&middle, b"in the middle");
    if sparse {
        assert!(stat("sparse").blocks() < 1024, "holes stay holes: {}", stat("sparse").blocks());
    }
}

#[test]
fn clones_keep_everything() {
    let sandbox = with_busybox(Client::Ferry);
    let origin = furnished(&sandbox);
    assert_eq!(sandbox.ok(&["volume", "clone", "origin", "copy"]), "copy");
    let copy = content(&sandbox, "copy");
    assert_ne!(copy, origin);
    assert_furnished(&copy, true);
    assert_furnished(&origin, true);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q", "--filter", "label=kind=test"]), "copy\norigin");
    fs::write(copy.join("plain"), "others").unwrap();
    assert_eq!(fs::read_to_string(origin.join("plain")).unwrap(), "words\n");
    sandbox.run(&["volume", "clone", "origin", "copy"]).fails(1).says("already exists");
    sandbox.run(&["volume", "clone", "nothing", "new"]).fails(1).says("no such volume");
    sandbox.run(&["volume", "clone", "origin", "a/b"]).fails(1).says("invalid characters");
    sandbox.ok(&["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory"]);
    sandbox.run(&["volume", "clone", "memory", "new"]).fails(1).says("not Ferry's own");
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "copy\nmemory\norigin");
}

#[test]
fn another_name() {
    let sandbox = with_busybox(Client::Ferry);
    let before = furnished(&sandbox);
    sandbox.ok(&["volume", "snapshot", "origin", "first"]);
    sandbox.ok(&["create", "--name", "holder", "-v", "origin:/data", "busybox"]);
    sandbox
        .run(&["volume", "rename", "origin", "renamed"])
        .fails(1)
        .says("volume is in use - [")
        .says("hint: these containers have it: holder");
    sandbox.ok(&["rm", "holder"]);
    sandbox.ok(&["volume", "rename", "origin", "renamed"]);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "renamed");
    assert!(!before.exists());
    assert_furnished(&content(&sandbox, "renamed"), true);
    assert!(sandbox.ok(&["volume", "snapshot", "--ls", "renamed"]).ends_with("first"));
    sandbox.ok(&["volume", "create", "other"]);
    sandbox.run(&["volume", "rename", "renamed", "other"]).fails(1).says("already exists");
    // The name is free again, and what gets it is empty.
    sandbox.ok(&["run", "--rm", "-v", "origin:/d", "busybox", "sh", "-c", "test -z \"$(ls /d)\""]);
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    assert_furnished(&content(&sandbox, "renamed"), true);
}

#[test]
fn snapshots_bring_back() {
    let sandbox = with_busybox(Client::Ferry);
    let at = furnished(&sandbox);
    assert_eq!(sandbox.ok(&["volume", "snapshot", "origin", "first"]), "first");
    sandbox.run(&["volume", "snapshot", "origin", "first"]).fails(1).says("already");
    sandbox.run(&["volume", "snapshot", "origin", "../x"]).fails(1).says("invalid snapshot name");
    fs::write(at.join("plain"), "changed").unwrap();
    fs::remove_dir_all(at.join("folder")).unwrap();
    let second = sandbox.ok(&["volume", "snapshot", "origin"]);
    let listed = sandbox.ok(&["volume", "snapshot", "--ls", "origin"]);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split("  ").nth(1)).collect();
    assert_eq!(names, ["first", &second]);
    // Not below what runs.
    sandbox.ok(&["run", "-d", "--name", "runs", "-v", "origin:/data", "busybox", "sleep", "100"]);
    let restore = ["volume", "restore", "-f", "origin", "first"];
    sandbox
        .run(&restore)
        .fails(1)
        .says("volume is in use by what runs - [")
        .says("hint: these containers have it: runs");
    sandbox.ok(&["stop", "-t", "0", "runs"]);
    assert_eq!(sandbox.ok(&restore), "origin");
    assert_furnished(&at, true);
    sandbox.ok(&["start", "runs"]);
    assert_eq!(sandbox.ok(&["exec", "runs", "cat", "/data/plain"]), "words");
    sandbox.ok(&["rm", "-f", "runs"]);
    sandbox.ok(&["volume", "restore", "-f", "origin", &second]);
    assert_eq!(fs::read_to_string(at.join("plain")).unwrap(), "changed");
    assert_eq!(sandbox.ok(&["volume", "snapshot", "--rm", "origin", &second]), second);
    sandbox
        .run(&["volume", "restore", "--force", "origin", &second])
        .fails(1)
        .says("has no snapshot");
    sandbox.ok(&["volume", "rm", "origin"]);
    assert!(!at.parent().unwrap().exists(), "snapshots go with their volume");
}

#[test]
fn out_and_in_again() {
    let sandbox = with_busybox(Client::Ferry);
    let at = furnished(&sandbox);
    fs::remove_file(at.join("sparse")).unwrap();
    let tar = sandbox.dir().join("origin.tar");
    let tar = tar.to_str().unwrap();
    sandbox.ok(&["volume", "export", "-o", tar, "origin"]);
    assert_eq!(sandbox.ok(&["volume", "import", tar, "again"]), "again");
    let again = content(&sandbox, "again");
    File::create(again.join("sparse")).unwrap().set_len(1 << 30).unwrap();
    let sparse = File::options().write(true).open(again.join("sparse")).unwrap();
    sparse.write_all_at(b"in the middle", 512 << 20).unwrap();
    assert_furnished(&again, true);
    sandbox.run(&["volume", "import", tar, "again"]).fails(1).says("already exists");
    // Through pipes, compressed, and what is no archive.
    let whole = sandbox.with_input(&["volume", "import", "-", "piped"], &fs::read(tar).unwrap());
    assert_eq!(whole.stdout.trim(), "piped");
    sandbox.with_input(&["volume", "import", "-", "bad"], b"no tar at all").fails(1);
    sandbox.with_input(&["volume", "import", "-", "bad"], b"").fails(1).says("empty");
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "again\norigin\npiped");
    nothing_half_made(&sandbox.data().join("volumes"));
}

/// What is being made or taken away has a name with a dot.
fn nothing_half_made(directory: &Path) {
    eventually("nothing half made stays", || {
        let mut entries = fs::read_dir(directory).unwrap().flatten();
        let any = entries.any(|entry| entry.file_name().to_string_lossy().starts_with('.'));
        (!any).then_some(())
    });
}

/// The script appends to `a`, then to `b`: at every moment `a` has as many lines as `b`, or one more.
const TWO_FILES: &str = "while :; do echo x >> /d/a; echo x >> /d/b; done";

fn assert_of_one_moment(at: &Path) {
    let lines = |name: &str| fs::read_to_string(at.join(name)).unwrap().lines().count();
    let (a, b) = (lines("a"), lines("b"));
    assert!(b > 0 && (a == b || a == b + 1), "{a} and {b}");
}

#[test]
fn containers_stand_still_meanwhile() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["volume", "create", "busy"]);
    let at = content(&sandbox, "busy");
    for number in 0..2000 {
        fs::write(at.join(format!("file-{number}")), "x").unwrap();
    }
    sandbox
        .ok(&["run", "-d", "--name", "writer", "-v", "busy:/d", "busybox", "sh", "-c", TWO_FILES]);
    eventually("both files have lines", || {
        fs::metadata(at.join("b")).is_ok_and(|file| file.len() > 0).then_some(())
    });
    let pid = sandbox.inspect("writer", "{{.State.Pid}}");
    sandbox.ok(&["volume", "clone", "busy", "copy"]);
    assert_of_one_moment(&content(&sandbox, "copy"));
    sandbox.ok(&["volume", "snapshot", "busy", "one"]);
    assert_of_one_moment(&at.parent().unwrap().join("snapshots/one/_data"));
    let tar = sandbox.dir().join("busy.tar");
    sandbox.ok(&["volume", "export", "--output", tar.to_str().unwrap(), "busy"]);
    sandbox.ok(&["volume", "import", tar.to_str().unwrap(), "unpacked"]);
    assert_of_one_moment(&content(&sandbox, "unpacked"));
    assert_eq!(
        sandbox.inspect("writer", "{{.State.Status}} {{.State.Pid}}"),
        format!("running {pid}")
    );
    let length = || fs::metadata(at.join("a")).unwrap().len();
    let before = length();
    eventually("the container goes on", || (length() > before).then_some(()));
}

#[test]
fn a_daemon_that_dies_meanwhile_leaves_nothing() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox
        .ok(&["run", "-d", "--name", "writer", "-v", "busy:/d", "busybox", "sh", "-c", TWO_FILES]);
    let at = content(&sandbox, "busy");
    eventually("both files have lines", || {
        fs::metadata(at.join("b")).is_ok_and(|file| file.len() > 0).then_some(())
    });
    for (point, command) in [
        ("volume.frozen", ["volume", "snapshot", "busy", "new"]),
        ("volume.copied", ["volume", "clone", "busy", "new"]),
    ] {
        sandbox.stop_daemon();
        sandbox.start_daemon(Some(point));
        sandbox.run(&command).fails(1);
        sandbox.wait_for_death();
        sandbox.start_daemon(None);
        assert_eq!(sandbox.inspect("writer", "{{.State.Status}}"), "running", "{point}");
        let length = || fs::metadata(at.join("a")).unwrap().len();
        let before = length();
        eventually("the container goes on", || (length() > before).then_some(()));
        assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "busy");
        assert_eq!(sandbox.ok(&["volume", "snapshot", "--ls", "busy"]), "");
        for directory in [sandbox.data().join("volumes"), at.parent().unwrap().to_owned()] {
            nothing_half_made(&directory);
        }
    }
    sandbox.ok(&["volume", "clone", "busy", "new"]);
    assert_of_one_moment(&content(&sandbox, "new"));
}
