//! What can go wrong with bridges, links and published ports.

use std::{io, net::IpAddr};

use ferry_errkind::{ErrorKind, Kinded};
use ferry_netlink::NetlinkError;

/// A bridge could not be made, adopted or removed.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The name cannot be a link's.
    #[error("invalid bridge name \"{0}\": 1 to 15 characters without spaces, slashes and colons")]
    Name(String),
    /// The name cannot be a table's.
    #[error("invalid nftables table name \"{0}\"")]
    TableName(String),
    /// No address of a network.
    #[error("invalid bridge address {0}/{1}")]
    Address(IpAddr, u8),
    /// A link of that name is something else.
    #[error("link {0} is there already and is not a bridge")]
    NotABridge(String),
    /// The range is in use. Docker's words.
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    Overlap {
        /// Who has it.
        link: String,
        /// Its address.
        address: String,
    },
    /// All ranges that we choose from are in use.
    #[error("all predefined address pools have been fully subnetted")]
    NoFreeSubnet,
    /// A setting of the kernel cannot be made.
    #[error("cannot write {path}")]
    Sysctl {
        /// The setting's file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel did not do it.
    #[error("cannot set up bridge {link}")]
    Kernel {
        /// The bridge.
        link: String,
        /// Why.
        source: NetlinkError,
    },
}

impl Kinded for BridgeError {
    fn kind(&self) -> ErrorKind {
        match self {
            BridgeError::Name(_) | BridgeError::TableName(_) | BridgeError::Address(..) => {
                ErrorKind::InvalidArgument
            }
            BridgeError::NotABridge(_) => ErrorKind::Conflict,
            // Docker answers 403 for both.
            BridgeError::Overlap { .. } => ErrorKind::Forbidden,
            BridgeError::NoFreeSubnet => ErrorKind::InvalidArgument,
            BridgeError::Sysctl { .. } | BridgeError::Kernel { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            BridgeError::Overlap { link, address } => {
                Some(format!("link {link} has the address {address}; choose another subnet"))
            }
            BridgeError::NoFreeSubnet => {
                Some("name a free subnet with --subnet (for the default network: --bip)".to_owned())
            }
            _ => None,
        }
    }
}

/// A container's link could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Its network namespace.
    #[error("cannot reach the network of process {pid}")]
    Namespace {
        /// The process.
        pid: i32,
        /// Why.
        source: NetlinkError,
    },
    /// The pair of links.
    #[error("cannot connect link {link} to bridge {bridge}")]
    Connect {
        /// Our end.
        link: String,
        /// The bridge.
        bridge: String,
        /// Why.
        source: NetlinkError,
    },
    /// A link on top of another.
    #[error("cannot make a link on top of {parent}")]
    Share {
        /// The link of the host.
        parent: String,
        /// Why.
        source: NetlinkError,
    },
    /// The link of the host is gone. Docker's words.
    #[error("-o parent interface was not found on the host: {0}")]
    NoParent(String),
    /// Inside of the container.
    #[error("cannot set up the network of process {pid}")]
    Configure {
        /// The process.
        pid: i32,
        /// Why.
        source: NetlinkError,
    },
    /// The sockets that names are looked up at.
    #[error("cannot open the resolver's sockets in the network of process {pid}")]
    Resolver {
        /// The process.
        pid: i32,
        /// Why.
        source: io::Error,
    },
    /// A setting of its link.
    #[error("cannot write {path} in the network of the container")]
    Sysctl {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Taking it away.
    #[error("cannot remove link {link}")]
    Detach {
        /// Our end.
        link: String,
        /// Why.
        source: NetlinkError,
    },
}

impl Kinded for AttachError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Ports could not be published, or not be withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The kernel did not do it.
    #[error("cannot change the published ports of nftables table {table}")]
    Kernel {
        /// The table.
        table: String,
        /// Why.
        source: NetlinkError,
    },
    /// Links that belong to nobody stay.
    #[error("cannot remove leftover links of bridge {link}")]
    Leftovers {
        /// The bridge.
        link: String,
        /// Why.
        source: NetlinkError,
    },
}

impl Kinded for PublishError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// The link that a macvlan or ipvlan network is on is not there and cannot be made. Docker's words where it has some.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// It is not there, and is no VLAN's.
    #[error("invalid subinterface vlan name {0}, example formatting is eth0.10")]
    VlanName(String),
    /// A VLAN of a link that is not there.
    #[error("-o parent interface was not found on the host: {0}")]
    NoParent(String),
    /// The kernel makes no such link.
    #[error("failed to create {link} vlan link")]
    Make {
        /// The link.
        link: String,
        /// Why.
        source: NetlinkError,
    },
    /// The kernel did not do it.
    #[error("cannot look at link {link}")]
    Kernel {
        /// The link.
        link: String,
        /// Why.
        source: NetlinkError,
    },
}

impl Kinded for ParentError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}
