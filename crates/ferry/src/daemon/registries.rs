//! Where images come from: dockerd's `registry-mirrors` and `insecure-registries`, and for every other registry
//! `/etc/ferry/config.toml`:
//!
//! ```toml
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

use ferry_engine::{RegistryConfig, SignatureRule, VerifyKey};
use serde::Deserialize;

/// Where it is.
const FILE: &str = "/etc/ferry/config.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    registries: BTreeMap<String, Registry>,
    #[serde(default)]
    signatures: Vec<Signatures>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signatures {
    /// Whose images must be signed: a registry, or more of a name.
    prefix: String,
    /// Files with public keys, one of which is enough.
    keys: Vec<PathBuf>,
}

/// Largest file with a key.
const MAX_KEY: u64 = 64 << 10;

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
    config.signatures = file.signatures.into_iter().map(rule).collect::<Result<_, _>>()?;
    Ok(config)
}

/// A rule with its keys. A key that cannot be read ends the daemon: without it, nothing of the registry could be pulled, and why
/// would be known only then.
fn rule(Signatures { prefix, keys }: Signatures) -> Result<SignatureRule, String> {
    let wrong = |why: &str| format!("{FILE}: signatures: {prefix:?}: {why}");
    let host = prefix.split('/').next().unwrap_or_default();
    let is_host = host == "localhost" || host.contains(['.', ':']);
    if !is_host || prefix.contains(char::is_whitespace) || prefix.contains("://") {
        return Err(wrong("a prefix begins with a registry's name, such as docker.io"));
    }
    if keys.is_empty() {
        return Err(wrong("it needs the file of a key"));
    }
    let read = |path: &PathBuf| {
        let failed = |why: String| wrong(&format!("{}: {why}", path.display()));
        let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
        if size > MAX_KEY {
            return Err(failed("it is too large for a key".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        text.parse::<VerifyKey>().map_err(|error| failed(error.to_string()))
    };
    let keys = keys.iter().map(read).collect::<Result<_, _>>()?;
    Ok(SignatureRule { prefix, keys })
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

    #[test]
    fn the_file_says_what_must_be_signed() {
        let key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEefjmdxGGNTQ09KMWx37SVjWL18ld\n+i5jKb+O/MStyY1AeNUk97doBFrCmElO3NrbZDWJwCJ6y9hgTdTb6UyDMg==\n-----END PUBLIC KEY-----\n";
        let path = std::env::temp_dir().join(format!("ferry-key-{}.pub", std::process::id()));
        std::fs::write(&path, key).unwrap();
        let of = |prefix: &str, path: &Path| {
            let text = format!("[[signatures]]\nprefix = \"{prefix}\"\nkeys = [{path:?}]");
            parse(&text).unwrap().signatures.into_iter().map(rule).next().unwrap()
        };
        let read = of("r.example/team", &path).unwrap();
        assert_eq!((read.prefix.as_str(), read.keys.len()), ("r.example/team", 1));
        for prefix in ["team", "https://r.example", ""] {
            assert!(of(prefix, &path).unwrap_err().contains("begins with a registry's name"));
        }
        let missing = of("r.example", Path::new("/no/such/key")).unwrap_err();
        assert!(missing.contains("/no/such/key: "), "{missing}");
        std::fs::write(&path, "no key").unwrap();
        assert!(of("r.example", &path).unwrap_err().contains("public key of ECDSA P-256"));
        std::fs::remove_file(path).unwrap();
        let none = parse("[[signatures]]\nprefix = \"r.example\"\nkeys = []").unwrap();
        assert!(rule(none.signatures.into_iter().next().unwrap()).is_err());
    }
}
