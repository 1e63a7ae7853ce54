//! Fetching from the client's directories: the Dockerfile with what it ignores, and the context as a tar.

use ferry_engine::{
    Engine,
    ops::build::{self as ops, CurrentTree},
};
use ferry_errkind::{ErrorKind, Failure};
use futures_util::stream;
use tokio::{io::AsyncWriteExt, sync::mpsc};
use tonic::{
    Request, Streaming,
    metadata::{Ascii, MetadataKey, MetadataValue},
};

use crate::{
    proto::{
        fsutil::types::Packet,
        moby::{
            filesync::v1::file_sync_client::FileSyncClient,
            upload::v1::{BytesMessage, upload_client::UploadClient},
        },
    },
    receive::{Packets, ReceiveError, listing, receive, receive_some},
    session::Session,
    solve::of_status,
};

/// Largest message of a session that is read: BuildKit's own limit.
const MAX_MESSAGE: usize = 16 << 20;
/// Requests for files on their way.
const BACKLOG: usize = 256;
/// Bytes of a tar between who receives and who unpacks it.
const PIPE: usize = 1 << 20;
/// Dockerfiles and ignore files are small.
const MAX_TEXT: u64 = 16 << 20;

/// What of a client's directory is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    /// The directory's name: `context`, `dockerfile`, or that of a `--build-context`.
    pub(crate) directory: String,
    /// Only what these patterns match; none is all.
    pub(crate) include: Vec<String>,
    /// Not what these match.
    pub(crate) exclude: Vec<String>,
    /// What these paths name, through links.
    pub(crate) follow: Vec<String>,
}

/// The Dockerfile and what goes with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Definition {
    pub(crate) dockerfile: Vec<u8>,
    /// Patterns of `.dockerignore`.
    pub(crate) ignored: Vec<String>,
}

/// Fetches the Dockerfile and the ignore file that holds for it: its own, or the context's.
pub(crate) async fn definition(
    session: &Session,
    directory: &str,
    context: &str,
    dockerfile: &str,
) -> Result<Definition, Failure> {
    let name = dockerfile.trim_start_matches("./").trim_start_matches('/').to_owned();
    let own = format!("{name}.dockerignore");
    let selection = Selection {
        directory: directory.to_owned(),
        include: vec![name.clone(), own.clone(), ".dockerignore".to_owned()],
        follow: vec![name.clone(), own.clone(), ".dockerignore".to_owned()],
        ..Selection::default()
    };
    let texts = texts(session, selection).await?;
    let text =
        |name: &str| texts.iter().find(|(path, _)| path == name).map(|(_, text)| text.clone());
    let missing = || {
        let words = format!("failed to read dockerfile: open {name}: no such file or directory");
        Failure::new(ErrorKind::NotFound, words)
    };
    let dockerfile = text(&name).ok_or_else(missing)?;
    let ignored = match text(&own) {
        Some(own) => Some(own),
        None => {
            let selection = Selection {
                directory: context.to_owned(),
                include: vec![".dockerignore".to_owned()],
                follow: vec![".dockerignore".to_owned()],
                ..Selection::default()
            };
            self::texts(session, selection).await?.pop().map(|(_, text)| text)
        }
    };
    let ignored = patterns(&String::from_utf8_lossy(&ignored.unwrap_or_default()));
    Ok(Definition { dockerfile, ignored })
}

/// The lines of an ignore file that are patterns, as Docker hands them on: clean, without a leading slash.
fn patterns(text: &str) -> Vec<String> {
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (sign, pattern) = match line.strip_prefix('!') {
                Some(pattern) => ("!", pattern.trim()),
                None => ("", line),
            };
            format!("{sign}{}", clean(pattern))
        })
        .filter(|pattern| !matches!(pattern.as_str(), "" | "!"))
        .collect()
}

fn clean(pattern: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in pattern.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => drop(names.pop()),
            name => names.push(name),
        }
    }
    if names.is_empty() && !pattern.is_empty() { ".".to_owned() } else { names.join("/") }
}

/// Small files of a directory, by name. A link to a file counts as the file, as BuildKit has it.
async fn texts(session: &Session, selection: Selection) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut tar = tokio::io::duplex(PIPE);
    let read = async {
        let mut bytes = Vec::new();
        let mut limited = tokio::io::AsyncReadExt::take(&mut tar.0, MAX_TEXT);
        tokio::io::AsyncReadExt::read_to_end(&mut limited, &mut bytes).await.ok();
        bytes
    };
    let fetch = async {
        let mut out = tar.1;
        fetch(session, selection, &mut out, |_| {}).await
    };
    let (bytes, fetched) = tokio::join!(read, fetch);
    fetched?;
    Ok(crate::tar::files(&bytes))
}

/// Fetches a directory as a tar.
pub(crate) async fn fetch(
    session: &Session,
    selection: Selection,
    out: &mut (impl tokio::io::AsyncWrite + Unpin),
    progress: impl Fn(u64),
) -> Result<(), Failure> {
    let mut packets = open(session, &selection).await?;
    receive(&mut packets, out, progress).await?;
    Ok(())
}

/// Fetches what has changed in a directory since the last build that had it; `None` where nothing of it is kept: the client
/// has no key for it, or another build has it just now.
pub(crate) async fn fetch_changes(
    engine: &Engine,
    session: &Session,
    selection: &Selection,
    progress: impl Fn(u64),
) -> Result<Option<CurrentTree>, Failure> {
    if session.shared_key().is_empty() {
        return Ok(None);
    }
    let mut packets = open(session, selection).await?;
    let listing = listing(&mut packets).await?;
    let (told, numbers) = listing.told();
    let key = format!("{}\0{}", session.shared_key(), selection.directory);
    let Some((tree, chosen)) = ops::keep_tree(engine, &key, told).await? else { return Ok(None) };
    let mut wanted = vec![false; listing.len()];
    for (number, chosen) in numbers.into_iter().zip(chosen) {
        wanted[number] = chosen;
    }
    let (reader, mut writer) = tokio::io::duplex(PIPE);
    let send = async {
        receive_some(&mut packets, &listing, &wanted, &mut writer, progress).await?;
        drop(writer);
        Ok::<(), Failure>(())
    };
    let (sent, filled) = tokio::join!(send, tree.fill(reader));
    // Where both failed, the tar broke off because the client did.
    sent?;
    filled?.finish().await.map(Some)
}

/// Begins to fetch a directory.
async fn open(session: &Session, selection: &Selection) -> Result<Stream, Failure> {
    let (send, queue) = mpsc::channel::<Packet>(BACKLOG);
    let packets = stream::unfold(queue, |mut queue| async move {
        queue.recv().await.map(|packet| (packet, queue))
    });
    let mut request = Request::new(packets);
    let metadata = request.metadata_mut();
    let directory = std::slice::from_ref(&selection.directory);
    let keys: [(&str, &[String]); 4] = [
        ("dir-name", directory),
        ("include-patterns", &selection.include),
        ("exclude-patterns", &selection.exclude),
        ("followpaths", &selection.follow),
    ];
    for (key, values) in keys {
        let foreign =
            values.iter().any(|value| !value.bytes().all(|byte| (b' '..127).contains(&byte)));
        let invalid =
            |_| Failure::new(ErrorKind::InvalidArgument, format!("a pattern of {key} is invalid"));
        for value in values {
            let value = if foreign { escaped(value) } else { value.clone() };
            let value = MetadataValue::<Ascii>::try_from(value).map_err(invalid)?;
            metadata.append(key, value);
        }
        if foreign {
            let key: MetadataKey<Ascii> = format!("{key}-encoded")
                .parse()
                .map_err(|_| Failure::new(ErrorKind::Internal, "a header has no name"))?;
            metadata.insert(key, MetadataValue::from_static("1"));
        }
    }
    let mut client = FileSyncClient::new(session.channel()).max_decoding_message_size(MAX_MESSAGE);
    let from = client.diff_copy(request).await.map_err(|status| of_status(&status))?.into_inner();
    Ok(Stream { send, from })
}

/// What the client hands over under a name: its standard input.
pub(crate) async fn upload(
    session: Session,
    id: String,
) -> Result<tokio::io::DuplexStream, Failure> {
    let mut request = Request::new(stream::pending::<BytesMessage>());
    let invalid = |_| Failure::new(ErrorKind::InvalidArgument, format!("invalid upload {id:?}"));
    let path = MetadataValue::<Ascii>::try_from(format!("/{id}")).map_err(invalid)?;
    request.metadata_mut().insert("urlpath", path);
    request.metadata_mut().insert("urlhost", MetadataValue::from_static("buildkit-session"));
    let mut client = UploadClient::new(session.channel()).max_decoding_message_size(MAX_MESSAGE);
    let answer = client.pull(request).await.map_err(|status| of_status(&status))?;
    let (reader, mut writer) = tokio::io::duplex(PIPE);
    tokio::spawn(async move {
        let mut pieces = answer.into_inner();
        // A tar that breaks off is refused by whoever unpacks it.
        while let Ok(Some(piece)) = pieces.message().await {
            if writer.write_all(&piece.data).await.is_err() {
                return;
            }
        }
    });
    Ok(reader)
}

/// As Go's `url.QueryEscape`.
fn escaped(text: &str) -> String {
    ferry_stdx::percent::encode(text, b" ").replace(' ', "+")
}

struct Stream {
    send: mpsc::Sender<Packet>,
    from: Streaming<Packet>,
}

impl Packets for Stream {
    async fn next(&mut self) -> Result<Packet, ReceiveError> {
        match self.from.message().await {
            Ok(Some(packet)) => Ok(packet),
            Ok(None) => Err(ReceiveError::Connection("it ended early".to_owned())),
            Err(status) => Err(ReceiveError::Connection(status.message().to_owned())),
        }
    }

    async fn send(&mut self, packet: Packet) -> Result<(), ReceiveError> {
        let ended = |_| ReceiveError::Connection("it ended early".to_owned());
        self.send.send(packet).await.map_err(ended)
    }
}

/// A tar that comes while it is read; the second half fetches it and has to be polled beside whoever reads.
pub(crate) fn piped(
    session: Session,
    selection: Selection,
    progress: impl Fn(u64) + Send + 'static,
) -> (tokio::io::DuplexStream, impl Future<Output = Result<(), Failure>> + Send) {
    let (reader, mut writer) = tokio::io::duplex(PIPE);
    let work = async move {
        fetch(&session, selection, &mut writer, progress).await?;
        writer.shutdown().await.ok();
        Ok(())
    };
    (reader, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignore_files_are_handed_on_as_docker_does() {
        let text = "\u{feff}# no\n\n /a/./b/ \n!/c\n! d\n..\n/\n#x\n**/*.o\n";
        let expected = ["a/b", "!c", "!d", "..", ".", "**/*.o"];
        assert_eq!(patterns(text), expected);
    }

    #[test]
    fn what_is_foreign_to_headers_is_escaped() {
        assert_eq!(escaped("a b/ü"), "a+b%2F%C3%BC");
    }
}
