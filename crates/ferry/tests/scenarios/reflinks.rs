//! Volumes on file systems whose files can share blocks: copies of them cost nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{Sandbox, programs, run};

/// A file system in a file, mounted; it goes with this.
struct Mounted(PathBuf);

impl Mounted {
    /// None, and a line that says so, where this machine has no loop devices or not that file system.
    fn new(kind: &str, flags: &[&str], image: &Path, place: &Path) -> Option<Mounted> {
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

fn copies_share_blocks(kind: &str, flags: &[&str]) {
    let sandbox = Sandbox::prepared(&[]);
    let (image, place) = (sandbox.dir().join("image"), sandbox.data().join("volumes"));
    let Some(disk) = Mounted::new(kind, flags, &image, &place) else { return };
    sandbox.start_daemon(None);
    sandbox.ok(&["volume", "create", "origin"]);
    let file = content(&sandbox, "origin").join("file");
    let mut random = fs::File::open("/dev/urandom").unwrap();
    let mut bytes = vec![0; usize::try_from(SIZE).unwrap()];
    std::io::Read::read_exact(&mut random, &mut bytes).unwrap();
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
