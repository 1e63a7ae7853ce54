//! `docker commit`.

use ferry_docker_api::CommitResponse;
use ferry_oci::Reference;

use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "commit",
    top: Some("commit"),
    short: "Create a new image from a container's changes",
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    aliases_help: "docker container commit, docker commit",
    flags: FLAGS,
    args: Args::Between(1, 2),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("author", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")")
        .short('a'),
    Flag::list("change", "Apply Dockerfile instruction to the created image").short('c'),
    Flag::string("message", "Commit message").short('m'),
    Flag::bool("pause", "Pause container during commit").short('p').default("true"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let mut call = client
        .post("/commit")
        .query("container", matches.arg(0))
        .query("comment", matches.text("message"))
        .query("author", matches.text("author"));
    if !matches.arg(1).is_empty() {
        let reference = Reference::parse(matches.arg(1))
            .map_err(|error| CliError::new(error.to_string()))?
            .with_default_tag();
        call = call
            .query("repo", reference.familiar_name())
            .query("tag", reference.tag().unwrap_or_default());
    }
    for change in matches.texts("change") {
        call = call.query("changes", change);
    }
    let call = call.query_if(!matches.flag("pause"), "pause", 0);
    let committed: CommitResponse = cli.wait(call.json())?;
    cli.println(&committed.id)?;
    Ok(0)
}
