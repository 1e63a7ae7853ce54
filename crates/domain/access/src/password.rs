//! Passwords and secrets against their hashes.

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier, password_hash::SaltString};
use ring::rand::{SecureRandom, SystemRandom};

use crate::token::secret_hash;

/// A password could not be hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The machine gives no random numbers.
    #[error("cannot make a random salt")]
    Salt,
    /// It is empty or too long.
    #[error("a password has 1 to {MAX_PASSWORD} bytes")]
    Length,
    /// argon2 refused.
    #[error("cannot hash the password: {0}")]
    Argon2(String),
}

impl ferry_errkind::Kinded for HashError {
    fn kind(&self) -> ferry_errkind::ErrorKind {
        match self {
            HashError::Length => ferry_errkind::ErrorKind::InvalidArgument,
            HashError::Salt | HashError::Argon2(_) => ferry_errkind::ErrorKind::Internal,
        }
    }
}

/// Longer ones are refused unread.
const MAX_PASSWORD: usize = 1024;

/// The hash of a password, to be kept: argon2id with the crate's parameters (19 MiB, two passes), which are OWASP's.
///
/// # Errors
/// See [`HashError`].
pub fn hash_password(password: &str) -> Result<String, HashError> {
    if password.is_empty() || password.len() > MAX_PASSWORD {
        return Err(HashError::Length);
    }
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| HashError::Salt)?;
    let salt = SaltString::encode_b64(&salt).map_err(|_| HashError::Salt)?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|error| HashError::Argon2(error.to_string()))
}

/// Whether a password belongs to a hash: argon2 of ours, bcrypt of an htpasswd file, SHA-256 of a robot's secret.
pub(crate) fn fits(password: &str, hash: &str) -> bool {
    if password.len() > MAX_PASSWORD {
        return false;
    }
    if hash.starts_with("$argon2") {
        return PasswordHash::new(hash).is_ok_and(|hash| {
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
        });
    }
    if hash.starts_with("$2") {
        return bcrypt::verify(password, hash).unwrap_or(false);
    }
    // A secret is 256 random bits, which nobody guesses: one round is enough, and comparing hashes tells nothing of it.
    hash.strip_prefix("secret:").is_some_and(|hash| hash == secret_hash(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_all_kinds() {
        let hash = hash_password("correct horse").unwrap();
        assert!(fits("correct horse", &hash) && !fits("wrong", &hash));
        let bcrypt = bcrypt::hash("pw", 4).unwrap();
        assert!(fits("pw", &bcrypt) && !fits("wrong", &bcrypt));
        let secret = format!("secret:{}", secret_hash("s"));
        assert!(fits("s", &secret) && !fits("t", &secret));
        assert!(!fits("plain", "plain") && !fits("", ""), "text is no hash");
        assert_eq!(hash_password(""), Err(HashError::Length));
    }
}
