//! Text to logical lines: directives, comments, continuations, heredocs.

use crate::{ParseError, instruction::Heredoc, words};

/// Longest Dockerfile that is read, in bytes.
pub const MAX_DOCKERFILE: usize = 4 << 20;

/// Most instructions in a Dockerfile.
pub const MAX_INSTRUCTIONS: usize = 10_000;

/// A logical line: one instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Number of its first line in the file, from 1.
    pub(crate) number: usize,
    /// Number of its last line, documents included.
    pub(crate) last: usize,
    /// The text with continuations joined, heredocs' contents not in it.
    pub(crate) text: String,
    /// What follows it.
    pub(crate) heredocs: Vec<Heredoc>,
}

/// A file in logical lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines {
    /// The escape character.
    pub(crate) escape: char,
    /// The frontend that it asks for.
    pub(crate) syntax: Option<String>,
    /// The value of `# check=`.
    pub(crate) check: Option<String>,
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

/// Splits a file.
pub(crate) fn lines(text: &str) -> Result<Lines, ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let physical: Vec<&str> = text.lines().collect();
    let mut lines = Lines { escape: '\\', syntax: None, check: None, lines: Vec::new() };
    directives(&physical, &mut lines)?;
    let mut at = 0;
    while at < physical.len() {
        let first = at;
        let start = physical[at].trim_start();
        at += 1;
        if start.is_empty() || start.starts_with('#') {
            continue;
        }
        let (mut text, mut more) = continued(start, lines.escape);
        while more && at < physical.len() {
            let next = physical[at];
            at += 1;
            if next.trim_start().starts_with('#') || next.trim().is_empty() {
                continue;
            }
            let (piece, again) = continued(next, lines.escape);
            text.push_str(&piece);
            more = again;
        }
        let text = text.trim().to_owned();
        if text.is_empty() {
            continue;
        }
        let heredocs = heredocs(&text, lines.escape, &physical, &mut at, first + 1)?;
        lines.lines.push(Line { number: first + 1, last: at, text, heredocs });
        if lines.lines.len() > MAX_INSTRUCTIONS {
            let words = format!("more than {MAX_INSTRUCTIONS} instructions");
            return Err(ParseError::Line { line: first + 1, words });
        }
    }
    Ok(lines)
}

/// A line without its continuation character, and whether there was one.
fn continued(line: &str, escape: char) -> (String, bool) {
    let trimmed = line.trim_end_matches([' ', '\t', '\r']);
    match trimmed.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest.to_owned(), true),
        _ => (line.to_owned(), false),
    }
}

/// `# name=value` at the very beginning.
fn directives(physical: &[&str], lines: &mut Lines) -> Result<(), ParseError> {
    let mut seen: Vec<String> = Vec::new();
    for (at, line) in physical.iter().enumerate() {
        let Some((name, value)) = directive(line) else { return Ok(()) };
        let wrong = |words: String| ParseError::Line { line: at + 1, words };
        if seen.contains(&name) {
            return Err(wrong(format!("only one {name} parser directive can be used")));
        }
        match name.as_str() {
            "escape" => {
                lines.escape = match value {
                    "`" => '`',
                    "\\" => '\\',
                    other => {
                        let words =
                            format!("invalid ESCAPE token '{other}' does not match ` or \\");
                        return Err(wrong(words));
                    }
                };
            }
            "syntax" => lines.syntax = Some(value.to_owned()),
            "check" => lines.check = Some(value.to_owned()),
            // A comment that looks like one.
            _ => return Ok(()),
        }
        seen.push(name);
    }
    Ok(())
}

fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let plain = name.chars().all(|char| char.is_ascii_alphanumeric());
    let named = name.starts_with(|char: char| char.is_ascii_alphabetic());
    (named && plain && !value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
}

/// The contents of the heredocs that a line announces; only `RUN`, `COPY` and `ADD` have any.
fn heredocs(
    text: &str,
    escape: char,
    physical: &[&str],
    at: &mut usize,
    line: usize,
) -> Result<Vec<Heredoc>, ParseError> {
    let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let mut keyword = keyword.to_ascii_uppercase();
    let mut rest = rest.trim_start();
    if keyword == "ONBUILD" {
        let (inner, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        (keyword, rest) = (inner.to_ascii_uppercase(), behind);
    }
    if !matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") || !rest.contains("<<") {
        return Ok(Vec::new());
    }
    if rest.trim_start().starts_with('[') && serde_json::from_str::<Vec<String>>(rest).is_ok() {
        return Ok(Vec::new());
    }
    let mut heredocs = Vec::new();
    for word in words::split_raw(rest, escape) {
        let Some(mut heredoc) = Heredoc::announced(&word) else { continue };
        loop {
            let Some(next) = physical.get(*at) else {
                return Err(ParseError::Line { line, words: "unterminated heredoc".to_owned() });
            };
            *at += 1;
            let next = if heredoc.chomp { next.trim_start_matches('\t') } else { next };
            if next == heredoc.name {
                break;
            }
            heredoc.content.push_str(next);
            heredoc.content.push('\n');
        }
        heredocs.push(heredoc);
    }
    Ok(heredocs)
}
