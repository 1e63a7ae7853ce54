//! Sets and maps.

use super::{Ip, comment, comment_text, message, payload, request};
use crate::{
    NetlinkError, Socket,
    wire::{Message, Request, attributes},
};

const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LEN: u16 = 7;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;

const FLAG_INTERVAL: u32 = 0x4;
const FLAG_MAP: u32 = 0x8;

const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEM: u16 = 1;
const ELEM_KEY: u16 = 1;
const ELEM_DATA: u16 = 2;
const ELEM_FLAGS: u16 = 3;
const ELEM_USERDATA: u16 = 6;
const VALUE: u16 = 1;
const INTERVAL_END: u32 = 1;

/// More elements than this are not read.
const ELEMENT_LIMIT: usize = 1 << 20;
/// Keys and values are at most 64 bytes in the kernel.
const DATA_LIMIT: usize = 64;

/// What a key or value consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An IPv4 address: 4 bytes.
    Ipv4,
    /// An IPv6 address: 16 bytes.
    Ipv6,
    /// A port: 2 bytes, and 2 of padding.
    Port,
    /// Number of a transport protocol: 1 byte, and 3 of padding.
    Protocol,
    /// Name of a link: 16 bytes, filled up with NULs.
    LinkName,
}

impl Field {
    /// The nft program's number of this type. The kernel only keeps it.
    fn number(self) -> u32 {
        match self {
            Field::Ipv4 => 7,
            Field::Ipv6 => 8,
            Field::Protocol => 12,
            Field::Port => 13,
            Field::LinkName => 41,
        }
    }

    fn length(self, alone: bool) -> u32 {
        match self {
            Field::Ipv4 => 4,
            Field::Protocol if alone => 1,
            Field::Port if alone => 2,
            Field::Protocol | Field::Port => 4,
            Field::Ipv6 | Field::LinkName => 16,
        }
    }
}

/// A set to be made, or a map if it has a value.
#[derive(Debug, Clone, Copy)]
pub struct Set<'a> {
    /// Its name.
    pub name: &'a str,
    /// Parts of the key.
    pub key: &'a [Field],
    /// Parts of the value; empty for sets.
    pub value: &'a [Field],
    /// Elements are the beginnings of ranges, and their ends.
    pub interval: bool,
}

impl Set<'_> {
    pub(super) fn fill(&self, id: u32, request: &mut Request) {
        let map = !self.value.is_empty();
        let flags = if self.interval { FLAG_INTERVAL } else { 0 } | if map { FLAG_MAP } else { 0 };
        request.text(SET_NAME, self.name);
        request.network(SET_FLAGS, flags);
        let (kind, length) = describe(self.key);
        request.network(SET_KEY_TYPE, kind);
        request.network(SET_KEY_LEN, length);
        if map {
            let (kind, length) = describe(self.value);
            request.network(SET_DATA_TYPE, kind);
            request.network(SET_DATA_LEN, length);
        }
        request.network(SET_ID, id);
        // Byte order of a simple key, for the nft program: without, it lists ranges and names wrong.
        if let [field] = self.key {
            let order = match field {
                Field::LinkName => 1_u32,
                Field::Ipv4 | Field::Ipv6 | Field::Protocol | Field::Port => 2,
            };
            let mut userdata = vec![0, 4];
            userdata.extend_from_slice(&order.to_ne_bytes());
            request.attribute(SET_USERDATA, &userdata);
        }
    }
}

/// The type's number (six bits per part) and the length.
fn describe(fields: &[Field]) -> (u32, u32) {
    let alone = fields.len() == 1;
    fields.iter().fold((0, 0), |(kind, length), field| {
        (kind << 6 | field.number(), length + field.length(alone))
    })
}

/// An element of a set or map.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// The key's bytes.
    pub key: Vec<u8>,
    /// The value's bytes; empty in sets.
    pub value: Vec<u8>,
    /// The key is the first that is no more in the range.
    pub end: bool,
    /// What the element is for; empty for nothing.
    pub comment: String,
}

pub(super) fn fill_elements(request: &mut Request, set: &str, elements: &[Element]) {
    request.text(LIST_SET, set);
    request.nest(LIST_ELEMENTS, |request| {
        for element in elements {
            request.nest(LIST_ELEM, |request| fill_element(request, element));
        }
    });
}

fn fill_element(request: &mut Request, element: &Element) {
    if element.end {
        request.network(ELEM_FLAGS, INTERVAL_END);
    }
    request.nest(ELEM_KEY, |request| request.attribute(VALUE, &element.key));
    if !element.value.is_empty() {
        request.nest(ELEM_DATA, |request| request.attribute(VALUE, &element.value));
    }
    if !element.comment.is_empty() {
        request.attribute(ELEM_USERDATA, &comment(&element.comment));
    }
}

/// All elements of a set or map; `None` if there is no such set.
pub fn elements(
    socket: &mut Socket,
    ip: Ip,
    table: &str,
    set: &str,
) -> Result<Option<Vec<Element>>, NetlinkError> {
    let what = format!("list elements of {table} {set}");
    let mut request = request(message::GETSETELEM, 0, what, ip.number());
    request.text(super::ATTR_TABLE, table);
    request.text(LIST_SET, set);
    match socket.dump(&request, |message| Some(decode_elements(message))) {
        Ok(found) => Ok(Some(found.into_iter().flatten().take(ELEMENT_LIMIT).collect())),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads an `NFT_MSG_NEWSETELEM`. Elements that have no key of at most 64 bytes are left out.
pub fn decode_elements(message: &Message<'_>) -> Vec<Element> {
    let list = payload(message, message::NEWSETELEM)
        .and_then(|(_, rest)| attributes(rest).find(LIST_ELEMENTS));
    let Some(list) = list else { return Vec::new() };
    list.nested()
        .filter(|attribute| attribute.kind == LIST_ELEM)
        .filter_map(|attribute| {
            let mut element = Element::default();
            for part in attribute.nested() {
                let value = || part.nested().find(VALUE).map(|value| value.value);
                match part.kind {
                    ELEM_KEY => element.key = value()?.to_vec(),
                    ELEM_DATA => element.value = value()?.to_vec(),
                    ELEM_FLAGS => element.end = part.network()? & INTERVAL_END != 0,
                    ELEM_USERDATA => element.comment = comment_text(part.value).unwrap_or_default(),
                    _ => {}
                }
            }
            let lengths = [element.key.len(), element.value.len()];
            let fits =
                !element.key.is_empty() && lengths.iter().all(|length| *length <= DATA_LIMIT);
            fits.then_some(element)
        })
        .collect()
}
