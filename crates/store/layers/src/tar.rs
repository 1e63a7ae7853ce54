//! A layer as the tar that it came from.

use std::io::{self, Read};

use ferry_archive::RecipeReader;

/// Streams a layer's exact tar. It ends without an error only if every byte was right.
#[derive(Debug)]
pub struct LayerTar {
    reader: RecipeReader,
    length: u64,
}

impl LayerTar {
    pub(crate) fn new(reader: RecipeReader, length: u64) -> Self {
        Self { reader, length }
    }

    /// How many bytes the whole stream has.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Read for LayerTar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}
