//! The commands as data, and what they have in common: the project and the flags before the command.

mod attached;
mod build;
mod config;
mod containers;
mod down;
mod elsewhere;
mod events;
mod exec;
mod generate;
mod images;
mod lifecycle;
mod list;
mod logs;
mod menu;
mod ps;
mod publish;
mod refused;
mod run;
mod scale;
mod single;
mod snapshot;
mod up;
mod volumes;
mod watch;

use std::collections::BTreeSet;

use ferry_cli::{
    face::{Cli, CliError, Command, Outcome, command_help, usage_line},
    flags::{Flag, Matches, ParseError, flag_usages, terminal_width},
};

use crate::{
    load::{self, LoadError, Request},
    model::Project,
    run::{
        Session,
        progress::{Progress, is_on_stdout},
    },
};
use tokio::sync::Semaphore;

/// The flags before the command.
static GLOBALS: &[Flag] = &[
    Flag::bool("all-resources", "Include all resources, even those not used by services"),
    Flag::string(
        "ansi",
        "Control when to print ANSI control characters (\"never\"|\"always\"|\"auto\")",
    )
    .default("auto"),
    Flag::bool("compatibility", "Run compose in backward compatibility mode"),
    DRY,
    Flag::value("env-file", "stringArray", "Specify an alternate environment file"),
    Flag::value("file", "stringArray", "Compose configuration files").short('f'),
    Flag::int("parallel", "Control max parallelism, -1 for unlimited").default("-1"),
    Flag::value("profile", "stringArray", "Specify a profile to enable"),
    Flag::string("progress", "Set type of progress output (auto, tty, plain, json, quiet)"),
    Flag::string("project-directory", "Specify an alternate working directory"),
    Flag::string("project-name", "Project name").short('p'),
    Flag::bool("version", "Show the Docker Compose version information").short('v').hidden(),
];

/// `--dry-run`, which stands before or behind every command.
pub(super) const DRY: Flag = Flag::bool("dry-run", "Execute command in dry run mode");

/// A command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verb {
    pub(crate) command: Command,
    pub(crate) run: fn(&Compose<'_>, &Matches) -> Outcome,
}

static VERBS: &[&Verb] = &[
    &single::ATTACH,
    &refused::BRIDGE,
    &build::BUILD,
    &single::COMMIT,
    &config::CONFIG,
    &config::CONVERT,
    &single::CP,
    &scale::CREATE,
    &scale::DIFF,
    &down::DOWN,
    &events::EVENTS,
    &exec::EXEC,
    &single::EXPORT,
    &generate::GENERATE,
    &images::IMAGES,
    &lifecycle::KILL,
    &logs::LOGS,
    &list::LS,
    &lifecycle::PAUSE,
    &list::PORT,
    &ps::PS,
    &publish::PUBLISH,
    &images::PULL,
    &images::PUSH,
    &lifecycle::RESTART,
    &snapshot::RESTORE,
    &containers::RM,
    &run::RUN,
    &scale::SCALE,
    &snapshot::SNAPSHOT,
    &lifecycle::START,
    &single::STATS,
    &lifecycle::STOP,
    &list::TOP,
    &lifecycle::UNPAUSE,
    &up::UP,
    &list::VERSION,
    &volumes::VOLUMES,
    &containers::WAIT,
    &watch::WATCH,
];

/// One run of a command.
#[derive(Debug)]
pub(crate) struct Compose<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) request: Request,
    pub(crate) colour: bool,
    /// A terminal may be painted on.
    pub(crate) paints: bool,
    /// What stands before the command, for another process like this one.
    pub(crate) before: Vec<String>,
    /// Calls that change something are only told.
    pub(crate) dry: bool,
    progress: Progress,
    permits: Option<Semaphore>,
}

/// Runs `compose` with what stands behind it.
pub(crate) fn run(cli: &Cli, args: &[String]) -> Outcome {
    let program = if cli.program() == "docker-compose" {
        cli.program().to_owned()
    } else {
        format!("{} compose", cli.program())
    };
    let matches = match Matches::parse(GLOBALS, args, false) {
        Ok((matches, _)) => matches,
        Err(ParseError::Help { .. }) => return show(cli, &help(&program)),
        Err(ParseError::Invalid(words)) => return Err(misused(&words, &program)),
    };
    if matches.flag("version") {
        return list::version(cli, "", false);
    }
    let Some((name, rest)) = matches.args().split_first() else {
        cli.warn(help(&program).trim_end());
        return Ok(0);
    };
    if name == "help" {
        return match rest.first().and_then(|name| find(name)) {
            Some(verb) => show(cli, &verb_help(&program, verb)),
            None => show(cli, &help(&program)),
        };
    }
    let Some(verb) = find(name) else {
        return Err(CliError::new(format!("unknown docker command: \"compose {name}\"")));
    };
    let path = format!("{program} {}", verb.command.name);
    let flags = match Matches::parse(verb.command.flags, rest, verb.command.interspersed) {
        Ok((flags, _)) => flags,
        Err(ParseError::Help { .. }) => return show(cli, &verb_help(&program, verb)),
        Err(ParseError::Invalid(words)) => return Err(misused(&words, &path)),
    };
    let usage = usage_line(&path, &verb.command);
    if let Some(complaint) = verb.command.args.complaint(flags.args().len(), &path, &usage) {
        return Err(CliError::new(complaint));
    }
    let mut compose = compose(cli, &matches)?;
    compose.before = args[..args.len() - rest.len() - 1].to_vec();
    compose.dry |= flags.flag("dry-run");
    let outcome = (verb.run)(&compose, &flags);
    if outcome.is_err() {
        compose.progress.broken_off();
    }
    compose.progress.finish();
    outcome
}

/// A switch of the command line, or of the environment.
fn switch(cli: &Cli, matches: &Matches, flag: &str, variable: &str) -> bool {
    let said = || cli.env(variable).is_some_and(|text| load::is_on(&text));
    if matches.is_set(flag) { matches.flag(flag) } else { said() }
}

fn compose<'a>(cli: &'a Cli, matches: &Matches) -> Result<Compose<'a>, CliError> {
    let text = |name: &str| Some(matches.text(name).to_owned()).filter(|text| !text.is_empty());
    let progress = text("progress").or_else(|| cli.env("COMPOSE_PROGRESS")).unwrap_or_default();
    let ansi = text("ansi").filter(|_| matches.is_set("ansi")).or_else(|| cli.env("COMPOSE_ANSI"));
    let ansi = ansi.unwrap_or_else(|| "auto".to_owned());
    let colour = match ansi.as_str() {
        "always" => true,
        "never" => false,
        "auto" => cli.stdout_is_terminal() && cli.env("NO_COLOR").is_none(),
        _ => return Err(CliError::new(format!("unsupported --ansi value {ansi:?}"))),
    };
    let terminal = if is_on_stdout() { cli.stdout_is_terminal() } else { cli.stderr_is_terminal() };
    let dynamic = ansi == "always" || (ansi == "auto" && terminal);
    let paints = ansi != "never" && !matches!(progress.as_str(), "plain" | "json" | "quiet");
    let Some(progress) = Progress::new(&progress, dynamic) else {
        return Err(CliError::new(format!("unsupported --progress value {progress:?}")));
    };
    let parallel = match (matches.is_set("parallel"), cli.env("COMPOSE_PARALLEL_LIMIT")) {
        (true, _) => matches.int("parallel"),
        (false, Some(text)) => text.parse().map_err(|_| {
            CliError::new(
                "COMPOSE_PARALLEL_LIMIT must be an integer (found: ".to_owned()
                    + &format!("{text:?})"),
            )
        })?,
        (false, None) => -1,
    };
    let permits = usize::try_from(parallel).ok().filter(|count| *count > 0);
    Ok(Compose {
        cli,
        request: Request {
            files: matches.texts("file").to_vec(),
            name: text("project-name"),
            directory: text("project-directory"),
            env_files: matches.texts("env-file").to_vec(),
            profiles: matches.texts("profile").to_vec(),
            all_resources: matches.flag("all-resources"),
            compatibility: switch(cli, matches, "compatibility", "COMPOSE_COMPATIBILITY"),
            logins: Some(ferry_cli::face::logins(cli)),
            ..Request::default()
        },
        before: Vec::new(),
        dry: matches.flag("dry-run"),
        colour,
        paints,
        progress,
        permits: permits.map(|count| Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
    })
}

fn find(name: &str) -> Option<&'static Verb> {
    VERBS
        .iter()
        .find(|verb| verb.command.name == name || verb.command.aliases.contains(&name))
        .copied()
}

fn show(cli: &Cli, text: &str) -> Outcome {
    cli.print(text)?;
    Ok(0)
}

fn misused(words: &str, path: &str) -> CliError {
    CliError::new(format!("{words}\n\nUsage:  {path}\n\nRun '{path} --help' for more information"))
}

fn verb_help(program: &str, verb: &Verb) -> String {
    command_help(&format!("{program} {}", verb.command.name), &verb.command, terminal_width())
}

fn help(program: &str) -> String {
    let mut rows = String::new();
    for verb in VERBS.iter().filter(|verb| !verb.command.hidden) {
        rows.push_str(&format!("  {:<11} {}\n", verb.command.name, verb.command.short));
    }
    format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nDefine and run multi-container applications with Docker\n\nOptions:\n{}\n\nCommands:\n{rows}\nRun '{program} COMMAND --help' for more information on a command.\n",
        flag_usages(GLOBALS, terminal_width())
    )
}

impl Compose<'_> {
    /// The project of the files.
    pub(crate) fn project(&self) -> Result<Project, CliError> {
        self.project_of(&self.request)
    }

    /// The project, asked for in another way.
    pub(crate) fn project_of(&self, request: &Request) -> Result<Project, CliError> {
        load::load(request).map_err(failed).map(|loaded| self.noticed(loaded))
    }

    fn noticed(&self, loaded: load::Loaded) -> Project {
        for warning in &loaded.warnings {
            self.cli.warn(&format!("WARN[0000] {warning}"));
        }
        loaded.project
    }

    /// The project, or one that only has a name where there are no files.
    pub(crate) fn project_or_name(&self) -> Result<Project, CliError> {
        let name = self.request.name.clone().or_else(|| self.cli.env("COMPOSE_PROJECT_NAME"));
        match (load::load(&self.request), name) {
            (Err(LoadError::NoFile), Some(name)) => Ok(Project { name, ..Project::default() }),
            (Err(error), _) => Err(failed(error)),
            (Ok(loaded), _) => Ok(self.noticed(loaded)),
        }
    }

    /// The daemon.
    pub(crate) fn session(&self) -> Result<Session<'_>, CliError> {
        Ok(Session {
            cli: self.cli,
            client: self.cli.client()?,
            progress: &self.progress,
            dry: self.dry,
            permits: self.permits.as_ref(),
            attached: false,
        })
    }
}

fn failed(error: LoadError) -> CliError {
    CliError::new(ferry_errkind::chain(&error))
}

/// The services that arguments name (all of them without any), with what they depend on if asked for. Naming a service
/// wakes it, whatever its profiles.
pub(crate) fn select(
    project: &mut Project,
    names: &[String],
    with_dependencies: bool,
) -> Result<BTreeSet<String>, CliError> {
    if names.is_empty() {
        if project.services.is_empty() && !project.files.is_empty() {
            return Err(CliError::new("no service selected"));
        }
        return Ok(project.services.keys().cloned().collect());
    }
    let mut chosen = BTreeSet::new();
    let mut left: Vec<String> = names.to_vec();
    while let Some(name) = left.pop() {
        if let Some(service) = project.disabled.remove(&name) {
            project.services.insert(name.clone(), service);
        }
        let Some(service) = project.services.get(&name) else {
            return Err(CliError::new(format!("no such service: {name}")));
        };
        if chosen.insert(name) && with_dependencies {
            left.extend(service.depends_on.keys().cloned());
        }
    }
    Ok(chosen)
}
