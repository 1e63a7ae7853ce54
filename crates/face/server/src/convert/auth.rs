//! Credentials.

use base64::Engine as _;
use ferry_docker_api::AuthConfig;
use ferry_engine::RegistryAuth;

/// Reads credentials. `auth` is user name and password in one, as `config.json` has them.
pub(crate) fn registry(config: AuthConfig) -> RegistryAuth {
    let AuthConfig {
        mut username,
        mut password,
        auth,
        // Unused since registries v1.
        email: _,
        server_address,
        identity_token,
        registry_token,
    } = config;
    if username.is_empty()
        && let Some((name, secret)) = split(&auth)
    {
        (username, password) = (name, secret);
    }
    RegistryAuth { username, password, identity_token, registry_token, server_address }
}

fn split(auth: &str) -> Option<(String, String)> {
    let text =
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(auth).ok()?).ok()?;
    let (name, secret) = text.split_once(':')?;
    Some((name.to_owned(), secret.trim_end_matches('\0').to_owned()))
}
