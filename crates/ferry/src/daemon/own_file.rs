//! `/etc/ferry/config.toml`: what Docker's file has no words for.
//!
//! ```toml
//! names = true
//! firewall = "respect"
//!
//! [registries."quay.io"]
//! mirrors = ["https://mirror.example.org"]
//!
//! [registries."10.0.0.5:5000"]
//! insecure = true
//!
//! [[signatures]]
//! prefix = "registry.example.com/team"
//! keys = ["/etc/ferry/keys/team.pub"]
//! ```

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Where it is.
pub(super) const FILE: &str = "/etc/ferry/config.toml";

/// What it says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct OwnFile {
    /// Registries by host.
    #[serde(default)]
    pub(super) registries: BTreeMap<String, Registry>,
    /// Whose images must be signed.
    #[serde(default)]
    pub(super) signatures: Vec<Signatures>,
    /// `own` or `respect`: whether the host's rules hold for published ports.
    pub(super) firewall: Option<String>,
    /// Containers answer by name on this machine.
    pub(super) names: Option<bool>,
    /// Addresses of the proxy.
    pub(super) names_http: Option<Vec<String>>,
    /// Addresses of the proxy with TLS.
    pub(super) names_https: Option<Vec<String>>,
    /// Addresses of the resolver.
    pub(super) names_dns: Option<Vec<String>>,
}

/// How a registry is asked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    /// Tried in order before the registry itself.
    #[serde(default)]
    pub(super) mirrors: Vec<String>,
    /// Plain HTTP and unknown certificates are fine.
    #[serde(default)]
    pub(super) insecure: bool,
}

/// Images that are pulled only if a key signed them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signatures {
    /// A registry, or more of a name.
    pub(super) prefix: String,
    /// Files with public keys, one of which is enough.
    pub(super) keys: Vec<PathBuf>,
}

/// Reads it; one that is not there says nothing.
pub(super) fn read() -> Result<OwnFile, String> {
    match std::fs::read_to_string(Path::new(FILE)) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(OwnFile::default()),
        Err(error) => Err(format!("cannot read {FILE}: {error}")),
    }
}

pub(super) fn parse(text: &str) -> Result<OwnFile, String> {
    toml::from_str(text).map_err(|error| format!("{FILE}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_mirrors_and_what_is_insecure() {
        let file = parse("[registries.\"quay.io\"]\nmirrors = [\"https://m\"]\n[registries.\"h:5\"]\ninsecure = true").unwrap();
        assert_eq!(file.registries["quay.io"].mirrors, ["https://m"]);
        assert!(file.registries["h:5"].insecure);
        assert_eq!(file.names, None);
        assert!(parse("[registries.x]\nmirror = []").unwrap_err().contains("mirror"));
    }

    #[test]
    fn the_file_says_whether_there_are_names() {
        let file =
            parse("names = true\nnames-http = [\"127.0.0.1:8080\"]\nnames-https = []").unwrap();
        assert_eq!(file.names, Some(true));
        assert_eq!(parse("firewall = \"respect\"").unwrap().firewall.unwrap(), "respect");
        assert_eq!(file.names_http.unwrap(), ["127.0.0.1:8080"]);
        assert!(file.names_https.unwrap().is_empty() && file.names_dns.is_none());
        assert!(parse("name = true").unwrap_err().contains("name"));
    }
}
