//! `docker load`.

use std::path::Path;

use ferry_client::{Call, ClientError, JsonLines};
use ferry_docker_api::{JsonMessage, handed::HANDED};

use crate::{
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::{hand_over, progress, upload},
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
    let call = || {
        client.post("/images/load").query("quiet", u8::from(quiet)).query_if(
            !platform.is_empty(),
            "platform",
            platform.clone(),
        )
    };
    if let Some(lines) = handed(cli, call(), path)? {
        cli.wait(progress::show(cli, lines, false))?;
        return Ok(0);
    }
    cli.wait(async {
        let (input, length) = upload::open(if path.is_empty() { "-" } else { path }).await?;
        let lines = call().upload("application/x-tar", input, length).lines().await?;
        progress::show(cli, lines, false).await
    })?;
    Ok(0)
}

/// Lets a daemon of our own on this machine read the file itself; `None` where it cannot, and has to be sent the bytes.
fn handed(cli: &Cli, call: Call, path: &str) -> Result<Option<JsonLines<JsonMessage>>, CliError> {
    // A file that does not open is told of by whoever opens it next.
    let Some((file, _, handed)) = Some(path)
        .filter(|path| !path.is_empty())
        .and_then(|path| hand_over::open(Path::new(path)).ok())
        .filter(|(_, found, _)| found.is_file())
    else {
        return Ok(None);
    };
    if !hand_over::is_possible(cli)? {
        return Ok(None);
    }
    let text = serde_json::to_string(&handed)
        .map_err(|error| CliError::new(format!("cannot hand the file over: {error}")))?;
    let asked = cli.wait(call.header(HANDED, text).lines());
    // The daemon has it by now.
    drop(file);
    match asked {
        Ok(lines) => Ok(Some(lines)),
        Err(ClientError::Api { status: 409, .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
