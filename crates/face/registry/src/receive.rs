//! Bodies of requests: a manifest into memory, a blob into its upload.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ferry_registry_store::{Claim, StoreError};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{task::JoinHandle, time::timeout};

use crate::fault::{Code, Fault};

/// A client that sends nothing for so long is gone. What it sent is kept, and it may go on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Written at once, while the next is received.
const BATCH: usize = 256 << 10;

/// Reads a body whole.
pub(crate) async fn whole(mut body: Incoming, most: usize) -> Result<Bytes, Fault> {
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut body).await? {
        if bytes.len() + piece.len() > most {
            let words = format!("content is larger than {most} bytes");
            return Err(Fault::new(Code::TooLarge, words));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Bytes::from(bytes))
}

/// Appends a body to an upload. When it fails, what came until then is kept.
pub(crate) async fn into_upload(
    mut body: Incoming,
    claim: &Arc<Claim>,
    limit: u64,
) -> Result<(), Fault> {
    let mut writing: Option<JoinHandle<Result<(), StoreError>>> = None;
    loop {
        let mut pieces = Vec::new();
        let received = batch(&mut body, &mut pieces).await;
        if let Some(writing) = writing.take() {
            finished(writing).await?;
        }
        let last = !matches!(received, Ok(true));
        if !pieces.is_empty() {
            let claim = Arc::clone(claim);
            let write = tokio::task::spawn_blocking(move || claim.append(&pieces, limit));
            if last {
                finished(write).await?;
            } else {
                writing = Some(write);
            }
        }
        if last {
            return received.map(drop);
        }
    }
}

async fn finished(writing: JoinHandle<Result<(), StoreError>>) -> Result<(), Fault> {
    let written = writing.await.map_err(|_| Fault::new(Code::Unknown, "writing has failed"))?;
    Ok(written?)
}

/// Collects what is to be written at once; whether more comes.
async fn batch(body: &mut Incoming, pieces: &mut Vec<Bytes>) -> Result<bool, Fault> {
    let mut size = 0;
    while size < BATCH {
        let Some(piece) = next(body).await? else { return Ok(false) };
        size += piece.len();
        pieces.push(piece);
    }
    Ok(true)
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
    loop {
        let broken = |words: String| Fault::new(Code::BlobUploadInvalid, words);
        match timeout(PATIENCE, body.frame()).await {
            Err(_) => return Err(broken("the client sent nothing for a minute".to_owned())),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(broken(format!("the body broke off: {error}"))),
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}
