//! Chains and rules.

use super::{Expr, comment, message, payload, request};
use crate::{
    NetlinkError, Socket,
    wire::{Message, Request, attributes},
};

const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const LIST_ELEM: u16 = 1;

const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// Where a chain sees packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// As they come in.
    Prerouting,
    /// For this machine.
    Input,
    /// Passing through.
    Forward,
    /// From this machine.
    Output,
    /// As they go out.
    Postrouting,
}

impl Hook {
    fn number(self) -> u32 {
        match self {
            Hook::Prerouting => 0,
            Hook::Input => 1,
            Hook::Forward => 2,
            Hook::Output => 3,
            Hook::Postrouting => 4,
        }
    }

    fn of(number: u32) -> Option<Self> {
        [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]
            .into_iter()
            .find(|hook| hook.number() == number)
    }
}

/// A chain to be made.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    /// Its name.
    pub name: &'a str,
    /// `filter` or `nat`, the hook and the priority; `None` for chains that are only jumped to. Packets that no rule
    /// decides about are accepted.
    pub base: Option<(&'a str, Hook, i32)>,
}

impl Chain<'_> {
    pub(super) fn fill(&self, request: &mut Request) {
        request.text(CHAIN_NAME, self.name);
        let Some((kind, hook, priority)) = self.base else { return };
        request.nest(CHAIN_HOOK, |request| {
            request.network(HOOK_NUMBER, hook.number());
            request.attribute(HOOK_PRIORITY, &priority.to_be_bytes());
        });
        request.network(CHAIN_POLICY, ACCEPT);
        request.text(CHAIN_TYPE, kind);
    }
}

/// A rule to be added.
#[derive(Debug, Clone)]
pub struct Rule<'a> {
    /// Its chain.
    pub chain: &'a str,
    /// What it does.
    pub expressions: Vec<Expr<'a>>,
    /// What it is for; shown by the nft program.
    pub comment: &'a str,
}

impl Rule<'_> {
    pub(super) fn fill(&self, request: &mut Request) {
        request.text(RULE_CHAIN, self.chain);
        request.nest(RULE_EXPRESSIONS, |request| {
            for expression in &self.expressions {
                request.nest(LIST_ELEM, |request| expression.fill(request));
            }
        });
        request.attribute(RULE_USERDATA, &comment(self.comment));
    }
}

/// A chain of anybody's that sees packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookedChain {
    /// `NFPROTO_*`: 1 inet, 2 ip, 10 ip6.
    pub family: u8,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it sees them.
    pub hook: Hook,
    /// What no rule decides about is dropped.
    pub drops: bool,
}

/// All chains that see packets, of all tables and families.
pub fn hooked_chains(socket: &mut Socket) -> Result<Vec<HookedChain>, NetlinkError> {
    socket.dump(&request(message::GETCHAIN, 0, "list nftables chains", 0), decode_chain)
}

/// The tables and names of all chains, those that others jump to, too.
pub fn chain_names(socket: &mut Socket) -> Result<Vec<(String, String)>, NetlinkError> {
    let name = |message: &Message<'_>| {
        let (_, rest) = payload(message, message::NEWCHAIN)?;
        let of = |kind| attributes(rest).find(kind).map(|text| text.text());
        Some((of(super::ATTR_TABLE)?, of(CHAIN_NAME)?))
    };
    socket.dump(&request(message::GETCHAIN, 0, "list nftables chains", 0), name)
}

/// Reads an `NFT_MSG_NEWCHAIN`; `None` for chains without hook.
pub fn decode_chain(message: &Message<'_>) -> Option<HookedChain> {
    let (family, rest) = payload(message, message::NEWCHAIN)?;
    let of = |kind| attributes(rest).find(kind);
    let hook = of(CHAIN_HOOK)?.nested().find(HOOK_NUMBER)?.network()?;
    Some(HookedChain {
        family,
        table: of(super::ATTR_TABLE)?.text(),
        name: of(CHAIN_NAME)?.text(),
        hook: Hook::of(hook)?,
        drops: of(CHAIN_POLICY).and_then(|policy| policy.network()) == Some(DROP),
    })
}
