use super::*;
use ferry_oci::runtime::{LinuxSeccompArg, LinuxSyscall};

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;

fn rule(names: &[&str], action: &str, args: Vec<LinuxSeccompArg>) -> LinuxSyscall {
    LinuxSyscall {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: action.into(),
        errno_ret: None,
        args,
    }
}

fn arg(index: u32, op: &str, value: u64, value_two: u64) -> LinuxSeccompArg {
    LinuxSeccompArg { index, value, value_two, op: op.into() }
}

fn profile(syscalls: Vec<LinuxSyscall>) -> LinuxSeccomp {
    LinuxSeccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        default_errno_ret: Some(1),
        architectures: vec!["SCMP_ARCH_X86_64".into(), "SCMP_ARCH_X86".into()],
        syscalls,
        ..LinuxSeccomp::default()
    }
}

/// Runs the program, and insists that reading the profile says the same.
fn ask(profile: &LinuxSeccomp, audit_arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let call = Call { audit_arch, number, args };
    let program = compile(profile, Arch::X86_64).unwrap();
    let answer = interpret(&program, &call).expect("a valid program");
    assert_eq!(answer, evaluate(profile, Arch::X86_64, &call).unwrap(), "{call:?}");
    answer
}

#[test]
fn named_calls_get_the_action_and_newer_ones_enosys() {
    let profile = profile(vec![rule(&["read", "unshare"], "SCMP_ACT_ALLOW", vec![])]);
    assert_eq!(ask(&profile, X86_64, 0, [0; 6]), ALLOW);
    assert_eq!(ask(&profile, X86_64, 1, [0; 6]), EPERM);
    assert_eq!(ask(&profile, X86_64, 272, [0; 6]), ALLOW);
    assert_eq!(ask(&profile, X86_64, 273, [0; 6]), ENOSYS);
    assert_eq!(ask(&profile, X86_64, u32::MAX, [0; 6]), ENOSYS);
    assert_eq!(ask(&profile, X86, 3, [0; 6]), ALLOW);
    assert_eq!(ask(&profile, X86, 0, [0; 6]), EPERM);
    assert_eq!(ask(&profile, 0xc000_00b7, 0, [0; 6]), 0, "another machine's calls are killed");
    assert_eq!(ask(&profile, X86_64, 0x4000_0000, [0; 6]), 0, "x32 was not listed");
}

#[test]
fn x32_has_its_own_numbers_where_it_is_listed() {
    let mut profile = profile(vec![rule(&["read", "execve"], "SCMP_ACT_ALLOW", vec![])]);
    profile.architectures.push("SCMP_ARCH_X32".into());
    assert_eq!(ask(&profile, X86_64, 0x4000_0000, [0; 6]), ALLOW);
    assert_eq!(ask(&profile, X86_64, 0x4000_0000 + 520, [0; 6]), ALLOW);
    assert_eq!(ask(&profile, X86_64, 0x4000_0000 + 59, [0; 6]), EPERM);
    assert_eq!(ask(&profile, X86_64, 59, [0; 6]), ALLOW);
}

#[test]
fn comparisons_cover_all_64_bits() {
    let big = 0x1_0000_0002u64;
    let cases = [
        ("SCMP_CMP_NE", vec![0, big + 1, 2], vec![big]),
        ("SCMP_CMP_LT", vec![0, big - 1, 2, u64::from(u32::MAX)], vec![big, big + 1, u64::MAX]),
        ("SCMP_CMP_LE", vec![0, big, 3], vec![big + 1, 0x2_0000_0000]),
        ("SCMP_CMP_EQ", vec![big], vec![2, 0x1_0000_0000, 0]),
        ("SCMP_CMP_GE", vec![big, big + 1, 0x2_0000_0000], vec![big - 1, 3, 0]),
        ("SCMP_CMP_GT", vec![big + 1, 0x2_0000_0000], vec![big, 0xffff_ffff]),
    ];
    for (op, holds, fails) in cases {
        let rules = vec![rule(&["socket"], "SCMP_ACT_ALLOW", vec![arg(2, op, big, 0)])];
        let profile = profile(rules);
        for (values, expected) in [(holds, ALLOW), (fails, EPERM)] {
            for value in values {
                let args = [9, 9, value, 9, 9, 9];
                assert_eq!(ask(&profile, X86_64, 41, args), expected, "{op} {value:#x}");
            }
        }
    }
    let masked = arg(0, "SCMP_CMP_MASKED_EQ", 0xff_0000_00f0, 0x12_0000_0030);
    let profile = profile(vec![rule(&["socket"], "SCMP_ACT_ALLOW", vec![masked])]);
    assert_eq!(ask(&profile, X86_64, 41, [0x5_5512_0000_003f, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(ask(&profile, X86_64, 41, [0x12_0000_0040, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn rules_are_or_comparisons_are_and_and_a_repeated_argument_is_or() {
    let both = vec![arg(0, "SCMP_CMP_EQ", 1, 0), arg(1, "SCMP_CMP_EQ", 2, 0)];
    let either = vec![arg(0, "SCMP_CMP_EQ", 7, 0), arg(0, "SCMP_CMP_EQ", 8, 0)];
    let profile = profile(vec![
        rule(&["socket"], "SCMP_ACT_ALLOW", both),
        rule(&["socket"], "SCMP_ACT_ALLOW", either),
    ]);
    let with = |a, b| ask(&profile, X86_64, 41, [a, b, 0, 0, 0, 0]);
    assert_eq!(
        [with(1, 2), with(1, 3), with(0, 2), with(7, 0), with(8, 0), with(9, 0)],
        [ALLOW, EPERM, EPERM, ALLOW, ALLOW, EPERM]
    );
}

#[test]
fn a_rule_without_arguments_decides_alone() {
    let profile = profile(vec![
        rule(&["clone"], "SCMP_ACT_TRAP", vec![arg(0, "SCMP_CMP_EQ", 1, 0)]),
        rule(&["clone"], "SCMP_ACT_ALLOW", vec![]),
    ]);
    assert_eq!(ask(&profile, X86_64, 56, [1, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn long_programs_jump_far_and_still_land() {
    // Every second call, each with a comparison of its own: hundreds of blocks that cannot share.
    let names = ["read", "open", "stat", "lstat", "lseek", "mprotect", "brk", "ioctl", "access"];
    let mut rules = Vec::new();
    for round in 0..40u64 {
        for (index, name) in names.iter().enumerate() {
            let value = round * 1000 + index as u64;
            let mut one = rule(&[name], "SCMP_ACT_ERRNO", vec![arg(0, "SCMP_CMP_EQ", value, 0)]);
            one.errno_ret = Some(10 + (round as u32 % 30));
            rules.push(one);
        }
    }
    let profile = profile(rules);
    let numbers = [0, 2, 4, 6, 8, 10, 12, 16, 21];
    for (index, number) in numbers.into_iter().enumerate() {
        for round in [0u64, 1, 20, 39] {
            let value = round * 1000 + index as u64;
            let expected = 0x0005_0000 | (10 + (round as u32 % 30));
            assert_eq!(ask(&profile, X86_64, number, [value, 0, 0, 0, 0, 0]), expected);
            assert_eq!(ask(&profile, X86_64, number, [value + 500, 0, 0, 0, 0, 0]), EPERM);
        }
    }
}

#[test]
fn nonsense_is_refused_by_name() {
    let error = |change: &dyn Fn(&mut LinuxSeccomp)| {
        let mut profile = profile(vec![rule(&["read"], "SCMP_ACT_ALLOW", vec![])]);
        change(&mut profile);
        compile(&profile, Arch::X86_64).unwrap_err().to_string()
    };
    assert_eq!(error(&|p| p.default_action = "ALLOW".into()), r#"unknown seccomp action "ALLOW""#);
    assert_eq!(
        error(&|p| p.architectures = vec!["SCMP_ARCH_Z80".into()]),
        r#"unknown seccomp architecture "SCMP_ARCH_Z80""#
    );
    assert_eq!(
        error(&|p| p.syscalls[0].args = vec![arg(6, "SCMP_CMP_EQ", 0, 0)]),
        r#"seccomp rule for "read" compares argument 6, the last one is 5"#
    );
    assert_eq!(error(&|p| p.syscalls[0].names.clear()), "seccomp rule without a system call name");
}

#[test]
fn an_allow_default_has_no_enosys_tail() {
    let mut profile = profile(vec![rule(&["reboot"], "SCMP_ACT_KILL_PROCESS", vec![])]);
    profile.default_action = "SCMP_ACT_ALLOW".into();
    assert_eq!(ask(&profile, X86_64, 169, [0; 6]), 0x8000_0000);
    assert_eq!(ask(&profile, X86_64, 9999, [0; 6]), ALLOW);
}

/// What is left of Docker's default profile for a container without extra capabilities.
fn docker_default() -> LinuxSeccomp {
    serde_json::from_str(include_str!("testdata/docker-default.json")).unwrap()
}

#[test]
fn dockers_profile_means_what_it_says_for_every_call() {
    let profile = docker_default();
    let program = compile(&profile, Arch::X86_64).unwrap();
    let probes =
        [[0; 6], [38, 0, 0, 0, 0, 0], [39; 6], [40; 6], [41; 6], [0x7e02_0000; 6], [0x8; 6]];
    for (audit_arch, base) in [(X86_64, 0), (X86, 0), (X86_64, 0x4000_0000)] {
        for number in (0..600).chain([u32::MAX - base]) {
            for args in probes {
                let call = Call { audit_arch, number: base + number, args };
                let expected = evaluate(&profile, Arch::X86_64, &call).unwrap();
                assert_eq!(interpret(&program, &call), Some(expected), "{call:x?}");
            }
        }
    }
    assert_eq!(ask(&profile, X86_64, 41, [40, 0, 0, 0, 0, 0]), EPERM, "AF_VSOCK");
    assert_eq!(ask(&profile, X86_64, 56, [0x1000_0000, 0, 0, 0, 0, 0]), EPERM, "CLONE_NEWUSER");
    assert_eq!(ask(&profile, X86_64, 56, [0x11, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(ask(&profile, X86_64, 435, [0; 6]), ENOSYS, "clone3");
    assert_eq!(ask(&profile, X86_64, 165, [0; 6]), EPERM, "mount");
    assert_eq!(ask(&profile, X86_64, 500, [0; 6]), ENOSYS, "not invented yet");
}

#[test]
fn dockers_profile_stays_short_and_shallow() {
    let program = compile(&docker_default(), Arch::X86_64).unwrap();
    assert!(program.len() / 8 < 800, "{} instructions", program.len() / 8);
    let deepest = (0..470u32)
        .map(|number| steps(&program, &Call { audit_arch: X86_64, number, args: [0; 6] }))
        .max();
    assert!(deepest.unwrap() < 24, "{deepest:?} steps");
}

/// How many instructions a call without arguments costs.
fn steps(program: &[u8], call: &Call) -> usize {
    let mut at = 0usize;
    let mut count = 0;
    let mut word = 0u32;
    loop {
        let bytes = &program[at * 8..at * 8 + 8];
        let code = u16::from_ne_bytes([bytes[0], bytes[1]]);
        let value = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        at += 1;
        count += 1;
        let holds = match code {
            0x15 => word == value,
            0x25 => word > value,
            0x35 => word >= value,
            0x06 => return count,
            0x05 => {
                at += value as usize;
                continue;
            }
            0x54 => {
                word &= value;
                continue;
            }
            _ => {
                word = match value {
                    0 => call.number,
                    4 => call.audit_arch,
                    _ => 0,
                };
                continue;
            }
        };
        at += usize::from(if holds { bytes[2] } else { bytes[3] });
    }
}
