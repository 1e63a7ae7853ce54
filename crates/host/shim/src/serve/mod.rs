//! The life of one shim: make the container, wait for `Start`, look after it, record its end.

mod client;
mod exec;
mod external;
mod output;
mod state;

use std::os::fd::AsRawFd;
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixListener,
    time::Duration,
};

use ferry_sys::{fdpass, process, signals};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{launch::Launch, template::READY};

use client::Client;
use state::Shim;

/// After the container's end a client that takes nothing for so long is dropped.
const FAREWELL: Duration = Duration::from_secs(20);

/// Runs a container from its making to its end. Tells `answer` when it listens.
pub(crate) fn run(launch: Launch, answer: OwnedFd) -> ! {
    process::set_name(c"ferry-shim").ok();
    process::set_child_subreaper().ok();
    // A client may leave while it is written to, which must not be the end of the container. Children get the default.
    signals::ignore(rustix::process::Signal::PIPE.as_raw()).ok();
    let refuse = |words: String| -> ! {
        fdpass::send(&answer, words.as_bytes(), &[]).ok();
        process::exit_now(1)
    };
    let listener = match listen(&launch) {
        Ok(listener) => listener,
        Err(error) => refuse(format!("cannot listen in {}: {error}", launch.run_dir.display())),
    };
    let mut shim = match Shim::new(launch) {
        Ok(shim) => shim,
        Err(error) => refuse(error),
    };
    let mut ready = READY.to_vec();
    ready.extend(shim.made().map(|pid| format!(" {pid}")).unwrap_or_default().bytes());
    fdpass::send(&answer, &ready, &[]).ok();
    drop(answer);
    serve(&mut shim, &listener);
    process::exit_now(0)
}

fn listen(launch: &Launch) -> io::Result<UnixListener> {
    let path = launch.run_dir.join("shim.sock");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // A socket's path has at most 107 bytes, an exec root may have more: the directory is named by its descriptor.
    let directory = fs::File::open(&launch.run_dir)?;
    let listener =
        UnixListener::bind(format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What a polled descriptor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Listener,
    Init,
    Counted,
    ExecEnd(usize),
    Output { exec: Option<usize>, stderr: bool },
    Input { exec: Option<usize> },
    Client(usize),
}

fn serve(shim: &mut Shim, listener: &UnixListener) {
    loop {
        let ready = match wait(shim, listener) {
            Ok(ready) => ready,
            Err(Errno::INTR) => continue,
            // Nothing can be polled any more: the container's end must still be recorded.
            Err(_) => return shim.give_up(),
        };
        for (source, flags) in ready {
            match source {
                Source::Listener => accept(shim, listener),
                Source::Counted => shim.look_at_counts(),
                Source::Init => shim.init_ended(),
                Source::ExecEnd(index) => shim.exec_ended(index),
                Source::Output { exec, stderr } => shim.pump_output(exec, stderr),
                Source::Input { exec } => shim.pump_input(exec),
                Source::Client(index) => shim.serve_client(index, flags),
            }
        }
        shim.sweep();
        if shim.is_done() {
            return;
        }
    }
}

/// Sleeps until something is ready. Nothing is polled that cannot be dealt with: output whose readers are behind, input
/// that nobody sent.
fn wait(shim: &Shim, listener: &UnixListener) -> Result<Vec<(Source, PollFlags)>, Errno> {
    let mut sources = Vec::with_capacity(8);
    let mut fds = Vec::with_capacity(8);
    let mut add = |source: Source, fd, flags| {
        sources.push(source);
        fds.push(PollFd::from_borrowed_fd(fd, flags));
    };
    add(Source::Listener, listener.as_fd(), PollFlags::IN);
    shim.each_source(&mut add);
    let timeout = if shim.is_ended() { Some(FAREWELL) } else { shim.orphan_check() };
    let timeout = timeout.map(|duration| Timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: duration.subsec_nanos().into(),
    });
    let count = poll(&mut fds, timeout.as_ref())?;
    if count == 0 && shim.is_ended() {
        return Err(Errno::TIMEDOUT);
    }
    let fired = fds.iter().map(PollFd::revents).zip(&sources);
    Ok(fired
        .filter(|(flags, _)| !flags.is_empty())
        .map(|(flags, source)| (*source, flags))
        .collect())
}

fn accept(shim: &mut Shim, listener: &UnixListener) {
    while let Ok((stream, _)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok() {
            shim.clients.push(Some(Client::new(stream)));
        }
    }
}
