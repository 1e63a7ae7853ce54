//! `compose run`: a container of a service for one command.

use ferry_cli::{
    face::{Args, CliError, Command, Outcome, run_words},
    flags::{Flag, Matches},
};

use super::{Compose, DRY, Verb, elsewhere, select, up::images_how};
use crate::{
    load::LoadError,
    model::Service,
    run::{
        Change, Session, api_socket,
        converge::{self, Made, Plan},
        decide::Policy,
        hooks, images,
        progress::Progress,
        resources::{self, Seen},
        start,
    },
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
            Flag::list("cap-add", "Add Linux capabilities"),
            Flag::list("cap-drop", "Drop Linux capabilities"),
            Flag::bool("detach", "Run container in background and print container ID").short('d'),
            DRY,
            Flag::string("entrypoint", "Override the entrypoint of the image"),
            Flag::value("env", "stringArray", "Set environment variables").short('e'),
            Flag::value("env-from-file", "stringArray", "Set environment variables from file"),
            Flag::bool("interactive", "Keep STDIN open even if not attached")
                .short('i')
                .default("true"),
            Flag::value("label", "stringArray", "Add or override a label").short('l'),
            Flag::string("name", "Assign a name to the container"),
            Flag::bool("no-TTY", "Disable pseudo-TTY allocation (default: auto-detected)")
                .short('T')
                .shown("true"),
            Flag::bool("no-deps", "Don't start linked services"),
            Flag::value("publish", "stringArray", "Publish a container's port(s) to the host")
                .short('p'),
            Flag::string("pull", "Pull image before running (\"always\"|\"missing\"|\"never\")")
                .default("policy"),
            Flag::bool("quiet", "Don't print anything to STDOUT").short('q'),
            Flag::bool("quiet-build", "Suppress progress output from the build process"),
            Flag::bool("quiet-pull", "Pull without printing progress information"),
            Flag::bool(
                "remove-orphans",
                "Remove containers for services not defined in the Compose file",
            ),
            Flag::bool("rm", "Automatically remove the container when it exits"),
            Flag::bool(
                "service-ports",
                "Run command with all service's ports enabled and mapped to the host",
            )
            .short('P'),
            Flag::bool(
                "use-aliases",
                "Use the service's network useAliases in the network(s) the container connects to",
            ),
            Flag::string("user", "Run as specified username or uid").short('u'),
            Flag::value("volume", "stringArray", "Bind mount a volume").short('v'),
            Flag::string("workdir", "Working directory inside the container").short('w'),
        ],
        ..Command::NEW
    },
    run,
};

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let mut project = compose.project()?;
    elsewhere::agreed(compose, &project, false)?;
    let name = matches.arg(0).to_owned();
    let mut names = select(&mut project, std::slice::from_ref(&name), true)?;
    names.remove(&name);
    if matches.flag("no-deps") {
        names.clear();
    }
    api_socket::give(compose.cli, &mut project)?;
    let Some(mut service) = project.services.get(&name).cloned() else {
        return Err(CliError::new(LoadError::NoFile.to_string()));
    };
    override_service(compose, matches, &mut service)?;
    let quiet = Progress::Quiet;
    let mut session = compose.session()?;
    if matches.flag("quiet") {
        session.progress = &quiet;
    }
    let how = images_how(matches)?;
    let others =
        images::prepare(&session, &project, &names, &images::How { build: false, ..how.clone() })?;
    let own = std::iter::once(name.clone()).collect();
    let ids = images::prepare(&session, &project, &own, &how)?;
    let (id, called) = compose.cli.wait(async {
        if !names.is_empty() {
            let plan = Plan { policy: Policy::Never, images: others, ..Plan::default() };
            let pending = converge::create(&session, &project, &names, &plan).await?;
            start::start_and_roll(&session, &project, &names, None, &pending, &plan).await?;
        }
        if matches.flag("remove-orphans") {
            let present = session.containers(&project.name, false).await?;
            converge::orphans(&session, &project, &present, true, None).await?;
        }
        start::conditions(&session, &project, &service).await?;
        let seen = Seen::look(&session, &project, &own).await?;
        resources::networks(&session, &project, &own, &seen).await?;
        resources::volumes(&session, &project, &own, false, &seen).await?;
        let separator = project.separator();
        let called = match matches.text("name") {
            "" => format!("{}{separator}{name}{separator}run{separator}{}", project.name, slug()),
            given => given.to_owned(),
        };
        let image = ids.get(&name).map_or("", String::as_str);
        let made = Made { number: None, created_as: &called, name: &called, inherited: &[] };
        let why = "run was asked for";
        let id = converge::make(&session, &project, &service, image, &made, why).await?;
        Ok::<_, CliError>((id, called))
    })?;
    start(compose, matches, &session, &service, &id, &called)
}

/// Starts it, in the background or before our eyes.
fn start(
    compose: &Compose<'_>,
    matches: &Matches,
    session: &Session<'_>,
    service: &Service,
    id: &str,
    called: &str,
) -> Outcome {
    if matches.flag("detach") || session.dry {
        compose.cli.wait(async {
            session.make(Change::container(id, called, "start"), "run was asked for").await?;
            hooks::post_start(session, Some(service), id, called).await
        })?;
        if !session.dry {
            compose.cli.println(id)?;
        }
        return Ok(0);
    }
    if !service.post_start.is_empty() {
        compose
            .cli
            .warn("WARN[0000] post_start hooks do not run for a container that run is attached to");
    }
    compose.progress.finish();
    let mut words = vec!["start".to_owned(), "--attach".to_owned()];
    if service.stdin_open {
        words.push("--interactive".to_owned());
    }
    words.push(id.to_owned());
    run_words(compose.cli, &words)
}

/// What the flags of `run` change.
fn override_service(
    compose: &Compose<'_>,
    matches: &Matches,
    service: &mut Service,
) -> Result<(), CliError> {
    let attached = !matches.flag("detach");
    service.cap_add.extend(matches.texts("cap-add").iter().cloned());
    service.cap_drop.extend(matches.texts("cap-drop").iter().cloned());
    for label in matches.texts("label") {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        service.labels.insert(name.to_owned(), value.to_owned());
    }
    for text in matches.texts("volume") {
        let mount = crate::load::parse_mount(text).map_err(CliError::new)?;
        service.volumes.push(mount);
    }
    for file in matches.texts("env-from-file") {
        let values = crate::load::variables_of(file, &|name| compose.cli.env(name));
        let values = values.map_err(|error| CliError::new(error.to_string()))?;
        let values = values.into_iter().map(|(name, value)| (name, Some(value)));
        service.environment.extend(values);
    }
    service.tty = attached && !matches.flag("no-TTY") && compose.cli.stdin_is_terminal();
    service.stdin_open = attached && matches.flag("interactive");
    service.container_name = String::new();
    service.restart = "no".to_owned();
    service.use_aliases = matches.flag("use-aliases");
    service.auto_remove = matches.flag("rm");
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
