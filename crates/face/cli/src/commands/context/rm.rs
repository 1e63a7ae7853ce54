//! `docker context rm`.

use super::store;
use crate::framework::{Args, Cli, CliError, Command, Failures, Flag, Matches, Outcome, quote};

pub(super) const COMMAND: Command = Command {
    name: "rm",
    aliases: &["remove"],
    short: "Remove one or more contexts",
    usage: "CONTEXT [CONTEXT...]",
    aliases_help: "docker context rm, docker context remove",
    args: Args::AtLeast(1),
    flags: &[Flag::bool("force", "Force the removal of a context in use").short('f')],
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let mut failures = Failures::default();
    let current = store::current(cli);
    for name in matches.args() {
        match remove(cli, name, matches.flag("force"), &current) {
            Ok(()) => cli.println(name)?,
            Err(error) => failures.push(error),
        }
    }
    failures.outcome()
}

fn remove(cli: &Cli, name: &str, force: bool, current: &str) -> Result<(), CliError> {
    if name == store::DEFAULT {
        return Err(CliError::new("context \"default\" cannot be removed"));
    }
    let context = match store::load(cli, name) {
        Ok(context) => context,
        Err(_) if force => return Ok(()),
        Err(_) if !store::exists(cli, name) => {
            return Err(CliError::new(format!("context {} does not exist", quote(name))));
        }
        Err(error) => return Err(error),
    };
    if name == current {
        if !force {
            return Err(CliError::new(format!(
                "context {} is in use, set -f flag to force remove",
                quote(name)
            )));
        }
        super::switch::set(cli, store::DEFAULT)?;
    }
    context.remove(cli).map_err(|error| CliError::new(format!("context {}: {error}", quote(name))))
}
