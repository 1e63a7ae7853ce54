//! `docker load`.

use ferry_docker_api::JsonMessage;

use crate::{
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::{progress, upload},
};

pub(crate) const COMMAND: Command = Command {
    name: "load",
    top: Some("load"),
    short: "Load an image from a tar archive or STDIN",
    usage: "[OPTIONS]",
    aliases_help: "docker image load, docker load",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("input", "Read from tar archive file, instead of STDIN").short('i'),
    Flag::string(
        "platform",
        "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
    ),
    Flag::bool("quiet", "Suppress the load output").short('q'),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let path = matches.text("input");
    if path.is_empty() && cli.stdin_is_terminal() {
        return Err(CliError::new("requested load from stdin, but stdin is empty"));
    }
    let quiet = matches.flag("quiet") || !cli.stdout_is_terminal();
    let platform = super::named_platform_json(matches.text("platform"))?;
    let client = cli.client()?;
    cli.wait(async {
        let (input, length) = upload::open(if path.is_empty() { "-" } else { path }).await?;
        let call = client
            .post("/images/load")
            .query("quiet", u8::from(quiet))
            .query_if(!platform.is_empty(), "platform", platform)
            .upload("application/x-tar", input, length);
        let lines = call.lines::<JsonMessage>().await?;
        progress::show(cli, lines, false).await
    })?;
    Ok(0)
}
