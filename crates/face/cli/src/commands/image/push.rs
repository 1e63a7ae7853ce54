//! `docker push`.

use ferry_docker_api::JsonMessage;
use ferry_oci::Reference;

use super::{path, platform_json};
use crate::{
    config::registry_auth,
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
    run::progress,
};

pub(crate) const COMMAND: Command = Command {
    name: "push",
    top: Some("push"),
    short: "Upload an image to a registry",
    usage: "[OPTIONS] NAME[:TAG]",
    aliases_help: "docker image push, docker push",
    common: Some(5),
    flags: FLAGS,
    args: Args::Exactly(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all-tags", "Push all tags of an image to the repository").short('a'),
    Flag::bool("disable-content-trust", "Skip image signing").default("true"),
    Flag::string(
        "platform",
        "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
    ),
    Flag::bool("quiet", "Suppress verbose output").short('q'),
];

/// What docker says of `--platform`.
const NOTE: &str =
    "Using --platform pushes only the specified platform manifest of a multi-platform image index.
Other components, like attestations, will not be included.
To push the complete multi-platform image, remove the --platform flag.
";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.arg(0);
    let (all, quiet) = (matches.flag("all-tags"), matches.flag("quiet"));
    let platform = match matches.text("platform") {
        "" => String::new(),
        text => platform_json(text).map_err(|error| {
            error.map_message(|words| format!("Invalid platform {text}{words}"))
        })?,
    };
    if !platform.is_empty() {
        note(cli)?;
    }
    let reference = Reference::parse(name).map_err(|error| CliError::new(error.to_string()))?;
    if reference.digest().is_some() {
        return Err(CliError::new("cannot push a digest reference"));
    }
    if all && reference.tag().is_some() {
        return Err(CliError::new("tag can't be used with --all-tags/-a"));
    }
    let bare = reference.tag().is_none();
    let reference = if all { reference } else { reference.with_default_tag() };
    if bare && !all && !quiet {
        cli.println("Using default tag: latest")?;
    }
    if super::pull::trusts_only_signed(cli, matches) {
        return Err(CliError::new("content trust (Notary v1) is not supported"));
    }
    let auth = registry_auth(cli, name)?;
    // No credentials are an empty object in base64: daemons want the header.
    let auth = if auth.is_empty() { "e30=".to_owned() } else { auth };
    let tag = reference.tag().unwrap_or_default();
    let call = cli
        .client()?
        .post(path(&reference.familiar_name(), "/push"))
        .query_if(!tag.is_empty(), "tag", tag)
        .query_if(!platform.is_empty(), "platform", &platform)
        .header("X-Registry-Auth", auth);
    cli.wait(async {
        let lines = call.lines::<JsonMessage>().await?;
        if quiet { progress::hide(lines).await } else { progress::show(cli, lines, false).await }
    })?;
    if quiet {
        cli.println(&reference.canonical())?;
    }
    Ok(0)
}

/// Pushes one image and shows how far it is.
/// `more` is what our own daemon is asked besides.
pub(super) fn one(cli: &Cli, name: &str, more: &[(&'static str, String)]) -> Result<(), CliError> {
    let reference = Reference::parse(name).map_err(|error| CliError::new(error.to_string()))?;
    let reference = reference.with_default_tag();
    let auth = registry_auth(cli, name)?;
    let auth = if auth.is_empty() { "e30=".to_owned() } else { auth };
    let mut call = cli
        .client()?
        .post(path(&reference.familiar_name(), "/push"))
        .query("tag", reference.tag().unwrap_or_default())
        .header("X-Registry-Auth", auth);
    for (name, value) in more {
        call = call.query(name, value);
    }
    cli.wait(async { progress::hide(call.lines::<JsonMessage>().await?).await })?;
    Ok(())
}

/// A note, as docker draws it.
fn note(cli: &Cli) -> Result<(), CliError> {
    let lines: Vec<&str> = NOTE.split('\n').collect();
    if cli.stdout_is_terminal() {
        let text = lines.join("\n       ");
        return cli.println(&format!(
            "\n\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m\x1b[3m{text}\x1b[0m"
        ));
    }
    cli.println(&format!("\n Info -> {}", lines.join("\n         ")))
}
