//! The daemon is killed in the middle of everything that Ferry does with a volume as a whole: afterwards there is what was before, or what
//! was to be, and nothing half; on file systems whose files share blocks and on those whose files do not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use ferry_testkit::Sandbox;

use crate::reflinks::Mounted;

/// So many files does the volume have that is worked on: enough for a moment in which some are copied.
const MANY: usize = 1500;
const FEW: usize = 50;

/// A daemon with the volume `origin`, whose files say "new", and its snapshot `kept`, whose files say "old".
struct Daemon {
    // First of all it ends.
    sandbox: Sandbox,
    disk: Option<Mounted>,
}

impl Daemon {
    /// None, where this machine has no such file system.
    fn new(kind: Option<&str>) -> Option<Daemon> {
        let sandbox = Sandbox::prepared(&[]);
        let disk = match kind {
            Some(kind) => {
                let (image, place) = (sandbox.dir().join("image"), sandbox.data().join("volumes"));
                Some(Mounted::new(kind, &["-q"], &image, &place)?)
            }
            None => None,
        };
        sandbox.start_daemon(None);
        Some(Daemon { sandbox, disk })
    }

    fn volumes(&self) -> PathBuf {
        self.sandbox.data().join("volumes")
    }

    fn content(&self, volume: &str) -> PathBuf {
        self.volumes().join(volume).join("_data")
    }

    fn furnish(&self, files: usize) {
        self.sandbox.ok(&["volume", "create", "origin"]);
        let write = |word: &str| {
            for number in 0..files {
                fs::write(self.content("origin").join(format!("file-{number}")), word).unwrap();
            }
        };
        write("old");
        self.sandbox.ok(&["volume", "snapshot", "origin", "kept"]);
        write("new");
    }

    fn again(&self, failpoint: Option<&str>) {
        self.sandbox.stop_daemon();
        self.sandbox.start_daemon(failpoint);
    }

    fn names(&self) -> String {
        self.sandbox.ok(&["volume", "ls", "-q"]).replace('\n', " ")
    }

    fn snapshots(&self, volume: &str) -> String {
        let listed = self.sandbox.ok(&["volume", "snapshot", "--ls", volume]);
        let names: Vec<&str> = listed.lines().filter_map(|line| line.split("  ").nth(1)).collect();
        names.join(" ")
    }

    /// Nothing that only we know is left, and records and directories are the same.
    fn assert_tidy(&self, when: &str) {
        let mut directories = entries(&self.volumes());
        // Of a file system's own.
        directories.retain(|name| name != "lost+found");
        assert_eq!(directories.join(" "), self.names(), "{when}");
        for volume in directories {
            let inside = entries(&self.volumes().join(&volume));
            let known = |name: &String| matches!(name.as_str(), "_data" | "snapshots");
            assert!(inside.iter().all(known), "{when}: {volume} has {inside:?}");
        }
    }

    fn end(self) {
        for volume in self.names().split(' ').filter(|name| !name.is_empty()) {
            self.sandbox.ok(&["volume", "rm", volume]);
        }
        self.sandbox.stop_daemon();
        drop(self.disk);
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All files are there, and say the same.
fn assert_whole(place: &Path, files: usize, word: &str, when: &str) {
    let names = entries(place);
    assert_eq!(names.len(), files, "{when}: {}", place.display());
    for name in names {
        assert_eq!(fs::read_to_string(place.join(name)).unwrap(), word, "{when}");
    }
}

/// What there is after a death: volumes, what is in `origin` or what it is called then, and the snapshots.
struct Left {
    volumes: &'static str,
    name: &'static str,
    word: &'static str,
    snapshots: &'static str,
}

/// Nothing has happened.
const BEFORE: Left = Left { volumes: "origin", name: "origin", word: "new", snapshots: "kept" };

fn dies_between_two_steps(kind: Option<&str>) {
    let Some(daemon) = Daemon::new(kind) else { return };
    let tar = daemon.sandbox.dir().join("origin.tar");
    let tar = tar.to_str().unwrap();
    let done = |volumes, word, snapshots| Left { volumes, name: "origin", word, snapshots };
    let steps: [(&str, &[&str], Left); 11] = [
        ("volume.copied", &["clone", "origin", "clone"], BEFORE),
        ("volume.recorded", &["clone", "origin", "clone"], done("clone origin", "new", "kept")),
        ("volume.copied", &["import", tar, "clone"], BEFORE),
        ("volume.recorded", &["import", tar, "clone"], done("clone origin", "new", "kept")),
        ("volume.kept", &["snapshot", "origin", "more"], BEFORE),
        (
            "volume.snapshot.aside",
            &["snapshot", "--rm", "origin", "kept"],
            done("origin", "new", ""),
        ),
        ("volume.restore.copied", &["restore", "-f", "origin", "kept"], BEFORE),
        (
            "volume.restore.exchanged",
            &["restore", "-f", "origin", "kept"],
            done("origin", "old", "kept"),
        ),
        (
            "volume.renamed",
            &["rename", "origin", "other"],
            Left { volumes: "other", name: "other", ..BEFORE },
        ),
        ("volume.aside", &["rm", "origin"], BEFORE),
        ("volume.forgotten", &["rm", "origin"], Left { volumes: "", name: "", ..BEFORE }),
    ];
    for (point, words, left) in steps {
        daemon.furnish(FEW);
        daemon.sandbox.ok(&["volume", "export", "-o", tar, "origin"]);
        daemon.again(Some(point));
        daemon.sandbox.run(&[&["volume"], words].concat()).fails(1);
        daemon.sandbox.wait_for_death();
        daemon.sandbox.start_daemon(None);
        let when = format!("{words:?} killed at {point}");
        daemon.assert_tidy(&when);
        assert_eq!(daemon.names(), left.volumes, "{when}");
        for volume in left.volumes.split(' ').filter(|name| !name.is_empty()) {
            let is_copy = volume != left.name;
            let word = if is_copy { "new" } else { left.word };
            assert_whole(&daemon.content(volume), FEW, word, &when);
            let snapshots = if is_copy { "" } else { left.snapshots };
            assert_eq!(daemon.snapshots(volume), snapshots, "{when}");
            daemon.sandbox.ok(&["volume", "rm", volume]);
        }
        // What is made under that name later has nothing of it.
        daemon.sandbox.ok(&["volume", "create", "origin"]);
        assert!(entries(&daemon.content("origin")).is_empty(), "{when}");
        daemon.sandbox.ok(&["volume", "rm", "origin"]);
    }
    daemon.end();
}

/// While files are copied: as soon as there are some of them, or when there are all.
fn dies_while_it_copies(kind: Option<&str>) {
    let Some(daemon) = Daemon::new(kind) else { return };
    daemon.furnish(MANY);
    let of_origin = daemon.volumes().join("origin");
    let commands: [(&[&str], PathBuf); 3] = [
        (&["clone", "origin", "clone"], daemon.volumes().join(".new-clone/_data")),
        (&["snapshot", "origin", "more"], of_origin.join(".partial-more/_data")),
        (&["restore", "-f", "origin", "kept"], of_origin.join(".restore")),
    ];
    for (words, partial) in commands {
        let mut command = daemon.sandbox.command(&[&["volume"], words].concat());
        let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while client.try_wait().unwrap().is_none() && Instant::now() < end {
            if fs::read_dir(&partial).is_ok_and(|mut entries| entries.next().is_some()) {
                break;
            }
        }
        daemon.sandbox.kill_daemon();
        client.wait().unwrap();
        daemon.sandbox.start_daemon(None);
        let when = format!("{words:?}");
        daemon.assert_tidy(&when);
        let word = fs::read_to_string(daemon.content("origin").join("file-0")).unwrap();
        assert!(word == "new" || (word == "old" && words[0] == "restore"), "{when}: {word}");
        assert_whole(&daemon.content("origin"), MANY, &word, &when);
        assert_whole(&of_origin.join("snapshots/kept/_data"), MANY, "old", &when);
        if daemon.names() != "origin" {
            assert_eq!(daemon.names(), "clone origin");
            assert_whole(&daemon.content("clone"), MANY, "new", &when);
        }
        if daemon.snapshots("origin") != "kept" {
            assert_eq!(daemon.snapshots("origin"), "kept more");
            assert_whole(&of_origin.join("snapshots/more/_data"), MANY, "new", &when);
        }
    }
    daemon.end();
}

#[test]
fn a_daemon_that_dies_between_two_steps() {
    dies_between_two_steps(None);
}

#[test]
fn a_daemon_that_dies_between_two_steps_on_btrfs() {
    dies_between_two_steps(Some("btrfs"));
}

#[test]
fn a_daemon_that_dies_while_it_copies() {
    dies_while_it_copies(None);
}

#[test]
fn a_daemon_that_dies_while_it_copies_on_btrfs() {
    dies_while_it_copies(Some("btrfs"));
}

/// Somebody has mounted a disk where a volume's content is: what is on it is not the volume's to remove.
#[test]
fn what_is_mounted_there_is_not_removed() {
    let sandbox = Sandbox::start();
    let disk = sandbox.dir().join("disk");
    fs::create_dir(&disk).unwrap();
    fs::write(disk.join("precious"), "x").unwrap();
    sandbox.ok(&["volume", "create", "plain"]);
    let place = sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "plain"]);
    rustix::mount::mount_bind(&disk, place.as_str()).unwrap();
    let removed = sandbox.run(&["volume", "rm", "plain"]);
    let pruned = sandbox.run(&["volume", "prune", "-f", "-a"]);
    let kept = disk.join("precious").exists();
    rustix::mount::unmount(place.as_str(), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(kept);
    removed.fails(1).says("something else is mounted at");
    pruned.fails(1).says("something else is mounted at");
    sandbox.ok(&["volume", "rm", "plain"]);
    assert!(disk.join("precious").exists());
}
