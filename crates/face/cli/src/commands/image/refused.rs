//! `docker push`, which is refused by name: its flags are known, so that what is refused is the command.

use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const PUSH: Command = Command {
    name: "push",
    top: Some("push"),
    short: "Upload an image to a registry",
    usage: "[OPTIONS] NAME[:TAG]",
    aliases_help: "docker image push, docker push",
    common: Some(5),
    flags: PUSH_FLAGS,
    args: Args::Exactly(1),
    run: push,
    ..Command::NEW
};

const PUSH_FLAGS: &[Flag] = &[
    Flag::bool("all-tags", "Push all tags of an image to the repository").short('a'),
    Flag::bool("disable-content-trust", "Skip image signing").default("true"),
    Flag::string(
        "platform",
        "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
    Flag::bool("quiet", "Suppress verbose output").short('q'),
];

fn push(cli: &Cli, _: &Matches) -> Outcome {
    Err(CliError::new(format!("not supported yet: {}", cli.path()))
        .with_hint("`save` the image and copy it with a tool such as skopeo"))
}
