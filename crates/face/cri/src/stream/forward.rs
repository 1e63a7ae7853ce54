//! A connection to a port of a pod, from and to a client.

use bytes::{Bytes, BytesMut};
use ferry_engine::{Engine, ops::pod};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

/// Bytes that are passed on at once.
const CHUNK: usize = 32 * 1024;

/// What comes from a port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FromPort {
    /// Data; no bytes are its end.
    Data(Bytes),
    /// Why there is none.
    Error(String),
}

/// Carries bytes both ways until both sides have ended. No bytes from the client are its end.
pub(crate) async fn run(
    engine: Engine,
    sandbox: String,
    port: u16,
    mut input: mpsc::Receiver<Bytes>,
    output: mpsc::Sender<FromPort>,
) {
    let stream = match pod::connect(&engine, &sandbox, port).await {
        Ok(stream) => stream,
        Err(failure) => {
            let words = format!("an error occurred forwarding {port}: {}", failure.message());
            output.send(FromPort::Error(words)).await.ok();
            return;
        }
    };
    let (mut reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        while let Some(bytes) = input.recv().await {
            if bytes.is_empty() || writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
        writer.shutdown().await.ok();
    });
    loop {
        let mut chunk = BytesMut::zeroed(CHUNK);
        let read = tokio::select! {
            read = reader.read(&mut chunk) => read,
            () = output.closed() => break,
        };
        let count = read.unwrap_or(0);
        chunk.truncate(count);
        if output.send(FromPort::Data(chunk.freeze())).await.is_err() || count == 0 {
            break;
        }
    }
    // The program behind the port has said all: what it is still sent goes nowhere.
    sending.abort();
}
