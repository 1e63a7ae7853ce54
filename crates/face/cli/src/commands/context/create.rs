//! `docker context create` and `update`.

use super::store::{self, Context};
use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome, quote};

pub(super) const CREATE: Command = Command {
    name: "create",
    short: "Create a context",
    long: CREATE_LONG,
    usage: "[OPTIONS] CONTEXT",
    args: Args::Exactly(1),
    flags: &[
        Flag::string("description", "Description of the context"),
        Flag::value("docker", "stringToString", "set the docker endpoint").shown("[]"),
        Flag::string("from", "create context from a named context"),
    ],
    run: create,
    ..Command::NEW
};

pub(super) const UPDATE: Command = Command {
    name: "update",
    short: "Update a context",
    long: UPDATE_LONG,
    usage: "[OPTIONS] CONTEXT",
    args: Args::Exactly(1),
    flags: &[
        Flag::string("description", "Description of the context"),
        Flag::value("docker", "stringToString", "set the docker endpoint").shown("[]"),
    ],
    run: update,
    ..Command::NEW
};

/// Docker's words about `--docker`.
const CREATE_LONG: &str = "Create a context\n\nDocker endpoint config:\n\nNAME                DESCRIPTION\nfrom                Copy named context's Docker endpoint configuration\nhost                Docker endpoint on which to connect\nca                  Trust certs signed only by this CA\ncert                Path to TLS certificate file\nkey                 Path to TLS key file\nskip-tls-verify     Skip TLS certificate validation\n\nExample:\n\n$ docker context create my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"";
const UPDATE_LONG: &str = "Update a context\n\nDocker endpoint config:\n\nNAME                DESCRIPTION\nfrom                Copy named context's Docker endpoint configuration\nhost                Docker endpoint on which to connect\nca                  Trust certs signed only by this CA\ncert                Path to TLS certificate file\nkey                 Path to TLS key file\nskip-tls-verify     Skip TLS certificate validation\n\nExample:\n\n$ docker context update my-context --description \"some description\" --docker \"host=tcp://myserver:2376,ca=~/ca-file,cert=~/cert-file,key=~/key-file\"";

fn create(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.arg(0);
    store::check_name(name)?;
    if store::exists(cli, name) {
        return Err(CliError::new(format!("context {} already exists", quote(name))));
    }
    let mut context = Context::new(name);
    if !matches.is_set("docker") {
        let from =
            Some(matches.text("from")).filter(|from| !from.is_empty() && *from != store::DEFAULT);
        copy(cli, &mut context, from)?;
        // A copy has everything of the other, its description, too.
        if let Some(from) = from {
            context.meta["Metadata"] = store::load(cli, from)?.meta["Metadata"].clone();
        }
    }
    apply(cli, matches, &mut context)?;
    context.save(cli)?;
    cli.println(name)?;
    cli.warn(&format!("Successfully created context {}", quote(name)));
    Ok(0)
}

fn update(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.arg(0);
    if name == store::DEFAULT {
        return Err(CliError::new("\"default\" is a reserved context name"));
    }
    let mut context = store::load(cli, name)?;
    apply(cli, matches, &mut context)?;
    context.save(cli)?;
    cli.println(name)?;
    cli.warn(&format!("Successfully updated context {}", quote(name)));
    Ok(0)
}

/// The endpoint of another context, or of the one that stands for none.
fn copy(cli: &Cli, context: &mut Context, from: Option<&str>) -> Result<(), CliError> {
    match from {
        Some(from) => {
            let other = store::load(cli, from)?;
            context.meta["Endpoints"] = other.meta["Endpoints"].clone();
            let dir = other.tls_dir(cli).join("docker");
            for name in other.tls_files(cli) {
                let path = dir.join(&name).display().to_string();
                context.save_tls(cli, &[(&name, &path)])?;
            }
        }
        None => {
            let host = cli.env("DOCKER_HOST").unwrap_or_else(|| default_host(cli));
            context.set_endpoint(&host, false);
        }
    }
    Ok(())
}

/// The socket of whoever we are called.
pub(super) fn default_host(cli: &Cli) -> String {
    match cli.program() {
        "docker" => "unix:///var/run/docker.sock".to_owned(),
        _ => format!("unix://{}", crate::framework::DEFAULT_SOCKET),
    }
}

fn apply(cli: &Cli, matches: &Matches, context: &mut Context) -> Result<(), CliError> {
    if matches.is_set("description") {
        context.set_description(matches.text("description"));
    }
    let mut host = context.host().to_owned();
    let mut skip = context.meta["Endpoints"]["docker"]["SkipTLSVerify"].as_bool().unwrap_or(false);
    let mut files = Vec::new();
    let pairs: Vec<&str> =
        matches.texts("docker").iter().flat_map(|text| text.split(',')).collect();
    for pair in &pairs {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "host" => {
                let read = value.parse::<ferry_client::Endpoint>();
                read.map_err(|error| {
                    CliError::new(format!("unable to create docker endpoint config: {error}"))
                })?;
                value.clone_into(&mut host);
            }
            "ca" => files.push(("ca.pem", value)),
            "cert" => files.push(("cert.pem", value)),
            "key" => files.push(("key.pem", value)),
            "skip-tls-verify" => skip = matches!(value, "true" | "1"),
            "from" => copy(cli, context, Some(value))?,
            other => {
                return Err(CliError::new(format!(
                    "unable to create docker endpoint config: unrecognized config key: {other}"
                )));
            }
        }
    }
    if !pairs.is_empty() {
        if host.is_empty() {
            return Err(CliError::new("unable to create docker endpoint config: host is required"));
        }
        context.set_endpoint(&host, skip);
    }
    context.save_tls(cli, &files)
}
