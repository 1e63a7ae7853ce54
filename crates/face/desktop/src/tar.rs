//! A tar as the daemon sends it, member by member.

use std::{future::Future, pin::Pin};

use bytes::{Buf, Bytes, BytesMut};
use ferry_archive::{BLOCK, Entry, Limits, ParseError, Parser, Step};
use ferry_client::{Answer, ClientError};

/// Entries that one tar may have here: an image with a hundred packages has ten thousand.
const ENTRIES: u64 = 2_000_000;

/// A tar could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error("cannot read the daemon's answer")]
    Receive(#[from] ClientError),
    #[error("the daemon's archive is broken")]
    Parse(#[from] ParseError),
    #[error("the daemon's archive ends too early")]
    Cut,
}

/// Bytes that come in pieces of any size.
pub(crate) trait Source: Send {
    /// The next piece; `None` at the end.
    fn piece(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, TarError>> + Send + '_>>;
}

impl Source for Answer {
    fn piece(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, TarError>> + Send + '_>> {
        Box::pin(async { Ok(self.chunk().await?) })
    }
}

/// A tar being read.
pub(crate) struct Tar<S> {
    source: S,
    buffer: BytesMut,
    parser: Parser,
    /// Payload and padding of the last entry that are still to come.
    payload: u64,
    padding: u64,
}

impl<S: Source> Tar<S> {
    pub(crate) fn new(source: S) -> Self {
        let limits = Limits { entries: ENTRIES, ..Limits::default() };
        Tar { source, buffer: BytesMut::new(), parser: Parser::new(limits), payload: 0, padding: 0 }
    }

    /// The next entry; what is left of the last one's payload is passed over.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let over = std::mem::take(&mut self.payload) + std::mem::take(&mut self.padding);
        self.skip(over).await?;
        loop {
            while self.buffer.len() < BLOCK {
                if !self.fill().await? {
                    return if self.parser.may_end() { Ok(None) } else { Err(TarError::Cut) };
                }
            }
            let mut block = [0; BLOCK];
            self.buffer.copy_to_slice(&mut block);
            match self.parser.block(&block)? {
                Step::More => {}
                Step::End => return Ok(None),
                Step::Entry(entry) => {
                    self.payload = entry.stored;
                    self.padding = entry.stored.next_multiple_of(BLOCK as u64) - entry.stored;
                    return Ok(Some(*entry));
                }
            }
        }
    }

    /// The next piece of the entry's payload; `None` behind it.
    pub(crate) async fn payload(&mut self) -> Result<Option<Bytes>, TarError> {
        if self.payload == 0 {
            return Ok(None);
        }
        if self.buffer.is_empty() && !self.fill().await? {
            return Err(TarError::Cut);
        }
        let take = self.buffer.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
        self.payload -= take as u64;
        Ok(Some(self.buffer.split_to(take).freeze()))
    }

    async fn skip(&mut self, mut count: u64) -> Result<(), TarError> {
        while count > 0 {
            if self.buffer.is_empty() && !self.fill().await? {
                return Err(TarError::Cut);
            }
            let take = self.buffer.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            self.buffer.advance(take);
            count -= take as u64;
        }
        Ok(())
    }

    async fn fill(&mut self) -> Result<bool, TarError> {
        let Some(piece) = self.source.piece().await? else { return Ok(false) };
        self.buffer.extend_from_slice(&piece);
        Ok(true)
    }
}
