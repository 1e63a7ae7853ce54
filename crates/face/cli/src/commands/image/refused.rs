//! Commands that are not there yet. They are listed, and say so.

use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome};

pub(crate) const BUILD: Command = Command {
    name: "build",
    top: Some("build"),
    short: "Build an image from a Dockerfile",
    usage: "[OPTIONS] PATH | URL | -",
    aliases_help: "docker image build, docker build",
    common: Some(3),
    interspersed: false,
    args: Args::Any,
    run: build,
    ..Command::NEW
};

pub(crate) const PUSH: Command = Command {
    name: "push",
    top: Some("push"),
    short: "Upload an image to a registry",
    usage: "[OPTIONS] NAME[:TAG]",
    aliases_help: "docker image push, docker push",
    common: Some(5),
    interspersed: false,
    args: Args::Any,
    run: push,
    ..Command::NEW
};

fn build(cli: &Cli, _: &Matches) -> Outcome {
    let program = cli.program();
    Err(CliError::new(format!("'{program} build' is not supported yet"))
        .with_hint("build with another tool and bring the image in with `load`, or make a root file system and `import` it"))
}

fn push(cli: &Cli, _: &Matches) -> Outcome {
    let program = cli.program();
    Err(CliError::new(format!("'{program} push' is not supported yet"))
        .with_hint("`save` the image and copy it with a tool such as skopeo"))
}
