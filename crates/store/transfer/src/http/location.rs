//! Where a request goes.

use std::fmt;

use http::Uri;

/// Longest URL that is followed.
const MAX_URL: usize = 8192;

/// Scheme, host and port: what connections, credentials and TLS settings belong to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin {
    pub(crate) https: bool,
    /// Without the brackets of an IPv6 address; lower case.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// An origin, a path and a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    pub(crate) origin: Origin,
    /// Starts with a slash.
    pub(crate) path: String,
}

impl Origin {
    /// From `host`, `host:port` or `[address]:port`.
    pub(crate) fn of_domain(domain: &str, https: bool) -> Option<Origin> {
        Location::parse(&format!("{}://{domain}/", scheme(https))).map(|location| location.origin)
    }

    /// `host`, or `host:port` where the port is not the scheme's.
    pub(crate) fn authority(&self) -> String {
        let host = bracketed(&self.host);
        if self.port == default_port(self.https) { host } else { format!("{host}:{}", self.port) }
    }

    /// `host:port`, always.
    pub(crate) fn host_and_port(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }

    pub(crate) fn at(&self, path: impl Into<String>) -> Location {
        Location { origin: self.clone(), path: path.into() }
    }
}

impl Location {
    /// Reads an absolute URL. User information is refused: it would be credentials from who knows where.
    pub(crate) fn parse(text: &str) -> Option<Location> {
        if text.len() > MAX_URL {
            return None;
        }
        // The fragment is not for servers.
        let text = text.split('#').next().unwrap_or(text);
        let uri: Uri = text.parse().ok()?;
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return None;
        }
        // `Authority::port` also has none where there is one that is no port.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => default_port(https),
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Location { origin: Origin { https, host: host.to_ascii_lowercase(), port }, path })
    }

    /// Where a `Location` header leads from here.
    pub(crate) fn join(&self, text: &str) -> Option<Location> {
        if text.len() > MAX_URL {
            return None;
        }
        if let Some(rest) = text.strip_prefix("//") {
            return Location::parse(&format!("{}://{rest}", scheme(self.origin.https)));
        }
        if text.starts_with('/') {
            return Location::parse(&format!("{}{text}", self.origin));
        }
        if text.contains("://") {
            return Location::parse(text);
        }
        let path = self.path.split('?').next().unwrap_or("/");
        let directory = path.rfind('/').map_or("/", |at| &path[..=at]);
        Location::parse(&format!("{}{directory}{text}", self.origin))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", scheme(self.https), self.authority())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

fn scheme(https: bool) -> &'static str {
    if https { "https" } else { "http" }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Encodes a value for a query or a form.
pub(crate) fn percent(value: &str) -> String {
    ferry_stdx::percent::encode(value, b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_shown() {
        for (text, shown) in [
            ("https://Example.com/v2/?a=b#c", "https://example.com/v2/?a=b"),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000/"),
            ("https://[::1]:443/x", "https://[::1]/x"),
            ("http://h?q", "http://h/?q"),
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in
            ["", "x", "ftp://x/", "https://", "https://u:p@h/", "https://h:/", "https://h:99999/"]
        {
            assert_eq!(Location::parse(text), None, "{text}");
        }
    }

    #[test]
    fn headers_lead_on() {
        let here = Location::parse("https://h:1/a/b?q=1").unwrap();
        for (text, shown) in [
            ("/c", "https://h:1/c"),
            ("c?d", "https://h:1/a/c?d"),
            ("//other/x", "https://other/x"),
            ("http://other/x", "http://other/x"),
        ] {
            assert_eq!(here.join(text).unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(here.join("file:///etc/passwd"), None);
    }
}
