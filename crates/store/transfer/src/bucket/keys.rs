//! Credentials of a bucket: from the environment or from a file in the form of AWS's `credentials`, which is read again now and then.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusty_s3::Credentials;

use super::BucketError;

/// Whoever writes short-lived credentials into the file does so in good time.
const FRESH: Duration = Duration::from_secs(60);
const MAX_FILE: u64 = 1 << 20;

/// Where credentials come from.
pub(super) enum Keys {
    Fixed(Credentials),
    File { path: PathBuf, profile: String, last: Mutex<Option<(Instant, Credentials)>> },
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keys::Fixed(_) => f.write_str("Fixed"),
            Keys::File { path, .. } => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Keys {
    /// The file that is named, else the environment, else the file in its usual place.
    pub(super) fn find(
        file: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Keys, BucketError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let profile = set("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        let of = |path: PathBuf| Keys::File { path, profile, last: Mutex::default() };
        if let Some(path) = file {
            return Ok(of(path.to_owned()));
        }
        if let (Some(key), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY"))
        {
            return Ok(Keys::Fixed(match set("AWS_SESSION_TOKEN") {
                Some(token) => Credentials::new_with_token(key, secret, token),
                None => Credentials::new(key, secret),
            }));
        }
        let usual = set("AWS_SHARED_CREDENTIALS_FILE")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".aws/credentials")));
        usual.filter(|path| path.is_file()).map(of).ok_or(BucketError::NoCredentials)
    }

    /// Those of now.
    pub(super) fn now(&self) -> Result<Credentials, BucketError> {
        let (path, profile, last) = match self {
            Keys::Fixed(keys) => return Ok(keys.clone()),
            Keys::File { path, profile, last } => (path, profile, last),
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, keys)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(keys.clone());
        }
        let unreadable = |why: String| BucketError::Credentials { path: path.clone(), why };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > MAX_FILE {
            return Err(unreadable("it is too large".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let keys = read(&text, profile)
            .ok_or_else(|| unreadable(format!("it has no whole section [{profile}]")))?;
        *last = Some((Instant::now(), keys.clone()));
        Ok(keys)
    }
}

/// The section of a profile.
fn read(text: &str, profile: &str) -> Option<Credentials> {
    let mut inside = false;
    let (mut key, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside && let Some((name, value)) = line.split_once('=') {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => key = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    let (key, secret) = (key?, secret?);
    Some(match token {
        Some(token) => Credentials::new_with_token(key, secret, token),
        None => Credentials::new(key, secret),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=S=\n\n[other]\naws_access_key_id=B\naws_secret_access_key=T\naws_session_token=U\n[half]\naws_access_key_id=C\n";

    #[test]
    fn sections_of_a_file() {
        let keys = read(FILE, "default").unwrap();
        assert_eq!((keys.key(), keys.secret(), keys.token()), ("A", "S=", None));
        let keys = read(FILE, "other").unwrap();
        assert_eq!((keys.key(), keys.secret(), keys.token()), ("B", "T", Some("U")));
        assert!(read(FILE, "half").is_none() && read(FILE, "none").is_none());
    }

    #[test]
    fn the_environment_is_asked() {
        let full = |name: &str| Some(format!("of {name}"));
        let keys = Keys::find(None, full).unwrap().now().unwrap();
        assert_eq!(keys.key(), "of AWS_ACCESS_KEY_ID");
        assert!(matches!(Keys::find(None, |_| None), Err(BucketError::NoCredentials)));
        assert!(matches!(Keys::find(Some(Path::new("/nowhere")), full), Ok(Keys::File { .. })));
    }
}
