//! The address in a container at which names are looked up: 127.0.0.11, port 53.
//!
//! The sockets are bound to other ports, and the packet filter of the container's network writes the numbers over: a program
//! in the container that binds port 53 of all addresses must not find it taken. It does so without connection tracking, whose
//! table many look-ups would fill. Where there is no nftables, the sockets are bound to port 53 itself.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
};

use ferry_netlink::{
    Family, NetlinkError, Socket,
    namespace::NetNamespace,
    nft::{Batch, Chain, Comparison, Expr, Hook, Ip, MetaKey, PayloadBase, Rule},
};

use crate::{AttachError, firewall::close_behind};

/// The address, Docker's.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

const DNS: u16 = 53;
const TABLE: &str = "ferry-dns";
const CHAIN: &str = "names";
/// Before connection tracking.
const RAW: i32 = -300;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const SOURCE_PORT: u8 = 0;
const DESTINATION_PORT: u8 = 2;
const SOURCE: u8 = 12;
const DESTINATION: u8 = 16;
/// Questions that wait: a burst must not be lost.
const BUFFER: usize = 1 << 20;

/// Sockets in a container's network; not blocking.
#[derive(Debug)]
pub struct ResolverSockets {
    /// For UDP.
    pub udp: UdpSocket,
    /// For TCP.
    pub tcp: TcpListener,
    /// The network that they are in, for questions that are asked from there.
    pub namespace: NetNamespace,
}

/// Opens the sockets in the network of a process, and leads port 53 to them. What an earlier engine opened is led to no more.
pub fn open_resolver(pid: i32) -> Result<ResolverSockets, AttachError> {
    let namespace =
        NetNamespace::of(pid).map_err(|source| AttachError::Namespace { pid, source })?;
    let inside = |source| AttachError::Namespace { pid, source };
    // One visit for all of them: every visit is two changes of the thread.
    let opened = namespace.run(|| (bind(0), Socket::open(Family::Netfilter))).map_err(inside)?;
    let resolver = |source| AttachError::Resolver { pid, source };
    let (udp, tcp) = opened.0.map_err(resolver)?;
    let ports = udp.local_addr().and_then(|udp| Ok((udp.port(), tcp.local_addr()?.port())));
    let (udp_port, tcp_port) = ports.map_err(resolver)?;
    let led = opened.1.and_then(|mut socket| {
        lead(&mut socket, udp_port, tcp_port)?;
        close_behind(socket);
        Ok(())
    });
    match led {
        Ok(()) => Ok(ResolverSockets { udp, tcp, namespace }),
        Err(_) => {
            let opened = namespace.run(|| bind(DNS)).map_err(inside)?;
            let (udp, tcp) = opened.map_err(resolver)?;
            Ok(ResolverSockets { udp, tcp, namespace })
        }
    }
}

fn bind(port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind((RESOLVER, port))?;
    let tcp = TcpListener::bind((RESOLVER, port))?;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    // The engine may go beyond the limit that others have; if not, the usual size does.
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&udp, BUFFER).ok();
    Ok((udp, tcp))
}

fn lead(socket: &mut Socket, udp: u16, tcp: u16) -> Result<(), NetlinkError> {
    let mut batch = Batch::new(Ip::V4);
    batch.add_table(TABLE);
    batch.add_chain(TABLE, &Chain { name: CHAIN, base: Some(("filter", Hook::Output, RAW)) });
    batch.flush_chain(TABLE, CHAIN);
    let dns = DNS.to_be_bytes();
    for (protocol, port, checksum) in
        [(IPPROTO_UDP, udp.to_be_bytes(), 6), (IPPROTO_TCP, tcp.to_be_bytes(), 16)]
    {
        let rewrites = [
            ("questions", DESTINATION, DESTINATION_PORT, dns, port),
            ("answers", SOURCE, SOURCE_PORT, port, dns),
        ];
        for (comment, address, offset, from, to) in rewrites {
            let compare = |value| Expr::Compare { word: 0, how: Comparison::Equal, value };
            let load = |base, offset, length| Expr::Payload { base, offset, length, word: 0 };
            let protocol = [protocol];
            let resolver = RESOLVER.octets();
            let expressions = vec![
                load(PayloadBase::Network, address, 4),
                compare(&resolver),
                Expr::Meta(MetaKey::Transport, 0),
                compare(&protocol),
                load(PayloadBase::Transport, offset, 2),
                compare(&from),
                Expr::Untracked,
                Expr::Constant { word: 0, value: &to },
                Expr::SetTransport { offset, length: 2, word: 0, checksum },
            ];
            batch.add_rule(TABLE, &Rule { chain: CHAIN, expressions, comment });
        }
    }
    batch.commit(socket)
}
