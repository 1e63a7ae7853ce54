use std::path::PathBuf;

use ferry_errkind::{ErrorKind, Kinded};

/// A record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The file does not open.
    #[error("cannot open database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// A newer Ferry wrote the file.
    #[error("database {} has layout {layout}, this program knows up to {known}: run the newer ferry that made it", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its layout.
        layout: i64,
        /// Ours.
        known: i64,
    },
    /// Reading failed.
    #[error("cannot read records of kind {table}")]
    Read {
        /// The table.
        table: &'static str,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// A transaction failed.
    #[error("cannot write records")]
    Write {
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// A value has no JSON form.
    #[error("cannot encode {table} record \"{key}\"")]
    Encode {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// The reason.
        source: serde_json::Error,
    },
    /// A value is not what the table holds.
    #[error("cannot decode {table} record \"{key}\"")]
    Decode {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// The reason.
        source: serde_json::Error,
    },
}

impl Kinded for DbError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}
