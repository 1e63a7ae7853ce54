//! `--init`: the first process is ours. It starts the program as its child, passes signals on, reaps what is left to it,
//! and ends as the program ends. As tini, which Docker runs for this, without being a program of its own.

use std::os::fd::BorrowedFd;

use ferry_sys::{Errno, process, signals};

use super::finish::Ending;
use crate::error::{Failure, Outcome};

/// Tells "ready", waits for "go", starts the program. Does not return in the first process.
pub(super) fn run(
    mut ending: Ending,
    socket: BorrowedFd<'_>,
    gate: Option<&crate::Gate>,
) -> Outcome<std::convert::Infallible> {
    ending.stay();
    super::ready_and_wait(&mut ending, true, socket, gate)?;
    // Both get the filter: the program must not find an unfiltered process to talk into things.
    ending.lock_down()?;
    // Blocked before the fork, so that no signal falls between.
    signals::block_all().map_err(|errno| Failure::errno("sigprocmask", errno))?;
    match super::fork()? {
        0 => program(ending),
        child => watch(child),
    }
}

/// Marks a container that has no program: its first process only holds the namespaces, for others to join.
pub const HOLDER_ANNOTATION: &str = "org.ferry.holder";

/// Tells "ready", waits for "go", and holds the namespaces until it is told to end. Does not return.
pub(super) fn hold(
    mut ending: Ending,
    socket: BorrowedFd<'_>,
) -> Outcome<std::convert::Infallible> {
    ending.stay();
    ending.lock_down()?;
    super::tell_ready_and_wait(socket)?;
    signals::block_all().map_err(|errno| Failure::errno("sigprocmask", errno))?;
    // The name is cosmetic.
    let _ = process::set_name(c"ferry-pod");
    crate::fork::close_all_but_standard();
    loop {
        match signals::wait().map(|received| received.signal) {
            // Orphans of the pod, where its containers share process ids.
            Ok(libc::SIGCHLD) => {
                reap(0);
            }
            Ok(libc::SIGTERM | libc::SIGINT) => process::exit_now(0),
            Ok(_) => {}
            Err(_) => process::exit_now(255),
        }
    }
}

/// `docker-init [--] PROGRAM…`: the same for a container of another runtime, which executes this as its first process.
/// Answers the exit code when it cannot be one.
pub fn stand_alone(words: &[String]) -> i32 {
    let words = match words.first().map(String::as_str) {
        Some("--") => &words[1..],
        _ => words,
    };
    let Some((program, args)) = words.split_first() else { return 1 };
    if signals::block_all().is_err() {
        return 1;
    }
    match super::fork() {
        Ok(0) => {
            let ready = process::new_process_group().and_then(|()| {
                let terminal = rustix::stdio::stdin();
                if rustix::termios::isatty(terminal) {
                    // Blocked, SIGTTOU stops nobody.
                    let _ = ferry_sys::pty::take_foreground(terminal);
                }
                signals::unblock_all()
            });
            if ready.is_err() {
                return 1;
            }
            let mut command = std::process::Command::new(program);
            let error = std::os::unix::process::CommandExt::exec(command.args(args));
            // As tini.
            match error.kind() {
                std::io::ErrorKind::NotFound => 127,
                std::io::ErrorKind::PermissionDenied => 126,
                _ => 1,
            }
        }
        Ok(child) => watch(child),
        Err(_) => 1,
    }
}

fn program(ending: Ending) -> Outcome<std::convert::Infallible> {
    // Its own group, in the foreground of its terminal if it has one: Ctrl-C is for it, not for init.
    process::new_process_group().map_err(|errno| Failure::errno("setpgid", errno))?;
    let terminal = rustix::stdio::stdin();
    if rustix::termios::isatty(terminal) {
        // A background group that takes the foreground is stopped by SIGTTOU unless that is blocked, which it is.
        let _ = ferry_sys::pty::take_foreground(terminal);
    }
    signals::unblock_all().map_err(|errno| Failure::errno("sigprocmask", errno))?;
    // As tini.
    ending.exec(|errno| match errno {
        Errno::NOENT => 127,
        Errno::ACCESS => 126,
        _ => 1,
    })
}

/// Signals that are about init itself, or that the kernel sends about a fault of its own.
const KEPT: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
];

fn watch(child: i32) -> ! {
    // The name is cosmetic.
    let _ = process::set_name(c"docker-init");
    crate::fork::close_all_but_standard();
    loop {
        let signal = match signals::wait() {
            Ok(received) => received.signal,
            Err(_) => process::exit_now(255),
        };
        if signal == libc::SIGCHLD {
            if let Some(code) = reap(child) {
                process::exit_now(code);
            }
        } else if !KEPT.contains(&signal) {
            // It may have ended this moment; then SIGCHLD is next.
            let _ = signals::kill(child, signal);
        }
    }
}

/// Reaps everybody who has ended; the program's exit code if it is among them.
fn reap(child: i32) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = process::wait_any(false) {
        if pid == child {
            code = Some(match libc::WIFEXITED(status) {
                true => libc::WEXITSTATUS(status),
                false => 128 + libc::WTERMSIG(status),
            });
        }
    }
    code
}
