//! Frames of SPDY/3.1 as far as remote commands use it: streams with headers, data, pings. No flow control: the other side
//! (moby/spdystream) has none.

use std::io;

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::dictionary::dictionary;

/// Largest control frame that is read.
const MAX_CONTROL: usize = 64 * 1024;

/// Largest header block, uncompressed.
const MAX_HEADERS: usize = 64 * 1024;

/// Data is passed on in pieces of this size.
const PIECE: usize = 32 * 1024;

const FIN: u8 = 1;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// What the other side says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A new stream.
    Open { stream: u32, fin: bool, headers: Vec<(String, String)> },
    /// A stream ends at once.
    Reset { stream: u32 },
    /// To be sent back.
    Ping(u32),
    /// Nothing new will come.
    GoAway,
    /// Bytes on a stream.
    Data { stream: u32, fin: bool, bytes: Bytes },
    /// Something that concerns nobody here.
    Other,
}

fn wrong(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// Reads frames. Header blocks are one compressed stream over the whole connection.
pub(crate) struct Reader<R> {
    from: R,
    inflate: Decompress,
    dictionary: Vec<u8>,
    /// Of a data frame that is not read to its end: stream, whether it ends it, bytes left.
    rest: Option<(u32, bool, usize)>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Reader { from, inflate: Decompress::new(true), dictionary: dictionary(), rest: None }
    }

    /// The next frame, or a piece of one with data.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        if let Some((stream, fin, left)) = self.rest.take() {
            return self.data(stream, fin, left).await;
        }
        let mut head = [0; 8];
        self.from.read_exact(&mut head).await?;
        let [a, b, c, d, flags, e, f, g] = head;
        let length = u32::from_be_bytes([0, e, f, g]) as usize;
        if a & 0x80 == 0 {
            let stream = u32::from_be_bytes([a, b, c, d]);
            return self.data(stream, flags & FIN != 0, length).await;
        }
        if length > MAX_CONTROL {
            return Err(wrong("control frame is larger than the limit"));
        }
        let mut body = vec![0; length];
        self.from.read_exact(&mut body).await?;
        self.control(u16::from_be_bytes([c, d]), flags, &body)
    }

    async fn data(&mut self, stream: u32, fin: bool, left: usize) -> io::Result<Frame> {
        let count = left.min(PIECE);
        let mut bytes = BytesMut::zeroed(count);
        self.from.read_exact(&mut bytes).await?;
        let more = left - count;
        if more > 0 {
            self.rest = Some((stream, fin, more));
        }
        Ok(Frame::Data { stream, fin: fin && more == 0, bytes: bytes.freeze() })
    }

    fn control(&mut self, kind: u16, flags: u8, body: &[u8]) -> io::Result<Frame> {
        let number = || {
            let bytes = body.first_chunk::<4>().ok_or_else(|| wrong("control frame is cut"))?;
            Ok::<u32, io::Error>(u32::from_be_bytes(*bytes) & 0x7fff_ffff)
        };
        Ok(match kind {
            SYN_STREAM => {
                // Stream, associated stream, priority and slot.
                let block = body.get(10..).ok_or_else(|| wrong("SYN_STREAM is cut"))?;
                let headers = self.headers(block)?;
                Frame::Open { stream: number()?, fin: flags & FIN != 0, headers }
            }
            SYN_REPLY => {
                // It is part of the compressed stream.
                self.headers(body.get(4..).ok_or_else(|| wrong("SYN_REPLY is cut"))?)?;
                Frame::Other
            }
            RST_STREAM => Frame::Reset { stream: number()? },
            PING => {
                let bytes = body.first_chunk::<4>().ok_or_else(|| wrong("PING is cut"))?;
                Frame::Ping(u32::from_be_bytes(*bytes))
            }
            GOAWAY => Frame::GoAway,
            // HEADERS.
            8 => {
                self.headers(body.get(4..).ok_or_else(|| wrong("HEADERS is cut"))?)?;
                Frame::Other
            }
            _ => Frame::Other,
        })
    }

    fn headers(&mut self, block: &[u8]) -> io::Result<Vec<(String, String)>> {
        let text = self.inflated(block)?;
        parse_headers(&text).ok_or_else(|| wrong("header block does not read"))
    }

    fn inflated(&mut self, mut block: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(1024);
        loop {
            if text.len() == text.capacity() {
                if text.len() >= MAX_HEADERS {
                    return Err(wrong("header block is larger than the limit"));
                }
                text.reserve(text.len());
            }
            let (read, wrote) = (self.inflate.total_in(), text.len());
            let outcome = self.inflate.decompress_vec(block, &mut text, FlushDecompress::Sync);
            let used = usize::try_from(self.inflate.total_in() - read).unwrap_or(0);
            block = block.get(used..).unwrap_or_default();
            match outcome {
                Ok(Status::StreamEnd) => return Ok(text),
                Ok(_) if text.len() == text.capacity() => {}
                Ok(_) if block.is_empty() => return Ok(text),
                Ok(_) if used == 0 && text.len() == wrote => {
                    return Err(wrong("header block does not get on"));
                }
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate
                        .set_dictionary(&self.dictionary)
                        .map_err(|_| wrong("header block has another dictionary"))?;
                }
                Err(_) => return Err(wrong("header block is not compressed as it should be")),
            }
        }
    }
}

/// Number of pairs, then names and values with their lengths.
fn parse_headers(mut text: &[u8]) -> Option<Vec<(String, String)>> {
    fn number(text: &mut &[u8]) -> Option<usize> {
        let (bytes, rest) = text.split_first_chunk::<4>()?;
        *text = rest;
        usize::try_from(u32::from_be_bytes(*bytes)).ok()
    }
    fn word(text: &mut &[u8]) -> Option<String> {
        let length = number(text)?;
        let (bytes, rest) = text.split_at_checked(length)?;
        *text = rest;
        String::from_utf8(bytes.to_vec()).ok()
    }
    let count = number(&mut text)?;
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((word(&mut text)?, word(&mut text)?));
    }
    Some(headers)
}

/// Writes frames into bytes.
pub(crate) struct Encoder {
    deflate: Compress,
}

impl Encoder {
    pub(crate) fn new() -> io::Result<Self> {
        let mut deflate = Compress::new(Compression::default(), true);
        let set = deflate.set_dictionary(&dictionary());
        set.map_err(|_| wrong("the compressor refuses its dictionary"))?;
        Ok(Encoder { deflate })
    }

    /// Data on a stream; with `fin` the last.
    pub(crate) fn data(stream: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
        let mut frame = stream.to_be_bytes().to_vec();
        frame.push(u8::from(fin));
        push_length(&mut frame, bytes.len());
        frame.extend_from_slice(bytes);
        frame
    }

    /// The answer to a ping.
    pub(crate) fn ping(id: u32) -> Vec<u8> {
        control(PING, 0, &id.to_be_bytes())
    }

    /// This stream is not wanted.
    pub(crate) fn reset(stream: u32) -> Vec<u8> {
        const REFUSED: u32 = 3;
        control(RST_STREAM, 0, &[stream.to_be_bytes(), REFUSED.to_be_bytes()].concat())
    }

    /// Nothing new will come.
    pub(crate) fn goaway(last: u32) -> Vec<u8> {
        control(GOAWAY, 0, &[last.to_be_bytes(), 0_u32.to_be_bytes()].concat())
    }

    /// The answer to a new stream, without headers.
    pub(crate) fn reply(&mut self, stream: u32) -> io::Result<Vec<u8>> {
        let block = self.headers(&[])?;
        Ok(control(SYN_REPLY, 0, &[&stream.to_be_bytes()[..], &block].concat()))
    }

    /// A new stream, as clients open them.
    #[cfg(test)]
    pub(crate) fn open(&mut self, stream: u32, headers: &[(&str, &str)]) -> io::Result<Vec<u8>> {
        let block = self.headers(headers)?;
        Ok(control(SYN_STREAM, 0, &[&stream.to_be_bytes()[..], &[0; 6], &block].concat()))
    }

    fn headers(&mut self, headers: &[(&str, &str)]) -> io::Result<Vec<u8>> {
        let mut text = u32::try_from(headers.len()).unwrap_or(0).to_be_bytes().to_vec();
        for word in headers.iter().flat_map(|(name, value)| [name, value]) {
            text.extend_from_slice(&u32::try_from(word.len()).unwrap_or(0).to_be_bytes());
            text.extend_from_slice(word.as_bytes());
        }
        let mut block = Vec::with_capacity(text.len() + 64);
        self.deflate
            .compress_vec(&text, &mut block, FlushCompress::Sync)
            .map_err(|_| wrong("headers cannot be compressed"))?;
        Ok(block)
    }
}

fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3];
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.push(flags);
    push_length(&mut frame, body.len());
    frame.extend_from_slice(body);
    frame
}

fn push_length(frame: &mut Vec<u8>, length: usize) {
    let bytes = u32::try_from(length).unwrap_or(0).to_be_bytes();
    frame.extend_from_slice(&bytes[1..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_both_ways() {
        let mut encoder = Encoder::new().unwrap();
        let mut bytes = Vec::new();
        for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
            bytes.extend(encoder.open(stream, &[("streamtype", kind), ("port", "80")]).unwrap());
        }
        bytes.extend(Encoder::data(3, b"hello", false));
        bytes.extend(Encoder::data(3, &vec![7; PIECE + 1], true));
        bytes.extend(Encoder::ping(9));
        bytes.extend(encoder.reply(5).unwrap());
        bytes.extend(Encoder::goaway(5));
        let mut reader = Reader::new(bytes.as_slice());
        for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
            let Frame::Open { stream, fin, headers } = reader.next().await.unwrap() else {
                panic!("{id} is not opened");
            };
            assert_eq!((stream, fin), (id, false));
            assert_eq!(headers[0], ("streamtype".to_owned(), kind.to_owned()));
        }
        let data = |fin, bytes: Vec<u8>| Frame::Data { stream: 3, fin, bytes: bytes.into() };
        assert_eq!(reader.next().await.unwrap(), data(false, b"hello".to_vec()));
        assert_eq!(reader.next().await.unwrap(), data(false, vec![7; PIECE]));
        assert_eq!(reader.next().await.unwrap(), data(true, vec![7]));
        assert_eq!(reader.next().await.unwrap(), Frame::Ping(9));
        assert_eq!(reader.next().await.unwrap(), Frame::Other);
        assert_eq!(reader.next().await.unwrap(), Frame::GoAway);
        assert!(reader.next().await.is_err(), "the end");
    }

    #[tokio::test]
    async fn what_is_no_frame() {
        let too_large = [0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff];
        let no_zlib = control(SYN_STREAM, 0, &[1; 40]);
        let cut = control(SYN_STREAM, 0, &[0; 4]);
        for bytes in [&too_large[..], &no_zlib, &cut, &[0x80, 3, 0]] {
            assert!(Reader::new(bytes).next().await.is_err(), "{bytes:?}");
        }
        assert_eq!(parse_headers(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(parse_headers(&[0xff, 0xff, 0xff, 0xff]), None);
    }
}
