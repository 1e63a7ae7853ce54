//! Bearer tokens (distribution's token and OAuth2 specifications), kept until they expire.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ferry_oci::Digest;
use http::{HeaderValue, header::AUTHORIZATION};
use serde::Deserialize;

use super::RegistryAuth;
use crate::{
    http::{Call, Http, Location, Origin, RequestError, percent},
    refusal::Refusal,
};

/// Largest answer of a token server.
const MAX_ANSWER: usize = 1 << 20;
/// Longest token that is sent on.
const MAX_TOKEN: usize = 64 << 10;
/// How long a token lasts that does not say so, and the least that is believed.
const LEAST_LIFE: Duration = Duration::from_secs(60);
/// The most that is believed.
const MOST_LIFE: Duration = Duration::from_secs(3600);
/// A token that expires this soon may do so on its way.
const MARGIN: Duration = Duration::from_secs(10);
/// Most tokens that are kept.
const MAX_KEPT: usize = 1024;
/// What we call ourselves; token servers know this one.
const CLIENT_ID: &str = "docker";

/// Who hands out tokens, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Realm {
    pub(crate) location: Location,
    pub(crate) service: String,
}

/// Tokens that were handed out.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<Key, Kept>>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    realm: Realm,
    scope: String,
    who: Option<Digest>,
}

struct Kept {
    token: String,
    until: Instant,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").field("until", &self.until).finish_non_exhaustive()
    }
}

/// A wish for a token.
pub(crate) struct Wish<'a> {
    pub(crate) http: &'a Http,
    /// The registry that sent us here.
    pub(crate) registry: &'a Origin,
    pub(crate) realm: &'a Realm,
    /// Empty for a login.
    pub(crate) scope: &'a str,
    pub(crate) auth: Option<&'a RegistryAuth>,
}

/// What a token server hands out.
pub(crate) struct Granted {
    pub(crate) token: String,
    pub(crate) identity_token: String,
    life: Duration,
}

/// No token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// The token server does not answer.
    #[error(transparent)]
    Request(RequestError),
    /// It does not want to.
    #[error("{0}")]
    Refused(Refusal),
    /// Its answer is none.
    #[error("the token server {0} sent no token")]
    NoToken(String),
    /// Credentials would travel in the clear.
    #[error("refused to send credentials to {0} without TLS")]
    Exposed(String),
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

impl Tokens {
    /// A token: a kept one or a new one.
    pub(crate) async fn get(&self, wish: &Wish<'_>) -> Result<String, TokenError> {
        let key = Key::of(wish);
        if let Some(kept) = self.kept().get(&key)
            && kept.until > Instant::now()
        {
            return Ok(kept.token.clone());
        }
        let granted = wish.fetch(false).await?;
        let until = Instant::now() + granted.life.saturating_sub(MARGIN);
        let token = granted.token.clone();
        let mut kept = self.kept();
        kept.retain(|_, kept| kept.until > Instant::now());
        if kept.len() < MAX_KEPT {
            kept.insert(key, Kept { token: granted.token, until });
        }
        Ok(token)
    }

    /// Forgets a token that the registry did not take.
    pub(crate) fn forget(&self, wish: &Wish<'_>) {
        self.kept().remove(&Key::of(wish));
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Key {
    fn of(wish: &Wish<'_>) -> Key {
        Key {
            realm: wish.realm.clone(),
            scope: wish.scope.to_owned(),
            who: wish.auth.map(RegistryAuth::fingerprint),
        }
    }
}

impl Wish<'_> {
    /// Asks for a new token. `offline` asks for an identity token too.
    pub(crate) async fn fetch(&self, offline: bool) -> Result<Granted, TokenError> {
        let target = &self.realm.location;
        if self.auth.is_some_and(|auth| !auth.is_anonymous())
            && !target.origin.https
            && (self.registry.https || target.origin.host != self.registry.host)
            && !self.http.is_insecure(&target.origin).await
        {
            return Err(TokenError::Exposed(target.origin.to_string()));
        }
        let call = match self.auth.filter(|auth| !auth.identity_token.is_empty()) {
            Some(auth) => Call::form(target.clone(), self.form(auth)),
            None => self.query(offline),
        };
        let answer = self.http.send(call).await.map_err(TokenError::Request)?;
        let (status, headers) = (answer.status, answer.headers);
        let body = answer.body.read(MAX_ANSWER).await;
        let body =
            body.map_err(|fault| TokenError::Request(RequestError::new("Get", target, fault)))?;
        if !status.is_success() {
            return Err(TokenError::Refused(Refusal::of(status, &headers, &body)));
        }
        Granted::parse(&body).ok_or_else(|| TokenError::NoToken(target.origin.to_string()))
    }

    fn form(&self, auth: &RegistryAuth) -> String {
        let mut form = format!(
            "grant_type=refresh_token&service={}&client_id={CLIENT_ID}&refresh_token={}",
            percent(&self.realm.service),
            percent(&auth.identity_token)
        );
        if !self.scope.is_empty() {
            form.push_str(&format!("&scope={}", percent(self.scope)));
        }
        form
    }

    fn query(&self, offline: bool) -> Call {
        let mut location = self.realm.location.clone();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                let joint = if location.path.contains('?') { '&' } else { '?' };
                location.path.push_str(&format!("{joint}{name}={}", percent(value)));
            }
        };
        let basic = self.auth.and_then(RegistryAuth::basic);
        if let Some(auth) = self.auth.filter(|_| basic.is_some()) {
            add("account", &auth.username);
        }
        if offline {
            add("client_id", CLIENT_ID);
            add("offline_token", "true");
        }
        for scope in self.scope.split(' ') {
            add("scope", scope);
        }
        add("service", &self.realm.service);
        let mut call = Call::get(location);
        if let Some(Ok(value)) = basic.map(HeaderValue::try_from) {
            call.headers.insert(AUTHORIZATION, value);
        }
        call
    }
}

impl Granted {
    fn parse(body: &[u8]) -> Option<Granted> {
        let reply: Reply = serde_json::from_slice(body).ok()?;
        let filled = |text: &String| !text.is_empty() && text.len() <= MAX_TOKEN;
        let token = reply.token.filter(filled).or(reply.access_token.filter(filled))?;
        let seconds = reply.expires_in.filter(|seconds| seconds.is_finite()).unwrap_or(0.0);
        let life = Duration::try_from_secs_f64(seconds).unwrap_or(LEAST_LIFE);
        Some(Granted {
            token,
            identity_token: reply.refresh_token.filter(filled).unwrap_or_default(),
            life: life.clamp(LEAST_LIFE, MOST_LIFE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_token_servers() {
        let granted =
            Granted::parse(br#"{"token":"","access_token":"t","expires_in":300}"#).unwrap();
        assert_eq!((granted.token.as_str(), granted.life.as_secs()), ("t", 300));
        for (body, life) in [
            (r#"{"token":"t"}"#, 60),
            (r#"{"token":"t","expires_in":-5}"#, 60),
            (r#"{"token":"t","expires_in":1e300}"#, 60),
            (r#"{"token":"t","expires_in":1e9}"#, 3600),
        ] {
            assert_eq!(Granted::parse(body.as_bytes()).unwrap().life.as_secs(), life, "{body}");
        }
        for body in ["", "{}", "[]", r#"{"token":""}"#, r#"{"token":7}"#] {
            assert!(Granted::parse(body.as_bytes()).is_none(), "{body}");
        }
    }
}
