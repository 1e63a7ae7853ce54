//! `/containers/{id}/attach/ws`: a container's streams as WebSocket messages (RFC 6455), without Docker's eight-byte heads.

use base64::Engine as _;
use bytes::{Buf, Bytes, BytesMut};
use ferry_engine::ops::container::{self as ops, AttachRequest, Attachment};
use ferry_errkind::Failure;
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use crate::{body::Body, detach::DetachKeys, refuse::invalid, reply::Reply, request::Request};

/// What the answer to a handshake is made with.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Longest message that is taken from a client.
const MAX_MESSAGE: u64 = 1 << 20;

/// Output is sent in messages of at most this size.
const PIECE: usize = 32 << 10;

/// Kinds of frames.
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

pub(crate) async fn attach(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let keys = query.get("detachKeys").to_owned();
    DetachKeys::parse(&keys)?;
    // Who names no stream wants them all.
    let none = ["stdin", "stdout", "stderr"].iter().all(|name| !query.flag(name));
    let wanted = AttachRequest {
        logs: query.flag("logs"),
        stream: query.flag("stream"),
        stdin: none || query.flag("stdin"),
        stdout: none || query.flag("stdout"),
        stderr: none || query.flag("stderr"),
        detach_keys: keys,
    };
    let stream = wanted.stream;
    let key = request.headers.get("sec-websocket-key").cloned();
    let version = request.headers.get("sec-websocket-version").map(HeaderValue::as_bytes);
    let (Some(key), Some(b"13"), true) = (key, version, request.upgrade.is_some()) else {
        return Err(invalid("attach/ws wants a WebSocket handshake (RFC 6455, version 13)"));
    };
    let attachment = ops::attach(&request.engine, request.name(), wanted).await?;
    if let Some(upgrade) = request.upgrade {
        tokio::spawn(connect(upgrade, attachment, stream));
    }
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&accept(key.as_bytes()))
        .map_err(|_| invalid("the WebSocket key does not read"))?;
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(reply)
}

/// The answer to a client's key. SHA-1 is no secret here: it only shows that this end speaks the protocol.
fn accept(key: &[u8]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(MAGIC);
    base64::engine::general_purpose::STANDARD.encode(context.finish())
}

async fn connect(upgrade: OnUpgrade, attachment: Attachment, stream: bool) {
    let Ok(upgraded) = upgrade.await else { return };
    let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
    let (answers, control) = mpsc::channel(4);
    let tty = attachment.tty;
    let (input, keyboard) = mpsc::channel(16);
    let typed = tokio::spawn(read_messages(reader, input, answers));
    let mut out = Messages { writer, control, tty, head: BytesMut::new(), left: 0 };
    send_all(&mut out, attachment, stream, keyboard).await;
    out.frame(CLOSE, &1000_u16.to_be_bytes()).await;
    drop(out.writer.shutdown().await);
    typed.abort();
}

/// Old output, then the streams, until they end or the client goes.
async fn send_all<W: AsyncWrite + Unpin>(
    out: &mut Messages<W>,
    mut attachment: Attachment,
    stream: bool,
    mut keyboard: mpsc::Receiver<Bytes>,
) {
    if let Some(logs) = &mut attachment.logs {
        while let Some(Ok(piece)) = logs.chunks.recv().await {
            if !out.output(&piece).await {
                return;
            }
        }
    }
    if !stream {
        return;
    }
    let takes_input = attachment.stdin;
    let pending = attachment.pending.connect();
    tokio::pin!(pending);
    let container = loop {
        tokio::select! {
            container = &mut pending => break container,
            frame = out.control.recv() => match frame {
                Some(frame) => if !out.answer(frame).await { return },
                None => return,
            },
        }
    };
    let Some(mut container) = container else { return };
    let (mut from, mut to) = container.split();
    let mut buffer = vec![0; PIECE];
    let (mut open, mut typed) = (true, Bytes::new());
    loop {
        tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(length @ 1..) => if !out.output(&buffer[..length]).await { return },
                _ => return,
            },
            frame = out.control.recv() => match frame {
                Some(frame) => if !out.answer(frame).await { return },
                None => return,
            },
            // Beside the output: a program that answers while it reads waits until we take its answer.
            written = to.write(&typed), if !typed.is_empty() => match written {
                Ok(count) => typed.advance(count),
                // That it does not read any more is no reason to stop its output.
                Err(_) => typed.clear(),
            },
            bytes = keyboard.recv(), if open && typed.is_empty() => match bytes {
                Some(bytes) if takes_input => typed = bytes,
                Some(_) => {}
                None => {
                    open = false;
                    drop(to.shutdown().await);
                }
            },
        }
    }
}

/// Messages to a client.
struct Messages<W> {
    writer: W,
    control: mpsc::Receiver<(u8, Bytes)>,
    tty: bool,
    /// The beginning of an eight-byte head.
    head: BytesMut,
    /// Bytes that are left of the piece that the last head announced.
    left: usize,
}

impl<W: AsyncWrite + Unpin> Messages<W> {
    async fn frame(&mut self, kind: u8, payload: &[u8]) -> bool {
        let mut frame = vec![0x80 | kind];
        match payload.len() {
            short @ 0..126 => frame.push(short as u8),
            medium @ 126..65536 => {
                frame.push(126);
                frame.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        self.writer.write_all(&frame).await.is_ok() && self.writer.flush().await.is_ok()
    }

    /// What a client's control frame wants; false when it wants to go.
    async fn answer(&mut self, (kind, payload): (u8, Bytes)) -> bool {
        kind == PING && self.frame(PONG, &payload).await
    }

    /// Sends output, without the heads that tell its streams apart.
    async fn output(&mut self, mut bytes: &[u8]) -> bool {
        if self.tty {
            return self.frame(BINARY, bytes).await;
        }
        while !bytes.is_empty() {
            if self.left == 0 {
                let take = bytes.len().min(8 - self.head.len());
                self.head.extend_from_slice(&bytes[..take]);
                bytes.advance(take);
                if self.head.len() == 8 {
                    self.left = (&self.head[4..]).get_u32() as usize;
                    self.head.clear();
                }
                continue;
            }
            let take = bytes.len().min(self.left);
            if !self.frame(BINARY, &bytes[..take]).await {
                return false;
            }
            self.left -= take;
            bytes.advance(take);
        }
        true
    }
}

/// Reads a client's messages: data goes to `input`, the rest to `control`. The end of both is the client's end.
pub(crate) async fn read_messages<R: AsyncRead + Unpin>(
    mut reader: R,
    input: mpsc::Sender<Bytes>,
    control: mpsc::Sender<(u8, Bytes)>,
) {
    // Both channels close when this ends, which is how the other side learns of it.
    while let Some((kind, payload)) = read_frame(&mut reader).await {
        let sent = match kind {
            0 | TEXT | BINARY => input.send(payload).await.is_ok(),
            PONG => true,
            kind => control.send((kind, payload)).await.is_ok() && kind != CLOSE,
        };
        if !sent {
            return;
        }
    }
}

/// One frame; `None` at the end, and for what no client may send.
async fn read_frame<R: AsyncRead + Unpin>(reader: &mut R) -> Option<(u8, Bytes)> {
    let first = reader.read_u8().await.ok()?;
    let second = reader.read_u8().await.ok()?;
    // Extensions were not agreed upon, and clients must mask.
    if first & 0x70 != 0 || second & 0x80 == 0 {
        return None;
    }
    let kind = first & 0x0f;
    let length = match second & 0x7f {
        126 => u64::from(reader.read_u16().await.ok()?),
        127 => reader.read_u64().await.ok()?,
        short => u64::from(short),
    };
    if length > MAX_MESSAGE || (kind >= CLOSE && length > 125) {
        return None;
    }
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).await.ok()?;
    let mut payload = vec![0; usize::try_from(length).ok()?];
    reader.read_exact(&mut payload).await.ok()?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Some((kind, payload.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_that_of_the_rfc() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[tokio::test]
    async fn frames_read_and_write() {
        // RFC 6455, 5.7: a masked "Hello".
        let mut wire: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(read_frame(&mut wire).await, Some((TEXT, Bytes::from_static(b"Hello"))));
        for mut bad in [
            &[0x81, 0x05, b'H'][..],
            &[0xc1, 0x80, 0, 0, 0, 0],
            &[0x82, 0xff, 1, 0, 0, 0, 0, 0, 0, 0],
            &[],
        ] {
            assert_eq!(read_frame(&mut bad).await, None);
        }
        let (_, control) = mpsc::channel(1);
        let mut out =
            Messages { writer: Vec::new(), control, tty: false, head: BytesMut::new(), left: 0 };
        assert!(out.output(&[1, 0, 0, 0, 0, 0]).await);
        assert!(out.output(&[0, 2, b'h', b'i', 2, 0, 0, 0, 0, 0, 0, 1, b'!']).await);
        assert_eq!(out.writer, [0x82, 2, b'h', b'i', 0x82, 1, b'!']);
    }
}
