//! What a keeper must know again after a crash and can ask nobody for: a file in its container.

use std::{fs::File, io::Write};

use ferry_cli::face::CliError;
use serde::{Serialize, de::DeserializeOwned};

const STATE: &str = "/state.json";

/// What was saved; nothing if that never happened. What cannot be read is not nothing: it would be done again.
pub(super) fn load<T: DeserializeOwned>() -> Result<Option<T>, CliError> {
    let failed = |why: &dyn std::fmt::Display| CliError::new(format!("cannot read {STATE}: {why}"));
    match std::fs::read_to_string(STATE) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| failed(&error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// Saves all of it or nothing.
pub(super) fn save(state: &impl Serialize) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::new(format!("cannot write {STATE}: {error}"));
    let text = serde_json::to_vec(state).map_err(|error| CliError::new(error.to_string()))?;
    let new = format!("{STATE}.new");
    let mut file = File::create(&new).map_err(failed)?;
    // After a power cut it is this one or the last one, not an empty one.
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, STATE).map_err(failed)
}
