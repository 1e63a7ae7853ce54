//! `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as Go's programs read them.

use std::net::IpAddr;

use base64::Engine as _;

use super::location::{Location, Origin};

/// Proxies by scheme of what is asked for, and who is asked without one.
#[derive(Clone, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exempt: Vec<String>,
}

/// One proxy.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    /// Value of `Proxy-Authorization`.
    pub(crate) authorization: Option<String>,
}

/// The authorization is a secret.
impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.origin)
    }
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies").field("http", &self.http).field("https", &self.https).finish()
    }
}

impl Proxies {
    /// As the daemon's environment has them.
    pub(crate) fn from_env() -> Proxies {
        let get = |upper: &str| {
            std::env::var(upper).ok().or_else(|| std::env::var(upper.to_ascii_lowercase()).ok())
        };
        Proxies::new(get("HTTP_PROXY"), get("HTTPS_PROXY"), get("NO_PROXY"))
    }

    pub(crate) fn new(
        http: Option<String>,
        https: Option<String>,
        exempt: Option<String>,
    ) -> Proxies {
        let read = |text: Option<String>| {
            let text = text.filter(|text| !text.is_empty())?;
            let proxy = Proxy::parse(&text);
            if proxy.is_none() {
                tracing::warn!(
                    "a proxy of the environment is ignored: only http:// proxies are supported"
                );
            }
            proxy
        };
        let exempt = exempt.unwrap_or_default();
        let entries = exempt.split(',').map(|entry| entry.trim().to_ascii_lowercase());
        Proxies {
            http: read(http),
            https: read(https),
            exempt: entries.filter(|entry| !entry.is_empty()).collect(),
        }
    }

    /// The proxy for an origin. This machine itself is never asked by way of a proxy.
    pub(crate) fn of(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.https { self.https.as_ref() } else { self.http.as_ref() }?;
        let address = origin.host.parse::<IpAddr>().ok();
        if origin.host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        let exempt = self.exempt.iter().any(|entry| is_exempt(entry, origin));
        (!exempt).then_some(proxy)
    }
}

/// `*`, `host`, `.domain`, `host:port`, an address. A host stands for what is below it too.
fn is_exempt(entry: &str, origin: &Origin) -> bool {
    if entry == "*" {
        return true;
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, port.parse::<u16>().ok()),
        _ => (entry, None),
    };
    if port.is_some_and(|port| port != origin.port) {
        return false;
    }
    let name = name.trim_start_matches('*').trim_start_matches('.');
    origin.host == name
        || origin
            .host
            .strip_suffix(name)
            .is_some_and(|before| before.ends_with('.') && !name.is_empty())
}

impl Proxy {
    fn parse(text: &str) -> Option<Proxy> {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let rest = text.strip_prefix("http://")?;
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let origin = Location::parse(&format!("http://{host}"))?.origin;
        let authorization = user.map(|user| {
            let engine = base64::engine::general_purpose::STANDARD;
            format!("Basic {}", engine.encode(decoded(user)))
        });
        Some(Proxy { origin, authorization })
    }
}

/// Undoes percent encoding; what is none stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_by_way_of_whom() {
        let proxies = Proxies::new(
            None,
            Some("http://us%40er:pw@proxy:3128/".into()),
            Some("corp.example, .lan,10.0.0.1,x.y:5000".into()),
        );
        for (domain, proxied) in [
            ("registry-1.docker.io", true),
            ("corp.example", false),
            ("a.corp.example", false),
            ("xcorp.example", true),
            ("a.lan", false),
            ("10.0.0.1:5000", false),
            ("x.y:5000", false),
            ("x.y:5001", true),
            ("127.0.0.1:5000", false),
            ("localhost", false),
        ] {
            let origin = Origin::of_domain(domain, true).unwrap();
            assert_eq!(proxies.of(&origin).is_some(), proxied, "{domain}");
        }
        let proxy = proxies.of(&Origin::of_domain("h", true).unwrap()).unwrap();
        assert_eq!(proxy.origin.to_string(), "http://proxy:3128");
        assert_eq!(proxy.authorization.as_deref(), Some("Basic dXNAZXI6cHc="));
        assert!(proxies.of(&Origin::of_domain("h", false).unwrap()).is_none());
    }
}
