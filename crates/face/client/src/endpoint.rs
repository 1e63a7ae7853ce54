//! Where a daemon listens, as `-H` and `DOCKER_HOST` say it.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where a daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:///path`.
    Unix(PathBuf),
    /// `tcp://host:port`; the base path behind it is mostly empty.
    Tcp {
        /// Name or address; without brackets.
        host: String,
        /// Port.
        port: u16,
        /// As it was written, for messages.
        written: String,
    },
}

/// The text names no place where a daemon could listen. The words are docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// No protocol that is known.
    #[error("invalid bind address format: {0}")]
    Format(String),
    /// No port, or no number.
    #[error("invalid bind address ({0}): {1}")]
    Address(String, &'static str),
    /// `ssh://`.
    #[error("connections over ssh are not supported: {0}")]
    Ssh(String),
    /// `npipe://` and `fd://`.
    #[error("protocol not available: {0}")]
    Protocol(String),
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let text = text.trim();
        let (protocol, rest) = match text.split_once("://") {
            Some(split) => split,
            None if text.is_empty() => return Err(InvalidEndpoint::Format(text.to_owned())),
            None => ("tcp", text),
        };
        match protocol {
            "unix" if rest.contains("://") => Err(InvalidEndpoint::Format(text.to_owned())),
            "unix" if rest.is_empty() => Ok(Endpoint::Unix(PathBuf::from("/var/run/docker.sock"))),
            "unix" => Ok(Endpoint::Unix(PathBuf::from(rest))),
            "tcp" | "http" | "https" => tcp(rest),
            "ssh" => Err(InvalidEndpoint::Ssh(text.to_owned())),
            "npipe" | "fd" => Err(InvalidEndpoint::Protocol(protocol.to_owned())),
            _ => Err(InvalidEndpoint::Format(text.to_owned())),
        }
    }
}

fn tcp(rest: &str) -> Result<Endpoint, InvalidEndpoint> {
    let wrong = |why| InvalidEndpoint::Address(rest.to_owned(), why);
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, port) = inner.split_once(']').ok_or_else(|| wrong("missing ']'"))?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => authority.rsplit_once(':').unwrap_or((authority, "")),
    };
    let host = if host.is_empty() { "localhost" } else { host };
    let port = match port {
        "" => 2375,
        port => port.parse().map_err(|_| wrong("invalid port"))?,
    };
    let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Ok(Endpoint::Tcp { host: host.to_owned(), port, written: format!("tcp://{shown}:{port}") })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp { written, .. } => f.write_str(written),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_host_may_say() {
        for (text, shown) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("unix://", "unix:///var/run/docker.sock"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("tcp://[::1]:2376", "tcp://[::1]:2376"),
            ("tcp://:2375", "tcp://localhost:2375"),
            ("example:80", "tcp://example:80"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_it_may_not() {
        for (text, words) in [
            ("foo://", "invalid bind address format: foo://"),
            ("ssh://a@b", "connections over ssh are not supported: ssh://a@b"),
            ("tcp://a:x", "invalid bind address (a:x): invalid port"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap_err().to_string(), words);
        }
    }
}
