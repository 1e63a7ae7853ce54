//! YAML out of JSON values, laid out as Compose's `config` does: two columns a level, lists indented, keys in the given order.

use serde_json::Value;

/// The text of a value.
pub(crate) fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) => block(value, 0, &mut text),
        scalar => {
            text.push_str(&inline(scalar, 0));
            text.push('\n');
        }
    }
    text
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    }
}

fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&pad);
                entry(key, value, indent, out);
            }
        }
        Value::Array(list) => {
            for item in list {
                out.push_str(&pad);
                out.push_str("- ");
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        for (at, (key, value)) in map.iter().enumerate() {
                            if at > 0 {
                                out.push_str(&pad);
                                out.push_str("  ");
                            }
                            entry(key, value, indent + 2, out);
                        }
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        let mut text = String::new();
                        block(item, indent + 2, &mut text);
                        out.push_str(text.trim_start());
                    }
                    other => {
                        out.push_str(&inline(other, indent + 2));
                        out.push('\n');
                    }
                }
            }
        }
        _ => {}
    }
}

/// Longer names, in bytes, and those of several lines are no simple keys (YAML 1.2, 7.4.2); where go-yaml has the limit.
const SIMPLE: usize = 128;

fn entry(key: &str, value: &Value, indent: usize, out: &mut String) {
    if key.len() > SIMPLE || key.contains('\n') {
        out.push_str("? ");
        out.push_str(&quoted(key, indent + 2));
        out.push('\n');
        out.push_str(&" ".repeat(indent));
        out.push_str(": ");
        if is_nested(value) {
            let mut text = String::new();
            block(value, indent + 2, &mut text);
            out.push_str(text.trim_start());
        } else {
            out.push_str(&inline(value, indent + 2));
            out.push('\n');
        }
        return;
    }
    out.push_str(&quoted(key, indent + 2));
    out.push(':');
    if is_nested(value) {
        out.push('\n');
        block(value, indent + 2, out);
    } else {
        out.push(' ');
        out.push_str(&inline(value, indent + 2));
        out.push('\n');
    }
}

fn inline(value: &Value, indent: usize) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text, indent),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

/// A text that reads as something else gets double quotes, one that is no plain scalar single ones, several lines a block.
fn quoted(text: &str, indent: usize) -> String {
    let legacy = matches!(
        text.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "<<" | ".inf" | "-.inf" | "+.inf" | ".nan"
    );
    // In a block, tabs stand as they are.
    let lines = text.contains('\n');
    let kept = |c: char| c == '\n' || (c == '\t' && lines);
    if text.chars().any(|c| (c.is_control() && !kept(c)) || c == '\u{feff}') {
        return serde_json::to_string(text).unwrap_or_default();
    }
    if lines {
        return literal(text, indent);
    }
    if text.is_empty() || legacy || super::scalar::plain_value(text).is_some() || sexagesimal(text)
    {
        return format!("\"{text}\"");
    }
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// `22:22` is a number of YAML 1.1, which other readers may still speak: sixty of each to one of the next.
fn sexagesimal(text: &str) -> bool {
    let text = text.trim_start_matches(['-', '+']);
    let mut parts = text.split(':');
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let first = parts
        .next()
        .is_some_and(|part| part.starts_with(|c: char| c.is_ascii_digit()) && digits(part));
    let sixty = |part: &str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    let rest: Vec<&str> = parts.collect();
    first && !rest.is_empty() && rest.iter().all(|part| sixty(part))
}

fn is_plain(text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    let indicator = matches!(
        first,
        '#' | ','
            | '['
            | ']'
            | '{'
            | '}'
            | '&'
            | '*'
            | '!'
            | '|'
            | '>'
            | '\''
            | '"'
            | '%'
            | '@'
            | '`'
    );
    let dashed = matches!(first, '-' | '?' | ':') && text.chars().nth(1).is_none_or(|c| c == ' ');
    !(indicator
        || dashed
        || text.starts_with("---")
        || text.starts_with(' ')
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #"))
}

fn literal(text: &str, indent: usize) -> String {
    let body = text.trim_end_matches('\n');
    let tail = text.len() - body.len();
    let chomp = match tail {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let hint = if text.starts_with([' ', '\n']) { "2" } else { "" };
    let pad = " ".repeat(indent);
    let mut out = format!("|{hint}{chomp}");
    let lines = if tail > 1 { &text[..text.len() - 1] } else { body };
    for line in lines.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&pad);
            out.push_str(line);
        }
    }
    out
}
