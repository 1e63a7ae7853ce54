//! Messages: a header with fields, and a body of values.

use crate::value::{Reader, Value, length, pad, write_signature};

/// Answers are a few words; everything larger is refused unread.
pub(crate) const MAX_MESSAGE: usize = 1 << 20;

/// What every message begins with: byte order, type, flags, version, length of the body, number, length of the fields.
pub(crate) const HEAD: usize = 16;

/// Nobody is started to answer.
const NO_AUTO_START: u8 = 2;

/// Numbers of header fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SENDER: u8 = 7;
    pub(super) const SIGNATURE: u8 = 8;
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call of a method.
    Call,
    /// Its answer.
    Return,
    /// Its refusal.
    Error,
    /// Something that happened.
    Signal,
}

/// Who is called.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its name on the bus.
    pub name: &'static str,
    /// The object.
    pub path: &'static str,
}

/// A call of a method.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Who is called.
    pub peer: &'a Peer,
    /// The interface that has the method.
    pub interface: &'a str,
    /// The method.
    pub method: &'a str,
    /// Its arguments.
    pub arguments: &'a [Value],
}

impl Call<'_> {
    /// The bytes to send; `None` if they are more than a message may have.
    pub fn encode(&self, serial: u32) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        self.arguments.iter().for_each(|argument| argument.write(&mut body));
        let mut fields = Vec::new();
        for (code, value) in [
            (field::PATH, Value::Path(self.peer.path.to_owned())),
            (field::INTERFACE, Value::text(self.interface)),
            (field::MEMBER, Value::text(self.method)),
            (field::DESTINATION, Value::text(self.peer.name)),
        ] {
            pad(&mut fields, 8);
            fields.push(code);
            Value::Variant(Box::new(value)).write(&mut fields);
        }
        if !self.arguments.is_empty() {
            pad(&mut fields, 8);
            let signature: String = self.arguments.iter().map(Value::signature).collect();
            fields.extend([field::SIGNATURE, 1, b'g', 0]);
            write_signature(&signature, &mut fields);
        }
        if body.len() + fields.len() > MAX_MESSAGE {
            return None;
        }
        let mut message = vec![b'l', 1, NO_AUTO_START, 1];
        for number in [length(body.len()), serial, length(fields.len())] {
            message.extend(number.to_le_bytes());
        }
        message.extend(fields);
        pad(&mut message, 8);
        message.extend(body);
        Some(message)
    }
}

/// What another program has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The number of the call that it answers.
    pub reply_to: Option<u32>,
    /// The bus's name for who sent it; empty without a bus between.
    pub sender: String,
    /// The name of a signal.
    pub member: String,
    /// The name of an error.
    pub error: String,
    signature: String,
    body: Vec<u8>,
}

impl Message {
    /// How many bytes follow the first sixteen, and how many of them are header fields; `None` if this is no message, or
    /// too long a one.
    pub fn lengths(head: &[u8; HEAD]) -> Option<(usize, usize)> {
        let number = |at: usize| {
            let bytes: [u8; 4] = head.get(at..)?.get(..4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes) as usize)
        };
        let (body, fields) = (number(4)?, number(12)?);
        if head[0] != b'l' || body > MAX_MESSAGE || fields > MAX_MESSAGE {
            return None;
        }
        Some((fields.next_multiple_of(8) + body, fields))
    }

    /// A message from its first bytes and what follows, of which `fields` are header fields.
    pub fn decode(head: &[u8; HEAD], rest: &[u8], fields: usize) -> Option<Message> {
        let kind = match head[1] {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => return None,
        };
        let mut message = Message {
            kind,
            reply_to: None,
            sender: String::new(),
            member: String::new(),
            error: String::new(),
            signature: String::new(),
            body: rest.get(fields.next_multiple_of(8)..)?.to_vec(),
        };
        let mut reader = Reader::new(rest.get(..fields)?);
        loop {
            reader.align(8);
            if reader.at_end() {
                return Some(message);
            }
            let code = reader.byte()?;
            let Value::Variant(value) = reader.simple(b'v')? else { return None };
            match (code, *value) {
                (field::REPLY_SERIAL, Value::U32(serial)) => message.reply_to = Some(serial),
                (field::SENDER, Value::Text(text)) => message.sender = text,
                (field::MEMBER, Value::Text(text)) => message.member = text,
                (field::ERROR_NAME, Value::Text(text)) => message.error = text,
                (field::SIGNATURE, Value::Text(text)) => message.signature = text,
                _ => {}
            }
        }
    }

    /// Its arguments, up to the first one of a type with parts (an array, a structure).
    pub fn arguments(&self) -> Vec<Value> {
        let mut reader = Reader::new(&self.body);
        let mut values = Vec::new();
        for kind in self.signature.bytes() {
            let Some(value) = reader.simple(kind) else { break };
            values.push(value);
        }
        values
    }

    /// Its first argument, if that is a text; else an empty one.
    pub fn text(&self) -> String {
        self.arguments().first().and_then(Value::as_text).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer = Peer { name: "org.example.Peer", path: "/org/example" };

    fn example(arguments: &[Value]) -> Vec<u8> {
        let call = Call { peer: &PEER, interface: "org.example.Face", method: "do", arguments };
        call.encode(7).expect("it fits")
    }

    fn read(message: &[u8]) -> Option<Message> {
        let head: &[u8; HEAD] = message.get(..HEAD)?.try_into().ok()?;
        let (_, fields) = Message::lengths(head)?;
        Message::decode(head, &message[HEAD..], fields)
    }

    #[test]
    fn a_call_is_laid_out_as_the_specification_has_it() {
        let message = example(&[Value::text("trusted"), Value::text("br0")]);
        assert_eq!(message[..4], [b'l', 1, 2, 1]);
        // "trusted" with its length and NUL is 12 bytes, "br0" 8.
        assert_eq!(message[4..12], [20, 0, 0, 0, 7, 0, 0, 0]);
        assert!(message.ends_with(b"\x03\0\0\0br0\0"));
        assert_eq!(message.len() % 4, 0);
        let answer = read(&message).expect("a message");
        assert_eq!((answer.kind, answer.member.as_str()), (Kind::Call, "do"));
        assert_eq!(answer.arguments(), [Value::text("trusted"), Value::text("br0")]);
    }

    #[test]
    fn arrays_and_variants_are_aligned_as_their_parts_are() {
        let pids = Value::property("P", Value::Array("u", vec![Value::U32(5)]));
        let message = example(&[Value::Byte(1), Value::Array("(sv)", vec![pids])]);
        let body = &message[message.len() - 37..];
        let expected: &[u8] = &[
            1, 0, 0, 0, // A byte, padded for the array's length,
            20, 0, 0, 0, // which does not count padding up to the structure: none here.
            1, 0, 0, 0, b'P', 0, // The property's name,
            2, b'a', b'u', 0, // the signature of the variant,
            0, 0, // padding up to an array's length,
            4, 0, 0, 0, 5, 0, 0, 0, // and the array.
        ];
        assert!(message.ends_with(expected), "{body:?}");
        // An empty array of what is aligned to eight bytes is padded all the same.
        let empty = example(&[Value::Array("(sv)", Vec::new())]);
        assert!(empty.ends_with(&[0; 8]) && empty[4] == 8);
        // What comes after a type with parts is not read.
        let first = read(&message).expect("a message").arguments();
        assert_eq!(first, [Value::Byte(1)]);
    }

    #[test]
    fn messages_that_lie_about_their_lengths_are_none() {
        let values = [Value::text("a"), Value::U64(3), Value::Variant(Box::new(Value::text("b")))];
        let message = example(&values);
        assert_eq!(read(&message).expect("a message").arguments(), values);
        for end in 0..message.len() {
            if let Some(read) = read(&message[..end]) {
                assert!(read.arguments().len() < values.len());
            }
        }
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] = 0xff;
            if let Some(read) = read(&changed) {
                read.arguments();
            }
        }
        // A variant in a variant.
        let nested = Value::Variant(Box::new(Value::Variant(Box::new(Value::Byte(1)))));
        assert!(read(&example(&[nested])).expect("a message").arguments().is_empty());
    }

    #[test]
    fn what_is_too_long_is_not_sent() {
        let long = [Value::text("x".repeat(MAX_MESSAGE + 1))];
        let call = Call { peer: &PEER, interface: "i", method: "m", arguments: &long };
        assert_eq!(call.encode(1), None);
    }
}
