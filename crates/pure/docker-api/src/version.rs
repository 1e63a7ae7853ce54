//! Versions of the API.

use std::{fmt, str::FromStr};

/// A version of the Engine API, `major.minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Always 1 so far.
    pub major: u16,
    /// Grows with every release that changes something.
    pub minor: u16,
}

impl ApiVersion {
    /// The oldest version that is spoken.
    pub const MIN: ApiVersion = ApiVersion::new(1, 24);
    /// The newest version that is spoken, and what a path without a version means.
    pub const MAX: ApiVersion = ApiVersion::new(1, 51);

    /// `major.minor`.
    pub const fn new(major: u16, minor: u16) -> Self {
        ApiVersion { major, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text is not `major.minor`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid API version \"{0}\"")]
pub struct InvalidApiVersion(pub String);

impl FromStr for ApiVersion {
    type Err = InvalidApiVersion;

    fn from_str(text: &str) -> Result<Self, InvalidApiVersion> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        text.split_once('.')
            .and_then(|(major, minor)| Some(ApiVersion::new(number(major)?, number(minor)?)))
            .ok_or_else(|| InvalidApiVersion(text.to_owned()))
    }
}
