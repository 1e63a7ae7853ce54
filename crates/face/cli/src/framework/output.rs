//! Standard output and error, written whole.

use std::{
    io::{self, BufRead},
    os::fd::BorrowedFd,
};

use super::CliError;

/// A line on standard error. That nobody reads it is no reason to fail.
pub fn warn(line: &str) {
    drop(write_fd(rustix::stdio::stderr(), format!("{line}\n").as_bytes()));
}

/// Writes everything. A descriptor that somebody else has set to non-blocking (a terminal that a shell shares with us) is waited for.
pub fn write_fd(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
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

/// Asks for a line; a secret is not shown while it is typed.
pub(crate) fn ask(question: &str, secret: bool) -> Result<String, CliError> {
    write_fd(rustix::stdio::stdout(), question.as_bytes())?;
    let hidden = secret.then(Hidden::enter).flatten();
    let mut line = String::new();
    io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| CliError::new(format!("cannot read the answer: {error}")))?;
    if hidden.is_some() {
        write_fd(rustix::stdio::stdout(), b"\n")?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(rustix::termios::Termios);

impl Hidden {
    fn enter() -> Option<Self> {
        let before = rustix::termios::tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(rustix::termios::LocalModes::ECHO);
        let now = rustix::termios::OptionalActions::Now;
        rustix::termios::tcsetattr(rustix::stdio::stdin(), now, &silent).ok()?;
        Some(Hidden(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let now = rustix::termios::OptionalActions::Now;
        // A terminal that is gone needs no restoring.
        rustix::termios::tcsetattr(rustix::stdio::stdin(), now, &self.0).ok();
    }
}
