//! Any profile either is refused or compiles to a program that answers every call as the profile says.
//!
//! The bytes are read twice over: as rules about a small set of calls (so that rules meet), and as calls to ask about.
#![no_main]

use ferry_oci::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSyscall};
use ferry_runtime::seccomp::{Arch, Call, compile, evaluate, interpret};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 16] = [
    "read", "write", "open", "socket", "clone", "clone3", "personality", "ioctl", "execve",
    "socketcall", "mount", "fchmodat2", "io_setup", "arch_prctl", "no_such_call", "futex_wait",
];
const ACTIONS: [&str; 8] = [
    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP",
    "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY",
];
const OPERATORS: [&str; 8] = [
    "SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ", "SCMP_CMP_ODD",
];
const ARCHITECTURES: [&str; 4] =
    ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"];
const AUDIT: [u32; 4] = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x1234];
/// Values near which comparisons of halves go wrong.
const EDGES: [u64; 8] = [
    0, 1, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, u64::MAX, 1 << 63, 0x7e02_0000,
];

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
    fn value(&mut self) -> Option<u64> {
        let choice = self.next()?;
        let edge = EDGES[usize::from(choice & 7)];
        Some(match choice >> 6 {
            0 => edge,
            1 => edge.wrapping_add(u64::from(self.next()?)),
            2 => edge.wrapping_sub(u64::from(self.next()?)),
            _ => u64::from(self.next()?) << (choice & 56),
        })
    }
}

fn profile(bytes: &mut Bytes<'_>) -> Option<LinuxSeccomp> {
    let head = bytes.next()?;
    let mut profile = LinuxSeccomp {
        default_action: ACTIONS[usize::from(head & 7)].to_owned(),
        default_errno_ret: (head & 8 != 0).then_some(38),
        ..LinuxSeccomp::default()
    };
    for (index, name) in ARCHITECTURES.iter().enumerate() {
        if head & (16 << index) != 0 {
            profile.architectures.push((*name).to_owned());
        }
    }
    let rules = bytes.next()?;
    for _ in 0..rules {
        let (names, shape) = (bytes.next()?, bytes.next()?);
        let mut rule = LinuxSyscall {
            action: ACTIONS[usize::from(shape & 7)].to_owned(),
            errno_ret: (shape & 8 != 0).then_some(u32::from(names)),
            ..LinuxSyscall::default()
        };
        rule.names.push(NAMES[usize::from(names & 15)].to_owned());
        if names & 128 != 0 {
            rule.names.push(NAMES[usize::from(names >> 3 & 15)].to_owned());
        }
        for _ in 0..shape >> 6 {
            let word = bytes.next()?;
            rule.args.push(LinuxSeccompArg {
                index: u32::from(word & 7) % 6,
                op: OPERATORS[usize::from(word >> 3 & 7)].to_owned(),
                value: bytes.value()?,
                value_two: bytes.value()?,
            });
        }
        profile.syscalls.push(rule);
    }
    Some(profile)
}

fn call(bytes: &mut Bytes<'_>) -> Option<Call> {
    let head = bytes.next()?;
    let base = if head & 4 != 0 { 0x4000_0000 } else { 0 };
    let number = base + u32::from(bytes.next()?) + u32::from(bytes.next()? & 3) * 256;
    let number = if head & 8 != 0 { u32::MAX - number } else { number };
    let mut args = [0; 6];
    for argument in &mut args {
        *argument = bytes.value()?;
    }
    Some(Call { audit_arch: AUDIT[usize::from(head & 3)], number, args })
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let Some(profile) = profile(&mut bytes) else { return };
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let Ok(program) = compile(&profile, arch) else { return };
        let mut calls = Bytes(bytes.0);
        while let Some(mut call) = call(&mut calls) {
            if call.audit_arch == 0x4000_0003 {
                // The kernel hands over 32 bits of each argument there.
                call.args = call.args.map(|argument| argument & 0xffff_ffff);
            }
            let expected = evaluate(&profile, arch, &call).expect("it compiled");
            assert_eq!(interpret(&program, &call), Some(expected), "{arch:?} {call:x?} {profile:?}");
        }
    }
});
