//! `/containers/{id}/changes`, `archive`, `export`: the files of a container.

use ferry_docker_api::FilesystemChange;
use ferry_engine::{Change, ChangeKind, ops::container as ops};
use ferry_errkind::Failure;

use crate::{
    convert,
    reply::{self, Reply},
    request::Request,
};

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
