//! Where images come from: dockerd's `registry-mirrors` and `insecure-registries`, and for every other registry
//! `/etc/ferry/config.toml`:
//!
//! ```toml
//! [registries."quay.io"]
//! mirrors = ["https://mirror.example.org"]
//!
//! [registries."10.0.0.5:5000"]
//! insecure = true
//! ```

use std::{collections::BTreeMap, io, path::Path};

use ferry_engine::RegistryConfig;
use serde::Deserialize;

/// Where it is.
const FILE: &str = "/etc/ferry/config.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    registries: BTreeMap<String, Registry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    /// Tried in order before the registry itself.
    #[serde(default)]
    mirrors: Vec<String>,
    /// Plain HTTP and unknown certificates are fine.
    #[serde(default)]
    insecure: bool,
}

/// Puts together what flags and the file say.
pub(super) fn read(mirrors: &[String], insecure: &[String]) -> Result<RegistryConfig, String> {
    let file = match std::fs::read_to_string(Path::new(FILE)) {
        Ok(text) => parse(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => File::default(),
        Err(error) => return Err(format!("cannot read {FILE}: {error}")),
    };
    let mut config = RegistryConfig { insecure: insecure.to_vec(), ..RegistryConfig::default() };
    for mirror in mirrors {
        check_url(mirror)?;
    }
    if !mirrors.is_empty() {
        config.mirrors.insert("docker.io".to_owned(), mirrors.to_vec());
    }
    for (host, registry) in file.registries {
        if registry.insecure {
            config.insecure.push(host.clone());
        }
        if !registry.mirrors.is_empty() {
            for mirror in &registry.mirrors {
                check_url(mirror)?;
            }
            config.mirrors.entry(host).or_default().extend(registry.mirrors);
        }
    }
    Ok(config)
}

fn parse(text: &str) -> Result<File, String> {
    toml::from_str(text).map_err(|error| format!("{FILE}: {error}"))
}

fn check_url(mirror: &str) -> Result<(), String> {
    let rest = mirror.strip_prefix("https://").or_else(|| mirror.strip_prefix("http://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains(['?', '#', '@']) => Ok(()),
        _ => Err(format!(
            "invalid mirror: {mirror:?}: expected a URL such as https://mirror.example.org"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_mirrors_and_what_is_insecure() {
        let file = parse("[registries.\"quay.io\"]\nmirrors = [\"https://m\"]\n[registries.\"h:5\"]\ninsecure = true").unwrap();
        assert_eq!(file.registries["quay.io"].mirrors, ["https://m"]);
        assert!(file.registries["h:5"].insecure);
        assert!(parse("[registries.x]\nmirror = []").unwrap_err().contains("mirror"));
        assert!(check_url("mirror.example.org").is_err());
    }
}
