//! `docker rm`.

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Failures, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "rm",
    top: Some("rm"),
    aliases: &["remove"],
    short: "Remove one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    aliases_help: "docker container rm, docker container remove, docker rm",
    flags: FLAGS,
    args: Args::AtLeast(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("force", "Force the removal of a running container (uses SIGKILL)").short('f'),
    Flag::bool("link", "Remove the specified link").short('l'),
    Flag::bool("volumes", "Remove anonymous volumes associated with the container").short('v'),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let force = matches.flag("force");
    cli.wait(async {
        let mut running = Vec::new();
        for given in matches.args() {
            let name = given.trim_matches('/');
            let call = client
                .delete(path(name, ""))
                .query_if(force, "force", 1)
                .query_if(matches.flag("link"), "link", 1)
                .query_if(matches.flag("volumes"), "v", 1);
            running.push((given, (!name.is_empty()).then(|| tokio::spawn(call.done()))));
        }
        let mut failures = Failures::default();
        for (given, task) in running {
            let Some(task) = task else {
                failures.push(CliError::new("container name cannot be empty"));
                continue;
            };
            match task.await {
                Ok(Ok(())) => cli.println(given)?,
                // What is to go by force and is not there has gone.
                Ok(Err(error)) if force && error.is_not_found() => cli.warn(&error.to_string()),
                Ok(Err(error)) => failures.push(error),
                Err(error) => failures.push(CliError::new(format!("{given}: {error}"))),
            }
        }
        failures.outcome()
    })
}
