//! `ferry why`: beyond Docker.

use ferry_docker_api::WhyFinding;

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "why",
    top: Some("why"),
    short: "Explain why a container ended, or what is wrong with it",
    usage: "CONTAINER",
    aliases_help: "docker container why, docker why",
    flags: &[Flag::string("format", "Format output: \"json\", or words when empty")],
    args: Args::Exactly(1),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let found: Vec<WhyFinding> = cli.wait(client.get(path(matches.arg(0), "/why")).json())?;
    match matches.text("format") {
        "" => {
            for finding in &found {
                cli.println(&finding.what)?;
                if !finding.hint.is_empty() {
                    cli.println(&format!("  hint: {}", finding.hint))?;
                }
            }
        }
        "json" => {
            let text =
                serde_json::to_string(&found).map_err(|error| CliError::new(error.to_string()))?;
            cli.println(&text)?;
        }
        other => return Err(CliError::new(format!("unknown format {other:?}: use json"))),
    }
    Ok(0)
}
