//! Files of containers, out of the archives that the Engine API gives: what is in a directory, and what is in a file.
//!
//! The API has no list of a directory, only its tar. That is read here, so that the browser gets the list alone.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ferry_archive::{Entry, Kind};
use ferry_client::{Answer, path_segment};
use http::{StatusCode, header};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    errand, layers,
    proxy::refused,
    reply::{Pieces, Reply, failure, reply, set, with_body},
    server::Shared,
    tar::{Tar, TarError},
};

/// Names that one directory's list may have.
const NAMES: usize = 50_000;
/// Pieces of a file that may be on their way to a slow browser.
const AHEAD: usize = 8;

/// A name in a directory.
#[derive(Debug, Default, Serialize)]
struct Child {
    name: String,
    kind: &'static str,
    /// Of a directory: of all files below it.
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    link: String,
}

/// What stands at a path.
#[derive(Debug, Serialize)]
struct Listing {
    kind: &'static str,
    link: String,
    entries: Vec<Child>,
}

/// Answers `/files/list`, `/files/read`, `/files/layers` and `/files/compose`.
pub(crate) async fn serve(shared: &Arc<Shared>, what: &str, query: Option<&str>) -> Reply {
    let value = |name: &str| {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    };
    if what == "layers" {
        let Some(image) = value("image").and_then(unescape) else {
            return failure(400, "image is needed", None);
        };
        return layers::serve(shared, &image).await;
    }
    if what == "compose" {
        let Some(list) = value("files").and_then(unescape) else {
            return failure(400, "files are needed", None);
        };
        return errand::files(&list).await;
    }
    let (Some(container), Some(path)) = (value("container"), value("path")) else {
        return failure(400, "container and path are needed", None);
    };
    let (Some(container), Some(path)) = (unescape(container), unescape(path)) else {
        return failure(400, "container and path are to be UTF-8", None);
    };
    let call = shared
        .client
        .get(format!("/containers/{}/archive", path_segment(&container)))
        .query("path", &path);
    let answer = match call.send().await {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    let done = match what {
        "list" => list(answer, &path).await,
        "read" => read(answer, &path).await,
        _ => return failure(404, "page not found", None),
    };
    done.unwrap_or_else(|error| failure(502, &ferry_errkind::chain(&error), None))
}

async fn list(answer: Answer, path: &str) -> Result<Reply, TarError> {
    let mut tar = Tar::new(answer);
    let mut listing = Listing { kind: "directory", link: String::new(), entries: Vec::new() };
    let mut children: BTreeMap<String, Child> = BTreeMap::new();
    // The tar of `/etc` begins with `etc/`; that of `/` with nothing.
    let base = usize::from(path.split('/').any(|part| !matches!(part, "" | ".")));
    while let Some(entry) = tar.next().await? {
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let mut parts = name.split('/').filter(|part| !matches!(*part, "" | ".")).skip(base);
        let Some(first) = parts.next() else {
            listing.kind = word(entry.kind);
            listing.link = String::from_utf8_lossy(&entry.link).into_owned();
            continue;
        };
        let below = parts.next().is_some();
        if !children.contains_key(first) && children.len() >= NAMES {
            continue;
        }
        let child = children.entry(first.to_owned()).or_default();
        child.size += if entry.kind == Kind::File { entry.size } else { 0 };
        if !below {
            describe(child, first, &entry);
        }
    }
    listing.entries = children.into_values().filter(|child| !child.name.is_empty()).collect();
    match serde_json::to_vec(&listing) {
        Ok(body) => Ok(reply(StatusCode::OK, "application/json", body)),
        Err(error) => Ok(failure(500, &error.to_string(), None)),
    }
}

fn describe(child: &mut Child, name: &str, entry: &Entry) {
    name.clone_into(&mut child.name);
    child.kind = word(entry.kind);
    child.mode = entry.mode;
    child.uid = entry.uid;
    child.gid = entry.gid;
    child.mtime = entry.mtime.seconds;
    child.link = String::from_utf8_lossy(&entry.link).into_owned();
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::File | Kind::HardLink => "file",
        Kind::Symlink => "symlink",
        Kind::Directory => "directory",
        Kind::CharDevice | Kind::BlockDevice => "device",
        Kind::Fifo => "fifo",
    }
}

/// The bytes of a file, without the tar around them.
async fn read(answer: Answer, path: &str) -> Result<Reply, TarError> {
    let mut tar = Tar::new(answer);
    let entry = tar.next().await?;
    if entry.as_ref().is_none_or(|entry| entry.kind != Kind::File || entry.sparse.is_some()) {
        return Ok(failure(400, &format!("no regular file: {path}"), None));
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        loop {
            let piece: Result<Bytes, _> = match tar.payload().await {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(error) => Err(std::io::Error::other(error)),
            };
            let broken = piece.is_err();
            // The browser may have seen enough: the preview reads only the beginning.
            if sender.send(piece).await.is_err() || broken {
                return;
            }
        }
    });
    let body = Pieces(receiver).boxed_unsync();
    let mut answer = with_body(StatusCode::OK, "application/octet-stream", body);
    set(&mut answer, header::CONTENT_DISPOSITION, &attachment(path));
    Ok(answer)
}

/// The file's own name, in the form of RFC 8187 that has any characters.
fn attachment(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or("file");
    format!("attachment; filename*=UTF-8''{}", path_segment(name))
}

/// `%2F` and the like.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_escapes() {
        assert_eq!(unescape("a%2Fb%20c").as_deref(), Some("a/b c"));
        assert_eq!(unescape("%ED%95%9C").as_deref(), Some("한"));
        for wrong in ["%", "%2", "%zz", "%FF"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
        assert_eq!(attachment("/a/x\".txt"), "attachment; filename*=UTF-8''x%22.txt");
    }
}
