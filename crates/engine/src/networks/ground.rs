//! What a network's containers are put on: a bridge, or a link of the host that they share.

use std::sync::Arc;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::Network;
use ferry_network::{Attach, AttachError, Bridge, BridgeSettings, Net, Parent, Sharing};

use super::{options, table};
use crate::config::BridgeConfig;

/// What a network's containers are put on.
#[derive(Debug, Clone)]
pub(crate) enum Ground {
    /// A bridge of ours.
    Bridge(Arc<Bridge>),
    /// A link of the host: macvlan, ipvlan.
    Parent(Arc<Parent>),
}

impl Ground {
    /// Brings it up.
    pub(super) fn ensure(
        config: &BridgeConfig,
        network: &Network,
        addresses: Vec<Net>,
    ) -> Result<Ground, Failure> {
        if let Some(sharing) = sharing(network)? {
            let parent = Parent::ensure(&network.bridge, sharing)?;
            return Ok(Ground::Parent(Arc::new(parent)));
        }
        let bridge = Bridge::ensure(&BridgeSettings {
            link: network.bridge.clone(),
            table: table(config),
            addresses,
            mtu: options::mtu(network).unwrap_or(config.mtu),
            internal: network.internal,
            masquerade: options::flag(network, options::MASQUERADE),
            open: options::flag(network, options::ICC),
            modes: [options::mode(network, false), options::mode(network, true)],
            inhibit_ipv4: options::inhibits_ipv4(network),
            hosts: options::hosts(network),
            trusted: options::trusted(network),
        })?;
        Ok(Ground::Bridge(Arc::new(bridge)))
    }

    pub(crate) fn attach(&self, attach: &Attach<'_>) -> Result<(), AttachError> {
        match self {
            Ground::Bridge(bridge) => bridge.attach(attach),
            Ground::Parent(parent) => parent.attach(attach),
        }
    }

    /// Containers are reached by routes, and have no next hop.
    pub(crate) fn routes(&self) -> bool {
        matches!(self, Ground::Parent(parent) if parent.routes())
    }
}

/// Removes what a network's containers were put on, as its record has it. A link of the host goes if it was made for the network, and no
/// other network shares it; a bridge that was there before the network stays.
pub(super) fn remove(
    config: &BridgeConfig,
    network: &Network,
    shared: bool,
) -> Result<(), Failure> {
    match sharing(network)? {
        Some(_) if network.made_parent && !shared => Ok(Parent::remove(&network.bridge)?),
        Some(_) => Ok(()),
        None if network.found_bridge => {
            Ok(ferry_network::leave_bridge(&network.bridge, &table(config))?)
        }
        None => Ok(ferry_network::remove_bridge(&network.bridge, &table(config))?),
    }
}

/// Chooses the link below a new macvlan or ipvlan network: the one that is asked for, or one that leads nowhere. The record says whether it
/// has to be made; and of a bridge whether it was there.
pub(super) fn settle(network: &mut Network) -> Result<(), Failure> {
    if sharing(network)?.is_none() {
        // Ours is called by the network's id.
        let named = network.options.contains_key(options::NAME);
        network.found_bridge = named && ferry_network::link_is_there(&network.bridge)?;
        return Ok(());
    }
    let parent = network.options.get("parent").filter(|parent| !parent.is_empty());
    match parent {
        Some(parent) if parent == "lo" => {
            let words = "loopback interface is not a valid parent link";
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
        Some(parent) => network.bridge.clone_from(parent),
        None => network.bridge = format!("dm-{}", network.id.get(..12).unwrap_or_default()),
    }
    network.made_parent = !Parent::is_there(&network.bridge)?;
    Ok(())
}

/// How containers share the link, in Docker's words; `None` for a bridge.
fn sharing(network: &Network) -> Result<Option<Sharing>, Failure> {
    let option = |key: &str| network.options.get(key).map(String::as_str).unwrap_or_default();
    let wrong = |words: String| Err(Failure::new(ErrorKind::InvalidArgument, words));
    match network.driver.as_str() {
        "macvlan" => {
            let mode = match option("macvlan_mode") {
                "" | "bridge" => 4,
                "private" => 1,
                "vepa" => 2,
                "passthru" => 8,
                other => {
                    return wrong(format!(
                        "requested macvlan mode '{other}' is not valid, 'bridge' mode is the macvlan driver default"
                    ));
                }
            };
            Ok(Some(Sharing::Macvlan { mode }))
        }
        "ipvlan" => {
            let mode = match option("ipvlan_mode") {
                "" | "l2" => 0,
                "l3" => 1,
                "l3s" => 2,
                other => {
                    return wrong(format!(
                        "requested ipvlan mode '{other}' is not valid, 'l2' mode is the ipvlan driver default"
                    ));
                }
            };
            let flags = match option("ipvlan_flag") {
                "" | "bridge" => 0,
                "private" => 1,
                "vepa" => 2,
                other => {
                    return wrong(format!(
                        "requested ipvlan flag '{other}' is not valid, 'bridge' flag is the ipvlan driver default"
                    ));
                }
            };
            Ok(Some(Sharing::Ipvlan { mode, flags }))
        }
        _ => Ok(None),
    }
}
