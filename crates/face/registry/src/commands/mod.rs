//! `ferry registry` and what stands behind it.

mod serve;

use ferry_cli::{
    face::{Cli, CliError, Command, Outcome, command_help, usage_line},
    flags::{Matches, ParseError, terminal_width},
};

static COMMANDS: &[&Command] = &[&serve::COMMAND];

/// Runs `registry` with what stands behind it.
pub(crate) fn run(cli: &Cli, args: &[String]) -> Outcome {
    let program = format!("{} registry", cli.program());
    let (name, rest) = match args.split_first() {
        None => return show(cli, &help(&program)),
        Some((name, rest)) => (name.as_str(), rest),
    };
    if matches!(name, "--help" | "-h" | "help") {
        let named = rest.first().and_then(|name| find(name));
        return match named {
            Some(command) => show(cli, &command_text(&program, command)),
            None => show(cli, &help(&program)),
        };
    }
    let Some(command) = find(name) else {
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

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name).copied()
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
        .map(|command| format!("  {:<8} {}\n", command.name, command.short))
        .collect();
    format!(
        "Usage:  {program} COMMAND\n\nRun a registry, and look after one\n\nCommands:\n{rows}\nRun '{program} COMMAND --help' for more information on a command.\n"
    )
}
