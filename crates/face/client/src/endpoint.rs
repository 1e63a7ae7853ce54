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
    /// `ssh://[user@]host[:port][/socket]`: a program on the other machine hands the daemon's socket over.
    Ssh(Box<SshPlace>),
}

/// A machine that ssh reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshPlace {
    /// Who to log in as.
    pub user: Option<String>,
    /// The machine.
    pub host: String,
    /// Port.
    pub port: Option<u16>,
    /// The daemon's socket there; empty is its default.
    pub socket: String,
    /// As it was written, for messages.
    pub written: String,
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
    /// `ssh://` with something that ssh would take for an option, or without a machine.
    #[error("invalid SSH URL: {0}")]
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
            "ssh" => ssh(text, rest).ok_or_else(|| InvalidEndpoint::Ssh(text.to_owned())),
            "npipe" | "fd" => Err(InvalidEndpoint::Protocol(protocol.to_owned())),
            _ => Err(InvalidEndpoint::Format(text.to_owned())),
        }
    }
}

fn ssh(text: &str, rest: &str) -> Option<Endpoint> {
    let (authority, socket) = match rest.split_once('/') {
        Some((authority, path)) if !path.is_empty() => (authority, format!("/{path}")),
        Some((authority, _)) => (authority, String::new()),
        None => (rest, String::new()),
    };
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, Some(port.parse().ok()?)),
        _ => (place, None),
    };
    let host = host.trim_matches(['[', ']']);
    let safe = |text: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c))
    };
    let plain = |path: &str| path.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    if !safe(host) || user.is_some_and(|user| !safe(user)) || !plain(&socket) {
        return None;
    }
    let (user, host) = (user.map(str::to_owned), host.to_owned());
    Some(Endpoint::Ssh(Box::new(SshPlace { user, host, port, socket, written: text.to_owned() })))
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
            Endpoint::Ssh(place) => f.write_str(&place.written),
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
            ("ssh://me@there:22/run/x.sock", "ssh://me@there:22/run/x.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_it_may_not() {
        for (text, words) in [
            ("foo://", "invalid bind address format: foo://"),
            ("ssh://-oProxyCommand=x", "invalid SSH URL: ssh://-oProxyCommand=x"),
            ("ssh://a@b/$(x)", "invalid SSH URL: ssh://a@b/$(x)"),
            ("tcp://a:x", "invalid bind address (a:x): invalid port"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap_err().to_string(), words);
        }
    }
}
