//! Multiplexed streams: stdout and stderr of a container without a terminal, as frames of an eight-byte header (stream
//! number, three zeroes, length as big-endian u32) and that many bytes.

/// Length of a frame's header.
pub const HEADER_LEN: usize = 8;

/// Which stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Standard input; only echoed, never sent by dockerd.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// An error of the daemon itself, in the middle of a stream.
    SystemError,
}

/// A header's first byte is none of 0 to 3. The words are Docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Unrecognized input header: {0}")]
pub struct UnknownStream(pub u8);

/// The header of a frame.
pub fn encode_header(kind: StreamKind, len: u32) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = len.to_be_bytes();
    [kind as u8, 0, 0, 0, a, b, c, d]
}

/// Reads a header.
pub fn decode_header(header: [u8; HEADER_LEN]) -> Result<(StreamKind, u32), UnknownStream> {
    let [kind, _, _, _, a, b, c, d] = header;
    let kind = match kind {
        0 => StreamKind::Stdin,
        1 => StreamKind::Stdout,
        2 => StreamKind::Stderr,
        3 => StreamKind::SystemError,
        other => return Err(UnknownStream(other)),
    };
    Ok((kind, u32::from_be_bytes([a, b, c, d])))
}

/// Takes a multiplexed stream apart, whatever pieces it arrives in, without copying payload.
#[derive(Debug, Default)]
pub struct Demultiplexer {
    header: [u8; HEADER_LEN],
    have: usize,
    open: Option<(StreamKind, u32)>,
}

impl Demultiplexer {
    /// Takes the next piece of payload off the front of `input`; `None` when more input is needed.
    pub fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<(StreamKind, &'a [u8])>, UnknownStream> {
        loop {
            if input.is_empty() {
                return Ok(None);
            }
            let Some((kind, left)) = self.open else {
                self.fill_header(input)?;
                continue;
            };
            let take = input.len().min(left as usize);
            let (piece, rest) = input.split_at(take);
            *input = rest;
            // `take` is at most `left`, which is a u32.
            let left = left - take as u32;
            self.open = (left > 0).then_some((kind, left));
            return Ok(Some((kind, piece)));
        }
    }

    /// Whether the stream ended between two frames.
    pub fn is_at_boundary(&self) -> bool {
        self.have == 0 && self.open.is_none()
    }

    fn fill_header(&mut self, input: &mut &[u8]) -> Result<(), UnknownStream> {
        let take = input.len().min(HEADER_LEN - self.have);
        let (piece, rest) = input.split_at(take);
        self.header[self.have..self.have + take].copy_from_slice(piece);
        self.have += take;
        *input = rest;
        if self.have == HEADER_LEN {
            self.have = 0;
            let (kind, len) = decode_header(self.header)?;
            self.open = (len > 0).then_some((kind, len));
        }
        Ok(())
    }
}
