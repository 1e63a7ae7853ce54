//! Who asks: credentials, and what a registry makes of them.

mod challenge;
mod token;

use std::fmt;

use base64::Engine as _;
use ferry_oci::{Digest, Hasher};

pub use self::challenge::{Challenge, parse_challenges};
pub use self::token::TokenError;
pub(crate) use self::token::{Realm, Tokens, Wish};
use crate::http::Location;

/// Docker Hub's name in `config.json` and on the command line.
pub(crate) const HUB_SERVER: &str = "https://index.docker.io/v1/";
/// Docker Hub's name in references.
pub(crate) const HUB_DOMAIN: &str = "docker.io";
/// Where Docker Hub really is.
pub(crate) const HUB_HOST: &str = "registry-1.docker.io";

/// Credentials for one registry. What is not there is empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// A token to get bearer tokens with, instead of a password.
    pub identity_token: String,
    /// A bearer token.
    pub registry_token: String,
    /// The registry: host, or URL. Empty is whatever is asked.
    pub server_address: String,
}

/// The answer to a successful login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthOutcome {
    /// `Login Succeeded`.
    pub status: String,
    /// A token to keep instead of the password; may be empty.
    pub identity_token: String,
}

/// Secrets are not for logs.
impl fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = |value: &str| if value.is_empty() { "" } else { "<hidden>" };
        f.debug_struct("RegistryAuth")
            .field("username", &self.username)
            .field("password", &secret(&self.password))
            .field("identity_token", &secret(&self.identity_token))
            .field("registry_token", &secret(&self.registry_token))
            .field("server_address", &self.server_address)
            .finish()
    }
}

impl RegistryAuth {
    /// Whether there is anything in it.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.username.is_empty() && self.identity_token.is_empty() && self.registry_token.is_empty()
    }

    /// Whether these credentials are for a registry, by its name in references.
    pub(crate) fn is_for(&self, domain: &str) -> bool {
        self.server_address.is_empty() || domain_of(&self.server_address) == domain_of(domain)
    }

    /// The value of `Authorization: Basic`.
    pub(crate) fn basic(&self) -> Option<String> {
        if self.username.is_empty() {
            return None;
        }
        let pair = format!("{}:{}", self.username, self.password);
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }

    /// Tells credentials apart without keeping them.
    pub(crate) fn fingerprint(&self) -> Digest {
        let mut hasher = Hasher::new();
        for field in [&self.username, &self.password, &self.identity_token] {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field.as_bytes());
        }
        hasher.finish()
    }
}

/// The domain that a server address means: `https://index.docker.io/v1/` is `docker.io`.
pub(crate) fn domain_of(address: &str) -> String {
    let address = address.trim();
    let address = address.strip_prefix("https://").unwrap_or(address);
    let address = address.strip_prefix("http://").unwrap_or(address);
    let host = address.split('/').next().unwrap_or(address).to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host);
    match host {
        "" | "index.docker.io" | "registry-1.docker.io" | "www.docker.io" => HUB_DOMAIN.to_owned(),
        other => other.to_owned(),
    }
}

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// With name and password each time.
    Basic,
    /// With a token from elsewhere.
    Bearer(Realm),
}

impl Scheme {
    /// The best of what a registry offers that Ferry can do.
    pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Scheme> {
        let challenges: Vec<Challenge> = headers.flat_map(parse_challenges).collect();
        let bearer = challenges.iter().filter(|challenge| challenge.scheme == "bearer");
        for challenge in bearer {
            let realm = challenge.parameter("realm").and_then(Location::parse);
            if let Some(location) = realm {
                let service = challenge.parameter("service").unwrap_or_default().to_owned();
                return Some(Scheme::Bearer(Realm { location, service }));
            }
        }
        challenges.iter().any(|challenge| challenge.scheme == "basic").then_some(Scheme::Basic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_credentials_are_for() {
        let auth =
            |server: &str| RegistryAuth { server_address: server.into(), ..Default::default() };
        assert!(auth(HUB_SERVER).is_for("docker.io"));
        assert!(auth("").is_for("ghcr.io"));
        assert!(auth("https://ghcr.io/").is_for("ghcr.io"));
        assert!(!auth("ghcr.io").is_for("ghcr.io.evil.com"));
        assert!(!auth(HUB_SERVER).is_for("127.0.0.1:5000"));
    }

    #[test]
    fn secrets_do_not_show() {
        let auth = RegistryAuth {
            username: "me".into(),
            password: "s3cret".into(),
            identity_token: "t0ken".into(),
            registry_token: "t1ken".into(),
            server_address: String::new(),
        };
        let shown = format!("{auth:?}");
        assert!(shown.contains("me") && !shown.contains("s3cret"), "{shown}");
        assert!(!shown.contains("t0ken") && !shown.contains("t1ken"), "{shown}");
    }
}
