//! `/containers/{id}/logs`.

use bytes::{Bytes, BytesMut};
use ferry_docker_api::stream::{self, StreamKind};
use ferry_engine::ops::container::{self as ops, LogsRequest};
use ferry_errkind::Failure;
use ferry_stdx::time::Timestamp;

use super::now;
use crate::{
    body::Body,
    query::Query,
    refuse::invalid,
    reply::{self, Reply},
    request::Request,
};

pub(crate) async fn logs(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(invalid("Bad parameters: you must choose at least one stream"));
    }
    let wanted = LogsRequest {
        follow: query.flag("follow"),
        stdout,
        stderr,
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
        since: time(query, "since")?,
        until: time(query, "until")?,
        // What is no number means everything, as in Docker ("all").
        tail: query.get("tail").parse().ok(),
    };
    let logs = ops::logs(&request.engine, request.name(), wanted).await?;
    let (kind, render): (_, crate::body::RenderFailure) = if logs.tty {
        ("application/vnd.docker.raw-stream", grabbing_failed_raw)
    } else {
        ("application/vnd.docker.multiplexed-stream", grabbing_failed_framed)
    };
    Ok(reply::content(kind, Body::Fallible(logs.chunks, render)))
}

/// A time: seconds since 1970 with decimals, as clients send it; other notations of `--since` are understood, too. 0 is none.
pub(super) fn time(query: &Query, name: &str) -> Result<Option<Timestamp>, Failure> {
    match query.get(name) {
        "" | "0" => Ok(None),
        text => Timestamp::parse_user(text, now())
            .map(Some)
            .map_err(|_| invalid(format!("invalid value for \"{name}\": {text}"))),
    }
}

fn grabbing_failed_raw(failure: &Failure) -> Option<Bytes> {
    Some(Bytes::from(format!("Error grabbing logs: {failure}\n")))
}

fn grabbing_failed_framed(failure: &Failure) -> Option<Bytes> {
    let words = format!("Error grabbing logs: {failure}\n");
    let len = u32::try_from(words.len()).ok()?;
    let mut frame = BytesMut::from(&stream::encode_header(StreamKind::SystemError, len)[..]);
    frame.extend_from_slice(words.as_bytes());
    Some(frame.freeze())
}
