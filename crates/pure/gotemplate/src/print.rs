//! Values as Go's fmt prints them.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Keys of Docker's structures below which there are maps, whatever their keys look like.
const MAPS: [&str; 15] = [
    "Labels",
    "Networks",
    "Ports",
    "PortBindings",
    "ExposedPorts",
    "Volumes",
    "Options",
    "Sysctls",
    "Tmpfs",
    "Containers",
    "DriverOpts",
    "Annotations",
    "StorageOpt",
    "Data",
    "Details",
];

/// `%v`.
pub(crate) fn plain(value: &Value, out: &mut String) {
    Printer { structures: true, shown: None }.value("", value, out);
}

/// Prints values as Go would print what they were before they became JSON.
#[derive(Clone, Copy)]
pub(crate) struct Printer {
    /// Objects may have been structures.
    pub(crate) structures: bool,
    /// How values below some keys are printed.
    pub(crate) shown: Option<crate::Shown>,
}

impl Printer {
    /// `%v` of what is below a key.
    pub(crate) fn value(self, key: &str, value: &Value, out: &mut String) {
        if let Some(words) = self.shown.and_then(|shown| shown(key, value)) {
            out.push_str(&words);
            return;
        }
        match value {
            Value::Null => out.push_str("<nil>"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => {
                if let Some(float) = number.as_f64().filter(|_| number.is_f64()) {
                    float_g(float, out);
                } else {
                    let _ = write!(out, "{number}");
                }
            }
            Value::String(text) => out.push_str(text),
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    self.value("[]", item, out);
                }
                out.push(']');
            }
            Value::Object(members) => self.object(key, members, out),
        }
    }

    /// A Go structure prints as its values in braces, a map as sorted pairs. JSON does not tell them apart; a structure of Docker's
    /// has keys that begin with a capital letter.
    fn object(self, key: &str, members: &Map<String, Value>, out: &mut String) {
        let structure = self.structures
            && !members.is_empty()
            && !MAPS.contains(&key)
            && members.keys().all(|key| key.starts_with(|c: char| c.is_ascii_uppercase()));
        if structure {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                self.value(key, value, out);
            }
            out.push('}');
            return;
        }
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_by_key(|(key, _)| key.as_str());
        out.push_str("map[");
        for (index, (name, value)) in sorted.into_iter().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            let _ = write!(out, "{name}:");
            match (key, value) {
                // Sets have the empty structure, and maps of lists have lists.
                ("Volumes" | "ExposedPorts", Value::Object(_)) if self.structures => {
                    out.push_str("{}");
                }
                ("Ports" | "PortBindings", Value::Null) if self.structures => out.push_str("[]"),
                _ => self.value("[]", value, out),
            }
        }
        out.push(']');
    }
}

/// `%v` of a float: the shortest form, with an exponent from 1e21 on.
fn float_g(number: f64, out: &mut String) {
    let size = number.abs();
    if size != 0.0 && !(1e-5..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        let _ = write!(out, "{mantissa}e{sign}{digits:0>2}");
    } else {
        let _ = write!(out, "{number}");
    }
}

/// Go's `Printf`.
pub(crate) fn format(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut args_left = args.iter();
    let mut used = 0;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.peek().copied().filter(|c| "+-# 0".contains(*c)) {
            chars.next();
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                _ => spec.space = true,
            }
        }
        spec.width = number(&mut chars);
        if chars.peek() == Some(&'.') {
            chars.next();
            spec.precision = Some(number(&mut chars).unwrap_or(0));
        }
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        match args_left.next() {
            Some(value) => {
                used += 1;
                spec.write(verb, value, &mut out);
            }
            None => {
                let _ = write!(out, "%!{verb}(MISSING)");
            }
        }
    }
    if used < args.len() {
        out.push_str("%!(EXTRA ");
        for (index, value) in args[used..].iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            let _ = write!(out, "{}=", kind(value));
            plain(value, &mut out);
        }
        out.push(')');
    }
    out
}

/// Widths beyond this are refused by Go, too.
const MAX_WIDTH: usize = 1_000_000;

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        number = Some((number.unwrap_or(0usize) * 10 + digit as usize).min(MAX_WIDTH));
    }
    number
}

#[derive(Debug, Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Spec {
    fn write(&self, verb: char, value: &Value, out: &mut String) {
        let text = match (verb, value) {
            ('v' | 's', Value::String(text)) => self.cut(text),
            ('v', Value::Number(number)) if self.plus && !number.is_f64() => self.signed(number),
            ('v', value) => all(value),
            ('s', Value::Array(_) | Value::Object(_)) => all(value),
            ('q', Value::String(text)) => quoted(&self.cut(text)),
            ('d', Value::Number(number)) if !number.is_f64() => self.signed(number),
            ('t', Value::Bool(value)) => value.to_string(),
            ('x' | 'X', Value::Number(number)) if number.is_i64() || number.is_u64() => {
                let number = number.as_i64().unwrap_or(0);
                let sign = if number < 0 { "-" } else { "" };
                let prefix = if self.sharp { "0x" } else { "" };
                let text = format!("{sign}{prefix}{:x}", number.unsigned_abs());
                if verb == 'X' { text.to_uppercase() } else { text }
            }
            ('x' | 'X', Value::String(text)) => {
                let text = text.bytes().fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02x}");
                    text
                });
                if verb == 'X' { text.to_uppercase() } else { text }
            }
            ('o', Value::Number(number)) if number.is_i64() => {
                format!("{:o}", number.as_i64().unwrap_or(0))
            }
            ('b', Value::Number(number)) if number.is_i64() => {
                format!("{:b}", number.as_i64().unwrap_or(0))
            }
            ('c', Value::Number(number)) => number
                .as_u64()
                .and_then(|code| u32::try_from(code).ok())
                .and_then(char::from_u32)
                .map_or_else(|| "\u{fffd}".to_owned(), String::from),
            ('f' | 'F', Value::Number(number)) if number.is_f64() => {
                format!(
                    "{:.*}",
                    self.precision.unwrap_or(6).min(100),
                    number.as_f64().unwrap_or(0.0)
                )
            }
            ('g' | 'e', Value::Number(number)) if number.is_f64() => all(value),
            ('T', value) => kind(value).to_owned(),
            (verb, value) => format!("%!{verb}({}={})", kind(value), all(value)),
        };
        self.pad(&text, value.is_number(), out);
    }

    fn cut(&self, text: &str) -> String {
        match self.precision {
            Some(count) => text.chars().take(count).collect(),
            None => text.to_owned(),
        }
    }

    fn signed(&self, number: &serde_json::Number) -> String {
        let text = number.to_string();
        match (text.starts_with('-'), self.plus, self.space) {
            (false, true, _) => format!("+{text}"),
            (false, false, true) => format!(" {text}"),
            _ => text,
        }
    }

    fn pad(&self, text: &str, number: bool, out: &mut String) {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        let fill = |character: &str| character.repeat(missing);
        if self.left {
            out.push_str(text);
            out.push_str(&fill(" "));
        } else if self.zero && number {
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("", text),
            };
            let _ = write!(out, "{sign}{}{digits}", fill("0"));
        } else {
            out.push_str(&fill(if self.zero { "0" } else { " " }));
            out.push_str(text);
        }
    }
}

fn all(value: &Value) -> String {
    let mut text = String::new();
    plain(value, &mut text);
    text
}

/// Go's quoting.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The type as Go would name it.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
