//! `docker pull`.

use ferry_docker_api::JsonMessage;
use ferry_oci::Reference;

use crate::{
    config::registry_auth,
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::progress,
};

pub(crate) const COMMAND: Command = Command {
    name: "pull",
    top: Some("pull"),
    short: "Download an image from a registry",
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    aliases_help: "docker image pull, docker pull",
    common: Some(4),
    args: Args::Exactly(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all-tags", "Download all tagged images in the repository").short('a'),
    Flag::bool("disable-content-trust", "Skip image verification").default("true"),
    Flag::string("platform", "Set platform if server is multi-platform capable"),
    Flag::bool("quiet", "Suppress verbose output").short('q'),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.arg(0);
    let reference = Reference::parse(name).map_err(|error| CliError::new(error.to_string()))?;
    if matches.flag("all-tags") {
        return Err(CliError::new("--all-tags is not supported yet"));
    }
    if !matches.flag("disable-content-trust") {
        return Err(CliError::new("content trust (Notary v1) is not supported"));
    }
    let quiet = matches.flag("quiet");
    let bare = reference.tag().is_none() && reference.digest().is_none();
    if bare && !quiet {
        cli.println("Using default tag: latest")?;
    }
    let reference = reference.with_default_tag();
    let platform = match matches.text("platform") {
        "" => cli.env("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
        platform => platform.to_owned(),
    };
    let tag = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    };
    let auth = registry_auth(cli, name)?;
    let client = cli.client()?;
    let mut call = client
        .post("/images/create")
        .query("fromImage", reference.familiar_name())
        .query("tag", tag)
        .query_if(!platform.is_empty(), "platform", &platform);
    if !auth.is_empty() {
        call = call.header("X-Registry-Auth", auth);
    }
    cli.wait(async {
        let mut lines = call.lines::<JsonMessage>().await?;
        if !quiet {
            return progress::show(cli, lines, false).await;
        }
        while let Some(message) = lines.next().await? {
            if !message.error.is_empty() {
                return Err(CliError::new(message.error));
            }
        }
        Ok(())
    })?;
    cli.println(&full_name(&reference))?;
    Ok(0)
}

/// The last line says the name with its registry.
fn full_name(reference: &Reference) -> String {
    reference.canonical()
}
