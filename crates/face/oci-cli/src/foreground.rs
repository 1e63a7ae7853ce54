//! A process whose end is waited for: its signals and its terminal are this program's meanwhile.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use ferry_errkind::Failure;
use ferry_runtime::Running;
use ferry_sys::{pidfd, pty, signals};
use rustix::{
    process::Signal,
    termios::{self, OptionalActions, Termios},
};

use crate::report::failed;

/// How long the last output of a terminal is waited for.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// This program's own terminal, raw until it is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn make() -> Raw {
        let own = termios::tcgetattr(rustix::stdio::stdin()).ok();
        if let Some(before) = &own {
            let mut raw = before.clone();
            raw.make_raw();
            // Without it the terminal shows twice what is typed, no more.
            termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).ok();
        }
        Raw(own)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before).ok();
        }
    }
}

/// Waits for a child of this process and answers its exit code.
pub(crate) fn wait(mut running: Running) -> Result<u8, Failure> {
    let told = |errno: ferry_sys::Errno| failed("wait for the process", errno);
    // Before there are threads, so that it is this one that waits for signals.
    signals::block_all().map_err(told)?;
    let terminal = running.master.take().map(proxy).transpose()?;
    if let Some(terminal) = &terminal {
        follow_size(&terminal.master);
    }
    let ended = loop {
        if let Some(ended) = pidfd::try_wait(running.pidfd.as_fd()).map_err(told)? {
            break ended;
        }
        let signal = signals::wait().map_err(told)?.signal;
        if signal == Signal::WINCH.as_raw() {
            if let Some(terminal) = &terminal {
                follow_size(&terminal.master);
            }
        } else if signal != Signal::CHILD.as_raw() && signal != Signal::URG.as_raw() {
            // It may have ended this moment.
            pidfd::send_signal(running.pidfd.as_fd(), signal).ok();
        }
    };
    if let Some(terminal) = terminal {
        // The last output comes before the end of the terminal; a process left behind may keep that open for ever.
        let deadline = Instant::now() + LAST_OUTPUT;
        while !terminal.output.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(u8::try_from(ended.code()).unwrap_or(255))
}

struct Proxy {
    master: OwnedFd,
    output: std::thread::JoinHandle<()>,
    _raw: Raw,
}

fn proxy(master: OwnedFd) -> Result<Proxy, Failure> {
    let told = |error: io::Error| failed("pass the terminal on", error);
    let mut input = File::from(master.try_clone().map_err(told)?);
    let mut output = File::from(master.try_clone().map_err(told)?);
    // It ends with this program.
    std::thread::spawn(move || copy(&mut io::stdin().lock(), &mut input));
    let output = std::thread::spawn(move || copy(&mut output, &mut io::stdout()));
    Ok(Proxy { master, output, _raw: Raw::make() })
}

fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut buffer = [0; 16 << 10];
    // A terminal without processes says EIO, which is the end.
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

fn follow_size(master: &OwnedFd) {
    if let Ok(size) = termios::tcgetwinsize(rustix::stdio::stdin()) {
        // A program that is told a wrong size draws badly, no more.
        pty::set_size(master.as_fd(), size.ws_row, size.ws_col).ok();
    }
}
