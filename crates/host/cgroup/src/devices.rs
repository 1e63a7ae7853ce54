//! Device rules: lines for version 1, a BPF program for version 2.

use ferry_oci::runtime::{LinuxDeviceCgroup, LinuxResources};
use ferry_sys::bpf::Instruction;

use crate::ApplyError;

/// More than any sane configuration has; the kernel takes programs of a million instructions, we need not.
const MAX_RULES: usize = 4096;

/// A line for `devices.allow` or `devices.deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) file: &'static str,
    pub(crate) line: String,
}

/// A rule that has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    /// `None` is both.
    kind: Option<Kind>,
    /// `None` is all.
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Char,
}

/// `BPF_DEVCG_ACC_*`.
const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const ALL: u32 = MKNOD | READ | WRITE;

impl Rule {
    fn read(rule: &LinuxDeviceCgroup) -> Result<Rule, ApplyError> {
        let invalid = || ApplyError::DeviceRule(format!("{rule:?}"));
        let kind = match rule.kind.as_deref() {
            None | Some("" | "a") => None,
            Some("b") => Some(Kind::Block),
            // A character device by its other name.
            Some("c" | "u") => Some(Kind::Char),
            Some(_) => return Err(invalid()),
        };
        // -1 is a wildcard, too, in older configurations.
        let number = |value: Option<i64>| match value {
            None | Some(-1) => Ok(None),
            Some(value) => u32::try_from(value).map(Some).map_err(|_| invalid()),
        };
        let mut access = 0;
        for letter in rule.access.as_deref().unwrap_or("rwm").chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return Err(invalid()),
            };
        }
        let access = if access == 0 { ALL } else { access };
        let (major, minor) = (number(rule.major)?, number(rule.minor)?);
        Ok(Rule { allow: rule.allow, kind, major, minor, access })
    }

    /// Whether it speaks about everything, so that nothing before it counts.
    fn is_total(&self) -> bool {
        let any = self.kind.is_none() && self.major.is_none() && self.minor.is_none();
        any && self.access == ALL
    }
}

fn rules(resources: &LinuxResources) -> Result<Vec<Rule>, ApplyError> {
    if resources.devices.len() > MAX_RULES {
        return Err(ApplyError::DeviceRule(format!("{} rules", resources.devices.len())));
    }
    let rules: Vec<Rule> = resources.devices.iter().map(Rule::read).collect::<Result<_, _>>()?;
    let start = rules.iter().rposition(Rule::is_total).unwrap_or(0);
    Ok(rules[start..].to_vec())
}

/// The lines to write, in order.
pub(crate) fn v1_rules(resources: &LinuxResources) -> Result<Vec<Line>, ApplyError> {
    let mut lines = Vec::new();
    for rule in rules(resources)? {
        let file = if rule.allow { "devices.allow" } else { "devices.deny" };
        if rule.is_total() {
            lines.push(Line { file, line: "a".to_owned() });
            continue;
        }
        // The kernel knows no line for both kinds with numbers or part of the access.
        let kinds = match rule.kind {
            None => vec![Kind::Block, Kind::Char],
            Some(kind) => vec![kind],
        };
        for kind in kinds {
            lines.push(Line { file, line: line(kind, &rule) });
        }
    }
    Ok(lines)
}

fn line(kind: Kind, rule: &Rule) -> String {
    let letter = if kind == Kind::Block { 'b' } else { 'c' };
    let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
    let mut access = String::new();
    for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
        if rule.access & bit != 0 {
            access.push(letter);
        }
    }
    format!("{letter} {}:{} {access}", number(rule.major), number(rule.minor))
}

/// The program that decides like the rules, the last one that applies first; `None` if there are no rules.
pub(crate) fn v2_program(
    resources: &LinuxResources,
) -> Result<Option<Vec<Instruction>>, ApplyError> {
    let rules = rules(resources)?;
    if rules.is_empty() {
        return Ok(None);
    }
    // r2 = kind, r3 = access asked for, r4 = major, r5 = minor, out of struct bpf_cgroup_dev_ctx in r1.
    let mut program = vec![
        op(LOAD_WORD, 2, 1, 0, 0),
        op(AND_IMMEDIATE, 2, 0, 0, 0xffff),
        op(LOAD_WORD, 3, 1, 0, 0),
        op(SHIFT_RIGHT, 3, 0, 0, 16),
        op(LOAD_WORD, 4, 1, 4, 0),
        op(LOAD_WORD, 5, 1, 8, 0),
    ];
    let mut decided = false;
    for rule in rules.iter().rev() {
        program.extend(test(rule));
        if rule.is_total() {
            decided = true;
            break;
        }
    }
    if !decided {
        // A fresh version 1 group allows what its parent allows; keep that for the same rules.
        program.extend(answer(true));
    }
    Ok(Some(program))
}

const LOAD_WORD: u8 = 0x61;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbc;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_EQUAL: u8 = 0x16;
const EXIT: u8 = 0x95;

fn op(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: to | (from << 4), offset, immediate }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [op(MOVE, 0, 0, 0, i32::from(allow)), op(EXIT, 0, 0, 0, 0)]
}

/// "If it applies, this is the answer", else on to what follows.
fn test(rule: &Rule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    if let Some(kind) = rule.kind {
        let number = if kind == Kind::Block { 1 } else { 2 };
        tests.push(op(JUMP_NOT_EQUAL, 2, 0, 0, number));
    }
    if rule.access != ALL {
        tests.push(op(MOVE_REGISTER, 1, 3, 0, 0));
        if rule.allow {
            // All that is asked for must be allowed: nothing may be left outside of it.
            tests.push(op(AND_IMMEDIATE, 1, 0, 0, (!rule.access & ALL) as i32));
            tests.push(op(JUMP_NOT_EQUAL, 1, 0, 0, 0));
        } else {
            // Any of it is denied.
            tests.push(op(AND_IMMEDIATE, 1, 0, 0, rule.access as i32));
            tests.push(op(JUMP_EQUAL, 1, 0, 0, 0));
        }
    }
    for (register, number) in [(4, rule.major), (5, rule.minor)] {
        if let Some(number) = number {
            tests.push(op(JUMP_NOT_EQUAL, register, 0, 0, number as i32));
        }
    }
    let length = tests.len();
    for (index, instruction) in tests.iter_mut().enumerate() {
        if matches!(instruction.code, JUMP_NOT_EQUAL | JUMP_EQUAL) {
            // Over the remaining tests and the two instructions of the answer.
            instruction.offset = (length - index - 1 + 2) as i16;
        }
    }
    tests.extend(answer(rule.allow));
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> LinuxDeviceCgroup {
        LinuxDeviceCgroup {
            allow,
            kind: Some(kind.into()),
            major: Some(major),
            minor: Some(minor),
            access: Some(access.into()),
        }
    }

    fn resources(devices: Vec<LinuxDeviceCgroup>) -> LinuxResources {
        LinuxResources { devices, ..LinuxResources::default() }
    }

    /// Runs the program, as the kernel would for the instructions it consists of.
    fn allowed(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [(access << 16) | kind, major, minor];
        let mut registers = [0u32; 16];
        let mut at = 0usize;
        loop {
            let i = program[at];
            at += 1;
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            match i.code {
                LOAD_WORD => registers[to] = context[i.offset as usize / 4],
                AND_IMMEDIATE => registers[to] &= i.immediate as u32,
                SHIFT_RIGHT => registers[to] >>= i.immediate,
                MOVE => registers[to] = i.immediate as u32,
                MOVE_REGISTER => registers[to] = registers[from],
                JUMP_NOT_EQUAL if registers[to] != i.immediate as u32 => at += i.offset as usize,
                JUMP_EQUAL if registers[to] == i.immediate as u32 => at += i.offset as usize,
                JUMP_NOT_EQUAL | JUMP_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_last_rule_that_applies_decides() {
        let set = resources(vec![
            rule(true, "b", 8, 0, "rwm"),
            LinuxDeviceCgroup { allow: false, ..LinuxDeviceCgroup::default() },
            rule(true, "c", -1, -1, "m"),
            rule(true, "c", 1, 3, "rwm"),
            rule(true, "c", 10, 200, "rwm"),
            rule(false, "c", 10, 200, "w"),
        ]);
        let program = v2_program(&set).unwrap().unwrap();
        assert!(allowed(&program, 2, READ | WRITE, 1, 3));
        assert!(!allowed(&program, 2, READ, 1, 11));
        assert!(allowed(&program, 2, MKNOD, 1, 11));
        assert!(!allowed(&program, 2, MKNOD | READ, 1, 11));
        assert!(!allowed(&program, 1, READ, 8, 0), "allowed before everything was denied");
        assert!(allowed(&program, 2, READ, 10, 200));
        assert!(!allowed(&program, 2, READ | WRITE, 10, 200));
        let lines: Vec<String> = v1_rules(&set)
            .unwrap()
            .into_iter()
            .map(|line| format!("{} {}", &line.file[8..], line.line))
            .collect();
        assert_eq!(
            lines,
            ["deny a", "allow c *:* m", "allow c 1:3 rwm", "allow c 10:200 rwm", "deny c 10:200 w"]
        );
    }

    #[test]
    fn privileged_containers_get_everything() {
        let set = resources(vec![LinuxDeviceCgroup {
            allow: true,
            access: Some("rwm".into()),
            ..LinuxDeviceCgroup::default()
        }]);
        assert!(allowed(&v2_program(&set).unwrap().unwrap(), 1, READ, 8, 0));
        assert_eq!(v1_rules(&set).unwrap()[0].line, "a");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(v1_rules(&resources(vec![rule(true, "x", 1, 1, "rwm")])).is_err());
        assert!(v1_rules(&resources(vec![rule(true, "c", 1, 1, "rwx")])).is_err());
        assert!(v1_rules(&resources(vec![rule(true, "c", -7, 1, "r")])).is_err());
    }
}
