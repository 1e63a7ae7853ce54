//! `exec`, `run` and `cp`: what the command line does to a container, for the container of a service.

use ferry_cli::{
    face::{Args, CliError, Command, Outcome, run_words},
    flags::{Flag, Matches},
};

use super::{Compose, Verb, select};
use crate::{
    load::LoadError,
    model::Service,
    run::{
        Container, Session,
        converge::{self, Plan},
        resources,
    },
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
            Flag::value("env", "stringArray", "Set environment variables").short('e'),
            Flag::int("index", "Index of the container if service has multiple replicas"),
            Flag::bool("interactive", "Keep STDIN open even if not attached")
                .short('i')
                .default("true")
                .hidden(),
            Flag::bool(
                "no-TTY",
                "Disable pseudo-TTY allocation. By default 'docker compose exec' allocates a TTY.",
            )
            .short('T'),
            Flag::bool("privileged", "Give extended privileges to the process"),
            Flag::bool("tty", "Allocate a pseudo-TTY").short('t').default("true").hidden(),
            Flag::string("user", "Run the command as this user").short('u'),
            Flag::string("workdir", "Path to workdir directory for this command").short('w'),
        ],
        ..Command::NEW
    },
    run: exec,
};

pub(super) static RUN: Verb = Verb {
    command: Command {
        name: "run",
        short: "Run a one-off command on a service",
        usage: "[OPTIONS] SERVICE [COMMAND] [ARGS...]",
        args: Args::AtLeast(1),
        interspersed: false,
        flags: &[
            Flag::bool("build", "Build image before starting container"),
            Flag::bool("detach", "Run container in background and print container ID").short('d'),
            Flag::string("entrypoint", "Override the entrypoint of the image"),
            Flag::value("env", "stringArray", "Set environment variables").short('e'),
            Flag::bool("interactive", "Keep STDIN open even if not attached")
                .short('i')
                .default("true"),
            Flag::value("label", "stringArray", "Add or override a label").short('l'),
            Flag::string("name", "Assign a name to the container"),
            Flag::bool("no-TTY", "Disable pseudo-TTY allocation (default: auto-detected)")
                .short('T'),
            Flag::bool("no-deps", "Don't start linked services"),
            Flag::value("publish", "stringArray", "Publish a container's port(s) to the host")
                .short('p'),
            Flag::bool("rm", "Automatically remove the container when it exits"),
            Flag::bool(
                "service-ports",
                "Run command with all service's ports enabled and mapped to the host",
            )
            .short('P'),
            Flag::string("user", "Run as specified username or uid").short('u'),
            Flag::value("volume", "stringArray", "Bind mount a volume").short('v'),
            Flag::string("workdir", "Working directory inside the container").short('w'),
        ],
        ..Command::NEW
    },
    run,
};

pub(super) static CP: Verb = Verb {
    command: Command {
        name: "cp",
        short: "Copy files/folders between a service container and the local filesystem",
        usage: "[OPTIONS] SERVICE:SRC_PATH DEST_PATH|-\n\tdocker compose cp [OPTIONS] SRC_PATH|- SERVICE:DEST_PATH",
        args: Args::Exactly(2),
        flags: &[
            Flag::bool("archive", "Archive mode (copy all uid/gid information)").short('a'),
            Flag::bool("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
            Flag::int("index", "Index of the container if service has multiple replicas"),
        ],
        ..Command::NEW
    },
    run: cp,
};

/// The container of a service, by its number.
pub(super) fn container(
    compose: &Compose<'_>,
    session: &Session<'_>,
    service: &str,
    matches: &Matches,
) -> Result<Container, CliError> {
    let project = compose.project_or_name()?;
    let all = compose.cli.wait(session.containers(&project.name, false))?;
    let index = matches.int("index");
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

fn exec(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let session = compose.session()?;
    let found = container(compose, &session, matches.arg(0), matches)?;
    if !found.running() {
        return Err(CliError::new(format!("service {:?} is not running", matches.arg(0))));
    }
    let mut words: Vec<String> = vec!["exec".to_owned()];
    if matches.flag("detach") {
        words.push("--detach".to_owned());
    } else {
        let tty = !matches.flag("no-TTY") && compose.cli.stdin_is_terminal();
        words.push("--interactive".to_owned());
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
    run_words(compose.cli, &words)
}

fn cp(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let session = compose.session()?;
    let mut words = vec!["cp".to_owned()];
    for flag in ["archive", "follow-link"] {
        if matches.flag(flag) {
            words.push(format!("--{flag}"));
        }
    }
    for side in matches.args() {
        words.push(match side.split_once(':') {
            Some((service, path)) if !service.contains(['/', '.']) => {
                let found = container(compose, &session, service, matches)?;
                format!("{}:{path}", found.id)
            }
            _ => side.clone(),
        });
    }
    run_words(compose.cli, &words)
}

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    for refused in ["build", "volume", "label"] {
        if matches.is_set(refused) {
            return Err(CliError::new(format!("not supported yet: --{refused}")));
        }
    }
    let mut project = compose.project()?;
    let name = matches.arg(0).to_owned();
    let mut names = select(&mut project, std::slice::from_ref(&name), true)?;
    names.remove(&name);
    if matches.flag("no-deps") {
        names.clear();
    }
    let Some(mut service) = project.services.get(&name).cloned() else {
        return Err(CliError::new(LoadError::NoFile.to_string()));
    };
    override_service(compose, matches, &mut service)?;
    let session = compose.session()?;
    let id = compose.cli.wait(async {
        if !names.is_empty() {
            converge::create(
                &session,
                &project,
                &names,
                &Plan { no_recreate: true, ..Plan::default() },
            )
            .await?;
            converge::start(&session, &project, &names, None).await?;
        }
        let own = std::iter::once(name.clone()).collect();
        let ids = resources::images(&session, &project, &own, "").await?;
        resources::networks(&session, &project, &own).await?;
        resources::volumes(&session, &project, &own).await?;
        let called = match matches.text("name") {
            "" => format!("{}-{name}-run-{}", project.name, slug()),
            given => given.to_owned(),
        };
        let image = ids.get(&name).map_or("", String::as_str);
        converge::make(&session, &project, &service, None, &called, &called, image, &[]).await
    })?;
    if matches.flag("detach") {
        compose.cli.wait(session.post(&id, "start").done())?;
        compose.cli.println(&id)?;
        return Ok(0);
    }
    let mut words = vec!["start".to_owned(), "--attach".to_owned()];
    if service.stdin_open {
        words.push("--interactive".to_owned());
    }
    words.push(id.clone());
    let outcome = run_words(compose.cli, &words);
    if matches.flag("rm") {
        let path = format!("/containers/{id}");
        let call = session.client.delete(path).query("force", 1).query("v", 1);
        crate::run::ignore_missing(compose.cli.wait(call.done()))?;
    }
    outcome
}

/// What the flags of `run` change.
fn override_service(
    compose: &Compose<'_>,
    matches: &Matches,
    service: &mut Service,
) -> Result<(), CliError> {
    let attached = !matches.flag("detach");
    service.tty = attached && !matches.flag("no-TTY") && compose.cli.stdin_is_terminal();
    service.stdin_open = attached && matches.flag("interactive");
    service.container_name = String::new();
    service.restart = "no".to_owned();
    if !matches.flag("service-ports") {
        service.ports.clear();
    }
    for text in matches.texts("publish") {
        let ports = crate::load::parse_ports(text).map_err(CliError::new)?;
        service.ports.extend(ports);
    }
    if let [_, command @ ..] = matches.args()
        && !command.is_empty()
    {
        service.command = Some(command.to_vec());
    }
    if matches.is_set("entrypoint") {
        let words = crate::load::split_words(matches.text("entrypoint")).map_err(CliError::new)?;
        service.entrypoint = Some(words);
        if matches.args().len() == 1 {
            service.command = Some(Vec::new());
        }
    }
    for pair in matches.texts("env") {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (pair.as_str(), compose.cli.env(pair)),
        };
        service.environment.insert(name.to_owned(), value);
    }
    for (flag, field) in [("user", &mut service.user), ("workdir", &mut service.working_dir)] {
        if matches.is_set(flag) {
            *field = matches.text(flag).to_owned();
        }
    }
    Ok(())
}

/// Twelve hexadecimal digits that no other run has.
fn slug() -> String {
    use sha2::{Digest, Sha256};
    let seed = format!("{}-{}", std::process::id(), crate::run::logs::now());
    Sha256::digest(seed.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
