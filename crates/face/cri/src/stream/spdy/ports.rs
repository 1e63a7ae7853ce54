//! Port forward over SPDY: pairs of streams, `data` and `error`, that belong together by the header `requestid`.

use std::collections::HashMap;

use bytes::Bytes;
use ferry_engine::Engine;
use tokio::sync::mpsc;

use super::{BACKLOG, Frame, Out, Source, value};
use crate::{
    api,
    stream::forward::{self, FromPort},
};

/// Pairs that one connection has at a time.
const MAX_PAIRS: usize = 1024;

/// A pair of which perhaps only one stream is there.
#[derive(Debug, Default)]
struct Pair {
    data: Option<(u32, u16)>,
    error: Option<u32>,
}

/// Serves a client until it leaves.
pub(super) async fn serve(
    engine: Engine,
    request: api::PortForwardRequest,
    mut source: Source,
    out: mpsc::Sender<Out>,
) {
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    let mut inputs: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    while let Ok(frame) = source.next().await {
        match frame {
            Frame::Open { stream, headers, .. } => {
                inputs.retain(|_, input| !input.is_closed());
                let Some(id) =
                    add(&mut pairs, stream, &headers).filter(|_| inputs.len() < MAX_PAIRS)
                else {
                    out.send(Out::Reset(stream)).await.ok();
                    continue;
                };
                out.send(Out::Reply(stream)).await.ok();
                if let Some(Pair { data: Some((data, port)), error: Some(error) }) = pairs.get(&id)
                {
                    let (data, port, error) = (*data, *port, *error);
                    pairs.remove(&id);
                    let (input, bytes) = mpsc::channel(BACKLOG);
                    let (output, from_port) = mpsc::channel(BACKLOG);
                    inputs.insert(data, input);
                    let sandbox = request.pod_sandbox_id.clone();
                    tokio::spawn(forward::run(engine.clone(), sandbox, port, bytes, output));
                    tokio::spawn(answer(data, error, from_port, out.clone()));
                }
            }
            Frame::Data { stream, fin, bytes } => {
                let Some(input) = inputs.get(&stream) else { continue };
                // A port that has ended takes no more.
                if !bytes.is_empty() {
                    input.send(bytes).await.ok();
                }
                if fin {
                    input.send(Bytes::new()).await.ok();
                }
            }
            Frame::Reset { stream } => drop(inputs.remove(&stream)),
            Frame::Ping(id) => drop(out.send(Out::Ping(id)).await),
            Frame::GoAway => return,
            Frame::Other => {}
        }
    }
}

/// Notes a stream, and answers the pair that it belongs to.
fn add(
    pairs: &mut HashMap<String, Pair>,
    stream: u32,
    headers: &[(String, String)],
) -> Option<String> {
    let id = value(headers, "requestid")?.to_owned();
    let port: u16 = value(headers, "port")?.parse().ok().filter(|port| *port > 0)?;
    if pairs.len() >= MAX_PAIRS && !pairs.contains_key(&id) {
        return None;
    }
    let pair = pairs.entry(id.clone()).or_default();
    match value(headers, "streamtype")? {
        "data" if pair.data.is_none() => pair.data = Some((stream, port)),
        "error" if pair.error.is_none() => pair.error = Some(stream),
        _ => return None,
    }
    Some(id)
}

/// Passes on what comes from a port.
async fn answer(
    data: u32,
    error: u32,
    mut from_port: mpsc::Receiver<FromPort>,
    out: mpsc::Sender<Out>,
) {
    let mut words = Bytes::new();
    while let Some(news) = from_port.recv().await {
        match news {
            FromPort::Data(bytes) => {
                let last = bytes.is_empty();
                if !last && out.send(Out::Data { stream: data, bytes, fin: false }).await.is_err() {
                    return;
                }
                if last {
                    break;
                }
            }
            FromPort::Error(why) => {
                words = why.into();
                break;
            }
        }
    }
    out.send(Out::Data { stream: error, bytes: words, fin: true }).await.ok();
    out.send(Out::Data { stream: data, bytes: Bytes::new(), fin: true }).await.ok();
}
