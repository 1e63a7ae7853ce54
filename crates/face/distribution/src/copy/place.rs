//! Where an image is, or is to be: what the user writes.

use std::path::PathBuf;

use ferry_cli::face::CliError;
use ferry_oci::Reference;

use crate::registry;

/// A place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `docker://name`, or only `name`: at a registry.
    Registry(Reference),
    /// `docker-daemon:name`: in the daemon of this command line.
    Daemon(Reference),
    /// `ssh://[user@]host[:port]/name`: in the daemon of another machine; the first is what `-H` would say.
    Ssh(String, Reference),
    /// `docker-archive:file[:name]`: what `save` writes.
    Archive(PathBuf, Option<Reference>),
    /// `oci:directory[:name]`: an OCI layout.
    Layout(PathBuf, Option<String>),
}

/// Kinds of places that other programs know, and that are refused by name.
const ELSEWHERE: [&str; 6] =
    ["containers-storage", "dir", "docker-tarball", "oci-archive", "ostree", "sif"];

impl Place {
    /// Reads what the user wrote.
    pub(super) fn parse(text: &str) -> Result<Place, CliError> {
        let (kind, rest) = text.split_once(':').unwrap_or(("", text));
        match kind {
            "docker" if rest.starts_with("//") => {
                registry::name(rest.trim_start_matches('/')).map(Place::Registry)
            }
            "ssh" => {
                let (host, name) = rest
                    .strip_prefix("//")
                    .and_then(|rest| rest.split_once('/'))
                    .filter(|(host, name)| !host.is_empty() && !name.is_empty())
                    .ok_or_else(|| {
                        CliError::new(format!("{text:?} is no ssh://[USER@]HOST[:PORT]/NAME"))
                    })?;
                Ok(Place::Ssh(format!("ssh://{host}"), registry::name(name)?))
            }
            "docker-daemon" => registry::name(rest).map(Place::Daemon),
            "docker-archive" => {
                let (path, name) = split(text, rest)?;
                Ok(Place::Archive(path, name.map(registry::name).transpose()?))
            }
            "oci" => {
                let (path, name) = split(text, rest)?;
                Ok(Place::Layout(path, name.map(str::to_owned)))
            }
            other if ELSEWHERE.contains(&other) => Err(CliError::new(format!(
                "not supported: {other}: in {text:?}"
            ))
            .with_hint(
                "write docker://NAME, docker-daemon:NAME, ssh://HOST/NAME, docker-archive:FILE[:NAME] or oci:DIRECTORY[:NAME]",
            )),
            // A registry may have a port, and a name a tag.
            _ => registry::name(text).map(Place::Registry),
        }
    }
}

/// A path and what stands behind it.
fn split<'a>(whole: &str, rest: &'a str) -> Result<(PathBuf, Option<&'a str>), CliError> {
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) => (path, Some(name).filter(|name| !name.is_empty())),
        None => (rest, None),
    };
    if path.is_empty() {
        return Err(CliError::new(format!("{whole:?} names no file")));
    }
    Ok((PathBuf::from(path), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Reference {
        Reference::parse(text).unwrap().with_default_tag()
    }

    #[test]
    fn places_are_read() {
        let read = |text: &str| Place::parse(text).unwrap();
        assert_eq!(read("nginx"), Place::Registry(name("nginx:latest")));
        assert_eq!(read("localhost:5000/a"), Place::Registry(name("localhost:5000/a:latest")));
        assert_eq!(read("docker://r.example/a:1"), Place::Registry(name("r.example/a:1")));
        assert_eq!(read("docker-daemon:a:2"), Place::Daemon(name("a:2")));
        assert_eq!(read("docker-archive:x.tar"), Place::Archive("x.tar".into(), None));
        assert_eq!(
            read("ssh://me@there:22/team/a:2"),
            Place::Ssh("ssh://me@there:22".into(), name("team/a:2"))
        );
        assert_eq!(
            read("docker-archive:/x.tar:r.example:5000/a:1"),
            Place::Archive("/x.tar".into(), Some(name("r.example:5000/a:1")))
        );
        assert_eq!(read("oci:dir:v1"), Place::Layout("dir".into(), Some("v1".into())));
        for wrong in
            ["", "oci:", "docker-archive::a", "dir:x", "ssh://host", "ssh:///a", "docker://", "A"]
        {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
