//! The functions: Go's and docker's.

use std::cmp::Ordering;

use serde_json::Value;

use crate::{Options, print, value::truth};

/// Name, fewest and most arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("and", 1, MANY),
    ("or", 1, MANY),
    ("not", 1, 1),
    ("eq", 1, MANY),
    ("ne", 2, 2),
    ("lt", 2, 2),
    ("le", 2, 2),
    ("gt", 2, 2),
    ("ge", 2, 2),
    ("call", 1, MANY),
    ("len", 1, 1),
    ("index", 1, MANY),
    ("slice", 1, 4),
    ("print", 0, MANY),
    ("printf", 1, MANY),
    ("println", 0, MANY),
    ("html", 0, MANY),
    ("js", 0, MANY),
    ("urlquery", 0, MANY),
    ("json", 1, 1),
    ("split", 2, 2),
    ("join", 2, 2),
    ("title", 1, 1),
    ("lower", 1, 1),
    ("upper", 1, 1),
    ("pad", 3, 3),
    ("truncate", 2, 2),
];

const MANY: usize = usize::MAX;

/// Longest string that padding makes.
const MAX_PAD: usize = 1 << 20;

pub(crate) fn exists(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, _, _)| *known == name)
}

/// docker's own functions, except the one that keeps columns apart.
const OF_TEXT: [&str; 7] = ["json", "split", "join", "title", "lower", "upper", "truncate"];

/// Whether a function takes so many arguments.
pub(crate) fn check_count(name: &str, got: usize) -> Result<(), String> {
    let Some((_, least, most)) = FUNCTIONS.iter().find(|(known, _, _)| *known == name) else {
        return Err(format!("{name:?} is not a defined function"));
    };
    if got >= *least && got <= *most {
        return Ok(());
    }
    // A function whose arguments are a Go list takes any number of them.
    let want = match (least == most, *name == *"slice") {
        (true, false) => format!("want {least}"),
        _ => format!("want at least {least}"),
    };
    Err(format!("wrong number of args for {name}: {want} got {got}"))
}

/// What Go's functions want: docker's are typed, Go's own take nearly everything.
fn wanted(name: &str, index: usize) -> Option<&'static str> {
    match (name, index) {
        ("join", 0) => Some("[]string"),
        ("pad", 1 | 2) | ("truncate", 1) => Some("int"),
        ("split" | "join" | "title" | "lower" | "upper" | "pad" | "truncate", _)
        | ("printf", 0) => Some("string"),
        _ => None,
    }
}

/// Whether an argument has the type that a function wants; `literal` is its text, if it stands in the template.
pub(crate) fn check_type(
    name: &str,
    index: usize,
    value: Option<&Value>,
    literal: Option<&str>,
    plain: bool,
) -> Result<(), String> {
    let Some(want) = wanted(name, index) else { return Ok(()) };
    let fits = match (want, value) {
        ("string", Some(Value::String(_))) => true,
        ("int", Some(Value::Number(number))) => !number.is_f64(),
        // JSON alone has lists of anything.
        ("[]string", Some(Value::Array(items))) => {
            (!plain || literal.is_some()) && items.iter().all(Value::is_string)
        }
        ("[]string", Some(Value::Null)) => !plain,
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let expected = if want == "int" { "integer" } else { want };
    Err(match (literal, value) {
        (Some("nil"), _) => format!("cannot assign nil to {want}"),
        (Some(text), _) => format!("expected {expected}; found {text}"),
        (None, None | Some(Value::Null)) => format!("invalid value; expected {want}"),
        (None, Some(value)) => {
            format!("wrong type for value; expected {want}; got {}", print::kind(value))
        }
    })
}

/// Calls a function with arguments that fit.
pub(crate) fn call(name: &str, args: &[Value], options: &Options<'_>) -> Result<Value, String> {
    if options.titles && OF_TEXT.contains(&name) {
        return Ok(args.first().cloned().unwrap_or_default());
    }
    match (name, args) {
        ("json", [value]) => {
            let escapes = options.escape_html && value.is_object();
            Ok(Value::String(json(value, escapes)))
        }
        ("index", args) => {
            // Structures of Docker's have maps of strings, mostly; JSON alone has maps of anything.
            let zero = if options.is_plain() { Value::Null } else { Value::String(String::new()) };
            index(args, &zero)
        }
        _ => run(name, args),
    }
}

fn run(name: &str, args: &[Value]) -> Result<Value, String> {
    let first = args.first().unwrap_or(&Value::Null);
    let second = args.get(1).unwrap_or(&Value::Null);
    Ok(match name {
        "not" => Value::Bool(!truth(Some(first))),
        "eq" => {
            if args.len() == 1 {
                return Err("missing argument for comparison".to_owned());
            }
            let mut equal = false;
            for other in &args[1..] {
                equal |= same(first, other)?;
            }
            Value::Bool(equal)
        }
        "ne" => Value::Bool(!same(first, second)?),
        "lt" => Value::Bool(order(first, second)? == Ordering::Less),
        "le" => Value::Bool(order(first, second)? != Ordering::Greater),
        "gt" => Value::Bool(order(first, second)? == Ordering::Greater),
        "ge" => Value::Bool(order(first, second)? != Ordering::Less),
        "len" => match first {
            Value::String(text) => Value::from(text.len()),
            Value::Array(items) => Value::from(items.len()),
            Value::Object(members) => Value::from(members.len()),
            Value::Null => Value::from(0),
            other => return Err(format!("len of type {}", print::kind(other))),
        },
        "slice" => slice(args)?,
        "print" => Value::String(print_all(args)),
        "println" => {
            let texts: Vec<String> = args.iter().map(text).collect();
            Value::String(texts.join(" ") + "\n")
        }
        "printf" => match first {
            Value::String(format) => Value::String(print::format(format, &args[1..])),
            _ => return Err("wrong type for value; expected string".to_owned()),
        },
        "html" => Value::String(html(&print_all(args))),
        "js" => Value::String(js(&print_all(args))),
        "urlquery" => Value::String(urlquery(&print_all(args))),
        "split" => {
            let (whole, by) = (string(first)?, string(second)?);
            let parts: Vec<&str> = if by.is_empty() {
                whole.split("").filter(|part| !part.is_empty()).collect()
            } else {
                whole.split(by).collect()
            };
            Value::from(parts)
        }
        "join" => {
            let Value::Array(items) = first else {
                return Err("wrong type for value; expected []string".to_owned());
            };
            let items: Vec<String> = items.iter().map(text).collect();
            Value::String(items.join(string(second)?))
        }
        "title" => Value::String(title(string(first)?)),
        "lower" => Value::String(string(first)?.to_lowercase()),
        "upper" => Value::String(string(first)?.to_uppercase()),
        "pad" => {
            let side = |value: &Value| {
                let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
                count.filter(|count| *count <= MAX_PAD).ok_or("wrong type for value; expected int")
            };
            let content = string(first)?;
            let (before, after) = (side(second)?, side(args.get(2).unwrap_or(&Value::Null))?);
            // docker leaves an empty string alone.
            Value::String(match content {
                "" => String::new(),
                content => format!("{}{content}{}", " ".repeat(before), " ".repeat(after)),
            })
        }
        "truncate" => {
            let length = second.as_u64().and_then(|length| usize::try_from(length).ok());
            let length = length.ok_or("wrong type for value; expected int")?;
            Value::String(string(first)?.chars().take(length).collect())
        }
        other => return Err(format!("function {other:?} not defined")),
    })
}

fn text(value: &Value) -> String {
    let mut text = String::new();
    print::plain(value, &mut text);
    text
}

fn string(value: &Value) -> Result<&str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("wrong type for value; expected string; got {}", print::kind(value)))
}

/// Go's `Sprint`: a space between two operands of which neither is a string.
fn print_all(args: &[Value]) -> String {
    let mut out = String::new();
    for (position, value) in args.iter().enumerate() {
        let between = position > 0 && !value.is_string() && !args[position - 1].is_string();
        if between {
            out.push(' ');
        }
        print::plain(value, &mut out);
    }
    out
}

fn same(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            Ok(x.as_f64() == y.as_f64() && x.as_i64() == y.as_i64())
        }
        (Value::Null, _) | (_, Value::Null) => Ok(a == b),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            Err("non-comparable type in comparison".to_owned())
        }
        _ if std::mem::discriminant(a) != std::mem::discriminant(b) => {
            Err("incompatible types for comparison".to_owned())
        }
        _ => Ok(a == b),
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            if let (Some(x), Some(y)) = (x.as_i64(), y.as_i64()) {
                return Ok(x.cmp(&y));
            }
            let floats = (x.as_f64().unwrap_or(0.0), y.as_f64().unwrap_or(0.0));
            Ok(floats.0.partial_cmp(&floats.1).unwrap_or(Ordering::Equal))
        }
        (Value::String(x), Value::String(y)) => Ok(x.cmp(y)),
        (Value::Number(_) | Value::String(_), Value::Number(_) | Value::String(_)) => {
            Err("incompatible types for comparison".to_owned())
        }
        _ => Err("invalid type for comparison".to_owned()),
    }
}

fn index(args: &[Value], zero: &Value) -> Result<Value, String> {
    let Some((first, keys)) = args.split_first() else { return Ok(Value::Null) };
    let mut value = first.clone();
    for key in keys {
        value = match (value, key) {
            (Value::Null, _) => return Err("index of untyped nil".to_owned()),
            (Value::Array(items), Value::Number(number)) => {
                let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
                match at.and_then(|at| items.into_iter().nth(at)) {
                    Some(item) => item,
                    None => return Err(format!("index out of range: {number}")),
                }
            }
            // Go answers the zero of the element's type.
            (Value::Object(mut members), Value::String(key)) => {
                members.swap_remove(key).unwrap_or_else(|| zero.clone())
            }
            (Value::String(text), Value::Number(number)) => {
                let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
                match at.and_then(|at| text.as_bytes().get(at)) {
                    Some(byte) => Value::from(*byte),
                    None => return Err(format!("index out of range: {number}")),
                }
            }
            (Value::Array(_), key) => {
                return Err(format!("cannot index slice/array with type {}", print::kind(key)));
            }
            (Value::Object(_), key) => {
                return Err(format!("value has type {}; should be string", print::kind(key)));
            }
            (other, _) => return Err(format!("can't index item of type {}", print::kind(&other))),
        };
    }
    Ok(value)
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let first = args.first().unwrap_or(&Value::Null);
    let length = match first {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Null => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", print::kind(other))),
    };
    let mut bounds = [0, length];
    for (bound, value) in bounds.iter_mut().zip(&args[1..]) {
        let at = value.as_u64().and_then(|at| usize::try_from(at).ok());
        *bound = at
            .filter(|at| *at <= length)
            .ok_or_else(|| format!("index out of range: {}", text(value)))?;
    }
    let [from, to] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match first {
        Value::Array(items) => Value::Array(items[from..to].to_vec()),
        other => {
            let bytes = &other.as_str().unwrap_or_default().as_bytes()[from..to];
            Value::String(String::from_utf8_lossy(bytes).into_owned())
        }
    })
}

/// JSON in one line.
pub(crate) fn json(value: &Value, escape_html: bool) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    if !escape_html {
        return text;
    }
    // None of them stands outside of strings in JSON.
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        start = !(c.is_alphanumeric() || matches!(c, '_' | '\''));
    }
    out
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c < ' ' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn urlquery(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte))
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
