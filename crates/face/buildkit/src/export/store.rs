//! An image into a store that the client has (`type=oci,tar=false`): blob by blob, out of the archive that it would be otherwise.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use ferry_archive::{Limits, ReadTarError, TarReader};
use ferry_errkind::{ErrorKind, Failure};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::mpsc;
use tonic::{Code, Request, Streaming, metadata::MetadataValue};

use super::{BACKLOG, PIECE};
use crate::{
    proto::containerd::services::content::v1::{
        WriteAction, WriteContentRequest, WriteContentResponse, content_client::ContentClient,
    },
    session::Session,
    solve::of_status,
};

/// What clients call the store that a result goes to.
const EXPORT: &str = "export";
/// How calls say which store they mean.
const STORE: &str = "buildkit-attachable-store-id";
/// Largest `index.json`.
const MAX_INDEX: u64 = 16 << 20;

/// What an archive is made of.
enum Part {
    /// A blob begins: its digest and its length.
    Blob(String, i64),
    Data(Bytes),
    /// It ends.
    End,
    /// `index.json`.
    Index(Vec<u8>),
}

/// Sends all blobs of an archive; answers the descriptor of the image in it, which the client lists.
pub(super) async fn send(
    session: &Session,
    pieces: mpsc::Receiver<Result<Bytes, Failure>>,
) -> Result<Value, Failure> {
    if !session.supports("/containerd.services.content.v1.Content/Write") {
        let words = "the client has no store to export to";
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    let (out, mut parts) = mpsc::channel(BACKLOG);
    tokio::task::spawn_blocking(move || {
        let pieces = Pieces { pieces, current: Bytes::new() };
        if let Err(failure) = read(pieces, &out) {
            // Nobody listens any more where something failed before.
            out.blocking_send(Err(failure)).ok();
        }
    });
    let (mut index, mut upload) = (None, None);
    while let Some(part) = parts.recv().await {
        match (part?, &mut upload) {
            (Part::Blob(digest, size), _) => upload = Upload::begin(session, digest, size).await?,
            (Part::Data(data), Some(upload)) => upload.write(data).await?,
            // The store has it already.
            (Part::Data(_) | Part::End, None) => {}
            (Part::End, Some(_)) => {
                if let Some(upload) = upload.take() {
                    upload.commit().await?;
                }
            }
            (Part::Index(text), _) => index = Some(text),
        }
    }
    top(&index.ok_or_else(|| broken("the archive has no index.json"))?)
}

/// The descriptor of the first image in a list; its names are the client's business.
fn top(index: &[u8]) -> Result<Value, Failure> {
    let index: Value = serde_json::from_slice(index).map_err(|error| broken(error.to_string()))?;
    let mut descriptor = index["manifests"][0].clone();
    let fields = descriptor.as_object_mut().ok_or_else(|| broken("index.json lists no image"))?;
    if let Some(said) = fields.get_mut("annotations").and_then(Value::as_object_mut) {
        said.remove("io.containerd.image.name");
        said.remove("org.opencontainers.image.ref.name");
        if said.is_empty() {
            fields.remove("annotations");
        }
    }
    Ok(descriptor)
}

fn read(pieces: Pieces, out: &mpsc::Sender<Result<Part, Failure>>) -> Result<(), Failure> {
    let left = |_| Failure::new(ErrorKind::Unavailable, "the client has left");
    let mut tar = TarReader::new(pieces, Limits::default());
    loop {
        let next = tar.next_member().map_err(|error| match error {
            ReadTarError::Read(error) => wrong(error),
            other => broken(ferry_errkind::chain(&other)),
        })?;
        let Some(mut member) = next else { return Ok(()) };
        let path = String::from_utf8_lossy(&member.entry.path).into_owned();
        if path == "index.json" {
            let mut text = Vec::new();
            member.take(MAX_INDEX).read_to_end(&mut text).map_err(wrong)?;
            out.blocking_send(Ok(Part::Index(text))).map_err(left)?;
            continue;
        }
        let Some(hex) = path.strip_prefix("blobs/sha256/").filter(|hex| !hex.is_empty()) else {
            continue;
        };
        let size = i64::try_from(member.entry.size).unwrap_or(i64::MAX);
        out.blocking_send(Ok(Part::Blob(format!("sha256:{hex}"), size))).map_err(left)?;
        loop {
            let mut data = Vec::with_capacity(PIECE.min(usize::try_from(size).unwrap_or(PIECE)));
            let limit = PIECE as u64;
            if member.by_ref().take(limit).read_to_end(&mut data).map_err(wrong)? == 0 {
                break;
            }
            out.blocking_send(Ok(Part::Data(data.into()))).map_err(left)?;
        }
        out.blocking_send(Ok(Part::End)).map_err(left)?;
    }
}

/// A failure on the other side of the pieces stays what it is.
fn wrong(error: io::Error) -> Failure {
    error.downcast().unwrap_or_else(|error| broken(error.to_string()))
}

/// A blob on its way into the store.
struct Upload {
    requests: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
    digest: String,
    total: i64,
    offset: i64,
}

impl Upload {
    /// Begins one; `None` where the store has the blob.
    async fn begin(
        session: &Session,
        digest: String,
        total: i64,
    ) -> Result<Option<Upload>, Failure> {
        let (requests, queue) = mpsc::channel::<WriteContentRequest>(1);
        let messages = stream::unfold(queue, |mut queue| async move {
            queue.recv().await.map(|message| (message, queue))
        });
        let mut request = Request::new(messages);
        request.metadata_mut().insert(STORE, MetadataValue::from_static(EXPORT));
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: format!("ferry-{digest}"),
            total,
            expected: digest.clone(),
            ..WriteContentRequest::default()
        };
        requests.send(first).await.map_err(|_| gone())?;
        let there = |status: tonic::Status| match status.code() {
            Code::AlreadyExists => Ok(None),
            _ => Err(of_status(&status)),
        };
        let mut client = ContentClient::new(session.channel());
        let mut answers = match client.write(request).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return there(status),
        };
        match answers.message().await {
            // What an earlier attempt left there is written over.
            Ok(Some(_)) => Ok(Some(Upload { requests, answers, digest, total, offset: 0 })),
            Ok(None) => Err(gone()),
            Err(status) => there(status),
        }
    }

    async fn write(&mut self, data: Bytes) -> Result<(), Failure> {
        let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
        self.ask(WriteAction::Write, data).await?;
        self.offset = self.offset.saturating_add(length);
        Ok(())
    }

    async fn commit(mut self) -> Result<(), Failure> {
        self.ask(WriteAction::Commit, Bytes::new()).await
    }

    async fn ask(&mut self, action: WriteAction, data: Bytes) -> Result<(), Failure> {
        let request = WriteContentRequest {
            action: action.into(),
            total: self.total,
            expected: self.digest.clone(),
            offset: self.offset,
            data,
            ..WriteContentRequest::default()
        };
        self.requests.send(request).await.map_err(|_| gone())?;
        match self.answers.message().await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(gone()),
            // Somebody else put it there meanwhile.
            Err(status)
                if action == WriteAction::Commit && status.code() == Code::AlreadyExists =>
            {
                Ok(())
            }
            Err(status) => Err(of_status(&status)),
        }
    }
}

fn gone() -> Failure {
    Failure::new(ErrorKind::Unavailable, "the client's store does not answer any more")
}

fn broken(why: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Internal, format!("cannot read the image: {}", why.into()))
}

/// An archive as it comes, for a thread that blocks.
struct Pieces {
    pieces: mpsc::Receiver<Result<Bytes, Failure>>,
    current: Bytes,
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.current = piece,
                Some(Err(failure)) => return Err(io::Error::other(failure)),
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        drop(self.current.split_to(amount.min(self.current.len())));
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        ferry_archive::read_buffered(self, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stays_what_it_is() {
        let (sender, pieces) = mpsc::channel(1);
        sender.blocking_send(Err(Failure::new(ErrorKind::NotFound, "no such image"))).unwrap();
        let (out, _parts) = mpsc::channel(1);
        let failure = read(Pieces { pieces, current: Bytes::new() }, &out).unwrap_err();
        assert_eq!((failure.kind(), failure.message()), (ErrorKind::NotFound, "no such image"));
    }

    #[test]
    fn an_image_is_listed_without_the_names_of_the_archive() {
        let text = r#"{"manifests":[{"digest":"sha256:a","size":3,
            "annotations":{"io.containerd.image.name":"x:1","org.opencontainers.image.ref.name":"1"}}]}"#;
        let wanted = serde_json::json!({ "digest": "sha256:a", "size": 3 });
        assert_eq!(top(text.as_bytes()).unwrap(), wanted);
        assert!(top(b"{}").is_err() && top(b"").is_err());
    }
}
