//! bpf(2) as far as cgroup device programs need it.
#![expect(unsafe_code, reason = "bpf(2)")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::raw::check;
use crate::{Errno, Result};

/// One eBPF instruction (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the lower, source register in the upper four bits.
    pub registers: u8,
    /// Jump or memory offset.
    pub offset: i16,
    /// Immediate operand.
    pub immediate: i32,
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// Loads a device program (`BPF_PROG_TYPE_CGROUP_DEVICE`).
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
    }
    let mut name = [0; 16];
    name[..12].copy_from_slice(b"ferry_device");
    let load = Load {
        kind: PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        name,
        ..Load::default()
    };
    // SAFETY: all pointers in `load` live until the call ends and have the lengths given beside them.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, std::mem::size_of::<Load>())
    };
    let fd = check(answer)? as i32;
    // SAFETY: the answer is a new descriptor.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    // bpf(2) gives close-on-exec descriptors of its own accord.
    Ok(program)
}

/// Attaches a device program to a cgroup, beside others.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    attach(cgroup, program, ALLOW_MULTI, 0)
}

/// Puts `program` in the place of `old`, without a moment in which neither is in force.
pub fn replace_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
) -> Result<()> {
    const REPLACE: u32 = 4;
    attach(cgroup, program, ALLOW_MULTI | REPLACE, old.as_raw_fd() as u32)
}

fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, flags: u32, old: u32) -> Result<()> {
    let attach: [u32; 5] =
        [cgroup.as_raw_fd() as u32, program.as_raw_fd() as u32, CGROUP_DEVICE, flags, old];
    // SAFETY: the kernel reads the five words of BPF_PROG_ATTACH.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_ATTACH, attach.as_ptr(), std::mem::size_of_val(&attach))
    };
    check(answer).map(drop)
}
