//! `cp`: what a path in a container is, a path as a tar, a tar into a directory. Paths are the container's: whatever links are
//! in them, they lead nowhere else.

use std::{
    io::BufRead,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use ferry_archive::{
    Limits, Options, Owner, TarWriter, TreeOptions, UnpackError, Whiteouts,
    compress::{Codec, Decoder},
};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::Container;
use ferry_stdx::time::Timestamp;
use ferry_sys::{Errno, root::InRoot};
use rustix::fs::{FileType, Stat};
use tokio::{io::AsyncRead, sync::mpsc};

use crate::{
    Engine, bridge,
    rootfs::{self, Access, View},
};

/// As many links as Docker follows to find out where one leads.
const MAX_LINKS: usize = 255;

/// What a path in a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// Its last component; `.` and `/` where it has none.
    pub name: String,
    /// Its size.
    pub size: i64,
    /// `st_mode`.
    pub mode: u32,
    /// When it was changed.
    pub mtime: Timestamp,
    /// Where a link leads in the end, from the container's root; empty for anything else.
    pub link_target: String,
}

/// A path as a tar.
#[derive(Debug)]
pub struct ArchiveStream {
    /// What the path is.
    pub stat: PathStat,
    /// The tar; it ends with an error when it is not whole.
    pub pieces: mpsc::Receiver<Result<Bytes, Failure>>,
}

/// Where a tar goes, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtractRequest {
    /// A directory in the container.
    pub path: String,
    /// Everything belongs to the container's user, not to whom the archive says.
    pub own: bool,
    /// Refuse to put a file in the place of a directory, and the other way round.
    pub keep_types: bool,
}

/// What a path is.
///
/// # Errors
/// No such container, or no such path in it.
pub async fn stat_path(engine: &Engine, name: &str, path: &str) -> Result<PathStat, Failure> {
    let (shared, place) = (engine.shared.clone(), Place::as_written(name, path)?);
    let container = shared.containers.find(name)?.container();
    crate::blocking(move || {
        let view = rootfs::whole(&shared, &container, Access::Read)?;
        place.stat(&view.root).map(|(stat, _)| stat)
    })
    .await
}

/// A path as a tar, whose names begin with the path's last component.
///
/// # Errors
/// As for [`stat_path`].
pub async fn archive(engine: &Engine, name: &str, path: &str) -> Result<ArchiveStream, Failure> {
    let (shared, place) = (engine.shared.clone(), Place::new(name, path)?);
    let container = shared.containers.find(name)?.container();
    let (mut writer, pieces) = bridge::pipe();
    let stat = crate::blocking(move || {
        let mut view = rootfs::whole(&shared, &container, Access::Read)?;
        let (stat, found) = place.stat(&view.root)?;
        view.ids = view.ids.take().or_else(|| rootfs::bind_ids(&container, &place.path));
        shared.events.container(&container, "archive-path", &[], shared.now());
        tokio::task::spawn_blocking(move || {
            let written = place.write(&view, &found, &mut writer);
            if let Err(failure) = written {
                writer.fail(failure);
            }
        });
        Ok(stat)
    })
    .await?;
    Ok(ArchiveStream { stat, pieces })
}

/// Unpacks a tar, compressed or not, into a directory of a container.
///
/// # Errors
/// No such container or directory, it cannot be written to, or the archive does not go there.
pub async fn extract(
    engine: &Engine,
    name: &str,
    request: ExtractRequest,
    body: impl AsyncRead + Send + Unpin + 'static,
) -> Result<(), Failure> {
    // First of all: whoever sends must be heard out before it is told that it is all for nothing.
    let reader = bridge::reader_of(body);
    let (shared, place) = (engine.shared.clone(), Place::new(name, &request.path)?);
    let handle = shared.containers.find(name)?;
    // It does not start until the files are there, as with Docker.
    let files = Arc::clone(&handle.files).lock_owned().await;
    let container = handle.container();
    let files = (!container.state.phase.is_running()).then_some(files);
    crate::blocking(move || {
        let _files = files;
        let view = rootfs::whole(&shared, &container, Access::Write)?;
        view.as_its_root(|| place.extract(&view, &container, &request, reader))?;
        shared.events.container(&container, "extract-to-dir", &[], shared.now());
        Ok(())
    })
    .await
}

/// A path of a request.
struct Place {
    container: String,
    /// As it was asked for.
    asked: String,
    /// Absolute and clean; a slash, or a slash and a dot, at its end stay.
    path: PathBuf,
}

impl Place {
    /// `..` in it goes up from where links before it lead.
    fn as_written(container: &str, asked: &str) -> Result<Place, Failure> {
        if asked.is_empty() {
            return Err(invalid("bad parameter: pathcannot be empty"));
        }
        if asked.contains('\0') {
            return Err(invalid("invalid argument"));
        }
        let path = PathBuf::from(format!("/{}", asked.strip_prefix('/').unwrap_or(asked)));
        Ok(Place { container: container.to_owned(), asked: asked.to_owned(), path })
    }

    /// `..` in it takes away the component before, whatever that is.
    fn new(container: &str, asked: &str) -> Result<Place, Failure> {
        let written = Place::as_written(container, asked)?;
        let clean = ferry_archive::clean(format!("/{asked}").as_bytes())
            .map_err(|error| invalid(error.to_string()))?;
        let mut path = [b"/", &*clean].concat();
        let slash = if path == b"/" { "" } else { "/" };
        if asked == "." || asked.ends_with("/.") {
            path.extend_from_slice(format!("{slash}.").as_bytes());
        } else if asked.ends_with('/') {
            path.extend_from_slice(slash.as_bytes());
        }
        Ok(Place { path: PathBuf::from(std::ffi::OsStr::from_bytes(&path)), ..written })
    }

    /// The path's last component as Go's `filepath.Base` has it.
    fn base(&self) -> &[u8] {
        let bytes = self.path.as_os_str().as_bytes();
        let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
        match bytes.iter().rposition(|byte| *byte == b'/') {
            _ if bytes.is_empty() => b"/",
            Some(slash) => &bytes[slash + 1..],
            None => bytes,
        }
    }

    fn stat(&self, root: &InRoot) -> Result<(PathStat, OwnedFd), Failure> {
        let found = root.resolve_nofollow(&self.path).map_err(|errno| self.told("lstat", errno))?;
        let stat = rustix::fs::fstat(&found).map_err(|errno| self.told("lstat", errno))?;
        let link_target = match kind(&stat) {
            FileType::Symlink => self.end_of_links(root)?,
            _ => String::new(),
        };
        let nanos = stat.st_mtime.saturating_mul(1_000_000_000);
        let nanos = nanos.saturating_add(i64::try_from(stat.st_mtime_nsec).unwrap_or_default());
        let described = PathStat {
            name: String::from_utf8_lossy(self.base()).into_owned(),
            size: stat.st_size,
            mode: stat.st_mode,
            mtime: Timestamp::from_nanos(nanos),
            link_target,
        };
        Ok((described, found))
    }

    /// Where the path leads when all links in it are followed, as far as something is there.
    fn end_of_links(&self, root: &InRoot) -> Result<String, Failure> {
        let mut todo: Vec<Vec<u8>> = components(self.path.as_os_str().as_bytes());
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                done.pop();
                continue;
            }
            done.push(std::ffi::OsStr::from_bytes(&name));
            let Ok(target) = root.read_link(&done) else { continue };
            links += 1;
            if links > MAX_LINKS {
                let path = self.path.display();
                let words = format!("evalSymlinksInScope: too many links in {path}");
                return Err(Failure::new(ErrorKind::Internal, words));
            }
            done.pop();
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            todo.extend(components(target.as_os_str().as_bytes()));
        }
        Ok(done.to_string_lossy().into_owned())
    }

    fn write(
        &self,
        view: &View,
        found: &OwnedFd,
        out: &mut bridge::PieceWriter,
    ) -> Result<(), Failure> {
        let mut tar = TarWriter::new(out);
        let failed = |error: &dyn std::error::Error| {
            let path = self.path.display();
            let why = ferry_errkind::chain(error);
            Failure::new(ErrorKind::Internal, format!("cannot archive {path}: {why}"))
        };
        let is_directory =
            matches!(rustix::fs::fstat(found), Ok(stat) if kind(&stat) == FileType::Directory);
        let shown = self.base();
        if is_directory {
            // Under the container's root there are no slashes twice.
            let shown = if shown == b"/" { b"" } else { shown };
            write_resource(view, found.as_fd(), b".", shown, &mut tar)
                .map_err(|error| failed(&error))?;
        } else {
            let (parent, name) = view.root.parent(&self.path).map_err(|error| failed(&error))?;
            write_resource(view, parent.as_fd(), name.as_bytes(), shown, &mut tar)
                .map_err(|error| failed(&error))?;
        }
        tar.finish().map(drop).map_err(|error| failed(&error))
    }

    fn extract(
        &self,
        view: &View,
        container: &Container,
        request: &ExtractRequest,
        mut reader: bridge::PieceReader,
    ) -> Result<(), Failure> {
        let root = &view.root;
        let found = root.resolve(&self.path).map_err(|errno| match errno {
            Errno::LOOP => Failure::new(ErrorKind::Internal, "EvalSymlinks: too many links"),
            errno => self.told("lstat", errno),
        })?;
        let stat = rustix::fs::fstat(&found).map_err(|errno| self.told("lstat", errno))?;
        if kind(&stat) != FileType::Directory {
            return Err(invalid("extraction point is not a directory"));
        }
        let real = root.real_path(found.as_fd()).map_err(|errno| self.told("lstat", errno))?;
        let shown = Path::new("/").join(&real);
        check_writable(container, &shown)?;
        let owner =
            if request.own { own_user(root, &container.spec.user)? } else { Owner::Archived };
        let start = reader.fill_buf().map_err(broken)?;
        if start.is_empty() {
            return Ok(());
        }
        let codec = Codec::detect(start).map_err(|error| invalid(error.to_string()))?;
        let decoder = Decoder::new(codec, reader).map_err(broken)?;
        let mut tar = std::io::BufReader::with_capacity(256 << 10, decoder);
        let ids = view.ids.clone().or_else(|| rootfs::bind_ids(container, &shown));
        let options = Options {
            limits: Limits::default(),
            whiteouts: Whiteouts::Literal,
            owner,
            ids: ids.as_ref(),
            keep_types: request.keep_types,
            keep_root: true,
            clones: None,
        };
        let unpacked = ferry_archive::unpack_renamed(&mut tar, found.as_fd(), None, &options);
        let unpacked = unpacked.map_err(|error| unpack_words(error, &shown))?;
        if unpacked.refused_xattrs > 0 {
            let count = unpacked.refused_xattrs;
            tracing::warn!(id = %container.id, count, "the kernel refused extended attributes");
        }
        Ok(())
    }

    /// Docker's words for a path that cannot be looked up.
    fn told(&self, call: &str, errno: Errno) -> Failure {
        if errno == Errno::NOENT {
            let (path, container) = (&self.asked, &self.container);
            let words = format!("Could not find the file {path} in container {container}");
            return Failure::new(ErrorKind::NotFound, words);
        }
        let why = match errno {
            Errno::NOTDIR => "not a directory".to_owned(),
            Errno::LOOP => "too many levels of symbolic links".to_owned(),
            Errno::ACCESS => "permission denied".to_owned(),
            Errno::NAMETOOLONG => "file name too long".to_owned(),
            other => other.to_string(),
        };
        let words = format!("{call} {}: {why}", self.path.display());
        Failure::new(ErrorKind::Internal, words)
    }
}

fn write_resource(
    view: &View,
    parent: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    tar: &mut TarWriter<&mut bridge::PieceWriter>,
) -> Result<(), ferry_archive::WriteTreeError> {
    let options = TreeOptions { ids: view.ids.as_ref(), ..TreeOptions::COPY };
    ferry_archive::write_resource(parent, name, shown, &options, tar)
}

/// The components of a path, the last first; `.` and empty ones left out.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.rev().map(<[u8]>::to_vec).collect()
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// What is in a volume must be in one that can be written to, anything else in a root file system that can be.
fn check_writable(container: &Container, path: &Path) -> Result<(), Failure> {
    let mut inside = container.mounts.iter().filter(|mount| path.starts_with(&mount.destination));
    match inside.next() {
        Some(mount) if !mount.rw => Err(invalid("mounted volume is marked read-only")),
        None if container.spec.host.readonly_rootfs => {
            Err(invalid("container rootfs is marked read-only"))
        }
        _ => Ok(()),
    }
}

/// Whom the container's process runs as.
fn own_user(root: &InRoot, user: &str) -> Result<Owner, Failure> {
    if user.is_empty() {
        return Ok(Owner::Archived);
    }
    let found = ferry_runtime::look_up_user(root, user).map_err(|why| {
        let name = user.split(':').next().unwrap_or_default();
        let why = why.strip_prefix(&format!("unable to find user {name}: ")).unwrap_or(&why);
        invalid(format!("failed to look up user \"{user}\" in container: {why}"))
    })?;
    Ok(Owner::Fixed { uid: found.0, gid: found.1 })
}

/// Docker's words for what can be wrong with an archive; it answers 500 to all of it.
fn unpack_words(error: UnpackError, directory: &Path) -> Failure {
    let words = match &error {
        UnpackError::Name { name, .. } => format!("invalid entry name {name:?}"),
        UnpackError::LinkTarget { name, .. } => format!("invalid hardlink target {name:?}"),
        UnpackError::Parse { .. } => "archive/tar: invalid tar header".to_owned(),
        UnpackError::Truncated { .. } | UnpackError::Read(_) => "unexpected EOF".to_owned(),
        UnpackError::OtherType { path, is_directory } => {
            let (there, comes) = match is_directory {
                true => ("directory", "non-directory"),
                false => ("non-directory", "directory"),
            };
            format!("cannot overwrite {there} {:?} with {comes} {:?}", path, directory)
        }
        other => ferry_errkind::chain(other),
    };
    Failure::new(ErrorKind::Internal, words)
}

fn invalid(words: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, words)
}

fn broken(error: std::io::Error) -> Failure {
    Failure::new(ErrorKind::Internal, format!("cannot read the archive: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_says_what_is_meant() {
        let look = |asked: &str| {
            let place = Place::new("c", asked).unwrap();
            let base = String::from_utf8_lossy(place.base()).into_owned();
            (place.path.to_string_lossy().into_owned(), base)
        };
        let same = |asked: &str, path: &str, base: &str| {
            assert_eq!(look(asked), (path.to_owned(), base.to_owned()), "{asked}");
        };
        same("/a/b", "/a/b", "b");
        same("a/b/", "/a/b/", "b");
        same("/a/b/.", "/a/b/.", ".");
        same("/a/../b//c", "/b/c", "c");
        same("/../../x", "/x", "x");
        same("/", "/", "/");
        same("/.", "/.", ".");
        same(".", "/.", ".");
        assert!(Place::new("c", "").is_err());
    }
}
