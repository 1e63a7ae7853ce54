//! `--from-engine`: what a daemon has, served as a registry that takes nothing. Nothing is kept here: every answer is the daemon's.

use std::collections::BTreeMap;

use bytes::Bytes;
use ferry_client::{Answer, Client, ClientError};
use ferry_oci::{Digest, MAX_MANIFEST};
use ferry_registry_store::Target;
use http::{Method, StatusCode, header};
use tokio::sync::mpsc;

use crate::{
    body::Body,
    dispatch::{self, Call, answer_json},
    fault::{Code, Fault},
    handlers::{bare, blobs, lists, set},
    route::Route,
};

/// Pieces of a blob on their way to a slow client.
const AHEAD: usize = 8;
/// The daemon's list of all names.
const MAX_LIST: usize = 64 << 20;

/// Answers a request.
pub(crate) async fn operate(call: &Call, daemon: &Client, route: Route) -> dispatch::Answer {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        let words = "this registry shows what a daemon has: nothing is pushed or deleted here";
        return Err(Fault::new(Code::Unsupported, words));
    }
    match route {
        Route::Base => Ok(answer_json("{}".to_owned())),
        Route::Catalog => {
            let names = repositories(call, daemon).await?.into_keys().collect();
            lists::catalog_page(call, names)
        }
        Route::Search => {
            let names = repositories(call, daemon).await?.into_keys().collect();
            lists::found(call, names)
        }
        Route::Tags(name) => {
            let mut all = repositories(call, daemon).await?;
            let tags = all.remove(&name).ok_or_else(|| {
                let words = "repository name not known to registry";
                Fault::new(Code::NameUnknown, words).about("name", name.as_str())
            })?;
            lists::tags_page(call, &name, tags)
        }
        // Nothing that is about an image is kept by a daemon.
        Route::Referrers(name, digest) => lists::referrers_page(call, &name, &digest, Vec::new()),
        Route::Manifest(name, target) => manifest(call, daemon, &name, &target).await,
        Route::Blob(name, digest) => blob(call, daemon, &name, &digest).await,
        Route::Uploads(_) | Route::Upload(..) => {
            Err(Fault::new(Code::Unsupported, "the operation is unsupported"))
        }
    }
}

/// What the daemon has and the client may see.
async fn repositories(
    call: &Call,
    daemon: &Client,
) -> Result<BTreeMap<String, Vec<String>>, Fault> {
    let asked = daemon.get("/served/repositories").send().await;
    let answer = asked.map_err(|error| failed(&error, Code::NameUnknown, ""))?;
    let bytes = whole(answer, MAX_LIST).await?;
    let mut all: BTreeMap<String, Vec<String>> = serde_json::from_slice(&bytes)
        .map_err(|_| Fault::new(Code::Unavailable, "the daemon's answer does not read"))?;
    all.retain(|name, _| call.sees(name));
    Ok(all)
}

async fn manifest(call: &Call, daemon: &Client, name: &str, target: &Target) -> dispatch::Answer {
    let asked = daemon
        .get("/served/manifest")
        .query("repository", name)
        .query("reference", target)
        .send()
        .await;
    let answer =
        asked.map_err(|error| failed(&error, Code::ManifestUnknown, &target.to_string()))?;
    let text = |name: &str| answer.header(name).unwrap_or_default().to_owned();
    let (digest, media_type) = (text("docker-content-digest"), text("content-type"));
    let bytes = whole(answer, MAX_MANIFEST).await?;
    let known = call.header(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&digest));
    let mut response = bare(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    set(&mut response, "docker-content-digest", &digest);
    set(&mut response, "etag", format!("\"{digest}\""));
    if !known {
        set(&mut response, "content-type", media_type);
        set(&mut response, "content-length", bytes.len());
        if call.method == Method::GET {
            *response.body_mut() = Body::from(bytes);
        }
    }
    Ok(response)
}

async fn blob(call: &Call, daemon: &Client, name: &str, digest: &Digest) -> dispatch::Answer {
    let ask = |from: u64| {
        daemon
            .get("/served/blob")
            .query("repository", name)
            .query("digest", digest)
            .query("from", from)
            .send()
    };
    let refused = |error: ClientError| failed(&error, Code::BlobUnknown, &digest.to_string());
    let mut answer = ask(0).await.map_err(refused)?;
    let size = answer.header("x-size").and_then(|text| text.parse::<u64>().ok());
    let size = size
        .ok_or_else(|| Fault::new(Code::Unavailable, "the daemon does not say how large it is"))?;
    let (mut response, at, length) = blobs::portion(call, digest, size)?;
    if call.method == Method::GET {
        if at > 0 {
            answer = ask(at).await.map_err(refused)?;
        }
        *response.body_mut() = Body::pieces(flow(answer, length), length);
    }
    Ok(response)
}

/// So many bytes of an answer, as fast as the client takes them.
fn flow(mut answer: Answer, length: u64) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut left = length;
        while left > 0 {
            let piece = tokio::select! {
                piece = answer.chunk() => piece,
                () = sender.closed() => return,
            };
            let piece = match piece {
                Ok(Some(piece)) => {
                    Ok(piece.slice(..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))))
                }
                Ok(None) => Err(std::io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(std::io::Error::other(error)),
            };
            let broken = piece.is_err();
            left = left.saturating_sub(piece.as_ref().map_or(0, |piece| piece.len() as u64));
            if sender.send(piece).await.is_err() || broken {
                return;
            }
        }
    });
    pieces
}

async fn whole(mut answer: Answer, most: usize) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    let broken = |error: ClientError| failed(&error, Code::Unavailable, "");
    while let Some(piece) = answer.chunk().await.map_err(broken)? {
        if all.len() + piece.len() > most {
            return Err(Fault::new(Code::Unavailable, "the daemon's answer is too large"));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// What the daemon says that it has not, has this code; whatever else happens to it is in our log.
fn failed(error: &ClientError, unknown: Code, what: &str) -> Fault {
    match error {
        ClientError::Api { status: 404, message, .. } => {
            Fault::new(unknown, message.as_str()).about("unknown", what)
        }
        ClientError::Api { status: 400, message, .. } => {
            Fault::new(Code::NameInvalid, message.as_str())
        }
        other => {
            tracing::error!("the daemon: {}", ferry_errkind::chain(other));
            Fault::new(Code::Unavailable, "the daemon does not answer; the log says why")
        }
    }
}
