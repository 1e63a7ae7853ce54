//! From a command line to a command.

use super::{
    Cli, CliError, Command, Globals, Group, Matches, Outcome, ParseError, Tree, autostart, globals,
    help, output::write_fd, plugins, tree::Found, window_size,
};

/// Exit code of docker for flags that it does not understand.
const USAGE: u8 = 125;
const SHORTHAND: &str = "Flag shorthand -h has been deprecated, use --help";

/// A face of its own behind one word of this command line: `ferry compose`.
#[derive(Debug, Clone, Copy)]
pub struct Extension {
    /// The word.
    pub name: &'static str,
    /// One line for the list of commands.
    pub short: &'static str,
    /// Does what stands behind the word.
    pub run: fn(&Cli, &[String]) -> Outcome,
}

/// What other faces bring: words of their own, and commands.
pub(crate) type Brought = (&'static [Extension], &'static [Group]);

/// Runs the command line; the exit code.
pub(crate) fn main(program: &str, args: &[String], brought: Brought) -> u8 {
    exit_code(start(program, args, brought))
}

/// Where `config.json` lies, and docker's other files about the user.
pub fn config_dir(cli: &Cli) -> std::path::PathBuf {
    cli.globals().config_dir()
}

/// Runs an extension as a program of its own; the exit code.
pub(crate) fn main_of(extension: &Extension, program: &str, args: &[String]) -> u8 {
    if args.first().is_some_and(|word| word == PLUGIN) {
        return exit_code(show(&metadata(extension)));
    }
    let run = || {
        // As a plugin of docker, its flags and our own name stand in front.
        if let Ok((matches, _)) = Matches::parse(globals::FLAGS, args, false)
            && let Some((first, rest)) = matches.args().split_first()
            && first == extension.name
        {
            let rest = rest.to_vec();
            return (extension.run)(&Cli::new(program, Globals::new(matches)?)?, &rest);
        }
        let (matches, _) = Matches::parse(globals::FLAGS, &[], false)
            .map_err(|error| CliError::new(error.to_string()))?;
        (extension.run)(&Cli::new(program, Globals::new(matches)?)?, args)
    };
    exit_code(run())
}

/// What docker asks every file in its directory of plugins.
const PLUGIN: &str = "docker-cli-plugin-metadata";

fn metadata(extension: &Extension) -> String {
    format!(
        "{{\"SchemaVersion\":\"0.1.0\",\"Vendor\":\"Ferry\",\"Version\":\"{}\",\"ShortDescription\":\"{}\"}}\n",
        env!("CARGO_PKG_VERSION"),
        extension.short
    )
}

/// Runs one of this command line's own commands for an extension, which speaks to the same daemon.
pub fn run_words(cli: &Cli, words: &[String]) -> Outcome {
    let tree = Tree::new(crate::commands::GROUPS);
    let Found::Command(command, named) = tree.find(words) else {
        return Err(CliError::new(format!("unknown command: {}", words.join(" "))));
    };
    let (matches, _) = Matches::parse(command.flags, &words[named..], command.interspersed)
        .map_err(|error| CliError::new(error.to_string()))?;
    (command.run)(cli, &matches)
}

fn exit_code(outcome: Result<u8, CliError>) -> u8 {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            error.code()
        }
    }
}

/// Prints a failure and what to do about it.
fn report(error: &CliError) {
    let mut text = String::new();
    if !error.message().is_empty() {
        text = format!("{}\n", error.message());
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    // Nobody is left to tell that standard error is closed.
    drop(write_fd(rustix::stdio::stderr(), text.as_bytes()));
}

fn start(program: &str, args: &[String], brought: Brought) -> Result<u8, CliError> {
    let tree = Tree::with(crate::commands::GROUPS, brought);
    let parsed = Matches::parse(globals::FLAGS, args, false);
    let (matches, notices) = match parsed {
        Ok(parsed) => parsed,
        Err(ParseError::Help { shorthand }) => {
            if shorthand {
                // Only here docker says so on standard error.
                let _ = write_fd(rustix::stdio::stderr(), format!("{SHORTHAND}\n").as_bytes());
            }
            return show(&root_help(program, &tree));
        }
        Err(ParseError::Invalid(words)) => {
            let usage = format!("{program} [OPTIONS] COMMAND [ARG...]");
            return Err(misused(&words, program, &usage));
        }
    };
    tell(&notices);
    let words = matches.args().to_vec();
    let globals = Globals::new(matches)?;
    if globals.version() {
        return show(&crate::version_line(program));
    }
    match words.first().map(String::as_str) {
        None => remind(&root_help(program, &tree)),
        Some("help") => help_topic(program, &tree, &words[1..]),
        Some(autostart::COMMAND) => Err(autostart::become_daemon()),
        Some(super::complete::WORD) => super::complete::run(
            &tree,
            &Cli::new(program, globals)?,
            words.get(1..).unwrap_or_default(),
        ),
        Some(first) => {
            // docker's aliases lead to plugins: `builder` to `buildx`.
            let alias = crate::config::ConfigFile::load(&globals.config_dir()).0.alias(first);
            let unknown = matches!(tree.find(&words), Found::Unknown);
            let name = alias.as_deref().unwrap_or(first);
            if (unknown || alias.is_some() || is_refused(&tree, &words))
                && let Some(path) = plugins::find(&globals, name)
            {
                let mut args = args.to_vec();
                if let Some(word) = args.iter_mut().find(|word| *word == first) {
                    name.clone_into(word);
                }
                return Err(plugins::become_plugin(program, &path, &args, &globals));
            }
            dispatch(program, &tree, &words, globals)
        }
    }
}

/// A command that is only there to say that it is not: a plugin of that name is better.
fn is_refused(tree: &Tree, words: &[String]) -> bool {
    matches!(tree.find(words), Found::Command(command, 1) if command.hidden && command.top == Some(command.name))
}

fn dispatch(
    program: &str,
    tree: &Tree,
    words: &[String],
    globals: Globals,
) -> Result<u8, CliError> {
    if let Some(extension) = alone(program, tree, words) {
        return (extension.run)(&Cli::new(program, globals)?, &[]);
    }
    match tree.find(words) {
        Found::Extension(extension) => {
            (extension.run)(&Cli::new(program, globals)?, words.get(1..).unwrap_or_default())
        }
        Found::Command(command, named) => {
            let path = format!("{program} {}", words[..named].join(" "));
            run(program, &path, command, &words[named..], globals)
        }
        Found::Group(group) => {
            let path = format!("{program} {}", group.name);
            match Matches::parse(&[], &words[1..], true) {
                Ok(_) => remind(&help::group_help(&path, group, tree)),
                Err(ParseError::Help { shorthand }) => {
                    notice_shorthand(shorthand);
                    show(&help::group_help(&path, group, tree))
                }
                Err(ParseError::Invalid(wrong)) => Err(misused(&wrong, &path, &path)),
            }
        }
        Found::UnknownIn(group) => {
            let path = format!("{program} {}", group.name);
            if words.iter().any(|word| word == "--help") {
                return show(&help::group_help(&path, group, tree));
            }
            Err(CliError::new(format!(
                "{program}: unknown command: {path} {}\n\nUsage:  {path}\n\nRun '{path} --help' for more information",
                words.get(1).map_or("", String::as_str)
            )))
        }
        Found::Unknown => Err(CliError::new(format!(
            "{program}: unknown command: {program} {}\n\nRun '{program} --help' for more information",
            words.first().map_or("", String::as_str)
        ))),
    }
}

/// A word that is docker's command with arguments, and ours without any: `ferry top`. Docker's complaint about missing arguments
/// stays for scripts, and for whoever called us docker.
fn alone(program: &str, tree: &Tree, words: &[String]) -> Option<&'static Extension> {
    let [word] = words else { return None };
    let ours = tree.extensions().iter().find(|extension| extension.name == word)?;
    let terminal = rustix::termios::isatty(rustix::stdio::stdin())
        && rustix::termios::isatty(rustix::stdio::stdout());
    (terminal && program != "docker" && tree.is_top_level(word)).then_some(ours)
}

fn run(
    program: &str,
    path: &str,
    command: &'static Command,
    args: &[String],
    globals: Globals,
) -> Result<u8, CliError> {
    let usage = help::usage_line(path, command);
    let (matches, notices) = match Matches::parse(command.flags, args, command.interspersed) {
        Ok(parsed) => parsed,
        Err(ParseError::Help { shorthand }) => {
            notice_shorthand(shorthand);
            return show(&help::command_help(path, command, terminal_width()));
        }
        Err(ParseError::Invalid(words)) => return Err(misused(&words, path, &usage)),
    };
    tell(&notices);
    if let Some(complaint) = command.args.complaint(matches.args().len(), path, &usage) {
        return Err(CliError::new(complaint));
    }
    let cli = Cli::new(program, globals)?;
    // Nothing else sets it.
    drop(cli.path.set(path.to_owned()));
    (command.run)(&cli, &matches)
}

/// With the plugins that there are; `--config` is not read yet where help is asked for.
fn root_help(program: &str, tree: &Tree) -> String {
    let globals = Matches::parse(globals::FLAGS, &[], false).ok();
    let globals = globals.and_then(|(matches, _)| Globals::new(matches).ok());
    let is_own = |name: &str| {
        let word = [name.to_owned()];
        name == crate::DAEMON.0 || !matches!(tree.find(&word), Found::Unknown)
    };
    let plugins = globals.map(|globals| plugins::list(&globals, &is_own)).unwrap_or_default();
    help::root_help(program, tree, &plugins, terminal_width())
}

fn help_topic(program: &str, tree: &Tree, words: &[String]) -> Result<u8, CliError> {
    if words.is_empty() {
        return show(&root_help(program, tree));
    }
    match tree.find(words) {
        Found::Command(command, named) => {
            let path = format!("{program} {}", words[..named].join(" "));
            show(&help::command_help(&path, command, terminal_width()))
        }
        Found::Extension(extension) => {
            let (matches, _) = Matches::parse(globals::FLAGS, &[], false)
                .map_err(|error| CliError::new(error.to_string()))?;
            let cli = Cli::new(program, Globals::new(matches)?)?;
            let mut words = words.get(1..).unwrap_or_default().to_vec();
            words.push("--help".to_owned());
            (extension.run)(&cli, &words)
        }
        Found::Group(group) | Found::UnknownIn(group) => {
            show(&help::group_help(&format!("{program} {}", group.name), group, tree))
        }
        Found::Unknown => {
            let topic = words.first().map_or("", String::as_str);
            Err(CliError::new(format!("unknown help topic: {topic}")))
        }
    }
}

fn misused(words: &str, path: &str, usage: &str) -> CliError {
    CliError::new(format!("{words}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information"))
        .with_code(USAGE)
}

fn notice_shorthand(shorthand: bool) {
    if shorthand {
        tell(&[SHORTHAND.to_owned()]);
    }
}

fn tell(notices: &[String]) {
    for notice in notices {
        drop(write_fd(rustix::stdio::stdout(), format!("{notice}\n").as_bytes()));
    }
}

fn show(text: &str) -> Result<u8, CliError> {
    write_fd(rustix::stdio::stdout(), text.as_bytes())?;
    Ok(0)
}

/// Help that nobody asked for: what was typed does nothing.
fn remind(text: &str) -> Result<u8, CliError> {
    write_fd(rustix::stdio::stderr(), text.as_bytes())?;
    Ok(0)
}

/// Help is as wide as the terminal that standard input is, as docker's.
pub fn terminal_width() -> usize {
    window_size(rustix::stdio::stdin())
        .map_or(help::DEFAULT_WIDTH, |size| usize::from(size.columns))
}
