//! Where images come from: dockerd's `registry-mirrors` and `insecure-registries`, and for every other registry
//! `config.toml`.

use std::path::PathBuf;

use ferry_engine::{RegistryConfig, SignatureRule, VerifyKey};

use super::own_file::{self, FILE, Signatures};

/// Largest file with a key.
const MAX_KEY: u64 = 64 << 10;

/// Puts together what flags and the file say.
pub(super) fn read(mirrors: &[String], insecure: &[String]) -> Result<RegistryConfig, String> {
    let file = own_file::read()?;
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
    // One that no name can have would let everything in.
    if !SignatureRule::is_prefix(&prefix) {
        return Err(wrong(
            "a prefix begins with a registry's name, such as docker.io, and goes on with whole parts of images' names",
        ));
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
    use std::path::Path;

    use super::*;

    #[test]
    fn a_mirror_is_a_url() {
        assert!(check_url("https://mirror.example.org").is_ok());
        assert!(check_url("mirror.example.org").is_err());
    }

    #[test]
    fn the_file_says_what_must_be_signed() {
        let key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEefjmdxGGNTQ09KMWx37SVjWL18ld\n+i5jKb+O/MStyY1AeNUk97doBFrCmElO3NrbZDWJwCJ6y9hgTdTb6UyDMg==\n-----END PUBLIC KEY-----\n";
        let path = std::env::temp_dir().join(format!("ferry-key-{}.pub", std::process::id()));
        std::fs::write(&path, key).unwrap();
        let of = |prefix: &str, path: &Path| {
            let text = format!("[[signatures]]\nprefix = \"{prefix}\"\nkeys = [{path:?}]");
            own_file::parse(&text).unwrap().signatures.into_iter().map(rule).next().unwrap()
        };
        let read = of("r.example/team", &path).unwrap();
        assert_eq!((read.prefix.as_str(), read.keys.len()), ("r.example/team", 1));
        for prefix in ["team", "https://r.example", "r.example/team:1", ""] {
            assert!(of(prefix, &path).unwrap_err().contains("begins with a registry's name"));
        }
        let missing = of("r.example", Path::new("/no/such/key")).unwrap_err();
        assert!(missing.contains("/no/such/key: "), "{missing}");
        std::fs::write(&path, "no key").unwrap();
        assert!(of("r.example", &path).unwrap_err().contains("public key of ECDSA P-256"));
        std::fs::remove_file(path).unwrap();
        let none = own_file::parse("[[signatures]]\nprefix = \"r.example\"\nkeys = []").unwrap();
        assert!(rule(none.signatures.into_iter().next().unwrap()).is_err());
    }
}
