//! nftables of the families `ip` and `ip6`: batches of changes, done as a whole or not at all, and what there is.

mod chain;
mod expr;
mod set;

use crate::{
    NetlinkError, Socket,
    wire::{Message, Request, flag},
};

pub use chain::{Chain, Hook, HookedChain, Rule, chain_names, decode_chain, hooked_chains};
pub use expr::{Comparison, CtKey, Expr, MetaKey, PayloadBase, Verdict};
pub use set::{Element, Field, Set, decode_elements, elements};

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// A family of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ip {
    /// `ip`.
    #[default]
    V4,
    /// `ip6`.
    V6,
}

impl Ip {
    /// `NFPROTO_*`.
    fn number(self) -> u8 {
        match self {
            Ip::V4 => 2,
            Ip::V6 => 10,
        }
    }
}

/// `struct nfgenmsg`.
const BODY: usize = 4;
/// Elements per message: a list's length must fit in 16 bits.
const ELEMENTS_PER_MESSAGE: usize = 200;

/// `NFT_MSG_*`.
mod message {
    pub(super) const NEWTABLE: u16 = 0;
    pub(super) const DELTABLE: u16 = 2;
    pub(super) const NEWCHAIN: u16 = 3;
    pub(super) const GETCHAIN: u16 = 4;
    pub(super) const NEWRULE: u16 = 6;
    pub(super) const GETRULE: u16 = 7;
    pub(super) const DELRULE: u16 = 8;
    pub(super) const NEWSET: u16 = 9;
    pub(super) const NEWSETELEM: u16 = 12;
    pub(super) const GETSETELEM: u16 = 13;
    pub(super) const DELSETELEM: u16 = 14;
}

/// Attributes that every kind of object begins with: the table, and the chain that a rule is in.
const ATTR_TABLE: u16 = 1;
const ATTR_RULE_CHAIN: u16 = 2;

/// Changes that are done together, in this order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    ip: Ip,
    requests: Vec<Request>,
}

impl Batch {
    /// No changes to tables of that family.
    pub fn new(ip: Ip) -> Self {
        Batch { ip, requests: Vec::new() }
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Makes a table unless it is there.
    pub fn add_table(&mut self, table: &str) {
        self.push(message::NEWTABLE, flag::CREATE, format!("create table {table}"), table);
    }

    /// Removes a table with all that is in it.
    pub fn delete_table(&mut self, table: &str) {
        self.push(message::DELTABLE, 0, format!("delete table {table}"), table);
    }

    /// Makes a chain unless it is there.
    pub fn add_chain(&mut self, table: &str, chain: &Chain<'_>) {
        let what = format!("create chain {table} {}", chain.name);
        chain.fill(self.push(message::NEWCHAIN, flag::CREATE, what, table));
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(&mut self, table: &str, chain: &str) {
        let what = format!("flush chain {table} {chain}");
        self.push(message::DELRULE, 0, what, table).text(ATTR_RULE_CHAIN, chain);
    }

    /// Adds a rule at the end of its chain.
    pub fn add_rule(&mut self, table: &str, rule: &Rule<'_>) {
        let what = format!("add rule to {table} {}", rule.chain);
        rule.fill(self.push(message::NEWRULE, flag::CREATE | flag::APPEND, what, table));
    }

    /// Makes a set or map unless it is there.
    pub fn add_set(&mut self, table: &str, set: &Set<'_>) {
        let what = format!("create set {table} {}", set.name);
        // The number only has to be unique in the batch.
        let id = u32::try_from(self.requests.len()).unwrap_or(u32::MAX).saturating_add(1);
        set.fill(id, self.push(message::NEWSET, flag::CREATE, what, table));
    }

    /// Adds elements that are not there. Fails if a map has another value for one of them.
    pub fn add_elements(&mut self, table: &str, set: &str, elements: &[Element]) {
        for some in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let what = format!("add elements to {table} {set}");
            let request = self.push(message::NEWSETELEM, flag::CREATE, what, table);
            set::fill_elements(request, set, some);
        }
    }

    /// Removes elements. Fails if one is not there.
    pub fn delete_elements(&mut self, table: &str, set: &str, elements: &[Element]) {
        for some in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let what = format!("remove elements from {table} {set}");
            let request = self.push(message::DELSETELEM, 0, what, table);
            set::fill_elements(request, set, some);
        }
    }

    /// Does it.
    pub fn commit(self, socket: &mut Socket) -> Result<(), NetlinkError> {
        let frame = |kind| {
            let mut header = header(0);
            header[2..].copy_from_slice(&SUBSYSTEM.to_be_bytes());
            Request::new(kind, 0, "commit nftables changes").body(&header)
        };
        socket.transaction(&frame(BATCH_BEGIN), &self.requests, &frame(BATCH_END))
    }

    fn push(&mut self, kind: u16, flags: u16, what: String, table: &str) -> &mut Request {
        let mut request = request(kind, flags, what, self.ip.number());
        request.text(ATTR_TABLE, table);
        self.requests.push(request);
        let last = self.requests.len() - 1;
        &mut self.requests[last]
    }
}

fn request(kind: u16, flags: u16, what: impl Into<String>, family: u8) -> Request {
    Request::new(SUBSYSTEM << 8 | kind, flags, what).body(&header(family))
}

fn header(family: u8) -> [u8; BODY] {
    [family, 0, 0, 0]
}

/// How many rules each chain of a table has, by the chain's name; none if there is no such table.
pub fn rule_counts(
    socket: &mut Socket,
    ip: Ip,
    table: &str,
) -> Result<std::collections::BTreeMap<String, usize>, NetlinkError> {
    let what = format!("list rules of {table}");
    let mut request = request(message::GETRULE, 0, what, ip.number());
    request.text(ATTR_TABLE, table);
    let chains = socket.dump(&request, |found| {
        let (_, rest) = payload(found, message::NEWRULE)?;
        let of = |kind| crate::wire::attributes(rest).find(kind);
        let own = of(ATTR_TABLE)?.text() == table;
        of(ATTR_RULE_CHAIN).filter(|_| own).map(|chain| chain.text())
    });
    let mut counts = std::collections::BTreeMap::new();
    match chains {
        Ok(chains) => chains.into_iter().for_each(|chain| *counts.entry(chain).or_default() += 1),
        Err(error) if error.is_absent() => {}
        Err(error) => return Err(error),
    }
    Ok(counts)
}

/// What follows the header of a message of that kind.
fn payload<'a>(message: &Message<'a>, kind: u16) -> Option<(u8, &'a [u8])> {
    if message.kind != SUBSYSTEM << 8 | kind {
        return None;
    }
    let (header, rest) = message.payload.split_at_checked(BODY)?;
    Some((*header.first()?, rest))
}

/// A comment, as the nft program shows it: userdata with one tagged text.
fn comment(text: &str) -> Vec<u8> {
    let mut end = text.len().min(128);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut bytes = vec![0, u8::try_from(end + 1).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(&text.as_bytes()[..end]);
    bytes.push(0);
    bytes
}

/// The text of [`comment`].
fn comment_text(userdata: &[u8]) -> Option<String> {
    let [0, length, rest @ ..] = userdata else { return None };
    let text = rest.get(..usize::from(*length))?;
    let text = text.strip_suffix(&[0]).unwrap_or(text);
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests;
