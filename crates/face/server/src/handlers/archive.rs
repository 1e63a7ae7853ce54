//! `/containers/{id}/changes`, `archive`, `export` and `/commit`: the files of a container.

use base64::Engine as _;
use bytes::Bytes;
use ferry_docker_api::{CommitResponse, ContainerConfig, FilesystemChange, PathStat, go_mode};
use ferry_engine::{
    Change, ChangeKind,
    ops::container::{self as ops, CommitRequest, ExtractRequest},
};
use ferry_errkind::{ErrorKind, Failure};
use http::{HeaderName, HeaderValue, StatusCode};
use rustix::fs::FileType;

use crate::{
    body::Body,
    convert,
    read_body::BodyReader,
    reply::{self, Reply},
    request::Request,
};

/// What a path is, as JSON in base 64.
const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// A tar that is cut off must not look whole: the connection breaks.
const BROKEN: crate::body::RenderFailure = |_| None::<Bytes>;

pub(crate) async fn stat(request: Request) -> Result<Reply, Failure> {
    let path = request.query.get("path");
    let stat = ops::stat_path(&request.engine, request.name(), path).await?;
    let mut reply = reply::status(StatusCode::OK);
    reply.headers_mut().insert(PATH_STAT, header(&stat)?);
    Ok(reply)
}

pub(crate) async fn get(request: Request) -> Result<Reply, Failure> {
    let path = request.query.get("path");
    let stream = ops::archive(&request.engine, request.name(), path).await?;
    let body = Body::Fallible(stream.pieces, BROKEN);
    let mut reply = reply::content("application/x-tar", body);
    reply.headers_mut().insert(PATH_STAT, header(&stream.stat)?);
    Ok(reply)
}

pub(crate) async fn put(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let wanted = ExtractRequest {
        path: query.get("path").to_owned(),
        own: query.flag("copyUIDGID"),
        keep_types: query.flag("noOverwriteDirNonDir"),
    };
    let name = request.name().to_owned();
    ops::extract(&request.engine, &name, wanted, BodyReader::new(request.body)).await?;
    Ok(reply::status(StatusCode::OK))
}

pub(crate) async fn export(request: Request) -> Result<Reply, Failure> {
    let pieces = ops::export(&request.engine, request.name()).await?;
    Ok(reply::content("application/octet-stream", Body::Fallible(pieces, BROKEN)))
}

pub(crate) async fn commit(mut request: Request) -> Result<Reply, Failure> {
    let config: Option<ContainerConfig> = request.json().await?;
    let query = &request.query;
    let name = query.get("container").to_owned();
    let wanted = CommitRequest {
        repo: query.get("repo").to_owned(),
        tag: query.get("tag").to_owned(),
        author: query.get("author").to_owned(),
        comment: query.get("comment").to_owned(),
        pause: query.flag_or("pause", true),
        changes: query.all("changes"),
        // An empty object, or none at all, is the container's own configuration.
        config: config
            .filter(|config| *config != ContainerConfig::default())
            .map(convert::create::committed)
            .transpose()?,
    };
    let id = ops::commit(&request.engine, &name, wanted).await?;
    reply::created(&CommitResponse { id: id.to_string() })
}

fn header(stat: &ops::PathStat) -> Result<HeaderValue, Failure> {
    let wire = PathStat {
        name: stat.name.clone(),
        size: stat.size,
        mode: to_go(stat.mode),
        mtime: stat.mtime.format_rfc3339_nano(),
        link_target: stat.link_target.clone(),
    };
    let failed = |error: &dyn std::error::Error| {
        Failure::new(ErrorKind::Internal, format!("cannot write the answer's header: {error}"))
    };
    let json = serde_json::to_vec(&wire).map_err(|error| failed(&error))?;
    let text = base64::engine::general_purpose::STANDARD.encode(json);
    HeaderValue::from_str(&text).map_err(|error| failed(&error))
}

/// `st_mode` as Go has it.
fn to_go(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => go_mode::DIRECTORY,
        FileType::Symlink => go_mode::SYMLINK,
        FileType::BlockDevice => go_mode::DEVICE,
        FileType::CharacterDevice => go_mode::DEVICE | go_mode::CHARACTER,
        FileType::Fifo => go_mode::FIFO,
        FileType::Socket => go_mode::SOCKET,
        FileType::RegularFile | FileType::Unknown => 0,
    };
    let bit = |unix: u32, go: u32| if mode & unix != 0 { go } else { 0 };
    mode & 0o777
        | kind
        | bit(0o4000, go_mode::SETUID)
        | bit(0o2000, go_mode::SETGID)
        | bit(0o1000, go_mode::STICKY)
}

pub(crate) async fn changes(request: Request) -> Result<Reply, Failure> {
    let changes = ops::changes(&request.engine, request.name()).await?;
    let changes: Vec<FilesystemChange> = changes.iter().map(change).collect();
    reply::json(&convert::nil_if_empty(changes))
}

fn change(change: &Change) -> FilesystemChange {
    let kind = match change.kind {
        ChangeKind::Modified => 0,
        ChangeKind::Added => 1,
        ChangeKind::Deleted => 2,
    };
    FilesystemChange { path: format!("/{}", String::from_utf8_lossy(&change.path)), kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        // As dockerd 28.5 tells them.
        assert_eq!(to_go(0o040_755), 2_147_484_141);
        assert_eq!(to_go(0o120_777), 134_218_239);
        assert_eq!(to_go(0o100_644), 420);
        assert_eq!(to_go(0o104_755), go_mode::SETUID | 0o755);
    }
}
