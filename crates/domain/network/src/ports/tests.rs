//! Elements as the kernel compares them.

use std::net::Ipv4Addr;

use super::*;

fn port(protocol: Protocol, host_ip: Option<Ipv4Addr>) -> PublishedPort {
    let host_ip = host_ip.map(IpAddr::V4);
    PublishedPort {
        protocol,
        host_ip,
        host_port: 8080,
        container_ip: Ipv4Addr::new(172, 29, 0, 2).into(),
        container_port: 80,
    }
}

#[test]
fn keys_and_values_are_filled_up_to_registers() {
    let any = port(Protocol::Tcp, None).element();
    assert_eq!(any.key, [0x1f, 0x90]);
    assert_eq!(any.value, [172, 29, 0, 2, 0, 80, 0, 0]);
    let one = port(Protocol::Tcp, Some(Ipv4Addr::LOCALHOST)).element();
    assert_eq!(one.key, [127, 0, 0, 1, 0x1f, 0x90, 0, 0]);
}

#[test]
fn ports_go_to_the_map_of_their_protocol_and_address() {
    let host = Some(Ipv4Addr::LOCALHOST);
    let ports = [
        port(Protocol::Tcp, None),
        port(Protocol::Tcp, host),
        port(Protocol::Udp, None),
        port(Protocol::Udp, host),
        port(Protocol::Sctp, None),
        port(Protocol::Sctp, host),
    ];
    let maps = by_map(&ports, Ip::V4);
    let names: Vec<_> = maps.keys().copied().collect();
    assert_eq!(names, ["sctp_any", "sctp_at", "tcp_any", "tcp_at", "udp_any", "udp_at"]);
}
