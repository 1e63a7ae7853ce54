//! All networks: their records, bridges, leased addresses and reserved ports.

mod configuration;
mod endpoints;
mod fronts;
mod ground;
mod options;
mod pools;
mod ports;
mod trust;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferry_db::{Batch, Db, Table};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::Network;
use ferry_network::{Ipam, Net};
use ferry_stdx::time::Timestamp;

pub(crate) use endpoints::Endpoint;
pub use fronts::Front;
pub(crate) use ground::Ground;
pub(crate) use options::{host_binding, icc, link_prefix, mode as gateway_mode, trusting};
pub(crate) use ports::PortOwner;

use crate::{config::BridgeConfig, failpoint, random};

const NETWORKS: Table<Network> = Table::new("network");

/// Name of the default bridge's link unless told otherwise.
const DEFAULT_LINK: &str = "ferry0";

/// The networks of one engine.
#[derive(Debug)]
pub(crate) struct Networks {
    db: Arc<Db>,
    config: BridgeConfig,
    /// Ports that the daemon serves on itself.
    pub(crate) fronts: Arc<fronts::Fronts>,
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
    /// Who is on which network, by the endpoint's id, from the lease of its addresses on: long before its record says that it runs.
    joined: HashMap<String, endpoints::Joined>,
    /// Bridges that firewalld has not been told of.
    fresh: Vec<String>,
    /// Those that it trusts because we asked it to.
    trusted: HashSet<String>,
}

#[derive(Debug)]
struct Live {
    ground: Ground,
    pools: Vec<LivePool>,
}

#[derive(Debug)]
struct LivePool {
    ipam: Ipam,
    /// The gateway, and the length of the subnet's prefix.
    gateway: Net,
}

impl State {
    fn bring(&mut self, name: &str, live: Live) {
        if let Ground::Bridge(bridge) = &live.ground {
            self.fresh.push(bridge.link().to_owned());
        }
        self.bridges.insert(name.to_owned(), live);
    }

    fn check_free(&self, name: &str) -> Result<(), Failure> {
        if self.networks.contains_key(name) {
            let words = format!("network with name {name} already exists");
            return Err(Failure::new(ErrorKind::Conflict, words));
        }
        Ok(())
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
                network.options = bridge_options(link, config.icc);
                network.enable_ipv6 = config.ipv6;
            }
            batch.put(&NETWORKS, &network.id, network)?;
        }
        db.write(batch)?;
        let state = State { networks, ..State::default() };
        Ok(Networks { db, config, fronts: Arc::default(), state: Mutex::new(state) })
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
    ///
    /// It is on record first: whatever a crash leaves in the kernel belongs to a network that is known, and can be removed.
    pub(crate) fn create(&self, mut network: Network, now: Timestamp) -> Result<Network, Failure> {
        // From looking whether its name is free to keeping it, and from choosing a range: nobody else may do so meanwhile.
        let mut state = self.lock();
        state.check_free(&network.name)?;
        network.id = random::id()?;
        network.created = now;
        network.builtin = false;
        configuration::settle(&mut network, &state.networks)?;
        if network.config_only {
            return self.note_configuration(state, network);
        }
        network.bridge = network
            .options
            .get(options::NAME)
            .cloned()
            .unwrap_or_else(|| format!("fr-{}", &network.id[..12]));
        options::check(&network)?;
        if self.config.respect_firewall && options::trusting(&network).contains(&true) {
            let words = format!(
                "{} is not supported with --firewall=respect: what comes by these links would pass the host's firewall by",
                options::TRUSTED
            );
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
        check_bridge(&network, &state.networks)?;
        ground::settle(&mut network)?;
        pools::fill(&mut network, state.networks.values(), &self.config.pools)?;
        let mut batch = Batch::new();
        batch.put(&NETWORKS, &network.id, &network)?;
        self.db.write(batch)?;
        failpoint::hit("network-create.record");
        let live = match bring_up(&self.config, &network) {
            Ok(live) => live,
            Err(failure) => {
                // What of it was made goes.
                ground::remove(&self.config, &network, false).ok();
                if let Err(failure) = self.forget(&network) {
                    tracing::warn!(network = %network.name, %failure, "a network that could not be made stays on record");
                }
                return Err(failure);
            }
        };
        failpoint::hit("network-create.link");
        state.bring(&network.name, live);
        state.networks.insert(network.name.clone(), network.clone());
        drop(state);
        self.trust_fresh();
        Ok(network)
    }

    /// Adds a network that is only a configuration: there is nothing to make.
    fn note_configuration(
        &self,
        mut state: MutexGuard<'_, State>,
        mut network: Network,
    ) -> Result<Network, Failure> {
        network.driver = "null".to_owned();
        let mut batch = Batch::new();
        batch.put(&NETWORKS, &network.id, &network)?;
        self.db.write(batch)?;
        state.networks.insert(network.name.clone(), network.clone());
        Ok(network)
    }

    /// Removes a network; the caller made sure that nobody is on it.
    pub(crate) fn remove(&self, network: &Network) -> Result<(), Failure> {
        check_removable(network)?;
        let mut state = self.lock();
        configuration::check_unused(network, &state.networks)?;
        let users = state.joined.values().filter(|joined| joined.network_id == network.id);
        let users: Vec<(&str, &str)> =
            users.map(|user| (user.container.as_str(), user.container_id.as_str())).collect();
        check_nobody(network, &users)?;
        let heir = state
            .networks
            .values()
            .find(|other| other.name != network.name && other.bridge == network.bridge)
            .cloned();
        // By its record: after a restart of the engine it may be there without being known, and it may be that it cannot come up.
        if !network.config_only {
            ground::remove(&self.config, network, heir.is_some())?;
        }
        state.bridges.remove(&network.name);
        failpoint::hit("network-remove.link");
        // A link that was made for this network and stays goes with the last that shares it.
        let heir = heir.filter(|_| network.made_parent);
        let heir = heir.map(|heir| Network { made_parent: true, ..heir });
        let mut batch = Batch::new();
        batch.delete(&NETWORKS, &network.id);
        if let Some(heir) = &heir {
            batch.put(&NETWORKS, &heir.id, heir)?;
        }
        self.db.write(batch)?;
        failpoint::hit("network-remove.record");
        state.networks.remove(&network.name);
        if let Some(heir) = heir {
            state.networks.insert(heir.name.clone(), heir);
        }
        // A bridge of somebody else's is in the zone that he has put it in, unless we did.
        let was_ours = network.driver == "bridge" && !network.found_bridge;
        let forget = was_ours || state.trusted.contains(&network.bridge);
        drop(state);
        if forget {
            self.forget_link(&network.bridge);
        }
        Ok(())
    }

    fn forget(&self, network: &Network) -> Result<(), Failure> {
        let mut batch = Batch::new();
        batch.delete(&NETWORKS, &network.id);
        Ok(self.db.write(batch)?)
    }

    /// What a network's containers are put on, brought up if it is not yet.
    pub(crate) fn ground(&self, name: &str) -> Result<Ground, Failure> {
        let mut state = self.lock();
        let ground = self.live(&mut state, name).map(|live| live.ground.clone());
        drop(state);
        self.trust_fresh();
        ground
    }

    /// Puts firewall rules back that somebody else has flushed. True if there were some: published ports are missing then.
    pub(crate) fn mend_rules(&self) -> bool {
        // Nobody takes a bridge down meanwhile.
        let state = self.lock();
        let mut mended = false;
        let mut seen = ferry_network::RulesSeen::default();
        for (name, live) in &state.bridges {
            let Ground::Bridge(bridge) = &live.ground else { continue };
            match bridge.mend(&mut seen) {
                Ok(missing) => mended |= missing,
                Err(error) => {
                    let error = ferry_errkind::chain(&error);
                    tracing::warn!(network = name, error, "firewall rules are missing");
                }
            }
        }
        mended
    }

    fn live<'s>(&self, state: &'s mut State, name: &str) -> Result<&'s mut Live, Failure> {
        if !state.bridges.contains_key(name) {
            let others: Vec<Network> =
                state.networks.values().filter(|other| other.name != name).cloned().collect();
            let Some(network) = state.networks.get_mut(name) else {
                return Err(Failure::new(ErrorKind::NotFound, format!("network {name} not found")));
            };
            if network.config_only {
                return Err(configuration::no_endpoint());
            }
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
            state.bring(name, live);
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

/// No two networks are on one bridge. Docker's words.
fn check_bridge(network: &Network, known: &BTreeMap<String, Network>) -> Result<(), Failure> {
    let bridged = |it: &&Network| it.driver == "bridge" && it.bridge == network.bridge;
    let Some(other) = known.values().find(bridged).filter(|_| network.driver == "bridge") else {
        return Ok(());
    };
    let words = format!(
        "cannot create network {} ({}): conflicts with network {} ({}): networks have same bridge name",
        network.id, network.bridge, other.id, other.bridge
    );
    Err(Failure::new(ErrorKind::Forbidden, words))
}

/// Those that are always there do not go.
pub(crate) fn check_removable(network: &Network) -> Result<(), Failure> {
    if network.builtin {
        let words = format!("{} is a pre-defined network and cannot be removed", network.name);
        return Err(Failure::new(ErrorKind::Forbidden, words));
    }
    Ok(())
}

/// A network with containers (name and id) on it does not go.
pub(crate) fn check_nobody(network: &Network, users: &[(&str, &str)]) -> Result<(), Failure> {
    if users.is_empty() {
        return Ok(());
    }
    let told =
        |(name, id): &(&str, &str)| format!("name:\"{name}\" id:\"{}\"", ferry_stdx::id::short(id));
    let users: Vec<String> = users.iter().map(told).collect();
    let words = format!(
        "error while removing network: network {} has active endpoints ({})",
        network.name,
        users.join(", ")
    );
    Err(Failure::new(ErrorKind::Forbidden, words))
}

fn bring_up(config: &BridgeConfig, network: &Network) -> Result<Live, Failure> {
    let gateways = pools::gateways(network)?;
    let ground = Ground::ensure(config, network, gateways.clone())?;
    let gateways = match &ground {
        Ground::Bridge(bridge) => bridge.addresses().to_vec(),
        Ground::Parent(_) => gateways,
    };
    let mut live = Vec::new();
    for (gateway, prefix_len) in &gateways {
        let pool = network.ipam.iter().find(|pool| ferry_network::contains(&pool.subnet, *gateway));
        let range = pool.and_then(|pool| ferry_network::parse_subnet(&pool.ip_range));
        let mut ipam = Ipam::new((*gateway, *prefix_len), *gateway, range)?;
        // Where nobody is the gateway a container may have the first address.
        let vacant = options::has_no_gateway(network, gateway.is_ipv6());
        if vacant && pool.is_some_and(|pool| pool.gateway.is_empty()) {
            ipam.release_gateway();
        }
        for taken in pool.iter().flat_map(|pool| pool.aux_addresses.values()) {
            if let Ok(taken) = taken.parse() {
                ipam.allocate(Some(taken))?;
            }
        }
        live.push(LivePool { ipam, gateway: (*gateway, *prefix_len) });
    }
    Ok(Live { ground, pools: live })
}

pub(crate) fn table(config: &BridgeConfig) -> String {
    if config.table.is_empty() { "ferry".to_owned() } else { config.table.clone() }
}

fn bridge_options(link: &str, icc: bool) -> BTreeMap<String, String> {
    [
        ("com.docker.network.bridge.default_bridge", "true"),
        ("com.docker.network.bridge.enable_icc", if icc { "true" } else { "false" }),
        ("com.docker.network.bridge.enable_ip_masquerade", "true"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.name", link),
        ("com.docker.network.driver.mtu", "1500"),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}
