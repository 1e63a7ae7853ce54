//! Variables in text: `$X`, `${X}`, `${X:-default}`, `${X-default}`, `${X:?words}`, `${X?words}`, `${X:+other}`, `${X+other}`, `$$`.

use std::collections::{BTreeMap, BTreeSet};

use super::Variable;

/// How deep defaults nest.
const MAX_DEPTH: usize = 16;
/// A text does not grow beyond this.
const MAX_LENGTH: usize = 1 << 20;

/// Why a text cannot be interpolated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No variable where one must be.
    Format,
    /// `${X:?words}`.
    Required { name: String, words: String },
}

/// What values come from, and which were missing.
pub(crate) struct Variables<'a> {
    pub(crate) lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) missing: BTreeSet<String>,
}

/// Puts values in.
pub(crate) fn interpolate(text: &str, variables: &mut Variables<'_>) -> Result<String, Fault> {
    expand(text, variables, 0)
}

fn expand(text: &str, variables: &mut Variables<'_>, depth: usize) -> Result<String, Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::Format);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let end = closing(inside).ok_or(Fault::Format)?;
            out.push_str(&braced(&inside[..end], variables, depth)?);
            rest = &inside[end + 1..];
        } else {
            match name_length(rest) {
                // Shells have dollars of their own: `$(date)`, `$1`.
                0 => out.push('$'),
                length => out.push_str(&value(&rest[..length], variables)),
            }
            rest = &rest[name_length(rest)..];
        }
        if out.len() > MAX_LENGTH {
            return Err(Fault::Format);
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Notes the variables that a text names.
pub(crate) fn named(text: &str, all: &mut BTreeMap<String, Variable>) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let Some(end) = closing(inside) else { return };
            let (name, operation) = inside[..end].split_at(name_length(&inside[..end]));
            if !name.is_empty() {
                note(name, operation, all);
            }
            rest = &inside[end + 1..];
        } else {
            let length = name_length(rest);
            if length > 0 {
                note(&rest[..length], "", all);
            }
            rest = &rest[length..];
        }
    }
}

fn note(name: &str, operation: &str, all: &mut BTreeMap<String, Variable>) {
    let one = all.entry(name.to_owned()).or_default();
    let operation = operation.strip_prefix(':').unwrap_or(operation);
    if let Some(word) = operation.strip_prefix('-') {
        word.clone_into(&mut one.default);
        named(word, all);
    } else if let Some(word) = operation.strip_prefix('+') {
        word.clone_into(&mut one.alternate);
        named(word, all);
    } else if operation.starts_with('?') {
        one.required = true;
    }
}

/// Where the brace that was opened before `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match text.as_bytes().first() {
        Some(first) if first.is_ascii_alphabetic() || *first == b'_' => {
            text.as_bytes().iter().take_while(|byte| word(byte)).count()
        }
        _ => 0,
    }
}

fn value(name: &str, variables: &mut Variables<'_>) -> String {
    (variables.lookup)(name).unwrap_or_else(|| {
        variables.missing.insert(name.to_owned());
        String::new()
    })
}

fn braced(text: &str, variables: &mut Variables<'_>, depth: usize) -> Result<String, Fault> {
    let (name, rest) = text.split_at(name_length(text));
    if name.is_empty() {
        return Err(Fault::Format);
    }
    if rest.is_empty() {
        return Ok(value(name, variables));
    }
    let (colon, operation) = match rest.strip_prefix(':') {
        Some(operation) => (true, operation),
        None => (false, rest),
    };
    let Some(operator) = operation.chars().next() else { return Err(Fault::Format) };
    let word = &operation[operator.len_utf8()..];
    let found = (variables.lookup)(name);
    let set = found.as_ref().is_some_and(|value| !colon || !value.is_empty());
    match (operator, set) {
        ('-' | '?', true) => Ok(found.unwrap_or_default()),
        ('-', false) | ('+', true) => expand(word, variables, depth + 1),
        ('?', false) => {
            let words = expand(word, variables, depth + 1)?;
            Err(Fault::Required { name: name.to_owned(), words })
        }
        ('+', false) => Ok(String::new()),
        _ => Err(Fault::Format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<String, Fault> {
        let lookup = |name: &str| match name {
            "X" => Some("x".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        interpolate(text, &mut Variables { lookup: &lookup, missing: BTreeSet::new() })
    }

    #[test]
    fn every_operator() {
        for (text, want) in [
            ("$X-${X}-$$X-$$", "x-x-$X-$"),
            ("${EMPTY:-d}${EMPTY-d}${NO-d}${NO:-d}", "ddd"),
            ("${X:+r}${EMPTY:+r}${EMPTY+r}${NO+r}", "rr"),
            ("${NO:-${X}y${NO2-z}}", "xyz"),
            ("${X:?e}${EMPTY?e}", "x"),
            ("${NO:-a:b}/c}", "a:b/c}"),
            ("[$NO]", "[]"),
            ("$(date $1) $ x $$$", "$(date $1) $ x $$"),
            ("${NO-$(b)}", "$(b)"),
        ] {
            assert_eq!(all(text).as_deref(), Ok(want), "{text}");
        }
        assert_eq!(
            all("${NO:?say $X}"),
            Err(Fault::Required { name: "NO".into(), words: "say x".into() })
        );
        for text in ["${", "${}", "${1}", "${X!y}", "${ X}", "${X:}"] {
            assert_eq!(all(text), Err(Fault::Format), "{text}");
        }
    }
}
