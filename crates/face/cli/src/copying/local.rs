//! The end of a copy that is on this machine.

use std::{fs, io, os::unix::fs::FileTypeExt, path::Path};

use super::{
    paths::{asserts_directory, base, directory, join, rebase_name, split_entry},
    plan::End,
};
use crate::framework::CliError;

/// As many links in a row as Docker follows at a destination.
const MAX_LINKS: usize = 10;

/// `call path: words`, as Go tells a failed call.
pub(super) fn failed(call: &str, path: &str, error: &io::Error) -> CliError {
    CliError::new(format!("{call} {path}: {}", words(error)))
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        _ if is_loop(error) => "too many levels of symbolic links".to_owned(),
        _ => crate::run::options::go_words(error),
    }
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// A source. Links before its last component are followed, the last one only with `follow`, or where the path goes on behind
/// it.
pub(super) fn source(path: &str, follow: bool) -> Result<End, CliError> {
    let (path, asked_as) = if follow {
        rebase_name(path, resolved(path)?)
    } else {
        let slash = path.rfind('/').map_or(0, |slash| slash + 1);
        let found = format!("{}/{}", resolved(&path[..slash])?, &path[slash..]);
        let renamed = path.ends_with('/') && base(path) != base(&found);
        let name = if renamed { base(path).to_owned() } else { String::new() };
        (found, name)
    };
    let found = fs::symlink_metadata(&path).map_err(|error| failed("lstat", &path, &error))?;
    Ok(End { is_directory: found.is_dir(), exists: true, path, asked_as })
}

/// Without links.
fn resolved(path: &str) -> Result<String, CliError> {
    match fs::canonicalize(path) {
        Ok(found) => Ok(found.to_string_lossy().into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(CliError::new("not a directory"))
        }
        Err(error) if is_loop(&error) => Err(CliError::new("EvalSymlinks: too many links")),
        Err(error) => {
            // Go names the first component that is not there.
            let missing = Path::new(path)
                .ancestors()
                .take_while(|part| part.symlink_metadata().is_err())
                .last()
                .map_or(path.to_owned(), |part| part.to_string_lossy().into_owned());
            Err(failed("lstat", &missing, &error))
        }
    }
}

/// A destination, links followed. It need not be there, but its directory must.
pub(super) fn destination(path: &str) -> Result<End, CliError> {
    let mut at = path.to_owned();
    for _ in 0..=MAX_LINKS {
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&at).map_err(|error| failed("readlink", &at, &error))?;
                let target = target.to_string_lossy().into_owned();
                at = if target.starts_with('/') {
                    target
                } else {
                    join(&split_entry(&at).0, &target)
                };
            }
            Ok(found) => {
                let is_directory = found.is_dir();
                return Ok(End { path: at, exists: true, is_directory, ..End::default() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(at),
            Err(error) => return Err(failed("lstat", &at, &error)),
        }
    }
    Err(CliError::new(format!("too many symlinks in {path}")))
}

fn missing(path: String) -> Result<End, CliError> {
    let parent = split_entry(&path).0;
    let found = fs::metadata(&parent).map_err(|error| failed("stat", &parent, &error))?;
    if !found.is_dir() {
        return Err(CliError::new("not a directory"));
    }
    Ok(End { path, ..End::default() })
}

/// Refuses what cannot be a destination before anything is asked of the daemon.
pub(super) fn check_output(path: &str) -> Result<(), CliError> {
    let parent = directory(&super::paths::clean(path));
    let is_missing = |path: &str| matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
    if parent != "." && is_missing(&parent) {
        let words = format!("invalid output path: directory {parent:?} does not exist");
        return Err(CliError::new(words));
    }
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("stat", path, &error)),
        Ok(found) => {
            let kind = found.file_type();
            if kind.is_char_device() || kind.is_block_device() {
                let words = "must be a directory or a regular file: got a device";
                return Err(CliError::new(format!("invalid output path: {path:?} {words}")));
            }
            Ok(())
        }
    }
}

/// The directory that a source is in, its name there, and the name that its entries get.
pub(super) fn split_source(source: &End) -> (String, String, String) {
    let (directory, name) = split_entry(&source.path);
    let shown = match source.asked_as.as_str() {
        "" if name == "/" => ".".to_owned(),
        "" => name.clone(),
        asked => asked.to_owned(),
    };
    let name = if asserts_directory(&name) { ".".to_owned() } else { name };
    (directory, name, shown)
}
