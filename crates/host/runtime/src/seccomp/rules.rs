//! Reading a profile: names to numbers, words to kernel values, rules to ranges of numbers that share an outcome.

use std::collections::BTreeMap;

use ferry_oci::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSyscall};
use ferry_sys::seccomp::{FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE};

use super::syscalls::number;
use super::{Arch, CompileError, Table};

const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_X86: u32 = 0x4000_0003;
const AUDIT_AARCH64: u32 = 0xc000_00b7;

/// What the kernel calls a machine.
pub(super) fn audit_arch(arch: Arch) -> u32 {
    match arch {
        Arch::X86_64 => AUDIT_X86_64,
        Arch::Aarch64 => AUDIT_AARCH64,
    }
}

/// Marks an x32 call on x86_64.
const X32_BIT: u32 = 0x4000_0000;

/// The number a tracer leaves to skip a call; it is on no table.
const SKIPPED: u32 = u32::MAX;

/// Docker's profile has 40 rules; this leaves room and bounds the work.
const MAX_RULES: usize = 4096;
/// Of names in one rule, likewise.
const MAX_NAMES: usize = 4096;

/// A profile for one machine.
#[derive(Debug)]
pub(super) struct Filter {
    /// One for each architecture the kernel tells apart.
    pub(super) sets: Vec<Set>,
    /// What calls of any other architecture get.
    pub(super) foreign: u32,
}

/// The calls of one architecture.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) audit_arch: u32,
    /// Whether arguments have 64 bits.
    pub(super) wide: bool,
    /// Sorted; the first starts at 0, each goes on to the next one's start.
    pub(super) ranges: Vec<Range>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Always(u32),
    Depends { rules: Vec<Rule>, otherwise: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) action: u32,
    /// All must hold.
    pub(super) comparisons: Vec<Comparison>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) index: u32,
    pub(super) operator: Operator,
    /// The mask, for `MaskedEqual`.
    pub(super) value: u64,
    /// What the masked argument must be, for `MaskedEqual`.
    pub(super) datum: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    NotEqual,
    Less,
    AtMost,
    Equal,
    AtLeast,
    Greater,
    MaskedEqual,
}

impl Comparison {
    /// Whether it holds, read off the specification.
    pub(super) fn holds(&self, args: [u64; 6], wide: bool) -> bool {
        let cut = |value: u64| if wide { value } else { value & 0xffff_ffff };
        let argument = cut(args[self.index as usize]);
        let (value, datum) = (cut(self.value), cut(self.datum));
        match self.operator {
            Operator::NotEqual => argument != value,
            Operator::Less => argument < value,
            Operator::AtMost => argument <= value,
            Operator::Equal => argument == value,
            Operator::AtLeast => argument >= value,
            Operator::Greater => argument > value,
            Operator::MaskedEqual => argument & value == datum,
        }
    }
}

/// A profile's rules in kernel terms, names still names.
pub(super) struct Parsed<'p> {
    pub(super) default: u32,
    pub(super) rules: Vec<(&'p [String], Rule)>,
    /// The tables of the listed architectures (always with the machine's own).
    pub(super) tables: Vec<Table>,
    /// Whether calls newer than the profile answer ENOSYS.
    pub(super) newer_is_enosys: bool,
}

impl<'p> Parsed<'p> {
    pub(super) fn read(profile: &'p LinuxSeccomp, arch: Arch) -> Result<Parsed<'p>, CompileError> {
        if profile.syscalls.len() > MAX_RULES {
            return Err(CompileError::TooManyRules(MAX_RULES));
        }
        let default = action(&profile.default_action, profile.default_errno_ret)?;
        let mut rules = Vec::new();
        for syscall in &profile.syscalls {
            for rule in read_rule(syscall)? {
                // It would say nothing, and must not shadow a later rule.
                if rule.action != default {
                    rules.push((syscall.names.as_slice(), rule));
                }
            }
        }
        let kind = default & 0xffff_0000;
        let permits = matches!(kind, ALLOW | LOG | TRACE);
        let newer_is_enosys = !permits && default != ERRNO | libc::ENOSYS as u32;
        Ok(Parsed { default, rules, tables: tables(profile, arch)?, newer_is_enosys })
    }

    /// The highest number the profile names for a table; runc counts rules with the default action, too.
    pub(super) fn last_named(&self, profile: &LinuxSeccomp, table: Table) -> Option<u32> {
        let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
        names.filter_map(|name| number(name, table)).max()
    }
}

impl Filter {
    pub(super) fn read(profile: &LinuxSeccomp, arch: Arch) -> Result<Filter, CompileError> {
        let parsed = Parsed::read(profile, arch)?;
        let has = |table| parsed.tables.contains(&table);
        let mut sets = Vec::new();
        match arch {
            Arch::X86_64 => {
                let mut ranges = ranges(&parsed, profile, Table::X86_64);
                if has(Table::X32) {
                    let x32 = self::ranges(&parsed, profile, Table::X32);
                    let shift = |r: Range| Range { start: r.start + X32_BIT, outcome: r.outcome };
                    ranges.retain(|range| range.start < X32_BIT);
                    ranges.extend(x32.into_iter().filter(|r| r.start < X32_BIT).map(shift));
                } else {
                    ranges.push(Range { start: X32_BIT, outcome: Outcome::Always(KILL_THREAD) });
                    let skipped = skipped_outcome(&parsed, profile, Table::X86_64);
                    ranges.push(Range { start: SKIPPED, outcome: Outcome::Always(skipped) });
                }
                merge(&mut ranges);
                sets.push(Set { audit_arch: AUDIT_X86_64, wide: true, ranges });
                if has(Table::X86) {
                    let ranges = self::ranges(&parsed, profile, Table::X86);
                    sets.push(Set { audit_arch: AUDIT_X86, wide: false, ranges });
                }
            }
            Arch::Aarch64 => {
                let ranges = ranges(&parsed, profile, Table::Aarch64);
                sets.push(Set { audit_arch: AUDIT_AARCH64, wide: true, ranges });
            }
        }
        Ok(Filter { sets, foreign: KILL_THREAD })
    }
}

fn skipped_outcome(parsed: &Parsed<'_>, profile: &LinuxSeccomp, table: Table) -> u32 {
    let named = parsed.last_named(profile, table).is_some();
    if parsed.newer_is_enosys && named { ERRNO | libc::ENOSYS as u32 } else { parsed.default }
}

/// All numbers of one table, in ranges.
fn ranges(parsed: &Parsed<'_>, profile: &LinuxSeccomp, table: Table) -> Vec<Range> {
    let mut by_number: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
    for (names, rule) in &parsed.rules {
        for number in names.iter().filter_map(|name| number(name, table)) {
            by_number.entry(number).or_default().push(rule);
        }
    }
    let default = || Outcome::Always(parsed.default);
    let mut ranges = vec![Range { start: 0, outcome: default() }];
    for (number, rules) in by_number {
        ranges.push(Range { start: number, outcome: outcome(&rules, parsed.default) });
        ranges.push(Range { start: number + 1, outcome: default() });
    }
    if parsed.newer_is_enosys
        && let Some(last) = parsed.last_named(profile, table)
    {
        let enosys = Outcome::Always(ERRNO | libc::ENOSYS as u32);
        ranges.push(Range { start: last + 1, outcome: enosys });
    }
    merge(&mut ranges);
    ranges
}

/// Of ranges with the same start the last one counts; neighbours with the same outcome become one.
fn merge(ranges: &mut Vec<Range>) {
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..) {
        if merged.last().is_some_and(|last| last.start == range.start) {
            merged.pop();
        }
        if merged.last().is_none_or(|last| last.outcome != range.outcome) {
            merged.push(range);
        }
    }
    *ranges = merged;
}

fn outcome(rules: &[&Rule], otherwise: u32) -> Outcome {
    if let Some(rule) = rules.iter().find(|rule| rule.comparisons.is_empty()) {
        return Outcome::Always(rule.action);
    }
    Outcome::Depends { rules: rules.iter().map(|rule| (*rule).clone()).collect(), otherwise }
}

/// The rules one entry of the profile stands for.
fn read_rule(syscall: &LinuxSyscall) -> Result<Vec<Rule>, CompileError> {
    if syscall.names.is_empty() || syscall.names.iter().any(String::is_empty) {
        return Err(CompileError::NoName);
    }
    if syscall.names.len() > MAX_NAMES {
        return Err(CompileError::TooManyRules(MAX_NAMES));
    }
    let action = action(&syscall.action, syscall.errno_ret)?;
    let comparisons: Vec<Comparison> = syscall
        .args
        .iter()
        .map(|argument| comparison(&syscall.names[0], argument))
        .collect::<Result<_, _>>()?;
    let repeated = (0..6).any(|i| comparisons.iter().filter(|c| c.index == i).count() > 1);
    if repeated {
        let alone = |c| Rule { action, comparisons: vec![c] };
        return Ok(comparisons.into_iter().map(alone).collect());
    }
    Ok(vec![Rule { action, comparisons }])
}

fn comparison(syscall: &str, argument: &LinuxSeccompArg) -> Result<Comparison, CompileError> {
    let index = u64::from(argument.index);
    if index > 5 {
        return Err(CompileError::ArgumentIndex { syscall: syscall.to_owned(), index });
    }
    let operator = match argument.op.as_str() {
        "SCMP_CMP_NE" => Operator::NotEqual,
        "SCMP_CMP_LT" => Operator::Less,
        "SCMP_CMP_LE" => Operator::AtMost,
        "SCMP_CMP_EQ" => Operator::Equal,
        "SCMP_CMP_GE" => Operator::AtLeast,
        "SCMP_CMP_GT" => Operator::Greater,
        "SCMP_CMP_MASKED_EQ" => Operator::MaskedEqual,
        other => return Err(CompileError::UnknownOperator(other.to_owned())),
    };
    let (value, datum) = (argument.value, argument.value_two);
    Ok(Comparison { index: index as u32, operator, value, datum })
}

/// The kernel's return value for an action.
fn action(name: &str, errno: Option<u32>) -> Result<u32, CompileError> {
    let data = errno.unwrap_or(libc::EPERM as u32);
    let with_data = |kind: u32| {
        if data > 4095 { Err(CompileError::Errno(u64::from(data))) } else { Ok(kind | data) }
    };
    match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(KILL_THREAD),
        "SCMP_ACT_KILL_PROCESS" => Ok(KILL_PROCESS),
        "SCMP_ACT_TRAP" => Ok(TRAP),
        "SCMP_ACT_ERRNO" => with_data(ERRNO),
        "SCMP_ACT_TRACE" => with_data(TRACE),
        "SCMP_ACT_LOG" => Ok(LOG),
        "SCMP_ACT_ALLOW" => Ok(ALLOW),
        "SCMP_ACT_NOTIFY" => Err(CompileError::Notify),
        other => Err(CompileError::UnknownAction(other.to_owned())),
    }
}

/// Architectures of the specification that this build's machines never run, so that a rule for them has no effect.
const ELSEWHERE: [&str; 16] = [
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
];

fn tables(profile: &LinuxSeccomp, arch: Arch) -> Result<Vec<Table>, CompileError> {
    let mut tables = vec![match arch {
        Arch::X86_64 => Table::X86_64,
        Arch::Aarch64 => Table::Aarch64,
    }];
    for name in &profile.architectures {
        match name.as_str() {
            "SCMP_ARCH_X86_64" | "SCMP_ARCH_AARCH64" | "SCMP_ARCH_NATIVE" => {}
            "SCMP_ARCH_X86" => tables.push(Table::X86),
            "SCMP_ARCH_X32" => tables.push(Table::X32),
            other if ELSEWHERE.contains(&other) => {}
            other => return Err(CompileError::UnknownArchitecture(other.to_owned())),
        }
    }
    Ok(tables)
}

pub(super) fn load_flags(profile: &LinuxSeccomp) -> Result<u32, CompileError> {
    if profile.flags.is_empty() {
        return Ok(FLAG_SPEC_ALLOW);
    }
    profile.flags.iter().try_fold(0, |bits, name| match name.as_str() {
        // One thread loads the filter, so there is nothing to synchronise.
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(bits),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(bits | FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(bits | FLAG_SPEC_ALLOW),
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Ok(bits | FLAG_WAIT_KILLABLE),
        other => Err(CompileError::UnknownFlag(other.to_owned())),
    })
}
