//! What the kernel says over netlink: every function that reads it is total, and keeps what it promises to limit.
#![no_main]

use ferry_netlink::wire::{self, Message};
use ferry_netlink::{address, conntrack, link, nft, route};
use libfuzzer_sys::fuzz_target;

/// Kinds that some decoder wants: errors and ends, links, addresses, routes, flows, nftables chains and elements.
const KINDS: [u16; 8] = [wire::ERROR, wire::DONE, 16, 20, 24, 1 << 8, 10 << 8 | 3, 10 << 8 | 12];

fn decode(message: &Message<'_>) {
    if let Some(ack) = wire::ack(message) {
        assert!(ack.errno > i32::MIN && ack.text.chars().count() <= 512);
    }
    if let Some(link) = link::decode(message) {
        assert!(link.mac.len() <= 32);
    }
    if let Some(address) = address::decode(message) {
        assert!(address.prefix_len <= if address.ip.is_ipv4() { 32 } else { 128 });
        assert!(!address::add(&address).overflows());
    }
    if let Some(route) = route::decode(message) {
        assert!(route.prefix_len <= if route.destination.is_ipv4() { 32 } else { 128 });
        route.is_default();
    }
    if let Some(flow) = conntrack::decode(message) {
        assert!(!conntrack::delete(&flow).overflows());
    }
    if let Some(chain) = nft::decode_chain(message) {
        assert!(!format!("{chain:?}").is_empty());
    }
    for element in nft::decode_elements(message) {
        assert!(!element.key.is_empty() && element.key.len() <= 64 && element.value.len() <= 64);
    }
    let mut seen = 0;
    for attribute in wire::attributes(message.payload) {
        seen += 4 + attribute.value.len();
        (attribute.native(), attribute.network());
    }
    assert!(seen <= message.payload.len());
}

fuzz_target!(|data: &[u8]| {
    let mut seen = 0;
    for message in wire::messages(data) {
        seen += 16 + message.payload.len();
        decode(&message);
    }
    assert!(seen <= data.len());
    // The same bytes as the payload of one message of a kind that is read.
    if let [kind, flags, payload @ ..] = data {
        let (kind, flags) = (KINDS[usize::from(kind & 7)], u16::from(*flags) << 4);
        decode(&Message { kind, flags, sequence: 1, payload });
    }
});
