//! All networks: their records, bridges, leased addresses and reserved ports.

mod options;
mod pools;
mod ports;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferry_db::{Batch, Db, Table};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::{EndpointRequest, Network};
use ferry_network::{Bridge, BridgeSettings, Ipam, Net};
use ferry_stdx::time::Timestamp;

pub(crate) use options::host_binding;
pub(crate) use ports::PortOwner;

use crate::{config::BridgeConfig, random};

const NETWORKS: Table<Network> = Table::new("network");

/// Name of the default bridge's link unless told otherwise.
const DEFAULT_LINK: &str = "ferry0";

/// The networks of one engine.
#[derive(Debug)]
pub(crate) struct Networks {
    db: Arc<Db>,
    config: BridgeConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    networks: BTreeMap<String, Network>,
    bridges: HashMap<String, Live>,
    ports: HashMap<String, Vec<ports::Reserved>>,
    /// Addresses of containers that ended, whose links the kernel has not taken apart yet.
    departing: HashSet<IpAddr>,
    /// Ids of containers that nobody is to find.
    aside: HashSet<String>,
}

#[derive(Debug)]
struct Live {
    bridge: Arc<Bridge>,
    /// One of a family.
    ipams: Vec<Ipam>,
}

/// An address on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) v4: Option<(Ipv4Addr, u8)>,
    pub(crate) v6: Option<(Ipv6Addr, u8)>,
    /// The next hops to the outside; internal networks have none.
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) gateway6: Option<Ipv6Addr>,
    pub(crate) mac: [u8; 6],
    pub(crate) host_link: String,
    /// Name of the link inside.
    pub(crate) interface: String,
}

impl Endpoint {
    pub(crate) fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }

    /// Its addresses, IPv4 first.
    pub(crate) fn addresses(&self) -> Vec<Net> {
        let v4 = self.v4.map(|(ip, prefix_len)| (IpAddr::V4(ip), prefix_len));
        let v6 = self.v6.map(|(ip, prefix_len)| (IpAddr::V6(ip), prefix_len));
        v4.into_iter().chain(v6).collect()
    }
}

impl Networks {
    /// Reads the records and makes the three networks that are always there. Bridges come up when they are needed.
    pub(crate) fn open(db: Arc<Db>, config: BridgeConfig, now: Timestamp) -> Result<Self, Failure> {
        let mut networks: BTreeMap<String, Network> = db
            .all(&NETWORKS)?
            .into_iter()
            .map(|(_, network)| (network.name.clone(), network))
            .collect();
        let mut batch = Batch::new();
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
            if name == "bridge" && config.name == "none" {
                networks.remove(name);
                continue;
            }
            let link = if config.name.is_empty() { DEFAULT_LINK } else { &config.name };
            let network = networks.entry(name.to_owned()).or_insert_with(|| Network {
                name: name.to_owned(),
                driver: driver.to_owned(),
                created: now,
                enable_ipv4: true,
                builtin: true,
                ..Network::default()
            });
            if network.id.is_empty() {
                network.id = random::id()?;
            }
            if name == "bridge" {
                network.bridge = link.to_owned();
                network.options = bridge_options(link);
            }
            batch.put(&NETWORKS, &network.id, network)?;
        }
        db.write(batch)?;
        let state = State { networks, ..State::default() };
        Ok(Networks { db, config, state: Mutex::new(state) })
    }

    /// A network by name, id or unique beginning of an id.
    pub(crate) fn find(&self, name: &str) -> Result<Network, Failure> {
        let state = self.lock();
        let name = if name == "default" { "bridge" } else { name };
        if let Some(network) = state.networks.get(name) {
            return Ok(network.clone());
        }
        let mut found = state
            .networks
            .values()
            .filter(|network| !name.is_empty() && network.id.starts_with(name));
        match (found.next(), found.next()) {
            (Some(network), None) => Ok(network.clone()),
            (Some(_), Some(_)) => {
                let words = format!("network {name} is ambiguous (2 matches found on name)");
                Err(Failure::new(ErrorKind::InvalidArgument, words))
            }
            (None, _) => {
                Err(Failure::new(ErrorKind::NotFound, format!("network {name} not found")))
            }
        }
    }

    pub(crate) fn list(&self) -> Vec<Network> {
        self.lock().networks.values().cloned().collect()
    }

    /// Adds a network and brings its bridge up.
    pub(crate) fn create(&self, mut network: Network, now: Timestamp) -> Result<Network, Failure> {
        if self.lock().networks.contains_key(&network.name) {
            let words = format!("network with name {} already exists", network.name);
            return Err(Failure::new(ErrorKind::Conflict, words));
        }
        network.id = random::id()?;
        network.created = now;
        network.builtin = false;
        network.bridge = network
            .options
            .get("com.docker.network.bridge.name")
            .cloned()
            .unwrap_or_else(|| format!("fr-{}", &network.id[..12]));
        options::check(&network)?;
        // From choosing a range to keeping it nobody else may choose.
        let mut state = self.lock();
        pools::fill(&mut network, state.networks.values(), &self.config.pools)?;
        let live = bring_up(&self.config, &network)?;
        let mut batch = Batch::new();
        batch.put(&NETWORKS, &network.id, &network)?;
        self.db.write(batch)?;
        state.bridges.insert(network.name.clone(), live);
        state.networks.insert(network.name.clone(), network.clone());
        Ok(network)
    }

    /// Removes a network; the caller made sure that nobody is on it.
    pub(crate) fn remove(&self, network: &Network) -> Result<(), Failure> {
        if network.builtin {
            let words = format!("{} is a pre-defined network and cannot be removed", network.name);
            return Err(Failure::new(ErrorKind::Forbidden, words));
        }
        // After a restart of the engine its bridge may be there without being known.
        self.bridge(&network.name)?;
        let mut state = self.lock();
        if let Some(live) = state.bridges.remove(&network.name) {
            live.bridge.remove()?;
        }
        let mut batch = Batch::new();
        batch.delete(&NETWORKS, &network.id);
        self.db.write(batch)?;
        state.networks.remove(&network.name);
        Ok(())
    }

    /// The bridge of a network, brought up if it is not yet.
    pub(crate) fn bridge(&self, name: &str) -> Result<Arc<Bridge>, Failure> {
        let mut state = self.lock();
        self.live(&mut state, name).map(|live| Arc::clone(&live.bridge))
    }

    /// An address for a container.
    pub(crate) fn lease(
        &self,
        network: &Network,
        endpoint: &str,
        request: &EndpointRequest,
        interface: String,
    ) -> Result<Endpoint, Failure> {
        let mac = request.mac.as_deref().map(parse_mac).transpose()?;
        let mut state = self.lock();
        let live = self.live(&mut state, &network.name)?;
        let wanted = [request.ipv4.map(IpAddr::V4), request.ipv6.map(IpAddr::V6)];
        let leased = live.lease(&wanted)?;
        let first = leased.first().map(|(ip, _)| *ip);
        let mut endpoint = Endpoint {
            v4: None,
            v6: None,
            gateway: None,
            gateway6: None,
            mac: mac.or(first.map(ferry_network::mac_for)).unwrap_or_default(),
            host_link: host_link(endpoint),
            interface,
        };
        for (ip, prefix_len) in leased {
            match ip {
                IpAddr::V4(ip) => endpoint.v4 = Some((ip, prefix_len)),
                IpAddr::V6(ip) => endpoint.v6 = Some((ip, prefix_len)),
            }
        }
        for (ip, _) in live.bridge.addresses().iter().filter(|_| !network.internal) {
            match ip {
                IpAddr::V4(ip) => endpoint.gateway = Some(*ip),
                IpAddr::V6(ip) => endpoint.gateway6 = Some(*ip),
            }
        }
        Ok(endpoint)
    }

    /// Notes an address that a container of an earlier engine has.
    pub(crate) fn adopt(&self, network: &str, address: IpAddr) -> Result<(), Failure> {
        let mut state = self.lock();
        let live = self.live(&mut state, network)?;
        match live.ipams.iter_mut().find(|ipam| ipam.is_v6() == address.is_ipv6()) {
            Some(ipam) => Ok(ipam.allocate(Some(address)).map(|_| ())?),
            None => Err(ferry_network::IpamError::OutOfRange(address).into()),
        }
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

    fn live<'s>(&self, state: &'s mut State, name: &str) -> Result<&'s mut Live, Failure> {
        if !state.bridges.contains_key(name) {
            let others: Vec<Network> =
                state.networks.values().filter(|other| other.name != name).cloned().collect();
            let Some(network) = state.networks.get_mut(name) else {
                return Err(Failure::new(ErrorKind::NotFound, format!("network {name} not found")));
            };
            let noted = network.ipam.clone();
            if network.builtin {
                pools::settle_default(network, others.iter(), &self.config)?;
            } else {
                pools::fill(network, others.iter(), &self.config.pools)?;
            }
            let live = bring_up(&self.config, network)?;
            if network.ipam != noted {
                let mut batch = Batch::new();
                batch.put(&NETWORKS, &network.id, network)?;
                self.db.write(batch)?;
            }
            state.bridges.insert(name.to_owned(), live);
        }
        state
            .bridges
            .get_mut(name)
            .ok_or_else(|| Failure::new(ErrorKind::Internal, "bridge vanished"))
    }

    /// A panic while the lock was held leaves maps whose entries are whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// An address of each family, of those that are wanted. All or none.
    fn lease(&mut self, wanted: &[Option<IpAddr>]) -> Result<Vec<Net>, Failure> {
        let mut leased: Vec<Net> = Vec::new();
        for (ipam, (_, prefix_len)) in self.ipams.iter_mut().zip(self.bridge.addresses()) {
            let wanted = wanted.iter().flatten().find(|ip| ip.is_ipv6() == ipam.is_v6()).copied();
            match ipam.allocate(wanted) {
                Ok(ip) => leased.push((ip, *prefix_len)),
                Err(error) => {
                    for (ip, _) in leased {
                        self.release(ip);
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(leased)
    }

    fn release(&mut self, address: IpAddr) {
        for ipam in &mut self.ipams {
            ipam.release(address);
        }
    }
}

fn bring_up(config: &BridgeConfig, network: &Network) -> Result<Live, Failure> {
    let bridge = Bridge::ensure(&BridgeSettings {
        link: network.bridge.clone(),
        table: table(config),
        addresses: pools::gateways(network)?,
        mtu: options::mtu(network).unwrap_or(config.mtu),
        internal: network.internal,
        masquerade: options::flag(network, options::MASQUERADE),
        open: options::flag(network, options::ICC),
    })?;
    let mut ipams = Vec::new();
    for (gateway, prefix_len) in bridge.addresses() {
        let pool = network.ipam.iter().find(|pool| ferry_network::contains(&pool.subnet, *gateway));
        let range = pool.and_then(|pool| ferry_network::parse_subnet(&pool.ip_range));
        let mut ipam = Ipam::new((*gateway, *prefix_len), *gateway, range)?;
        for taken in pool.iter().flat_map(|pool| pool.aux_addresses.values()) {
            if let Ok(taken) = taken.parse() {
                ipam.allocate(Some(taken))?;
            }
        }
        ipams.push(ipam);
    }
    Ok(Live { bridge: Arc::new(bridge), ipams })
}

pub(crate) fn table(config: &BridgeConfig) -> String {
    if config.table.is_empty() { "ferry".to_owned() } else { config.table.clone() }
}

fn bridge_options(link: &str) -> BTreeMap<String, String> {
    [
        ("com.docker.network.bridge.default_bridge", "true"),
        ("com.docker.network.bridge.enable_icc", "true"),
        ("com.docker.network.bridge.enable_ip_masquerade", "true"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.name", link),
        ("com.docker.network.driver.mtu", "1500"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The host's end of an endpoint's veth pair: at most 15 characters, ours by its prefix.
fn host_link(endpoint: &str) -> String {
    format!("fe{}", endpoint.get(..11).unwrap_or(endpoint))
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
