//! One line of a json-file log.

use ferry_stdx::time::Timestamp;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Written to standard error.
    pub stderr: bool,
    /// What was written; ends with a newline unless it is a part of a long line.
    pub text: Vec<u8>,
    /// RFC 3339, as it stands in the file.
    pub time: String,
    /// `key=value`, sorted.
    pub attributes: Vec<(String, String)>,
}

impl Record {
    /// When it was written.
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::parse_rfc3339(&self.time).unwrap_or_default()
    }
}

/// Reads a line without its newline. `None` when it is none: torn by a crash, or somebody else's.
pub fn decode(line: &[u8]) -> Option<Record> {
    fast(line).or_else(|| slow(line))
}

/// The form in which Ferry and Docker write records without attributes.
fn fast(line: &[u8]) -> Option<Record> {
    let rest = line.strip_prefix(b"{\"log\":\"")?;
    let mut text = Vec::with_capacity(rest.len());
    let rest = unescape(rest, &mut text)?;
    let rest = rest.strip_prefix(b",\"stream\":\"std")?;
    let (stderr, rest) = match rest.strip_prefix(b"out\",\"time\":\"") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix(b"err\",\"time\":\"")?),
    };
    let time = rest.strip_suffix(b"\"}")?;
    let plain = time.len() <= 40
        && time.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-:.+".contains(byte));
    let time = plain.then(|| String::from_utf8_lossy(time).into_owned())?;
    Some(Record { stderr, text, time, attributes: Vec::new() })
}

/// Appends the inside of a JSON string and returns what is behind its closing quote. `None` for anything unusual.
fn unescape<'t>(mut rest: &'t [u8], out: &mut Vec<u8>) -> Option<&'t [u8]> {
    loop {
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        if rest[0] == b'"' {
            return Some(&rest[1..]);
        }
        let (byte, used) = match rest.get(1)? {
            b'n' => (b'\n', 2),
            b'r' => (b'\r', 2),
            b't' => (b'\t', 2),
            b'b' => (8, 2),
            b'f' => (12, 2),
            quoted @ (b'"' | b'\\' | b'/') => (*quoted, 2),
            b'u' => {
                let code =
                    u32::from_str_radix(std::str::from_utf8(rest.get(2..6)?).ok()?, 16).ok()?;
                // Surrogate pairs are rare enough for the slow way.
                let character = char::from_u32(code)?;
                let mut buffer = [0; 4];
                out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                rest = &rest[6..];
                continue;
            }
            _ => return None,
        };
        out.push(byte);
        rest = &rest[used..];
    }
}

fn slow(line: &[u8]) -> Option<Record> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    let attributes = value.get("attrs").and_then(|attrs| attrs.as_object());
    let attributes = attributes.into_iter().flatten();
    Some(Record {
        stderr: value.get("stream")?.as_str()? == "stderr",
        text: value.get("log").and_then(|log| log.as_str()).unwrap_or("").as_bytes().to_vec(),
        time: value.get("time")?.as_str()?.to_owned(),
        attributes: attributes
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    })
}
