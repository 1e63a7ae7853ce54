//! `docker network create`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ferry_docker_api::{ConfigReference, Ipam, IpamConfig, NetworkCreateRequest, NetworkCreated};

use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "create",
    short: "Create a network",
    usage: "[OPTIONS] NETWORK",
    args: Args::Exactly(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("attachable", "Enable manual container attachment"),
    Flag::map("aux-address", "Auxiliary IPv4 or IPv6 addresses used by Network driver")
        .shown("map[]"),
    Flag::string("config-from", "The network from which to copy the configuration"),
    Flag::bool("config-only", "Create a configuration only network"),
    Flag::string("driver", "Driver to manage the Network").short('d').default("bridge"),
    Flag::value("gateway", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
    Flag::bool("ingress", "Create swarm routing-mesh network"),
    Flag::bool("internal", "Restrict external access to the network"),
    Flag::value("ip-range", "strings", "Allocate container ip from a sub-range"),
    Flag::string("ipam-driver", "IP Address Management Driver").default("default"),
    Flag::map("ipam-opt", "Set IPAM driver specific options").shown("map[]"),
    Flag::bool("ipv4", "Enable or disable IPv4 address assignment").default("true"),
    Flag::bool("ipv6", "Enable or disable IPv6 address assignment"),
    Flag::list("label", "Set metadata on a network").check(crate::commands::check_label),
    Flag::map("opt", "Set driver specific options").short('o').shown("map[]"),
    Flag::string("scope", "Control the network's scope"),
    Flag::value("subnet", "strings", "Subnet in CIDR format that represents a network segment"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let from = matches.text("config-from");
    let request = NetworkCreateRequest {
        name: matches.arg(0).to_owned(),
        driver: matches.text("driver").to_owned(),
        scope: matches.text("scope").to_owned(),
        enable_ipv4: matches.is_set("ipv4").then(|| matches.flag("ipv4")),
        enable_ipv6: matches.is_set("ipv6").then(|| matches.flag("ipv6")),
        ipam: Some(ipam(matches)?),
        internal: matches.flag("internal"),
        attachable: matches.flag("attachable"),
        ingress: matches.flag("ingress"),
        config_only: matches.flag("config-only"),
        config_from: (!from.is_empty()).then(|| ConfigReference { network: from.to_owned() }),
        options: Some(pairs(matches.texts("opt"))),
        labels: Some(pairs(matches.texts("label"))),
        ..Default::default()
    };
    let client = cli.client()?;
    let created: NetworkCreated =
        cli.wait(client.post("/networks/create").json_body(&request).json())?;
    if !created.warning.is_empty() {
        cli.warn(&format!("WARNING: {}", created.warning));
    }
    cli.println(&created.id)?;
    Ok(0)
}

fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    let split = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    texts.iter().map(split).collect()
}

/// Subnets, each with the gateway, range and further addresses that lie in it.
fn ipam(matches: &Matches) -> Result<Ipam, CliError> {
    let subnets = lists(matches.texts("subnet"));
    let (ranges, gateways) = (lists(matches.texts("ip-range")), lists(matches.texts("gateway")));
    let aux = pairs(matches.texts("aux-address"));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err(CliError::new("every ip-range or gateway must have a corresponding subnet"));
    }
    let mut configs: Vec<IpamConfig> = Vec::new();
    for subnet in &subnets {
        for known in &configs {
            if contains(subnet, &known.subnet)? || contains(&known.subnet, subnet)? {
                return Err(CliError::new(
                    "multiple overlapping subnet configuration is not supported",
                ));
            }
        }
        configs.push(IpamConfig { subnet: subnet.clone(), ..Default::default() });
    }
    for range in &ranges {
        cidr(range)?;
        let config = place(&mut configs, range)?
            .ok_or_else(|| CliError::new(format!("no matching subnet for range {range}")))?;
        if !config.ip_range.is_empty() {
            return Err(CliError::new(format!(
                "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                config.ip_range, config.subnet
            )));
        }
        config.ip_range.clone_from(range);
    }
    for gateway in &gateways {
        let config = place(&mut configs, gateway)?
            .ok_or_else(|| CliError::new(format!("no matching subnet for gateway {gateway}")))?;
        if !config.gateway.is_empty() {
            return Err(CliError::new(format!(
                "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                config.gateway, config.subnet
            )));
        }
        config.gateway.clone_from(gateway);
    }
    for (name, address) in aux {
        let config = place(&mut configs, &address)?.ok_or_else(|| {
            CliError::new(format!("no matching subnet for aux-address {address}"))
        })?;
        config.aux_address.insert(name, address);
    }
    Ok(Ipam {
        driver: matches.text("ipam-driver").to_owned(),
        options: Some(pairs(matches.texts("ipam-opt"))),
        config: Some(configs),
    })
}

/// Several values may stand in one, with commas between.
fn lists(texts: &[String]) -> Vec<String> {
    texts.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect()
}

/// The subnet that holds an address.
fn place<'c>(
    configs: &'c mut [IpamConfig],
    address: &str,
) -> Result<Option<&'c mut IpamConfig>, CliError> {
    for config in configs {
        if contains(&config.subnet, address)? {
            return Ok(Some(config));
        }
    }
    Ok(None)
}

/// An address and how many of its bits name the network.
fn cidr(text: &str) -> Result<(IpAddr, u32), CliError> {
    let parsed = text.split_once('/').and_then(|(address, prefix)| {
        let address: IpAddr = address.parse().ok()?;
        let prefix = prefix.parse::<u32>().ok().filter(|_| !prefix.starts_with('+'))?;
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
    });
    parsed.ok_or_else(|| CliError::new(format!("invalid CIDR address: {text}")))
}

/// Whether an address (or the beginning of a range) lies in a subnet. What is no address lies nowhere.
fn contains(subnet: &str, address: &str) -> Result<bool, CliError> {
    let (network, prefix) = cidr(subnet)
        .map_err(|error| error.map_message(|words| format!("invalid subnet: {words}")))?;
    let address = match address.contains('/') {
        true => Some(cidr(address)?.0),
        false => address.parse().ok(),
    };
    Ok(match (network, address) {
        (IpAddr::V4(network), Some(IpAddr::V4(address))) => {
            let cut = |ip: Ipv4Addr| u32::from(ip).checked_shr(32 - prefix).unwrap_or(0);
            cut(network) == cut(address)
        }
        (IpAddr::V6(network), Some(IpAddr::V6(address))) => {
            let cut = |ip: Ipv6Addr| u128::from(ip).checked_shr(128 - prefix).unwrap_or(0);
            cut(network) == cut(address)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn subnets_hold_addresses() {
        for (subnet, address, holds) in [
            ("10.1.0.0/16", "10.1.2.3", true),
            ("10.1.0.0/16", "10.1.2.0/24", true),
            ("10.1.0.0/16", "10.2.2.3", false),
            ("0.0.0.0/0", "10.2.2.3", true),
            ("fd00::/64", "fd00::5", true),
            ("fd00::/64", "10.1.2.3", false),
            ("10.1.0.0/16", "y", false),
        ] {
            assert_eq!(contains(subnet, address).unwrap(), holds, "{subnet} {address}");
        }
        for (subnet, address, words) in [
            ("x", "y", "invalid subnet: invalid CIDR address: x"),
            ("10.0.0.0/33", "y", "invalid subnet: invalid CIDR address: 10.0.0.0/33"),
            ("10.0.0.0/8", "y/8", "invalid CIDR address: y/8"),
        ] {
            assert_eq!(contains(subnet, address).unwrap_err().message(), words);
        }
    }
}
