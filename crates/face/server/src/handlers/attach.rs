//! `/containers/{id}/attach`.

use ferry_engine::ops::container::{self as ops, AttachRequest, Attachment, PendingStream};
use ferry_errkind::Failure;

use crate::{
    detach::DetachKeys,
    hijack::{self, Client, Input, PendingClient},
    reply::Reply,
    request::Request,
};

pub(crate) async fn attach(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let keys = query.get("detachKeys").to_owned();
    let wanted = AttachRequest {
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        detach_keys: keys.clone(),
    };
    let stream = wanted.stream;
    let attachment = ops::attach(&request.engine, request.name(), wanted).await?;
    let keys = DetachKeys::parse(&keys)?;
    let input = match (attachment.stdin, attachment.tty) {
        (false, _) => Input::None,
        (true, false) => Input::Stdin,
        (true, true) => Input::Terminal(keys),
    };
    let (reply, client) = hijack::hijack(request, !attachment.tty);
    tokio::spawn(connect(client, attachment, stream, input));
    Ok(reply)
}

/// Old output first, then the streams: at once, or when the container starts.
async fn connect(client: PendingClient, attachment: Attachment, stream: bool, input: Input) {
    let Some(mut client) = client.ready().await else { return };
    if let Some(mut logs) = attachment.logs {
        while let Some(Ok(piece)) = logs.chunks.recv().await {
            if !client.send(piece).await {
                return;
            }
        }
    }
    match if stream { wait_for_start(&mut client, attachment.pending).await } else { None } {
        Some(container) => {
            client.pump(container, input).await;
        }
        None => client.close().await,
    }
}

/// `None` when the container never starts, or the client leaves before it does.
async fn wait_for_start(
    client: &mut Client,
    pending: PendingStream,
) -> Option<tokio::net::UnixStream> {
    tokio::select! {
        container = pending.connect() => container,
        () = client.gone() => None,
    }
}
