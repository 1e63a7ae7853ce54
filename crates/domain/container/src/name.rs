//! Container names: which are allowed.

use ferry_errkind::{ErrorKind, Kinded};

/// A name that Docker would not take either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct InvalidName(pub String);

impl Kinded for InvalidName {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Checks a name by Docker's rule `^/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$` and takes its slash away.
///
/// # Errors
/// [`InvalidName`], with Docker's words.
pub fn check_name(name: &str) -> Result<&str, InvalidName> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let first_ok = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest_ok = bytes.clone().next().is_some()
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if first_ok && rest_ok { Ok(bare) } else { Err(InvalidName(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn dockers_rule() {
        for good in ["ab", "/web", "a.b-c_d", "0x", "A1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "/", "-ab", "_ab", "a b", "a/b", "é1", ".ab"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert_eq!(check_name("/web").ok(), Some("web"));
    }
}
