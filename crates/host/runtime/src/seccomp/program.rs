//! From rule sets to BPF instructions.
//!
//! Code is made back to front: BPF jumps only forward, so every target is known when the jump to it is made, and a jump
//! that would reach further than eight bits tell gets a long jump put in its way.

use super::rules::{Comparison, Filter, Operator, Outcome, Range, Rule};

/// One `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jump_true: u8,
    pub(super) jump_false: u8,
    pub(super) value: u32,
}

pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub(super) const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
pub(super) const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub(super) const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
pub(super) const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The program for a filter, in execution order.
pub(super) fn assemble(filter: &Filter) -> Vec<Instruction> {
    let mut code = Backwards::default();
    let mut entry = code.answer(filter.foreign);
    for set in filter.sets.iter().rev() {
        code.tree(&set.ranges, set.wide);
        let body = code.load(NUMBER);
        entry = code.branch(EQUAL, set.audit_arch, body, entry);
    }
    code.load(ARCH);
    let _ = entry; // the load falls through to the last branch made, which is the entry
    code.finish()
}

/// The kernel's layout, native byte order.
pub(super) fn to_bytes(program: &[Instruction]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend_from_slice(&instruction.code.to_ne_bytes());
        bytes.push(instruction.jump_true);
        bytes.push(instruction.jump_false);
        bytes.extend_from_slice(&instruction.value.to_ne_bytes());
    }
    bytes
}

/// An instruction by its distance from the end of the program.
type Label = usize;

#[derive(Default)]
struct Backwards {
    code: Vec<Instruction>,
    /// The latest place of each answer, to share it while it is in reach.
    answers: Vec<(u32, Label)>,
}

impl Backwards {
    fn push(&mut self, code: u16, jump_true: u8, jump_false: u8, value: u32) -> Label {
        self.code.push(Instruction { code, jump_true, jump_false, value });
        self.code.len() - 1
    }

    fn finish(mut self) -> Vec<Instruction> {
        self.code.reverse();
        self.code
    }

    /// Instructions between the one to be made next and `target`.
    fn distance(&self, target: Label) -> usize {
        self.code.len() - target - 1
    }

    /// A place in reach of a conditional jump that is made at most `slack` instructions from now.
    fn reachable(&mut self, target: Label, slack: usize) -> Label {
        if self.distance(target) + slack <= 255 {
            return target;
        }
        let distance = self.distance(target) as u32;
        self.push(JUMP, 0, 0, distance)
    }

    fn branch(&mut self, code: u16, value: u32, yes: Label, no: Label) -> Label {
        let yes = self.reachable(yes, 2);
        let no = self.reachable(no, 1);
        let (jump_true, jump_false) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(code, jump_true, jump_false, value)
    }

    /// Falls through to the instruction made last.
    fn load(&mut self, offset: u32) -> Label {
        self.push(LOAD, 0, 0, offset)
    }

    fn answer(&mut self, value: u32) -> Label {
        let known = self.answers.iter().position(|(other, _)| *other == value);
        if let Some(index) = known {
            let label = self.answers[index].1;
            // Well inside the reach, so that what is built on it needs no long jumps.
            if self.distance(label) < 200 {
                return label;
            }
            self.answers.swap_remove(index);
        }
        let label = self.push(RETURN, 0, 0, value);
        self.answers.push((value, label));
        label
    }

    /// Decides by the number in the accumulator. The entry is always the instruction made last.
    fn tree(&mut self, ranges: &[Range], wide: bool) -> Label {
        let label = self.subtree(ranges, wide);
        if label + 1 == self.code.len() {
            return label;
        }
        // A single shared answer further down: jump there.
        let distance = self.distance(label) as u32;
        self.push(JUMP, 0, 0, distance)
    }

    fn subtree(&mut self, ranges: &[Range], wide: bool) -> Label {
        match ranges {
            [] => unreachable!("ranges cover all numbers"),
            [only] => self.outcome(&only.outcome, wide),
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let high_label = self.subtree(high, wide);
                let low_label = self.subtree(low, wide);
                self.branch(AT_LEAST, high[0].start, high_label, low_label)
            }
        }
    }

    fn outcome(&mut self, outcome: &Outcome, wide: bool) -> Label {
        match outcome {
            Outcome::Always(value) => self.answer(*value),
            Outcome::Depends { rules, otherwise } => {
                let mut next = self.answer(*otherwise);
                for rule in rules.iter().rev() {
                    next = self.rule(rule, next, wide);
                }
                next
            }
        }
    }

    fn rule(&mut self, rule: &Rule, otherwise: Label, wide: bool) -> Label {
        let mut yes = self.answer(rule.action);
        for comparison in rule.comparisons.iter().rev() {
            yes = self.comparison(comparison, yes, otherwise, wide);
        }
        yes
    }

    fn comparison(&mut self, c: &Comparison, yes: Label, no: Label, wide: bool) -> Label {
        match c.operator {
            Operator::Equal => self.equal(c, u64::MAX, c.value, wide, yes, no),
            Operator::NotEqual => self.equal(c, u64::MAX, c.value, wide, no, yes),
            Operator::MaskedEqual => self.equal(c, c.value, c.datum, wide, yes, no),
            Operator::Greater => self.ordered(c, GREATER, wide, yes, no),
            Operator::AtLeast => self.ordered(c, AT_LEAST, wide, yes, no),
            Operator::Less => self.ordered(c, AT_LEAST, wide, no, yes),
            Operator::AtMost => self.ordered(c, GREATER, wide, no, yes),
        }
    }

    /// `argument & mask == value`, half by half. A 32-bit machine has only the lower one.
    fn equal(
        &mut self,
        c: &Comparison,
        mask: u64,
        value: u64,
        wide: bool,
        yes: Label,
        no: Label,
    ) -> Label {
        let low = self.half_equal(low_word(c), mask as u32, value as u32, yes, no);
        if !wide {
            return low;
        }
        self.half_equal(high_word(c), (mask >> 32) as u32, (value >> 32) as u32, low, no)
    }

    fn half_equal(&mut self, word: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        let test = self.branch(EQUAL, value, yes, no);
        if mask != u32::MAX {
            self.push(AND, 0, 0, mask);
        }
        let _ = test;
        self.load(word)
    }

    /// `argument > value` or `>=`, by `code`.
    fn ordered(&mut self, c: &Comparison, code: u16, wide: bool, yes: Label, no: Label) -> Label {
        self.branch(code, c.value as u32, yes, no);
        let low = self.load(low_word(c));
        if !wide {
            return low;
        }
        let high = (c.value >> 32) as u32;
        let tie = self.branch(EQUAL, high, low, no);
        self.branch(GREATER, high, yes, tie);
        self.load(high_word(c))
    }
}

fn low_word(c: &Comparison) -> u32 {
    ARGUMENTS + 8 * c.index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

fn high_word(c: &Comparison) -> u32 {
    ARGUMENTS + 8 * c.index + if cfg!(target_endian = "big") { 0 } else { 4 }
}
