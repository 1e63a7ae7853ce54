//! Parts of files that go from the page cache to the socket without a copy (sendfile(2)).
//!
//! hyper takes pieces of bytes and hands them to the connection as they are, in their order. A piece of [`STAND_IN`] means as many bytes of
//! the file that was announced last: [`Direct`] sees by its address what it is, and sends the file's bytes in its place. That needs hyper's
//! queue of pieces (`serve::builder`): where it joins them to one text, their addresses are lost. With TLS there is none of this, as the
//! bytes have to be encrypted.
//!
//! sendfile waits for the disk where the page cache lacks something, and then every connection of the thread waits: what is not in memory a
//! thread that may wait reads first.

use std::{
    collections::VecDeque,
    fs::File,
    future::Future,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    task::JoinHandle,
};

use crate::body::is_cached;

/// Announced at once.
pub(crate) const PIECE: usize = 512 << 10;

/// The page cache is asked at such steps. The kernel reads more than that at once, and what lies together it takes away together.
const STEP: usize = 16 << 10;
/// Read at once of what is not in memory.
const READ: usize = 64 << 10;

/// Never sent, nor written to: it is an address, and takes no memory.
static STAND_IN: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; PIECE]);

/// What is announced on a connection and not sent yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(Arc<Mutex<VecDeque<Span>>>);

#[derive(Debug)]
struct Span {
    file: Arc<File>,
    at: u64,
    left: usize,
}

impl Line {
    /// A piece of a body that stands for `length` bytes of a file, [`PIECE`] at most. It must be the next that the connection is given.
    pub(crate) fn announce(&self, file: &Arc<File>, at: u64, length: usize) -> Bytes {
        let left = length.min(PIECE);
        self.lock().push_back(Span { file: Arc::clone(file), at, left });
        Bytes::from_static(&STAND_IN[..left])
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Span>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_stand_in(piece: &[u8]) -> bool {
    !piece.is_empty() && STAND_IN.as_ptr_range().contains(&piece.as_ptr())
}

/// A connection without TLS that sends what stands in the line.
#[derive(Debug)]
pub(crate) struct Direct {
    stream: TcpStream,
    line: Line,
    reading: Option<JoinHandle<io::Result<()>>>,
}

impl Direct {
    pub(crate) fn new(stream: TcpStream, line: Line) -> Direct {
        Direct { stream, line, reading: None }
    }

    fn poll_send(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let mut asked = false;
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                read.map_err(io::Error::other)??;
                // Where the file system cannot say what is in memory, it is not asked again.
                asked = true;
            }
            let mut line = self.line.lock();
            let Some(span) = line.front_mut() else {
                let words = "more of a file was to be sent than was announced";
                return Poll::Ready(Err(io::Error::other(words)));
            };
            let length = span.left.min(most);
            if !asked && !is_in_memory(&span.file, span.at, length) {
                let (file, at) = (Arc::clone(&span.file), span.at);
                let read = tokio::task::spawn_blocking(move || into_memory(&file, at, length));
                self.reading = Some(read);
                continue;
            }
            asked = true;
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                Ok(rustix::fs::sendfile(&self.stream, &span.file, Some(&mut span.at), length)?)
            });
            match sent {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(sent) => {
                    span.left -= sent;
                    if span.left == 0 {
                        line.pop_front();
                    }
                    return Poll::Ready(Ok(sent));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

fn is_in_memory(file: &File, at: u64, length: usize) -> bool {
    let last = length.saturating_sub(1);
    (0..last).step_by(STEP).chain([last]).all(|step| is_cached(file, at + step as u64))
}

fn into_memory(file: &File, at: u64, length: usize) -> io::Result<()> {
    let mut buffer = vec![0; length.min(READ)];
    let mut done = 0;
    while done < length {
        let part = buffer.get_mut(..READ.min(length - done)).unwrap_or_default();
        match file.read_at(part, at + done as u64) {
            // sendfile says so, too.
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl AsyncRead for Direct {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Direct {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        match is_stand_in(piece) {
            true => self.poll_send(context, piece.len()),
            false => Pin::new(&mut self.stream).poll_write(context, piece),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        match first {
            Some(piece) if is_stand_in(piece) => self.poll_send(context, piece.len()),
            _ => {
                let own = pieces.iter().take_while(|piece| !is_stand_in(piece)).count();
                Pin::new(&mut self.stream).poll_write_vectored(context, &pieces[..own])
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::fs::Advice;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_stands_for_a_file_is_sent_between_other_bytes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let path = std::env::temp_dir().join(format!("ferry-direct-{}", std::process::id()));
        let content: Vec<u8> =
            (0..PIECE as u32 + 5000).map(|number| (number % 251) as u8).collect();
        File::create(&path).unwrap().write_all(&content).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        // Not in memory, where the file system is on a disk.
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            TcpStream::connect(address).await.unwrap().read_to_end(&mut got).await.unwrap();
            got
        });
        let (stream, _) = listener.accept().await.unwrap();
        let line = Line::default();
        let mut direct = Direct::new(stream, line.clone());
        let one = line.announce(&file, 7, PIECE);
        let two = line.announce(&file, 3, 100);
        let mut pieces: VecDeque<&[u8]> =
            VecDeque::from([b"head".as_slice(), &one, b"between", &two]);
        while !pieces.is_empty() {
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut sent = direct.write_vectored(&slices).await.unwrap();
            while let Some(piece) = pieces.front_mut() {
                let of_it = sent.min(piece.len());
                *piece = &piece[of_it..];
                sent -= of_it;
                if !piece.is_empty() {
                    break;
                }
                pieces.pop_front();
            }
        }
        drop(direct);
        let wanted = [b"head", &content[7..7 + PIECE], b"between", &content[3..103]].concat();
        assert!(reader.await.unwrap() == wanted, "the bytes are others");
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_ends_early_is_an_error() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let line = Line::default();
        let mut direct = Direct::new(stream, line.clone());
        let path = std::env::temp_dir().join(format!("ferry-direct-early-{}", std::process::id()));
        std::fs::write(&path, b"12345").unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        std::fs::remove_file(path).unwrap();
        let piece = line.announce(&file, 0, 10);
        assert_eq!(direct.write(&piece).await.unwrap(), 5);
        let error = direct.write(&piece[5..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        // Nothing was announced any more; nothing is made up either.
        let mut direct = Direct::new(direct.stream, Line::default());
        let error = direct.write(&piece).await.unwrap_err();
        assert!(error.to_string().contains("than was announced"), "{error}");
    }
}
