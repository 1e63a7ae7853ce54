//! Which directory an archive is unpacked in, and what its entries are called there.

use super::paths::{asserts_directory, split_entry};
use crate::framework::CliError;

/// One end of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct End {
    /// Its path.
    pub(super) path: String,
    /// Whether something is there.
    pub(super) exists: bool,
    /// Whether that is a directory.
    pub(super) is_directory: bool,
    /// The name that it was asked for by, where the path has another; else empty.
    pub(super) asked_as: String,
}

/// Where an archive of a source goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The directory that it is unpacked in.
    pub(super) directory: String,
    /// What its entries start with, and what they are to start with instead.
    pub(super) rename: Option<(String, String)>,
}

/// Docker's rules.
pub(super) fn plan(source: &End, destination: &End) -> Result<Plan, CliError> {
    if destination.exists && destination.is_directory {
        // Into it, under its own name.
        return Ok(Plan { directory: destination.path.clone(), rename: None });
    }
    if destination.exists && source.is_directory {
        return Err(CliError::new("cannot copy directory"));
    }
    if !destination.exists && !source.is_directory && asserts_directory(&destination.path) {
        return Err(CliError::new("no such directory"));
    }
    // It becomes the destination: unpacked beside it, under its name.
    let (directory, new) = split_entry(&destination.path);
    let old = match source.asked_as.as_str() {
        "" => split_entry(&source.path).1,
        name => name.to_owned(),
    };
    // The root's entries begin with a slash, which is to stay.
    let old = if old == "/" { String::new() } else { old };
    Ok(Plan { directory, rename: Some((old, new)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(path: &str, kind: char) -> End {
        End {
            path: path.to_owned(),
            exists: kind != '-',
            is_directory: kind == 'd',
            asked_as: String::new(),
        }
    }

    fn planned(source: (&str, char), destination: (&str, char)) -> String {
        match plan(&end(source.0, source.1), &end(destination.0, destination.1)) {
            Ok(Plan { directory, rename: None }) => directory,
            Ok(Plan { directory, rename: Some((old, new)) }) => format!("{directory} {old}>{new}"),
            Err(error) => error.message().to_owned(),
        }
    }

    #[test]
    fn every_kind_at_every_kind() {
        assert_eq!(planned(("/s/f", 'f'), ("/d", 'd')), "/d");
        assert_eq!(planned(("/s/f", 'f'), ("/d/x", 'f')), "/d f>x");
        assert_eq!(planned(("/s/f", 'f'), ("/d/x", '-')), "/d f>x");
        assert_eq!(planned(("/s/f", 'f'), ("/d/x/", '-')), "no such directory");
        assert_eq!(planned(("/s/a", 'd'), ("/d", 'd')), "/d");
        assert_eq!(planned(("/s/a/.", 'd'), ("/d", 'd')), "/d");
        assert_eq!(planned(("/s/a", 'd'), ("/d/x", 'f')), "cannot copy directory");
        assert_eq!(planned(("/s/a", 'd'), ("/d/x/", '-')), "/d a>x");
        assert_eq!(planned(("/s/a/.", 'd'), ("/d/x", '-')), "/d .>x");
        assert_eq!(planned(("/", 'd'), ("/d/x", '-')), "/d >x");
    }
}
