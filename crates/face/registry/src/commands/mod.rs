//! `ferry registry` and what stands behind it.

pub(crate) mod accounts;
mod remote;
pub(crate) mod rules;
mod serve;
mod tending;
mod upkeep;

use ferry_cli::{
    face::{Cli, CliError, Command, Outcome, command_help, usage_line},
    flags::{Flag, Matches, ParseError, terminal_width},
};

static COMMANDS: &[&Command] = &[
    &upkeep::GC,
    &remote::REMOVE,
    &rules::RULES,
    &upkeep::SCRUB,
    &serve::COMMAND,
    &accounts::TOKEN,
    &accounts::ADD,
    &accounts::LIST,
    &accounts::REMOVE,
];

/// Of every command.
const ROOT: Flag =
    Flag::string("root", "Directory with the registry's content").default(DEFAULT_ROOT);
const DEFAULT_ROOT: &str = "/var/lib/ferry-registry";

/// A duration flag, in seconds.
fn seconds(matches: &Matches, flag: &str) -> u64 {
    u64::try_from(matches.nanoseconds(flag)).unwrap_or(0) / 1_000_000_000
}

fn failed(error: &dyn std::error::Error) -> CliError {
    CliError::new(ferry_errkind::chain(error))
}

/// Runs `registry` with what stands behind it.
pub(crate) fn run(cli: &Cli, args: &[String]) -> Outcome {
    let program = format!("{} registry", cli.program());
    let Some(name) = args.first() else {
        return show(cli, &help(&program));
    };
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        return match find(&args[1..]) {
            Some((command, _)) => show(cli, &command_text(&program, command)),
            None => show(cli, &help(&program)),
        };
    }
    let Some((command, rest)) = find(args) else {
        return Err(CliError::new(format!(
            "unknown command: \"{program} {name}\"\n\nRun '{program} --help' for more information"
        )));
    };
    let path = format!("{program} {}", command.name);
    let matches = match Matches::parse(command.flags, rest, command.interspersed) {
        Ok((matches, _)) => matches,
        Err(ParseError::Help { .. }) => return show(cli, &command_text(&program, command)),
        Err(ParseError::Invalid(words)) => {
            let usage = usage_line(&path, command);
            return Err(CliError::new(format!(
                "{words}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information"
            ))
            .with_code(125));
        }
    };
    let usage = usage_line(&path, command);
    if let Some(complaint) = command.args.complaint(matches.args().len(), &path, &usage) {
        return Err(CliError::new(complaint));
    }
    (command.run)(cli, &matches)
}

/// The command that the first word, or the first two, name; and what stands behind them.
fn find(args: &[String]) -> Option<(&'static Command, &[String])> {
    COMMANDS.iter().copied().find_map(|command| {
        let words: Vec<&str> = command.name.split(' ').collect();
        let (front, rest) = args.split_at_checked(words.len())?;
        (front == words.as_slice()).then_some((command, rest))
    })
}

fn show(cli: &Cli, text: &str) -> Outcome {
    cli.print(text)?;
    Ok(0)
}

fn command_text(program: &str, command: &Command) -> String {
    command_help(&format!("{program} {}", command.name), command, terminal_width())
}

fn help(program: &str) -> String {
    let rows: String = COMMANDS
        .iter()
        .map(|command| format!("  {:<13} {}\n", command.name, command.short))
        .collect();
    format!(
        "Usage:  {program} COMMAND\n\nRun a registry, and look after one\n\nCommands:\n{rows}\nRun '{program} COMMAND --help' for more information on a command.\n"
    )
}
