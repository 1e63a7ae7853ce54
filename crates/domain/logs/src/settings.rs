//! `--log-driver` and `--log-opt`.

mod chosen;
mod remote;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ferry_errkind::{ErrorKind, Kinded};
use ferry_shim::{LogFile, LogSpec, RemoteLog};

/// Without a word from the user a log takes at most 5 × 20 MB (Docker's json-file grows without end; its `local` does not).
const MAX_SIZE: u64 = 20 * 1000 * 1000;
const MAX_FILES: u32 = 5;

/// Drivers that Docker has and Ferry does not.
const OTHERS: [&str; 6] = ["fluentd", "gelf", "awslogs", "gcplogs", "splunk", "etwlogs"];

/// What every driver takes.
const COMMON: [&str; 2] = ["mode", "max-buffer-size"];

/// What drivers take that choose from labels and environment.
const CHOICES: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];

/// What drivers take whose logs are kept here, too.
const CACHE: [&str; 4] = ["cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];

/// A driver or option that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Docker has it, Ferry does not.
    #[error("log driver \"{0}\" is not supported: use json-file, local, journald, syslog or none")]
    Unsupported(String),
    /// Nobody has it. Docker's words.
    #[error("error looking up logging plugin {0}: plugin \"{0}\" not found")]
    UnknownDriver(String),
    /// The driver has no such option. Docker's words.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    UnknownOption {
        /// The driver.
        driver: &'static str,
        /// The option.
        option: String,
    },
    /// The same, as the driver `local` says it.
    #[error("unknown log opt '{0}' for log driver local")]
    UnknownLocalOption(String),
    /// A value that the driver refuses when it starts. Docker's words.
    #[error("failed to create task for container: failed to initialize logging driver: {0}")]
    Value(String),
    /// A value that is refused at once. Docker's words.
    #[error("{0}")]
    Refused(String),
}

impl Kinded for SettingsError {
    fn kind(&self) -> ErrorKind {
        match self {
            SettingsError::Unsupported(_) => ErrorKind::NotImplemented,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

/// What a log's records say of their container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogContext {
    /// The container's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image's id.
    pub image_id: String,
    /// Its image as the user named it.
    pub image: String,
    /// Program and arguments.
    pub command: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its environment.
    pub env: Vec<String>,
    /// The machine's name.
    pub host: String,
}

type Options = BTreeMap<String, String>;

/// Checks a driver and its options.
///
/// # Errors
/// The first thing that there is not.
pub fn check_settings(driver: &str, options: &Options) -> Result<(), SettingsError> {
    plan(driver, options, Path::new(""), &LogContext::default()).map(|_| ())
}

/// What the shim is told. `path` is where a file is, if the driver keeps one.
///
/// # Errors
/// As for [`check_settings`].
pub fn plan(
    driver: &str,
    options: &Options,
    path: &Path,
    context: &LogContext,
) -> Result<LogSpec, SettingsError> {
    let buffer = delivery(options)?;
    match driver {
        // Docker does not look at its options either.
        "none" => Ok(LogSpec::None),
        "json-file" => {
            known("json-file", options, &["max-size", "max-file", "compress"], &CHOICES)?;
            let mut file = file(options, path, ["max-size", "max-file"])?;
            file.compress = compression(options)?;
            file.attributes = chosen::attributes(options, context)?;
            if let Some(tag) = chosen::tag(options, context, "")? {
                file.attributes.insert("tag".to_owned(), tag);
            }
            Ok(LogSpec::JsonFile(file))
        }
        "local" => {
            known_to_local(options)?;
            let mut file = file(options, path, ["max-size", "max-file"])?;
            file.compress = always_compressed(options, &file)?;
            Ok(LogSpec::JsonFile(file))
        }
        "syslog" => {
            known("syslog", options, &remote::SYSLOG, &[&CHOICES[..], &CACHE].concat())?;
            let to = RemoteLog::Syslog(remote::syslog(options, context, buffer)?);
            Ok(LogSpec::Remote { to, cache: cache(options, path)? })
        }
        "journald" => {
            known("journald", options, &[], &[&CHOICES[..], &CACHE].concat())?;
            let to = RemoteLog::Journald(remote::journald(options, context, buffer.is_some())?);
            Ok(LogSpec::Remote { to, cache: cache(options, path)? })
        }
        other if OTHERS.contains(&other) => Err(SettingsError::Unsupported(other.to_owned())),
        other => Err(SettingsError::UnknownDriver(other.to_owned())),
    }
}

/// Whether a container's log can be read: there is a file of it.
pub fn is_readable(driver: &str, options: &Options) -> bool {
    match driver {
        "none" => false,
        "json-file" | "local" => true,
        _ => !matches!(options.get("cache-disabled").map(String::as_str), Some("true" | "1")),
    }
}

fn known(
    driver: &'static str,
    options: &Options,
    own: &[&str],
    more: &[&str],
) -> Result<(), SettingsError> {
    let all =
        |option: &str| own.contains(&option) || more.contains(&option) || COMMON.contains(&option);
    match options.keys().find(|option| !all(option)) {
        Some(option) => Err(SettingsError::UnknownOption { driver, option: option.clone() }),
        None => Ok(()),
    }
}

fn known_to_local(options: &Options) -> Result<(), SettingsError> {
    let all = ["max-size", "max-file", "compress"];
    let unknown =
        |option: &&String| !all.contains(&option.as_str()) && !COMMON.contains(&option.as_str());
    match options.keys().find(unknown) {
        Some(option) => Err(SettingsError::UnknownLocalOption(option.clone())),
        None => Ok(()),
    }
}

/// `mode` and `max-buffer-size`: the bytes that may wait when nobody waits for the log.
fn delivery(options: &Options) -> Result<Option<u64>, SettingsError> {
    let refused = |words: String| Err(SettingsError::Refused(words));
    let mode = options.get("mode").map_or("", String::as_str);
    if !matches!(mode, "" | "blocking" | "non-blocking") {
        return refused(format!("logger: logging mode not supported: {mode}"));
    }
    match options.get("max-buffer-size") {
        Some(_) if mode != "non-blocking" => refused(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'".to_owned(),
        ),
        Some(text) => {
            match ferry_stdx::size::parse_bytes(text).ok().and_then(|n| n.try_into().ok()) {
                Some(bytes) => Ok(Some(bytes)),
                None => {
                    refused(format!("error parsing option max-buffer-size: invalid size: '{text}'"))
                }
            }
        }
        None if mode == "non-blocking" => Ok(Some(1 << 20)),
        None => Ok(None),
    }
}

/// Whether rotated files are packed. What there is without options is enough for that, but Docker wants it said.
fn compression(options: &Options) -> Result<bool, SettingsError> {
    let compress = options.get("compress").map_or(Ok(false), |text| go_bool(text));
    if !compress.map_err(SettingsError::Value)? {
        return Ok(false);
    }
    let files: u32 = options.get("max-file").and_then(|n| n.parse().ok()).unwrap_or(1);
    if files < 2 || !options.contains_key("max-size") {
        let words = "compress cannot be true when max-file is less than 2 or max-size is not set";
        return Err(SettingsError::Value(words.to_owned()));
    }
    Ok(true)
}

/// The driver `local` packs unless it is told not to.
fn always_compressed(options: &Options, file: &LogFile) -> Result<bool, SettingsError> {
    let compress = options.get("compress").map_or(Ok(true), |text| go_bool(text));
    let compress = compress.map_err(|words| {
        SettingsError::Value(format!("error reading compress log option: {words}"))
    })?;
    if compress && file.max_files < 2 {
        let words = "compression cannot be enabled when max file count is 1";
        return Err(SettingsError::Value(words.to_owned()));
    }
    Ok(compress)
}

/// What Go takes for a truth value, and its words for what is none.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(format!("strconv.ParseBool: parsing \"{other}\": invalid syntax")),
    }
}

fn file(
    options: &Options,
    path: &Path,
    [size, count]: [&str; 2],
) -> Result<LogFile, SettingsError> {
    Ok(LogFile {
        path: PathBuf::from(path),
        max_size: options.get(size).map_or(Ok(MAX_SIZE), |value| max_size(value))?,
        max_files: options.get(count).map_or(Ok(MAX_FILES), |value| max_files(value))?,
        ..LogFile::default()
    })
}

/// The file that a log with somebody else can be read from here.
fn cache(options: &Options, path: &Path) -> Result<Option<LogFile>, SettingsError> {
    if !is_readable("", options) {
        return Ok(None);
    }
    let mut file = file(options, path, ["cache-max-size", "cache-max-file"])?;
    let compress = options.get("cache-compress").map_or(Ok(true), |text| go_bool(text));
    file.compress = compress.map_err(SettingsError::Value)? && file.max_files > 1;
    Ok(Some(file))
}

fn max_size(value: &str) -> Result<u64, SettingsError> {
    let invalid = || SettingsError::Value(format!("invalid size: '{value}'"));
    match ferry_stdx::size::parse_bytes(value) {
        Ok(-1) => Ok(0),
        Ok(bytes) if bytes > 0 => u64::try_from(bytes).map_err(|_| invalid()),
        _ => Err(invalid()),
    }
}

fn max_files(value: &str) -> Result<u32, SettingsError> {
    match value.parse::<i64>() {
        Ok(count @ 1..=1000) => Ok(count as u32),
        Ok(count) if count > 1000 => {
            Err(SettingsError::Value("max-file cannot be more than 1000".to_owned()))
        }
        Ok(_) => Err(SettingsError::Value("max-file cannot be less than 1".to_owned())),
        Err(_) => {
            Err(SettingsError::Value(format!("strconv.Atoi: parsing \"{value}\": invalid syntax")))
        }
    }
}
