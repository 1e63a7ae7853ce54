//! The build context: what the client sent, unpacked where only this build sees it.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use ferry_archive::{
    Limits, Options, Owner, Whiteouts,
    compress::{Codec, Decoder},
};
use ferry_dockerfile::{IgnoreFile, MAX_DOCKERFILE};
use ferry_errkind::{ErrorKind, Failure};
use ferry_sys::{Errno, root::InRoot};

use super::{BuildRequest, ContextSource, Vertex, tree::invalid};
use crate::{Engine, Shared, bridge, random, records::failed};

/// How the notes of containers begin.
const CONTAINER: &str = "container:";

/// A build's directory; goes away with the last who knows it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: Arc<Directory>,
}

#[derive(Debug)]
struct Directory(PathBuf);

impl std::ops::Deref for Directory {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Place {
    pub(super) fn new(shared: &Shared) -> Result<Place, Failure> {
        let path = root(shared).join(random::id()?);
        std::fs::create_dir_all(path.join("context"))
            .map_err(|source| failed("make directory", &path, source))?;
        Ok(Place { path: Arc::new(Directory(path)) })
    }

    /// A directory for one step.
    pub(super) fn step(&self, vertex: &Vertex) -> PathBuf {
        let name = vertex.digest.hex();
        self.path.join(name.get(..24).unwrap_or(&name))
    }

    /// A name for the container of a step, noted before there is one: a daemon that is killed leaves it to the next one to remove.
    pub(super) fn name_container(&self, vertex: &Vertex) -> Result<String, Failure> {
        let digest = vertex.digest.hex();
        let name = format!("build-{}", digest.get(..12).unwrap_or(&digest));
        let path = self.path.join(format!("{CONTAINER}{name}"));
        std::fs::write(&path, "").map_err(|source| failed("write", &path, source))?;
        Ok(name)
    }

    pub(super) fn context(&self) -> Result<InRoot, Failure> {
        let path = self.path.join("context");
        InRoot::open(&path).map_err(|errno| failed("open", &path, errno.into()))
    }

    /// Fetches the context and reads the Dockerfile in it.
    pub(super) async fn receive(
        &self,
        engine: &Engine,
        context: ContextSource,
        request: &BuildRequest,
    ) -> Result<Vec<u8>, Failure> {
        let tar = match context {
            ContextSource::Tar(tar) => bridge::reader_of(tar),
            ContextSource::Directory(_) => {
                return Err(Failure::new(
                    ErrorKind::NotImplemented,
                    "a directory as build context",
                ));
            }
            ContextSource::Remote(url) => {
                let words = format!("a build context at {url}");
                return Err(Failure::new(ErrorKind::NotImplemented, words));
            }
        };
        let (place, dockerfile) = (self.clone(), request.dockerfile.clone());
        let shared = engine.shared.clone();
        crate::blocking(move || {
            // The engine stays as long as its files are written to.
            let _shared = shared;
            place.unpack(tar, &dockerfile)
        })
        .await
    }

    /// Unpacks the context, compressed or not, and reads the Dockerfile in it.
    fn unpack(&self, mut body: bridge::PieceReader, dockerfile: &str) -> Result<Vec<u8>, Failure> {
        let broken =
            |error: std::io::Error| invalid(format!("cannot read the build context: {error}"));
        let start = body.fill_buf().map_err(broken)?;
        let root = self.context()?;
        if !start.is_empty() {
            let codec = Codec::detect(start).map_err(|error| invalid(error.to_string()))?;
            let decoder = Decoder::new(codec, body).map_err(broken)?;
            let padded = Padded { tar: decoder, length: 0, left: None };
            let mut tar = BufReader::with_capacity(256 << 10, padded);
            let options = Options {
                limits: Limits::default(),
                whiteouts: Whiteouts::Literal,
                owner: Owner::Fixed { uid: 0, gid: 0 },
                keep_types: false,
                keep_root: true,
            };
            let directory = root
                .open_with(Path::new("/"), rustix::fs::OFlags::DIRECTORY, 0)
                .map_err(|errno| failed("open", &self.path, errno.into()))?;
            ferry_archive::unpack_renamed(
                &mut tar,
                std::os::fd::AsFd::as_fd(&directory),
                None,
                &options,
            )
            .map_err(|error| {
                invalid(format!(
                    "cannot unpack the build context: {}",
                    ferry_errkind::chain(&error)
                ))
            })?;
        }
        let text = read(&root, dockerfile)?;
        self.forget_ignored(&root, dockerfile);
        Ok(text)
    }

    /// Clients send the Dockerfile and the ignore file even where that file excludes them: `COPY` must not see them then.
    fn forget_ignored(&self, root: &InRoot, dockerfile: &str) {
        let Ok(bytes) = root.read(Path::new("/.dockerignore"), 1 << 20) else { return };
        let Ok(ignore) = IgnoreFile::parse(&String::from_utf8_lossy(&bytes)) else { return };
        for name in [".dockerignore", dockerfile.trim_start_matches("./")] {
            if !ignore.ignores(name) {
                continue;
            }
            if let Ok((parent, last)) = root.parent(Path::new(name)) {
                rustix::fs::unlinkat(&parent, last, rustix::fs::AtFlags::empty()).ok();
            }
        }
    }
}

/// A tar to whose end zeros are put: docker, given a Dockerfile on standard input, sends one that ends with its last file.
struct Padded<R> {
    tar: R,
    length: u64,
    /// Zeros that are still to come, once the tar has ended.
    left: Option<u64>,
}

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_none() {
            let read = self.tar.read(buffer)?;
            self.length += read as u64;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
        }
        let missing = self.length.next_multiple_of(512) - self.length;
        let left = self.left.get_or_insert(missing + 1024);
        let zeros = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
        buffer[..zeros].fill(0);
        *left -= zeros as u64;
        Ok(zeros)
    }
}

fn read(root: &InRoot, name: &str) -> Result<Vec<u8>, Failure> {
    root.read(&Path::new("/").join(name), MAX_DOCKERFILE).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => {
            let words = format!("Cannot locate specified Dockerfile: {name}");
            Failure::new(ErrorKind::Internal, words)
        }
        Errno::FBIG => invalid(format!("{name} is longer than {MAX_DOCKERFILE} bytes")),
        errno => invalid(format!("cannot read {name}: {errno}")),
    })
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a build left files");
        }
    }
}

fn root(shared: &Shared) -> PathBuf {
    shared.config.data_root.join("build")
}

/// The containers that builds noted which are not at work.
pub(super) fn containers(shared: &Shared) -> Vec<String> {
    let list = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    list(&root(shared))
        .flat_map(|build| list(&build.path()).collect::<Vec<_>>())
        .filter_map(|file| file.file_name().to_str()?.strip_prefix(CONTAINER).map(str::to_owned))
        .collect()
}

/// Removes the files that builds left that a crash ended.
pub(super) fn sweep_leftovers(shared: &Shared) {
    let path = root(shared);
    if path.exists()
        && let Err(error) = std::fs::remove_dir_all(&path)
    {
        tracing::warn!(path = %path.display(), %error, "leftovers of builds stay");
    }
}
