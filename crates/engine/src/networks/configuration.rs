//! Networks that are only a configuration (`--config-only`), for others to be made with (`--config-from`). Docker's words throughout.

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::Network;

/// Nobody can be on a network that is only a configuration.
pub(super) fn no_endpoint() -> Failure {
    refused("cannot create endpoint on configuration-only network".to_owned())
}

/// Checks a network that is a configuration; gives one that has its configuration from another what that says.
pub(super) fn settle(
    network: &mut Network,
    known: &BTreeMap<String, Network>,
) -> Result<(), Failure> {
    if network.config_only && (network.internal || network.attachable) {
        let words = "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.";
        return Err(refused(words.to_owned()));
    }
    if network.config_from.is_empty() {
        return Ok(());
    }
    if network.config_only {
        let words = "a configuration network cannot depend on another configuration network";
        return Err(refused(words.to_owned()));
    }
    let from = known.get(&network.config_from).filter(|from| from.config_only);
    let Some(from) = from else {
        let words = format!("configuration network \"{}\" does not exist", network.config_from);
        return Err(Failure::new(ErrorKind::NotFound, words));
    };
    let own = network.enable_ipv6
        || !network.labels.is_empty()
        || !network.ipam.is_empty()
        || network.ipam_options.as_ref().is_some_and(|options| !options.is_empty());
    for (says, what) in [
        (own, "user specified configurations"),
        (!network.options.is_empty(), "network driver options"),
    ] {
        if says {
            let when = "are not supported if the network depends on a configuration network";
            return Err(refused(format!("{what} {when}")));
        }
    }
    network.enable_ipv4 = from.enable_ipv4;
    network.enable_ipv6 = from.enable_ipv6;
    network.ipam.clone_from(&from.ipam);
    network.ipam_options.clone_from(&from.ipam_options);
    network.options.clone_from(&from.options);
    network.labels.clone_from(&from.labels);
    Ok(())
}

/// A configuration stays as long as a network has it.
pub(super) fn check_unused(
    network: &Network,
    known: &BTreeMap<String, Network>,
) -> Result<(), Failure> {
    let used = network.config_only && known.values().any(|other| other.config_from == network.name);
    if !used {
        return Ok(());
    }
    let words = format!(
        "error while removing network: configuration network \"{}\" is in use",
        network.name
    );
    Err(refused(words))
}

fn refused(words: String) -> Failure {
    Failure::new(ErrorKind::Forbidden, words)
}
