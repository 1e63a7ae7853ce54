//! The body of an answer.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{Idle, Sender, fault::Fault, location::Origin};

/// Most bytes of an unwanted body that are read to keep its connection.
const MAX_SKIPPED: usize = 64 << 10;

/// A body that comes piece by piece. Read to its end, its connection can be used again; dropped before, it is closed.
#[derive(Debug)]
pub(crate) struct Body {
    incoming: Incoming,
    keep: Option<Keep>,
    stall: Duration,
}

/// How to keep the connection.
#[derive(Debug)]
pub(crate) struct Keep {
    pub(crate) idle: Arc<Idle>,
    pub(crate) origin: Origin,
    pub(crate) sender: Sender,
}

impl Body {
    pub(crate) fn new(incoming: Incoming, keep: Keep, stall: Duration) -> Body {
        Body { incoming, keep: Some(keep), stall }
    }

    /// The next piece, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = match timeout(self.stall, self.incoming.frame()).await {
                Ok(frame) => frame,
                Err(_) => return Err(Fault::Stalled(self.stall)),
            };
            match frame {
                None => {
                    if let Some(Keep { idle, origin, sender }) = self.keep.take() {
                        idle.put(origin, sender);
                    }
                    return Ok(None);
                }
                Some(Err(error)) => return Err(Fault::broken(&error)),
                Some(Ok(frame)) => {
                    // Trailers hold nothing for us.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body.
    pub(crate) async fn read(mut self, limit: usize) -> Result<Bytes, Fault> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > limit {
                return Err(Fault::TooLarge(limit));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Reads what nobody wants, if it is not much.
    pub(crate) async fn skip(self) {
        drop(self.read(MAX_SKIPPED).await);
    }
}
