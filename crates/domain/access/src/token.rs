//! Bearer tokens: JSON web tokens, signed by HMAC-SHA-256 with a key that only this registry has.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest::{SHA256, digest},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Deserialize, Serialize};

use crate::{Action, Scope};

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who; empty for nobody in particular.
    pub sub: String,
    /// For which registry.
    pub aud: String,
    /// From when on, in seconds since 1970.
    pub iat: u64,
    /// Until when.
    pub exp: u64,
    /// What for.
    pub access: Vec<Scope>,
}

impl Claims {
    /// Whether the token is for this.
    pub fn covers(&self, action: Action, repository: &str) -> bool {
        self.access.iter().any(|scope| {
            scope.kind == "repository"
                && scope.name == repository
                && scope.actions.contains(&action)
        })
    }

    /// Who, if anybody.
    pub fn subject(&self) -> Option<&str> {
        Some(self.sub.as_str()).filter(|name| !name.is_empty())
    }
}

/// A text is no token that is valid here and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It does not read, or somebody else signed it.
    #[error("invalid token")]
    Invalid,
    /// It was valid once.
    #[error("token has expired")]
    Expired,
}

/// Makes and checks tokens.
#[derive(Clone)]
pub struct Signer(hmac::Key);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

/// The head that all tokens of this registry have; others are not accepted, so nobody chooses an algorithm.
const HEAD: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
/// Longer ones are refused unread.
const MAX_TOKEN: usize = 16 << 10;

impl Signer {
    /// With this key.
    pub fn new(key: &[u8]) -> Signer {
        Signer(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// A signed token.
    pub fn issue(&self, claims: &Claims) -> String {
        // Claims are text and numbers, which always have a JSON form.
        let claims = serde_json::to_vec(claims).unwrap_or_default();
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEAD), URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.0, text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// What a token says, if it is ours and valid now.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn check(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let invalid = TokenError::Invalid;
        if token.len() > MAX_TOKEN {
            return Err(invalid);
        }
        let (text, signature) = token.rsplit_once('.').ok_or(invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| invalid)?;
        hmac::verify(&self.0, text.as_bytes(), &signature).map_err(|_| invalid)?;
        let (head, claims) = text.split_once('.').ok_or(invalid)?;
        if head != URL_SAFE_NO_PAD.encode(HEAD) {
            return Err(invalid);
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| invalid)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| invalid)?;
        if now >= claims.exp { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

/// 256 random bits as text: a robot's secret. `None` when the machine gives no random numbers.
pub fn new_secret() -> Option<String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(format!("frt_{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// What is kept of a secret.
pub fn secret_hash(secret: &str) -> String {
    digest(&SHA256, secret.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_tokens_count_and_not_for_ever() {
        let signer = Signer::new(b"key");
        let claims = Claims {
            sub: "ann".into(),
            aud: "r".into(),
            iat: 10,
            exp: 20,
            access: vec![Scope::parse("repository:a:pull").unwrap()],
        };
        let token = signer.issue(&claims);
        assert_eq!(signer.check(&token, 15), Ok(claims.clone()));
        assert!(claims.covers(Action::Pull, "a") && !claims.covers(Action::Push, "a"));
        assert!(!claims.covers(Action::Pull, "a/b"));
        assert_eq!(signer.check(&token, 20), Err(TokenError::Expired));
        assert_eq!(Signer::new(b"other").check(&token, 15), Err(TokenError::Invalid));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character's unused bits may be the same bytes.
            if at + 1 < token.len() {
                assert_eq!(signer.check(&changed, 15), Err(TokenError::Invalid), "{at}");
            }
        }
        assert_ne!(new_secret(), new_secret());
    }
}
