//! Where contexts are kept: docker's directories, so that both programs know the same ones.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ferry_oci::Digest;
use serde_json::{Map, Value, json};

use crate::framework::{Cli, CliError, quote};

/// A context's file may be as large as this.
const LIMIT: u64 = 1 << 20;

/// Most contexts that are listed.
const MOST: usize = 10_000;

/// The context that is none: what `DOCKER_HOST` says, or the socket that everybody knows.
pub(super) const DEFAULT: &str = "default";

/// A named daemon.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) name: String,
    /// Its file, with fields that are not known here.
    pub(super) meta: Value,
}

impl Context {
    pub(super) fn new(name: &str) -> Context {
        Context {
            name: name.to_owned(),
            meta: json!({"Name": name, "Metadata": {}, "Endpoints": {"docker": {}}}),
        }
    }

    pub(super) fn description(&self) -> &str {
        self.meta["Metadata"]["Description"].as_str().unwrap_or_default()
    }

    pub(super) fn host(&self) -> &str {
        self.meta["Endpoints"]["docker"]["Host"].as_str().unwrap_or_default()
    }

    pub(super) fn set_description(&mut self, text: &str) {
        self.meta["Metadata"]["Description"] = Value::from(text);
    }

    pub(super) fn set_endpoint(&mut self, host: &str, skip_verify: bool) {
        self.meta["Endpoints"]["docker"] = json!({"Host": host, "SkipTLSVerify": skip_verify});
    }

    pub(super) fn meta_dir(&self, cli: &Cli) -> PathBuf {
        root(cli).join("meta").join(digest(&self.name))
    }

    pub(super) fn tls_dir(&self, cli: &Cli) -> PathBuf {
        root(cli).join("tls").join(digest(&self.name))
    }

    /// Names of the files with keys and certificates.
    pub(super) fn tls_files(&self, cli: &Cli) -> Vec<String> {
        let mut names = names_in(&self.tls_dir(cli).join("docker"));
        names.sort();
        names
    }

    /// Writes its file, whole or not at all.
    pub(super) fn save(&self, cli: &Cli) -> Result<(), CliError> {
        let dir = self.meta_dir(cli);
        let failed =
            |error: io::Error| CliError::new(format!("cannot write {}: {error}", dir.display()));
        fs::create_dir_all(&dir).map_err(failed)?;
        let scratch = dir.join("meta.json.new");
        fs::write(&scratch, self.meta.to_string()).map_err(failed)?;
        fs::rename(&scratch, dir.join("meta.json")).map_err(failed)
    }

    /// Copies key material.
    pub(super) fn save_tls(&self, cli: &Cli, files: &[(&str, &str)]) -> Result<(), CliError> {
        for (name, from) in files {
            let bytes = crate::config::read_limited(Path::new(from), LIMIT)
                .map_err(|error| CliError::new(format!("unable to read {from}: {error}")))?;
            self.write_key(cli, name, &bytes)?;
        }
        Ok(())
    }

    /// Keeps key material, which only the owner may read.
    pub(super) fn write_key(&self, cli: &Cli, name: &str, bytes: &[u8]) -> Result<(), CliError> {
        let dir = self.tls_dir(cli).join("docker");
        let path = dir.join(name);
        let failed =
            |error: io::Error| CliError::new(format!("cannot write {}: {error}", path.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&path).and_then(|mut file| file.write_all(bytes)).map_err(failed)
    }

    pub(super) fn remove(&self, cli: &Cli) -> io::Result<()> {
        fs::remove_dir_all(self.meta_dir(cli))?;
        match fs::remove_dir_all(self.tls_dir(cli)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn root(cli: &Cli) -> PathBuf {
    cli.globals().config_dir().join("contexts")
}

fn digest(name: &str) -> String {
    Digest::sha256_of(name.as_bytes()).hex()
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.take(MOST).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Docker's rule for names.
pub(super) fn check_name(name: &str) -> Result<(), CliError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    let fits = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.len() > 1
        && name.bytes().all(allowed);
    if name == DEFAULT {
        return Err(CliError::new("\"default\" is a reserved context name"));
    }
    if fits {
        return Ok(());
    }
    Err(CliError::new(format!(
        "context name {} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\"",
        quote(name)
    )))
}

/// One context by name.
pub(super) fn load(cli: &Cli, name: &str) -> Result<Context, CliError> {
    let path = root(cli).join("meta").join(digest(name)).join("meta.json");
    let bytes = crate::config::read_limited(&path, LIMIT).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        CliError::new(format!(
            "context {}: context not found: open {}: {why}",
            quote(name),
            path.display()
        ))
    })?;
    let meta: Value = serde_json::from_slice(&bytes).map_err(|error| {
        CliError::new(format!("context {}: {}: {error}", quote(name), path.display()))
    })?;
    Ok(Context { name: name.to_owned(), meta })
}

pub(super) fn exists(cli: &Cli, name: &str) -> bool {
    root(cli).join("meta").join(digest(name)).join("meta.json").exists()
}

/// All contexts by name. What cannot be read is left out.
pub(super) fn list(cli: &Cli) -> Vec<Context> {
    let meta = root(cli).join("meta");
    let mut found: Vec<Context> = names_in(&meta)
        .iter()
        .filter_map(|id| crate::config::read_limited(&meta.join(id).join("meta.json"), LIMIT).ok())
        .filter_map(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok())
        .filter_map(|meta| {
            let name = meta.get("Name")?.as_str()?.to_owned();
            Some(Context { name, meta: Value::Object(meta) })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The names of all contexts, for completion.
pub(crate) fn names(cli: &Cli) -> Vec<String> {
    let mut names: Vec<String> = list(cli).into_iter().map(|context| context.name).collect();
    names.insert(0, DEFAULT.to_owned());
    names
}

/// The field of `config.json` with the context in use. `ferry` has its own: it does not follow docker to another daemon.
pub(crate) fn current_field(program: &str) -> &'static str {
    if program == "docker" { "currentContext" } else { "ferryContext" }
}

/// The context in use.
pub(super) fn current(cli: &Cli) -> String {
    if let Some(name) = cli.globals().context() {
        return name.to_owned();
    }
    if !cli.globals().hosts().is_empty() || cli.env("DOCKER_HOST").is_some() {
        return DEFAULT.to_owned();
    }
    cli.env("DOCKER_CONTEXT")
        .or_else(|| cli.config().text(current_field(cli.program())))
        .unwrap_or_else(|| DEFAULT.to_owned())
}
