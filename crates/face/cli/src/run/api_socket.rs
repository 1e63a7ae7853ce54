//! `--use-api-socket`: the daemon's socket inside the container, and what we are to registries beside it.

use ferry_archive::{Entry, TarWriter};
use ferry_client::{Client, Endpoint, path_segment};
use ferry_docker_api::{BindOptions, ContainerCreateRequest, HostConfig, Mount};
use serde_json::{Map, Value, json};

use crate::{
    config::every_registry,
    framework::{Cli, CliError, Matches},
};

/// Where programs look for the socket, and where it is if the daemon is not on this machine.
const SOCKET: &str = "/var/run/docker.sock";
/// The directory with the configuration inside.
const CONFIG: &str = "/run/secrets/docker";
/// The variable that names it.
const VARIABLE: &str = "DOCKER_CONFIG";

/// The configuration that the container gets once there is one.
pub(super) struct Credentials(Option<Vec<u8>>);

/// Asks for the mount, and looks credentials up before anything is made.
pub(super) fn prepare(
    cli: &Cli,
    client: &Client,
    request: &mut ContainerCreateRequest,
    matches: &Matches,
) -> Result<Credentials, CliError> {
    if !matches.flag("use-api-socket") {
        return Ok(Credentials(None));
    }
    let source = match client.endpoint() {
        Endpoint::Unix(path) => path.to_string_lossy().into_owned(),
        _ => SOCKET.to_owned(),
    };
    let host = request.host_config.get_or_insert_with(HostConfig::default);
    host.mounts.push(Mount {
        kind: "bind".to_owned(),
        source,
        target: SOCKET.to_owned(),
        bind_options: Some(BindOptions::default()),
        ..Mount::default()
    });
    let variables = request.config.env.get_or_insert_with(Vec::new);
    if variables.iter().any(|variable| variable.starts_with("DOCKER_CONFIG=")) {
        // Whoever says where it is brings it, too.
        return Ok(Credentials(None));
    }
    let auths: Map<String, Value> = every_registry(cli).into_iter().collect();
    if auths.is_empty() {
        return Ok(Credentials(None));
    }
    variables.push(format!("{VARIABLE}={CONFIG}"));
    Ok(Credentials(Some(json!({ "auths": auths }).to_string().into_bytes())))
}

impl Credentials {
    /// Puts them into a container that does not run yet.
    pub(super) async fn put(&self, client: &Client, id: &str) -> Result<(), CliError> {
        let Some(text) = &self.0 else { return Ok(()) };
        let failed =
            |error: std::io::Error| CliError::new(format!("cannot write an archive: {error}"));
        let size = text.len() as u64;
        let path = format!("{}/config.json", CONFIG.trim_start_matches('/')).into_bytes();
        // Nobody but the container's root reads it: there are passwords in it.
        let entry = Entry { path, mode: 0o600, size, stored: size, ..Entry::default() };
        let mut archive = TarWriter::new(Vec::new());
        archive.append_file(&entry, text.as_slice()).map_err(failed)?;
        let archive = archive.finish().map_err(failed)?;
        client
            .put(format!("/containers/{}/archive", path_segment(id)))
            .query("path", "/")
            .query("noOverwriteDirNonDir", "true")
            .bytes_body("application/x-tar", archive.into())
            .send()
            .await?;
        Ok(())
    }
}
