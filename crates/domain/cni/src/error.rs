//! What can go wrong with plugins.

use std::{io, path::PathBuf, time::Duration};

use ferry_errkind::{ErrorKind, Kinded};

/// A pod's network could not be made, looked at or taken apart.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// A file with configuration cannot be read.
    #[error("cannot read CNI configuration {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no configuration.
    #[error("invalid CNI configuration {}: {why}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A list that names no plugin.
    #[error("the CNI configuration list names no plugin")]
    NoPlugins,
    /// A plugin is in none of the directories.
    #[error("failed to find plugin \"{kind}\" in path {directories:?}")]
    NoSuchPlugin {
        /// Its name.
        kind: String,
        /// Where it was looked for.
        directories: Vec<PathBuf>,
    },
    /// A plugin cannot be run.
    #[error("cannot run CNI plugin \"{kind}\"")]
    Run {
        /// Its name.
        kind: String,
        /// Why.
        source: io::Error,
    },
    /// A plugin took too long and was killed.
    #[error("CNI plugin \"{kind}\" did not end its {command} within {} s", limit.as_secs())]
    TimedOut {
        /// Its name.
        kind: String,
        /// What it was to do.
        command: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// A plugin printed more than any result has.
    #[error("CNI plugin \"{kind}\" printed more than {limit} bytes")]
    TooMuch {
        /// Its name.
        kind: String,
        /// The limit.
        limit: usize,
    },
    /// A plugin said no.
    #[error("plugin type=\"{kind}\" failed ({command}): {message}")]
    Refused {
        /// Its name.
        kind: String,
        /// What it was to do.
        command: &'static str,
        /// Its words.
        message: String,
    },
    /// What a plugin printed is no result.
    #[error("CNI plugin \"{kind}\" printed no valid result: {why}")]
    Result {
        /// Its name.
        kind: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Kinded for CniError {
    fn kind(&self) -> ErrorKind {
        match self {
            CniError::Refused { .. } | CniError::TimedOut { .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        }
    }
}
