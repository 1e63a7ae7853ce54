//! What `COPY` takes from: the context, a stage, an image. Paths are looked up inside it, and patterns are matched there.

use std::{
    ffi::OsStr,
    io::{self, BufReader, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use ferry_archive::{Limits, TarReader, TarWriter, TreeOptions};
use ferry_dockerfile::{IgnoreFile, path_matches};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, Hasher};
use ferry_sys::{Errno, root::InRoot};
use rustix::fs::{Dir, FileType, OFlags};

/// Most files that one pattern may mean.
const MAX_MATCHES: usize = 100_000;

/// A file or directory that is to be copied.
#[derive(Debug)]
pub(super) struct Found {
    /// The last component as it was written: what it is called where it goes.
    pub(super) name: Vec<u8>,
    /// Where it is, without links.
    path: PathBuf,
    /// Whether it is a directory: its content is copied then.
    pub(super) directory: bool,
}

impl Found {
    /// Looks a path up, or everything that a pattern means.
    pub(super) fn all(root: &InRoot, written: &str, stage: bool) -> Result<Vec<Found>, Failure> {
        let clean = ferry_archive::clean(format!("/{written}").as_bytes());
        let clean = clean.map_err(|error| invalid(error.to_string()))?;
        let clean = String::from_utf8_lossy(&clean).into_owned();
        let paths = match clean.contains(['*', '?', '[']) {
            true => matches(root, &clean)?,
            false => vec![clean.clone()],
        };
        if paths.is_empty() {
            return Err(invalid("COPY failed: no source files were specified"));
        }
        paths.iter().map(|path| Found::one(root, path, written, stage)).collect()
    }

    fn one(root: &InRoot, path: &str, written: &str, stage: bool) -> Result<Found, Failure> {
        let missing = |errno: Errno| {
            let (place, why) = match (stage, errno) {
                (false, Errno::NOENT | Errno::NOTDIR) => (
                    "file not found in build context or excluded by .dockerignore: ",
                    "file does not exist".to_owned(),
                ),
                (true, Errno::NOENT | Errno::NOTDIR) => ("", "file does not exist".to_owned()),
                (_, errno) => ("", errno.to_string()),
            };
            Failure::new(ErrorKind::NotFound, format!("COPY failed: {place}stat {written}: {why}"))
        };
        let found = root.resolve(Path::new(&format!("/{path}"))).map_err(missing)?;
        let kind = ferry_sys::root::file_type(found.as_fd()).map_err(missing)?;
        let real = root.real_path(found.as_fd()).map_err(missing)?;
        let name = Path::new(path).file_name().map(|name| name.as_bytes().to_vec());
        let directory = kind == FileType::Directory;
        Ok(Found { name: name.unwrap_or_default(), path: real, directory })
    }

    /// Opens a file.
    pub(super) fn open(&self, root: &InRoot) -> Result<OwnedFd, Failure> {
        root.open_with(&self.path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW, 0)
            .map_err(|errno| invalid(format!("cannot open {}: {errno}", self.path.display())))
    }

    /// Writes it as a tar: a directory's content as `./…`, anything else under `name`.
    pub(super) fn write(
        &self,
        root: &InRoot,
        name: &[u8],
        exclude: &IgnoreFile,
        out: impl Write,
    ) -> Result<(), Failure> {
        let failed = |error: &dyn std::error::Error| {
            let why = ferry_errkind::chain(error);
            Failure::new(ErrorKind::Internal, format!("cannot copy {}: {why}", self.path.display()))
        };
        let skip = |path: &[u8]| {
            let text = String::from_utf8_lossy(path);
            self.directory && exclude.ignores(&text) && !self.lets_in(root, &text, exclude)
        };
        let options =
            TreeOptions { skip: &skip, keep: ferry_archive::Keep::Layer, ..TreeOptions::COPY };
        let mut tar = TarWriter::new(out);
        if self.directory {
            let directory = root
                .open_with(&self.path, OFlags::PATH | OFlags::DIRECTORY, 0)
                .map_err(|error| failed(&error))?;
            ferry_archive::write_resource(directory.as_fd(), b".", b".", &options, &mut tar)
                .map_err(|error| failed(&error))?;
        } else {
            let (parent, own) = root.parent(&self.path).map_err(|error| failed(&error))?;
            ferry_archive::write_resource(parent.as_fd(), own.as_bytes(), name, &options, &mut tar)
                .map_err(|error| failed(&error))?;
        }
        tar.finish().map(drop).map_err(|error| failed(&error))
    }

    /// Whether an exception lets something below a directory in.
    fn lets_in(&self, root: &InRoot, path: &str, exclude: &IgnoreFile) -> bool {
        let full = format!("{}/{path}", self.path.to_string_lossy());
        let is_directory = || {
            let kind = root.file_type(Path::new(&full));
            matches!(kind, Ok(Some(FileType::Directory)))
        };
        exclude.has_exceptions()
            && is_directory()
            && names(root, full.trim_start_matches('/')).iter().any(|name| {
                let below = join(path, name);
                !exclude.ignores(&below) || self.lets_in(root, &below, exclude)
            })
    }

    /// A digest of names, modes, owners and contents, not of times.
    pub(super) fn digest(&self, root: &InRoot, exclude: &IgnoreFile) -> Result<Digest, Failure> {
        piped(
            |out| self.write(root, b"f", exclude, out),
            |input| {
                let mut tar =
                    TarReader::new(BufReader::with_capacity(256 << 10, input), Limits::default());
                let mut hasher = Hasher::new();
                hasher.update(&self.name);
                let mut buffer = vec![0; 256 << 10];
                let broken = |error: &dyn std::error::Error| {
                    Failure::new(ErrorKind::Internal, ferry_errkind::chain(error))
                };
                while let Some(mut member) = tar.next_member().map_err(|error| broken(&error))? {
                    let entry = &member.entry;
                    let head = format!(
                        "{:?} {:?} {:?} {:o} {} {} {:?} {} {:?}\n",
                        entry.path,
                        entry.link,
                        entry.kind,
                        entry.mode,
                        entry.uid,
                        entry.gid,
                        entry.device,
                        entry.size,
                        entry.xattrs
                    );
                    hasher.update(head.as_bytes());
                    loop {
                        match member.read(&mut buffer).map_err(|error| broken(&error))? {
                            0 => break,
                            read => hasher.update(&buffer[..read]),
                        }
                    }
                }
                Ok(hasher.finish())
            },
        )
    }
}

/// What one thread writes and this one reads. The writer's failure is the reason for the reader's.
pub(super) fn piped<T>(
    write: impl FnOnce(io::BufWriter<io::PipeWriter>) -> Result<(), Failure> + Send,
    read: impl FnOnce(io::PipeReader) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let broken = |error: io::Error| Failure::new(ErrorKind::Internal, error.to_string());
    let (input, output) = io::pipe().map_err(broken)?;
    std::thread::scope(|scope| {
        let work = move || write(io::BufWriter::with_capacity(256 << 10, output));
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
fn matches(root: &InRoot, pattern: &str) -> Result<Vec<String>, Failure> {
    let mut found = vec![String::new()];
    for component in pattern.split('/') {
        let mut next = Vec::new();
        for base in found {
            if !component.contains(['*', '?', '[', '\\']) {
                next.push(join(&base, component));
                continue;
            }
            for name in names(root, &base) {
                let fits = path_matches(component, &name);
                if fits.ok_or_else(|| invalid(format!("syntax error in pattern {pattern:?}")))? {
                    next.push(join(&base, &name));
                }
            }
            if next.len() > MAX_MATCHES {
                return Err(invalid(format!("{pattern:?} means more than {MAX_MATCHES} files")));
            }
        }
        found = next;
    }
    let there = |path: &String| root.resolve_nofollow(Path::new(&format!("/{path}"))).is_ok();
    found.retain(there);
    Ok(found)
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
