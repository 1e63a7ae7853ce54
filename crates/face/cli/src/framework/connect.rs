//! Which daemon: flags, environment, docker's contexts, or our own.

use std::{os::unix::net::UnixStream, path::Path};

use ferry_client::{Client, Config, Endpoint, TlsFiles};
use ferry_docker_api::ApiVersion;
use ferry_oci::Digest;
use serde::Deserialize;

use super::{Cli, CliError, autostart};

/// Where our daemon listens.
pub(crate) const DEFAULT_SOCKET: &str = "/run/ferry/ferry.sock";
/// A context's file may be as large as this.
const CONTEXT_LIMIT: u64 = 1 << 20;

/// A daemon, and how to talk to it.
struct Target {
    endpoint: Endpoint,
    tls: Option<TlsFiles>,
}

/// Connects to the daemon that was named, or to ours.
pub(super) fn client(cli: &Cli) -> Result<Client, CliError> {
    if !cli.globals().hosts().is_empty() && cli.globals().context().is_some() {
        return Err(CliError::new("conflicting options: cannot specify both --host and --context"));
    }
    let target = target(cli).map_err(|why| {
        CliError::new(format!(
            "Failed to initialize: unable to resolve docker endpoint: {}",
            why.message()
        ))
    })?;
    let named = target.is_some();
    let target = target
        .unwrap_or_else(|| Target { endpoint: Endpoint::Unix(DEFAULT_SOCKET.into()), tls: None });
    let client = client_of(cli, target)?;
    if named {
        return Ok(client);
    }
    Ok(match UnixStream::connect(DEFAULT_SOCKET) {
        Ok(stream) => client.with_connection(stream),
        Err(error) => match autostart::daemon(Path::new(DEFAULT_SOCKET), &error)? {
            Some(stream) => client.with_connection(stream),
            // The client says what is wrong when it is used.
            None => client,
        },
    })
}

/// A client of the daemon at `host`, whatever else was named.
pub(super) fn client_at(cli: &Cli, host: &str) -> Result<Client, CliError> {
    client_of(cli, Target { endpoint: endpoint(host)?, tls: None })
}

fn client_of(cli: &Cli, target: Target) -> Result<Client, CliError> {
    let version = match cli.env("DOCKER_API_VERSION") {
        None => None,
        Some(text) => {
            Some(text.trim_start_matches('v').parse::<ApiVersion>().map_err(|error| {
                CliError::new(format!("cannot use DOCKER_API_VERSION: {error}"))
            })?)
        }
    };
    Ok(Client::new(Config {
        endpoint: target.endpoint,
        tls: target.tls,
        version,
        user_agent: format!("Ferry-Client/{} (linux)", env!("CARGO_PKG_VERSION")),
        headers: cli.config().http_headers(),
        product: if cli.program() == "docker" { "Docker" } else { "Ferry" },
    }))
}

/// The daemon that flags, environment or a context name; `None` for ours.
fn target(cli: &Cli) -> Result<Option<Target>, CliError> {
    let globals = cli.globals();
    let host = match globals.hosts() {
        [] => None,
        [one] => Some(one.clone()),
        _ => return Err(CliError::new("Specify only one -H")),
    };
    if let Some(name) = globals.context().filter(|name| *name != "default") {
        return context(cli, name).map(Some);
    }
    let host = host.or_else(|| cli.env("FERRY_HOST")).or_else(|| cli.env("DOCKER_HOST"));
    if let Some(host) = host {
        return Ok(Some(Target { endpoint: endpoint(&host)?, tls: tls(cli)? }));
    }
    if globals.context().is_none() {
        let field = crate::commands::context::current_field(cli.program());
        let variable = cli.env("DOCKER_CONTEXT").filter(|_| cli.program() == "docker");
        let name = variable.or_else(|| cli.config().text(field));
        if let Some(name) = name.filter(|name| name != "default") {
            return context(cli, &name).map(Some);
        }
    }
    Ok(None)
}

fn endpoint(text: &str) -> Result<Endpoint, CliError> {
    text.parse().map_err(|error: ferry_client::InvalidEndpoint| CliError::new(error.to_string()))
}

/// TLS as flags and environment have it.
fn tls(cli: &Cli) -> Result<Option<TlsFiles>, CliError> {
    let globals = cli.globals();
    let (on, verify) = globals.tls();
    if !on {
        return Ok(None);
    }
    let file = |flag: &str, file: &str| {
        let (path, given) = globals.tls_file(flag, file);
        (given || path.exists()).then_some(path)
    };
    let identity = file("tlscert", "cert.pem").zip(file("tlskey", "key.pem"));
    let authorities = file("tlscacert", "ca.pem");
    if verify && authorities.is_none() {
        let (path, _) = globals.tls_file("tlscacert", "ca.pem");
        return Err(CliError::new(format!("open {}: no such file or directory", path.display())));
    }
    Ok(Some(TlsFiles { authorities, identity, verify }))
}

#[derive(Deserialize)]
struct ContextFile {
    #[serde(rename = "Endpoints", default)]
    endpoints: std::collections::BTreeMap<String, ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_verify: bool,
}

/// Reads one of docker's contexts, which lies in a directory named by the digest of its name.
fn context(cli: &Cli, name: &str) -> Result<Target, CliError> {
    let id = Digest::sha256_of(name.as_bytes()).hex();
    let contexts = cli.globals().config_dir().join("contexts");
    let path = contexts.join("meta").join(&id).join("meta.json");
    let text = crate::config::read_limited(&path, CONTEXT_LIMIT).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        CliError::new(format!(
            "context {name:?}: context not found: open {}: {why}",
            path.display()
        ))
    })?;
    let file: ContextFile = serde_json::from_slice(&text)
        .map_err(|error| CliError::new(format!("context {name:?}: {}: {error}", path.display())))?;
    let Some(docker) = file.endpoints.get("docker") else {
        return Err(CliError::new(format!("context {name:?} has no docker endpoint")));
    };
    let material = contexts.join("tls").join(&id).join("docker");
    let file = |name: &str| Some(material.join(name)).filter(|path| path.exists());
    let tls = material.is_dir().then(|| TlsFiles {
        authorities: file("ca.pem"),
        identity: file("cert.pem").zip(file("key.pem")),
        verify: !docker.skip_verify,
    });
    Ok(Target { endpoint: endpoint(&docker.host)?, tls })
}
