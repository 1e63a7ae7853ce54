//! Who is let in.
//!
//! A page of another site can make the user's browser send requests to loopback. So: the name that was asked for must be one of
//! ours (a name that an attacker lets point to 127.0.0.1 is not), whatever changes something must come from our own page, and
//! everything needs a cookie that only the bearer of a one-time token gets and that the browser sends from our page only.

use std::sync::{Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ferry_cli::face::CliError;
use http::{HeaderMap, Method, header};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};

/// Random bytes in a token and in a session.
const SECRET: usize = 32;
/// Browsers that may be logged in at once; the oldest goes.
const SESSIONS: usize = 16;
/// Addresses that were printed and not used yet.
const TOKENS: usize = 16;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("this server answers to its own loopback address only")]
    Host,
    #[error("requests from other sites are refused")]
    Origin,
    #[error("not logged in")]
    Session,
}

/// What the request wants, as far as who may ask it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To see something.
    Read,
    /// To change something, or to open a stream in both directions.
    Change,
}

/// Tokens and sessions of one server.
#[derive(Debug)]
pub(crate) struct Guard {
    port: u16,
    secrets: Mutex<Secrets>,
}

/// Only digests are kept, and compared: how long a comparison takes says nothing about a secret then.
#[derive(Debug, Default)]
struct Secrets {
    tokens: Vec<Vec<u8>>,
    sessions: Vec<Vec<u8>>,
}

impl Guard {
    pub(crate) fn new(port: u16) -> Result<Guard, CliError> {
        Ok(Guard { port, secrets: Mutex::default() })
    }

    /// A token that logs one browser in.
    pub(crate) fn new_token(&self) -> Result<String, CliError> {
        let token = random()?;
        keep(&mut self.secrets().tokens, hash(&token), TOKENS);
        Ok(token)
    }

    /// The cookie for a token, which is used up by it.
    pub(crate) fn log_in(&self, token: &str) -> Result<Option<String>, CliError> {
        let token = hash(token);
        let session = random()?;
        let mut secrets = self.secrets();
        let Some(place) = secrets.tokens.iter().position(|known| *known == token) else {
            return Ok(None);
        };
        secrets.tokens.remove(place);
        keep(&mut secrets.sessions, hash(&session), SESSIONS);
        let name = self.cookie_name();
        Ok(Some(format!("{name}={session}; Path=/; HttpOnly; SameSite=Strict")))
    }

    /// The name that was asked for is ours.
    pub(crate) fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
            (Some(host), None) if self.is_ours(host) => Ok(()),
            _ => Err(Refusal::Host),
        }
    }

    /// Host, origin and session.
    pub(crate) fn check(&self, headers: &HeaderMap, wish: Wish) -> Result<(), Refusal> {
        self.check_host(headers)?;
        self.check_origin(headers, wish)?;
        if self.has_session(headers) { Ok(()) } else { Err(Refusal::Session) }
    }

    fn check_origin(&self, headers: &HeaderMap, wish: Wish) -> Result<(), Refusal> {
        if let Some(site) = headers.get("sec-fetch-site")
            && !matches!(site.as_bytes(), b"same-origin" | b"none")
        {
            return Err(Refusal::Origin);
        }
        let host =
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        match headers.get(header::ORIGIN) {
            Some(origin) if origin.as_bytes() == format!("http://{host}").as_bytes() => Ok(()),
            // Browsers name the origin of everything but plain reading.
            None if wish == Wish::Read => Ok(()),
            _ => Err(Refusal::Origin),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else { return false };
        matches!(name, "127.0.0.1" | "localhost" | "[::1]") && port.parse() == Ok(self.port)
    }

    fn has_session(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie_name();
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let offered: Vec<Vec<u8>> = cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| hash(value))
            .take(4)
            .collect();
        let secrets = self.secrets();
        offered.iter().any(|session| secrets.sessions.contains(session))
    }

    /// Cookies know no ports: two desktops on one machine need two names.
    fn cookie_name(&self) -> String {
        format!("ferry-desktop-{}", self.port)
    }

    fn secrets(&self) -> std::sync::MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a method and a path want.
pub(crate) fn wish(method: &Method, upgrade: bool) -> Wish {
    if upgrade || !matches!(*method, Method::GET | Method::HEAD) {
        Wish::Change
    } else {
        Wish::Read
    }
}

fn keep(secrets: &mut Vec<Vec<u8>>, secret: Vec<u8>, limit: usize) {
    if secrets.len() >= limit {
        secrets.remove(0);
    }
    secrets.push(secret);
}

fn hash(secret: &str) -> Vec<u8> {
    digest(&SHA256, secret.as_bytes()).as_ref().to_vec()
}

/// A secret as text for addresses and cookies.
pub(crate) fn random() -> Result<String, CliError> {
    let mut bytes = [0; SECRET];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CliError::new("cannot get random bytes from the kernel"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    const OURS: (&str, &str) = ("host", "127.0.0.1:99");

    fn logged_in() -> (Guard, String) {
        let guard = Guard::new(99).unwrap();
        let token = guard.new_token().unwrap();
        let cookie = guard.log_in(&token).unwrap().unwrap();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        assert_eq!(guard.log_in(&token).unwrap(), None, "a token works once");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        (guard, cookie)
    }

    #[test]
    fn names_that_are_ours() {
        let guard = Guard::new(99).unwrap();
        for host in ["127.0.0.1:99", "localhost:99", "[::1]:99"] {
            assert_eq!(guard.check_host(&headers(&[("host", host)])), Ok(()), "{host}");
        }
        for host in ["evil.example:99", "127.0.0.1", "127.0.0.1:98", "localhost.evil:99", ""] {
            assert_eq!(guard.check_host(&headers(&[("host", host)])), Err(Refusal::Host), "{host}");
        }
        assert_eq!(guard.check_host(&HeaderMap::new()), Err(Refusal::Host));
        let two = headers(&[OURS, ("host", "evil.example")]);
        assert_eq!(guard.check_host(&two), Err(Refusal::Host));
    }

    #[test]
    fn other_sites() {
        let (guard, cookie) = logged_in();
        let check = |more: &[(&'static str, &str)], wish| {
            let mut all = headers(&[OURS, ("cookie", &cookie)]);
            all.extend(headers(more));
            guard.check(&all, wish)
        };
        let own = ("origin", "http://127.0.0.1:99");
        assert_eq!(check(&[], Wish::Read), Ok(()));
        assert_eq!(check(&[own], Wish::Change), Ok(()));
        assert_eq!(check(&[own, ("sec-fetch-site", "same-origin")], Wish::Change), Ok(()));
        assert_eq!(check(&[], Wish::Change), Err(Refusal::Origin), "browsers name it");
        for origin in ["http://evil.example", "http://127.0.0.1:98", "https://127.0.0.1:99", "null"]
        {
            let other = [("origin", origin)];
            assert_eq!(check(&other, Wish::Change), Err(Refusal::Origin), "{origin}");
            assert_eq!(check(&other, Wish::Read), Err(Refusal::Origin), "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(check(&[("sec-fetch-site", site)], Wish::Read), Err(Refusal::Origin));
        }
    }

    #[test]
    fn sessions() {
        let (guard, cookie) = logged_in();
        let check = |cookie: &str| guard.check(&headers(&[OURS, ("cookie", cookie)]), Wish::Read);
        assert_eq!(check(&format!("a=b; {cookie}")), Ok(()));
        assert_eq!(check(""), Err(Refusal::Session));
        assert_eq!(check("ferry-desktop-99=guess"), Err(Refusal::Session));
        for _ in 0..SESSIONS {
            let token = guard.new_token().unwrap();
            guard.log_in(&token).unwrap().unwrap();
        }
        assert_eq!(check(&cookie), Err(Refusal::Session), "the oldest goes");
    }
}
