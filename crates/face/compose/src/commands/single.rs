//! Commands that are those of the command line, for the container of a service: `attach`, `commit`, `cp`, `export`, `stats`.

use ferry_cli::{
    face::{Args, CliError, Command, Outcome, run_words},
    flags::{Flag, Matches},
};

use super::{
    Compose, DRY, Verb,
    containers::{chosen, own},
};
use crate::run::{Container, Session};

const INDEX: Flag = Flag::int("index", "index of the container if service has multiple replicas.");

pub(super) static ATTACH: Verb = Verb {
    command: Command {
        name: "attach",
        short: "Attach local standard input, output, and error streams to a service's running container",
        usage: "[OPTIONS] SERVICE",
        args: Args::Exactly(1),
        flags: &[
            Flag::string(
                "detach-keys",
                "Override the key sequence for detaching from a container.",
            ),
            DRY,
            INDEX,
            Flag::bool("no-stdin", "Do not attach STDIN"),
            Flag::bool("sig-proxy", "Proxy all received signals to the process").default("true"),
        ],
        ..Command::NEW
    },
    run: |compose, matches| {
        let mut words = vec!["attach".to_owned()];
        words.extend(given(matches, &["detach-keys"], &["no-stdin", "sig-proxy"]));
        for_container(compose, matches, words, &[])
    },
};

pub(super) static EXPORT: Verb = Verb {
    command: Command {
        name: "export",
        short: "Export a service container's filesystem as a tar archive",
        usage: "[OPTIONS] SERVICE",
        args: Args::Exactly(1),
        flags: &[
            DRY,
            INDEX,
            Flag::string("output", "Write to a file, instead of STDOUT").short('o'),
        ],
        ..Command::NEW
    },
    run: |compose, matches| {
        let mut words = vec!["export".to_owned()];
        words.extend(given(matches, &["output"], &[]));
        for_container(compose, matches, words, &[])
    },
};

pub(super) static COMMIT: Verb = Verb {
    command: Command {
        name: "commit",
        short: "Create a new image from a service container's changes",
        usage: "[OPTIONS] SERVICE [REPOSITORY[:TAG]]",
        args: Args::Between(1, 2),
        flags: &[
            Flag::string("author", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")")
                .short('a'),
            Flag::list("change", "Apply Dockerfile instruction to the created image").short('c'),
            DRY,
            INDEX,
            Flag::string("message", "Commit message").short('m'),
            Flag::bool("pause", "Pause container during commit").short('p').default("true"),
        ],
        ..Command::NEW
    },
    run: |compose, matches| {
        let mut words = vec!["commit".to_owned()];
        words.extend(given(matches, &["author", "message"], &["pause"]));
        words.extend(matches.texts("change").iter().map(|line| format!("--change={line}")));
        for_container(compose, matches, words, &matches.args()[1..])
    },
};

pub(super) static STATS: Verb = Verb {
    command: Command {
        name: "stats",
        short: "Display a live stream of container(s) resource usage statistics",
        usage: "[OPTIONS] [SERVICE]",
        args: Args::AtMost(1),
        flags: &[
            Flag::bool("all", "Show all containers (default shows just running)").short('a'),
            DRY,
            Flag::string(
                "format",
                "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/engine/cli/formatting/ for more information about formatting output with templates",
            ),
            Flag::bool("no-stream", "Disable streaming stats and only pull the first result"),
            Flag::bool("no-trunc", "Do not truncate output"),
        ],
        ..Command::NEW
    },
    run: |compose, matches| {
        let (project, names) = chosen(compose, matches)?;
        let session = compose.session()?;
        let own = compose.cli.wait(own(&session, &project, &names))?;
        let mut words = vec!["stats".to_owned()];
        words.extend(given(matches, &["format"], &["no-stream", "no-trunc", "all"]));
        let shown = own.into_iter().filter(|one| matches.flag("all") || one.running());
        let named = words.len();
        words.extend(shown.map(|one| one.name));
        if words.len() == named {
            return Err(CliError::new(format!(
                "no container found for project {:?}",
                project.name
            )));
        }
        run_words(compose.cli, &words)
    },
};

pub(super) static CP: Verb = Verb {
    command: Command {
        name: "cp",
        short: "Copy files/folders between a service container and the local filesystem",
        usage: "[OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n\tdocker compose cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH",
        args: Args::Exactly(2),
        flags: &[
            Flag::bool("all", "Include containers created by the run command"),
            Flag::bool("archive", "Archive mode (copy all uid/gid information)").short('a'),
            DRY,
            Flag::bool("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
            Flag::int("index", "Index of the container if service has multiple replicas"),
        ],
        ..Command::NEW
    },
    run: cp,
};

/// `--name=value` for those flags that were given.
fn given(matches: &Matches, texts: &[&str], switches: &[&str]) -> Vec<String> {
    let mut words = Vec::new();
    for name in texts.iter().filter(|name| matches.is_set(name)) {
        words.push(format!("--{name}={}", matches.text(name)));
    }
    for name in switches.iter().filter(|name| matches.is_set(name)) {
        words.push(format!("--{name}={}", matches.flag(name)));
    }
    words
}

/// Runs words, the container of the first argument, and more words.
fn for_container(
    compose: &Compose<'_>,
    matches: &Matches,
    mut words: Vec<String>,
    more: &[String],
) -> Outcome {
    let session = compose.session()?;
    let found = container(compose, &session, matches.arg(0), matches.int("index"), false)?;
    words.push(found.name);
    words.extend(more.iter().cloned());
    passed_on(compose, &words)
}

/// Runs words of the command line; a rehearsal prints them.
pub(super) fn passed_on(compose: &Compose<'_>, words: &[String]) -> Outcome {
    if compose.dry {
        compose.cli.println(&format!("{} {}", compose.cli.program(), words.join(" ")))?;
        return Ok(0);
    }
    compose.progress.finish();
    run_words(compose.cli, words)
}

/// The container of a service, by its number (0 for the first); one of `run` only if asked for.
pub(super) fn container(
    compose: &Compose<'_>,
    session: &Session<'_>,
    service: &str,
    index: i64,
    oneoff: bool,
) -> Result<Container, CliError> {
    let project = compose.project_or_name()?;
    let all = compose.cli.wait(session.containers(&project.name, oneoff))?;
    all.into_iter()
        .filter(|one| one.service == service)
        .find(|one| index == 0 || i64::from(one.number) == index)
        .ok_or_else(|| {
            let words = format!("service {service:?} is not running");
            CliError::new(match index {
                0 => words,
                index => format!("{words} container #{index}"),
            })
        })
}

/// Copies from the first container of a service, or to every one of them.
fn cp(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let split = |side: &str| match side.split_once(':') {
        Some((service, path)) if !service.contains(['/', '.']) => {
            Some((service.to_owned(), path.to_owned()))
        }
        _ => None,
    };
    let (from, to) = (matches.arg(0), matches.arg(1));
    let (service, path, inwards) = match (split(from), split(to)) {
        (Some(_), Some(_)) => {
            return Err(CliError::new("copying between services is not supported"));
        }
        (None, None) => return Err(CliError::new("unknown copy direction")),
        (Some((service, path)), None) => (service, path, false),
        (None, Some((service, path))) => (service, path, true),
    };
    let session = compose.session()?;
    let (index, all) = (matches.int("index"), matches.flag("all"));
    let project = compose.project_or_name()?;
    let list = compose.cli.wait(session.containers(&project.name, all))?;
    let mut targets: Vec<Container> =
        list.into_iter().filter(|one| one.service == service).collect();
    if index != 0 {
        targets.retain(|one| i64::from(one.number) == index);
    } else if !inwards {
        targets.truncate(1);
    }
    if targets.is_empty() {
        return Err(CliError::new(format!("no container found for service {service:?}")));
    }
    for target in targets {
        let mut words = vec!["cp".to_owned()];
        words.extend(given(matches, &[], &["archive", "follow-link"]));
        let inside = format!("{}:{path}", target.name);
        let pair = if inwards { [from.to_owned(), inside] } else { [inside, to.to_owned()] };
        let what = format!("copy {} to {}", pair[0], pair[1]);
        let piped = pair.iter().any(|side| side == "-");
        words.extend(pair);
        if !piped {
            session.progress(&target.name, &what, "Copying");
        }
        let code = passed_on(compose, &words)?;
        if code != 0 {
            return Ok(code);
        }
        if !piped {
            session.progress(&target.name, &what, "Copied");
        }
    }
    Ok(0)
}
