//! Expressions: what a rule looks at and does.
//!
//! Registers are counted in words of four bytes here, 0 to 15 (`NFT_REG32_00` and up): keys that are concatenated lie
//! in words that follow each other.

use super::Ip;
use crate::wire::Request;

const NAME: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;
/// `NFT_REG32_00`.
const FIRST_WORD: u32 = 8;

/// What of a packet's circumstances is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaKey {
    /// Name of the link it came in by: 4 words.
    InputName,
    /// Name of the link it goes out by: 4 words.
    OutputName,
    /// Transport protocol: one byte.
    Transport,
}

/// What of a packet's connection is loaded: 1 word each, in the machine's byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CtKey {
    /// `IP_CT_*` as a bit: 2 established, 4 related, 8 new.
    State,
    /// `IPS_*`: 32 is destination NAT.
    Status,
}

/// Where in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadBase {
    /// IP header.
    Network,
    /// TCP or UDP header.
    Transport,
}

/// How a register is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Goes on if equal.
    Equal,
    /// Goes on if different.
    NotEqual,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// This table has nothing against it.
    Accept,
    /// It is gone.
    Drop,
    /// Goes on in another chain, and does not come back.
    Goto(&'a str),
}

/// One step of a rule. A step that does not match ends the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expr<'a> {
    /// Loads circumstances.
    Meta(MetaKey, u8),
    /// Loads a property of the connection.
    Ct(CtKey, u8),
    /// Loads `length` bytes from `offset` on.
    Payload {
        /// Counted from here.
        base: PayloadBase,
        /// First byte.
        offset: u8,
        /// How many.
        length: u8,
        /// Where to.
        word: u8,
    },
    /// Loads the type of the destination address (`RTN_*`, 2 is local), in the machine's byte order.
    FibDestinationType(u8),
    /// Keeps these bits of a word.
    Mask(u8, [u8; 4]),
    /// Compares as many bytes as `value` has.
    Compare {
        /// First word.
        word: u8,
        /// How.
        how: Comparison,
        /// With what.
        value: &'a [u8],
    },
    /// Matches if the key that begins at `word` is in the set.
    Contained {
        /// The set.
        set: &'a str,
        /// First word of the key.
        word: u8,
        /// Matches if it is not.
        not: bool,
    },
    /// Replaces the key that begins at `word` by what the map has for it; no match if it has none.
    Map {
        /// The map.
        map: &'a str,
        /// First word of the key, then of the value.
        word: u8,
    },
    /// Sends the connection to the address in a word and the port in another.
    Dnat {
        /// The address's family.
        ip: Ip,
        /// The address.
        address: u8,
        /// The port.
        port: u8,
    },
    /// The connection gets the address in a word as its sender.
    Snat {
        /// The address's family.
        ip: Ip,
        /// The address.
        address: u8,
    },
    /// The connection gets the address of the link that it goes out by.
    Masquerade,
    /// Loads a constant.
    Constant {
        /// First word.
        word: u8,
        /// The bytes.
        value: &'a [u8],
    },
    /// Writes bytes of a TCP or UDP header from `word`, and brings the checksum up to date.
    SetTransport {
        /// First byte.
        offset: u8,
        /// How many.
        length: u8,
        /// Where from.
        word: u8,
        /// Where the checksum is.
        checksum: u8,
    },
    /// Connection tracking does not see the packet.
    Untracked,
    /// Ends the chain.
    Verdict(Verdict<'a>),
}

impl Expr<'_> {
    /// Appends name and data: the inside of a list element.
    pub(super) fn fill(&self, request: &mut Request) {
        request.text(NAME, self.name());
        request.nest(DATA, |request| self.data(request));
    }

    fn name(&self) -> &'static str {
        match self {
            Expr::Meta(..) => "meta",
            Expr::Ct(..) => "ct",
            Expr::Payload { .. } | Expr::SetTransport { .. } => "payload",
            Expr::Untracked => "notrack",
            Expr::FibDestinationType(_) => "fib",
            Expr::Mask(..) => "bitwise",
            Expr::Compare { .. } => "cmp",
            Expr::Contained { .. } | Expr::Map { .. } => "lookup",
            Expr::Dnat { .. } | Expr::Snat { .. } => "nat",
            Expr::Masquerade => "masq",
            Expr::Verdict(_) | Expr::Constant { .. } => "immediate",
        }
    }

    fn data(&self, request: &mut Request) {
        match *self {
            Expr::Meta(key, word) => {
                request.network(1, register(word));
                request.network(
                    2,
                    match key {
                        MetaKey::InputName => 6,
                        MetaKey::OutputName => 7,
                        MetaKey::Transport => 16,
                    },
                );
            }
            Expr::Ct(key, word) => {
                request.network(1, register(word));
                request.network(
                    2,
                    match key {
                        CtKey::State => 0,
                        CtKey::Status => 2,
                    },
                );
            }
            Expr::Payload { base, offset, length, word } => {
                request.network(1, register(word));
                request.network(
                    2,
                    match base {
                        PayloadBase::Network => 1,
                        PayloadBase::Transport => 2,
                    },
                );
                request.network(3, offset.into());
                request.network(4, length.into());
            }
            Expr::FibDestinationType(word) => {
                const RESULT_TYPE: u32 = 3;
                const BY_DESTINATION: u32 = 2;
                request.network(1, register(word));
                request.network(2, RESULT_TYPE);
                request.network(3, BY_DESTINATION);
            }
            Expr::Mask(word, mask) => {
                request.network(1, register(word));
                request.network(2, register(word));
                request.network(3, 4);
                request.nest(4, |request| request.attribute(VALUE, &mask));
                request.nest(5, |request| request.attribute(VALUE, &[0; 4]));
            }
            Expr::Compare { word, how, value } => {
                request.network(1, register(word));
                request.network(2, u32::from(how == Comparison::NotEqual));
                request.nest(3, |request| request.attribute(VALUE, value));
            }
            Expr::Contained { set, word, not } => {
                request.text(1, set);
                request.network(2, register(word));
                request.network(5, u32::from(not));
            }
            Expr::Map { map, word } => {
                request.text(1, map);
                request.network(2, register(word));
                request.network(3, register(word));
            }
            Expr::Dnat { ip, address, port } => {
                const TYPE_DNAT: u32 = 1;
                request.network(1, TYPE_DNAT);
                request.network(2, ip.number().into());
                request.network(3, register(address));
                request.network(5, register(port));
            }
            Expr::Snat { ip, address } => {
                const TYPE_SNAT: u32 = 0;
                request.network(1, TYPE_SNAT);
                request.network(2, ip.number().into());
                request.network(3, register(address));
            }
            Expr::Masquerade | Expr::Untracked => {}
            Expr::Constant { word, value } => {
                request.network(1, register(word));
                request.nest(2, |request| request.attribute(VALUE, value));
            }
            Expr::SetTransport { offset, length, word, checksum } => {
                const TRANSPORT_HEADER: u32 = 2;
                const INTERNET_CHECKSUM: u32 = 1;
                request.network(2, TRANSPORT_HEADER);
                request.network(3, offset.into());
                request.network(4, length.into());
                request.network(5, register(word));
                request.network(6, INTERNET_CHECKSUM);
                request.network(7, checksum.into());
            }
            Expr::Verdict(verdict) => {
                const VERDICT_REGISTER: u32 = 0;
                request.network(1, VERDICT_REGISTER);
                request.nest(2, |request| request.nest(2, |request| verdict.fill(request)));
            }
        }
    }
}

impl Verdict<'_> {
    fn fill(self, request: &mut Request) {
        let (code, chain) = match self {
            Verdict::Drop => (0_i32, None),
            Verdict::Accept => (1, None),
            Verdict::Goto(chain) => (-4, Some(chain)),
        };
        request.attribute(1, &code.to_be_bytes());
        if let Some(chain) = chain {
            request.text(2, chain);
        }
    }
}

fn register(word: u8) -> u32 {
    FIRST_WORD + u32::from(word)
}
