//! The netlink format: requests that are built, messages and attributes that are read.

/// `NLM_F_*`.
pub mod flag {
    /// A request; every message of ours.
    pub const REQUEST: u16 = 0x1;
    /// Answered even if all went well.
    pub const ACK: u16 = 0x4;
    /// All objects.
    pub const DUMP: u16 = 0x300;
    /// Fails if it exists.
    pub const EXCL: u16 = 0x200;
    /// Replaces what exists.
    pub const REPLACE: u16 = 0x100;
    /// Makes it if it does not exist.
    pub const CREATE: u16 = 0x400;
    /// At the end of a list.
    pub const APPEND: u16 = 0x800;
    /// An error message has no copy of the request behind it.
    pub const CAPPED: u16 = 0x100;
    /// An error message has attributes.
    pub const ACK_TLVS: u16 = 0x200;
    /// A dump that changed while it was made.
    pub const DUMP_INTERRUPTED: u16 = 0x10;
}

/// `NLMSG_ERROR`.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`.
pub const DONE: u16 = 3;

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// All bits of an attribute's type that are not its number.
const KIND_FLAGS: u16 = 0xc000;
/// Extended ack texts longer than this are cut.
const MESSAGE_LIMIT: usize = 512;

/// One message on its way to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    what: String,
    overflow: bool,
}

impl Request {
    /// A message without body. `what` is for errors: what is being done, `create link ferry0`.
    pub fn new(kind: u16, flags: u16, what: impl Into<String>) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | flag::REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Request { bytes, what: what.into(), overflow: false }
    }

    /// What is being done.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// True if an attribute did not fit its length field; such a request must not be sent.
    pub fn overflows(&self) -> bool {
        self.overflow
    }

    /// Length on the wire.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: there is always a header.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends the body's fixed part.
    #[must_use]
    pub fn body(mut self, bytes: &[u8]) -> Self {
        self.raw(bytes);
        self
    }

    /// Appends fixed bytes, as inside a nested attribute (`VETH_INFO_PEER` has a header there).
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = ATTRIBUTE_HEADER + value.len();
        match u16::try_from(length) {
            Ok(length) => self.bytes.extend_from_slice(&length.to_ne_bytes()),
            Err(_) => {
                self.overflow = true;
                return;
            }
        }
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// Appends a text with its NUL.
    pub fn text(&mut self, kind: u16, text: &str) {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        self.attribute(kind, &bytes);
    }

    /// Appends a number in the machine's byte order, as rtnetlink has them.
    pub fn native(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    /// Appends a number in network byte order, as nfnetlink has them.
    pub fn network(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends an attribute whose value is what `fill` appends.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    /// Appends the finished message to `out`.
    pub(crate) fn finish(&self, sequence: u32, flags: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        let flags = flags | u16::from_ne_bytes([self.bytes[6], self.bytes[7]]);
        out[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        out[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// A message that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// Iterates over the messages of a datagram. Ends at the first that is malformed.
pub fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages(datagram)
}

/// See [`messages`].
#[derive(Debug, Clone)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = usize::try_from(native_u32(self.0)?).ok()?;
        let message = self.0.get(..length).filter(|_| length >= HEADER)?;
        let found = Message {
            kind: native_u16(message.get(4..)?)?,
            flags: native_u16(message.get(6..)?)?,
            sequence: native_u32(message.get(8..)?)?,
            payload: message.get(HEADER..)?,
        };
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(found)
    }
}

/// An attribute that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its number, without the nested and byte order bits.
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes inside.
    pub fn nested(&self) -> Attributes<'a> {
        attributes(self.value)
    }

    /// The value as a number in the machine's byte order.
    pub fn native(&self) -> Option<u32> {
        native_u32(self.value)
    }

    /// The value as a number in network byte order.
    pub fn network(&self) -> Option<u32> {
        self.value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The value as text up to its NUL; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        String::from_utf8_lossy(&self.value[..end]).into_owned()
    }
}

/// Iterates over attributes. Ends at the first that is malformed.
pub fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes(bytes)
}

/// See [`attributes`].
#[derive(Debug, Clone)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The first of that number.
    pub fn find(mut self, kind: u16) -> Option<Attribute<'a>> {
        Iterator::find(&mut self, |attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(native_u16(self.0)?);
        let attribute = self.0.get(..length).filter(|_| length >= ATTRIBUTE_HEADER)?;
        let kind = native_u16(attribute.get(2..)?)? & !KIND_FLAGS;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(Attribute { kind, value: attribute.get(ATTRIBUTE_HEADER..)? })
    }
}

/// What an error message (or the end of a dump) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The error number, 0 if all went well.
    pub errno: i32,
    /// The kernel's words; mostly empty.
    pub text: String,
}

/// Reads an `NLMSG_ERROR` or `NLMSG_DONE`.
pub fn ack(message: &Message<'_>) -> Option<Ack> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let code = match message.payload.first_chunk() {
        Some(bytes) => i32::from_ne_bytes(*bytes),
        // The end of a dump of an old kernel has no body.
        None if message.kind == DONE => 0,
        None => return None,
    };
    let mut text = String::new();
    if message.flags & flag::ACK_TLVS != 0 {
        let rest = ack_attributes(message).unwrap_or_default();
        if let Some(attribute) = attributes(rest).find(NLMSGERR_ATTR_MSG) {
            text = attribute.text().chars().take(MESSAGE_LIMIT).collect();
        }
    }
    Some(Ack { errno: code.checked_neg().unwrap_or(i32::MAX), text })
}

/// Where the attributes of an ack begin: behind the code, and (in errors) the request's header or whole copy.
fn ack_attributes<'a>(message: &Message<'a>) -> Option<&'a [u8]> {
    let after = message.payload.get(4..)?;
    if message.kind == DONE {
        return Some(after);
    }
    let copied = if message.flags & flag::CAPPED != 0 {
        HEADER
    } else {
        aligned(usize::try_from(native_u32(after)?).ok()?)
    };
    after.get(copied..)
}

fn native_u16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn native_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// Rounded up to a multiple of four.
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests;
