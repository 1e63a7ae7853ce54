//! `docker image inspect`.

use super::{path, platform_json};
use crate::{
    format::{inspect, structures},
    framework::{Args, Cli, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "inspect",
    short: "Display detailed information on one or more images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    args: Args::AtLeast(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("format", "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates").short('f'),
    Flag::string("platform", "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let platform = platform_json(matches.text("platform"))?;
    inspect::show(cli, matches.text("format"), matches.args(), |name| {
        let call = cli.client()?.get(path(name, "/json"));
        let call = call.query_if(!platform.is_empty(), "platform", &platform);
        Ok(inspect::fetch(cli, call, structures::IMAGE)?)
    })
}
