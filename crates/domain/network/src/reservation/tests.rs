//! Ports against other sockets.

use std::net::{TcpListener, TcpStream, UdpSocket};

use super::*;

const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

fn any(protocol: Protocol) -> PortReservation {
    PortReservation::bind(protocol, LOOPBACK, 0).expect("a free port")
}

#[test]
fn a_held_port_is_nobody_elses_and_does_not_answer() {
    let tcp = any(Protocol::Tcp);
    let at = ("127.0.0.1", tcp.port());
    assert!(EPHEMERAL.contains(&tcp.port()));
    // The standard library lets its listeners share ports with those that let it too.
    assert!(TcpListener::bind(at).is_err());
    assert!(TcpStream::connect(at).is_err());
    drop(tcp);
    assert!(TcpListener::bind(at).is_ok());
    let udp = any(Protocol::Udp);
    assert!(UdpSocket::bind(("127.0.0.1", udp.port())).is_err());
}

#[test]
fn a_port_is_held_once_in_dockers_words() {
    let first = any(Protocol::Tcp);
    let port = first.port();
    let error = PortReservation::bind(Protocol::Tcp, None, port).expect_err("taken");
    let expected = format!("Bind for 0.0.0.0:{port} failed: port is already allocated");
    assert_eq!(error.to_string(), expected);
    let other = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    assert!(PortReservation::bind(Protocol::Tcp, other, port).is_ok());
}

#[test]
fn who_has_a_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let error = PortReservation::bind(Protocol::Tcp, LOOPBACK, port).expect_err("taken");
    let expected =
        format!("failed to bind host port for 127.0.0.1:{port}/tcp: address already in use");
    assert_eq!(error.to_string(), expected);
    let hint = error.with_holder().hint().expect("a hint");
    assert!(hint.contains(&format!("(process {})", std::process::id())), "{hint}");
}

#[test]
fn connections_that_ended_do_not_keep_a_port() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("its address");
    let client = TcpStream::connect(at).expect("a connection");
    // Who closes first waits: the server's side.
    drop(listener.accept().expect("the other side"));
    drop(client);
    drop(listener);
    let held = PortReservation::bind(Protocol::Tcp, LOOPBACK, at.port()).expect("free again");
    assert!(TcpListener::bind(at).is_err());
    assert!(TcpStream::connect(at).is_err());
    drop(held);
}

#[test]
fn addresses_of_others_are_refused() {
    let address = Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)));
    let error = PortReservation::bind(Protocol::Tcp, address, 4711).expect_err("not ours");
    let expected = "failed to bind host port for 203.0.113.77:4711:172.29.0.2:80/tcp: cannot assign requested address";
    let container = SocketAddr::new(Ipv4Addr::new(172, 29, 0, 2).into(), 80);
    assert_eq!(error.leading_to(container).to_string(), expected);
}
