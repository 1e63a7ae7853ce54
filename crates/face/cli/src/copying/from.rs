//! From a container to this machine.

use std::{
    fs::File,
    io::{self, BufRead, Read},
    os::fd::AsFd,
};

use bytes::{Buf, Bytes};
use ferry_archive::{Limits, Options, Owner, UnpackError, Whiteouts, unpack_renamed};
use ferry_client::{Answer, Client};
use ferry_docker_api::go_mode;
use tokio::sync::{mpsc, oneshot};

use super::{
    Copy, get, local, path_stat, paths,
    plan::{End, Plan, plan},
    progress::{self, Counter},
    stat,
};
use crate::framework::{Cli, CliError, write_fd};

/// Pieces of an answer that wait to be unpacked.
const BACKLOG: usize = 16;

/// Copies a path of a container to a local path, or as a tar to standard output.
pub(crate) async fn from_container(
    cli: &Cli,
    client: &Client,
    copy: &Copy<'_>,
) -> Result<(), CliError> {
    let to_stdout = copy.destination == "-";
    let destination = if to_stdout {
        "-".to_owned()
    } else {
        paths::absolute(copy.destination)
            .map_err(|error| local::failed("getwd", copy.destination, &error))?
    };
    local::check_output(&destination)?;
    let (path, asked_as) = match copy.follow_link {
        true => followed(client, copy).await,
        false => (copy.source.to_owned(), String::new()),
    };
    let mut answer = get(client, copy.container, &path).await?;
    if to_stdout {
        while let Some(piece) = answer.chunk().await? {
            write_fd(rustix::stdio::stdout(), &piece)?;
        }
        return Ok(());
    }
    let is_directory = path_stat(&answer)?.mode & go_mode::DIRECTORY != 0;
    let source = End { path, exists: true, is_directory, asked_as };
    let counter = Counter::default();
    let work = unpacked(answer, &source, &destination, &counter);
    if copy.quiet {
        return work.await;
    }
    let done = progress::watch(cli, "Copying from container - ", &counter, work).await;
    progress::summary(cli, &counter, &destination);
    done
}

/// Where the source leads if it is a link, and the name that it was asked for by.
async fn followed(client: &Client, copy: &Copy<'_>) -> (String, String) {
    match stat(client, copy.container, copy.source).await {
        Ok(found) if found.mode & go_mode::SYMLINK != 0 => {
            let target = if found.link_target.starts_with('/') {
                found.link_target
            } else {
                paths::join(&paths::split_entry(copy.source).0, &found.link_target)
            };
            paths::rebase_name(copy.source, target)
        }
        // What cannot be looked at cannot be fetched, either, and then the daemon says why.
        _ => (copy.source.to_owned(), String::new()),
    }
}

async fn unpacked(
    mut answer: Answer,
    source: &End,
    destination: &str,
    counter: &Counter,
) -> Result<(), CliError> {
    let plan = plan(source, &local::destination(destination)?)?;
    let rename = renamed(source, plan.rename.as_ref());
    let Plan { directory, .. } = plan;
    let root = File::open(&directory).map_err(|error| local::failed("open", &directory, &error))?;
    let (sender, pieces) = mpsc::channel(BACKLOG);
    let (done, ended) = oneshot::channel();
    let work = move || {
        let rename = rename.as_ref().map(|(old, new)| (old.as_bytes(), new.as_bytes()));
        let options = Options {
            limits: Limits::default(),
            whiteouts: Whiteouts::Literal,
            owner: Owner::Unpacker,
            ids: None,
            keep_types: true,
            keep_root: true,
            clones: None,
        };
        let mut tar = Pieces { pieces, current: Bytes::new() };
        let unpacked = unpack_renamed(&mut tar, root.as_fd(), rename, &options);
        // Whoever waits for it may have been interrupted.
        drop(done.send(unpacked.map(drop)));
    };
    std::thread::Builder::new()
        .name("untar".to_owned())
        .spawn(work)
        .map_err(|error| CliError::new(format!("cannot start to copy: {error}")))?;
    let mut broken = None;
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => {
                counter.add(piece.len());
                // The other side is gone when it has failed.
                if sender.send(Ok(piece)).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                drop(sender.send(Err(io::ErrorKind::UnexpectedEof.into())).await);
                broken = Some(CliError::from(error));
                break;
            }
        }
    }
    drop(sender);
    let unpacked = ended.await;
    match (broken, unpacked) {
        (Some(error), _) => Err(error),
        (None, Ok(Ok(()))) => Ok(()),
        (None, Ok(Err(error))) => Err(CliError::new(words(error, &directory))),
        (None, Err(_)) => Err(CliError::new("the copy ended early")),
    }
}

/// What the daemon's entries start with, and what they are to start with here.
fn renamed(source: &End, planned: Option<&(String, String)>) -> Option<(String, String)> {
    // The daemon calls what a link leads to by its own name.
    let own = paths::split_entry(&source.path).1;
    match planned {
        Some((_, new)) if !source.asked_as.is_empty() => Some((own, new.clone())),
        Some(planned) => Some(planned.clone()),
        None if !source.asked_as.is_empty() => Some((own, source.asked_as.clone())),
        None => None,
    }
}

/// Docker's words.
fn words(error: UnpackError, directory: &str) -> String {
    let full = |path: &str| paths::join(directory, path);
    let root = paths::clean(directory);
    match error {
        UnpackError::OtherType { path, is_directory: true } => {
            format!("cannot overwrite directory {:?} with non-directory {root:?}", full(&path))
        }
        UnpackError::OtherType { path, is_directory: false } => {
            format!("cannot overwrite non-directory {:?} with directory {root:?}", full(&path))
        }
        UnpackError::Truncated { .. } => "unexpected EOF".to_owned(),
        other => ferry_errkind::chain(&other),
    }
}

/// The pieces of an answer as a file.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        ferry_archive::read_buffered(self, buffer)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}
