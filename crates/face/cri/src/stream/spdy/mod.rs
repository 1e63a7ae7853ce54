//! The remote command protocols over SPDY/3.1, which kubelet, crictl and older kubectl speak: one stream for each of the
//! program's streams, told apart by the header `streamtype`.

mod dictionary;
mod frame;
mod ports;

use std::{collections::HashMap, io, time::Duration};

use bytes::Bytes;
use ferry_engine::Engine;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
};

use self::frame::Encoder;
pub(crate) use self::frame::{Frame, Reader};
use super::{
    Input, Output, Ticket,
    serve::{self, chosen, switching},
    session::{self, Wanted},
    websocket,
};

type Source = Reader<ReadHalf<TokioIo<Upgraded>>>;

/// How long a client may take to open the streams that it said it would.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages on their way.
const BACKLOG: usize = 16;

/// Largest message about a terminal's size.
const MAX_RESIZE: usize = 4096;

/// What is sent to the client.
#[derive(Debug)]
enum Out {
    Reply(u32),
    Data {
        stream: u32,
        bytes: Bytes,
        fin: bool,
    },
    Reset(u32),
    Ping(u32),
    /// The last.
    GoAway(u32),
}

pub(super) fn upgrade(
    engine: Engine,
    ticket: Ticket,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    const HEADER: &str = "x-stream-protocol-version";
    let ours = serve::protocols(&ticket);
    let Some(protocol) = chosen(&request, HEADER, ours) else {
        let words = format!("unable to upgrade: the protocols here are {}", ours.join(", "));
        return serve::words(StatusCode::FORBIDDEN, &words);
    };
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
                let (out, outs) = mpsc::channel(BACKLOG);
                let writing = tokio::spawn(write(writer, outs));
                let source = Reader::new(reader);
                match ticket {
                    Ticket::Forward(request) => ports::serve(engine, request, source, out).await,
                    ticket => command(engine, ticket, source, out).await,
                }
                writing.await.ok();
            }
            Err(error) => tracing::debug!(%error, "no upgrade"),
        }
    });
    switching("SPDY/3.1", &[(HEADER, protocol.to_owned())])
}

async fn write(
    mut writer: WriteHalf<TokioIo<Upgraded>>,
    mut outs: mpsc::Receiver<Out>,
) -> io::Result<()> {
    let mut encoder = Encoder::new()?;
    while let Some(out) = outs.recv().await {
        let (frame, last) = match out {
            Out::Reply(stream) => (encoder.reply(stream)?, false),
            Out::Data { stream, bytes, fin } => (Encoder::data(stream, &bytes, fin), false),
            Out::Reset(stream) => (Encoder::reset(stream), false),
            Out::Ping(id) => (Encoder::ping(id), false),
            Out::GoAway(stream) => (Encoder::goaway(stream), true),
        };
        writer.write_all(&frame).await?;
        if last {
            break;
        }
    }
    writer.shutdown().await
}

/// A program's streams by their numbers.
#[derive(Debug, Default)]
struct Opened {
    kinds: HashMap<u32, Kind>,
    last: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error,
    Stdin,
    Stdout,
    Stderr,
    Resize,
}

impl Kind {
    fn of(headers: &[(String, String)]) -> Option<Kind> {
        match value(headers, "streamtype")? {
            "error" => Some(Kind::Error),
            "stdin" => Some(Kind::Stdin),
            "stdout" => Some(Kind::Stdout),
            "stderr" => Some(Kind::Stderr),
            "resize" => Some(Kind::Resize),
            _ => None,
        }
    }
}

/// A header's value; names are in lower case on the wire.
fn value<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

impl Opened {
    fn stream(&self, wanted: Kind) -> Option<u32> {
        self.kinds.iter().find(|(_, kind)| **kind == wanted).map(|(stream, _)| *stream)
    }

    fn is_whole(&self, wanted: Wanted) -> bool {
        let has = |kind, needed: bool| !needed || self.stream(kind).is_some();
        has(Kind::Error, true)
            && has(Kind::Stdin, wanted.stdin)
            && has(Kind::Stdout, wanted.stdout)
            && has(Kind::Stderr, wanted.stderr)
            && has(Kind::Resize, wanted.tty)
    }
}

async fn command(engine: Engine, ticket: Ticket, mut source: Source, out: mpsc::Sender<Out>) {
    let Some(wanted) = Wanted::of(&ticket) else { return };
    let mut opened = Opened::default();
    // What comes before all is there waits here: a client may write input at once.
    let mut early = Vec::new();
    let opening = async {
        while !opened.is_whole(wanted) {
            match source.next().await? {
                Frame::Open { stream, headers, .. } => match Kind::of(&headers) {
                    Some(kind) if opened.stream(kind).is_none() => {
                        opened.kinds.insert(stream, kind);
                        opened.last = stream;
                        out.send(Out::Reply(stream)).await.ok();
                    }
                    _ => drop(out.send(Out::Reset(stream)).await),
                },
                Frame::Ping(id) => drop(out.send(Out::Ping(id)).await),
                frame @ Frame::Data { .. } if early.len() < BACKLOG => early.push(frame),
                Frame::Data { .. } => return Err(io::Error::other("too much before the streams")),
                Frame::GoAway => return Err(io::ErrorKind::UnexpectedEof.into()),
                Frame::Reset { .. } | Frame::Other => {}
            }
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, opening).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return tracing::debug!(%error, "streams were not opened"),
        Err(_) => return tracing::debug!("timed out waiting for client to create streams"),
    }
    let (input, inputs) = mpsc::channel(BACKLOG);
    let (output, outputs) = mpsc::channel(BACKLOG);
    let kinds = opened.kinds.clone();
    let hearing = tokio::spawn(hear(source, kinds, early, input, out.clone()));
    let telling = tokio::spawn(tell(opened, outputs, out));
    session::run(engine, ticket, inputs, output).await;
    telling.await.ok();
    hearing.abort();
}

/// Reads what a client sends until it leaves.
async fn hear(
    mut source: Source,
    kinds: HashMap<u32, Kind>,
    early: Vec<Frame>,
    input: mpsc::Sender<Input>,
    out: mpsc::Sender<Out>,
) {
    let mut resize = Vec::new();
    let mut early = early.into_iter();
    loop {
        let frame = match early.next() {
            Some(frame) => frame,
            None => match source.next().await {
                Ok(frame) => frame,
                Err(_) => return,
            },
        };
        match frame {
            Frame::Data { stream, fin, bytes } => match kinds.get(&stream) {
                Some(Kind::Stdin) => {
                    if !bytes.is_empty() && input.send(Input::Stdin(bytes)).await.is_err() {
                        return;
                    }
                    if fin && input.send(Input::Stdin(Bytes::new())).await.is_err() {
                        return;
                    }
                }
                Some(Kind::Resize) => {
                    resize.extend_from_slice(&bytes);
                    if let Some((width, height)) = last_size(&mut resize) {
                        input.send(Input::Resize(width, height)).await.ok();
                    }
                }
                _ => {}
            },
            Frame::Ping(id) => drop(out.send(Out::Ping(id)).await),
            Frame::Open { stream, .. } => drop(out.send(Out::Reset(stream)).await),
            Frame::GoAway => return,
            Frame::Reset { .. } | Frame::Other => {}
        }
    }
}

/// The last whole size in what was received; the rest waits.
fn last_size(buffer: &mut Vec<u8>) -> Option<(u16, u16)> {
    let size = |text: &[u8]| websocket::size(text);
    let mut found = None;
    while let Some(at) = buffer.iter().position(|byte| *byte == b'}') {
        let text: Vec<u8> = buffer.drain(..=at).collect();
        found = size(&text).or(found);
    }
    if buffer.len() > MAX_RESIZE {
        buffer.clear();
    }
    found
}

async fn tell(opened: Opened, mut outputs: mpsc::Receiver<Output>, out: mpsc::Sender<Out>) {
    let data =
        |kind, bytes, fin| opened.stream(kind).map(|stream| Out::Data { stream, bytes, fin });
    while let Some(output) = outputs.recv().await {
        let frames = match output {
            Output::Stdout(bytes) => vec![data(Kind::Stdout, bytes, false)],
            Output::Stderr(bytes) => vec![data(Kind::Stderr, bytes, false)],
            Output::Done(status) => vec![
                data(Kind::Stdout, Bytes::new(), true),
                data(Kind::Stderr, Bytes::new(), true),
                data(Kind::Error, status.to_string().into(), true),
                data(Kind::Stdin, Bytes::new(), true),
                data(Kind::Resize, Bytes::new(), true),
                Some(Out::GoAway(opened.last)),
            ],
        };
        for frame in frames.into_iter().flatten() {
            if out.send(frame).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_come_in_pieces() {
        let mut buffer = b"{\"Width\":80,\"Height\":24}\n{\"Width\":100,\"Hei".to_vec();
        assert_eq!(last_size(&mut buffer), Some((80, 24)));
        buffer.extend_from_slice(b"ght\":30}\n");
        assert_eq!(last_size(&mut buffer), Some((100, 30)));
        let mut endless = vec![b'x'; MAX_RESIZE + 1];
        assert_eq!((last_size(&mut endless), endless.len()), (None, 0));
    }
}
