//! Commands and ports over WebSocket, whose messages are on channels.
//!
//! Port forward has two channels for each port, data and error, each opened with the port's number.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use ferry_engine::Engine;
use futures_util::{SinkExt, StreamExt, stream::SplitSink, stream::SplitStream};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    Input, Output, Ticket,
    channels::{HEADER, Protocol},
    forward::{self, FromPort},
    serve::{self, switching},
    session::{self, Wanted},
};
use crate::api;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Largest message from a client.
const MAX_MESSAGE: usize = 1 << 20;

/// Messages on their way.
const BACKLOG: usize = 16;

/// Ports that one connection forwards; their channels are letters where messages are text.
const MAX_PORTS: usize = 32;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// v5: the channel in the next byte is closed.
const CLOSE: u8 = 255;

pub(super) fn upgrade(
    engine: Engine,
    ticket: Ticket,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let key = request.headers().get("sec-websocket-key").map(|key| key.as_bytes().to_vec());
    let Some(key) = key else {
        return serve::words(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing");
    };
    let protocol = match Protocol::of(&ticket, &request) {
        Ok(protocol) => protocol,
        Err(words) => return serve::words(StatusCode::BAD_REQUEST, &words),
    };
    tokio::spawn(async move {
        let upgraded = match hyper::upgrade::on(request).await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!(%error, "no upgrade"),
        };
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let socket = Socket::from_raw_socket(upgraded, Role::Server, Some(limits)).await;
        match ticket {
            Ticket::Forward(request) => ports(engine, request, socket, protocol).await,
            ticket => command(engine, ticket, socket, protocol).await,
        }
    });
    let mut headers = vec![("sec-websocket-accept", accept(&key))];
    headers.extend(protocol.name.map(|name| (HEADER, name.to_owned())));
    switching("websocket", &headers)
}

/// The answer to a client's key (RFC 6455).
fn accept(key: &[u8]) -> String {
    let mut text = key.to_vec();
    text.extend_from_slice(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

async fn command(engine: Engine, ticket: Ticket, socket: Socket, protocol: Protocol) {
    let (mut sink, source) = socket.split();
    // Some clients wait for a word that they are connected: an empty message on the first channel that they read.
    let first = match Wanted::of(&ticket) {
        Some(Wanted { stdout: true, .. }) => STDOUT,
        Some(Wanted { stderr: true, .. }) => STDERR,
        _ => ERROR,
    };
    if sink.send(protocol.message(first, b"")).await.is_err() {
        return;
    }
    let (input, inputs) = mpsc::channel(BACKLOG);
    let (output, outputs) = mpsc::channel(BACKLOG);
    let reading = tokio::spawn(hear(source, input, protocol));
    let writing = tokio::spawn(tell(sink, outputs, protocol));
    session::run(engine, ticket, inputs, output).await;
    writing.await.ok();
    reading.abort();
}

/// Reads what a client sends until it leaves.
async fn hear(mut source: SplitStream<Socket>, input: mpsc::Sender<Input>, protocol: Protocol) {
    while let Some(Ok(message)) = source.next().await {
        if message.is_close() {
            return;
        }
        let news = match protocol.read(message) {
            // v4 has no word for the end of input; an empty message is what its clients send first, and means nothing.
            Some((STDIN, bytes)) if !bytes.is_empty() => Input::Stdin(bytes),
            Some((RESIZE, bytes)) => match size(&bytes) {
                Some((width, height)) => Input::Resize(width, height),
                None => continue,
            },
            Some((CLOSE, bytes)) if *bytes == [STDIN] => Input::Stdin(Bytes::new()),
            _ => continue,
        };
        if input.send(news).await.is_err() {
            return;
        }
    }
}

/// `{"Width":80,"Height":24}`.
pub(super) fn size(text: &[u8]) -> Option<(u16, u16)> {
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    let side = |name: &str| u16::try_from(value.get(name)?.as_u64()?).ok();
    Some((side("Width")?, side("Height")?))
}

async fn tell(
    mut sink: SplitSink<Socket, Message>,
    mut outputs: mpsc::Receiver<Output>,
    protocol: Protocol,
) {
    while let Some(output) = outputs.recv().await {
        let message = match output {
            Output::Stdout(bytes) => protocol.message(STDOUT, &bytes),
            Output::Stderr(bytes) => protocol.message(STDERR, &bytes),
            Output::Done(status) => {
                if let Some(words) = protocol.end(&status) {
                    sink.send(protocol.message(ERROR, words.as_bytes())).await.ok();
                }
                return leave(&mut sink).await;
            }
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

/// Says goodbye: without a reason, clients take it for a failure.
async fn leave(sink: &mut SplitSink<Socket, Message>) {
    let normal = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    // The client may be gone.
    sink.send(Message::Close(Some(normal))).await.ok();
    sink.close().await.ok();
}

async fn ports(
    engine: Engine,
    request: api::PortForwardRequest,
    socket: Socket,
    protocol: Protocol,
) {
    let ports: Vec<u16> =
        request.port.iter().filter_map(|port| u16::try_from(*port).ok()).take(MAX_PORTS).collect();
    let (mut sink, mut source) = socket.split();
    let (sender, mut messages) = mpsc::channel::<Message>(BACKLOG);
    let mut inputs = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let data = u8::try_from(index * 2).unwrap_or(u8::MAX);
        for channel in [data, data + 1] {
            if sink.send(protocol.message(channel, &port.to_le_bytes())).await.is_err() {
                return;
            }
        }
        let (input, bytes) = mpsc::channel(BACKLOG);
        let (output, mut from_port) = mpsc::channel(BACKLOG);
        inputs.push(input);
        tokio::spawn(forward::run(
            engine.clone(),
            request.pod_sandbox_id.clone(),
            *port,
            bytes,
            output,
        ));
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(news) = from_port.recv().await {
                let message = match news {
                    FromPort::Data(bytes) if bytes.is_empty() => return,
                    FromPort::Data(bytes) => protocol.message(data, &bytes),
                    FromPort::Error(words) => protocol.message(data + 1, words.as_bytes()),
                };
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let hearing = tokio::spawn(async move {
        while let Some(Ok(message)) = source.next().await {
            let Some((channel, bytes)) = protocol.read(message) else { continue };
            let Some(input) = inputs.get(usize::from(channel / 2)) else { continue };
            if channel % 2 == 0 && !bytes.is_empty() {
                // A port that has ended takes no more.
                input.send(bytes).await.ok();
            }
        }
    });
    // All ports have ended when nobody sends any more; or the client has left.
    while let Some(message) = messages.recv().await {
        if sink.send(message).await.is_err() {
            break;
        }
    }
    leave(&mut sink).await;
    hearing.abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn sizes_of_terminals() {
        assert_eq!(size(br#"{"Width":80,"Height":24}"#), Some((80, 24)));
        for wrong in
            [&b""[..], b"{}", br#"{"Width":-1,"Height":1}"#, br#"{"Width":70000,"Height":1}"#]
        {
            assert_eq!(size(wrong), None);
        }
    }
}
