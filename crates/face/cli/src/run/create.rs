//! Making a container: the pull before it, if one is needed, and what is told about it.

use std::{
    fs::{self, File},
    io::Write,
    net::IpAddr,
};

use ferry_client::Client;
use ferry_docker_api::{
    ApiVersion, ContainerCreateRequest, ContainerCreated, JsonMessage, Version,
};
use ferry_oci::Reference;

use super::{api_socket, progress, pull::name_and_tag};
use crate::{
    commands::trusts_only_signed,
    config::registry_auth,
    framework::{Cli, CliError, Matches, quote, window_size},
};

/// Refuses a `--pull` that is none.
pub(crate) fn check_pull(matches: &Matches) -> Result<(), CliError> {
    match matches.text("pull") {
        "always" | "missing" | "never" | "" => Ok(()),
        other => Err(CliError::new(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

/// Refuses what cannot be honoured: signatures of the old kind are checked by nobody here, so images that need one are none.
pub(crate) fn check_unsupported(cli: &Cli, matches: &Matches) -> Result<(), CliError> {
    let image = Reference::parse(matches.arg(0));
    let exact = image.is_ok_and(|image| image.digest().is_some());
    if !exact && trusts_only_signed(cli, matches) {
        return Err(CliError::new("content trust (Notary v1) is not supported"));
    }
    Ok(())
}

/// An error of these commands: `docker: …`, and where help is.
pub(crate) fn with_help(cli: &Cli, command: &str, error: CliError) -> CliError {
    let program = cli.program();
    error.map_message(|words| {
        format!("{program}: {words}\n\nRun '{program} {command} --help' for more information")
    })
}

/// Creates the container, after a pull where the image is missing; its id.
pub(crate) async fn create(
    cli: &Cli,
    client: &Client,
    request: &mut ContainerCreateRequest,
    matches: &Matches,
) -> Result<String, CliError> {
    let id_file = IdFile::new(matches.text("cidfile"))?;
    let image = Image::new(cli, &request.config.image, matches)?;
    if matches.text("pull") == "always" {
        image.pull(cli, client).await?;
    }
    if let (Some(host), Some(size)) =
        (&mut request.host_config, window_size(rustix::stdio::stdout()))
    {
        host.console_size = [u32::from(size.rows), u32::from(size.columns)];
    }
    container_wide_mac(client, request).await?;
    let credentials = api_socket::prepare(cli, client, request, matches)?;
    if matches.is_set("health-on-failure") {
        acts_on_health(client).await?;
    }
    let request = &*request;
    let send = || {
        client
            .post("/containers/create")
            .query_if(!matches.text("name").is_empty(), "name", matches.text("name"))
            .query_if(!image.platform.is_empty(), "platform", &image.platform)
            .json_body(request)
            .json::<ContainerCreated>()
    };
    let created = match (send().await, &image.named) {
        (Err(error), Some(named)) if error.is_not_found() && matches.text("pull") == "missing" => {
            if !image.quiet {
                cli.warn(&format!("Unable to find image '{}' locally", named.familiar()));
            }
            image.pull(cli, client).await?;
            send().await?
        }
        (result, _) => result?,
    };
    for warning in created.warnings.iter().chain(&localhost_dns(request)) {
        cli.warn(&format!("WARNING: {warning}"));
    }
    id_file.write(&created.id)?;
    credentials.put(client, &created.id).await?;
    Ok(created.id)
}

/// Other daemons take the label that `--health-on-failure` becomes, and do nothing about it.
async fn acts_on_health(client: &Client) -> Result<(), CliError> {
    let version = client.get("/version").json::<Version>().await?;
    if version.platform.name.starts_with("Ferry") {
        return Ok(());
    }
    Err(CliError::new(
        "--health-on-failure is not supported by this daemon: it is not a Ferry daemon",
    ))
}

/// A name server of the host's own is none in a container.
fn localhost_dns(request: &ContainerCreateRequest) -> Option<String> {
    let servers = request.host_config.iter().flat_map(|host| host.dns.iter().flatten());
    let address =
        servers.filter_map(|server| server.parse::<IpAddr>().ok()).find(IpAddr::is_loopback)?;
    Some(format!("Localhost DNS ({address}) may fail in containers."))
}

/// Daemons from before 1.44 know the address of a container, not of an endpoint; newer ones warn about the former.
async fn container_wide_mac(
    client: &Client,
    request: &mut ContainerCreateRequest,
) -> Result<(), CliError> {
    let mode = request.host_config.as_ref().map_or("", |host| host.network_mode.as_str());
    let endpoints = request.networking_config.iter().flat_map(|all| all.endpoints_config.iter());
    let mac = endpoints
        .filter_map(|endpoints| endpoints.get(mode)?.as_ref())
        .map(|endpoint| endpoint.mac_address.clone())
        .find(|mac| !mac.is_empty());
    if let Some(mac) = mac
        && client.negotiate().await? < ApiVersion::new(1, 44)
    {
        request.config.mac_address = mac;
    }
    Ok(())
}

/// What the container is made from.
struct Image {
    /// As the user wrote it.
    written: String,
    /// The same with a tag; `None` for an id, which cannot be pulled.
    named: Option<Reference>,
    platform: String,
    quiet: bool,
}

impl Image {
    fn new(cli: &Cli, written: &str, matches: &Matches) -> Result<Self, CliError> {
        let is_id = written.len() == 64 && written.bytes().all(|byte| byte.is_ascii_hexdigit());
        let named = if is_id {
            None
        } else {
            let reference = Reference::parse(written);
            Some(reference.map_err(|error| CliError::new(error.to_string()))?.with_default_tag())
        };
        let platform = match matches.text("platform") {
            "" => cli.env("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
            platform => platform.to_owned(),
        };
        let parts: Vec<&str> = platform.split('/').collect();
        if !platform.is_empty() && (parts.len() > 3 || parts.contains(&"")) {
            return Err(CliError::new(format!(
                "error parsing specified platform: {}: cannot parse platform specifier: invalid argument",
                quote(&platform)
            )));
        }
        Ok(Image { written: written.to_owned(), named, platform, quiet: matches.flag("quiet") })
    }

    /// Pulls it; progress goes to standard error, because standard output is the container's.
    async fn pull(&self, cli: &Cli, client: &Client) -> Result<(), CliError> {
        let (name, tag) = name_and_tag(&self.written)?;
        let auth = registry_auth(cli, &self.written)?;
        let mut call = client
            .post("/images/create")
            .query("fromImage", name)
            .query("tag", tag)
            .query_if(!self.platform.is_empty(), "platform", &self.platform);
        if !auth.is_empty() {
            call = call.header("X-Registry-Auth", auth);
        }
        let lines = call.lines::<JsonMessage>().await?;
        if self.quiet {
            progress::hide(lines).await
        } else {
            progress::show(cli, lines, true).await
        }
    }
}

/// `--cidfile`: made before the container, so that nobody finds out too late; removed again when there is no container.
struct IdFile(Option<(String, File)>);

impl IdFile {
    fn new(path: &str) -> Result<Self, CliError> {
        if path.is_empty() {
            return Ok(IdFile(None));
        }
        if fs::exists(path).unwrap_or(false) {
            return Err(CliError::new(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )));
        }
        let file = File::create(path).map_err(|error| {
            CliError::new(format!(
                "failed to create the container ID file: open {path}: {}",
                super::options::go_words(&error)
            ))
        })?;
        Ok(IdFile(Some((path.to_owned(), file))))
    }

    fn write(mut self, id: &str) -> Result<(), CliError> {
        let Some((path, mut file)) = self.0.take() else { return Ok(()) };
        file.write_all(id.as_bytes()).map_err(|error| {
            CliError::new(format!(
                "failed to write the container ID to the file: {}: {error}",
                quote(&path)
            ))
        })
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.0 {
            // There is no container that it could tell of.
            drop(fs::remove_file(path));
        }
    }
}
