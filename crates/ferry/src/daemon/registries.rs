//! Where images come from: dockerd's `registry-mirrors` and `insecure-registries`, and for every other registry
//! `config.toml`.

use ferry_engine::RegistryConfig;

use super::own_file;

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
    Ok(config)
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
    fn a_mirror_is_a_url() {
        assert!(check_url("https://mirror.example.org").is_ok());
        assert!(check_url("mirror.example.org").is_err());
    }
}
