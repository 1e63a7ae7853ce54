//! All networks: their records, bridges, leased addresses and reserved ports.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferry_db::{Batch, Db, Table};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::{EndpointRequest, IpamPool, Network, PortBinding, Protocol};
use ferry_network::{Bridge, BridgeSettings, Ipam, PortReservation};
use ferry_stdx::time::Timestamp;

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
    ports: HashMap<String, Vec<Reserved>>,
}

#[derive(Debug)]
struct Live {
    bridge: Arc<Bridge>,
    ipam: Ipam,
}

#[derive(Debug)]
struct Reserved {
    name: String,
    protocol: Protocol,
    address: Option<Ipv4Addr>,
    socket: PortReservation,
}

/// An address on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_len: u8,
    /// The next hop to the outside; internal networks have none.
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) mac: [u8; 6],
    pub(crate) host_link: String,
    /// Name of the link inside.
    pub(crate) interface: String,
}

impl Endpoint {
    pub(crate) fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
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
        let live = bring_up(&self.config, &network)?;
        note_pool(&mut network, &live);
        let mut batch = Batch::new();
        batch.put(&NETWORKS, &network.id, &network)?;
        self.db.write(batch)?;
        let mut state = self.lock();
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
        let address = live.ipam.allocate(request.ipv4)?;
        Ok(Endpoint {
            address,
            prefix_len: live.bridge.subnet().1,
            gateway: Some(live.bridge.gateway()).filter(|_| !network.internal),
            mac: mac.unwrap_or_else(|| ferry_network::mac_for(address)),
            host_link: host_link(endpoint),
            interface,
        })
    }

    /// Notes an address that a container of an earlier engine has.
    pub(crate) fn adopt(&self, network: &str, address: Ipv4Addr) -> Result<(), Failure> {
        let mut state = self.lock();
        self.live(&mut state, network)?.ipam.allocate(Some(address))?;
        Ok(())
    }

    pub(crate) fn release(&self, network_id: &str, address: Ipv4Addr) {
        let mut state = self.lock();
        let name = state
            .networks
            .values()
            .find(|network| network.id == network_id)
            .map(|network| network.name.clone());
        if let Some(live) = name.and_then(|name| state.bridges.get_mut(&name)) {
            live.ipam.release(address);
        }
    }

    /// Holds a host port for a container: the one that is wanted, one of its range, or any.
    pub(crate) fn reserve_port(
        &self,
        container: &str,
        name: &str,
        protocol: Protocol,
        address: Option<Ipv4Addr>,
        wanted: &PortBinding,
        leads_to: SocketAddrV4,
    ) -> Result<u16, Failure> {
        let mut state = self.lock();
        let last = wanted.host_port_end.max(wanted.host_port);
        let mut failure = None;
        for port in wanted.host_port..=last {
            match PortReservation::bind(protocol, address.map(Into::into), port) {
                Ok(socket) => {
                    let port = socket.port();
                    let reserved = Reserved { name: name.to_owned(), protocol, address, socket };
                    state.ports.entry(container.to_owned()).or_default().push(reserved);
                    return Ok(port);
                }
                Err(error) => failure = Some((port, Failure::from(error.leading_to(leads_to)))),
            }
        }
        let Some((port, failure)) = failure else {
            return Err(Failure::new(ErrorKind::InvalidArgument, "empty host port range"));
        };
        // One of ours is named by its name: that says more than a process id of our own.
        let owner = state.ports.values().flatten().find(|own| {
            own.protocol == protocol
                && own.socket.port() == port
                && (own.address.is_none() || address.is_none() || own.address == address)
        });
        // Who has it stands in the message itself: docker's own command line does not show hints.
        let holder = match owner {
            Some(owner) => Some(format!("container \"{}\" publishes it", owner.name)),
            None => failure.hint().map(str::to_owned),
        };
        Err(match holder {
            Some(holder) => {
                Failure::new(failure.kind(), format!("{} ({holder})", failure.message()))
            }
            None => failure,
        })
    }

    pub(crate) fn release_ports(&self, container: &str) {
        self.lock().ports.remove(container);
    }

    fn live<'s>(&self, state: &'s mut State, name: &str) -> Result<&'s mut Live, Failure> {
        if !state.bridges.contains_key(name) {
            let Some(network) = state.networks.get_mut(name) else {
                return Err(Failure::new(ErrorKind::NotFound, format!("network {name} not found")));
            };
            let live = bring_up(&self.config, network)?;
            if note_pool(network, &live) {
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

fn bring_up(config: &BridgeConfig, network: &Network) -> Result<Live, Failure> {
    let address = match network.ipam.first() {
        Some(pool) if !pool.subnet.is_empty() => Some(pool_address(pool)?),
        _ if network.builtin => config.address,
        _ => None,
    };
    let masquerade = network.options.get("com.docker.network.bridge.enable_ip_masquerade");
    let bridge = Bridge::ensure(&BridgeSettings {
        link: network.bridge.clone(),
        table: table(config),
        address,
        mtu: config.mtu,
        internal: network.internal,
        masquerade: masquerade.is_none_or(|text| text != "false"),
    })?;
    let (subnet, prefix_len) = bridge.subnet();
    let mut ipam = Ipam::new(subnet, prefix_len, bridge.gateway())?;
    for taken in network.ipam.iter().flat_map(|pool| pool.aux_addresses.values()) {
        if let Ok(taken) = taken.parse() {
            ipam.allocate(Some(taken))?;
        }
    }
    Ok(Live { bridge: Arc::new(bridge), ipam })
}

pub(crate) fn table(config: &BridgeConfig) -> String {
    if config.table.is_empty() { "ferry".to_owned() } else { config.table.clone() }
}

/// Writes the range that the bridge really has into the record. True if that is news.
fn note_pool(network: &mut Network, live: &Live) -> bool {
    let (subnet, prefix_len) = live.bridge.subnet();
    let (subnet, gateway) = (format!("{subnet}/{prefix_len}"), live.bridge.gateway().to_string());
    match network.ipam.first_mut() {
        Some(pool) if pool.subnet == subnet && pool.gateway == gateway => false,
        Some(pool) => {
            pool.subnet = subnet;
            pool.gateway = gateway;
            true
        }
        None => {
            let pool = IpamPool { subnet, gateway, chosen: true, ..IpamPool::default() };
            network.ipam.push(pool);
            true
        }
    }
}

/// The bridge's address in a pool: its gateway, or the first address.
fn pool_address(pool: &IpamPool) -> Result<(Ipv4Addr, u8), Failure> {
    let invalid = || {
        let words =
            format!("invalid subnet \"{}\": only IPv4 subnets are supported yet", pool.subnet);
        Failure::new(ErrorKind::InvalidArgument, words)
    };
    let (address, prefix) = pool.subnet.split_once('/').ok_or_else(invalid)?;
    let address: Ipv4Addr = address.parse().map_err(|_| invalid())?;
    let prefix: u8 =
        prefix.parse().ok().filter(|prefix| (1..=30).contains(prefix)).ok_or_else(invalid)?;
    if !pool.gateway.is_empty() {
        return Ok((pool.gateway.parse().map_err(|_| invalid())?, prefix));
    }
    let network = u32::from(address) & (u32::MAX << (32 - u32::from(prefix)));
    Ok((Ipv4Addr::from(network + 1), prefix))
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
