//! Values with their types, and how they are laid out: each aligned to its size, counted from the beginning of the body.

/// A value that is sent or received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `u`
    U32(u32),
    /// `t`
    U64(u64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `a` of the signature given, which all of them have.
    Array(&'static str, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }

    /// An array of bytes.
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Array("y", bytes.iter().map(|byte| Value::Byte(*byte)).collect())
    }

    /// A name and a value of any type: `(sv)`, as properties are given.
    pub fn property(name: &str, value: Value) -> Value {
        Value::Struct(vec![Value::text(name), Value::Variant(Box::new(value))])
    }

    /// What it is if it is a text or a path.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Path(text) => Some(text),
            Value::Variant(inner) => inner.as_text(),
            _ => None,
        }
    }

    /// Its type in D-Bus's notation.
    pub(crate) fn signature(&self) -> String {
        match self {
            Value::Byte(_) => "y".to_owned(),
            Value::Bool(_) => "b".to_owned(),
            Value::U32(_) => "u".to_owned(),
            Value::U64(_) => "t".to_owned(),
            Value::Text(_) => "s".to_owned(),
            Value::Path(_) => "o".to_owned(),
            Value::Array(of, _) => format!("a{of}"),
            Value::Struct(parts) => {
                format!("({})", parts.iter().map(Value::signature).collect::<String>())
            }
            Value::Variant(_) => "v".to_owned(),
        }
    }

    /// Appends it to a body, or to header fields, that begin with `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Byte(byte) => out.push(*byte),
            Value::Bool(on) => Value::U32(u32::from(*on)).write(out),
            Value::U32(number) => {
                pad(out, 4);
                out.extend(number.to_le_bytes());
            }
            Value::U64(number) => {
                pad(out, 8);
                out.extend(number.to_le_bytes());
            }
            Value::Text(text) | Value::Path(text) => {
                Value::U32(length(text.len())).write(out);
                out.extend(text.as_bytes());
                out.push(0);
            }
            Value::Array(of, items) => write_array(of, items, out),
            Value::Struct(parts) => {
                pad(out, 8);
                parts.iter().for_each(|part| part.write(out));
            }
            Value::Variant(inner) => {
                write_signature(&inner.signature(), out);
                inner.write(out);
            }
        }
    }
}

/// The length counts neither itself nor the padding before the first item, which is there even if there is none.
fn write_array(of: &str, items: &[Value], out: &mut Vec<u8>) {
    pad(out, 4);
    let place = out.len();
    out.extend([0; 4]);
    if of.starts_with(['(', '{', 't', 'x', 'd']) {
        pad(out, 8);
    }
    let first = out.len();
    items.iter().for_each(|item| item.write(out));
    let size = length(out.len() - first).to_le_bytes();
    out[place..place + 4].copy_from_slice(&size);
}

pub(crate) fn write_signature(signature: &str, out: &mut Vec<u8>) {
    // Ours are a few characters; a longer one is refused by whoever reads it.
    out.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
    out.extend(signature.as_bytes());
    out.push(0);
}

pub(crate) fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

/// Messages are far smaller: what does not fit is refused before it is sent.
pub(crate) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Reads values one after another.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(taken)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        self.align(8);
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.byte()?;
        Some(text)
    }

    pub(crate) fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let signature = std::str::from_utf8(self.take(length)?).ok()?;
        self.byte()?;
        Some(signature)
    }

    /// A value that has no parts. `None` for other types: nobody who is called here answers them.
    pub(crate) fn simple(&mut self, kind: u8) -> Option<Value> {
        Some(match kind {
            b'y' => Value::Byte(self.byte()?),
            b'b' => Value::Bool(self.u32()? != 0),
            b'u' | b'i' => Value::U32(self.u32()?),
            b't' | b'x' => Value::U64(self.u64()?),
            b's' => Value::Text(self.text()?),
            b'o' => Value::Path(self.text()?),
            b'g' => Value::Text(self.signature()?.to_owned()),
            b'v' => {
                // Not one in another: that would be as deep as the sender likes.
                let [kind] = *self.signature()?.as_bytes() else { return None };
                if kind == b'v' {
                    return None;
                }
                Value::Variant(Box::new(self.simple(kind)?))
            }
            _ => return None,
        })
    }
}
