//! `docker wait`.

use ferry_docker_api::WaitResponse;

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Failures, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "wait",
    top: Some("wait"),
    short: "Block until one or more containers stop, then print their exit codes",
    usage: "CONTAINER [CONTAINER...]",
    aliases_help: "docker container wait, docker wait",
    args: Args::AtLeast(1),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let mut failures = Failures::default();
    for name in matches.args() {
        match cli.wait(client.post(path(name, "/wait")).json::<WaitResponse>()) {
            Ok(answer) => cli.println(&answer.status_code.to_string())?,
            Err(error) => failures.push(CliError::from(error)),
        }
    }
    failures.outcome()
}
