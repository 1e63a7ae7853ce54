//! `docker login`: whether a registry knows somebody.

use ferry_errkind::{ErrorKind, Kinded};
use http::{
    HeaderValue, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};

use crate::{
    auth::{AuthOutcome, HUB_SERVER, RegistryAuth, Scheme, TokenError, Wish, domain_of},
    client::{Client, Shared},
    error::PullError,
    http::{Answer, Call, Origin, RequestError},
};

/// Nobody is logged in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The registry's name is none.
    #[error("invalid registry \"{0}\"")]
    Server(String),
    /// The registry does not answer.
    #[error(transparent)]
    Request(RequestError),
    /// Its token server does not take the credentials.
    #[error("Get \"{url}\": {source}")]
    Token {
        /// What was asked of the registry.
        url: String,
        /// Why not. Printed here, as Go does.
        source: TokenError,
    },
    /// The registry does not take the credentials.
    #[error("login attempt to {url} failed with status: {status} {}", reason(*status))]
    Status {
        /// What was asked.
        url: String,
        /// Its answer.
        status: u16,
    },
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
}

impl Client {
    /// Asks a registry whether it takes these credentials.
    ///
    /// # Errors
    /// [`AuthError`], in Docker's words.
    pub async fn check_auth(&self, auth: &RegistryAuth) -> Result<AuthOutcome, AuthError> {
        let server = if auth.server_address.is_empty() { HUB_SERVER } else { &auth.server_address };
        let invalid = |_: PullError| AuthError::Server(server.to_owned());
        let origins = self.shared.origins(&domain_of(server)).await.map_err(invalid)?;
        let mut last = AuthError::Server(server.to_owned());
        for origin in origins {
            match check(&self.shared, &origin, auth).await {
                Err(AuthError::Request(error)) if error.fault.before_request() => {
                    last = AuthError::Request(error);
                }
                other => return other,
            }
        }
        Err(last)
    }
}

async fn check(
    shared: &Shared,
    origin: &Origin,
    auth: &RegistryAuth,
) -> Result<AuthOutcome, AuthError> {
    let location = origin.at("/v2/");
    let url = location.to_string();
    let answer = shared.http.send(Call::get(location.clone())).await.map_err(AuthError::Request)?;
    let mut identity_token = String::new();
    let answer = match wanted(&answer) {
        None => answer,
        Some(scheme) => {
            answer.body.skip().await;
            let value = match scheme {
                Scheme::Basic => auth.basic(),
                Scheme::Bearer(realm) => {
                    let wish = Wish {
                        http: &shared.http,
                        registry: origin,
                        realm: &realm,
                        scope: "",
                        auth: Some(auth),
                    };
                    let granted = wish.fetch(true).await;
                    let granted =
                        granted.map_err(|source| AuthError::Token { url: url.clone(), source })?;
                    identity_token = granted.identity_token;
                    Some(format!("Bearer {}", granted.token))
                }
            };
            let mut call = Call::get(location);
            if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
                call.headers.insert(AUTHORIZATION, value);
            }
            shared.http.send(call).await.map_err(AuthError::Request)?
        }
    };
    let status = answer.status;
    answer.body.skip().await;
    if status != StatusCode::OK {
        return Err(AuthError::Status { url, status: status.as_u16() });
    }
    Ok(AuthOutcome { status: "Login Succeeded".to_owned(), identity_token })
}

/// What the registry wants to see, if it does not let everybody in.
fn wanted(answer: &Answer) -> Option<Scheme> {
    if answer.status != StatusCode::UNAUTHORIZED {
        return None;
    }
    let headers = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    Scheme::choose(headers.filter_map(|value| value.to_str().ok()))
}

impl Kinded for AuthError {
    fn kind(&self) -> ErrorKind {
        match self {
            AuthError::Server(_) => ErrorKind::InvalidArgument,
            AuthError::Request(error) => error.kind(),
            AuthError::Token { source, .. } => source.kind(),
            AuthError::Status { status: 401, .. } => ErrorKind::Unauthorized,
            AuthError::Status { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            AuthError::Request(error) => error.hint(),
            AuthError::Token { source, .. } => source.hint(),
            AuthError::Status { status: 401, .. } => {
                Some("check the user name and the password".to_owned())
            }
            AuthError::Server(_) | AuthError::Status { .. } => None,
        }
    }
}
