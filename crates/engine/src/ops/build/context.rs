//! The build context: what the client sent, unpacked where only this build sees it.

use std::{
    io::{self, BufRead, BufReader, Read},
    os::fd::OwnedFd,
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

use super::{
    BuildRequest, ContextSource, Vertex,
    fetch::{self, Remote},
    known::{self, Known},
    tree::{Files, invalid},
};
use crate::{Engine, Shared, bridge, random, records::failed};

/// How the notes of containers begin.
const CONTAINER: &str = "container:";

/// A build's directory; goes away with the last who knows it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: Arc<Directory>,
    /// Where the context is, if it is not unpacked here.
    elsewhere: Option<Arc<Elsewhere>>,
}

#[derive(Debug)]
struct Elsewhere {
    root: OwnedFd,
    hidden: IgnoreFile,
    known: Option<Arc<Known>>,
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
        Ok(Place { path: Arc::new(Directory(path)), elsewhere: None })
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

    /// A directory of this build's own.
    pub(super) fn named(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The files of the context.
    pub(super) fn context(&self) -> Result<Files, Failure> {
        let Some(elsewhere) = &self.elsewhere else {
            return Ok(Files::of_context(self.unpacked()?, IgnoreFile::default()));
        };
        let root =
            elsewhere.root.try_clone().map_err(|source| failed("open", &self.path, source))?;
        let files = Files::of_context(InRoot::from_fd(root), elsewhere.hidden.clone());
        Ok(Files { known: elsewhere.known.clone(), ..files })
    }

    /// What is known of the files of a context that is read where it is.
    pub(super) fn known(&self) -> Option<Arc<Known>> {
        self.elsewhere.as_ref().and_then(|elsewhere| elsewhere.known.clone())
    }

    /// Whether the context's `.dockerignore` leaves a path out. Of a context that was sent, that was done already.
    pub(super) fn ignores(&self, path: &str) -> bool {
        self.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere.hidden.ignores(path))
    }

    pub(super) fn unpacked(&self) -> Result<InRoot, Failure> {
        let path = self.path.join("context");
        InRoot::open(&path).map_err(|errno| failed("open", &path, errno.into()))
    }

    /// The files of something that was fetched.
    pub(super) async fn files_at(&self, remote: &Remote) -> Result<Files, Failure> {
        let place = self.clone();
        let remote = remote.clone();
        crate::blocking(move || {
            let open = |path: &Path| {
                InRoot::open(path).map_err(|errno| failed("open", path, errno.into()))
            };
            if remote.tree {
                return Ok(Files::of_context(open(&remote.directory)?, IgnoreFile::default()));
            }
            let unpacked = remote.directory.join("unpacked");
            if !unpacked.exists() {
                std::fs::create_dir_all(&unpacked)
                    .map_err(|source| failed("make directory", &unpacked, source))?;
                let file = remote.directory.join(&remote.name);
                let tar =
                    std::fs::File::open(&file).map_err(|source| failed("open", &file, source))?;
                place.unpack(BufReader::with_capacity(256 << 10, tar), &open(&unpacked)?)?;
            }
            Ok(Files::of_context(open(&unpacked)?, IgnoreFile::default()))
        })
        .await
    }

    /// Fetches the context and reads the Dockerfile in it.
    pub(super) async fn receive(
        &mut self,
        engine: &Engine,
        context: ContextSource,
        request: &BuildRequest,
    ) -> Result<Vec<u8>, Failure> {
        let (place, request) = (self.clone(), request.clone());
        match context {
            ContextSource::Tar(tar) => {
                let tar = bridge::reader_of(tar);
                crate::blocking(move || {
                    let root = place.unpacked()?;
                    place.unpack(tar, &root)?;
                    let text = read(&root, &request)?;
                    if request.dockerfile_text.is_none() {
                        place.forget_ignored(&root, &request.dockerfile);
                    }
                    Ok(text)
                })
                .await
            }
            ContextSource::Directory(root) => {
                let (root, known) = recalled(engine, root).await?;
                self.at(root, known, &request)
            }
            ContextSource::Received(root) => {
                let (root, known) = recalled(engine, root).await?;
                let copy = root.try_clone().map_err(|source| failed("open", &self.path, source))?;
                let text = read(&InRoot::from_fd(copy), &request)?;
                let hidden = IgnoreFile::default();
                self.elsewhere = Some(Arc::new(Elsewhere { root, hidden, known }));
                Ok(text)
            }
            ContextSource::Remote(url) => {
                let directory = self.named("remote");
                let remote = fetch::fetch(engine, &url, None, true, &directory).await?;
                self.remote(remote, request).await
            }
        }
    }

    /// The context is a directory that is read where it is.
    fn at(
        &mut self,
        root: OwnedFd,
        known: Option<Arc<Known>>,
        request: &BuildRequest,
    ) -> Result<Vec<u8>, Failure> {
        let copy = root.try_clone().map_err(|source| failed("open", &self.path, source))?;
        let files = InRoot::from_fd(copy);
        let text = read(&files, request)?;
        let hidden = ignore_file(&files, &request.dockerfile)?;
        self.elsewhere = Some(Arc::new(Elsewhere { root, hidden, known }));
        Ok(text)
    }

    /// A repository, an archive, or a Dockerfile alone.
    async fn remote(&mut self, remote: Remote, request: BuildRequest) -> Result<Vec<u8>, Failure> {
        if remote.tree {
            let root = InRoot::open(&remote.directory)
                .map_err(|errno| failed("open", &remote.directory, errno.into()))?;
            return self.at(root.into_fd(), None, &request);
        }
        let file = remote.directory.join(&remote.name);
        let unreadable = |source| failed("read", &file, source);
        let mut start = vec![0; 512];
        let filled = std::fs::File::open(&file).and_then(|mut file| file.read(&mut start));
        start.truncate(filled.map_err(unreadable)?);
        let text = remote.content_type.starts_with("text/plain") || !is_archive(&start);
        if text {
            let length = std::fs::metadata(&file).map_err(unreadable)?.len();
            if length > MAX_DOCKERFILE as u64 {
                return Err(invalid(format!(
                    "the Dockerfile is longer than {MAX_DOCKERFILE} bytes"
                )));
            }
            return std::fs::read(&file).map_err(unreadable);
        }
        let files = self.files_at(&remote).await?;
        self.at(files.root.into_fd(), None, &request)
    }

    /// Unpacks a context, compressed or not.
    pub(super) fn unpack(&self, body: impl BufRead, root: &InRoot) -> Result<(), Failure> {
        unpack_context(body, root, &self.path)
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

/// Unpacks a context, compressed or not.
pub(super) fn unpack_context(
    mut body: impl BufRead,
    root: &InRoot,
    place: &Path,
) -> Result<(), Failure> {
    let broken = |error: std::io::Error| invalid(format!("cannot read the build context: {error}"));
    let start = body.fill_buf().map_err(broken)?;
    if !start.is_empty() {
        let codec = Codec::detect(start).map_err(|error| invalid(error.to_string()))?;
        let decoder = Decoder::new(codec, body).map_err(broken)?;
        let padded = Padded { tar: decoder, length: 0, left: None };
        let mut tar = BufReader::with_capacity(256 << 10, padded);
        let options = Options {
            limits: Limits::default(),
            whiteouts: Whiteouts::Literal,
            owner: Owner::Fixed { uid: 0, gid: 0 },
            ids: None,
            keep_types: false,
            keep_root: true,
            clones: None,
        };
        let directory = root
            .open_with(Path::new("/"), rustix::fs::OFlags::DIRECTORY, 0)
            .map_err(|errno| failed("open", place, errno.into()))?;
        ferry_archive::unpack_renamed(
            &mut tar,
            std::os::fd::AsFd::as_fd(&directory),
            None,
            &options,
        )
        .map_err(|error| {
            invalid(format!("cannot unpack the build context: {}", ferry_errkind::chain(&error)))
        })?;
    }
    Ok(())
}

/// A directory with what is known of its files.
async fn recalled(
    engine: &Engine,
    root: OwnedFd,
) -> Result<(OwnedFd, Option<Arc<Known>>), Failure> {
    let shared = Arc::clone(&engine.shared);
    crate::blocking(move || {
        let known = known::of(&shared, &root);
        Ok((root, known))
    })
    .await
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

/// A directory that somebody handed over, without what its `.dockerignore` names.
pub(super) fn handed(directory: &OwnedFd) -> Result<Files, Failure> {
    let root = directory.try_clone().map_err(|source| failed("open", Path::new("."), source))?;
    let root = InRoot::from_fd(root);
    let hidden = ignore_file(&root, "")?;
    Ok(Files::of_context(root, hidden))
}

/// `<Dockerfile>.dockerignore` if it is there, else `.dockerignore`.
fn ignore_file(root: &InRoot, dockerfile: &str) -> Result<IgnoreFile, Failure> {
    for name in [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()] {
        match root.read(&Path::new("/").join(&name), 1 << 20) {
            Ok(bytes) => return Ok(IgnoreFile::parse(&String::from_utf8_lossy(&bytes))?),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(invalid(format!("cannot read {name}: {errno}"))),
        }
    }
    Ok(IgnoreFile::default())
}

/// Whether that is how a tar or a compressed file begins.
fn is_archive(start: &[u8]) -> bool {
    let packed = [b"\x1f\x8b".as_slice(), b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
    packed.iter().any(|magic| start.starts_with(magic))
        || start.get(257..262).is_some_and(|magic| magic == b"ustar")
}

/// The Dockerfile's text.
fn read(root: &InRoot, request: &BuildRequest) -> Result<Vec<u8>, Failure> {
    if let Some(text) = &request.dockerfile_text {
        return Ok(text.clone());
    }
    let name = &request.dockerfile;
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
