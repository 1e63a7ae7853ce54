//! `docker tag`.

use ferry_oci::Reference;

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "tag",
    top: Some("tag"),
    short: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    aliases_help: "docker image tag, docker tag",
    args: Args::Exactly(2),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let wrong = |words: String| {
        CliError::new(format!(
            "Error parsing reference: {:?} is not a valid repository/tag: {words}",
            matches.arg(1)
        ))
    };
    let target = Reference::parse(matches.arg(1)).map_err(|error| wrong(error.to_string()))?;
    if target.digest().is_some() {
        return Err(CliError::new("refusing to create a tag with a digest reference"));
    }
    let target = target.with_default_tag();
    let client = cli.client()?;
    let call = client
        .post(path(matches.arg(0), "/tag"))
        .query("repo", target.familiar_name())
        .query("tag", target.tag().unwrap_or_default());
    cli.wait(call.done())?;
    Ok(0)
}
