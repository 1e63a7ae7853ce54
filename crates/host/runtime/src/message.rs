//! What the new process and its maker tell each other: one byte and, from the process, words or a descriptor.
//!
//! The socket keeps message borders and is close-on-exec on both sides: its end is the news that the program runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferry_oci::runtime::User;
use ferry_sys::{Errno, fdpass};

use crate::error::Failure;
use crate::user::Identity;

/// Longer words are cut.
const MAX: usize = 16 << 10;

/// From the new process.
#[derive(Debug)]
pub(crate) enum FromChild {
    /// The hooks of the runtime's namespace are due.
    Hooks,
    /// Everything but exec is done, and who the program will run as; `None` where there is no program, or more groups than a message holds.
    Ready(Option<User>),
    /// The master of its terminal.
    Master(OwnedFd),
    /// Something that is not worth failing for.
    Warning(String),
    /// It gave up.
    Failed(Failure),
    /// It has exec'ed, or died without a word.
    End,
}

/// To the new process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToChild {
    /// Its id maps are written.
    Mapped = b'M' as isize,
    /// The hooks have run.
    HooksDone = b'H' as isize,
    /// Exec.
    Go = b'G' as isize,
}

pub(crate) fn send_ready(socket: BorrowedFd<'_>, identity: Option<&Identity>) -> Result<(), Errno> {
    let mut message = b"R".to_vec();
    if let Some(Identity { uid, gid, groups }) = identity {
        let ids = [uid, gid].into_iter().chain(groups);
        message.extend(ids.flat_map(|id| id.to_ne_bytes()));
    }
    message.truncate(if message.len() > MAX { 1 } else { message.len() });
    fdpass::send(socket, &message, &[]).map(drop)
}

/// The ids of [`send_ready`].
fn ids(bytes: &[u8]) -> Option<User> {
    let mut ids = bytes.as_chunks().0.iter().map(|id| u32::from_ne_bytes(*id));
    let (uid, gid) = (ids.next()?, ids.next()?);
    Some(User { uid, gid, additional_gids: ids.collect(), ..User::default() })
}

pub(crate) fn send_hooks(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    fdpass::send(socket, b"H", &[]).map(drop)
}

pub(crate) fn send_master(socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> Result<(), Errno> {
    fdpass::send(socket, b"T", &[master]).map(drop)
}

pub(crate) fn send_warning(socket: BorrowedFd<'_>, words: &str) -> Result<(), Errno> {
    send_words(socket, b"W", words)
}

pub(crate) fn send_failure(socket: BorrowedFd<'_>, failure: &Failure) -> Result<(), Errno> {
    send_words(socket, b"E", &failure.message)
}

fn send_words(socket: BorrowedFd<'_>, head: &[u8], words: &str) -> Result<(), Errno> {
    let room = MAX - head.len();
    let mut message = head.to_vec();
    message.extend_from_slice(&words.as_bytes()[..words.len().min(room)]);
    fdpass::send(socket, &message, &[]).map(drop)
}

pub(crate) fn receive(socket: impl AsFd) -> Result<FromChild, Errno> {
    let mut buffer = [0u8; MAX];
    let (length, mut fds) = match fdpass::receive(socket, &mut buffer) {
        // A process that died with something of ours unread resets the connection: it is the end all the same.
        Err(Errno::CONNRESET) => return Ok(FromChild::End),
        other => other?,
    };
    let text =
        |from: usize| String::from_utf8_lossy(&buffer[from.min(length)..length]).into_owned();
    Ok(match (length, buffer[0]) {
        (0, _) => FromChild::End,
        (_, b'R') => FromChild::Ready(ids(&buffer[1..length])),
        (_, b'H') => FromChild::Hooks,
        (_, b'T') => FromChild::Master(fds.pop().ok_or(Errno::BADMSG)?),
        (_, b'W') => FromChild::Warning(text(1)),
        (_, b'E') => FromChild::Failed(Failure::new(text(1))),
        _ => return Err(Errno::BADMSG),
    })
}

pub(crate) fn tell(socket: impl AsFd, what: ToChild) -> Result<(), Errno> {
    fdpass::send(socket, &[what as u8], &[]).map(drop)
}

/// Waits, in the child, for one particular word. Its maker's death is an error.
pub(crate) fn expect(socket: BorrowedFd<'_>, what: ToChild) -> Result<(), Errno> {
    let mut byte = [0u8; 1];
    match fdpass::receive(socket, &mut byte)? {
        (1, _) if byte[0] == what as u8 => Ok(()),
        (0, _) => Err(Errno::PIPE),
        _ => Err(Errno::BADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_program_runs_as_is_told() {
        let (one, other) = fdpass::pair().unwrap();
        let told = |identity: Option<&Identity>| {
            send_ready(one.as_fd(), identity).unwrap();
            let FromChild::Ready(user) = receive(&other).unwrap() else { panic!("not ready") };
            user.map(|user| (user.uid, user.gid, user.additional_gids))
        };
        let of = |groups: Vec<u32>| Identity { uid: 7, gid: u32::MAX, groups };
        assert_eq!(told(Some(&of(vec![1, 2]))), Some((7, u32::MAX, vec![1, 2])));
        assert_eq!(told(Some(&of(Vec::new()))), Some((7, u32::MAX, Vec::new())));
        assert_eq!(told(None), None);
        let most: Vec<u32> = (0..4093).collect();
        assert_eq!(told(Some(&of(most.clone()))), Some((7, u32::MAX, most)));
        assert_eq!(told(Some(&of((0..4094).collect()))), None);
    }
}
