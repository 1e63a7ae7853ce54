//! `docker builder` and `docker buildx`: builds and what they keep. There is one builder, so both are the same thing.

mod du;
mod prune;

use super::image;
use crate::framework::{Command, Group};

const BUILD: Command = Command {
    top: None,
    common: None,
    aliases_help: "docker image build, docker build, docker buildx build",
    ..image::BUILD
};

/// `docker builder`.
pub(crate) const BUILDER: Group = Group {
    name: "builder",
    short: "Manage builds",
    commands: &[BUILD, du::COMMAND, prune::COMMAND],
};

/// `docker buildx`.
pub(crate) const BUILDX: Group = Group {
    name: "buildx",
    short: "Docker Buildx",
    commands: &[
        Command { aliases: &["b"], ..BUILD },
        du::COMMAND,
        Command { short: prune::SHORT_OF_BUILDX, ..prune::COMMAND },
    ],
};
