//! `/token`: a token for what the client asks for, as far as that is granted. Docker's token protocol, by GET with basic
//! credentials or none, and by POST as OAuth 2 has it.

use ferry_access::{Claims, Scope};
use ferry_registry_store::now;
use ferry_stdx::time::Timestamp;
use http::{Method, header};
use hyper::body::Incoming;
use serde_json::json;

use crate::{
    access::basic,
    dispatch::{Answer, Call, answer_json},
    fault::{Code, Fault},
    query::Query,
    receive,
};

/// How long a token is good for, in seconds. Layers of a long push are sent with the tokens of their time: clients ask anew.
const LIFE: u64 = 300;
/// Scopes of one token, and no more.
const MAX_SCOPES: usize = 32;
const MAX_FORM: usize = 16 << 10;

pub(crate) async fn token(call: &Call, body: Incoming) -> Answer {
    let (asked, credentials) = match call.method {
        Method::GET => {
            let scopes = call.query.all("scope").map(str::to_owned).collect();
            (scopes, call.header(header::AUTHORIZATION).map(credentials).transpose()?)
        }
        Method::POST => form(&receive::whole(body, MAX_FORM).await?)?,
        _ => return Err(Fault::new(Code::Unsupported, "the operation is unsupported")),
    };
    let access = &call.state.access;
    let loaded = access.file.loaded();
    if let Some((name, password)) = &credentials {
        access.log_in(&loaded, name, password, call.peer).await?;
    }
    let name = credentials.map(|(name, _)| name);
    let open = access.file.is_open(&loaded);
    let now = now();
    let mut granted = Vec::new();
    for text in asked.iter().flat_map(|text| text.split(' ')).take(MAX_SCOPES) {
        let Some(mut scope) = Scope::parse(text).filter(|scope| scope.kind == "repository") else {
            continue;
        };
        scope.actions.retain(|action| {
            open || loaded.policy.allows(name.as_deref(), *action, &scope.name, now)
        });
        granted.push(scope);
    }
    let claims = Claims {
        sub: name.unwrap_or_default(),
        aud: access.service(&call.headers),
        iat: now,
        exp: now + LIFE,
        access: granted,
    };
    let token = loaded.signer.issue(&claims);
    let issued = Timestamp::from_system(std::time::SystemTime::now()).format_rfc3339_nano();
    Ok(answer_json(
        json!({ "token": token, "access_token": token, "expires_in": LIFE, "issued_at": issued })
            .to_string(),
    ))
}

fn credentials(text: &str) -> Result<(String, String), Fault> {
    basic(text).ok_or_else(|| Fault::new(Code::Unauthorized, "authentication required"))
}

/// Scopes and credentials.
type Asked = (Vec<String>, Option<(String, String)>);

/// Reads OAuth 2's form.
fn form(bytes: &[u8]) -> Result<Asked, Fault> {
    let form = Query::parse(&String::from_utf8_lossy(bytes));
    if form.get("grant_type") != Some("password") {
        return Err(Fault::new(Code::Unauthorized, "unsupported grant type"));
    }
    let (Some(name), Some(password)) = (form.get("username"), form.get("password")) else {
        return Err(Fault::new(Code::Unauthorized, "authentication required"));
    };
    let scopes = form.all("scope").map(str::to_owned).collect();
    Ok((scopes, Some((name.to_owned(), password.to_owned()))))
}
