//! Standard output and error, written whole.

use std::{
    io::{self, BufRead, Write},
    os::fd::BorrowedFd,
};

use super::CliError;

/// A descriptor to write to, without a buffer: what is written is out.
#[derive(Debug)]
pub(crate) struct Output(BorrowedFd<'static>);

impl Output {
    /// Standard output.
    pub(crate) fn stdout() -> Self {
        Output(rustix::stdio::stdout())
    }

    /// Standard error.
    pub(crate) fn stderr() -> Self {
        Output(rustix::stdio::stderr())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_fd(self.0, bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes everything. A descriptor that somebody else has set to non-blocking (a terminal that a shell shares with us) is waited for.
pub(crate) fn write_fd(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    use rustix::{
        event::{PollFd, PollFlags, poll},
        io::{Errno, write},
    };
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // A failed wait only makes the next write try again.
                let _ = poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Asks on standard output, reads one line of standard input.
pub(crate) fn confirm(question: &str) -> Result<bool, CliError> {
    write_fd(rustix::stdio::stdout(), format!("{question} [y/N] ").as_bytes())?;
    let mut line = String::new();
    // No answer is no.
    drop(io::stdin().lock().read_line(&mut line));
    Ok(line.trim().eq_ignore_ascii_case("y"))
}
