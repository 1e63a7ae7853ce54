//! The user's terminal: its size, and raw mode that is always undone.

use std::os::fd::BorrowedFd;

use rustix::termios::{self, OptionalActions, Termios};

/// Rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// The size of the terminal; `None` where there is none, or one that does not know.
pub fn window_size(fd: BorrowedFd<'_>) -> Option<WindowSize> {
    let size = termios::tcgetwinsize(fd).ok()?;
    (size.ws_row > 0 || size.ws_col > 0)
        .then_some(WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// A terminal in raw mode, until this is dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    fd: BorrowedFd<'static>,
    before: Termios,
}

impl RawMode {
    /// Raw input and output: keys arrive as they are typed, and the container's output is not changed.
    pub(crate) fn enter(fd: BorrowedFd<'static>) -> Option<Self> {
        let before = termios::tcgetattr(fd).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(fd, OptionalActions::Now, &raw).ok()?;
        Some(RawMode { fd, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = termios::tcsetattr(self.fd, OptionalActions::Now, &self.before);
    }
}
