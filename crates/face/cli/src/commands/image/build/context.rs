//! What `build` sends: a directory without what `.dockerignore` leaves out, or a tar as it is.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context as TaskContext, Poll, ready},
};

use ferry_archive::{Entry, TarWriter, TreeOptions, write_resource};
use ferry_dockerfile::{IgnoreFile, MAX_DOCKERFILE};
use rustix::stdio::stdin;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::unix::pipe,
};

use super::ask::Question;
use crate::{config::read_limited, framework::CliError, run::options::go_words};

/// What a Dockerfile that is not in the context is called there.
const OUTSIDE: &str = ".dockerfile.ferry-build";

/// A context on its way.
pub(super) struct Context {
    /// The Dockerfile's path in it.
    pub(super) dockerfile: String,
    /// Where it is, if it is not here.
    pub(super) remote: Option<String>,
    input: Option<Input>,
}

impl Context {
    /// The tar.
    pub(super) fn input(self) -> Result<Input, CliError> {
        match self.input {
            Some(input) => Ok(input),
            None => written_by(|mut out| out.flush().map_err(|error| error.to_string())),
        }
    }
}

/// Whether a context is not on this machine.
pub(super) fn is_remote(source: &str) -> bool {
    let starts = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    starts.iter().any(|start| source.starts_with(start)) && !Path::new(source).exists()
}

/// Hands a directory over, if it is one; answers the Dockerfile's path in it.
pub(super) fn hand_over(
    source: &str,
    file: &str,
    question: &mut Question,
) -> Result<Option<String>, CliError> {
    if source == "-" || is_remote(source) {
        return Ok(None);
    }
    let root = directory(source)?;
    let (dockerfile, text) = dockerfile_of(&root, file)?;
    if let Some(text) = text {
        let engine = base64::engine::general_purpose::STANDARD;
        question.ask.dockerfile = Some(base64::Engine::encode(&engine, text));
    }
    let (open, handed) = super::ask::hand_over(&root)?;
    question.open.push(open);
    question.ask.directory = Some(handed);
    Ok(Some(dockerfile))
}

fn directory(source: &str) -> Result<PathBuf, CliError> {
    let unable = |why: String| CliError::new(format!("unable to prepare context: {why}"));
    let found = fs::metadata(source).map_err(|_| unable(format!("path {source:?} not found")))?;
    if !found.is_dir() {
        return Err(unable(format!("context must be a directory: {source}")));
    }
    fs::canonicalize(source).map_err(|error| unable(go_words(&error)))
}

/// A tar as it is being written by a thread.
pub(super) struct Input {
    pipe: pipe::Receiver,
    failure: Arc<OnceLock<String>>,
}

/// Opens a context: a directory, or `-` for a tar or a Dockerfile on standard input.
pub(super) fn open(source: &str, file: &str) -> Result<Context, CliError> {
    if source == "-" {
        return from_stdin(file);
    }
    if is_remote(source) {
        let dockerfile = if file.is_empty() { "Dockerfile" } else { file };
        let remote = Some(source.to_owned());
        return Ok(Context { dockerfile: dockerfile.to_owned(), remote, input: None });
    }
    let unable = |why: String| CliError::new(format!("unable to prepare context: {why}"));
    let root = directory(source)?;
    let (dockerfile, extra) = dockerfile_of(&root, file)?;
    let ignore = ignore_file(&root, &dockerfile)?;
    let directory = File::open(&root).map_err(|error| unable(go_words(&error)))?;
    let kept = dockerfile.clone();
    let input = written_by(move |out| {
        let mut tar = TarWriter::new(out);
        let skip = |path: &[u8]| {
            let text = String::from_utf8_lossy(path);
            let needed =
                text == ".dockerignore" || text == kept || kept.starts_with(&format!("{text}/"));
            !needed
                && ignore.ignores(&text)
                && !(ignore.has_exceptions() && lets_in(&root, &text, &ignore))
        };
        let options = TreeOptions { skip: &skip, ..TreeOptions::COPY };
        write_resource(directory.as_fd(), b".", b".", &options, &mut tar)
            .map_err(|error| ferry_errkind::chain(&error))?;
        if let Some(text) = extra {
            append(&mut tar, OUTSIDE, &text).map_err(|error| error.to_string())?;
        }
        tar.finish().and_then(|mut out| out.flush()).map_err(|error| error.to_string())
    })?;
    Ok(Context { dockerfile, remote: None, input: Some(input) })
}

/// Whether an exception lets something below a directory in.
fn lets_in(root: &Path, path: &str, ignore: &IgnoreFile) -> bool {
    let full = root.join(path);
    let is_directory = fs::symlink_metadata(&full).is_ok_and(|found| found.is_dir());
    let entries = if is_directory { fs::read_dir(&full).ok() } else { None };
    entries.into_iter().flatten().flatten().any(|entry| {
        let below = format!("{path}/{}", entry.file_name().to_string_lossy());
        !ignore.ignores(&below) || lets_in(root, &below, ignore)
    })
}

/// The Dockerfile's path in the context, and its text where it is not there.
fn dockerfile_of(root: &Path, file: &str) -> Result<(String, Option<Vec<u8>>), CliError> {
    let unable = |why: String| CliError::new(format!("unable to prepare context: {why}"));
    if file == "-" {
        let mut text = Vec::new();
        let input = stdin().try_clone_to_owned().map_err(|error| unable(error.to_string()))?;
        let limit = MAX_DOCKERFILE as u64 + 1;
        File::from(input)
            .take(limit)
            .read_to_end(&mut text)
            .map_err(|error| unable(go_words(&error)))?;
        return Ok((OUTSIDE.to_owned(), Some(text)));
    }
    let path = match file {
        "" => root.join("Dockerfile"),
        file => PathBuf::from(file),
    };
    let path = match fs::canonicalize(&path) {
        Ok(real) => real,
        Err(error) => {
            let shown = std::path::absolute(&path).unwrap_or(path);
            let why = format!(
                "unable to evaluate symlinks in Dockerfile path: lstat {}: {}",
                shown.display(),
                go_words(&error)
            );
            return Err(unable(why));
        }
    };
    match path.strip_prefix(root) {
        Ok(inside) => Ok((inside.to_string_lossy().into_owned(), None)),
        Err(_) => {
            let text = read_limited(&path, MAX_DOCKERFILE as u64).map_err(|error| {
                unable(format!("unable to open Dockerfile: {}", go_words(&error)))
            })?;
            Ok((OUTSIDE.to_owned(), Some(text)))
        }
    }
}

/// `<Dockerfile>.dockerignore` if it is there, else `.dockerignore`.
fn ignore_file(root: &Path, dockerfile: &str) -> Result<IgnoreFile, CliError> {
    for name in [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()] {
        match read_limited(&root.join(&name), 1 << 20) {
            Ok(bytes) => {
                return IgnoreFile::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| {
                    CliError::new(format!("error checking context: {name}: {error}"))
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(CliError::new(format!("open {name}: {}", go_words(&error))));
            }
        }
    }
    Ok(IgnoreFile::default())
}

/// A tar as it is, or a Dockerfile: then the context is empty but for it.
fn from_stdin(file: &str) -> Result<Context, CliError> {
    let wrong = |error: io::Error| {
        CliError::new(format!("unable to prepare context from STDIN: {}", go_words(&error)))
    };
    if file == "-" {
        return Err(CliError::new(
            "invalid argument: can't use stdin for both build context and dockerfile",
        ));
    }
    let mut input = File::from(stdin().try_clone_to_owned().map_err(wrong)?);
    let mut start = vec![0; 512];
    let mut filled = 0;
    while filled < start.len() {
        match input.read(&mut start[filled..]).map_err(wrong)? {
            0 => break,
            read => filled += read,
        }
    }
    start.truncate(filled);
    let packed = [b"\x1f\x8b".as_slice(), b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"];
    let is_archive = packed.iter().any(|magic| start.starts_with(magic))
        || start.get(257..262).is_some_and(|magic| magic == b"ustar");
    let dockerfile = if is_archive && !file.is_empty() { file } else { "Dockerfile" };
    let input = written_by(move |mut out| {
        let words = |error: io::Error| error.to_string();
        if is_archive {
            out.write_all(&start).map_err(words)?;
            io::copy(&mut input, &mut out).map_err(words)?;
            return out.flush().map_err(words);
        }
        let limit = MAX_DOCKERFILE as u64 + 1;
        input.take(limit).read_to_end(&mut start).map_err(words)?;
        let mut tar = TarWriter::new(out);
        append(&mut tar, "Dockerfile", &start).map_err(words)?;
        tar.finish().and_then(|mut out| out.flush()).map_err(words)
    })?;
    Ok(Context { dockerfile: dockerfile.to_owned(), remote: None, input: Some(input) })
}

fn append(tar: &mut TarWriter<impl Write>, name: &str, text: &[u8]) -> io::Result<()> {
    let size = text.len() as u64;
    let path = name.as_bytes().to_vec();
    tar.append_file(&Entry { path, mode: 0o644, size, stored: size, ..Entry::default() }, text)
}

fn written_by(
    write: impl FnOnce(io::BufWriter<io::PipeWriter>) -> Result<(), String> + Send + 'static,
) -> Result<Input, CliError> {
    let wrong = |error: io::Error| CliError::new(format!("cannot send the context: {error}"));
    let (reader, writer) = io::pipe().map_err(wrong)?;
    let failure = Arc::new(OnceLock::new());
    let told = Arc::clone(&failure);
    let work = move || {
        let keep_open = writer.try_clone();
        if let Err(why) = write(io::BufWriter::with_capacity(256 << 10, writer)) {
            // Before the pipe closes, so that whoever sees its end sees this.
            drop(told.set(why));
        }
        drop(keep_open);
    };
    std::thread::Builder::new().name("tar".to_owned()).spawn(work).map_err(wrong)?;
    Ok(Input { pipe: pipe::Receiver::from_owned_fd(reader.into()).map_err(wrong)?, failure })
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.pipe).poll_read(context, buffer))?;
        match this.failure.get() {
            // Half a context must not look whole.
            Some(words) if buffer.filled().len() == before => {
                Poll::Ready(Err(io::Error::other(words.clone())))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}
