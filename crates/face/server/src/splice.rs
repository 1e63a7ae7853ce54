//! Bytes from one socket to another without a copy: splice(2) through a pipe moves references to the kernel's own pages.
//! A container's output passes through the daemon this way, where each copy would cost it as much as making the output did.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
};

/// As much as one call moves. The pipe's sixteen slots hold a fragment of up to 32 KiB each.
const AT_ONCE: usize = 512 << 10;

/// A socket that tells when it is ready.
pub(crate) trait Socket: AsFd {
    /// Runs `operation` when the socket is writable, and again when that was not so after all.
    fn write_with(
        &self,
        operation: impl FnMut() -> io::Result<usize>,
    ) -> impl Future<Output = io::Result<usize>>;
}

macro_rules! socket {
    ($($socket:ty),*) => { $(impl Socket for $socket {
        async fn write_with(&self, operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
            self.async_io(Interest::WRITABLE, operation).await
        }
    })* };
}
socket!(UnixStream, TcpStream);

/// A pipe between two sockets.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A machine that grants no larger pipe only makes it slower.
        fcntl_setpipe_size(&write, AT_ONCE).ok();
        Ok(Pipe { read, write })
    }

    /// Moves everything until `from` ends.
    pub(crate) async fn move_all(&self, from: &UnixStream, to: &impl Socket) -> io::Result<()> {
        loop {
            let mut left =
                from.async_io(Interest::READABLE, || step(from, &self.write, AT_ONCE)).await?;
            if left == 0 {
                return Ok(());
            }
            while left > 0 {
                left -= to.write_with(|| step(&self.read, to, left)).await?;
            }
        }
    }
}

fn step(from: &impl AsFd, to: &impl AsFd, len: usize) -> io::Result<usize> {
    loop {
        match splice(from, None, to, None, len, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn every_byte_arrives_in_order() {
        let (mut source, from) = UnixStream::pair().expect("socket pair");
        let (to, mut sink) = UnixStream::pair().expect("socket pair");
        let sent: Vec<u8> = (0..3_000_001_u32).map(|number| (number % 251) as u8).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in sent.chunks(70_001) {
                source.write_all(piece).await.expect("write");
            }
        });
        let mover = tokio::spawn(async move {
            Pipe::new().expect("pipe").move_all(&from, &to).await.expect("moves");
        });
        let mut received = Vec::new();
        sink.read_to_end(&mut received).await.expect("read");
        writer.await.expect("no panic");
        mover.await.expect("no panic");
        assert!(received == expected);
    }

    #[tokio::test]
    async fn a_closed_sink_ends_it() {
        let (mut source, from) = UnixStream::pair().expect("socket pair");
        let (to, sink) = UnixStream::pair().expect("socket pair");
        drop(sink);
        source.write_all(b"x").await.expect("write");
        assert!(Pipe::new().expect("pipe").move_all(&from, &to).await.is_err());
    }
}
