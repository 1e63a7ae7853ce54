//! Two independent ways to know what a profile does to a call: run its program, and read the profile. Tests and the fuzz
//! target hold them against each other.

use ferry_oci::runtime::LinuxSeccomp;

use super::program::{AND, AT_LEAST, EQUAL, GREATER, JUMP, LOAD, RETURN};
use super::rules::{Parsed, Rule};
use super::syscalls::number;
use super::{Arch, CompileError, Table};

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// `AUDIT_ARCH_*`.
    pub audit_arch: u32,
    /// Its number.
    pub number: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// Runs a program from [`super::compile`] the way the kernel would. `None` if it is not a valid program: a jump out of
/// it, an unknown instruction, a load outside of the call, no answer.
pub fn interpret(program: &[u8], call: &Call) -> Option<u32> {
    let mut accumulator = 0u32;
    let mut at = 0usize;
    loop {
        let bytes = program.get(at * 8..at * 8 + 8)?;
        let code = u16::from_ne_bytes([bytes[0], bytes[1]]);
        let value = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        at += 1;
        let jump = |holds: bool| usize::from(if holds { bytes[2] } else { bytes[3] });
        match code {
            LOAD => accumulator = call.word(value)?,
            AND => accumulator &= value,
            JUMP => at += value as usize,
            EQUAL => at += jump(accumulator == value),
            GREATER => at += jump(accumulator > value),
            AT_LEAST => at += jump(accumulator >= value),
            RETURN => return Some(value),
            _ => return None,
        }
    }
}

impl Call {
    /// A word of `struct seccomp_data`.
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            0 => Some(self.number),
            4 => Some(self.audit_arch),
            16..=60 if offset.is_multiple_of(4) => {
                let argument = self.args[(offset as usize - 16) / 8].to_ne_bytes();
                let half =
                    if (offset - 16).is_multiple_of(8) { &argument[..4] } else { &argument[4..] };
                Some(u32::from_ne_bytes([half[0], half[1], half[2], half[3]]))
            }
            _ => None,
        }
    }
}

/// What the profile says about a call, read rule by rule: no ranges, no program.
pub fn evaluate(profile: &LinuxSeccomp, arch: Arch, call: &Call) -> Result<u32, CompileError> {
    let parsed = Parsed::read(profile, arch)?;
    let Some((table, call_number)) = table_of(&parsed, call) else { return Ok(KILL_THREAD) };
    let wide = table != Table::X86;
    let named: Vec<&Rule> = parsed
        .rules
        .iter()
        .filter(|(names, _)| names.iter().any(|name| number(name, table) == Some(call_number)))
        .map(|(_, rule)| rule)
        .collect();
    if let Some(always) = named.iter().find(|rule| rule.comparisons.is_empty()) {
        return Ok(always.action);
    }
    if let Some(rule) =
        named.iter().find(|rule| rule.comparisons.iter().all(|c| c.holds(call.args, wide)))
    {
        return Ok(rule.action);
    }
    let newer = parsed.last_named(profile, table).is_some_and(|last| call_number > last);
    Ok(if newer && parsed.newer_is_enosys { ERRNO_ENOSYS } else { parsed.default })
}

const KILL_THREAD: u32 = 0;
const ERRNO_ENOSYS: u32 = 0x0005_0026;

/// The table a call is looked up in, and its number there.
fn table_of(parsed: &Parsed<'_>, call: &Call) -> Option<(Table, u32)> {
    let listed = |table| parsed.tables.contains(&table);
    let native = parsed.tables[0];
    let (table, number) = match (call.audit_arch, call.number) {
        (0xc000_003e, number) if number >= 0x4000_0000 && listed(Table::X32) => {
            (Table::X32, number - 0x4000_0000)
        }
        (0xc000_003e, number) if (0x4000_0000..u32::MAX).contains(&number) => return None,
        (0xc000_003e, number) => (Table::X86_64, number),
        (0x4000_0003, number) if listed(Table::X86) => (Table::X86, number),
        (0xc000_00b7, number) => (Table::Aarch64, number),
        _ => return None,
    };
    let ours = match native {
        Table::Aarch64 => table == Table::Aarch64,
        _ => table != Table::Aarch64,
    };
    ours.then_some((table, number))
}
