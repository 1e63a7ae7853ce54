//! Networks of containers: bridges, addresses, the firewall's table, published ports.
//!
//! Knows: what a bridge with containers on it needs of the kernel, and how ports get from the host to a container.
//! Does not know: containers, their records, names of networks; who holds which address it is told. Nothing is kept
//! here but what [`Ipam`] leased and [`PortReservation`] binds: the kernel is the record, and is read when needed.
//!
//! Start with [`Bridge`] (made or adopted, then attached to), [`publish`] (ports), `firewall.rs` (the rules, and why).
//!
//! Invariants:
//! - One nftables table per engine is ours; no other table, and no link that we did not make, is changed.

mod attach;
mod bridge;
mod error;
mod firewall;
mod firewalld;
mod forward;
mod holder;
mod ipam;
mod parent;
mod ports;
mod removal;
mod reservation;
mod resolver;
mod subnet;

pub use attach::{
    Attach, Departing, departing, detach, loopback_up, mac_for, mend, set_default_route,
};
pub use bridge::{
    Bridge, BridgeSettings, GatewayMode, addresses_of, is_there as link_is_there,
    leave as leave_bridge, remove as remove_bridge, used_ranges,
};
pub use error::{AttachError, BridgeError, ParentError, PublishError};
pub use ferry_model::network::Protocol;
pub use ferry_netlink::upper::Sharing;
pub use ferry_netlink::{Socket as FirewallWatch, namespace::NetNamespace};
pub use firewall::RulesSeen;
pub use firewalld::{forget_in_firewalld, trust_in_firewalld};
pub use forward::forward_blocked;
pub use holder::Holder;
pub use ipam::{Ipam, IpamError};
pub use parent::Parent;
pub use ports::{LinkedPort, Links, PublishedPort, link_ports, publish, reconcile, unpublish};
pub use reservation::{PortReservation, ReserveError, Wanted};
pub use resolver::{RESOLVER, ResolverSockets, open_resolver};
pub use subnet::{
    Net, Pool, choose as choose_subnet, contains, default_pools, network as network_of, overlap,
    parse as parse_subnet,
};
