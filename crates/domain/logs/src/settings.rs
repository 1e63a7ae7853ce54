//! `--log-driver` and `--log-opt`.

use std::{collections::BTreeMap, path::Path};

use ferry_errkind::{ErrorKind, Kinded};
use ferry_shim::{LogFile, LogSpec};

/// Without a word from the user a log takes at most 5 × 20 MB (Docker's grows without end).
const MAX_SIZE: u64 = 20 * 1000 * 1000;
const MAX_FILES: u32 = 5;

/// Drivers that Docker has and this version does not.
const OTHERS: [&str; 9] =
    ["local", "journald", "syslog", "fluentd", "gelf", "awslogs", "gcplogs", "splunk", "etwlogs"];

/// A driver or option that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Docker has it, Ferry does not yet.
    #[error("log driver \"{0}\" is not supported yet: use json-file or none")]
    Unsupported(String),
    /// Nobody has it. Docker's words.
    #[error("logger: no log driver named '{0}' is registered")]
    UnknownDriver(String),
    /// The driver has no such option. Docker's words.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    UnknownOption {
        /// The driver.
        driver: &'static str,
        /// The option.
        option: String,
    },
    /// Its value does not read.
    #[error("invalid value for log opt \"{option}\": \"{value}\"")]
    Value {
        /// The option.
        option: &'static str,
        /// The value.
        value: String,
    },
}

impl Kinded for SettingsError {
    fn kind(&self) -> ErrorKind {
        match self {
            SettingsError::Unsupported(_) => ErrorKind::NotImplemented,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

/// Checks a driver and its options.
///
/// # Errors
/// The first thing that there is not.
pub fn check_settings(
    driver: &str,
    options: &BTreeMap<String, String>,
) -> Result<(), SettingsError> {
    plan(driver, options, Path::new(""), &BTreeMap::new(), &[]).map(|_| ())
}

/// What the shim is told. `labels` and `env` are the container's, from which the options `labels` and `env` choose.
///
/// # Errors
/// As for [`check_settings`].
pub fn plan(
    driver: &str,
    options: &BTreeMap<String, String>,
    path: &Path,
    labels: &BTreeMap<String, String>,
    env: &[String],
) -> Result<LogSpec, SettingsError> {
    match driver {
        "none" => return Ok(LogSpec::None),
        "json-file" => {}
        other if OTHERS.contains(&other) => {
            return Err(SettingsError::Unsupported(other.to_owned()));
        }
        other => return Err(SettingsError::UnknownDriver(other.to_owned())),
    }
    let mut file = LogFile {
        path: path.to_owned(),
        max_size: MAX_SIZE,
        max_files: MAX_FILES,
        attributes: BTreeMap::new(),
    };
    for (option, value) in options {
        match option.as_str() {
            "max-size" => file.max_size = max_size(value)?,
            "max-file" => file.max_files = max_files(value)?,
            "labels" => {
                choose(value, labels.iter().map(|(k, v)| (k.as_str(), v.as_str())), &mut file)
            }
            "env" => choose(value, env.iter().filter_map(|line| line.split_once('=')), &mut file),
            "tag" => {
                file.attributes.insert("tag".to_owned(), value.clone());
            }
            // Delivery that does not block is what the shim does anyway: it never waits for a reader of the file.
            "mode" if matches!(value.as_str(), "blocking" | "non-blocking") => {}
            "mode" => return Err(SettingsError::Value { option: "mode", value: value.clone() }),
            _ => {
                return Err(SettingsError::UnknownOption {
                    driver: "json-file",
                    option: option.clone(),
                });
            }
        }
    }
    Ok(LogSpec::JsonFile(file))
}

fn max_size(value: &str) -> Result<u64, SettingsError> {
    let invalid = || SettingsError::Value { option: "max-size", value: value.to_owned() };
    match ferry_stdx::size::parse_bytes(value) {
        Ok(-1) => Ok(0),
        Ok(bytes) if bytes > 0 => u64::try_from(bytes).map_err(|_| invalid()),
        _ => Err(invalid()),
    }
}

fn max_files(value: &str) -> Result<u32, SettingsError> {
    value
        .parse()
        .ok()
        .filter(|count| (1..=1000).contains(count))
        .ok_or_else(|| SettingsError::Value { option: "max-file", value: value.to_owned() })
}

fn choose<'a>(names: &str, from: impl Iterator<Item = (&'a str, &'a str)>, file: &mut LogFile) {
    let names: Vec<&str> = names.split(',').collect();
    for (key, value) in from.filter(|(key, _)| names.contains(key)) {
        file.attributes.insert(key.to_owned(), value.to_owned());
    }
}
