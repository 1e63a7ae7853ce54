//! `docker pull`.

use ferry_docker_api::JsonMessage;
use ferry_oci::Reference;

use crate::{
    config::registry_auth,
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome, parse_bool},
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
    let (all, quiet) = (matches.flag("all-tags"), matches.flag("quiet"));
    let bare = reference.tag().is_none() && reference.digest().is_none();
    if all && !bare {
        return Err(CliError::new("tag can't be used with --all-tags/-a"));
    }
    if bare && !all && !quiet {
        cli.println("Using default tag: latest")?;
    }
    if reference.digest().is_none() && trusts_only_signed(cli, matches) {
        return Err(CliError::new("content trust (Notary v1) is not supported"));
    }
    let reference = if all { reference } else { reference.with_default_tag() };
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
        .query_if(!tag.is_empty(), "tag", tag)
        .query_if(!platform.is_empty(), "platform", &platform);
    if !auth.is_empty() {
        call = call.header("X-Registry-Auth", auth);
    }
    cli.wait(async {
        let lines = call.lines::<JsonMessage>().await?;
        if quiet { progress::hide(lines).await } else { progress::show(cli, lines, false).await }
    })?;
    // The last line says the name with its registry.
    cli.println(&reference.canonical())?;
    Ok(0)
}

/// Whether images must be signed: `--disable-content-trust=false`, or `DOCKER_CONTENT_TRUST=1`.
pub(crate) fn trusts_only_signed(cli: &Cli, matches: &Matches) -> bool {
    if matches.is_set("disable-content-trust") {
        return !matches.flag("disable-content-trust");
    }
    cli.env("DOCKER_CONTENT_TRUST").is_some_and(|text| parse_bool(&text).unwrap_or(true))
}
