//! Who we are to registries: kept by a helper program, encrypted by ourselves (`vault.rs`), or in the file itself.
//!
//! What is encrypted is marked as docker marks what a helper has: `"credHelpers": {"reg.example": "ferry"}`. Docker, podman and others
//! then ask `docker-credential-ferry`, which is this program called by that name (`commands/credential_helper.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use ferry_docker_api::AuthConfig;
use serde_json::{Map, Value, json};

use super::{
    ConfigFile,
    vault::{Entry, Vault},
};
use crate::framework::{Cli, CliError};

/// The name under which credentials of Docker Hub are kept.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// What a helper calls the user when the secret is a token.
const TOKEN_USER: &str = "<token>";

/// What a registry is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) identity_token: String,
}

/// The helper that is ourselves.
pub(crate) const OURS: &str = "ferry";

/// Where credentials are to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// By the helper program if there is one, else encrypted.
    Safely,
    /// In `config.json` for everybody who reads it.
    InPlainText,
}

/// The name of the registry that an image comes from, as credentials are kept under.
pub(crate) fn server_of(image: &str) -> String {
    match ferry_oci::Reference::parse(image) {
        Ok(reference) if reference.domain() == "docker.io" => DOCKER_HUB.to_owned(),
        Ok(reference) => reference.domain().to_owned(),
        Err(_) => DOCKER_HUB.to_owned(),
    }
}

/// The value of `X-Registry-Auth` for an image; empty when there is nothing to tell. Credentials that cannot be had are warned of: the image
/// may be for everybody.
pub fn registry_auth(cli: &Cli, image: &str) -> Result<String, CliError> {
    header(cli.config(), image, &|line| cli.warn(line))
}

/// The credentials as they are at the moment of the question, for a face that stays.
#[derive(Debug, Clone)]
pub struct Logins(PathBuf);

/// Where the credentials of this command line are.
pub fn logins(cli: &Cli) -> Logins {
    Logins(cli.globals().config_dir())
}

impl Logins {
    /// As [`registry_auth`]; `warn` is told of credentials that cannot be had.
    ///
    /// # Errors
    /// They cannot be written as JSON.
    pub fn auth(&self, image: &str, warn: &dyn Fn(&str)) -> Result<String, CliError> {
        header(&ConfigFile::load(&self.0).0, image, warn)
    }

    /// The registries that there are credentials for.
    pub fn servers(&self) -> Vec<String> {
        let mut all = ConfigFile::load(&self.0).0.servers();
        all.sort();
        all.dedup();
        all
    }
}

pub(super) fn header(
    config: &ConfigFile,
    image: &str,
    warn: &dyn Fn(&str),
) -> Result<String, CliError> {
    let server = server_of(image);
    let Some(found) = config.to_be_had(&server, warn) else { return Ok(String::new()) };
    encoded(&told(server, found))
}

/// Credentials as the API is told them.
fn told(server_address: String, credentials: Credentials) -> AuthConfig {
    let Credentials { username, password, identity_token } = credentials;
    AuthConfig { username, password, identity_token, server_address, ..Default::default() }
}

fn encoded(words: &impl serde::Serialize) -> Result<String, CliError> {
    let json = serde_json::to_vec(words)
        .map_err(|error| CliError::new(format!("cannot write credentials as JSON: {error}")))?;
    Ok(URL_SAFE.encode(json))
}

/// The value of `X-Registry-Config`: what is known of every registry, as a base image may be at any.
pub(crate) fn registry_config(cli: &Cli) -> Result<String, CliError> {
    let all = cli.config().every_one(&|line| cli.warn(line)).into_iter();
    let all = all.map(|(server, found)| (server.clone(), told(server, found)));
    encoded(&all.collect::<BTreeMap<_, _>>())
}

/// What is known of every registry, as the configuration file keeps it: for a configuration in another place, where no helper program is.
pub fn every_registry(cli: &Cli) -> Vec<(String, Value)> {
    let all = cli.config().every_one(&|line| cli.warn(line)).into_iter();
    all.map(|(server, found)| (server, in_words(&found))).collect()
}

/// Credentials as they are kept in the file.
fn in_words(credentials: &Credentials) -> Value {
    let mut entry = Map::new();
    let pair = format!("{}:{}", credentials.username, credentials.password);
    entry.insert("auth".to_owned(), STANDARD.encode(pair).into());
    if !credentials.identity_token.is_empty() {
        entry.insert("identitytoken".to_owned(), credentials.identity_token.clone().into());
    }
    Value::Object(entry)
}

impl ConfigFile {
    /// The registries that `login` knows, wherever their credentials are kept.
    fn servers(&self) -> Vec<String> {
        let named = |field: &str| {
            let all = self.fields.get(field).and_then(Value::as_object);
            all.into_iter().flat_map(|all| all.keys().cloned())
        };
        named("auths").chain(named("credHelpers")).collect()
    }

    /// What is kept for a registry.
    pub(crate) fn credentials(&self, server: &str) -> Result<Option<Credentials>, CliError> {
        match self.helper(server) {
            Some(helper) if helper == OURS => match self.vault().get(server) {
                Ok(Some(entry)) => Ok(Some(understood(entry))),
                Ok(None) => Ok(self.in_file(server)),
                Err(error) => {
                    Err(error.map_message(|words| format!("error getting credentials - {words}")))
                }
            },
            Some(helper) => from_helper(&helper, server),
            None => Ok(self.in_file(server)),
        }
    }

    /// What is kept for a registry, if it can be had. One that cannot must not be in the way of what needs none.
    fn to_be_had(&self, server: &str, warn: &dyn Fn(&str)) -> Option<Credentials> {
        self.credentials(server).unwrap_or_else(|error| {
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let words = format!("{}{hint}", error.message());
            warn(&format!("WARNING: going on without credentials of {server}: {words}"));
            None
        })
    }

    /// What can be had of every registry.
    pub(super) fn every_one(&self, warn: &dyn Fn(&str)) -> BTreeMap<String, Credentials> {
        let known: BTreeSet<String> = self.servers().into_iter().collect();
        let had = |server: String| self.to_be_had(&server, warn).map(|found| (server, found));
        known.into_iter().filter_map(had).collect()
    }

    /// Keeps credentials.
    pub(crate) fn store(
        &mut self,
        server: &str,
        new: &Credentials,
        keep: Keep,
    ) -> Result<(), CliError> {
        let kept = self.vault().lock()?;
        self.reload();
        let helper = self.helper(server);
        match (helper.as_deref(), keep) {
            (Some(helper), Keep::Safely) if helper != OURS => {
                // It may ask whoever runs us.
                drop(kept);
                let input = serde_json::to_vec(&entry_of(server, new)).unwrap_or_default();
                return call_helper(helper, "store", &input)
                    .map(drop)
                    .map_err(|why| CliError::new(format!("error storing credentials - {why}")));
            }
            (Some(helper), Keep::InPlainText)
                if helper != OURS || self.text("credsStore").is_some() =>
            {
                let words = format!("docker-credential-{helper} keeps the credentials of {server}");
                let hint = format!("take it out of \"{}\" for plain text", self.path.display());
                return Err(CliError::new(words).with_hint(hint));
            }
            (_, Keep::Safely) => {
                kept.store(&entry_of(server, new))?;
                let mut others = spellings(server);
                others.retain(|name| name != server);
                kept.erase(&others)?;
                if helper.is_none() {
                    self.put_in("credHelpers", server, OURS.into());
                }
                self.forget_plain(server);
                // As docker does where a helper has the rest.
                self.put_in("auths", server, json!({}));
            }
            (_, Keep::InPlainText) => {
                kept.erase(&spellings(server))?;
                self.forget_mark(server);
                self.forget_plain(server);
                self.put_in("auths", server, in_words(new));
            }
        }
        self.write()
    }

    /// Forgets credentials.
    pub(crate) fn erase(&mut self, server: &str) -> Result<(), CliError> {
        let helper = self.helper(server);
        if let Some(helper) = helper.as_deref().filter(|helper| *helper != OURS) {
            call_helper(helper, "erase", server.as_bytes())
                .map_err(|why| CliError::new(format!("error erasing credentials - {why}")))?;
        }
        let kept = self.vault().lock()?;
        self.reload();
        if self.helper(server).as_deref() == Some(OURS) {
            kept.erase(&spellings(server))?;
            self.forget_mark(server);
        }
        self.forget_plain(server);
        self.write()
    }

    /// Whether anything is kept in the file itself for a registry.
    pub(crate) fn knows(&self, server: &str) -> bool {
        self.helper(server).is_some() || self.in_file(server).is_some()
    }

    /// Whether credentials of a registry are in the file itself, for everybody who reads it.
    pub(crate) fn is_plain(&self, server: &str) -> bool {
        self.in_file(server).is_some()
    }

    /// Whether a program keeps the credentials of a registry, and neither the file nor we ourselves.
    pub(crate) fn has_helper(&self, server: &str) -> bool {
        self.helper(server).is_some_and(|helper| helper != OURS)
    }

    /// Where we keep what no program keeps.
    pub(crate) fn vault(&self) -> Vault {
        Vault::of(self.path.parent().unwrap_or(Path::new(".")))
    }

    /// Sets an entry of a field that has several.
    fn put_in(&mut self, name: &str, key: &str, value: Value) {
        let field = self.fields.entry(name).or_insert_with(|| json!({}));
        if !field.is_object() {
            // Docker does not read such a file at all.
            *field = json!({});
        }
        if let Some(object) = field.as_object_mut() {
            object.insert(key.to_owned(), value);
        }
    }

    fn forget_plain(&mut self, server: &str) {
        if let Some(auths) = self.fields.get_mut("auths").and_then(Value::as_object_mut) {
            auths.retain(|name, _| !same_server(name, server));
        }
    }

    fn forget_mark(&mut self, server: &str) {
        let Some(helpers) = self.fields.get_mut("credHelpers").and_then(Value::as_object_mut)
        else {
            return;
        };
        helpers.retain(|name, helper| helper != OURS || !same_server(name, server));
        if helpers.is_empty() {
            self.fields.remove("credHelpers");
        }
    }

    /// The program that keeps credentials for a registry: `credHelpers`, or `credsStore` for all of them.
    fn helper(&self, server: &str) -> Option<String> {
        let special = self.fields.get("credHelpers").and_then(|helpers| {
            let helpers = helpers.as_object()?;
            let (_, name) = helpers.iter().find(|(known, _)| same_server(known, server))?;
            name.as_str().map(str::to_owned)
        });
        special.or_else(|| self.text("credsStore")).filter(|name| !name.is_empty())
    }

    fn in_file(&self, server: &str) -> Option<Credentials> {
        let auths = self.fields.get("auths")?.as_object()?;
        let exactly = auths.get_key_value(server);
        let whole = || auths.iter().find(|(name, _)| is_whole(name) && same_server(name, server));
        let other = || auths.iter().find(|(known, _)| same_server(known, server));
        let (_, entry) = exactly.or_else(whole).or_else(other)?;
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut found = Credentials {
            username: text("username").to_owned(),
            password: text("password").to_owned(),
            identity_token: text("identitytoken").to_owned(),
        };
        if let Ok(decoded) = STANDARD.decode(text("auth"))
            && let Ok(decoded) = String::from_utf8(decoded)
            && let Some((username, password)) = decoded.split_once(':')
        {
            username.clone_into(&mut found.username);
            password.trim_end_matches('\0').clone_into(&mut found.password);
        }
        (found != Credentials::default()).then_some(found)
    }
}

/// Host and path of a name, which may be written with a scheme.
fn parts(name: &str) -> (&str, &str) {
    let name = name.strip_prefix("https://").or(name.strip_prefix("http://")).unwrap_or(name);
    name.split_once('/').unwrap_or((name, ""))
}

/// Names are kept with and without `https://`, and old ones with a path.
pub(super) fn same_server(known: &str, server: &str) -> bool {
    known == server || parts(known).0 == parts(server).0
}

/// Whether a name is that of a registry, and not of something at it: docker keeps tokens below its own.
pub(super) fn is_whole(name: &str) -> bool {
    matches!(parts(name).1.trim_end_matches('/'), "" | "v1" | "v2")
}

/// The names that a registry's credentials may be kept under, and for Docker Hub those of the tokens that come with them.
fn spellings(server: &str) -> Vec<String> {
    let host = parts(server).0;
    let mut all = vec![server.to_owned(), host.to_owned()];
    for scheme in ["http", "https"] {
        all.extend(["", "/", "/v1/", "/v2/"].map(|path| format!("{scheme}://{host}{path}")));
    }
    if same_server(server, DOCKER_HUB) {
        all.extend(["access-token", "refresh-token"].map(|name| format!("{DOCKER_HUB}{name}")));
    }
    all
}

fn from_helper(helper: &str, server: &str) -> Result<Option<Credentials>, CliError> {
    let output = match call_helper(helper, "get", server.as_bytes()) {
        Ok(output) => output,
        Err(why) if why.contains("credentials not found in native keychain") => return Ok(None),
        Err(why) => return Err(CliError::new(format!("error getting credentials - {why}"))),
    };
    let entry: Entry = serde_json::from_slice(&output).map_err(|error| {
        CliError::new(format!("cannot understand docker-credential-{helper}: {error}"))
    })?;
    Ok(Some(understood(entry)))
}

/// Credentials as helpers are given them.
fn entry_of(server: &str, credentials: &Credentials) -> Entry {
    let token = !credentials.identity_token.is_empty();
    let Credentials { username, password, identity_token } = credentials.clone();
    Entry {
        server: server.to_owned(),
        username: if token { TOKEN_USER.to_owned() } else { username },
        secret: if token { identity_token } else { password },
    }
}

fn understood(entry: Entry) -> Credentials {
    if entry.username == TOKEN_USER {
        Credentials { identity_token: entry.secret, ..Default::default() }
    } else {
        Credentials { username: entry.username, password: entry.secret, ..Default::default() }
    }
}

/// Runs `docker-credential-<helper> <verb>`; the error is docker's.
fn call_helper(helper: &str, verb: &str, input: &[u8]) -> Result<Vec<u8>, String> {
    let program = format!("docker-credential-{helper}");
    let missing = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("err: exec: {program:?}: executable file not found in $PATH, out: ``")
        }
        _ => format!("err: {program}: {error}, out: ``"),
    };
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(missing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read says why itself.
        drop(stdin.write_all(input));
    }
    let output = child.wait_with_output().map_err(missing)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Err(format!("err: exit status {}, out: `{}`", output.status.code().unwrap_or(-1), said.trim()))
}
