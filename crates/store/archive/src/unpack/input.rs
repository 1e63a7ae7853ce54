//! The tar as the unpacker consumes it: blocks and payloads, all that is in no file recorded on the way.

use std::io::BufRead;

use super::UnpackError;
use crate::parse::BLOCK;
use crate::recipe::{Payload, RecipeWriter};

pub(super) struct Input<'a, R> {
    tar: &'a mut R,
    recipe: Option<&'a mut RecipeWriter>,
    offset: u64,
}

impl<'a, R: BufRead> Input<'a, R> {
    pub(super) fn new(tar: &'a mut R, recipe: Option<&'a mut RecipeWriter>) -> Self {
        Self { tar, recipe, offset: 0 }
    }

    /// Bytes consumed so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn recipe(&mut self) -> Option<&mut RecipeWriter> {
        self.recipe.as_deref_mut()
    }

    /// The next block, recorded; `None` at a clean end of the stream.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let available = self.tar.fill_buf().map_err(UnpackError::Read)?;
            if available.is_empty() {
                break;
            }
            let take = available.len().min(BLOCK - filled);
            block[filled..filled + take].copy_from_slice(&available[..take]);
            self.tar.consume(take);
            filled += take;
        }
        self.offset += filled as u64;
        match filled {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(UnpackError::Truncated { offset: self.offset }),
        }
        if let Some(recipe) = &mut self.recipe {
            recipe.raw(&block).map_err(UnpackError::Record)?;
        }
        Ok(Some(block))
    }

    /// Hands exactly `length` payload bytes to `sink`, a buffer's worth at a time.
    pub(super) fn payload(
        &mut self,
        length: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let mut left = length;
        while left > 0 {
            let available = self.tar.fill_buf().map_err(UnpackError::Read)?;
            if available.is_empty() {
                return Err(UnpackError::Truncated { offset: self.offset });
            }
            let take =
                usize::try_from(left).map_or(available.len(), |left| left.min(available.len()));
            sink(&available[..take])?;
            self.tar.consume(take);
            self.offset += take as u64;
            left -= take as u64;
        }
        Ok(())
    }

    /// Consumes the padding that fills a payload up to a whole block.
    pub(super) fn padding(&mut self, payload: u64) -> Result<(), UnpackError> {
        let over = payload % BLOCK as u64;
        if over == 0 { Ok(()) } else { self.skip(BLOCK as u64 - over) }
    }

    /// Consumes bytes that become no file; they go into the recipe.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), UnpackError> {
        let mut recipe = self.recipe.take();
        let skipped = self.payload(length, |bytes| match &mut recipe {
            Some(recipe) => recipe.raw(bytes).map_err(UnpackError::Record),
            None => Ok(()),
        });
        self.recipe = recipe;
        skipped
    }

    /// Consumes all that is left behind the end marker.
    pub(super) fn rest(&mut self) -> Result<(), UnpackError> {
        loop {
            let available = self.tar.fill_buf().map_err(UnpackError::Read)?.len();
            if available == 0 {
                return Ok(());
            }
            self.skip(available as u64)?;
        }
    }

    /// Notes in the recipe that the payload of a file came here.
    pub(super) fn record_file(
        &mut self,
        payload: &Payload<'_>,
    ) -> Result<Option<u64>, UnpackError> {
        match &mut self.recipe {
            Some(recipe) => recipe.file(payload).map(Some).map_err(UnpackError::Record),
            None => Ok(None),
        }
    }
}
