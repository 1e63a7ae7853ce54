//! Where a bucket is: `s3://bucket/prefix?endpoint=…`, and what is not said there from the environment.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::http::Location;

/// Where AWS has its buckets when nobody says so.
const REGION: &str = "us-east-1";
/// The longest name that S3 takes for an object is 1024 bytes; ours need about 120.
const MAX_PREFIX: usize = 512;

/// A bucket, and how it is reached. No secrets are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketAddress {
    /// Its name.
    pub(crate) bucket: String,
    /// What all names of objects begin with: empty, or with a slash at its end.
    pub(crate) prefix: String,
    /// `None` for AWS itself.
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    /// The bucket's name in the path, not in the host's name. `None` where it depends on the endpoint.
    pub(crate) path_style: Option<bool>,
    /// Without TLS, although others are on the way.
    pub(crate) insecure: bool,
    /// A file in the form of AWS's `credentials`.
    pub(crate) credentials: Option<PathBuf>,
    /// Whether what another directory left in the bucket is taken over.
    take_over: bool,
}

/// A text is no bucket's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid storage \"{text}\": {why}")]
pub struct InvalidAddress {
    text: String,
    why: String,
}

impl BucketAddress {
    /// Whether what another directory left in the bucket is taken over.
    pub fn takes_over(&self) -> bool {
        self.take_over
    }

    /// Which bucket and which part of it, however it is reached.
    pub fn place(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix.trim_end_matches('/'))
    }

    /// What was not said is taken from the variables that AWS's own programs know.
    #[must_use]
    pub fn completed(mut self, variable: impl Fn(&str) -> Option<String>) -> BucketAddress {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        if self.endpoint.is_none() {
            self.endpoint = first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        }
        if self.region.is_none() {
            self.region = first(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
        }
        self
    }

    pub(crate) fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(REGION)
    }

    /// The host that is asked, and whether the bucket's name is in the path.
    pub(crate) fn endpoint(&self) -> Result<(String, bool), InvalidAddress> {
        let Some(endpoint) = &self.endpoint else {
            let host = format!("https://s3.{}.amazonaws.com", self.region());
            // A certificate for `*.host` does not stand for a name with dots.
            return Ok((host, self.path_style.unwrap_or(self.bucket.contains('.'))));
        };
        let invalid = |why: &str| InvalidAddress { text: self.to_string(), why: why.to_owned() };
        let location = Location::parse(endpoint)
            .filter(|location| location.path == "/")
            .ok_or_else(|| invalid("its endpoint is no https://HOST[:PORT]"))?;
        if !location.origin.https && !self.insecure && !is_loopback(&location.origin.host) {
            return Err(invalid(
                "without TLS everybody on the way can read and change images: use https, or add insecure=true to do it all the same",
            ));
        }
        Ok((location.origin.to_string(), self.path_style.unwrap_or(true)))
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for BucketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        let mut mark = '?';
        let mut say = |f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>| match value {
            None => Ok(()),
            Some(value) => {
                let value = ferry_stdx::percent::encode(value, b"/:.-_");
                write!(f, "{}{name}={value}", std::mem::replace(&mut mark, '&'))
            }
        };
        say(f, "endpoint", self.endpoint.as_deref())?;
        say(f, "region", self.region.as_deref())?;
        say(f, "path-style", self.path_style.map(word))?;
        say(f, "insecure", self.insecure.then_some("true"))?;
        say(f, "credentials", self.credentials.as_deref().and_then(|path| path.to_str()))
    }
}

/// A value with its `%2F` and the like made letters again.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn word(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

impl FromStr for BucketAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<BucketAddress, InvalidAddress> {
        let invalid = |why: String| InvalidAddress { text: text.to_owned(), why };
        let form = || invalid("write s3://BUCKET[/PREFIX][?endpoint=URL&region=NAME&…]".to_owned());
        let rest = text.strip_prefix("s3://").ok_or_else(form)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if bucket.is_empty() || bucket.len() > 63 || !bucket.bytes().all(named) {
            return Err(form());
        }
        let prefix = prefix.trim_end_matches('/');
        let parts = prefix.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        let letters = prefix.bytes().all(|byte| byte == b'/' || named(byte));
        if !prefix.is_empty() && (!parts || !letters || prefix.len() > MAX_PREFIX) {
            return Err(invalid(
                "a prefix is letters, digits and .-_ with slashes between".to_owned(),
            ));
        }
        let mut address = BucketAddress {
            bucket: bucket.to_owned(),
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            endpoint: None,
            region: None,
            path_style: None,
            insecure: false,
            credentials: None,
            take_over: false,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let value = decoded(value)
                .ok_or_else(|| invalid(format!("the value of {name} does not read")))?;
            let yes =
                || value.parse::<bool>().map_err(|_| invalid(format!("{name} is true or false")));
            match name {
                "endpoint" => address.endpoint = Some(value),
                "region" => address.region = Some(value),
                "path-style" => address.path_style = Some(yes()?),
                "insecure" => address.insecure = yes()?,
                "credentials" => address.credentials = Some(value.into()),
                "take-over" => address.take_over = yes()?,
                _ => return Err(invalid(format!("nothing is called {name} there"))),
            }
        }
        address.endpoint().map(|_| address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        let read = |text: &str| text.parse::<BucketAddress>().unwrap();
        let here = read("s3://images/a/b/?endpoint=http://127.0.0.1:9000&region=eu-1");
        assert_eq!(here.prefix, "a/b/");
        assert_eq!(here.endpoint().unwrap(), ("http://127.0.0.1:9000".to_owned(), true));
        assert_eq!(read(&here.to_string()), here);
        assert_eq!(here.place(), "s3://images/a/b");
        let aws = read("s3://images");
        assert_eq!(
            aws.endpoint().unwrap(),
            ("https://s3.us-east-1.amazonaws.com".to_owned(), false)
        );
        assert!(read("s3://my.images").endpoint().unwrap().1);
        let set = |name: &str| (name == "AWS_REGION").then(|| "eu-west-1".to_owned());
        assert_eq!(aws.completed(set).region(), "eu-west-1");
        assert!(read("s3://a?take-over=true").takes_over());
        for wrong in [
            "images",
            "s3://",
            "s3://a b",
            "s3://a/../b",
            "s3://a//b",
            "s3://a?endpoint=http://10.0.0.1:9000",
            "s3://a?endpoint=ftp://x",
            "s3://a?endpoint=https://x/y",
            "s3://a?secret=x",
            "s3://a?insecure=perhaps",
        ] {
            assert!(wrong.parse::<BucketAddress>().is_err(), "{wrong}");
        }
        assert!(
            "s3://a?endpoint=http://10.0.0.1:9000&insecure=true".parse::<BucketAddress>().is_ok()
        );
    }
}
