//! `--security-opt`.

use serde_json::Value;

use super::files::go_words;
use crate::framework::quote;

/// A profile may be as large as this.
const LIMIT: u64 = 4 << 20;

/// What the security options say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Security {
    pub(super) options: Vec<String>,
    /// `systempaths=unconfined`: nothing is hidden or read-only.
    pub(super) unconfined_paths: bool,
}

/// Reads `--security-opt`. A profile for seccomp is a file of ours, whose content is sent.
pub(super) fn parse(given: &[String]) -> Result<Security, String> {
    let mut security = Security::default();
    for option in given {
        if option == "systempaths=unconfined" {
            security.unconfined_paths = true;
            continue;
        }
        let bare = option == "no-new-privileges";
        let split = option.split_once('=').or_else(|| option.split_once(':'));
        let (key, value) = match split {
            Some((key, value)) if !value.is_empty() || key == "no-new-privileges" => (key, value),
            _ if bare => (option.as_str(), ""),
            _ => return Err(format!("Invalid --security-opt: {}", quote(option))),
        };
        security.options.push(match (key, value) {
            ("seccomp", "builtin" | "unconfined") => option.clone(),
            ("seccomp", path) => format!("seccomp={}", profile(path)?),
            _ => option.clone(),
        });
    }
    Ok(security)
}

fn profile(path: &str) -> Result<String, String> {
    let bytes =
        crate::config::read_limited(std::path::Path::new(path), LIMIT).map_err(|error| {
            format!("opening seccomp profile ({path}) failed: open {path}: {}", go_words(&error))
        })?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let why = match error.is_eof() {
            true => "unexpected end of JSON input".to_owned(),
            false => error.to_string(),
        };
        format!("compacting json for seccomp profile ({path}) failed: {why}")
    })?;
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let parse =
            |list: &[&str]| parse(&list.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>());
        let ok = parse(&[
            "no-new-privileges",
            "label:disable",
            "seccomp=unconfined",
            "systempaths=unconfined",
        ])
        .unwrap();
        assert_eq!(ok.options, ["no-new-privileges", "label:disable", "seccomp=unconfined"]);
        assert!(ok.unconfined_paths);
        assert_eq!(parse(&["foo"]).unwrap_err(), "Invalid --security-opt: \"foo\"");
        assert_eq!(parse(&["label="]).unwrap_err(), "Invalid --security-opt: \"label=\"");
        assert_eq!(
            parse(&["seccomp=/nonexistent"]).unwrap_err(),
            "opening seccomp profile (/nonexistent) failed: open /nonexistent: no such file or directory"
        );
    }
}
