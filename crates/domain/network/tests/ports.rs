//! Published ports, and who reaches what: packets between namespaces. Needs root.

mod machine;

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Instant,
};

use ferry_network::{Bridge, Protocol, PublishedPort, publish, reconcile, unpublish};
use machine::{
    HOST, Machine, NEIGHBOUR, container, echo, fetch, gateway, is_root, neighbour, run, settings,
};

const TABLE: &str = "ferrytest";
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn port(protocol: Protocol, host_ip: Option<Ipv4Addr>, to: Ipv4Addr) -> PublishedPort {
    let (host_ip, to) = (host_ip.map(Into::into), to.into());
    PublishedPort { protocol, host_ip, host_port: 8080, container_ip: to, container_port: 80 }
}

fn is(text: Option<String>, address: Ipv4Addr) -> bool {
    text.is_some_and(|text| text == address.to_string())
}

#[test]
fn a_published_port_is_reached_from_everywhere_until_it_is_withdrawn() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let outside = neighbour();
    let started = Instant::now();
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    println!("ensure: {:?}", started.elapsed());
    let (server, ip) = container(&bridge, "ftnv0", 2);
    let (client, _) = container(&bridge, "ftnv1", 3);
    server.serve_tcp(80);
    assert!(fetch((LOOPBACK, 8080)).is_none() && fetch((HOST, 8080)).is_none());
    let ports = [port(Protocol::Tcp, None, ip)];
    let started = Instant::now();
    publish(TABLE, &ports).expect("published");
    println!("publish: {:?}", started.elapsed());
    publish(TABLE, &ports).expect("again changes nothing");
    // The server sees where packets come from: through loopback only the bridge's own address makes sense.
    assert!(is(fetch((LOOPBACK, 8080)), gateway(&bridge)));
    assert!(is(fetch((Ipv4Addr::new(127, 9, 9, 9), 8080)), gateway(&bridge)));
    assert!(is(fetch((HOST, 8080)), HOST));
    assert!(is(fetch((gateway(&bridge), 8080)), gateway(&bridge)));
    assert!(is(outside.fetch((HOST, 8080)), NEIGHBOUR));
    // A neighbour, and the server itself: answers come back through the host.
    assert!(is(client.fetch((HOST, 8080)), gateway(&bridge)));
    assert!(is(client.fetch((gateway(&bridge), 8080)), gateway(&bridge)));
    assert!(is(server.fetch((HOST, 8080)), gateway(&bridge)));
    unpublish(TABLE, &ports).expect("withdrawn");
    unpublish(TABLE, &ports).expect("again changes nothing");
    assert!(fetch((LOOPBACK, 8080)).is_none() && fetch((HOST, 8080)).is_none());
    assert!(outside.fetch((HOST, 8080)).is_none() && client.fetch((HOST, 8080)).is_none());
}

#[test]
fn a_port_on_one_address_is_there_only() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let outside = neighbour();
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let (server, ip) = container(&bridge, "ftnv0", 2);
    server.serve_tcp(80);
    let local = [port(Protocol::Tcp, Some(LOOPBACK), ip)];
    publish(TABLE, &local).expect("published");
    assert!(fetch((LOOPBACK, 8080)).is_some());
    assert!(fetch((HOST, 8080)).is_none() && outside.fetch((HOST, 8080)).is_none());
    // A neighbour that sends packets for 127.0.0.1 to the host (CVE-2020-8558).
    outside.run("ip addr del 127.0.0.1/8 dev lo");
    outside.run("sysctl -qw net.ipv4.conf.all.route_localnet=1");
    outside.run("ip route add 127.0.0.1 via 198.51.100.1 src 198.51.100.9");
    assert!(outside.fetch((LOOPBACK, 8080)).is_none());
    run("nft flush chain ip ferrytest guard");
    assert!(outside.fetch((LOOPBACK, 8080)).is_some(), "the attack does not work at all");
    unpublish(TABLE, &local).expect("withdrawn");
    publish(TABLE, &[port(Protocol::Tcp, Some(HOST), ip)]).expect("published");
    assert!(fetch((LOOPBACK, 8080)).is_none() && fetch((HOST, 8080)).is_some());
}

#[test]
fn only_published_ports_are_reached_and_networks_are_apart() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let outside = neighbour();
    let one = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let two = Bridge::ensure(&settings("ftnb1", 2)).expect("a bridge");
    let (server, ip) = container(&one, "ftnv0", 2);
    let (friend, friend_ip) = container(&one, "ftnv1", 3);
    let (stranger, _) = container(&two, "ftnv2", 2);
    for machine in [&server, &outside] {
        machine.serve_tcp(80);
    }
    assert!(is(friend.fetch((ip, 80)), friend_ip));
    assert!(stranger.fetch((ip, 80)).is_none() && outside.fetch((ip, 80)).is_none());
    assert!(fetch((ip, 80)).is_some());
    // Outside, containers have the host's address.
    assert!(is(friend.fetch((NEIGHBOUR, 80)), HOST));
    publish(TABLE, &[port(Protocol::Tcp, None, ip)]).expect("published");
    assert!(stranger.fetch((HOST, 8080)).is_some());
    assert!(stranger.fetch((ip, 80)).is_none() && outside.fetch((ip, 80)).is_none());
    let mut plain = settings("ftnb0", 1);
    plain.masquerade = false;
    Bridge::ensure(&plain).expect("changed");
    assert!(is(friend.fetch((NEIGHBOUR, 80)), friend_ip));
}

#[test]
fn an_internal_network_is_a_world_of_its_own() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let outside = neighbour();
    let mut internal = settings("ftnb0", 1);
    internal.internal = true;
    let bridge = Bridge::ensure(&internal).expect("a bridge");
    let (server, ip) = container(&bridge, "ftnv0", 2);
    let (friend, friend_ip) = container(&bridge, "ftnv1", 3);
    for machine in [&server, &outside] {
        machine.serve_tcp(80);
    }
    assert!(is(friend.fetch((ip, 80)), friend_ip));
    // A container that gives itself a way out has none all the same.
    friend.run("ip route replace default via 10.231.1.1");
    assert!(friend.fetch((NEIGHBOUR, 80)).is_none());
    assert!(outside.fetch((ip, 80)).is_none());
    // The same bridge, no more internal.
    Bridge::ensure(&settings("ftnb0", 1)).expect("changed");
    assert!(is(friend.fetch((NEIGHBOUR, 80)), HOST));
}

#[test]
fn datagrams_follow_their_port_at_once() {
    if !is_root() {
        return;
    }
    let host = Machine::host();
    let outside = neighbour();
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let (first, first_ip) = container(&bridge, "ftnv0", 2);
    let (second, second_ip) = container(&bridge, "ftnv1", 3);
    host.serve_udp(8080, "host");
    first.serve_udp(80, "first");
    second.serve_udp(80, "second");
    let bind = || UdpSocket::bind(("0.0.0.0", 0)).expect("a socket");
    let (near, far) = (bind(), outside.within(bind));
    let both = |name: &str| {
        let wanted = Some(format!("{name}!"));
        assert_eq!(echo(&near, (LOOPBACK, 8080)), wanted, "from the host");
        assert_eq!(echo(&far, (HOST, 8080)), wanted, "from a neighbour");
    };
    both("host");
    publish(TABLE, &[port(Protocol::Udp, None, first_ip)]).expect("published");
    both("first");
    unpublish(TABLE, &[port(Protocol::Udp, None, first_ip)]).expect("withdrawn");
    both("host");
    publish(TABLE, &[port(Protocol::Udp, None, first_ip)]).expect("published");
    both("first");
    // Whoever published the first was killed.
    publish(TABLE, &[port(Protocol::Udp, None, second_ip)]).expect("published");
    both("second");
    let links = ["ftnv0".to_owned(), "ftnv1".to_owned()];
    reconcile(TABLE, "ftnb0", &links, &[port(Protocol::Udp, None, first_ip)]).expect("reconciled");
    both("first");
}

#[test]
fn reconciling_makes_the_ports_what_they_should_be() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let (server, ip) = container(&bridge, "ftnv0", 2);
    server.serve_tcp(80);
    let gone = Ipv4Addr::new(10, 231, 1, 99);
    let other = PublishedPort { host_port: 8081, ..port(Protocol::Tcp, None, gone) };
    publish(TABLE, &[port(Protocol::Tcp, None, gone), other]).expect("published");
    publish(TABLE, &[port(Protocol::Udp, Some(LOOPBACK), gone)]).expect("published");
    let links = ["ftnv0".to_owned()];
    reconcile(TABLE, "ftnb0", &links, &[port(Protocol::Tcp, None, ip)]).expect("reconciled");
    assert!(fetch((LOOPBACK, 8080)).is_some());
    let table = machine::json("nft -j list table ip ferrytest").to_string();
    assert!(!table.contains("10.231.1.99") && table.contains("10.231.1.2"), "{table}");
    // One that leads elsewhere is replaced.
    publish(TABLE, &[port(Protocol::Tcp, None, gone)]).expect("published");
    let table = machine::json("nft -j list map ip ferrytest tcp_any").to_string();
    assert!(table.contains("10.231.1.99") && !table.contains("10.231.1.2\""), "{table}");
    // Withdrawing what it does not lead to leaves it.
    unpublish(TABLE, &[port(Protocol::Tcp, None, ip), other]).expect("nothing to do");
    let table = machine::json("nft -j list map ip ferrytest tcp_any").to_string();
    assert!(table.contains("10.231.1.99"), "{table}");
}

#[test]
fn a_thousand_ports_are_published_at_once() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let (server, ip) = container(&bridge, "ftnv0", 2);
    server.serve_tcp(5000);
    let ports: Vec<_> = (1000..=65_000)
        .map(|number| PublishedPort {
            host_port: number,
            container_port: number,
            ..port(Protocol::Tcp, None, ip)
        })
        .collect();
    publish(TABLE, &ports).expect("published");
    assert!(fetch((LOOPBACK, 5000)).is_some());
    reconcile(TABLE, "ftnb0", &["ftnv0".to_owned()], &ports).expect("reconciled");
    unpublish(TABLE, &ports).expect("withdrawn");
    assert!(fetch((LOOPBACK, 5000)).is_none());
}
