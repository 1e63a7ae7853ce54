//! On the real host, beside whatever has rules there: a Docker daemon, say. Needs root, and leaves nothing behind.

mod machine;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ferry_network::{
    Bridge, BridgeSettings, PortReservation, Protocol, PublishedPort, choose_subnet, default_pools,
    publish, used_ranges,
};
use machine::{container, fetch, is_root, json};

const LINK: &str = "ftnb9";
const TABLE: &str = "ferrytest9";

/// A bridge that goes with the test, even if it fails.
struct Temporary(Bridge);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            eprintln!("bridge not removed: {error}");
        }
    }
}

/// The machine's tables, without those of tests, which come and go.
fn tables() -> BTreeSet<String> {
    let tables = json("nft -j list tables");
    let names = tables["nftables"].as_array().into_iter().flatten();
    names
        .filter_map(|entry| {
            Some(format!("{} {}", entry["table"]["family"], entry["table"]["name"].as_str()?))
        })
        .filter(|table| !table.contains("ferry"))
        .collect()
}

#[test]
fn a_port_is_published_among_others_rules() {
    if !is_root() {
        return;
    }
    let before = tables();
    let used = used_ranges().expect("known");
    let settings = BridgeSettings {
        link: LINK.to_owned(),
        table: TABLE.to_owned(),
        addresses: vec![
            choose_subnet(&default_pools(), false, &used)
                .map(|(ip, len)| {
                    let IpAddr::V4(ip) = ip else { panic!("IPv4") };
                    (Ipv4Addr::from(ip.to_bits() + 1).into(), len)
                })
                .expect("a free range"),
        ],
        mtu: 0,
        internal: false,
        masquerade: true,
        open: true,
        modes: Default::default(),
        inhibit_ipv4: false,
        hosts: [None, None],
        trusted: Vec::new(),
    };
    let temporary = Temporary(Bridge::ensure(&settings).expect("a bridge"));
    let bridge = &temporary.0;
    let [a, b, c, _] = machine::gateway(bridge).octets();
    assert!((a, c) == (172, 0) || (a, b) == (10, 210), "{bridge:?}");
    let (server, ip) = container(bridge, "ftnv9", 2);
    server.serve_tcp(80);
    let held = PortReservation::bind(Protocol::Tcp, None, 0).expect("a port");
    let port = PublishedPort {
        protocol: Protocol::Tcp,
        host_ip: None,
        host_port: held.port(),
        container_ip: ip.into(),
        container_port: 80,
    };
    publish(TABLE, &[port]).expect("published");
    // That of the link that leads out: other links may be those of tests, and go with them.
    let routes = json("ip -j -4 route show default");
    let out = routes[0]["dev"].as_str().map(|link| json(&format!("ip -j -4 addr show dev {link}")));
    let out = out.and_then(|link| link[0]["addr_info"][0]["local"].as_str()?.parse().ok());
    let addresses: Vec<Ipv4Addr> =
        out.into_iter().chain([machine::gateway(bridge), Ipv4Addr::LOCALHOST]).collect();
    for address in addresses {
        assert!(fetch((address, held.port())).is_some(), "not reached by {address}");
        if !address.is_loopback() {
            assert!(
                server.fetch((address, held.port())).is_some(),
                "not reached from inside by {address}"
            );
        }
    }
    drop(temporary);
    let after = tables();
    assert!(after.is_superset(&before), "{after:?} {before:?}");
    assert!(json(&format!("nft -j list table ip {TABLE}")).is_null());
    assert!(json("ip -j link show ftnb9").is_null());
}
