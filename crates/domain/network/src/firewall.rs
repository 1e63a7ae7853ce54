//! The nftables table: rules that are always the same, and sets that say for which bridges.
//!
//! A bridge is added by adding elements, a port by adding an element: no rule is ever searched for or renumbered, and
//! whoever reads the rules (`nft list table ip ferry`) has read all there is.
//!
//! - `guard`: 127.0.0.0/8 is only for packets of this machine. `route_localnet` lets the kernel route it out to
//!   bridges, for ports published on loopback; without this rule neighbours could reach those from outside
//!   (CVE-2020-8558), since translation comes before the kernel looks for martians.
//! - `ingress`, `egress`: what is for this machine, from outside or from itself, is looked up in `ports`.
//! - `depart`: containers' addresses are not known outside; and what a container sends to a port that leads to its own
//!   network must come back through here, or the answer would come from somebody it never spoke to.
//! - `forward`: within a network all may pass; between networks, into internal ones and out of them nothing; from
//!   outside only published ports; to the outside all.

use std::net::Ipv4Addr;

use ferry_netlink::{
    Family, NetlinkError, Socket,
    nft::{
        self, Batch, Chain, Comparison, CtKey, Element, Expr, Field, Hook, MetaKey, PayloadBase,
        Rule, Set, Verdict,
    },
};

/// Sets whose elements belong to bridges; each element's comment is its bridge.
const BRIDGES: &str = "bridges";
const INTERNAL: &str = "internal";
const WITHIN: &str = "within";
const SUBNETS: &str = "subnets";
const OUTBOUND: &str = "outbound";
const OF_BRIDGES: [&str; 5] = [BRIDGES, INTERNAL, WITHIN, SUBNETS, OUTBOUND];

/// Maps of published ports.
pub(crate) const TCP_ANY: &str = "tcp_any";
pub(crate) const TCP_AT: &str = "tcp_at";
pub(crate) const UDP_ANY: &str = "udp_any";
pub(crate) const UDP_AT: &str = "udp_at";
pub(crate) const MAPS: [&str; 4] = [TCP_ANY, TCP_AT, UDP_ANY, UDP_AT];

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// `RTN_LOCAL`.
const LOCAL: [u8; 4] = 2_u32.to_ne_bytes();
/// `IPS_DST_NAT`.
const TRANSLATED: [u8; 4] = 32_u32.to_ne_bytes();
/// `established` and `related`, as bits.
const KNOWN: [u8; 4] = 6_u32.to_ne_bytes();
const NOTHING: [u8; 4] = [0; 4];
/// `lo` as a link's name in a register: the NUL makes it the whole name.
const LOOPBACK: [u8; 16] = *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Priorities: before connection tracking, translating, deciding.
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

/// A bridge as the firewall sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone<'a> {
    pub(crate) table: &'a str,
    pub(crate) link: &'a str,
    pub(crate) subnet: (Ipv4Addr, u8),
    pub(crate) internal: bool,
    pub(crate) masquerade: bool,
}

/// Makes the table what it must be, and the bridge's elements with it. One transaction: no packet sees less.
pub(crate) fn install(zone: &Zone<'_>) -> Result<(), NetlinkError> {
    let mut socket = Socket::open(Family::Netfilter)?;
    let wanted = zone.elements();
    let mut batch = Batch::new();
    declare(&mut batch, zone.table);
    for (set, present) in of_bridge(&mut socket, zone.table, zone.link)? {
        let wanted: Vec<&Element> = of_set(&wanted, set).collect();
        let stale: Vec<_> = present.into_iter().filter(|have| !wanted.contains(&have)).collect();
        batch.delete_elements(zone.table, set, &stale);
    }
    for set in OF_BRIDGES {
        let elements: Vec<_> = of_set(&wanted, set).cloned().collect();
        batch.add_elements(zone.table, set, &elements);
    }
    batch.commit(&mut socket)
}

/// Takes a bridge out of the table; the table too if it was the last.
pub(crate) fn uninstall(table: &str, link: &str) -> Result<(), NetlinkError> {
    let mut socket = Socket::open(Family::Netfilter)?;
    let mut batch = Batch::new();
    for (set, present) in of_bridge(&mut socket, table, link)? {
        batch.delete_elements(table, set, &present);
    }
    batch.commit(&mut socket)?;
    if nft::elements(&mut socket, table, BRIDGES)?.is_some_and(|bridges| bridges.is_empty()) {
        let mut batch = Batch::new();
        batch.delete_table(table);
        batch.commit(&mut socket)?;
    }
    Ok(())
}

/// The elements of that bridge that are in the table, by set.
fn of_bridge(
    socket: &mut Socket,
    table: &str,
    link: &str,
) -> Result<Vec<(&'static str, Vec<Element>)>, NetlinkError> {
    let mut found = Vec::new();
    for set in OF_BRIDGES {
        let elements = nft::elements(socket, table, set)?.unwrap_or_default();
        // The kernel lets ends of ranges have no comment. Ranges do not overlap: each ends at the next end.
        let end_of = |start: &Element| {
            elements
                .iter()
                .filter(|end| end.end && end.key > start.key)
                .min_by(|a, b| a.key.cmp(&b.key))
        };
        let own = elements.iter().filter(|element| element.comment == link);
        let interval = [SUBNETS, OUTBOUND].contains(&set);
        let with_end = own.flat_map(|start| [Some(start), end_of(start).filter(|_| interval)]);
        found.push((set, with_end.flatten().cloned().collect()));
    }
    Ok(found)
}

fn of_set<'e>(
    elements: &'e [(&'static str, Element)],
    set: &'static str,
) -> impl Iterator<Item = &'e Element> {
    elements.iter().filter(move |(of, _)| *of == set).map(|(_, element)| element)
}

impl Zone<'_> {
    fn elements(&self) -> Vec<(&'static str, Element)> {
        let name = link_name(self.link);
        let element = |key: Vec<u8>, end| Element {
            key,
            end,
            comment: if end { String::new() } else { self.link.to_owned() },
            ..Element::default()
        };
        let first = u32::from(self.subnet.0);
        let past = first.wrapping_add(1 << (32 - u32::from(self.subnet.1.clamp(1, 32))));
        let range = |set| {
            let start = (set, element(first.to_be_bytes().into(), false));
            // The range that ends with the last address of all has no end.
            let end = (past != 0).then(|| (set, element(past.to_be_bytes().into(), true)));
            [Some(start), end].into_iter().flatten()
        };
        let mut elements = vec![
            (BRIDGES, element(name.into(), false)),
            (WITHIN, element([name, name].concat(), false)),
        ];
        elements.extend(range(SUBNETS));
        if self.internal {
            elements.push((INTERNAL, element(name.into(), false)));
        } else if self.masquerade {
            elements.extend(range(OUTBOUND));
        }
        elements
    }
}

fn link_name(link: &str) -> [u8; 16] {
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(link.bytes().take(15)) {
        *to = from;
    }
    name
}

/// The table, its sets and its rules. Sets keep their elements; rules are replaced.
fn declare(batch: &mut Batch, table: &str) {
    use Field::{Ipv4, LinkName, Port};
    batch.add_table(table);
    let set = |name, key, value, interval| Set { name, key, value, interval };
    for set in [
        set(BRIDGES, &[LinkName], &[], false),
        set(INTERNAL, &[LinkName], &[], false),
        set(WITHIN, &[LinkName, LinkName], &[], false),
        set(SUBNETS, &[Ipv4], &[], true),
        set(OUTBOUND, &[Ipv4], &[], true),
        set(TCP_ANY, &[Port], &[Ipv4, Port], false),
        set(UDP_ANY, &[Port], &[Ipv4, Port], false),
        set(TCP_AT, &[Ipv4, Port], &[Ipv4, Port], false),
        set(UDP_AT, &[Ipv4, Port], &[Ipv4, Port], false),
    ] {
        batch.add_set(table, &set);
    }
    let chains = [
        ("guard", Some(("filter", Hook::Prerouting, RAW))),
        ("ports", None),
        ("ingress", Some(("nat", Hook::Prerouting, DSTNAT))),
        ("egress", Some(("nat", Hook::Output, DSTNAT))),
        ("depart", Some(("nat", Hook::Postrouting, SRCNAT))),
        ("forward", Some(("filter", Hook::Forward, FILTER))),
    ];
    for (name, base) in chains {
        batch.add_chain(table, &Chain { name, base });
        batch.flush_chain(table, name);
    }
    for rule in rules() {
        batch.add_rule(table, &rule);
    }
}

/// The rules in order. Pure, and the same for all bridges.
fn rules() -> Vec<Rule<'static>> {
    let mut rules = vec![rule(
        "guard",
        "loopback addresses are not for others",
        [
            vec![INPUT, compare(Comparison::NotEqual, &LOOPBACK)],
            network(16, 1),
            vec![is(&[127]), DROP],
        ],
    )];
    for (protocol, at, any) in
        [(&[IPPROTO_TCP], TCP_AT, TCP_ANY), (&[IPPROTO_UDP], UDP_AT, UDP_ANY)]
    {
        let transport = vec![Expr::Meta(MetaKey::Transport, 0), is(protocol)];
        let port =
            |word| Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, word };
        let go = |map| vec![Expr::Map { map, word: 0 }, Expr::Dnat { address: 0, port: 1 }];
        let address = network(16, 4);
        rules.push(rule(
            "ports",
            "published on one address",
            [transport.clone(), address, vec![port(1)], go(at)],
        ));
        rules.push(rule("ports", "published on all", [transport, vec![port(0)], go(any)]));
    }
    let local = vec![Expr::FibDestinationType(0), is(&LOCAL)];
    let lookup = vec![Expr::Verdict(Verdict::Goto("ports"))];
    rules.push(rule("ingress", "for this machine", [local.clone(), lookup.clone()]));
    rules.push(rule("egress", "for this machine", [local, lookup]));
    rules.extend(departing());
    rules.extend(forwarding());
    rules
}

fn departing() -> Vec<Rule<'static>> {
    let to_bridge = || vec![OUTPUT, inside(BRIDGES)];
    let hidden = || vec![Expr::Masquerade];
    let source = |length| network(12, length);
    vec![
        rule(
            "depart",
            "loopback to containers",
            [source(1), vec![is(&[127])], to_bridge(), hidden()],
        ),
        rule(
            "depart",
            "containers to ports of containers",
            [translated(), source(4), vec![inside(SUBNETS)], to_bridge(), hidden()],
        ),
        rule(
            "depart",
            "containers to the outside",
            [source(4), vec![inside(OUTBOUND), OUTPUT, outside(BRIDGES)], hidden()],
        ),
    ]
}

fn forwarding() -> Vec<Rule<'static>> {
    let accept = || vec![Expr::Verdict(Verdict::Accept)];
    let drop = || vec![DROP];
    let from = |set| vec![INPUT, inside(set)];
    let to = |set| vec![OUTPUT, inside(set)];
    let known = vec![
        Expr::Ct(CtKey::State, 0),
        Expr::Mask(0, KNOWN),
        compare(Comparison::NotEqual, &NOTHING),
    ];
    // Both names, one behind the other.
    let within = vec![INPUT, Expr::Meta(MetaKey::OutputName, 4), inside(WITHIN)];
    vec![
        rule("forward", "connections that were let through", [known, accept()]),
        rule("forward", "within a network", [within, accept()]),
        rule("forward", "out of internal networks", [from(INTERNAL), drop()]),
        rule("forward", "into internal networks", [to(INTERNAL), drop()]),
        rule("forward", "published ports", [translated(), to(BRIDGES), accept()]),
        rule("forward", "other ports and other networks", [to(BRIDGES), drop()]),
        rule("forward", "containers to the outside", [from(BRIDGES), accept()]),
    ]
}

const DROP: Step = Expr::Verdict(Verdict::Drop);
const INPUT: Step = Expr::Meta(MetaKey::InputName, 0);
const OUTPUT: Step = Expr::Meta(MetaKey::OutputName, 0);

type Step = Expr<'static>;

fn rule<const N: usize>(
    chain: &'static str,
    comment: &'static str,
    parts: [Vec<Step>; N],
) -> Rule<'static> {
    Rule { chain, expressions: parts.concat(), comment }
}

/// Bytes of the IP header.
fn network(offset: u8, length: u8) -> Vec<Step> {
    vec![Expr::Payload { base: PayloadBase::Network, offset, length, word: 0 }]
}

fn translated() -> Vec<Step> {
    vec![
        Expr::Ct(CtKey::Status, 0),
        Expr::Mask(0, TRANSLATED),
        compare(Comparison::NotEqual, &NOTHING),
    ]
}

fn compare(how: Comparison, value: &'static [u8]) -> Step {
    Expr::Compare { word: 0, how, value }
}

fn is(value: &'static [u8]) -> Step {
    compare(Comparison::Equal, value)
}

fn inside(set: &'static str) -> Step {
    Expr::Contained { set, word: 0, not: false }
}

fn outside(set: &'static str) -> Step {
    Expr::Contained { set, word: 0, not: true }
}
