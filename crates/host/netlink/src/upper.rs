//! Links on top of another: macvlan, ipvlan, VLANs; and the link without anything below it.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::{
    link::{BODY, NEWLINK},
    wire::{Request, flag},
};

/// `IFLA_*`.
mod ifla {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const IFNAME: u16 = 3;
    pub(super) const LINK: u16 = 5;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const GROUP: u16 = 27;
    pub(super) const NET_NS_FD: u16 = 28;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const MODE: u16 = 1;
    pub(super) const IPVLAN_FLAGS: u16 = 2;
    pub(super) const VLAN_ID: u16 = 1;
}

/// How a link shares its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// A hardware address of its own: `private` 1, `vepa` 2, `bridge` 4, `passthru` 8.
    Macvlan {
        /// `MACVLAN_MODE_*`.
        mode: u32,
    },
    /// The parent's hardware address: `l2` 0, `l3` 1, `l3s` 2; flags `private` 1, `vepa` 2.
    Ipvlan {
        /// `IPVLAN_MODE_*`.
        mode: u16,
        /// `IPVLAN_F_*`.
        flags: u16,
    },
}

/// A link on top of another, in another namespace.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    /// The parent's number.
    pub parent: u32,
    /// Its name there.
    pub name: &'a str,
    /// Where it goes.
    pub namespace: &'a OwnedFd,
    /// Its hardware address, where it has one of its own.
    pub mac: [u8; 6],
    /// A number that it is known by as ours; 0 for none.
    pub group: u32,
    /// How it shares the parent.
    pub sharing: Sharing,
}

/// Makes a link on top of another, in another namespace. It is down.
pub fn create(upper: &Upper<'_>) -> Request {
    let mut request = begin(format!("create link {}", upper.name));
    request.text(ifla::IFNAME, upper.name);
    request.native(ifla::LINK, upper.parent);
    request.native(ifla::GROUP, upper.group);
    let fd = upper.namespace.as_raw_fd();
    request.attribute(ifla::NET_NS_FD, &fd.to_ne_bytes());
    match upper.sharing {
        Sharing::Macvlan { mode } => {
            request.attribute(ifla::ADDRESS, &upper.mac);
            request.nest(ifla::LINKINFO, |request| {
                request.text(ifla::INFO_KIND, "macvlan");
                request.nest(ifla::INFO_DATA, |request| request.native(ifla::MODE, mode));
            });
        }
        Sharing::Ipvlan { mode, flags } => request.nest(ifla::LINKINFO, |request| {
            request.text(ifla::INFO_KIND, "ipvlan");
            request.nest(ifla::INFO_DATA, |request| {
                request.attribute(ifla::MODE, &mode.to_ne_bytes());
                request.attribute(ifla::IPVLAN_FLAGS, &flags.to_ne_bytes());
            });
        }),
    }
    request
}

/// Makes a VLAN's link on top of another, in our own namespace. It is down.
pub fn create_vlan(name: &str, parent: u32, id: u16) -> Request {
    let mut request = begin(format!("create VLAN link {name}"));
    request.text(ifla::IFNAME, name);
    request.native(ifla::LINK, parent);
    request.nest(ifla::LINKINFO, |request| {
        request.text(ifla::INFO_KIND, "vlan");
        request.nest(ifla::INFO_DATA, |request| {
            request.attribute(ifla::VLAN_ID, &id.to_ne_bytes());
        });
    });
    request
}

/// Makes a link that leads nowhere, in our own namespace. It is down.
pub fn create_dummy(name: &str) -> Request {
    let mut request = begin(format!("create link {name}"));
    request.text(ifla::IFNAME, name);
    request.nest(ifla::LINKINFO, |request| request.text(ifla::INFO_KIND, "dummy"));
    request
}

fn begin(what: String) -> Request {
    Request::new(NEWLINK, flag::CREATE | flag::EXCL, what).body(&[0; BODY])
}
