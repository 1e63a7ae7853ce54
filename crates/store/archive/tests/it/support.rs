//! What the tests of this crate share: a directory that goes away, layers, pictures of trees.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use ferry_archive::{
    Applied, ApplyError, DIFF, Entry, Options, RecipeReader, RecipeWriter, Source, TarWriter,
    TreeOptions, apply, write_tree,
};
use ferry_oci::Digest;

/// A directory that is removed when the test ends.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ferry-archive-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let parent = File::open(self.0.parent().unwrap()).unwrap();
        ferry_archive::remove_tree(parent.as_fd(), self.0.file_name().unwrap().as_bytes()).unwrap();
    }
}

/// An unpacked layer and the directory around it.
pub(crate) struct Layer {
    pub(crate) dir: Dir,
    pub(crate) applied: Applied,
}

impl Layer {
    pub(crate) fn diff(&self) -> PathBuf {
        self.dir.path().join(DIFF)
    }

    /// The tar again, from recipe and files.
    pub(crate) fn tar(&self) -> std::io::Result<Vec<u8>> {
        let layer = File::open(self.dir.path()).unwrap();
        let mut tar = Vec::new();
        RecipeReader::open(layer.as_fd()).unwrap().read_to_end(&mut tar)?;
        let mut strict = Vec::new();
        RecipeReader::open(layer.as_fd()).unwrap().strict().read_to_end(&mut strict)?;
        assert!(tar == strict);
        Ok(tar)
    }
}

pub(crate) fn try_unpack(stream: impl Read) -> Result<Layer, ApplyError> {
    let dir = Dir::new();
    fs::create_dir(dir.path().join(DIFF)).unwrap();
    let diff = File::open(dir.path().join(DIFF)).unwrap();
    let layer = File::open(dir.path()).unwrap();
    let recipe = RecipeWriter::create(layer.as_fd()).unwrap();
    let applied = apply(stream, diff.as_fd(), &Options::default(), recipe)?;
    Ok(Layer { dir, applied })
}

/// Unpacks a plain tar, and checks that the recipe gives it back bit for bit.
#[track_caller]
pub(crate) fn unpack(tar: &[u8]) -> Layer {
    let layer = try_unpack(tar).unwrap_or_else(|error| panic!("{}", report(&error)));
    assert_eq!(layer.applied.diff_id, Digest::sha256_of(tar));
    assert_eq!(layer.applied.tar_size, tar.len() as u64);
    assert!(layer.tar().unwrap() == tar, "the recipe gives another tar");
    layer
}

/// The error of a stream that must not unpack, with its causes.
#[track_caller]
pub(crate) fn refused(tar: &[u8]) -> String {
    match try_unpack(tar) {
        Ok(_) => panic!("it was unpacked"),
        Err(error) => report(&error),
    }
}

pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// An archive of these entries; each has its payload beside it.
pub(crate) fn archive(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (entry, payload) in entries {
        tar.append_file(entry, *payload).unwrap();
    }
    tar.finish().unwrap()
}

/// A directory's layer tar.
pub(crate) fn pack(directory: &Path, source: Source) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    write_tree(File::open(directory).unwrap().as_fd(), &TreeOptions::layer(source), &mut tar)
        .unwrap();
    tar.finish().unwrap()
}

/// Runs a program that must succeed; gives its output.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str], directory: &Path, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(directory)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} (a Debian package of that name): {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // A program that stops reading early is judged by its status.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    let (status, stderr) = (output.status, String::from_utf8_lossy(&output.stderr));
    assert!(status.success(), "{program} {args:?}: {status}\n{stderr}");
    output.stdout
}

/// Everything there is to see of a tree, one line a path. Hard links show as the number of their group.
pub(crate) fn picture(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut lines = BTreeMap::new();
    let mut groups = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let path = root.join(&relative);
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            let children = fs::read_dir(&path).unwrap();
            let mut names: Vec<_> = children.map(|child| child.unwrap().file_name()).collect();
            names.sort();
            // Popped from the end, so in order: groups are numbered by their first path.
            pending.extend(names.iter().rev().map(|name| relative.join(name)));
            "dir".into()
        } else if kind.is_symlink() {
            format!("-> {:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            let text = fs::read(&path).unwrap();
            format!("file {} {}", text.len(), Digest::sha256_of(&text))
        } else if kind.is_fifo() {
            "fifo".into()
        } else {
            format!("dev {kind:?} {:x}", meta.rdev())
        };
        let next = groups.len();
        let group = match meta.nlink() {
            1 => String::new(),
            _ if kind.is_dir() => String::new(),
            links => {
                format!("links {links} group {}", groups.entry(meta.ino()).or_insert(next))
            }
        };
        let line = format!(
            "{what} {:o} {}:{} {}.{:09} {:?} {group}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            xattrs(&path)
        );
        lines.insert(relative.as_os_str().as_bytes().to_vec(), line);
    }
    lines
}

pub(crate) fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect()
}

pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

pub(crate) fn set_mtime(path: &Path, seconds: i64, nanos: u32) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, flags).unwrap();
}

pub(crate) fn mknod(path: &Path, kind: rustix::fs::FileType, major: u32, minor: u32) {
    let device = rustix::fs::makedev(major, minor);
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, device).unwrap();
}

pub(crate) fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// A `security.capability` value: `cap_net_bind_service=ep`.
pub(crate) const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
