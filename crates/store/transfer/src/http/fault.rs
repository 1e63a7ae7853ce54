//! Why no answer came, in the words of Go's network library: users and programs know them from Docker.

use std::{io, net::SocketAddr, time::Duration};

use ferry_errkind::{ErrorKind, Kinded};

use super::location::Location;

/// A request got no whole answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{method} \"{url}\": {fault}")]
pub struct RequestError {
    /// `Get`, `Post`.
    pub method: &'static str,
    /// Where to.
    pub url: String,
    /// Why not.
    pub fault: Fault,
}

/// What happened to a connection.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The name has no address.
    #[error("dial tcp: lookup {host}: no such host")]
    Lookup {
        /// The name.
        host: String,
    },
    /// Nobody there.
    #[error("dial tcp {address}: connect: {reason}")]
    Connect {
        /// The last address that was tried.
        address: SocketAddr,
        /// The kernel's words.
        reason: String,
    },
    /// No answer to the call.
    #[error("dial tcp {address}: i/o timeout")]
    ConnectTimeout {
        /// The last address that was tried.
        address: SocketAddr,
    },
    /// It does not speak TLS.
    #[error("http: server gave HTTP response to HTTPS client")]
    NotTls,
    /// It cannot show who it is.
    #[error("tls: failed to verify certificate: x509: {0}")]
    Certificate(String),
    /// TLS failed in another way.
    #[error("tls: {0}")]
    Tls(String),
    /// A file for TLS is of no use.
    #[error("{0}")]
    TlsFiles(String),
    /// The proxy did not let us through.
    #[error("proxyconnect tcp: {0}")]
    Proxy(String),
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
    /// No byte came for a long time.
    #[error("no data came for {} seconds", .0.as_secs())]
    Stalled(Duration),
    /// More came than may.
    #[error("the answer is larger than the limit of {0} bytes")]
    TooLarge(usize),
    /// The server leads from one place to the next without end.
    #[error("stopped after {0} redirects")]
    Redirects(usize),
    /// The server leads somewhere that must not be followed.
    #[error("refused to follow a redirect to \"{0}\"")]
    Redirect(String),
}

impl RequestError {
    pub(crate) fn new(method: &'static str, location: &Location, fault: Fault) -> RequestError {
        // Docker pings a registry before all else, so that is the address that people find in their searches. What
        // comes after a query may be a signature that works as a credential.
        let url = if fault.before_request() && location.path.starts_with("/v2/") {
            location.origin.at("/v2/").to_string()
        } else {
            location.to_string().split('?').next().unwrap_or_default().to_owned()
        };
        RequestError { method, url, fault }
    }

    /// Whether nobody answered, or the answer broke off.
    pub(crate) fn is_broken(&self) -> bool {
        self.fault.before_request() || self.fault.is_passing()
    }
}

impl Fault {
    /// The server cannot have seen the request.
    pub(crate) fn before_request(&self) -> bool {
        matches!(
            self,
            Fault::Lookup { .. }
                | Fault::Connect { .. }
                | Fault::ConnectTimeout { .. }
                | Fault::NotTls
                | Fault::Certificate(_)
                | Fault::Tls(_)
                | Fault::TlsFiles(_)
                | Fault::Proxy(_)
        )
    }

    /// Trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Fault::Connect { .. }
            | Fault::ConnectTimeout { .. }
            | Fault::Lookup { .. }
            | Fault::Proxy(_)
            | Fault::Broken(_)
            | Fault::Stalled(_) => true,
            Fault::NotTls
            | Fault::Certificate(_)
            | Fault::Tls(_)
            | Fault::TlsFiles(_)
            | Fault::TooLarge(_)
            | Fault::Redirects(_)
            | Fault::Redirect(_) => false,
        }
    }

    pub(crate) fn connect(address: SocketAddr, error: &io::Error) -> Fault {
        if error.kind() == io::ErrorKind::TimedOut {
            return Fault::ConnectTimeout { address };
        }
        Fault::Connect { address, reason: go_words(error) }
    }

    pub(crate) fn broken(error: &(dyn std::error::Error + 'static)) -> Fault {
        if let Some(error) = find::<hyper::Error>(error)
            && error.is_incomplete_message()
        {
            return Fault::Broken("unexpected EOF".to_owned());
        }
        match find::<io::Error>(error) {
            Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Fault::Broken("unexpected EOF".to_owned())
            }
            Some(error) => Fault::Broken(go_words(error)),
            None => Fault::Broken(ferry_errkind::chain(error)),
        }
    }

    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<String> {
        let words = match self {
            Fault::Lookup { .. } => "check the registry's name and this machine's DNS settings",
            Fault::Connect { .. } | Fault::ConnectTimeout { .. } => {
                "check that the registry runs and that this machine can reach it"
            }
            Fault::NotTls => {
                "the registry speaks plain HTTP: if you trust the network, add it to the insecure registries"
            }
            Fault::Certificate(_) => {
                "put the registry's authority in /etc/ferry/certs.d/<host:port>/ca.crt"
            }
            Fault::Proxy(_) => "check the HTTPS_PROXY and NO_PROXY of the daemon",
            _ => return None,
        };
        Some(words.to_owned())
    }
}

impl Kinded for RequestError {
    fn kind(&self) -> ErrorKind {
        // Docker answers 500 to all of these.
        ErrorKind::Internal
    }

    fn hint(&self) -> Option<String> {
        self.fault.hint()
    }
}

/// The kernel's words as Go prints them.
fn go_words(error: &io::Error) -> String {
    let words = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset by peer",
        io::ErrorKind::BrokenPipe => "broken pipe",
        io::ErrorKind::NetworkUnreachable => "network is unreachable",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::TimedOut => "connection timed out",
        _ => return error.to_string(),
    };
    words.to_owned()
}

fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
