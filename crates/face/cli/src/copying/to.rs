//! From this machine into a container.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use ferry_archive::{TarWriter, TreeOptions, write_resource};
use ferry_client::{Client, path_segment};
use ferry_docker_api::go_mode;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::unix::pipe,
};

use super::{
    Copy, local, paths,
    plan::{End, plan},
    progress::{self, Counter},
    stat,
};
use crate::{
    framework::{Cli, CliError},
    run::upload,
};

/// Copies a local path, or the tar on standard input, into a container.
pub(crate) async fn to_container(
    cli: &Cli,
    client: &Client,
    copy: &Copy<'_>,
) -> Result<(), CliError> {
    let destination = destination(client, copy).await?;
    let counter = Counter::default();
    let target = |directory: &str| {
        client
            .put(format!("/containers/{}/archive", path_segment(copy.container)))
            .query("path", directory)
            .query("noOverwriteDirNonDir", "true")
            .query_if(copy.archive, "copyUIDGID", "true")
    };
    if copy.source == "-" {
        if !destination.is_directory {
            let words = format!(
                "destination \"{}:{}\" must be a directory",
                copy.container, copy.destination
            );
            return Err(CliError::new(words));
        }
        let (input, _) = upload::open("-").await?;
        let call = target(&destination.path).upload("application/x-tar", input, None);
        return sent(cli, copy, &destination, &counter, call).await;
    }
    let path = paths::absolute(copy.source)
        .map_err(|error| local::failed("getwd", copy.source, &error))?;
    let source = local::source(&path, copy.follow_link)?;
    let plan = plan(&source, &destination)?;
    let (directory, name, mut shown) = local::split_source(&source);
    if let Some((_, new)) = plan.rename {
        shown = new;
    }
    let parent =
        File::open(&directory).map_err(|error| local::failed("open", &directory, &error))?;
    let failure = Arc::new(OnceLock::new());
    let input = tar_of(parent, name, shown, counter.clone(), Arc::clone(&failure))?;
    let call = target(&plan.directory).upload("application/x-tar", input, None);
    let outcome = sent(cli, copy, &destination, &counter, call).await;
    // Why the archive broke off says more than that it did.
    match failure.get() {
        Some(words) => Err(CliError::new(words.clone())),
        None => outcome,
    }
}

async fn sent(
    cli: &Cli,
    copy: &Copy<'_>,
    destination: &End,
    counter: &Counter,
    call: ferry_client::Call,
) -> Result<(), CliError> {
    if copy.quiet {
        return call.done().await.map_err(CliError::from);
    }
    let done = progress::watch(cli, "Copying to container - ", counter, call.done()).await;
    progress::summary(cli, counter, &format!("{}:{}", copy.container, destination.path));
    done.map_err(CliError::from)
}

/// The destination in the container, with a link followed. What cannot be looked at is as what is not there: the daemon will
/// say why when something is to be put there.
async fn destination(client: &Client, copy: &Copy<'_>) -> Result<End, CliError> {
    let mut end = End { path: copy.destination.to_owned(), ..End::default() };
    let Ok(mut found) = stat(client, copy.container, copy.destination).await else {
        return Ok(end);
    };
    if found.mode & go_mode::SYMLINK != 0 {
        end.path = if found.link_target.starts_with('/') {
            found.link_target
        } else {
            paths::join(&paths::split_entry(copy.destination).0, &found.link_target)
        };
        found = match stat(client, copy.container, &end.path).await {
            Ok(found) => found,
            Err(_) => return Ok(end),
        };
    }
    if found.mode & go_mode::DEVICE != 0 {
        let (container, path) = (copy.container, copy.destination);
        let words = "must be a directory or a regular file: got a device";
        return Err(CliError::new(format!("destination \"{container}:{path}\" {words}")));
    }
    end.exists = true;
    end.is_directory = found.mode & go_mode::DIRECTORY != 0;
    Ok(end)
}

/// A tar as it is being written by a thread.
struct Input {
    pipe: pipe::Receiver,
    counter: Counter,
    failure: Arc<OnceLock<String>>,
}

fn tar_of(
    parent: File,
    name: String,
    shown: String,
    counter: Counter,
    failure: Arc<OnceLock<String>>,
) -> Result<Input, CliError> {
    let wrong = |error: io::Error| CliError::new(format!("cannot start to copy: {error}"));
    let (reader, writer) = io::pipe().map_err(wrong)?;
    let told = Arc::clone(&failure);
    let write = move || {
        let out = io::BufWriter::with_capacity(256 << 10, writer);
        let mut tar = TarWriter::new(out);
        let options = TreeOptions::COPY;
        let (name, shown) = (name.as_bytes(), shown.as_bytes());
        let written = write_resource(parent.as_fd(), name, shown, &options, &mut tar)
            .map_err(|error| ferry_errkind::chain(&error))
            .and_then(|()| {
                let ended = tar.finish().and_then(|mut out| out.flush());
                ended.map_err(|error| error.to_string())
            });
        if let Err(why) = written {
            // The pipe is closed after this, so that its reader sees it.
            drop(told.set(why));
        }
    };
    std::thread::Builder::new().name("tar".to_owned()).spawn(write).map_err(wrong)?;
    let pipe = pipe::Receiver::from_owned_fd(reader.into()).map_err(wrong)?;
    Ok(Input { pipe, counter, failure })
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.pipe).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        this.counter.add(read);
        match this.failure.get() {
            // Half an archive must not look whole.
            Some(words) if read == 0 => Poll::Ready(Err(io::Error::other(words.clone()))),
            _ => Poll::Ready(Ok(())),
        }
    }
}
