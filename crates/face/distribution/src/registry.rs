//! Registries, as the user of this command line reaches them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use ferry_cli::face::{Cli, CliError, registry_auth};
use ferry_docker_api::AuthConfig;
use ferry_errkind::{Kinded, chain};
use ferry_oci::Reference;
use ferry_transfer::{Client, ClientConfig, RegistryAuth, Repository, RepositoryError, Wanted};

/// A client that may do without TLS at `insecure`.
pub(crate) fn client(insecure: &[&Reference]) -> Client {
    Client::new(ClientConfig {
        user_agent: format!("Ferry-Client/{} (linux)", env!("CARGO_PKG_VERSION")),
        insecure: insecure.iter().map(|name| name.domain().to_owned()).collect(),
        ..ClientConfig::default()
    })
}

/// A repository, with the user's credentials.
pub(crate) async fn open(
    client: &Client,
    auth: Option<&RegistryAuth>,
    name: &Reference,
    wanted: Wanted<'_>,
) -> Result<Repository, RepositoryError> {
    client.repository(name, auth, wanted).await
}

/// The user's credentials for the registry of an image.
pub(crate) fn auth(cli: &Cli, name: &Reference) -> Result<Option<RegistryAuth>, CliError> {
    let header = registry_auth(cli, &name.canonical())?;
    if header.is_empty() {
        return Ok(None);
    }
    let unreadable = || CliError::new("the credentials of the configuration do not read");
    let json = URL_SAFE.decode(header).map_err(|_| unreadable())?;
    let config: AuthConfig = serde_json::from_slice(&json).map_err(|_| unreadable())?;
    let AuthConfig { username, password, identity_token, registry_token, server_address, .. } =
        config;
    Ok(Some(RegistryAuth { username, password, identity_token, registry_token, server_address }))
}

/// An image's name as the user wrote it, completed.
pub(crate) fn name(text: &str) -> Result<Reference, CliError> {
    let name = Reference::parse(text).map_err(|error| CliError::new(error.to_string()))?;
    Ok(name.with_default_tag())
}

/// What a manifest is asked for by: the digest of a name, or else its tag.
pub(crate) fn wanted(name: &Reference) -> String {
    match name.digest() {
        Some(digest) => digest.to_string(),
        None => name.tag().unwrap_or("latest").to_owned(),
    }
}

/// A failure with what to do about it.
pub(crate) fn failed<E: std::error::Error + Kinded + 'static>(error: &E) -> CliError {
    let words = CliError::new(chain(error));
    match error.hint() {
        Some(hint) => words.with_hint(hint),
        None => words,
    }
}
