//! Networks on a link of the host: macvlan and ipvlan. There is no bridge, no firewall of ours and no translation: containers are
//! in the parent's network themselves.

use std::{
    thread,
    time::{Duration, Instant},
};

use ferry_netlink::{
    Errno, Family, NetlinkError, Socket,
    link::{self, Change},
    upper::{self, Sharing, Upper},
};

use crate::{
    AttachError, ParentError,
    attach::{self, Attach, GROUP},
    removal::{self, remove_link},
};

/// `MACVLAN_MODE_PASSTHRU` of the kernel: the parent is one link's alone.
const PASSTHRU: u32 = 8;

/// For how long the kernel may take to clear away the link of a container that is gone: it does so after the namespace's end.
const DEPARTURE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// The link that a network's containers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    link: String,
    sharing: Sharing,
}

impl Parent {
    /// Whether there is such a link, so that [`Parent::ensure`] would make none.
    pub fn is_there(name: &str) -> Result<bool, ParentError> {
        removal::is_there(name)
            .map_err(|source| ParentError::Kernel { link: name.to_owned(), source })
    }

    /// Finds the link, or makes it: `eth0.10` is VLAN 10 of `eth0`, and a name that begins with `dm-` a link that leads nowhere.
    pub fn ensure(name: &str, sharing: Sharing) -> Result<Parent, ParentError> {
        let kernel = |source| ParentError::Kernel { link: name.to_owned(), source };
        let parent = Parent { link: name.to_owned(), sharing };
        let mut socket = Socket::open(Family::Route).map_err(kernel)?;
        if link::find(&mut socket, name).map_err(kernel)?.is_some() {
            return Ok(parent);
        }
        let create = match name.strip_prefix("dm-") {
            Some(_) => upper::create_dummy(name),
            None => {
                let split = name.rsplit_once('.').and_then(|(lower, id)| {
                    let id = id.parse::<u16>().ok().filter(|id| (1..=4094).contains(id))?;
                    Some((lower, id))
                });
                let (lower, id) = split.ok_or_else(|| ParentError::VlanName(name.to_owned()))?;
                let lower = link::find(&mut socket, lower)
                    .map_err(kernel)?
                    .ok_or_else(|| ParentError::NoParent(lower.to_owned()))?;
                upper::create_vlan(name, lower.index, id)
            }
        };
        let up = link::set(name, &Change { up: Some(true), ..Change::default() });
        socket
            .exchange(&[create, up], |_| ())
            .map_err(|source| ParentError::Make { link: name.to_owned(), source })?;
        Ok(parent)
    }

    /// Removes a link, if it is there. Only for one that [`Parent::ensure`] made.
    pub fn remove(name: &str) -> Result<(), ParentError> {
        remove_link(name).map_err(|source| ParentError::Kernel { link: name.to_owned(), source })
    }

    /// Puts the network namespace of a process into the parent's network.
    pub fn attach(&self, attach: &Attach<'_>) -> Result<(), AttachError> {
        let pid = attach.pid;
        let (namespace, mut inside) = attach::open_inside(pid)?;
        let share = |source: NetlinkError| AttachError::Share { parent: self.link.clone(), source };
        let mut outside = Socket::open(Family::Route).map_err(share)?;
        let parent = link::find(&mut outside, &self.link).map_err(share)?;
        let parent = parent.ok_or_else(|| AttachError::NoParent(self.link.clone()))?;
        let create = [upper::create(&Upper {
            parent: parent.index,
            name: attach.inside,
            namespace: namespace.fd(),
            mac: attach.mac,
            group: GROUP,
            sharing: self.sharing,
        })];
        let alone = matches!(self.sharing, Sharing::Macvlan { mode: PASSTHRU });
        let until = Instant::now() + DEPARTURE;
        loop {
            match outside.exchange(&create, |_| ()) {
                Err(error) if alone && is_taken(&error) && Instant::now() < until => {
                    thread::sleep(PAUSE);
                }
                done => break done.map_err(share)?,
            }
        }
        attach::configure(&mut inside, &namespace, attach).inspect_err(|_| {
            inside.exchange(&[link::delete(attach.inside)], |_| ()).ok();
        })
    }

    /// Whether containers have the parent's hardware address.
    pub fn has_one_mac(&self) -> bool {
        matches!(self.sharing, Sharing::Ipvlan { .. })
    }

    /// Whether containers are reached by their addresses alone.
    pub fn routes(&self) -> bool {
        matches!(self.sharing, Sharing::Ipvlan { mode, .. } if mode != 0)
    }
}

/// What the kernel says of a parent that another link has alone.
fn is_taken(error: &NetlinkError) -> bool {
    error.errno() == Some(Errno::INVAL)
}
