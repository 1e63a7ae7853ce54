//! Volumes and layers on file systems whose files can share blocks: copies cost nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{Sandbox, programs, run};

/// A file system in a file, mounted; it goes with this.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// None, and a line that says so, where this machine has no loop devices or not that file system.
    pub(crate) fn new(kind: &str, flags: &[&str], image: &Path, place: &Path) -> Option<Mounted> {
        let maker = programs::find(&format!("mkfs.{kind}"))?;
        // The smallest that mkfs.xfs makes.
        fs::File::create(image).unwrap().set_len(320 << 20).unwrap();
        run(Command::new(maker).args(flags).arg(image)).ok();
        fs::create_dir_all(place).unwrap();
        let mut mount = Command::new("mount");
        let mounted = run(mount.args(["-o", "loop", "-t", kind]).arg(image).arg(place));
        if mounted.code != 0 {
            eprintln!("SKIPPED: {kind} cannot be mounted here: {}", mounted.stderr.trim());
            return None;
        }
        Some(Mounted(place.to_owned()))
    }

    /// Bytes in use, with everything written.
    fn used(&self) -> u64 {
        run(Command::new("sync").arg("-f").arg(&self.0)).ok();
        let all = rustix::fs::statvfs(&self.0).unwrap();
        (all.f_blocks - all.f_bfree) * all.f_frsize
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(run(Command::new("umount").arg("-l").arg(&self.0)));
    }
}

/// 32 MiB that no file system can make smaller.
const SIZE: u64 = 32 << 20;

fn content(sandbox: &Sandbox, volume: &str) -> PathBuf {
    PathBuf::from(sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", volume]))
}

fn random() -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(SIZE).unwrap()];
    let mut random = fs::File::open("/dev/urandom").unwrap();
    std::io::Read::read_exact(&mut random, &mut bytes).unwrap();
    bytes
}

/// What a build copies of a directory beside the layers takes no room, and is what it was, whoever changes the original.
fn builds_share_blocks(kind: &str, flags: &[&str]) {
    let sandbox = Sandbox::prepared(&[]);
    let (image, place) = (sandbox.dir().join("image"), sandbox.data());
    let Some(disk) = Mounted::new(kind, flags, &image, &place) else { return };
    sandbox.start_daemon(None);
    let context = place.join("a-context");
    fs::create_dir(&context).unwrap();
    let dockerfile = "FROM scratch AS one\nCOPY large small /d/\n\
        FROM scratch\nCOPY --chown=7:8 --chmod=640 large small /d/\nCOPY --from=one /d /e/\n";
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let bytes = random();
    fs::write(context.join("large"), &bytes).unwrap();
    fs::write(context.join("small"), "small\n").unwrap();
    let before = disk.used();
    sandbox.ok(&["build", "-q", "-t", "shared", context.to_str().unwrap()]);
    let grown = disk.used().saturating_sub(before);
    assert!(grown < SIZE / 4, "{kind}: three copies took {grown} bytes more");
    fs::write(context.join("large"), "changed").unwrap();
    let archive = sandbox.dir().join("shared.tar");
    sandbox.ok(&["save", "-o", archive.to_str().unwrap(), "shared"]);
    sandbox.ok(&["create", "--name", "box", "shared", "x"]);
    let out = sandbox.dir().join("out");
    fs::create_dir(&out).unwrap();
    for path in ["d", "e"] {
        sandbox.ok(&["cp", "-a", &format!("box:/{path}"), out.to_str().unwrap()]);
        assert!(fs::read(out.join(path).join("large")).unwrap() == bytes, "{kind}: {path}");
        assert_eq!(fs::read_to_string(out.join(path).join("small")).unwrap(), "small\n");
    }
    let tar = sandbox.dir().join("box.tar");
    sandbox.ok(&["export", "-o", tar.to_str().unwrap(), "box"]);
    let listed = run(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&tar)).ok();
    for start in ["-rw-r----- 7/8 ", "-rw-r--r-- 0/0 "] {
        let of = |line: &&str| line.starts_with(start) && line.ends_with("/large");
        assert_eq!(listed.lines().filter(of).count(), 1, "{start}: {listed}");
    }
    sandbox.stop_daemon();
    drop(disk);
}

fn copies_share_blocks(kind: &str, flags: &[&str]) {
    let sandbox = Sandbox::prepared(&[]);
    let (image, place) = (sandbox.dir().join("image"), sandbox.data().join("volumes"));
    let Some(disk) = Mounted::new(kind, flags, &image, &place) else { return };
    sandbox.start_daemon(None);
    sandbox.ok(&["volume", "create", "origin"]);
    let file = content(&sandbox, "origin").join("file");
    let bytes = random();
    fs::write(&file, &bytes).unwrap();
    let before = disk.used();
    sandbox.ok(&["volume", "clone", "origin", "copy"]);
    sandbox.ok(&["volume", "snapshot", "origin", "kept"]);
    fs::write(&file, "changed").unwrap();
    sandbox.ok(&["volume", "restore", "-f", "origin", "kept"]);
    let grown = disk.used().saturating_sub(before);
    assert!(grown < SIZE / 4, "{kind}: three copies took {grown} bytes more");
    for volume in ["origin", "copy"] {
        let copy = fs::read(content(&sandbox, volume).join("file")).unwrap();
        assert!(copy == bytes, "{kind}: {volume} is what was written");
    }
    // Whoever writes one changes that one.
    fs::write(content(&sandbox, "copy").join("file"), "other").unwrap();
    assert!(fs::read(&file).unwrap() == bytes, "{kind}: the original stays");
    sandbox.ok(&["volume", "rm", "copy", "origin"]);
    sandbox.stop_daemon();
    drop(disk);
}

#[test]
fn copies_share_blocks_on_btrfs() {
    copies_share_blocks("btrfs", &["-q"]);
}

#[test]
fn copies_share_blocks_on_xfs() {
    copies_share_blocks("xfs", &["-q", "-f", "-m", "reflink=1"]);
}

#[test]
fn builds_share_blocks_on_btrfs() {
    builds_share_blocks("btrfs", &["-q"]);
}

#[test]
fn builds_share_blocks_on_xfs() {
    builds_share_blocks("xfs", &["-q", "-f", "-m", "reflink=1"]);
}

/// A limit that the file system cannot keep is none: it is refused, in Docker's words and with what would help.
fn limits_are_refused(kind: &str, flags: &[&str]) {
    let sandbox = Sandbox::prepared(&[]);
    let (image, place) = (sandbox.dir().join("image"), sandbox.data().join("volumes"));
    let Some(disk) = Mounted::new(kind, flags, &image, &place) else { return };
    sandbox.start_daemon(None);
    for (option, what) in [("size=1m", "size"), ("inodes=10", "inodes")] {
        sandbox
            .run(&["volume", "create", "-o", option, "limited"])
            .fails(1)
            .says(&format!("quota {what} requested but no quota support"))
            .says("hint: the data root's file system must be ext4 or xfs, mounted with prjquota");
    }
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "", "{kind}");
    assert!(!place.join("limited").exists(), "{kind}");
    sandbox.stop_daemon();
    drop(disk);
}

#[test]
fn limits_are_refused_on_btrfs() {
    limits_are_refused("btrfs", &["-q"]);
}

#[test]
fn limits_are_refused_on_ext4_that_does_not_count() {
    limits_are_refused("ext4", &["-q", "-F"]);
}
