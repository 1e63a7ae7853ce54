//! `docker context use` and `show`.

use super::store;
use crate::{
    config::ConfigFile,
    framework::{Args, Cli, CliError, Command, Matches, Outcome, quote},
};

pub(super) const USE: Command = Command {
    name: "use",
    short: "Set the current docker context",
    usage: "CONTEXT",
    args: Args::Exactly(1),
    run: switch,
    ..Command::NEW
};

pub(super) const SHOW: Command = Command {
    name: "show",
    short: "Print the name of the current context",
    usage: "",
    args: Args::None,
    run: show,
    ..Command::NEW
};

fn switch(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.arg(0);
    if name != store::DEFAULT {
        store::load(cli, name)?;
    }
    set(cli, name)?;
    cli.println(name)?;
    cli.warn(&format!("Current context is now {}", quote(name)));
    if name != store::DEFAULT && cli.env("DOCKER_HOST").is_some() {
        cli.warn(&format!(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use {}, either set the global --context flag, or unset DOCKER_HOST environment variable.",
            quote(name)
        ));
    }
    Ok(0)
}

fn show(cli: &Cli, _: &Matches) -> Outcome {
    cli.println(&store::current(cli))?;
    Ok(0)
}

pub(super) fn set(cli: &Cli, name: &str) -> Result<(), CliError> {
    let value = if name == store::DEFAULT { "" } else { name };
    let field = store::current_field(cli.program());
    ConfigFile::change(&cli.globals().config_dir(), |config| config.set_text(field, value))
}
