//! Who is on a network, with which addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::Container,
    network::{EndpointRequest, Network},
};
use ferry_network::Net;

use super::{Ground, Live, Networks, options, pools};
use crate::random;

#[derive(Debug)]
pub(super) struct Joined {
    pub(super) network_id: String,
    pub(super) container: String,
    pub(super) container_id: String,
}

/// An address on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) v4: Option<(Ipv4Addr, u8)>,
    pub(crate) v6: Option<(Ipv6Addr, u8)>,
    /// The next hops to the outside; internal networks have none.
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) gateway6: Option<Ipv6Addr>,
    /// None where it is the parent's.
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) host_link: String,
    /// Name of the link inside.
    pub(crate) interface: String,
    /// `--link-local-ip`.
    pub(crate) link_local: Vec<Net>,
}

impl Endpoint {
    pub(crate) fn mac_text(&self) -> String {
        self.mac.map_or_else(String::new, |mac| mac.map(|byte| format!("{byte:02x}")).join(":"))
    }

    /// What its link gets: its addresses, and those that mean something on the link alone.
    pub(crate) fn link_addresses(&self) -> Vec<Net> {
        self.addresses().into_iter().chain(self.link_local.iter().copied()).collect()
    }

    /// Its addresses, IPv4 first.
    pub(crate) fn addresses(&self) -> Vec<Net> {
        let v4 = self.v4.map(|(ip, prefix_len)| (IpAddr::V4(ip), prefix_len));
        let v6 = self.v6.map(|(ip, prefix_len)| (IpAddr::V6(ip), prefix_len));
        v4.into_iter().chain(v6).collect()
    }
}

impl Networks {
    /// An address for a container.
    pub(crate) fn lease(
        &self,
        network: &Network,
        container: &Container,
        endpoint_id: &str,
        request: &EndpointRequest,
        interface: String,
    ) -> Result<Endpoint, Failure> {
        let mac = request.mac.as_deref().map(parse_mac).transpose()?;
        let link_local = request.link_local_ips.iter();
        let link_local: Vec<Net> = link_local
            .map(|ip| Ok((*ip, link_local_prefix(*ip)?)))
            .collect::<Result<_, Failure>>()?;
        let mut state = self.lock();
        self.live(&mut state, &network.name)?;
        // As it is now: the default network has learned its subnets only when its bridge came up.
        let network = &state.networks.get(&network.name).unwrap_or(network).clone();
        let live = self.live(&mut state, &network.name)?;
        let wanted = [request.ipv4.map(IpAddr::V4), request.ipv6.map(IpAddr::V6)];
        if mac.is_some() && matches!(&live.ground, Ground::Parent(parent) if parent.has_one_mac()) {
            let words = "ipvlan interfaces do not support custom mac address assignment";
            return Err(Failure::new(ErrorKind::Internal, words));
        }
        let leased = live.lease(&wanted)?;
        let first = leased.first().map(|(ip, ..)| *ip);
        let bridged = matches!(live.ground, Ground::Bridge(_));
        let generated = match &live.ground {
            Ground::Bridge(_) => first.map(ferry_network::mac_for),
            // They have the parent's.
            Ground::Parent(parent) if parent.has_one_mac() => None,
            // Whoever has a link on the parent has been seen by others there: nobody should take the next one for him.
            Ground::Parent(_) => Some(random_mac()?),
        };
        let mut endpoint = Endpoint {
            v4: None,
            v6: None,
            gateway: None,
            gateway6: None,
            mac: mac.or(generated),
            host_link: if bridged { host_link(endpoint_id) } else { String::new() },
            interface,
            link_local,
        };
        let leads_out = !network.internal && !live.ground.routes();
        for (ip, prefix_len, gateway) in leased {
            let gateway = options::default_gateway(network, ip.is_ipv6()).unwrap_or(gateway);
            match ip {
                IpAddr::V4(ip) => endpoint.v4 = Some((ip, prefix_len)),
                IpAddr::V6(ip) => endpoint.v6 = Some((ip, prefix_len)),
            }
            match gateway {
                IpAddr::V4(ip) if leads_out => endpoint.gateway = Some(ip),
                IpAddr::V6(ip) if leads_out => endpoint.gateway6 = Some(ip),
                _ => {}
            }
        }
        let joined = Joined {
            network_id: network.id.clone(),
            container: container.name.clone(),
            container_id: container.id.clone(),
        };
        state.joined.insert(endpoint_id.to_owned(), joined);
        Ok(endpoint)
    }

    /// Notes an address that a container of an earlier engine has.
    pub(crate) fn adopt(&self, network: &str, address: IpAddr) -> Result<(), Failure> {
        let mut state = self.lock();
        let live = self.live(&mut state, network)?;
        let v6 = address.is_ipv6();
        let of_family = live.pools.iter_mut().filter(|pool| pool.ipam.is_v6() == v6);
        Ok(pools::allocate(of_family, Some(address)).map(|_| ())?)
    }

    /// An endpoint is nobody's any more: its network may go, even if the kernel is still taking its link apart.
    pub(crate) fn left(&self, endpoint_id: &str) {
        self.lock().joined.remove(endpoint_id);
    }

    /// From here to [`Self::release`] nobody gets the address: whoever had it may still answer for it.
    pub(crate) fn departs(&self, address: IpAddr) {
        self.lock().departing.insert(address);
    }

    /// Whether [`Self::release`] is about to be called for the address.
    pub(crate) fn is_departing(&self, address: IpAddr) -> bool {
        self.lock().departing.contains(&address)
    }

    pub(crate) fn release(&self, network_id: &str, address: IpAddr) {
        let mut state = self.lock();
        state.departing.remove(&address);
        let name = state
            .networks
            .values()
            .find(|network| network.id == network_id)
            .map(|network| network.name.clone());
        if let Some(live) = name.and_then(|name| state.bridges.get_mut(&name)) {
            live.release(address);
        }
    }
}

impl Live {
    /// An address of each family, of those that are wanted, with its subnet's prefix length and gateway. All or none.
    fn lease(&mut self, wanted: &[Option<IpAddr>]) -> Result<Vec<(IpAddr, u8, IpAddr)>, Failure> {
        let mut leased: Vec<(IpAddr, u8, IpAddr)> = Vec::new();
        for v6 in [false, true] {
            if !self.pools.iter().any(|pool| pool.ipam.is_v6() == v6) {
                continue;
            }
            let wanted = wanted.iter().flatten().find(|ip| ip.is_ipv6() == v6).copied();
            let of_family = self.pools.iter_mut().filter(|pool| pool.ipam.is_v6() == v6);
            match pools::allocate(of_family, wanted) {
                Ok((ip, (gateway, prefix_len))) => leased.push((ip, prefix_len, gateway)),
                Err(error) => {
                    for (ip, ..) in leased {
                        self.release(ip);
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(leased)
    }

    fn release(&mut self, address: IpAddr) {
        for pool in &mut self.pools {
            pool.ipam.release(address);
        }
    }
}

/// The host's end of an endpoint's veth pair: at most 15 characters, ours by its prefix.
fn host_link(endpoint: &str) -> String {
    format!("fe{}", endpoint.get(..11).unwrap_or(endpoint))
}

/// A hardware address that is nobody's: the bit for those says so.
fn random_mac() -> Result<[u8; 6], Failure> {
    let [first, b, c, d, e, f, ..] = random::number()?.to_ne_bytes();
    Ok([first & 0xfc | 0x02, b, c, d, e, f])
}

/// The subnets of addresses that are for one link alone. Docker's words for all others.
fn link_local_prefix(ip: IpAddr) -> Result<u8, Failure> {
    match ip {
        IpAddr::V4(v4) if v4.is_link_local() => Ok(16),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Ok(64),
        _ => {
            let words = format!("invalid link local IP address: {ip}");
            Err(Failure::new(ErrorKind::InvalidArgument, words))
        }
    }
}

/// `02:42:0a:00:00:02`, or with dashes.
fn parse_mac(text: &str) -> Result<[u8; 6], Failure> {
    let invalid = || {
        let words = format!("invalid MAC address \"{text}\"");
        Failure::new(ErrorKind::InvalidArgument, words)
    };
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        *byte =
            parts.next().and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(invalid)?;
    }
    if parts.next().is_some() { Err(invalid()) } else { Ok(mac) }
}
