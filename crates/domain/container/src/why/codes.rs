//! What exit codes mean.

use super::{Facts, Finding, finding, program, words};

const SIGNALS: [&str; 32] = [
    "",
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// `SIGKILL`, or `signal 34`.
pub(super) fn signal_name(signal: i32) -> String {
    match usize::try_from(signal).ok().and_then(|number| SIGNALS.get(number)) {
        Some(name) if !name.is_empty() => (*name).to_owned(),
        _ => format!("signal {signal}"),
    }
}

/// Why a program ended by itself.
pub(super) fn explain(facts: &Facts<'_>) -> Finding {
    let code = facts.container.state.exit_code;
    // 255 is what remains of a container whose program the kernel would not run.
    if matches!(code, 126 | 127 | 255)
        && let Some(found) = program::explain(facts)
    {
        return found;
    }
    if code != 0
        && !(129..=192).contains(&code)
        && let Some(found) = words::in_log(facts)
    {
        return found;
    }
    match code {
        0 => ended_well(facts),
        126 => finding(
            "not-executable",
            "the shell in it found a program that it may not run (126)",
            "look at the last lines of its log; chmod +x, or the right path",
        ),
        127 => finding(
            "not-found-by-shell",
            "the shell in it did not find a program (127)",
            "look at the last lines of its log; install the program, or mend PATH",
        ),
        255 if !facts.remembers => finding(
            "lost",
            "nobody saw its end: the machine went down, or everything of it was killed at once (255)",
            "a restart policy (--restart unless-stopped) brings it back",
        ),
        129..=192 => signal(facts, code - 128),
        code => finding(
            "program",
            format!("its program ended by itself with exit code {code}"),
            "what the code means, the program says: see the last lines of its log",
        ),
    }
}

fn ended_well(facts: &Facts<'_>) -> Finding {
    let spec = &facts.container.spec;
    let words: Vec<&str> = spec
        .entrypoint
        .iter()
        .flatten()
        .chain(spec.cmd.iter().flatten())
        .map(String::as_str)
        .collect();
    let shell = matches!(words.as_slice(), [program] if matches!(program.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "zsh")));
    if shell && !spec.open_stdin {
        return finding(
            "shell-without-input",
            "its program is a shell that had no input, so it ended at once (0)",
            "keep the input open and give it a terminal: docker run -it …; or name the program that is to run",
        );
    }
    finding(
        "done",
        "its program was done: it ended by itself with exit code 0",
        "a container lives as long as its main process; a service must stay in the foreground",
    )
}

fn signal(facts: &Facts<'_>, signal: i32) -> Finding {
    let name = signal_name(signal);
    let code = 128 + signal;
    match signal {
        9 => finding(
            "killed-from-outside",
            format!(
                "{name} from outside this engine ended it ({code}): a kill on the host, or by a process in it{}",
                if facts.remembers {
                    ""
                } else {
                    "; or by this engine before it was restarted, which it does not remember"
                }
            ),
            "the kernel's log (dmesg) says whether the machine ran out of memory",
        ),
        11 => finding(
            "crashed",
            format!("its program crashed with a memory fault ({name}, {code})"),
            "a fault in the program or its libraries; a core dump needs --ulimit core=-1",
        ),
        6 => finding(
            "aborted",
            format!("its program aborted itself ({name}, {code}): a failed assertion, mostly"),
            "the last lines of its log say which",
        ),
        7 | 4 | 8 => finding(
            "crashed",
            format!("its program crashed with {name} ({code})"),
            if signal == 4 { "an instruction that this processor does not have" } else { "" },
        ),
        31 => finding(
            "seccomp",
            format!("the system call filter killed it ({name}, {code})"),
            "its seccomp profile forbids a system call that it makes: allow that one, or --security-opt seccomp=unconfined",
        ),
        13 => finding("pipe", format!("its program wrote into a closed pipe ({name}, {code})"), ""),
        2 | 15 | 1 | 3 => finding(
            "asked-from-outside",
            format!(
                "{name} ended it ({code}), which was not sent through this engine: a terminal's key, a process in it, or the host"
            ),
            "",
        ),
        _ => finding("signal", format!("{name} ended it ({code})"), ""),
    }
}
