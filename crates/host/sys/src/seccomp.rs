//! Loading a compiled seccomp program.
#![expect(unsafe_code, reason = "seccomp(2)")]

use std::os::fd::{FromRawFd, OwnedFd};

use crate::raw::check;
use crate::{Errno, Result};

/// Log every action but allow.
pub const FLAG_LOG: u32 = 1 << 1;
/// Do not switch on speculation mitigations.
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// Answer with a descriptor for user notifications.
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// A notified process can only be killed while it waits.
pub const FLAG_WAIT_KILLABLE: u32 = 1 << 5;

/// The kernel's upper bound on instructions.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Loads `program` (an array of `struct sock_filter` as bytes) for this thread and its children. Needs no_new_privs or
/// CAP_SYS_ADMIN. With [`FLAG_NEW_LISTENER`] the answer is the listener.
pub fn load(program: &[u8], flags: u32) -> Result<Option<OwnedFd>> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    let instructions = decode(program)?;
    let length = libc::c_ushort::try_from(instructions.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut() };
    // SAFETY: `program` points to `length` instructions that live until the call ends; the kernel only reads them.
    let answer =
        unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) };
    let answer = check(answer)?;
    if flags & FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with this flag the answer is a new descriptor.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(answer as i32) }))
}

fn decode(program: &[u8]) -> Result<Vec<libc::sock_filter>> {
    if program.is_empty()
        || !program.len().is_multiple_of(8)
        || program.len() / 8 > MAX_INSTRUCTIONS
    {
        return Err(Errno::INVAL);
    }
    let instruction = |bytes: &[u8]| libc::sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    Ok(program.chunks_exact(8).map(instruction).collect())
}
