//! The nftables tables, one of each family: rules that are always the same, and sets that say for which bridges.
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
//!   outside only published ports; to the outside all. What is `routed` has its published ports open at the containers' own
//!   addresses (`direct`), from everywhere; what is `unprotected` all ports, but not for other networks. Where the containers
//!   of a network are kept apart, those that are linked reach each other's exposed ports (`linked`). What comes by a link that a
//!   network trusts (`trusted`) reaches its published ports at the containers' own addresses, as if it were `routed`; what comes to
//!   such a network (`trusting`) by another does not.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ferry_netlink::{
    Family, NetlinkError, Socket,
    nft::{
        self, Batch, Chain, Comparison, CtKey, Element, Expr, Field, Hook, Ip, MetaKey,
        PayloadBase, Rule, Set, Verdict,
    },
};

use crate::{
    bridge::GatewayMode,
    subnet::{self, Net},
};

/// Sets whose elements belong to bridges; each element's comment is its bridge.
const BRIDGES: &str = "bridges";
const INTERNAL: &str = "internal";
const WITHIN: &str = "within";
const SUBNETS: &str = "subnets";
const OUTBOUND: &str = "outbound";
const ROUTED: &str = "routed";
const UNPROTECTED: &str = "unprotected";
/// The address that containers of a subnet appear with outside: a map.
const HOSTED: &str = "hosted";
/// Networks that trust links, and a link with the network that trusts it.
const TRUSTING: &str = "trusting";
const TRUSTED: &str = "trusted";
const OF_BRIDGES: [&str; 10] =
    [BRIDGES, INTERNAL, WITHIN, SUBNETS, OUTBOUND, ROUTED, UNPROTECTED, HOSTED, TRUSTING, TRUSTED];

/// Pairs of containers, and the port of one that is open to the other.
pub(crate) const LINKED: &str = "linked";

/// Maps of published ports.
pub(crate) const TCP_ANY: &str = "tcp_any";
pub(crate) const TCP_AT: &str = "tcp_at";
pub(crate) const UDP_ANY: &str = "udp_any";
pub(crate) const UDP_AT: &str = "udp_at";
pub(crate) const SCTP_ANY: &str = "sctp_any";
pub(crate) const SCTP_AT: &str = "sctp_at";
/// Ports of containers that are reached at their own addresses: a set.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const MAPS: [&str; 7] = [TCP_ANY, TCP_AT, UDP_ANY, UDP_AT, SCTP_ANY, SCTP_AT, DIRECT];

pub(crate) const IPPROTO_TCP: u8 = 6;
pub(crate) const IPPROTO_UDP: u8 = 17;
pub(crate) const IPPROTO_SCTP: u8 = 132;
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;
/// `RTN_LOCAL`.
const LOCAL: [u8; 4] = 2_u32.to_ne_bytes();
/// `IPS_DST_NAT`.
const TRANSLATED: [u8; 4] = 32_u32.to_ne_bytes();
/// `established` and `related`, as bits.
const KNOWN: [u8; 4] = 6_u32.to_ne_bytes();
const NOTHING: [u8; 4] = [0; 4];
/// `::1`.
const LOOPBACK6: [u8; 16] = std::net::Ipv6Addr::LOCALHOST.octets();
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
    pub(crate) subnet: Net,
    pub(crate) internal: bool,
    pub(crate) masquerade: bool,
    /// Containers on it reach each other.
    pub(crate) open: bool,
    pub(crate) mode: GatewayMode,
    /// What containers appear with outside; otherwise with the address of the link that they leave by.
    pub(crate) host: Option<IpAddr>,
    /// Links by which published ports are reached at the containers' own addresses.
    pub(crate) trusted: &'a [String],
}

/// Makes the table what it must be, and the bridge's elements with it. One transaction: no packet sees less.
pub(crate) fn install(zone: &Zone<'_>) -> Result<(), NetlinkError> {
    let mut socket = Socket::open(Family::Netfilter)?;
    let wanted = zone.elements();
    let ip = family(zone.subnet.0.is_ipv6());
    let mut batch = Batch::new(ip);
    if !is_declared(&mut socket, ip, zone.table)? {
        declare(&mut batch, ip, zone.table);
    }
    let sets = sets(&mut socket, ip, zone.table)?;
    for (set, present) in of_bridge(&sets, zone.link) {
        let wanted: Vec<&Element> = of_set(&wanted, set).collect();
        let stale: Vec<_> = present.into_iter().filter(|have| !wanted.contains(&have)).collect();
        batch.delete_elements(zone.table, set, &keys(&stale));
    }
    for set in OF_BRIDGES {
        let elements: Vec<_> = of_set(&wanted, set).cloned().collect();
        batch.add_elements(zone.table, set, &elements);
    }
    batch.commit(&mut socket)?;
    note_declared(ip, zone.table);
    close_behind(socket);
    Ok(())
}

/// Tables that this process has declared: one of an earlier version may have other rules.
static DECLARED: Mutex<BTreeSet<(bool, String)>> = Mutex::new(BTreeSet::new());

fn declared() -> MutexGuard<'static, BTreeSet<(bool, String)>> {
    DECLARED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note_declared(ip: Ip, table: &str) {
    declared().insert((ip == Ip::V6, table.to_owned()));
}

/// Whether the table is as this process has made it: replacing rules takes the kernel its time.
fn is_declared(socket: &mut Socket, ip: Ip, table: &str) -> Result<bool, NetlinkError> {
    let known = declared().contains(&(ip == Ip::V6, table.to_owned()));
    Ok(known && has_all_rules(socket, ip, table)?)
}

fn has_all_rules(socket: &mut Socket, ip: Ip, table: &str) -> Result<bool, NetlinkError> {
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for rule in rules(ip) {
        *wanted.entry(rule.chain.to_owned()).or_default() += 1;
    }
    Ok(nft::rule_counts(socket, ip, table)? == wanted)
}

/// Whoever closes a socket that has changed nftables waits until the kernel has thrown away what was replaced, several
/// milliseconds: let that not be the one who starts a container.
pub(crate) fn close_behind(socket: Socket) {
    // Without a thread it is closed here.
    std::thread::Builder::new().name("nft-close".to_owned()).spawn(move || drop(socket)).ok();
}

/// What the tables have now, read once for all bridges that are looked at.
#[derive(Debug, Default)]
pub struct RulesSeen(HashMap<(String, bool), Option<Sets>>);

/// The elements of each of [`OF_BRIDGES`].
type Sets = Vec<(&'static str, Vec<Element>)>;

impl RulesSeen {
    /// The elements of a table; none where rules are missing.
    fn table(&mut self, ip: Ip, table: &str) -> Result<Option<&Sets>, NetlinkError> {
        let key = (table.to_owned(), ip == Ip::V6);
        let read = match self.0.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let mut socket = Socket::open(Family::Netfilter)?;
                let whole = has_all_rules(&mut socket, ip, table)?;
                let sets = whole.then(|| sets(&mut socket, ip, table)).transpose()?;
                // Whoever asks keeps others from changing networks meanwhile.
                close_behind(socket);
                new.insert(sets)
            }
        };
        Ok(read.as_ref())
    }

    /// Something was put back: what was read is old.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

/// Whether the table has all of its rules, and the bridge's elements: somebody else may have flushed it.
pub(crate) fn is_whole(zone: &Zone<'_>, seen: &mut RulesSeen) -> Result<bool, NetlinkError> {
    let ip = family(zone.subnet.0.is_ipv6());
    let Some(sets) = seen.table(ip, zone.table)? else { return Ok(false) };
    let elements = zone.elements();
    let has = |(set, have): (&'static str, Vec<Element>)| {
        of_set(&elements, set).all(|it| have.contains(it))
    };
    Ok(of_bridge(sets, zone.link).all(has))
}

/// Takes a bridge out of the table; the table too if it was the last.
pub(crate) fn uninstall(table: &str, link: &str) -> Result<(), NetlinkError> {
    let mut socket = Socket::open(Family::Netfilter)?;
    for ip in [Ip::V4, Ip::V6] {
        if nft::elements(&mut socket, ip, table, BRIDGES)?.is_none() {
            continue;
        }
        let mut batch = Batch::new(ip);
        let sets = sets(&mut socket, ip, table)?;
        for (set, present) in of_bridge(&sets, link) {
            batch.delete_elements(table, set, &keys(&present));
        }
        batch.commit(&mut socket)?;
        let left = nft::elements(&mut socket, ip, table, BRIDGES)?;
        if left.is_some_and(|bridges| bridges.is_empty()) {
            let mut batch = Batch::new(ip);
            batch.delete_table(table);
            batch.commit(&mut socket)?;
        }
    }
    close_behind(socket);
    Ok(())
}

pub(crate) fn family(v6: bool) -> Ip {
    if v6 { Ip::V6 } else { Ip::V4 }
}

fn sets(socket: &mut Socket, ip: Ip, table: &str) -> Result<Sets, NetlinkError> {
    let read = |set| Ok((set, nft::elements(socket, ip, table, set)?.unwrap_or_default()));
    OF_BRIDGES.into_iter().map(read).collect()
}

/// The elements of that bridge, by set.
fn of_bridge<'s>(
    sets: &'s Sets,
    link: &'s str,
) -> impl Iterator<Item = (&'static str, Vec<Element>)> + 's {
    sets.iter().map(move |(set, elements)| {
        // The kernel lets ends of ranges have no comment. Ranges do not overlap: each ends at the next end.
        let end_of = |start: &Element| {
            elements
                .iter()
                .filter(|end| end.end && end.key > start.key)
                .min_by(|a, b| a.key.cmp(&b.key))
        };
        let own = elements.iter().filter(|element| element.comment == link);
        let interval = [SUBNETS, OUTBOUND, HOSTED].contains(set);
        let with_end = own.flat_map(|start| [Some(start), end_of(start).filter(|_| interval)]);
        (*set, with_end.flatten().cloned().collect())
    })
}

/// What elements are removed by: without what a map has for them.
fn keys(elements: &[Element]) -> Vec<Element> {
    elements.iter().map(|it| Element { value: Vec::new(), ..it.clone() }).collect()
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
        let (first, prefix_len) = subnet::network(self.subnet);
        let past = past(first, prefix_len);
        let range = |set| {
            let start = (set, element(subnet::octets(first), false));
            // The range that ends with the last address of all has no end.
            let end = past.map(|past| (set, element(subnet::octets(past), true)));
            [Some(start), end].into_iter().flatten()
        };
        let mut elements = vec![(BRIDGES, element(name.into(), false))];
        if self.open {
            elements.push((WITHIN, element([name, name].concat(), false)));
        }
        elements.extend(range(SUBNETS));
        if self.internal {
            elements.push((INTERNAL, element(name.into(), false)));
        } else if self.masquerade && self.mode != GatewayMode::Routed {
            match self.host {
                None => elements.extend(range(OUTBOUND)),
                Some(host) => elements.extend(range(HOSTED).map(|(set, element)| {
                    let value = if element.end { Vec::new() } else { subnet::octets(host) };
                    (set, Element { value, ..element })
                })),
            }
        }
        if self.mode == GatewayMode::Nat && !self.internal && !self.trusted.is_empty() {
            elements.push((TRUSTING, element(name.into(), false)));
            let from = self.trusted.iter().map(|from| [link_name(from), name].concat());
            elements.extend(from.map(|pair| (TRUSTED, element(pair, false))));
        }
        match self.mode {
            GatewayMode::Routed => elements.push((ROUTED, element(name.into(), false))),
            GatewayMode::Unprotected => elements.push((UNPROTECTED, element(name.into(), false))),
            GatewayMode::Nat | GatewayMode::Isolated => {}
        }
        elements
    }
}

/// The first address behind a network.
fn past(first: IpAddr, prefix_len: u8) -> Option<IpAddr> {
    let host_bits = u32::from(subnet::width(first) - prefix_len.min(subnet::width(first)));
    let past = subnet::bits(first).checked_add(1_u128.checked_shl(host_bits)?)?;
    let v6 = first.is_ipv6();
    (v6 || past <= u128::from(u32::MAX)).then(|| subnet::address(v6, past))
}

fn link_name(link: &str) -> [u8; 16] {
    let mut name = [0; 16];
    for (to, from) in name.iter_mut().zip(link.bytes().take(15)) {
        *to = from;
    }
    name
}

/// The table, its sets and its rules. Sets keep their elements; rules are replaced.
fn declare(batch: &mut Batch, ip: Ip, table: &str) {
    use Field::{LinkName, Port, Protocol};
    let address = if ip == Ip::V4 { Field::Ipv4 } else { Field::Ipv6 };
    batch.add_table(table);
    let set = |name, key, value, interval| Set { name, key, value, interval };
    for set in [
        set(BRIDGES, &[LinkName], &[], false),
        set(INTERNAL, &[LinkName], &[], false),
        set(WITHIN, &[LinkName, LinkName], &[], false),
        set(SUBNETS, &[address], &[], true),
        set(OUTBOUND, &[address], &[], true),
        set(ROUTED, &[LinkName], &[], false),
        set(UNPROTECTED, &[LinkName], &[], false),
        set(HOSTED, &[address], &[address], true),
        set(TRUSTING, &[LinkName], &[], false),
        set(TRUSTED, &[LinkName, LinkName], &[], false),
        set(DIRECT, &[address, Protocol, Port], &[], false),
        set(LINKED, &[address, address, Protocol, Port], &[], false),
        set(TCP_ANY, &[Port], &[address, Port], false),
        set(UDP_ANY, &[Port], &[address, Port], false),
        set(SCTP_ANY, &[Port], &[address, Port], false),
        set(TCP_AT, &[address, Port], &[address, Port], false),
        set(UDP_AT, &[address, Port], &[address, Port], false),
        set(SCTP_AT, &[address, Port], &[address, Port], false),
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
    for rule in rules(ip) {
        batch.add_rule(table, &rule);
    }
}

/// The rules in order. Pure, and the same for all bridges.
fn rules(ip: Ip) -> Vec<Rule<'static>> {
    let mut rules = Vec::new();
    // The kernel sends nothing from ::1 out, whatever is set.
    if ip == Ip::V4 {
        rules.push(rule(
            "guard",
            "loopback addresses are not for others",
            [
                vec![INPUT, compare(Comparison::NotEqual, &LOOPBACK)],
                network(16, 1),
                vec![is(&[127]), DROP],
            ],
        ));
    }
    // Where addresses are in the header, and what comes behind one in registers.
    let (destination, length, behind) = if ip == Ip::V4 { (16, 4, 1) } else { (24, 16, 4) };
    if ip == Ip::V6 {
        // Translated it would leave with ::1 as its sender, and be dropped. The engine carries it.
        let skip = vec![is(&LOOPBACK6), Expr::Verdict(Verdict::Accept)];
        rules.push(rule(
            "ports",
            "loopback is not translated",
            [network(destination, length), skip],
        ));
    }
    // Where ports are in the header is the same in all three.
    for (protocol, at, any) in [
        (&[IPPROTO_TCP], TCP_AT, TCP_ANY),
        (&[IPPROTO_UDP], UDP_AT, UDP_ANY),
        (&[IPPROTO_SCTP], SCTP_AT, SCTP_ANY),
    ] {
        let transport = vec![Expr::Meta(MetaKey::Transport, 0), is(protocol)];
        let port =
            |word| Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, word };
        let go =
            |map| vec![Expr::Map { map, word: 0 }, Expr::Dnat { ip, address: 0, port: behind }];
        let address = network(destination, length);
        rules.push(rule(
            "ports",
            "published on one address",
            [transport.clone(), address, vec![port(behind)], go(at)],
        ));
        rules.push(rule("ports", "published on all", [transport, vec![port(0)], go(any)]));
    }
    let local = vec![Expr::FibDestinationType(0), is(&LOCAL)];
    let lookup = vec![Expr::Verdict(Verdict::Goto("ports"))];
    rules.push(rule("ingress", "for this machine", [local.clone(), lookup.clone()]));
    rules.push(rule("egress", "for this machine", [local, lookup]));
    rules.extend(departing(ip));
    rules.extend(forwarding(ip));
    rules
}

fn departing(ip: Ip) -> Vec<Rule<'static>> {
    let to_bridge = || vec![OUTPUT, inside(BRIDGES)];
    let hidden = || vec![Expr::Masquerade];
    let source = || if ip == Ip::V4 { network(12, 4) } else { network(8, 16) };
    let loopback = rule(
        "depart",
        "loopback to containers",
        [network(12, 1), vec![is(&[127])], to_bridge(), hidden()],
    );
    let others = [
        rule(
            "depart",
            "containers to ports of containers",
            [translated(), source(), vec![inside(SUBNETS)], to_bridge(), hidden()],
        ),
        rule(
            "depart",
            "containers to the outside, by an address that was chosen",
            [
                vec![OUTPUT, outside(BRIDGES)],
                source(),
                vec![Expr::Map { map: HOSTED, word: 0 }, Expr::Snat { ip, address: 0 }],
            ],
        ),
        rule(
            "depart",
            "containers to the outside",
            [source(), vec![inside(OUTBOUND), OUTPUT, outside(BRIDGES)], hidden()],
        ),
    ];
    Some(loopback).filter(|_| ip == Ip::V4).into_iter().chain(others).collect()
}

fn forwarding(ip: Ip) -> Vec<Rule<'static>> {
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
    let both = || vec![INPUT, Expr::Meta(MetaKey::OutputName, 4)];
    let within = [both(), vec![inside(WITHIN)]].concat();
    let untrusted = [to(TRUSTING), both(), vec![outside(TRUSTED)]].concat();
    // One behind the other: addresses, protocol, port.
    let (source, destination, length, words) =
        if ip == Ip::V4 { (12, 16, 4, 1) } else { (8, 24, 16, 4) };
    let address = |offset, word| Expr::Payload { base: PayloadBase::Network, offset, length, word };
    let port = |word| {
        let port =
            Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, word: word + 1 };
        [Expr::Meta(MetaKey::Transport, word), port]
    };
    let [protocol, number] = port(2 * words);
    let pair = vec![address(source, 0), address(destination, words), protocol, number];
    let [protocol, number] = port(words);
    let own = vec![address(destination, 0), protocol, number];
    let icmp: &[u8] = if ip == Ip::V4 { &[IPPROTO_ICMP] } else { &[IPPROTO_ICMPV6] };
    let icmp = vec![Expr::Meta(MetaKey::Transport, 0), is(icmp)];
    vec![
        rule("forward", "connections that were let through", [known, accept()]),
        rule("forward", "within a network", [within, accept()]),
        rule("forward", "out of internal networks", [from(INTERNAL), drop()]),
        rule("forward", "into internal networks", [to(INTERNAL), drop()]),
        rule("forward", "published ports", [translated(), to(BRIDGES), accept()]),
        rule("forward", "ports of linked containers", [pair, vec![inside(LINKED)], accept()]),
        rule("forward", "links that a network does not trust", [untrusted, drop()]),
        rule(
            "forward",
            "ports of routed networks, and by trusted links",
            [own, vec![inside(DIRECT)], accept()],
        ),
        rule("forward", "routed networks answer", [icmp, to(ROUTED), accept()]),
        rule(
            "forward",
            "unprotected networks from outside",
            [to(UNPROTECTED), vec![INPUT, outside(BRIDGES)], accept()],
        ),
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
