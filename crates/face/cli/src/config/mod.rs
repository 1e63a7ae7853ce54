//! `config.json`: what docker keeps about the user, shared with docker itself. Fields that are not known here are kept when it is
//! written.

mod credentials;
mod vault;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::framework::CliError;

pub(crate) use credentials::{Credentials, Keep, registry_config};
pub use credentials::{Logins, every_registry, logins, registry_auth};
pub(crate) use vault::{Entry, Vault};

/// The file may be as large as this.
const LIMIT: u64 = 8 << 20;

/// `config.json`.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl ConfigFile {
    /// Changes the file, and what others change at the same time stays.
    pub(crate) fn change(
        directory: &Path,
        change: impl FnOnce(&mut ConfigFile),
    ) -> Result<(), CliError> {
        let _locked = Vault::of(directory).lock()?;
        let (mut file, _) = ConfigFile::load(directory);
        change(&mut file);
        file.write()
    }

    /// What the file has now, for whoever has locked its directory.
    fn reload(&mut self) {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        *self = ConfigFile::load(directory).0;
    }

    /// Reads the file from docker's directory. A file that cannot be read is empty, with a warning in docker's words.
    pub(crate) fn load(directory: &Path) -> (Self, Option<String>) {
        let path = directory.join("config.json");
        let warning = |why: String| {
            Some(format!("WARNING: Error loading config file: {}: {why}", path.display()))
        };
        let bytes = match read_limited(&path, LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return (ConfigFile { path, fields: Map::new() }, None);
            }
            Err(error) => {
                let warning = warning(error.to_string());
                return (ConfigFile { path, fields: Map::new() }, warning);
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(fields) => (ConfigFile { path, fields }, None),
            Err(error) => {
                let warning = warning(error.to_string());
                (ConfigFile { path, fields: Map::new() }, warning)
            }
        }
    }

    /// A text field, unless it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.fields.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Sets a text field; an empty text takes it away.
    pub(crate) fn set_text(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.fields.remove(name);
        } else {
            self.fields.insert(name.to_owned(), Value::from(value));
        }
    }

    /// `aliases`: another command's name for a command.
    pub(crate) fn alias(&self, name: &str) -> Option<String> {
        self.fields.get("aliases")?.get(name)?.as_str().map(str::to_owned)
    }

    /// `psFormat`.
    pub(crate) fn ps_format(&self) -> Option<String> {
        self.text("psFormat")
    }

    /// `statsFormat`.
    pub(crate) fn stats_format(&self) -> Option<String> {
        self.text("statsFormat")
    }

    /// `imagesFormat`.
    pub(crate) fn images_format(&self) -> Option<String> {
        self.text("imagesFormat")
    }

    /// `networksFormat`.
    pub(crate) fn networks_format(&self) -> Option<String> {
        self.text("networksFormat")
    }

    /// `volumesFormat`.
    pub(crate) fn volumes_format(&self) -> Option<String> {
        self.text("volumesFormat")
    }

    /// `detachKeys`.
    pub(crate) fn detach_keys(&self) -> Option<String> {
        self.text("detachKeys")
    }

    /// `HttpHeaders`; docker does not let anybody replace its own `User-Agent`.
    pub(crate) fn http_headers(&self) -> Vec<(String, String)> {
        let Some(Value::Object(headers)) = self.fields.get("HttpHeaders") else {
            return Vec::new();
        };
        headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("user-agent"))
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect()
    }

    /// Proxies that containers are told of: environment variables, by `proxies.<host>` or `proxies.default`.
    pub(crate) fn proxies(&self, host: &str) -> Vec<(String, String)> {
        let Some(Value::Object(all)) = self.fields.get("proxies") else { return Vec::new() };
        let Some(Value::Object(proxy)) = all.get(host).or_else(|| all.get("default")) else {
            return Vec::new();
        };
        let mut variables = Vec::new();
        for (field, name) in [
            ("httpProxy", "HTTP_PROXY"),
            ("httpsProxy", "HTTPS_PROXY"),
            ("noProxy", "NO_PROXY"),
            ("ftpProxy", "FTP_PROXY"),
            ("allProxy", "ALL_PROXY"),
        ] {
            if let Some(value) = proxy.get(field).and_then(Value::as_str).filter(|v| !v.is_empty())
            {
                variables.push((name.to_owned(), value.to_owned()));
                variables.push((name.to_ascii_lowercase(), value.to_owned()));
            }
        }
        variables
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file, whole or not at all, readable by its owner only: it holds passwords.
    fn write(&self) -> Result<(), CliError> {
        self.save().map_err(|error| {
            CliError::new(format!("cannot write \"{}\": {error}", self.path.display()))
        })
    }

    fn save(&self) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        // A link to a file that is kept elsewhere stays one.
        let target = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let temporary = target.with_extension(format!("json.{}", std::process::id()));
        let mut text = Vec::new();
        let layout = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut writer = serde_json::Serializer::with_formatter(&mut text, layout);
        serde::Serialize::serialize(&self.fields, &mut writer)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        let written = file.write_all(&text).and_then(|()| fs::rename(&temporary, &target));
        if written.is_err() {
            // What is left of it helps nobody.
            drop(fs::remove_file(&temporary));
        }
        written
    }
}

/// Reads a file that must not be larger than `limit`.
pub(crate) fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
