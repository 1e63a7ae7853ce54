//! `ferry volume export`: beyond Docker.

use super::path;
use crate::{
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::download::Target,
};

pub(crate) const COMMAND: Command = Command {
    name: "export",
    short: "Export a volume's content as a tar archive (beyond Docker)",
    usage: "[OPTIONS] VOLUME",
    flags: &[Flag::string("output", "Write to a file, instead of STDOUT").short('o')],
    args: Args::Exactly(1),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let output = match matches.text("output") {
        "-" => "",
        output => output,
    };
    if output.is_empty() && cli.stdout_is_terminal() {
        return Err(CliError::new(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
        ));
    }
    let client = cli.client()?;
    let target = Target::new(output)
        .map_err(|error| error.map_message(|words| format!("failed to export volume: {words}")))?;
    cli.wait(async {
        target.save(client.get(path(matches.arg(0)) + "/export").send().await?).await
    })?;
    Ok(0)
}
