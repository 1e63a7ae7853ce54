//! `--env`, `--label` and their files.

use crate::framework::CliError;

/// A file of variables or labels may be as large as this.
const LIMIT: u64 = 16 << 20;

/// The value of a variable of ours.
pub(crate) fn lookup_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The lines of `files`, then `given`. A name without a value gets the one that `lookup` knows; in a file, it is left out without.
pub(crate) fn key_values(
    files: &[String],
    given: &[String],
    lookup: Option<fn(&str) -> Option<String>>,
) -> Result<Vec<String>, CliError> {
    let mut all = Vec::new();
    for path in files {
        let bytes = crate::config::read_limited(std::path::Path::new(path), LIMIT)
            .map_err(|error| CliError::new(format!("open {path}: {}", go_words(&error))))?;
        let wrong = |why| CliError::new(format!("invalid env file ({path}): {why}"));
        parse(&bytes, lookup, &mut all).map_err(wrong)?;
    }
    for text in given {
        let known = match (lookup, text.contains('=')) {
            (Some(lookup), false) => lookup(text).map(|value| format!("{text}={value}")),
            _ => None,
        };
        all.push(known.unwrap_or_else(|| text.clone()));
    }
    Ok(all)
}

fn parse(
    bytes: &[u8],
    lookup: Option<fn(&str) -> Option<String>>,
    all: &mut Vec<String>,
) -> Result<(), String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line)
            .map_err(|_| format!("invalid utf8 bytes at line {}: {}", index + 1, go_bytes(line)))?
            .trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        if key.is_empty() {
            return Err(format!("no variable name on line '{text}'"));
        }
        if key.contains([' ', '\t']) {
            return Err(format!("variable '{key}' contains whitespaces"));
        }
        match (value, lookup) {
            (Some(_), _) => all.push(text.to_owned()),
            (None, Some(lookup)) => {
                all.extend(lookup(key).map(|value| format!("{key}={value}")));
            }
            (None, None) => {}
        }
    }
    Ok(())
}

fn go_bytes(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", numbers.join(" "))
}

/// An error of the system in Go's words, which have no capital and no number.
pub(crate) fn go_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::AlreadyExists => "file exists".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables() {
        let mut all = Vec::new();
        let known = |name: &str| (name == "KNOWN").then(|| "yes".to_owned());
        let text = b"\xef\xbb\xbf# comment\n\n  A=1 \r\nB=\nKNOWN\nUNKNOWN\nC=a=b\n";
        parse(text, Some(known), &mut all).unwrap();
        assert_eq!(all, ["A=1 ", "B=", "KNOWN=yes", "C=a=b"]);
        for (text, words) in [
            (&b"=x"[..], "no variable name on line '=x'"),
            (b"a b=c", "variable 'a b' contains whitespaces"),
            (b"\xff\xfe", "invalid utf8 bytes at line 1: [255 254]"),
        ] {
            assert_eq!(parse(text, None, &mut all).unwrap_err(), words);
        }
    }
}
