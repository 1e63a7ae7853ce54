//! `docker rmi`.

use ferry_docker_api::ImageDeleteItem;

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Failures, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "rm",
    top: Some("rmi"),
    aliases: &["remove"],
    short: "Remove one or more images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    aliases_help: "docker image rm, docker image remove, docker rmi",
    args: Args::AtLeast(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("force", "Force removal of the image").short('f'),
    Flag::bool("no-prune", "Do not delete untagged parents"),
    Flag::value(
        "platform",
        "strings",
        "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
    ),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let platforms: Vec<String> = matches
        .texts("platform")
        .iter()
        .flat_map(|text| text.split(','))
        .map(super::platform_json)
        .collect::<Result<_, CliError>>()?;
    let client = cli.client()?;
    let force = matches.flag("force");
    let mut failures = Failures::default();
    let mut missing_only = true;
    for name in matches.args() {
        let mut call = client.delete(path(name, "")).query_if(force, "force", 1).query_if(
            matches.flag("no-prune"),
            "noprune",
            1,
        );
        for platform in &platforms {
            call = call.query("platforms", platform);
        }
        match cli.wait(call.json::<Vec<ImageDeleteItem>>()) {
            Ok(removed) => {
                for item in removed {
                    if item.deleted.is_empty() {
                        cli.println(&format!("Untagged: {}", item.untagged))?;
                    } else {
                        cli.println(&format!("Deleted: {}", item.deleted))?;
                    }
                }
            }
            Err(error) => {
                missing_only &= error.is_not_found();
                failures.push(error);
            }
        }
    }
    match failures.outcome() {
        // With --force an image that is not there is as good as removed.
        Err(error) if force && missing_only => {
            cli.warn(error.message());
            Ok(0)
        }
        outcome => outcome,
    }
}
