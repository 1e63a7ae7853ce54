//! Credentials that no program keeps: encrypted, beside `config.json`, with a key that lies elsewhere.
//!
//! ```text
//! ~/.docker/ferry-credentials.json       {"sealed":{"reg.example":{"key":"<which>","text":"<nonce and ciphertext>"}}}
//! ~/.local/share/ferry/credentials.key   32 random bytes, mode 0600; $XDG_DATA_HOME goes before ~/.local/share
//! ```
//!
//! Who gets hold of docker's directory (a backup, a dotfiles repository, a volume of a container, a layer of an image) has no
//! password by that. Who may read all of the user's files has: for that there are helper programs (decision 14).

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::{
    credentials::{is_whole, same_server},
    read_limited,
};
use crate::framework::{CliError, home};

/// The credentials' file may be as large as this.
const LIMIT: u64 = 8 << 20;
const KEY: usize = 32;

/// What is kept for one server, in the form of the helpers' protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(rename = "ServerURL", default)]
    pub(crate) server: String,
    #[serde(rename = "Username", default)]
    pub(crate) username: String,
    #[serde(rename = "Secret", default)]
    pub(crate) secret: String,
}

/// Where they are.
#[derive(Debug, Clone)]
pub(crate) struct Vault {
    path: PathBuf,
    key: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Text {
    #[serde(default)]
    sealed: BTreeMap<String, Sealed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    /// The beginning of the key's hash: a text that another key has sealed is told from one that was changed.
    key: String,
    text: String,
}

/// A key, and how it is told from others.
struct Key {
    key: LessSafeKey,
    id: String,
}

/// What may change the credentials: nobody else changes them, or `config.json` beside them, as long as this is there.
#[derive(Debug)]
pub(crate) struct Locked {
    vault: Vault,
    _directory: Option<File>,
}

impl Vault {
    /// That of a directory with a `config.json`, with the key of whoever runs us.
    pub(crate) fn of(directory: &Path) -> Vault {
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        let data = data.filter(|path| path.is_absolute());
        let data = data.unwrap_or_else(|| home().join(".local/share"));
        Vault {
            path: directory.join("ferry-credentials.json"),
            key: data.join("ferry/credentials.key"),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is kept for a server.
    pub(crate) fn get(&self, server: &str) -> Result<Option<Entry>, CliError> {
        let text = self.read()?;
        let Some((name, sealed)) = text.find(server) else { return Ok(None) };
        let again = "log in again";
        let Some(key) = self.open_key()? else {
            let words = format!("the credentials of {name} were sealed with a key that is gone");
            return Err(CliError::new(format!("{words}: {} is not there", self.key.display()))
                .with_hint(again));
        };
        if key.id != sealed.key {
            let words = format!("the credentials of {name} were sealed with another key than");
            return Err(CliError::new(format!("{words} {}", self.key.display())).with_hint(again));
        }
        let changed = || {
            let words = format!("the credentials of {name} in {}", self.path.display());
            CliError::new(format!("{words} are damaged")).with_hint(again)
        };
        let mut bytes = STANDARD.decode(&sealed.text).map_err(|_| changed())?;
        let body = bytes.split_off(NONCE_LEN.min(bytes.len()));
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| changed())?;
        let mut body = body;
        let plain = key.key.open_in_place(nonce, about(name), &mut body).map_err(|_| changed())?;
        serde_json::from_slice(plain).map(Some).map_err(|_| changed())
    }

    /// To change something. What is read needs no lock: files are replaced whole.
    pub(crate) fn lock(&self) -> Result<Locked, CliError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let opened = fs::create_dir_all(directory).and_then(|()| File::open(directory));
        let file = opened.map_err(|error| {
            CliError::new(format!("cannot open \"{}\": {error}", directory.display()))
        })?;
        // NFS locks no directory. Without a lock it is as with docker, which takes none.
        let locked = rustix::fs::flock(&file, FlockOperation::LockExclusive);
        Ok(Locked { vault: self.clone(), _directory: locked.ok().map(|()| file) })
    }

    /// The servers that something is kept for.
    pub(crate) fn servers(&self) -> Result<Vec<String>, CliError> {
        Ok(self.read()?.sealed.into_keys().collect())
    }

    fn seal(&self, entry: &Entry) -> Result<Sealed, CliError> {
        let key = match self.open_key()? {
            Some(key) => key,
            None => self.new_key()?,
        };
        let mut nonce = [0; NONCE_LEN];
        let random = |_| CliError::new("the system has no random numbers");
        SystemRandom::new().fill(&mut nonce).map_err(random)?;
        let mut body = serde_json::to_vec(entry).unwrap_or_default();
        key.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                about(&entry.server),
                &mut body,
            )
            .map_err(|_| CliError::new("the credentials are too long to be encrypted"))?;
        let text = STANDARD.encode([&nonce[..], &body].concat());
        Ok(Sealed { key: key.id, text })
    }

    fn read(&self) -> Result<Text, CliError> {
        let failed = |why: String| {
            CliError::new(format!("cannot read \"{}\": {why}", self.path.display()))
                .with_hint("if it is of no use any more, remove it and log in again")
        };
        match read_limited(&self.path, LIMIT) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Text::default()),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn write(&self, all: &Text) -> Result<(), CliError> {
        let written = || {
            let directory = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(directory)?;
            let text = serde_json::to_vec_pretty(all)?;
            let temporary = private(&self.path, &text)?;
            fs::rename(&temporary, &self.path).inspect_err(|_| drop(fs::remove_file(&temporary)))
        };
        written().map_err(|error: io::Error| {
            CliError::new(format!("cannot write \"{}\": {error}", self.path.display()))
        })
    }

    /// The key. `None` when there is none yet.
    fn open_key(&self) -> Result<Option<Key>, CliError> {
        let path = self.key.display();
        let failed = |error: io::Error| CliError::new(format!("cannot read \"{path}\": {error}"));
        let file = match File::open(&self.key) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.mode() & 0o077 != 0 {
            let words = format!("others than you may read \"{path}\", the key to your credentials");
            return Err(CliError::new(words).with_hint(format!("run 'chmod 600 {path}'")));
        }
        let mut bytes = Vec::new();
        // One byte more than a key has tells what is no key.
        file.take(KEY as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| {
            CliError::new(format!("\"{path}\" is no key: it has not {KEY} bytes"))
                .with_hint("remove it and log in again")
        })?;
        let hash = digest(&SHA256, &bytes);
        let id = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Key { key: LessSafeKey::new(key), id }))
    }

    /// Makes the key. Whoever makes it at the same time has the same one then.
    fn new_key(&self) -> Result<Key, CliError> {
        let failed = |error: io::Error| {
            CliError::new(format!(
                "cannot keep a key to encrypt credentials with in \"{}\": {error}",
                self.key.display()
            ))
            .with_hint("set XDG_DATA_HOME to a directory of yours, configure a credential helper, or give --plain-text")
        };
        let mut bytes = [0; KEY];
        let random = |_| CliError::new("the system has no random numbers");
        SystemRandom::new().fill(&mut bytes).map_err(random)?;
        fs::create_dir_all(self.key.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        let temporary = private(&self.key, &bytes).map_err(failed)?;
        // A link fails where there is one already: that one stays.
        let linked = fs::hard_link(&temporary, &self.key);
        drop(fs::remove_file(&temporary));
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
            _ => self.open_key()?.ok_or_else(|| failed(io::ErrorKind::NotFound.into())),
        }
    }
}

impl Locked {
    /// Keeps this, under exactly its server's name: of one host there may be several secrets.
    pub(crate) fn store(&self, entry: &Entry) -> Result<(), CliError> {
        let sealed = self.vault.seal(entry)?;
        let mut all = self.vault.read()?;
        all.sealed.insert(entry.server.clone(), sealed);
        self.vault.write(&all)
    }

    /// Forgets what is kept under these names. That needs no key.
    pub(crate) fn erase(&self, servers: &[String]) -> Result<(), CliError> {
        let mut all = self.vault.read()?;
        let before = all.sealed.len();
        all.sealed.retain(|name, _| !servers.contains(name));
        if all.sealed.len() == before { Ok(()) } else { self.vault.write(&all) }
    }
}

impl Text {
    /// What is kept under this name, or under another that the same registry has.
    fn find(&self, server: &str) -> Option<(&String, &Sealed)> {
        let exactly = self.sealed.get_key_value(server);
        exactly.or_else(|| {
            let whole = |name: &&String| is_whole(name) && same_server(name, server);
            self.sealed.iter().find(|(name, _)| is_whole(server) && whole(name))
        })
    }
}

/// What is sealed for one server opens for no other.
fn about(server: &str) -> Aad<Vec<u8>> {
    Aad::from([b"ferry credentials 1 ", server.as_bytes()].concat())
}

/// Writes a file beside `path` that only we may read.
fn private(path: &Path, content: &[u8]) -> io::Result<PathBuf> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("new.{}.{next}", std::process::id()));
    // One of a process that had our number and was killed.
    drop(fs::remove_file(&temporary));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.map(|()| temporary.clone()).inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let name = format!("ferry-vault-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            drop(fs::remove_dir_all(&path));
            fs::create_dir_all(&path).unwrap();
            Place(path)
        }

        fn vault(&self) -> Vault {
            Vault { path: self.0.join("docker/sealed.json"), key: self.0.join("data/the.key") }
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn entry(server: &str, secret: &str) -> Entry {
        Entry { server: server.to_owned(), username: "ann".to_owned(), secret: secret.to_owned() }
    }

    #[test]
    fn what_is_kept_is_given_back_and_not_to_be_read_in_the_file() {
        let place = Place::new("kept");
        let vault = place.vault();
        assert_eq!(vault.get("reg.example").unwrap(), None);
        vault.lock().unwrap().store(&entry("reg.example", "old")).unwrap();
        vault.lock().unwrap().store(&entry("reg.example", "very secret")).unwrap();
        vault.lock().unwrap().store(&entry("other.example:5000", "another")).unwrap();
        assert_eq!(vault.get("reg.example").unwrap(), Some(entry("reg.example", "very secret")));
        assert_eq!(vault.get("https://reg.example/v1/").unwrap().unwrap().secret, "very secret");
        assert_eq!(vault.servers().unwrap(), ["other.example:5000", "reg.example"]);
        let text = fs::read_to_string(&vault.path).unwrap();
        for secret in ["secret", "ann", &STANDARD.encode("very secret"), &STANDARD.encode("ann")] {
            assert!(!text.contains(secret), "{text}");
        }
        for path in [&vault.path, &vault.key] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
            // Nothing half-made is left beside it.
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        }
        let names = ["reg.example".to_owned(), "unknown.example".to_owned()];
        vault.lock().unwrap().erase(&names).unwrap();
        assert_eq!(vault.get("reg.example").unwrap(), None);
        assert_eq!(vault.servers().unwrap(), ["other.example:5000"]);
    }

    #[test]
    fn what_does_not_open_says_why() {
        let place = Place::new("damaged");
        let vault = place.vault();
        vault.lock().unwrap().store(&entry("a.example", "secret")).unwrap();
        vault.lock().unwrap().store(&entry("b.example", "secret")).unwrap();
        let says = |words: &str| {
            let error = vault.get("a.example").unwrap_err();
            assert!(error.message().contains(words), "{}", error.message());
        };
        // One server's text in another's place.
        let good = fs::read_to_string(&vault.path).unwrap();
        let swapped = good.replace("a.example", "c.example").replace("b.example", "a.example");
        fs::write(&vault.path, swapped).unwrap();
        says("are damaged");
        fs::write(&vault.path, "{").unwrap();
        says("cannot read");
        fs::write(&vault.path, &good).unwrap();
        fs::set_permissions(&vault.key, fs::Permissions::from_mode(0o640)).unwrap();
        says("others than you may read");
        fs::set_permissions(&vault.key, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(vault.get("a.example").unwrap().unwrap().secret, "secret");
        fs::write(&vault.key, b"short").unwrap();
        says("is no key");
        fs::write(&vault.key, [7; KEY]).unwrap();
        says("with another key than");
        fs::remove_file(&vault.key).unwrap();
        says("a key that is gone");
        // Whoever logs in again has a new key, and only what it seals.
        vault.lock().unwrap().store(&entry("a.example", "again")).unwrap();
        assert_eq!(vault.get("a.example").unwrap().unwrap().secret, "again");
        assert!(vault.get("b.example").is_err());
        // To forget needs no key.
        fs::write(&vault.key, b"short").unwrap();
        vault.lock().unwrap().erase(&["b.example".to_owned()]).unwrap();
        assert_eq!(vault.servers().unwrap(), ["a.example"]);
    }

    #[test]
    fn one_host_has_several_secrets() {
        let place = Place::new("several");
        let vault = place.vault();
        // What docker's login on the web keeps, in its order.
        let hub = "https://index.docker.io/v1/";
        let names = [format!("{hub}access-token"), format!("{hub}refresh-token"), hub.to_owned()];
        for name in &names {
            vault.lock().unwrap().store(&entry(name, &format!("of {name}"))).unwrap();
        }
        for name in &names {
            assert_eq!(vault.get(name).unwrap().unwrap().secret, format!("of {name}"));
        }
        assert_eq!(vault.get("index.docker.io").unwrap().unwrap().server, hub);
        assert_eq!(vault.get("https://index.docker.io/v1/other").unwrap(), None);
        vault.lock().unwrap().erase(&[hub.to_owned()]).unwrap();
        assert_eq!(vault.servers().unwrap(), names[..2]);
        assert_eq!(vault.get("index.docker.io").unwrap(), None);
    }

    #[test]
    fn those_who_log_in_at_once_lose_nothing() {
        let place = Place::new("at-once");
        let vault = place.vault();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let vault = vault.clone();
                scope.spawn(move || {
                    let entry = entry(&format!("r{number}.example"), "s");
                    vault.lock().unwrap().store(&entry).unwrap();
                });
            }
        });
        assert_eq!(vault.servers().unwrap().len(), 8);
        for server in vault.servers().unwrap() {
            assert_eq!(vault.get(&server).unwrap(), Some(entry(&server, "s")));
        }
    }
}
