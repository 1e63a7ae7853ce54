//! Blobs: from the disk, or to the disk and the client in one pass.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use ferry_oci::Digest;
use http::{Method, StatusCode};
use tokio::sync::{mpsc, watch};

use super::{
    Upstream,
    fetch::{Extent, Fetch, Stage, unknown},
};
use crate::{
    body::Body,
    dispatch::{Answer, Call},
    fault::{Code, Fault},
    handlers::{self, bare, blobs, set},
};

/// Smaller ones are awaited whole: if they do not come, the answer says why.
const SMALL: u64 = 1 << 20;
/// So much of the end waits until the digest is known to be right: what is not complete is of use to nobody.
const HELD: u64 = 64 << 10;
/// Read at once.
const PIECE: u64 = 128 << 10;
/// Pieces on their way to a slow client.
const AHEAD: usize = 2;

pub(super) async fn get(
    call: &Call,
    upstream: Arc<Upstream>,
    theirs: &str,
    name: String,
    digest: Digest,
) -> Answer {
    match blobs::get(call, name.clone(), digest.clone()).await {
        Err(fault) if fault.is(Code::BlobUnknown) => {}
        answer => return answer,
    }
    if call.method == Method::HEAD {
        let repository = upstream.repository(theirs).await?;
        let size = repository.blob_size(&digest).await.map_err(|error| upstream.fault(&error))?;
        let size = size.ok_or_else(|| unknown(&digest))?;
        let mut response = bare(StatusCode::OK);
        blobs::describe(&mut response, &digest);
        set(&mut response, "content-length", size);
        return Ok(response);
    }
    let fetch = Fetch {
        upstream,
        store: call.kept()?,
        name: name.clone(),
        theirs: theirs.to_owned(),
        digest: digest.clone(),
    };
    let mut coming = fetch.begin();
    let ready = coming.wait_for(|stage| match stage {
        Stage::Asked => false,
        Stage::Coming(_, extent) => extent.size.is_some_and(|size| size > SMALL),
        Stage::There | Stage::Failed(_) => true,
    });
    let ready = ready.await.map(|stage| stage.clone());
    match ready.unwrap_or_else(|_| Stage::Failed(abandoned())) {
        Stage::Coming(file, Extent { size: Some(size), .. }) => {
            flowing(call, &digest, coming, file, size)
        }
        Stage::There => handlers::blobs::get(call, name, digest).await,
        Stage::Failed(fault) => Err(fault),
        Stage::Asked | Stage::Coming(..) => Err(abandoned()),
    }
}

fn abandoned() -> Fault {
    Fault::new(Code::Unknown, "the registry has failed; its log says why")
}

/// The answer with a blob that is still coming.
fn flowing(
    call: &Call,
    digest: &Digest,
    coming: watch::Receiver<Stage>,
    file: Arc<File>,
    size: u64,
) -> Answer {
    let (mut response, at, length) = blobs::portion(call, digest, size)?;
    let (sender, pieces) = mpsc::channel(AHEAD);
    let follower = Follower { coming, file, size, at, end: at + length };
    tokio::spawn(follower.run(sender));
    *response.body_mut() = Body::pieces(pieces, length);
    Ok(response)
}

/// Reads behind what is written.
struct Follower {
    coming: watch::Receiver<Stage>,
    file: Arc<File>,
    size: u64,
    at: u64,
    end: u64,
}

impl Follower {
    async fn run(mut self, sender: mpsc::Sender<io::Result<Bytes>>) {
        while self.at < self.end {
            let piece = tokio::select! {
                piece = self.next() => piece,
                () = sender.closed() => return,
            };
            let broken = piece.is_err();
            if sender.send(piece).await.is_err() || broken {
                return;
            }
        }
    }

    async fn next(&mut self) -> io::Result<Bytes> {
        let may = self.may_read().await?.min(self.end);
        let length = usize::try_from((may - self.at).min(PIECE)).unwrap_or(0);
        let (file, at) = (Arc::clone(&self.file), self.at);
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; length];
            file.read_exact_at(&mut buffer, at).map(|()| Bytes::from(buffer))
        });
        let piece = read.await.map_err(io::Error::other)??;
        self.at += piece.len() as u64;
        Ok(piece)
    }

    /// Up to where it may be read, which is beyond where we are.
    async fn may_read(&mut self) -> io::Result<u64> {
        let (at, size) = (self.at, self.size);
        let end_of = |stage: &Stage| match stage {
            Stage::There => size,
            Stage::Coming(_, extent) => extent.have.min(size.saturating_sub(HELD)),
            Stage::Asked | Stage::Failed(_) => 0,
        };
        let more = |stage: &Stage| matches!(stage, Stage::Failed(_)) || end_of(stage) > at;
        let gone = |_| io::Error::from(io::ErrorKind::UnexpectedEof);
        let stage = self.coming.wait_for(more).await.map_err(gone)?;
        match &*stage {
            Stage::Failed(fault) => Err(io::Error::other(fault.words().to_owned())),
            stage => Ok(end_of(stage)),
        }
    }
}
