//! OCI seccomp profiles to BPF programs, without libseccomp.
//!
//! Semantics, which are runc's with libseccomp:
//! - A rule whose action is the default action says nothing and is left out.
//! - A rule without arguments decides its calls alone (the first one, if there are several).
//! - Otherwise the first rule whose comparisons all hold decides; if none does, the default action.
//! - A rule that compares the same argument twice stands for one rule per comparison.
//! - Calls numbered above every call the profile names answer ENOSYS instead of an error default, so that programs fall
//!   back to older calls (runc's patchbpf).
//! - An architecture that is not listed is killed; so is x32 on x86_64 when it is not listed.
//!
//! The program is a balanced tree over number ranges that share an outcome: about eight comparisons per call, where a
//! chain would have hundreds, and short enough that the kernel's own pre-computation of always-allowed calls is quick.

mod oracle;
mod program;
mod rules;
mod syscalls;

use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::runtime::LinuxSeccomp;

pub use oracle::{Call, evaluate, interpret};

/// The machine a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86, with x86 and x32 when the profile lists them.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// The architecture this was built for.
    pub const fn host() -> Arch {
        if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 }
    }
}

/// A column of the system call table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    X86_64,
    X32,
    X86,
    Aarch64,
}

impl Table {
    #[cfg(test)]
    pub(crate) const fn native() -> Table {
        if cfg!(target_arch = "aarch64") { Table::Aarch64 } else { Table::X86_64 }
    }
}

/// Why a profile could not be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Not an action of the specification.
    #[error("unknown seccomp action {0:?}")]
    UnknownAction(String),
    /// Not a comparison of the specification.
    #[error("unknown seccomp operator {0:?}")]
    UnknownOperator(String),
    /// Not an architecture of the specification.
    #[error("unknown seccomp architecture {0:?}")]
    UnknownArchitecture(String),
    /// Not a flag that can be set.
    #[error("unknown seccomp flag {0:?}")]
    UnknownFlag(String),
    /// System calls have six arguments, 0 to 5.
    #[error("seccomp rule for {syscall:?} compares argument {index}, the last one is 5")]
    ArgumentIndex {
        /// The first call the rule names.
        syscall: String,
        /// The index given.
        index: u64,
    },
    /// The kernel would cut it to 4095.
    #[error("seccomp errno {0} is out of range")]
    Errno(u64),
    /// A rule must name a call.
    #[error("seccomp rule without a system call name")]
    NoName,
    /// User notification needs an agent, which is not supported.
    #[error("seccomp action SCMP_ACT_NOTIFY is not supported")]
    Notify,
    /// The kernel takes 4096 instructions.
    #[error("seccomp profile compiles to {0} instructions, the kernel takes 4096")]
    TooLong(usize),
    /// More rules than any sane profile has.
    #[error("seccomp profile has more than {0} rules")]
    TooManyRules(usize),
}

impl Kinded for CompileError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Compiles a profile for a machine: the bytes of an array of `struct sock_filter` in this machine's byte order.
pub fn compile(profile: &LinuxSeccomp, arch: Arch) -> Result<Vec<u8>, CompileError> {
    let filter = rules::Filter::read(profile, arch)?;
    let instructions = program::assemble(&filter);
    if instructions.len() > ferry_sys::seccomp::MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong(instructions.len()));
    }
    Ok(program::to_bytes(&instructions))
}

/// The calls a process makes between having its filter and executing its program.
pub(crate) const NEEDED_TO_WAIT: [u32; 5] = [
    libc::SYS_recvmsg as u32,
    libc::SYS_sendmsg as u32,
    libc::SYS_write as u32,
    libc::SYS_close as u32,
    libc::SYS_exit_group as u32,
];

/// Whether a program allows a call of this machine, as far as two very different sets of arguments can tell.
pub(crate) fn always_allows(program: &[u8], number: u32) -> bool {
    const ALLOW: u32 = 0x7fff_0000;
    let audit_arch = rules::audit_arch(Arch::host());
    [[0; 6], [u64::MAX; 6]]
        .into_iter()
        .all(|args| interpret(program, &Call { audit_arch, number, args }) == Some(ALLOW))
}

/// The flags for loading a profile. A profile without a list gets SPEC_ALLOW, as in runc.
pub fn load_flags(profile: &LinuxSeccomp) -> Result<u32, CompileError> {
    rules::load_flags(profile)
}

#[cfg(test)]
mod tests;
