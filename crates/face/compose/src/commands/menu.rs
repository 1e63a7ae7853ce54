//! The keys of an `up` that is typed at a terminal: `w` watches files or stops that, `d` leaves the containers to themselves.
//!
//! They are listed in a line of the terminal's below the region that scrolls, so that whoever writes output, the tasks here and the
//! process that watches, need not know of it.

use std::{
    future::pending,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use ferry_cli::{
    face::{WindowSize, window_size, write_fd},
    flags::Matches,
};
use rustix::{
    process::{Signal, getpgrp, getpid, kill_process},
    stdio::{stdin, stdout},
    termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal as Signals, SignalKind, signal},
};

use super::Compose;
use crate::load;

/// A terminal with fewer rows has none to spare.
const MIN_ROWS: u16 = 4;
/// A remark stays for so long.
const REMARK: Duration = Duration::from_secs(10);
/// SIGTSTP, which tokio has no name for.
const SUSPEND: i32 = 20;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Watch,
    Detach,
}

/// The line, and a terminal that tells each key at once, until this is dropped.
pub(super) struct Menu {
    keys: AsyncFd<OwnedFd>,
    before: Termios,
    resized: Signals,
    suspended: Signals,
    watching: bool,
    remark: Option<(String, Instant)>,
}

impl Menu {
    /// None where there is no terminal, or nobody wants it.
    pub(super) fn open(compose: &Compose<'_>, matches: &Matches, watching: bool) -> Option<Menu> {
        let wanted = match (matches.is_set("menu"), compose.cli.env("COMPOSE_MENU")) {
            (true, _) => matches.flag("menu"),
            (false, Some(text)) => load::is_on(&text),
            (false, None) => true,
        };
        let here = compose.cli.stdin_is_terminal() && compose.cli.stdout_is_terminal();
        if !(wanted && here && compose.paints) {
            return None;
        }
        // In the background the terminal is somebody else's.
        if termios::tcgetpgrp(stdin()).ok()? != getpgrp() || size().is_none() {
            return None;
        }
        let before = termios::tcgetattr(stdin()).ok()?;
        let menu = Menu {
            keys: keys()?,
            before,
            resized: signal(SignalKind::window_change()).ok()?,
            suspended: signal(SignalKind::from_raw(SUSPEND)).ok()?,
            watching,
            remark: None,
        };
        menu.enter();
        Some(menu)
    }

    /// Keys come one by one, but those that are signals stay so; the last row no longer scrolls.
    fn enter(&self) {
        let mut each = self.before.clone();
        each.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        each.special_codes[SpecialCodeIndex::VMIN] = 0;
        each.special_codes[SpecialCodeIndex::VTIME] = 0;
        // A terminal that has gone meanwhile shows nothing anyway; so below.
        let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &each);
        // The cursor may stand in the last row.
        write("\n\x1b[1A");
        self.divide();
    }

    fn leave(&self) {
        let rows = size().map_or(0, |size| size.rows);
        write(&format!("\x1b7\x1b[r\x1b[{rows};1H\x1b[2K\x1b8"));
        let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }

    /// Takes the last row out of what scrolls, and writes it.
    fn divide(&self) {
        let Some(size) = size() else { return };
        write(&format!("\x1b7\x1b[1;{}r\x1b8", size.rows - 1));
        self.paint();
    }

    fn paint(&self) {
        let Some(size) = size() else { return };
        let text = match &self.remark {
            Some((remark, _)) => remark.chars().take(size.columns.into()).collect(),
            None => line(self.watching, size.columns),
        };
        write(&format!("\x1b7\x1b[{};1H\x1b[2K{text}\x1b8", size.rows));
    }

    pub(super) fn watching(&self) -> bool {
        self.watching
    }

    pub(super) fn set_watching(&mut self, watching: bool) {
        self.watching = watching;
        self.paint();
    }

    /// Says something in place of the keys, for a while.
    pub(super) fn remark(&mut self, words: &str) {
        self.remark = Some((words.to_owned(), Instant::now() + REMARK));
        self.paint();
    }

    /// Waits for a key that asks for something.
    pub(super) async fn key(&mut self) -> Key {
        loop {
            let until = self.remark.as_ref().map(|(_, until)| (*until).into());
            let read = tokio::select! {
                read = read(&self.keys) => read,
                _ = self.resized.recv() => {
                    self.divide();
                    continue;
                }
                _ = self.suspended.recv() => {
                    self.suspend();
                    continue;
                }
                () = at(until) => {
                    self.remark = None;
                    self.paint();
                    continue;
                }
            };
            for byte in read {
                match byte {
                    b'w' => return Key::Watch,
                    b'd' => return Key::Detach,
                    b'\n' | b'\r' => write("\n"),
                    _ => {}
                }
            }
        }
    }

    /// Gives the terminal back for as long as this stands still.
    fn suspend(&self) {
        self.leave();
        // Whoever sends it to itself stands still before it goes on.
        let _ = kill_process(getpid(), Signal::STOP);
        self.enter();
    }
}

impl Drop for Menu {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What is typed. The descriptor is a duplicate, which nobody else closes.
fn keys() -> Option<AsyncFd<OwnedFd>> {
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe for types whose descriptor may close or change; an OwnedFd's does not"
    )]
    let watch = |fd| AsyncFd::with_interest(fd, Interest::READABLE).ok();
    watch(stdin().try_clone_to_owned().ok()?)
}

async fn read(keys: &AsyncFd<OwnedFd>) -> Vec<u8> {
    loop {
        let Ok(mut ready) = keys.readable().await else { return pending().await };
        let mut bytes = [0; 64];
        match rustix::io::read(stdin(), &mut bytes) {
            Ok(count) if count > 0 => return bytes[..count].to_vec(),
            // Nothing yet, or no terminal any more, which is told by a signal.
            _ => ready.clear_ready(),
        }
    }
}

fn size() -> Option<WindowSize> {
    window_size(stdout()).filter(|size| size.rows >= MIN_ROWS && size.columns > 0)
}

/// A line of the terminal that cannot be written is no reason to end what it is about.
fn write(text: &str) {
    drop(write_fd(stdout(), text.as_bytes()));
}

/// The keys, as Docker Compose shows them.
fn line(watching: bool, columns: u16) -> String {
    let toggle = if watching { "Disable Watch" } else { "Enable Watch" };
    let mut room = usize::from(columns);
    let mut out = String::new();
    for (key, name) in [("w", toggle), ("d", "Detach")] {
        let wide = name.len() + 5;
        if room < wide {
            break;
        }
        room -= wide;
        out.push_str(&format!("\x1b[1;30;47m{key}\x1b[0m\x1b[2m {name}\x1b[0m   "));
    }
    out
}

async fn at(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_keys_that_there_is_room_for() {
        let plain = |watching, columns| {
            let text = line(watching, columns);
            let parts =
                text.split('\x1b').map(|part| part.split_once('m').map_or(part, |(_, text)| text));
            parts.collect::<String>()
        };
        assert_eq!(plain(false, 80), "w Enable Watch   d Detach   ");
        assert_eq!(plain(true, 80), "w Disable Watch   d Detach   ");
        assert_eq!(plain(true, 20), "w Disable Watch   ");
        assert_eq!(plain(true, 3), "");
    }
}
