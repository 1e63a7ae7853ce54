//! Where manifests are: files, the files of a directory, and the standard input.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use ferry_cli::face::CliError;
use serde_json::Value;

/// Longest manifests, all of them together.
const MAX_BYTES: u64 = 8 << 20;

/// The documents of all that is named, in this order, and what to call the whole in messages.
pub(crate) fn documents(names: &[String]) -> Result<(Vec<Value>, String), CliError> {
    let mut all = Vec::new();
    let mut left = MAX_BYTES;
    for name in names {
        let files = match Path::new(name) {
            path if name != "-" && path.is_dir() => of_directory(path)?,
            path => vec![path.to_owned()],
        };
        for file in files {
            let text = read(&file, left)?;
            left -= text.len() as u64;
            let wrong = |words: String| CliError::new(format!("{}: {words}", file.display()));
            all.extend(ferry_compose::yaml_documents(&text).map_err(wrong)?);
        }
    }
    let whole = match names {
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        [] => "-".to_owned(),
    };
    Ok((all, whole))
}

/// As kubectl: manifests by their names' ends, and nothing of directories inside.
fn of_directory(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let name = directory.display();
    let failed = |error: std::io::Error| CliError::new(format!("cannot read {name}: {error}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let end = path.extension().and_then(|end| end.to_str());
        if matches!(end, Some("yaml" | "yml" | "json")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        let why = "there is no file .yaml, .yml or .json in it";
        return Err(CliError::new(format!("{name} has no manifests: {why}")));
    }
    Ok(files)
}

fn read(path: &Path, most: u64) -> Result<String, CliError> {
    let name = path.display();
    let failed = |error: std::io::Error| CliError::new(format!("cannot read {name}: {error}"));
    let mut text = String::new();
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    source.take(most + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > most {
        let words = format!("{name}: manifests may have {MAX_BYTES} bytes together");
        return Err(CliError::new(words));
    }
    Ok(text)
}
