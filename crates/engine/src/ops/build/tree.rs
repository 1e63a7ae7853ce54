//! What `COPY` takes from: the context, a stage, an image. Paths are looked up inside it, and patterns are matched there.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use ferry_archive::{DigestOptions, Memory, Owner, Sink, TarWriter, Times, TreeOptions};
use ferry_dockerfile::{IgnoreFile, path_matches};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, Hasher};
use ferry_sys::{Errno, root::InRoot};
use rustix::fs::{Dir, FileType, OFlags};

use super::known::Known;

/// Deepest directory that `**` looks into.
const MAX_DEPTH: usize = 200;

/// Bytes between two threads; what users may have without privileges.
const PIPE: usize = 1 << 20;

/// Most files that one pattern may mean.
const MAX_MATCHES: usize = 100_000;

/// Files that instructions copy from: a context, a stage, an image.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) root: InRoot,
    /// What is not to be seen: `.dockerignore`.
    pub(super) hidden: IgnoreFile,
    /// Whose they are in the image: as they are, or root's.
    pub(super) owner: Owner,
    /// What earlier builds found in these files, where they may still be the same.
    pub(super) known: Option<Arc<Known>>,
    /// When they all were changed, in seconds, whatever their directory says.
    pub(super) dated: Option<i64>,
}

impl Files {
    /// Files of an image.
    pub(super) fn all(root: InRoot) -> Files {
        Files {
            root,
            hidden: IgnoreFile::default(),
            owner: Owner::Archived,
            known: None,
            dated: None,
        }
    }

    /// Files of a context.
    pub(super) fn of_context(root: InRoot, hidden: IgnoreFile) -> Files {
        Files { root, hidden, owner: Owner::Fixed { uid: 0, gid: 0 }, known: None, dated: None }
    }

    /// Whether a path, relative, cannot be seen, nor anything below it.
    fn hides(&self, path: &str) -> bool {
        !self.hidden.is_empty()
            && self.hidden.ignores(path)
            && !lets_in(&self.root, path, "", &|path| self.hidden.ignores(path), &self.hidden)
    }
}

/// Whether an exception lets something below a directory in. `path` is where it is, `own` what the patterns call it.
fn lets_in(
    root: &InRoot,
    path: &str,
    own: &str,
    ignores: &dyn Fn(&str) -> bool,
    patterns: &IgnoreFile,
) -> bool {
    let shown = |name: &str| if own.is_empty() { join(path, name) } else { join(own, name) };
    let kind = root.file_type(Path::new(&format!("/{path}")));
    patterns.has_exceptions()
        && matches!(kind, Ok(Some(FileType::Directory)))
        && names(root, path).iter().any(|name| {
            let below = shown(name);
            let deeper = if own.is_empty() { "" } else { below.as_str() };
            !ignores(&below) || lets_in(root, &join(path, name), deeper, ignores, patterns)
        })
}

/// A file or directory that is to be copied.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its path as it was found, relative.
    pub(super) written: String,
    /// The last component as it was written: what it is called where it goes.
    pub(super) name: Vec<u8>,
    /// Where it is, without links.
    pub(super) path: PathBuf,
    /// Whether it is a directory: its content is copied then.
    pub(super) directory: bool,
    /// Its mode.
    pub(super) mode: u32,
    /// When it was changed, in seconds.
    pub(super) modified: i64,
}

/// How a path is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookup {
    /// In a stage or an image, not in the context.
    pub(super) stage: bool,
    /// With `--parents`.
    pub(super) parents: bool,
}

impl Found {
    /// Looks a path up, or everything that a pattern means. `**` is for `--parents` only.
    pub(super) fn all(files: &Files, written: &str, how: Lookup) -> Result<Vec<Found>, Failure> {
        let clean = ferry_archive::clean(format!("/{written}").as_bytes());
        let clean = clean.map_err(|error| invalid(error.to_string()))?;
        let clean = String::from_utf8_lossy(&clean).into_owned();
        let paths = match clean.contains(['*', '?', '[']) {
            true => matches(files, &clean, how.parents)?,
            false => vec![clean.clone()],
        };
        if paths.is_empty() {
            return Err(Failure::new(
                ErrorKind::NotFound,
                match how.stage {
                    true => "COPY failed: no source files were specified".to_owned(),
                    false => format!("lstat {written}: no such file or directory"),
                },
            ));
        }
        paths.iter().map(|path| Found::one(files, path, written, how)).collect()
    }

    fn one(files: &Files, path: &str, written: &str, how: Lookup) -> Result<Found, Failure> {
        let root = &files.root;
        let missing = |errno: Errno| {
            let (place, why) = match (how.stage, errno) {
                (false, Errno::NOENT | Errno::NOTDIR) => (
                    "file not found in build context or excluded by .dockerignore: ",
                    "file does not exist".to_owned(),
                ),
                (true, Errno::NOENT | Errno::NOTDIR) => ("", "file does not exist".to_owned()),
                (_, errno) => ("", errno.to_string()),
            };
            Failure::new(ErrorKind::NotFound, format!("COPY failed: {place}stat {written}: {why}"))
        };
        if files.hides(path) {
            return Err(missing(Errno::NOENT));
        }
        let found = root.resolve(Path::new(&format!("/{path}"))).map_err(missing)?;
        let kind = ferry_sys::root::file_type(found.as_fd()).map_err(missing)?;
        let real = root.real_path(found.as_fd()).map_err(missing)?;
        let name = Path::new(path).file_name().map(|name| name.as_bytes().to_vec());
        let directory = kind == FileType::Directory;
        let stat = rustix::fs::fstat(&found).map_err(missing)?;
        Ok(Found {
            written: path.to_owned(),
            name: name.unwrap_or_default(),
            path: real,
            directory,
            mode: stat.st_mode & 0o7777,
            modified: files.dated.unwrap_or(stat.st_mtime),
        })
    }

    /// Its path, for people.
    pub(super) fn shown(&self) -> &str {
        if self.written.is_empty() { "." } else { &self.written }
    }

    /// Opens a file.
    pub(super) fn open(&self, files: &Files) -> Result<OwnedFd, Failure> {
        files
            .root
            .open_with(&self.path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW, 0)
            .map_err(|errno| invalid(format!("cannot open {}: {errno}", self.path.display())))
    }

    /// Writes it as a tar: a directory's content as `./…`, anything else under `name`.
    pub(super) fn write(
        &self,
        files: &Files,
        name: &[u8],
        exclude: &IgnoreFile,
        out: impl Write,
    ) -> Result<(), Failure> {
        let times = files.dated.map_or(Times::Own, Times::At);
        let mut tar = TarWriter::new(out).timed(times);
        self.give(files, name, exclude, &mut tar)?;
        tar.finish().map(drop).map_err(|error| self.failed(&error))
    }

    /// Hands everything to somebody, one by one, under the same names, but as old as it is.
    pub(super) fn give(
        &self,
        files: &Files,
        name: &[u8],
        exclude: &IgnoreFile,
        to: &mut impl Sink,
    ) -> Result<(), Failure> {
        let root = &files.root;
        let skip = self.skipped(files, exclude);
        let options =
            TreeOptions { skip: &skip, keep: ferry_archive::Keep::Layer, ..TreeOptions::COPY };
        if self.directory {
            let directory = root
                .open_with(&self.path, OFlags::PATH | OFlags::DIRECTORY, 0)
                .map_err(|error| self.failed(&error))?;
            ferry_archive::write_resource(directory.as_fd(), b".", b".", &options, to)
                .map_err(|error| self.failed(&error))
        } else {
            let (parent, own) = root.parent(&self.path).map_err(|error| self.failed(&error))?;
            ferry_archive::write_resource(parent.as_fd(), own.as_bytes(), name, &options, to)
                .map_err(|error| self.failed(&error))
        }
    }

    fn failed(&self, error: &dyn std::error::Error) -> Failure {
        let why = ferry_errkind::chain(error);
        Failure::new(ErrorKind::Internal, format!("cannot copy {}: {why}", self.path.display()))
    }

    /// A digest of names, modes, owners and contents, not of times.
    pub(super) fn digest(&self, files: &Files, exclude: &IgnoreFile) -> Result<Digest, Failure> {
        let failed = |error: &dyn std::error::Error| {
            let why = ferry_errkind::chain(error);
            Failure::new(ErrorKind::Internal, format!("cannot read {}: {why}", self.path.display()))
        };
        let skip = self.skipped(files, exclude);
        let options = DigestOptions {
            owner: match files.owner {
                Owner::Fixed { uid, gid } => Some((uid, gid)),
                _ => None,
            },
            skip: &skip,
            memory: files.known.as_deref().map(|known| known as &dyn Memory),
        };
        let sum = if self.directory {
            let directory = files
                .root
                .open_with(&self.path, OFlags::PATH | OFlags::DIRECTORY, 0)
                .map_err(|error| failed(&error))?;
            ferry_archive::digest_tree(directory.as_fd(), b".", &options)
        } else {
            let (parent, own) = files.root.parent(&self.path).map_err(|error| failed(&error))?;
            ferry_archive::digest_tree(parent.as_fd(), own.as_bytes(), &options)
        };
        let mut hasher = Hasher::new();
        hasher.update(&self.name);
        hasher.update(sum.map_err(|error| failed(&error))?.as_bytes());
        Ok(hasher.finish())
    }

    /// Every file below it with its digest; nothing where there are more than `most`, or something cannot be read.
    pub(super) fn files(&self, files: &Files, most: usize) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let base = self.path.to_string_lossy().trim_start_matches('/').to_owned();
        let mut left = vec![(base, String::new())];
        while let Some((path, shown)) = left.pop() {
            let kind = files.root.file_type(Path::new(&format!("/{path}")));
            let directory = matches!(kind, Ok(Some(FileType::Directory)));
            if directory && left.len() < most {
                let names = names(&files.root, &path).into_iter();
                let below = names.map(|name| (join(&path, &name), join(&shown, &name)));
                left.extend(below.filter(|(path, _)| !files.hides(path)));
                continue;
            }
            let one = Found { path: Path::new("/").join(&path), directory: false, ..self.clone() };
            let Ok(digest) = one.digest(files, &IgnoreFile::default()) else {
                return BTreeMap::new();
            };
            let shown = if shown.is_empty() { self.shown().to_owned() } else { shown };
            found.insert(shown, digest.hex().chars().take(16).collect());
            if directory || found.len() > most {
                return BTreeMap::new();
            }
        }
        found
    }

    /// Which paths below it are left out.
    fn skipped<'a>(
        &'a self,
        files: &'a Files,
        exclude: &'a IgnoreFile,
    ) -> impl Fn(&[u8]) -> bool + Sync + 'a {
        let base = self.path.to_string_lossy().trim_start_matches('/').to_owned();
        let nothing = exclude.is_empty() && files.hidden.is_empty();
        move |path: &[u8]| {
            if !self.directory || nothing {
                return false;
            }
            let text = String::from_utf8_lossy(path);
            let full = join(&base, &text);
            let excluded = || {
                exclude.ignores(&text)
                    && !lets_in(&files.root, &full, &text, &|it| exclude.ignores(it), exclude)
            };
            excluded() || files.hides(&full)
        }
    }
}

/// What one thread writes and this one reads. The writer's failure is the reason for the reader's.
pub(super) fn piped<T>(
    write: impl FnOnce(io::BufWriter<io::PipeWriter>) -> Result<(), Failure> + Send,
    read: impl FnOnce(io::PipeReader) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let broken = |error: io::Error| Failure::new(ErrorKind::Internal, error.to_string());
    let (input, output) = io::pipe().map_err(broken)?;
    // With the usual 64 KiB the two would wait for each other all the time. Whoever may not have more has that.
    rustix::pipe::fcntl_setpipe_size(&output, PIPE).ok();
    std::thread::scope(|scope| {
        let work = move || write(io::BufWriter::with_capacity(PIPE / 4, output));
        let writer = std::thread::Builder::new()
            .name("copy".to_owned())
            .spawn_scoped(scope, work)
            .map_err(broken)?;
        let result = read(input);
        let written = writer.join().unwrap_or_else(|_| {
            Err(Failure::new(ErrorKind::Internal, "the thread that copies ended early"))
        });
        match (result, written) {
            (result @ Ok(_), Ok(())) => result,
            (Err(failure), Ok(())) => Err(failure),
            // A reader that stopped early breaks the writer's pipe: its own reason is the better one.
            (Err(failure), Err(other)) if other.message().contains("roken pipe") => Err(failure),
            (_, Err(failure)) => Err(failure),
        }
    })
}

/// Everything that a pattern means, sorted.
fn matches(files: &Files, pattern: &str, deep: bool) -> Result<Vec<String>, Failure> {
    let mut found = vec![String::new()];
    for component in pattern.split('/') {
        let mut next = Vec::new();
        for base in found {
            if !component.contains(['*', '?', '[', '\\']) {
                next.push(join(&base, component));
                continue;
            }
            if deep && component == "**" {
                directories(files, &base, &mut next, MAX_DEPTH)?;
                continue;
            }
            for name in names(&files.root, &base) {
                let fits = path_matches(component, &name);
                if fits.ok_or_else(|| invalid(format!("syntax error in pattern {pattern:?}")))? {
                    next.push(join(&base, &name));
                }
            }
        }
        if next.len() > MAX_MATCHES {
            return Err(invalid(format!("{pattern:?} means more than {MAX_MATCHES} files")));
        }
        found = next;
    }
    found.retain(|path| {
        let there = files.root.resolve_nofollow(Path::new(&format!("/{path}"))).is_ok();
        there && !files.hides(path)
    });
    found.dedup();
    Ok(found)
}

/// A directory and all directories below it.
fn directories(
    files: &Files,
    base: &str,
    into: &mut Vec<String>,
    depth: usize,
) -> Result<(), Failure> {
    into.push(base.to_owned());
    if depth == 0 || into.len() > MAX_MATCHES {
        return Err(invalid(format!("{base:?} has too many directories in it")));
    }
    for name in names(&files.root, base) {
        let path = join(base, &name);
        let found = files.root.resolve_nofollow(Path::new(&format!("/{path}")));
        let kind = found.ok().and_then(|found| ferry_sys::root::file_type(found.as_fd()).ok());
        if kind == Some(FileType::Directory) && !files.hides(&path) {
            directories(files, &path, into, depth - 1)?;
        }
    }
    Ok(())
}

fn join(base: &str, name: &str) -> String {
    if base.is_empty() { name.to_owned() } else { format!("{base}/{name}") }
}

/// Names in a directory, sorted; none of what is no directory. Names that are not UTF-8 no pattern matches.
fn names(root: &InRoot, path: &str) -> Vec<String> {
    let opened = root.open_with(Path::new(&format!("/{path}")), OFlags::DIRECTORY, 0);
    let Ok(directory) = opened.and_then(Dir::read_from) else { return Vec::new() };
    let mut names: Vec<String> = directory
        .filter_map(|entry| {
            let name = OsStr::from_bytes(entry.ok()?.file_name().to_bytes()).to_str()?.to_owned();
            (name != "." && name != "..").then_some(name)
        })
        .collect();
    names.sort();
    names
}

pub(super) fn invalid(words: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, words)
}
