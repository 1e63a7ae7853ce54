//! `compose exec`: what the command line does in a container, for the container of a service.

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};

use super::{
    Compose, DRY, Verb,
    single::{container, passed_on},
};

pub(super) static EXEC: Verb = Verb {
    command: Command {
        name: "exec",
        short: "Execute a command in a running container",
        usage: "[OPTIONS] SERVICE COMMAND [ARGS...]",
        args: Args::AtLeast(2),
        interspersed: false,
        flags: &[
            Flag::bool("detach", "Detached mode: Run command in the background").short('d'),
            DRY,
            Flag::value("env", "stringArray", "Set environment variables").short('e'),
            Flag::int("index", "Index of the container if service has multiple replicas"),
            Flag::bool("interactive", "Keep STDIN open even if not attached")
                .short('i')
                .default("true")
                .hidden(),
            Flag::bool(
                "no-tty",
                "Disable pseudo-TTY allocation. By default 'docker compose exec' allocates a TTY.",
            )
            .short('T')
            .shown("true"),
            Flag::bool("no-TTY", "Disable pseudo-TTY allocation.").same_as("no-tty"),
            Flag::bool("privileged", "Give extended privileges to the process"),
            Flag::bool("tty", "Allocate a pseudo-TTY").short('t').default("true").hidden(),
            Flag::string("user", "Run the command as this user").short('u'),
            Flag::string("workdir", "Path to workdir directory for this command").short('w'),
        ],
        ..Command::NEW
    },
    run: exec,
};

fn exec(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let session = compose.session()?;
    let found = container(compose, &session, matches.arg(0), matches.int("index"), false)?;
    if !found.running() {
        return Err(CliError::new(format!("service {:?} is not running", matches.arg(0))));
    }
    let mut words: Vec<String> = vec!["exec".to_owned()];
    if matches.flag("detach") {
        words.push("--detach".to_owned());
    } else {
        let tty = !matches.flag("no-tty") && matches.flag("tty") && compose.cli.stdin_is_terminal();
        words.push(format!("--interactive={}", matches.flag("interactive")));
        words.push(format!("--tty={tty}"));
    }
    if matches.flag("privileged") {
        words.push("--privileged".to_owned());
    }
    words.extend(matches.texts("env").iter().map(|pair| format!("--env={pair}")));
    for flag in ["user", "workdir"] {
        if matches.is_set(flag) {
            words.push(format!("--{flag}={}", matches.text(flag)));
        }
    }
    words.push(found.id);
    words.extend(matches.args().iter().skip(1).cloned());
    passed_on(compose, &words)
}
