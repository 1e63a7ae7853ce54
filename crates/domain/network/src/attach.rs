//! A container's place on a bridge: a pair of links, one end inside, with address and routes.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use ferry_netlink::{
    Family, NetlinkError, Socket,
    address::{self, Address},
    link::{self, Change, Veth},
    namespace::NetNamespace,
    route,
    wire::Message,
};

use ferry_sys::failpoint;

use crate::{AttachError, Bridge, removal::remove_link, subnet::Net};

/// The group of our ends, by which [`crate::reconcile`] knows them: `ferr`.
pub(crate) const GROUP: u32 = 0x6665_7272;

/// Who is put on a bridge, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attach<'a> {
    /// A process of the container.
    pub pid: i32,
    /// Name of the end that is on the bridge.
    pub host_link: &'a str,
    /// The container's addresses, with the lengths of their subnets' prefixes.
    pub addresses: &'a [Net],
    /// The container's hardware address; nothing where it is not its own.
    pub mac: [u8; 6],
    /// Name of the end inside.
    pub inside: &'a str,
    /// The next hops of the default routes that are to lead here.
    pub gateways: &'a [IpAddr],
    /// The families (`true` for IPv6) whose default route leads here without a next hop.
    pub direct: &'a [bool],
    /// What is written below `/proc/sys/net` before the link is up: `ipv4/conf/eth0/log_martians`, and the value.
    pub sysctls: &'a [(String, String)],
}

/// The hardware address that goes with an address, as Docker makes them: nobody has to ask who has it twice.
pub fn mac_for(ip: IpAddr) -> [u8; 6] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [0x02, 0x42, a, b, c, d]
        }
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] = ip.octets();
            [0x02, 0x46, a, b, c, d]
        }
    }
}

/// Brings the loopback link of a process's network up.
pub fn loopback_up(pid: i32) -> Result<(), AttachError> {
    let mut inside = open_inside(pid)?.1;
    inside.exchange(&[loopback()], |_| ()).map_err(|source| AttachError::Configure { pid, source })
}

/// Removes a container's links; nothing to do if they went with the container.
pub fn detach(host_link: &str) -> Result<(), AttachError> {
    remove_link(host_link)
        .map_err(|source| AttachError::Detach { link: host_link.to_owned(), source })
}

/// The link of a container that ended: the kernel takes it apart together with the container's network namespace.
#[derive(Debug)]
pub struct Departing {
    name: String,
    index: u32,
}

/// Looks a container's link up, so that its end can be waited for.
///
/// Removing it by hand would take several grace periods of RCU, and the kernel does that anyway: nobody who waits for
/// the end of a container should wait for it.
pub fn departing(host_link: &str) -> Option<Departing> {
    let mut socket = Socket::open(Family::Route).ok()?;
    let index = link::find(&mut socket, host_link).ok()??.index;
    Some(Departing { name: host_link.to_owned(), index })
}

impl Departing {
    /// Blocks until it is gone, and helps where the namespace lives on: another container may have joined it.
    pub fn wait(self) -> Result<(), AttachError> {
        const PATIENCE: Duration = Duration::from_millis(300);
        const PAUSE: Duration = Duration::from_millis(5);
        let told = |source| AttachError::Detach { link: self.name.clone(), source };
        let mut socket = Socket::open(Family::Route).map_err(told)?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            match link::find(&mut socket, &self.name).map_err(told)? {
                Some(link) if link.index == self.index => std::thread::sleep(PAUSE),
                _ => return Ok(()),
            }
        }
        match socket.exchange(&[link::delete_index(self.index)], |_| ()) {
            Err(source) if !source.is_absent() => Err(told(source)),
            _ => Ok(()),
        }
    }
}

impl Bridge {
    /// Puts the network namespace of a process on this bridge: a link, loopback, and the default route if it is to
    /// lead here. When it returns, packets pass.
    pub fn attach(&self, attach: &Attach<'_>) -> Result<(), AttachError> {
        let pid = attach.pid;
        let (namespace, mut inside) = open_inside(pid)?;
        let connect = |source| AttachError::Connect {
            link: attach.host_link.to_owned(),
            bridge: self.link().to_owned(),
            source,
        };
        let mut outside = Socket::open(Family::Route).map_err(connect)?;
        self.connect(&mut outside, attach, &namespace).map_err(connect)?;
        failpoint::hit("wire.pair");
        let configured = configure(&mut inside, &namespace, attach).and_then(|()| {
            // Asking makes the kernel take note of the carrier: the bridge forwards from now on. Otherwise the
            // first packet could be lost, and its repetition takes a second.
            outside
                .exchange(&[link::get(attach.host_link)], |_| ())
                .map_err(|source| AttachError::Configure { pid, source })
        });
        configured.inspect_err(|_| {
            // The pair goes as a whole; what failed first is what is told.
            outside.exchange(&[link::delete(attach.host_link)], |_| ()).ok();
        })
    }

    fn connect(
        &self,
        outside: &mut Socket,
        attach: &Attach<'_>,
        namespace: &NetNamespace,
    ) -> Result<(), NetlinkError> {
        let create = link::create_veth(&Veth {
            host: attach.host_link,
            master: self.index(),
            peer: attach.inside,
            namespace: namespace.fd(),
            mac: attach.mac,
            mtu: self.mtu(),
            group: GROUP,
        });
        // Where bridges show their frames to the packet filter (`bridge-nf-call-iptables`), what a container sends to a
        // port that leads to itself is translated inside the bridge, and has to leave it by the port it came in.
        let port = link::port(attach.host_link, true, !self.is_open());
        match outside.exchange(&[create.clone(), port.clone()], |_| ()) {
            // Left by somebody who was killed: names are made of containers' ids, so it can only be ours.
            Err(error) if error.is_present() => {
                let requests = [link::delete(attach.host_link), create, port];
                outside.exchange(&requests, |_| ()).map_err(|_| error)
            }
            result => result,
        }
    }
}

pub(crate) fn configure(
    inside: &mut Socket,
    namespace: &NetNamespace,
    attach: &Attach<'_>,
) -> Result<(), AttachError> {
    let pid = attach.pid;
    let failed = |source| AttachError::Configure { pid, source };
    let up = Change { up: Some(true), ..Change::default() };
    let name = attach.inside;
    prepare(namespace, attach)?;
    let mut requests = vec![loopback()];
    requests.extend(has_ipv6().then(|| link::no_own_ipv6(name)));
    requests.extend([link::set(name, &up), link::get(name)]);
    let mut index = 0;
    let read = |message: &Message<'_>| {
        index = link::decode(message).map_or(index, |link| link.index);
    };
    inside.exchange(&requests, read).map_err(failed)?;
    let address = |(ip, prefix_len): &Net| {
        address::add(&Address { link: index, ip: *ip, prefix_len: *prefix_len })
    };
    let mut requests: Vec<_> = attach.addresses.iter().map(address).collect();
    requests.extend(attach.gateways.iter().map(|ip| route::set_default(index, *ip)));
    requests.extend(attach.direct.iter().map(|v6| route::set_default_direct(index, *v6)));
    inside.exchange(&requests, |_| ()).map_err(failed)
}

/// Settings of the link, before it is up: some count at that moment only, and then it would give itself an IPv6 address already.
/// Containers' images and `--sysctl` may have turned IPv6 off for all links.
fn prepare(namespace: &NetNamespace, attach: &Attach<'_>) -> Result<(), AttachError> {
    let on = attach.addresses.iter().any(|(ip, _)| ip.is_ipv6());
    if !on && attach.sysctls.is_empty() {
        return Ok(());
    }
    let allow = on.then(|| format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", attach.inside));
    let settings = attach.sysctls.to_vec();
    let written = namespace.run(move || {
        // Where it cannot be written the address is refused, and that is told.
        allow.and_then(|path| std::fs::write(path, "0").ok());
        for (name, value) in settings {
            let path = format!("/proc/sys/net/{name}");
            std::fs::write(&path, value).map_err(|source| AttachError::Sysctl { path, source })?;
        }
        Ok(())
    });
    written.map_err(|source| AttachError::Namespace { pid: attach.pid, source })?
}

/// Lets the default route of a process's network lead over its link `inside` from now on.
pub fn set_default_route(pid: i32, inside: &str, gateway: IpAddr) -> Result<(), AttachError> {
    let (_, mut socket) = open_inside(pid)?;
    link::find(&mut socket, inside)
        .and_then(|found| {
            let index = found.map_or(0, |link| link.index);
            socket.exchange(&[route::set_default(index, gateway)], |_| ())
        })
        .map_err(|source| AttachError::Configure { pid, source })
}

/// Puts a process's network in order, where somebody was killed who had not finished: removes the links that are not among `known`,
/// and lets the default routes (the link's name, the next hop) lead where they are to lead. The host's own network, where every
/// link of ours is somebody's, is left alone.
pub fn mend(pid: i32, known: &[&str], defaults: &[(&str, IpAddr)]) -> Result<(), AttachError> {
    let (namespace, mut socket) = open_inside(pid)?;
    if namespace.is_own() {
        return Ok(());
    }
    let configure = |source| AttachError::Configure { pid, source };
    let links = link::all(&mut socket).map_err(configure)?;
    let unknown =
        links.iter().filter(|link| link.group == GROUP && !known.contains(&link.name.as_str()));
    for link in unknown {
        match socket.exchange(&[link::delete(&link.name)], |_| ()) {
            Err(error) if !error.is_absent() => return Err(configure(error)),
            _ => {}
        }
    }
    let routes: Vec<_> = defaults
        .iter()
        .map(|(inside, gateway)| {
            let out = links.iter().find(|link| link.name == *inside);
            route::set_default(out.map_or(0, |link| link.index), *gateway)
        })
        .collect();
    socket.exchange(&routes, |_| ()).map_err(configure)
}

/// Whether the kernel has IPv6: it may have been told to start without (`ipv6.disable=1`), and refuses whatever names it then.
fn has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

fn loopback() -> ferry_netlink::wire::Request {
    link::set("lo", &Change { up: Some(true), ..Change::default() })
}

pub(crate) fn open_inside(pid: i32) -> Result<(NetNamespace, Socket), AttachError> {
    NetNamespace::of(pid)
        .and_then(|namespace| namespace.socket(Family::Route).map(|socket| (namespace, socket)))
        .map_err(|source| AttachError::Namespace { pid, source })
}
