//! `docker import`.

use ferry_docker_api::JsonMessage;
use ferry_oci::Reference;

use crate::{
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::{progress, upload},
};

pub(crate) const COMMAND: Command = Command {
    name: "import",
    top: Some("import"),
    short: "Import the contents from a tarball to create a filesystem image",
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    aliases_help: "docker image import, docker import",
    args: Args::AtLeast(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::list("change", "Apply Dockerfile instruction to the created image").short('c'),
    Flag::string("message", "Set commit message for imported image").short('m'),
    Flag::string("platform", "Set platform if server is multi-platform capable"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (source, name) = (matches.arg(0), matches.arg(1));
    if !name.is_empty() {
        Reference::parse(name).map_err(|error| CliError::new(error.to_string()))?;
    }
    let client = cli.client()?;
    cli.wait(async {
        let is_url = source.starts_with("http://") || source.starts_with("https://");
        let (message, platform) = (matches.text("message"), matches.text("platform"));
        let mut call = client
            .post("/images/create")
            .query("fromSrc", if is_url { source } else { "-" })
            .query_if(!message.is_empty(), "message", message)
            .query_if(!platform.is_empty(), "platform", platform)
            .query_if(!name.is_empty(), "repo", name);
        for change in matches.texts("change") {
            call = call.query("changes", change);
        }
        if !is_url {
            let (input, length) = upload::open(source).await?;
            call = call.upload("text/plain", input, length);
        }
        let lines = call.lines::<JsonMessage>().await?;
        progress::show(cli, lines, false).await
    })?;
    Ok(0)
}
