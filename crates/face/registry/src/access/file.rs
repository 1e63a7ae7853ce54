//! `<root>/access.json`: accounts and the key of tokens. The commands change it, a server sees that within a second.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ferry_access::{Grant, Policy, Signer};
use ferry_errkind::{ErrorKind, Kinded, chain};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// The file could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessFileError {
    #[error("cannot {doing} {}", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is no list of accounts", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("cannot make a random key")]
    Random,
    #[error("{} has no key that tokens could be signed with", .0.display())]
    NoKey(PathBuf),
}

impl Kinded for AccessFileError {
    fn kind(&self) -> ErrorKind {
        match self {
            AccessFileError::File { .. } | AccessFileError::Random => ErrorKind::Internal,
            AccessFileError::Parse { .. } | AccessFileError::NoKey(_) => ErrorKind::InvalidArgument,
        }
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AccessFileError {
    let path = path.to_owned();
    move |source| AccessFileError::File { doing, path, source }
}

/// What is in the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    /// What tokens are signed with, in base64.
    key: String,
    #[serde(flatten)]
    policy: Policy,
}

/// The accounts at a moment.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    pub(crate) signer: Signer,
    /// Counts changes.
    pub(crate) generation: u64,
}

/// The files that accounts are in, read again when they change.
#[derive(Debug)]
pub(crate) struct AccessFile {
    path: PathBuf,
    htpasswd: Option<PathBuf>,
    /// What the command line grants to nobody in particular.
    anonymous: Vec<Grant>,
    /// Anybody may do everything while there is no account.
    open: bool,
    state: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    loaded: Arc<Loaded>,
    stamps: [Stamp; 2],
    looked: Instant,
}

/// What changes when a file is written or replaced.
type Stamp = Option<(u64, i64, i64, u64)>;

/// Bytes of the key of tokens.
const KEY: usize = 32;
/// How often files are looked at.
const PAUSE: Duration = Duration::from_millis(500);

impl AccessFile {
    /// Reads the accounts; makes the key of tokens if there is none.
    pub(crate) fn open(
        root: &Path,
        htpasswd: Option<PathBuf>,
        anonymous: Vec<Grant>,
    ) -> Result<AccessFile, AccessFileError> {
        let path = root.join("access.json");
        change(root, |_| ())?;
        let stamps = [stamp(&path), htpasswd.as_deref().and_then(stamp)];
        let loaded = Arc::new(load(&path, htpasswd.as_deref(), &anonymous, 0)?);
        let open = loaded.policy.accounts.is_empty() && htpasswd.is_none() && anonymous.is_empty();
        let state = Mutex::new(Seen { loaded, stamps, looked: Instant::now() });
        Ok(AccessFile { path, htpasswd, anonymous, open, state })
    }

    /// The accounts now. A file that cannot be read, or does not parse, changes nothing.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        let mut seen = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked.elapsed() < PAUSE {
            return Arc::clone(&seen.loaded);
        }
        seen.looked = Instant::now();
        let stamps = [stamp(&self.path), self.htpasswd.as_deref().and_then(stamp)];
        if stamps != seen.stamps {
            let generation = seen.loaded.generation + 1;
            match load(&self.path, self.htpasswd.as_deref(), &self.anonymous, generation) {
                Ok(loaded) => {
                    seen.loaded = Arc::new(loaded);
                    seen.stamps = stamps;
                }
                Err(error) => tracing::error!("accounts stay as they were: {}", chain(&error)),
            }
        }
        Arc::clone(&seen.loaded)
    }

    /// Whether anybody may do everything. A registry that once had accounts when it started is never that.
    pub(crate) fn is_open(&self, loaded: &Loaded) -> bool {
        self.open && loaded.policy.accounts.is_empty()
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
}

fn load(
    path: &Path,
    htpasswd: Option<&Path>,
    anonymous: &[Grant],
    generation: u64,
) -> Result<Loaded, AccessFileError> {
    let Content { key, mut policy } = read(path)?;
    // With a key that is empty, or short, anybody could sign tokens.
    let key = STANDARD.decode(key).ok().filter(|key| key.len() >= KEY);
    let signer = Signer::new(&key.ok_or_else(|| AccessFileError::NoKey(path.to_owned()))?);
    if let Some(htpasswd) = htpasswd {
        let text = fs::read_to_string(htpasswd).map_err(failed("read", htpasswd))?;
        for line in policy.add_htpasswd(&text) {
            tracing::warn!("{}: line {line} is left out: not a bcrypt hash", htpasswd.display());
        }
    }
    policy.anonymous.extend_from_slice(anonymous);
    Ok(Loaded { policy, signer, generation })
}

fn read(path: &Path) -> Result<Content, AccessFileError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Content::default()),
        Err(error) => Err(failed("read", path)(error)),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|source| AccessFileError::Parse { path: path.to_owned(), source }),
    }
}

/// Changes the accounts of a registry. One process at a time; readers see all of it or nothing.
pub(crate) fn change<T>(
    root: &Path,
    edit: impl FnOnce(&mut Policy) -> T,
) -> Result<T, AccessFileError> {
    let mut make = fs::DirBuilder::new();
    make.recursive(true).mode(0o700).create(root).map_err(failed("make directory", root))?;
    let lock_path = root.join("access.lock");
    let lock = File::create(&lock_path).map_err(failed("open", &lock_path))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| failed("lock", &lock_path)(error.into()))?;
    let path = root.join("access.json");
    let mut content = read(&path)?;
    let before = (content.key.clone(), content.policy.clone());
    if content.key.is_empty() {
        let mut key = [0; KEY];
        SystemRandom::new().fill(&mut key).map_err(|_| AccessFileError::Random)?;
        content.key = STANDARD.encode(key);
    }
    let outcome = edit(&mut content.policy);
    if before != (content.key.clone(), content.policy.clone()) {
        write(&path, &content)?;
    }
    Ok(outcome)
}

fn write(path: &Path, content: &Content) -> Result<(), AccessFileError> {
    let temporary = path.with_extension("json.new");
    let text = serde_json::to_vec_pretty(content)
        .map_err(|source| AccessFileError::Parse { path: path.to_owned(), source })?;
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()
    };
    write().map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("replace", path))?;
    // Who was told that an account is gone must not find it again after a power cut.
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(failed("sync directory", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_key_nothing_is_signed() {
        let root = std::env::temp_dir().join(format!("ferry-access-key-{}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        let file = AccessFile::open(&root, None, Vec::new()).unwrap();
        let token = file.loaded().signer.issue(&ferry_access::Claims {
            sub: "ann".into(),
            aud: String::new(),
            iat: 0,
            exp: 9,
            access: Vec::new(),
        });
        let path = root.join("access.json");
        for key in ["", "\"key\":\"\"", "\"key\":\"AAAA\"", "\"key\":\"no base64\""] {
            let text = if key.is_empty() { "{".to_owned() } else { format!("{{{key}}}") };
            fs::write(&path, text).unwrap();
            assert!(load(&path, None, &[], 1).is_err(), "{key}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(load(&path, None, &[], 1), Err(AccessFileError::NoKey(_))));
        // What was loaded stays, and so do the tokens that it signed.
        std::thread::sleep(PAUSE);
        assert!(file.loaded().signer.check(&token, 1).is_ok());
        fs::remove_dir_all(&root).unwrap();
    }
}
