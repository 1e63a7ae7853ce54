//! Who asks, and whether they may: from a request's head to a decision.

mod file;
mod guard;
mod login;

use std::{net::IpAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use ferry_access::{Account, Action, Claims, TokenError};
use ferry_registry_store::now;
use http::{HeaderMap, Method, header};

pub(crate) use self::{
    file::{AccessFile, Loaded, change},
    guard::Guard,
};
use crate::{
    fault::{Code, Fault},
    route::Route,
};

/// Who asks, and with what right.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    loaded: Arc<Loaded>,
    /// Nobody in particular without it.
    pub(crate) name: Option<String>,
    /// What the token is for; `None` for who showed a password.
    claims: Option<Claims>,
    open: bool,
}

impl Identity {
    /// Whether this may be done: by what is granted now, and by the token if there is one.
    pub(crate) fn may(&self, action: Action, repository: &str) -> bool {
        self.covered(action, repository) && self.granted(action, repository)
    }

    /// Whether it may be seen in lists, for which no token is asked for.
    pub(crate) fn granted(&self, action: Action, repository: &str) -> bool {
        self.open || self.loaded.policy.allows(self.name.as_deref(), action, repository, now())
    }

    /// The accounts that it looks after: name, what it is, until when, what it may do. `None` for who looks after none.
    pub(crate) fn administered(&self) -> Option<Vec<(String, Account)>> {
        let accounts = self.loaded.policy.administered(self.name.as_deref()?, now())?;
        Some(
            accounts
                .into_iter()
                .map(|(name, account)| (name.to_owned(), account.clone()))
                .collect(),
        )
    }

    /// Whether it did not say who it is, where that matters.
    pub(crate) fn is_nobody(&self) -> bool {
        self.name.is_none() && !self.open
    }

    /// Whether anything may be done without saying who.
    pub(crate) fn has_anonymous(&self) -> bool {
        self.loaded.policy.has_anonymous()
    }

    fn covered(&self, action: Action, repository: &str) -> bool {
        self.claims.as_ref().is_none_or(|claims| claims.covers(action, repository))
    }
}

/// How the registry decides.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) file: AccessFile,
    pub(crate) guard: Guard,
    pub(crate) logins: login::Logins,
    /// What clients reach this registry by, if that is not what they ask for: `https://registry.example.com`.
    pub(crate) url: Option<String>,
    pub(crate) tls: bool,
}

/// What a route needs, for which repository.
fn needed<'a>(route: &'a Route, method: &Method) -> Option<(Action, &'a str)> {
    let repository = route.repository()?;
    let reading = matches!(*method, Method::GET | Method::HEAD);
    let action = match route {
        Route::Uploads(_) | Route::Upload(..) => Action::Push,
        _ if reading => Action::Pull,
        _ if method == Method::DELETE => Action::Delete,
        _ => Action::Push,
    };
    Some((action, repository))
}

impl Access {
    pub(crate) fn new(file: AccessFile, guard: Guard, url: Option<String>, tls: bool) -> Access {
        Access { file, guard, logins: login::Logins::new(), url, tls }
    }

    /// Who asks. Wrong credentials are refused; none at all are nobody's.
    pub(crate) async fn identify(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
    ) -> Result<Identity, Fault> {
        let loaded = self.file.loaded();
        let open = self.file.is_open(&loaded);
        let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let mut identity = Identity { loaded, name: None, claims: None, open };
        let Some(text) = text.filter(|_| !open) else { return Ok(identity) };
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            let claims = identity.loaded.signer.check(rest.trim(), now()).map_err(|error| {
                let why = match error {
                    TokenError::Invalid | TokenError::Expired => "invalid_token",
                };
                self.challenge(headers, None, Some(why), &error.to_string())
            })?;
            identity.name = claims.subject().map(str::to_owned);
            identity.claims = Some(claims);
            return Ok(identity);
        }
        let Some((name, password)) = basic(text) else {
            return Err(self.challenge(headers, None, None, "authentication required"));
        };
        self.log_in(&identity.loaded, &name, &password, peer).await?;
        identity.name = Some(name);
        Ok(identity)
    }

    /// Checks a password.
    pub(crate) async fn log_in(
        &self,
        loaded: &Arc<Loaded>,
        name: &str,
        password: &str,
        peer: IpAddr,
    ) -> Result<(), Fault> {
        let may = || self.guard.may_log_in(peer);
        may()?;
        if self.logins.is_right(loaded, (name, password), may).await? {
            return Ok(());
        }
        self.guard.login_failed(peer);
        tracing::warn!(%peer, name, "wrong credentials");
        Err(Fault::new(Code::Unauthorized, "authentication required"))
    }

    /// Refuses what may not be done.
    pub(crate) fn authorise(
        &self,
        identity: &Identity,
        route: &Route,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), Fault> {
        if identity.open {
            return Ok(());
        }
        let known = identity.name.is_some() || identity.claims.is_some();
        let refuse = |scope| self.challenge(headers, scope, None, "authentication required");
        let lists = matches!(route, Route::Catalog | Route::Search);
        match needed(route, method) {
            // A client asks here how to authenticate, and whether it has.
            None if known => Ok(()),
            None if lists && identity.loaded.policy.has_anonymous() => Ok(()),
            None => Err(refuse(None)),
            Some((action, repository)) if identity.may(action, repository) => Ok(()),
            Some((action, repository)) => {
                let words = "requested access to the resource is denied";
                let scope = Some(scope(action, repository));
                if identity.claims.is_some() {
                    // Clients ask for a token with the scope they need: this one got all that is granted. RFC 6750, 3.1;
                    // without it docker tries again and again.
                    return Err(self.challenge(headers, scope, Some("insufficient_scope"), words));
                }
                if identity.name.is_some() {
                    return Err(Fault::new(Code::Denied, words).about("name", repository));
                }
                Err(refuse(scope))
            }
        }
    }

    /// 401 with the way to a token.
    pub(crate) fn challenge(
        &self,
        headers: &HeaderMap,
        scope: Option<String>,
        error: Option<&str>,
        words: &str,
    ) -> Fault {
        let service = self.service(headers);
        let mut text =
            format!("Bearer realm=\"{}/token\",service=\"{service}\"", self.base(headers));
        if let Some(scope) = scope {
            text.push_str(&format!(",scope=\"{scope}\""));
        }
        if let Some(error) = error {
            text.push_str(&format!(",error=\"{error}\""));
        }
        Fault::new(Code::Unauthorized, words).header(header::WWW_AUTHENTICATE, text)
    }

    /// What tokens are for: the host that clients know this registry by.
    pub(crate) fn service(&self, headers: &HeaderMap) -> String {
        let base = self.base(headers);
        base.split_once("://").map_or(base.clone(), |(_, host)| host.to_owned())
    }

    /// Where clients reach this registry.
    fn base(&self, headers: &HeaderMap) -> String {
        if let Some(url) = &self.url {
            return url.clone();
        }
        let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
        // It goes into a quoted string.
        let host = host.filter(|host| {
            host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
        });
        format!("{}://{}", if self.tls { "https" } else { "http" }, host.unwrap_or("localhost"))
    }
}

fn scope(action: Action, repository: &str) -> String {
    match action {
        Action::Pull => format!("repository:{repository}:pull"),
        Action::Push => format!("repository:{repository}:pull,push"),
        Action::Delete => format!("repository:{repository}:delete"),
        Action::Admin => format!("repository:{repository}:*"),
    }
}

/// Name and password of `Basic …`.
pub(crate) fn basic(text: &str) -> Option<(String, String)> {
    let (scheme, rest) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
