//! What a scalar is: YAML's core schema, with the few forms of 1.1 that Compose's reader knows.

use saphyr_parser::Tag;
use serde_json::{Number, Value};

use super::Yaml;

/// What `text` is. Quoted scalars are text, and so are those that a tag says are.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&Tag>) -> Yaml {
    let named = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
    if named == Some("str") || (!plain && named.is_none()) {
        return Yaml::Text(text.to_owned());
    }
    match plain_value(text) {
        Some(value) => Yaml::Plain(value),
        None => Yaml::Text(text.to_owned()),
    }
}

/// What a plain scalar is when it is no text.
pub(super) fn plain_value(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        _ => {}
    }
    let first = text.bytes().next()?;
    if !first.is_ascii_digit() && !matches!(first, b'+' | b'-' | b'.') {
        return None;
    }
    if let Some(number) = integer(text) {
        return Some(Value::Number(number));
    }
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    let shape = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !digits || !shape {
        return None;
    }
    Number::from_f64(text.parse().ok()?).map(Value::Number)
}

fn integer(text: &str) -> Option<Number> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match rest.as_bytes() {
        [b'0', b'x', ..] => (16, &rest[2..]),
        [b'0', b'o', ..] => (8, &rest[2..]),
        [b'0', b'b', ..] => (2, &rest[2..]),
        [b'0', _, ..] => (8, &rest[1..]),
        _ => (10, rest),
    };
    let clean = digits.replace('_', "");
    if clean.is_empty() || !clean.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(&clean, radix).ok()?;
    if negative {
        return i64::try_from(-i128::from(magnitude)).ok().map(Number::from);
    }
    Some(Number::from(magnitude))
}
