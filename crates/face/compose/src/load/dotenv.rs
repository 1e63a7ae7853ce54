//! `.env` files: `NAME=value` lines with comments, quotes, `export`, and values of earlier lines.

use std::collections::{BTreeMap, BTreeSet};

use super::interpolate::{Fault, Variables, interpolate};

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) line: usize,
    pub(crate) words: String,
}

/// Reads a file. `outer` has the values that go before those of earlier lines in the file; a name without `=` takes its value there.
/// Values of the file itself go before those of `earlier` files.
pub(crate) fn parse(
    text: &str,
    outer: &dyn Fn(&str) -> Option<String>,
    earlier: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, BadLine> {
    let mut values = BTreeMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (statement, after) = take_line(rest);
        let trimmed = statement.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after;
            line += 1;
            continue;
        }
        let from = rest.len() - rest.trim_start().len();
        let (name, value, after, lines) = assignment(&rest[from..], line)?;
        let bad = |words: String| BadLine { line, words };
        match value {
            Raw::Inherited => {
                if let Some(value) = outer(name) {
                    values.insert(name.to_owned(), value);
                }
            }
            Raw::Verbatim(value) => drop(values.insert(name.to_owned(), value)),
            Raw::Expanded(value) => {
                let lookup = |name: &str| {
                    outer(name).or_else(|| values.get(name).cloned()).or_else(|| earlier(name))
                };
                let mut variables = Variables { lookup: &lookup, missing: BTreeSet::new() };
                let value = interpolate(&value, &mut variables).map_err(|fault| {
                    bad(match fault {
                        Fault::Format => format!("invalid template: {value:?}"),
                        Fault::Required { name, words } => {
                            format!("required variable {name} is missing a value: {words}")
                        }
                    })
                })?;
                values.insert(name.to_owned(), value);
            }
        }
        rest = after;
        line += lines;
    }
    Ok(values)
}

/// Reads a file whose values are as they stand.
pub(crate) fn parse_raw(
    text: &str,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, BadLine> {
    let mut values = BTreeMap::new();
    for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) => {
                values.insert(check_name(name, at + 1)?.to_owned(), value.to_owned());
            }
            None => drop(outer(line).map(|value| values.insert(line.to_owned(), value))),
        }
    }
    Ok(values)
}

enum Raw {
    Inherited,
    Verbatim(String),
    Expanded(String),
}

fn take_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// The name, the value, what is behind it, and how many lines it took.
fn assignment(text: &str, line: usize) -> Result<(&str, Raw, &str, usize), BadLine> {
    let (statement, after) = take_line(text);
    let body = match statement.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => statement,
    };
    let Some(equals) = body.find(['=', ':']) else {
        let name = check_name(body.trim(), line)?;
        return Ok((name, Raw::Inherited, after, 1));
    };
    let name = check_name(body[..equals].trim_end(), line)?;
    // The value may go on behind this line's end.
    let value_at = text.len() - after.len() - usize::from(text.len() > statement.len());
    let from = value_at - (body.len() - equals - 1);
    let value = text[from..].trim_start_matches([' ', '\t']);
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let (value, after) = take_line(value);
        let value = value.find(" #").map_or(value, |at| &value[..at]).trim();
        return Ok((name, Raw::Expanded(value.to_owned()), after, 1));
    };
    let inside = &value[1..];
    let mut escaped = false;
    let end = inside.char_indices().find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    let Some((end, _)) = end else {
        return Err(BadLine { line, words: format!("unterminated quoted value {value}") });
    };
    let content = &inside[..end];
    // What is neither a comment nor the end of the line is the next name.
    let rest = inside[end + 1..].trim_start_matches([' ', '\t', '\r']);
    let ends = rest.is_empty() || rest.starts_with(['\n', '#']);
    let after = if ends { take_line(rest).1 } else { rest };
    let lines = content.matches('\n').count() + usize::from(ends);
    let raw = match quote {
        '\'' => Raw::Verbatim(content.replace("\\'", "'")),
        _ => Raw::Expanded(unescape(content)),
    };
    Ok((name, raw, after, lines))
}

fn check_name(name: &str, line: usize) -> Result<&str, BadLine> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    match name.chars().find(|c| !good(*c)) {
        None if !name.is_empty() => Ok(name),
        Some(' ' | '\t') => Err(BadLine { line, words: "key cannot contain a space".to_owned() }),
        Some(other) => Err(BadLine {
            line,
            words: format!(
                "unexpected character {:?} in variable name {name:?}",
                other.to_string()
            ),
        }),
        None => Err(BadLine { line, words: "a variable has no name".to_owned() }),
    }
}

/// `\$` stays apart from variables as `$$`.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('$')) => out.push_str("$$"),
            ('\\', Some(other)) => out.push(other),
            (c, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_quotes_and_values_of_earlier_lines() {
        let text = "\n# c\nA=1\nexport B = two words # c\nC='$A\nx'\nD=\"$A\\n${Z:-z}\\$A\"\nE=\nF=$OUT#x\nHOME\nG: y\n";
        let outer = |name: &str| matches!(name, "OUT" | "HOME").then(|| "o".to_owned());
        let values = parse(text, &outer, &|_| None).unwrap();
        let pairs: Vec<_> = values.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            pairs,
            ["A=1", "B=two words", "C=$A\nx", "D=1\nz$A", "E=", "F=o#x", "G=y", "HOME=o"]
        );
        assert_eq!(parse_raw("A=\"q\" # x\nHOME\n", &outer).unwrap()["A"], "\"q\" # x");
        assert_eq!(parse("A=1\nB='x", &outer, &|_| None).unwrap_err().line, 2);
        assert!(parse("a b=1", &outer, &|_| None).is_err());
    }
}
