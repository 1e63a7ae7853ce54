//! Questions and answers on the wire (RFC 1035, EDNS of RFC 6891).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `struct` of every message.
const HEADER: usize = 12;
/// Longest name on the wire.
const NAME_LIMIT: usize = 255;
const LABEL_LIMIT: u8 = 63;
/// Type of the EDNS record.
const OPT: u16 = 41;
const CLASS_IN: u16 = 1;
/// A client without EDNS takes no larger UDP message.
const PLAIN_LIMIT: usize = 512;
/// What we say we take, and the most that we send over UDP: what passes everywhere unfragmented.
const EDNS_SIZE: u16 = 1232;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
/// A pointer to the question's name.
const NAME_POINTER: [u8; 2] = [0xc0, HEADER as u8];

/// How an answer turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rcode {
    /// All is well.
    NoError,
    /// The question could not be read.
    FormatError,
    /// Nobody could be asked, or nobody answered.
    ServerFailure,
    /// Something else than a question.
    NotImplemented,
    /// A name that this server does not know about.
    Refused,
}

impl Rcode {
    fn number(self) -> u16 {
        match self {
            Rcode::NoError => 0,
            Rcode::FormatError => 1,
            Rcode::ServerFailure => 2,
            Rcode::NotImplemented => 4,
            Rcode::Refused => 5,
        }
    }
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address; its type follows from its family.
    Address(IpAddr),
    /// A name.
    Pointer(String),
}

/// A message is no question that can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Its number, if it has a whole header and is a question: then [`refusal`] tells its sender.
    pub id: Option<u16>,
    /// What to tell.
    pub rcode: Rcode,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    id: u16,
    recursion_desired: bool,
    /// In small letters, without the dot at the end.
    name: String,
    kind: u16,
    class: u16,
    /// The question's bytes, as they go back.
    question: &'a [u8],
    /// The sender's largest UDP message, if it speaks EDNS, and whether it wants signatures.
    edns: Option<(u16, bool)>,
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

impl<'a> Query<'a> {
    /// Reads a question. Exactly one name is asked for, and it is written without pointers.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let id = number(message, 0);
        let (Some(id), Some(flags), true) = (id, number(message, 2), message.len() >= HEADER)
        else {
            return Err(Malformed { id: None, rcode: Rcode::FormatError });
        };
        if flags & RESPONSE != 0 {
            // Never an answer to an answer: two servers would speak with each other for ever.
            return Err(Malformed { id: None, rcode: Rcode::FormatError });
        }
        if flags & OPCODE != 0 {
            return Err(Malformed { id: Some(id), rcode: Rcode::NotImplemented });
        }
        Self::body(message, id, flags).ok_or(Malformed { id: Some(id), rcode: Rcode::FormatError })
    }

    fn body(message: &'a [u8], id: u16, flags: u16) -> Option<Self> {
        let (questions, answers) = (number(message, 4)?, number(message, 6)?);
        if questions != 1 || answers != 0 {
            return None;
        }
        let (name, after) = plain_name(message, HEADER)?;
        let (kind, class) = (number(message, after)?, number(message, after + 2)?);
        let end = after + 4;
        let records = usize::from(number(message, 8)?) + usize::from(number(message, 10)?);
        let mut edns = None;
        let mut at = end;
        for _ in 0..records {
            let record = RecordAt::read(message, at)?;
            if record.kind == OPT {
                edns = Some((record.class, record.ttl & 0x8000 != 0));
            }
            at = record.end;
        }
        let recursion_desired = flags & RECURSION_DESIRED != 0;
        let question = message.get(HEADER..end)?;
        Some(Query { id, recursion_desired, name, kind, class, question, edns })
    }

    /// The number that the answer must have.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The name, in small letters and without the dot at its end.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is asked: see [`crate::kind`]. 0 for other classes than Internet: nothing of ours.
    pub fn kind(&self) -> u16 {
        if self.class == CLASS_IN { self.kind } else { 0 }
    }

    /// The address whose name is asked for, if that is what is asked.
    pub fn reverse_address(&self) -> Option<IpAddr> {
        if self.kind() != crate::kind::PTR {
            return None;
        }
        if let Some(digits) = self.name.strip_suffix(".in-addr.arpa") {
            let mut octets = [0; 4];
            let mut parts = digits.split('.');
            for octet in octets.iter_mut().rev() {
                *octet = parts.next()?.parse().ok()?;
            }
            return parts.next().is_none().then(|| Ipv4Addr::from(octets).into());
        }
        let digits = self.name.strip_suffix(".ip6.arpa")?;
        let mut bits = 0_u128;
        let mut count = 0;
        for digit in digits.split('.').collect::<Vec<_>>().into_iter().rev() {
            let value = u128::from_str_radix(digit, 16).ok().filter(|_| digit.len() == 1)?;
            bits = bits << 4 | value;
            count += 1;
        }
        (count == 32).then(|| Ipv6Addr::from(bits).into())
    }

    /// What the answer of another server is remembered by: the question, and whether signatures are wanted.
    pub fn cache_key(&self) -> Vec<u8> {
        let mut key = self.question.to_ascii_lowercase();
        key.push(match self.edns {
            None => 0,
            Some((_, false)) => 1,
            Some((_, true)) => 2,
        });
        key
    }

    /// The largest answer that the sender takes over UDP.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(PLAIN_LIMIT, |(size, _)| usize::from(size.min(EDNS_SIZE)).max(PLAIN_LIMIT))
    }

    /// Writes an answer of at most `limit` bytes. Records that do not fit are left out, and the answer says so.
    pub fn answer(&self, rcode: Rcode, records: &[Record], limit: usize, out: &mut Vec<u8>) {
        out.clear();
        let desired = if self.recursion_desired { RECURSION_DESIRED } else { 0 };
        let mut flags = RESPONSE | RECURSION_AVAILABLE | desired | rcode.number();
        put(out, &[self.id, flags, 1, 0, 0, u16::from(self.edns.is_some())]);
        out.extend_from_slice(self.question);
        let reserved = if self.edns.is_some() { 11 } else { 0 };
        let mut count = 0_u16;
        for record in records {
            let before = out.len();
            record.write(out);
            if out.len() + reserved > limit {
                out.truncate(before);
                flags |= TRUNCATED;
                break;
            }
            count = count.saturating_add(1);
        }
        if self.edns.is_some() {
            out.push(0);
            put(out, &[OPT, EDNS_SIZE, 0, 0, 0]);
        }
        out[2..4].copy_from_slice(&flags.to_be_bytes());
        out[6..8].copy_from_slice(&count.to_be_bytes());
    }

    /// True if `message` answers this very question.
    pub fn is_answered_by(&self, message: &[u8]) -> bool {
        let is_response = number(message, 2).is_some_and(|flags| flags & RESPONSE != 0);
        let same = message
            .get(HEADER..HEADER + self.question.len())
            .is_some_and(|question| question.eq_ignore_ascii_case(self.question));
        is_response && same && number(message, 4) == Some(1)
    }
}

impl Record {
    fn write(&self, out: &mut Vec<u8>) {
        let kind = match self {
            Record::Address(IpAddr::V4(_)) => crate::kind::A,
            Record::Address(IpAddr::V6(_)) => crate::kind::AAAA,
            Record::Pointer(_) => crate::kind::PTR,
        };
        out.extend_from_slice(&NAME_POINTER);
        put(out, &[kind, CLASS_IN]);
        out.extend_from_slice(&crate::TTL.to_be_bytes());
        let length_at = out.len();
        put(out, &[0]);
        match self {
            Record::Address(IpAddr::V4(ip)) => out.extend_from_slice(&ip.octets()),
            Record::Address(IpAddr::V6(ip)) => out.extend_from_slice(&ip.octets()),
            Record::Pointer(name) => write_name(name, out),
        }
        let length = u16::try_from(out.len() - length_at - 2).unwrap_or(u16::MAX);
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

/// Labels that are too long are cut: names of containers and networks may be longer than those of DNS.
fn write_name(name: &str, out: &mut Vec<u8>) {
    let mut total = 1;
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let bytes = label.as_bytes();
        let bytes = &bytes[..bytes.len().min(usize::from(LABEL_LIMIT))];
        total += bytes.len() + 1;
        if total > NAME_LIMIT {
            break;
        }
        out.push(u8::try_from(bytes.len()).unwrap_or(LABEL_LIMIT));
        out.extend_from_slice(bytes);
    }
    out.push(0);
}

fn put(out: &mut Vec<u8>, numbers: &[u16]) {
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Reads a name without pointers: the text in small letters, and where it ends. Bytes that are no letters of a host name
/// cannot be a container's, and become `?`.
fn plain_name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = start;
    loop {
        let length = *message.get(at)?;
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        if length > LABEL_LIMIT || at + usize::from(length) - start > NAME_LIMIT {
            return None;
        }
        let label = message.get(at..at + usize::from(length))?;
        if !name.is_empty() {
            name.push('.');
        }
        // A dot inside of a label must not look like two labels.
        let letter = |byte: &u8| match byte {
            b'.' => '?',
            byte if byte.is_ascii_graphic() => char::from(byte.to_ascii_lowercase()),
            _ => '?',
        };
        name.extend(label.iter().map(letter));
        at += usize::from(length);
    }
}

/// Where a name ends that may have pointers.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length if length <= LABEL_LIMIT => at += usize::from(length) + 1,
            _ => return None,
        }
    }
}

/// A record of any kind in a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordAt {
    pub(crate) kind: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    /// Where its time to live is.
    pub(crate) ttl_at: usize,
    /// Where it ends.
    pub(crate) end: usize,
}

impl RecordAt {
    pub(crate) fn read(message: &[u8], at: usize) -> Option<Self> {
        let fixed = skip_name(message, at)?;
        let ttl_at = fixed + 4;
        let end = fixed + 10 + usize::from(number(message, fixed + 8)?);
        message.get(..end)?;
        let ttl = u32::from_be_bytes(*message.get(ttl_at..)?.first_chunk()?);
        Some(RecordAt {
            kind: number(message, fixed)?,
            class: number(message, fixed + 2)?,
            ttl,
            ttl_at,
            end,
        })
    }

    /// All records of a message with one question; `None` if one of them does not read.
    pub(crate) fn all(message: &[u8]) -> Option<Vec<Self>> {
        if number(message, 4)? != 1 {
            return None;
        }
        let count: usize = [6, 8, 10]
            .iter()
            .map(|at| number(message, *at).map(usize::from))
            .sum::<Option<usize>>()?;
        let mut at = skip_name(message, HEADER)? + 4;
        let mut records = Vec::new();
        for _ in 0..count {
            let record = RecordAt::read(message, at)?;
            at = record.end;
            records.push(record);
        }
        Some(records)
    }

    pub(crate) fn is_edns(&self) -> bool {
        self.kind == OPT
    }
}

/// An answer to what could not be read: a header alone.
pub fn refusal(id: u16, rcode: Rcode) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER);
    put(&mut out, &[id, RESPONSE | RECURSION_AVAILABLE | rcode.number(), 0, 0, 0, 0]);
    out
}

/// Gives a message another number.
pub fn with_id(message: &mut [u8], id: u16) {
    if let Some(first) = message.first_chunk_mut() {
        *first = id.to_be_bytes();
    }
}

/// True if another server's answer settles the question: there is such a name, or certainly not.
pub fn is_useful(message: &[u8]) -> bool {
    matches!(number(message, 2).map(|flags| flags & 0xf), Some(0 | 3))
}

/// True if an answer was cut.
pub(crate) fn is_truncated(message: &[u8]) -> bool {
    number(message, 2).is_none_or(|flags| flags & TRUNCATED != 0)
}

#[cfg(test)]
pub(crate) mod tests;
