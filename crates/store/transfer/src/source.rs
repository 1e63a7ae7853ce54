//! One repository at one registry.

use std::sync::{Mutex, PoisonError};

use ferry_errkind::{ErrorKind, Kinded};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};

use crate::{
    auth::{RegistryAuth, Scheme, TokenError, Wish},
    client::Shared,
    http::{Answer, Call, Fault, Flow, Location, RequestError},
    refusal::{MAX_BODY, Refusal},
};

/// Where an image may be had.
#[derive(Debug)]
pub(crate) struct Source {
    /// Of the registry: what comes before `/v2/`.
    base: Location,
    repository: String,
    /// A copy of another registry: its failures are not the pull's.
    pub(crate) mirror: bool,
    /// Plain HTTP, because TLS may have failed.
    pub(crate) fallback: bool,
    auth: Option<RegistryAuth>,
    /// What a token is asked for.
    scope: String,
    scheme: Mutex<Option<Scheme>>,
}

/// A registry did not give what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It gave no whole answer.
    #[error(transparent)]
    Request(RequestError),
    /// No token for it.
    #[error("{asked}: {source}")]
    Token {
        /// The request that needed one.
        asked: String,
        /// Why not. Printed with the request, as Go does.
        source: Box<TokenError>,
    },
    /// It wants a name and a password, and there are none.
    #[error("{asked}: no basic auth credentials")]
    NoCredentials {
        /// The request that needed them.
        asked: String,
    },
    /// It answered with something else.
    #[error("{0}")]
    Refused(Refusal),
}

impl Source {
    pub(crate) fn new(base: Location, repository: &str, auth: Option<RegistryAuth>) -> Source {
        let repository = repository.to_owned();
        let scope = format!("repository:{repository}:pull");
        let scheme = Mutex::default();
        Source { base, repository, mirror: false, fallback: false, auth, scope, scheme }
    }

    /// Asks for the right to push, and to mount blobs from `others`.
    pub(crate) fn for_push<'a>(mut self, others: impl Iterator<Item = &'a str>) -> Source {
        self.scope = format!("repository:{}:pull,push", self.repository);
        for other in others.filter(|other| *other != self.repository) {
            self.scope.push_str(&format!(" repository:{other}:pull"));
        }
        self
    }

    /// Asks for the right to push and to delete.
    pub(crate) fn for_change(mut self) -> Source {
        self.scope = format!("repository:{}:pull,push,delete", self.repository);
        self
    }

    /// Asks for the right to see which repositories there are.
    pub(crate) fn for_catalog(mut self) -> Source {
        "registry:catalog:*".clone_into(&mut self.scope);
        self
    }

    /// Asks for the right to search.
    pub(crate) fn for_search(mut self) -> Source {
        "registry:catalog:search".clone_into(&mut self.scope);
        self
    }

    /// Whether it only has copies.
    pub(crate) fn is_mirror(&self) -> bool {
        self.mirror
    }

    /// Where something of the registry is that is no repository's.
    pub(crate) fn beside(&self, path: &str) -> Location {
        let prefix = self.base.path.trim_end_matches('/');
        self.base.origin.at(format!("{prefix}/v2/{path}"))
    }

    /// Whose answer it is, for logs.
    pub(crate) fn name(&self) -> String {
        self.base.to_string()
    }

    /// Where something of the repository is.
    pub(crate) fn location(&self, path: &str) -> Location {
        let prefix = self.base.path.trim_end_matches('/');
        self.base.origin.at(format!("{prefix}/v2/{}/{path}", self.repository))
    }

    /// Asks whether anybody is there, and learns what they want to see. Any answer is a good one.
    pub(crate) async fn ping(&self, shared: &Shared) -> Result<(), SourceError> {
        let prefix = self.base.path.trim_end_matches('/');
        let call = Call::get(self.base.origin.at(format!("{prefix}/v2/")));
        let answer = shared.http.send(call).await.map_err(SourceError::Request)?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.learn(shared, &answer, false);
        }
        answer.body.skip().await;
        Ok(())
    }

    /// Asks for `manifests/…` or `blobs/…`. Any success is given back, anything else is an error.
    pub(crate) async fn get(
        &self,
        shared: &Shared,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Answer, SourceError> {
        let mut call = Call::get(self.location(path));
        call.headers.clone_from(headers);
        self.call(shared, call).await
    }

    /// Sends any request to this registry. Any success is given back, anything else is an error.
    pub(crate) async fn call(&self, shared: &Shared, call: Call) -> Result<Answer, SourceError> {
        let mut last = None;
        // Once as the registry wanted it last time, once as it wants it now.
        for _ in 0..2 {
            let mut call = call.clone();
            let known = self.sign(shared, &mut call).await?;
            let answer = shared.http.send(call).await.map_err(SourceError::Request)?;
            match self.judge(shared, answer, known).await {
                Ok(answer) => return Ok(answer),
                Err((error, retry)) => {
                    last = Some(error);
                    if !retry {
                        break;
                    }
                }
            }
        }
        let never =
            || SourceError::Request(RequestError::new("Get", &call.location, Fault::Redirects(0)));
        Err(last.unwrap_or_else(never))
    }

    /// As [`Source::call`], with a body that can be sent once only.
    pub(crate) async fn call_flow(
        &self,
        shared: &Shared,
        mut call: Call,
        flow: Flow,
    ) -> Result<Answer, SourceError> {
        let known = self.sign(shared, &mut call).await?;
        let answer = shared.http.send_flow(&call, flow).await.map_err(SourceError::Request)?;
        self.judge(shared, answer, known).await.map_err(|(error, _)| error)
    }

    /// Adds credentials, if the call is for the registry itself: uploads may lead to other hosts.
    async fn sign(&self, shared: &Shared, call: &mut Call) -> Result<bool, SourceError> {
        if call.location.origin != self.base.origin {
            return Ok(false);
        }
        let authorization = self.authorization(shared, &call.location).await?;
        let known = authorization.is_some();
        if let Some(value) = authorization {
            call.headers.insert(AUTHORIZATION, value);
        }
        Ok(known)
    }

    /// A success, or the error and whether to try once more.
    async fn judge(
        &self,
        shared: &Shared,
        answer: Answer,
        known: bool,
    ) -> Result<Answer, (SourceError, bool)> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        let retry = answer.status == StatusCode::UNAUTHORIZED && self.learn(shared, &answer, known);
        let (status, headers) = (answer.status, answer.headers);
        let body = answer.body.read(MAX_BODY).await.unwrap_or_default();
        Err((SourceError::Refused(Refusal::of(status, &headers, &body)), retry))
    }

    /// Takes in what the registry wants to see. Only what it says itself: the challenge of a host that it redirected
    /// to could lure credentials away. If it did not take what it was `shown`, a kept token is no good any more.
    fn learn(&self, shared: &Shared, answer: &Answer, shown: bool) -> bool {
        if answer.origin != self.base.origin {
            return false;
        }
        let headers = answer.headers.get_all(WWW_AUTHENTICATE).iter();
        let Some(wanted) = Scheme::choose(headers.filter_map(|value| value.to_str().ok())) else {
            return false;
        };
        if let Scheme::Bearer(realm) = &wanted
            && shown
        {
            shared.tokens.forget(&self.wish(shared, realm));
        }
        *self.scheme.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
        true
    }

    fn wish<'a>(&'a self, shared: &'a Shared, realm: &'a crate::auth::Realm) -> Wish<'a> {
        let registry = &self.base.origin;
        Wish { http: &shared.http, registry, realm, scope: &self.scope, auth: self.auth.as_ref() }
    }

    async fn authorization(
        &self,
        shared: &Shared,
        location: &Location,
    ) -> Result<Option<HeaderValue>, SourceError> {
        // Docker asks for a tag with HEAD; people find its words in their searches.
        let by_tag =
            location.path.contains("/manifests/") && !location.path.contains("/manifests/sha256:");
        let asked = || format!("{} \"{location}\"", if by_tag { "Head" } else { "Get" });
        let scheme = self.scheme.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let auth = self.auth.as_ref();
        let value = match scheme {
            None => return Ok(None),
            Some(Scheme::Basic) => match auth.and_then(RegistryAuth::basic) {
                Some(value) => value,
                None => return Err(SourceError::NoCredentials { asked: asked() }),
            },
            Some(Scheme::Bearer(realm)) => {
                let given = auth.map(|auth| &auth.registry_token).filter(|token| !token.is_empty());
                let token = match given {
                    Some(token) => token.clone(),
                    None => {
                        let token = shared.tokens.get(&self.wish(shared, &realm)).await;
                        token.map_err(|source| SourceError::Token {
                            asked: asked(),
                            source: Box::new(source),
                        })?
                    }
                };
                format!("Bearer {token}")
            }
        };
        // What does not fit into a header would not have been accepted either.
        Ok(HeaderValue::try_from(value).ok())
    }
}

impl SourceError {
    /// No connection to it at all.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, SourceError::Request(error) if error.fault.before_request())
    }

    /// Trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            SourceError::Request(error) => error.fault.is_passing(),
            SourceError::Token { source, .. } => source.is_passing(),
            SourceError::Refused(refusal) => refusal.is_passing(),
            SourceError::NoCredentials { .. } => false,
        }
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            SourceError::Refused(refusal) => Some(refusal),
            SourceError::Token { source, .. } => source.refusal(),
            SourceError::Request(_) | SourceError::NoCredentials { .. } => None,
        }
    }
}

impl TokenError {
    fn is_passing(&self) -> bool {
        match self {
            TokenError::Request(error) => error.fault.is_passing(),
            TokenError::Refused(refusal) => refusal.is_passing(),
            TokenError::NoToken(_) | TokenError::Exposed(_) => false,
        }
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self {
            TokenError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl Kinded for SourceError {
    fn kind(&self) -> ErrorKind {
        match self {
            // Docker's statuses, found by trying.
            SourceError::Request(_) | SourceError::NoCredentials { .. } => ErrorKind::Internal,
            SourceError::Token { source, .. } => source.kind(),
            SourceError::Refused(refusal) => refusal.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            SourceError::Request(error) => error.hint(),
            SourceError::Token { source, .. } => source.hint(),
            SourceError::NoCredentials { .. } => Some(LOGIN.to_owned()),
            SourceError::Refused(refusal) => refusal_hint(refusal),
        }
    }
}

impl Kinded for TokenError {
    fn kind(&self) -> ErrorKind {
        match self {
            TokenError::Request(error) => error.kind(),
            TokenError::Refused(refusal) => refusal.kind(),
            TokenError::NoToken(_) => ErrorKind::Internal,
            TokenError::Exposed(_) => ErrorKind::Forbidden,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            TokenError::Request(error) => error.hint(),
            TokenError::Refused(refusal) => refusal_hint(refusal),
            TokenError::Exposed(_) => {
                Some("if you trust the network, add it to the insecure registries".to_owned())
            }
            TokenError::NoToken(_) => None,
        }
    }
}

pub(crate) const LOGIN: &str = "log in to the registry, and check the image's name";

fn refusal_hint(refusal: &Refusal) -> Option<String> {
    match refusal.status {
        401 | 403 => Some(LOGIN.to_owned()),
        429 => Some("wait a while, or log in: registries allow more to those they know".to_owned()),
        _ => None,
    }
}
