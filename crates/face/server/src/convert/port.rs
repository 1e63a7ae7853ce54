//! Ports, both ways.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use ferry_docker_api::{
    Nothing, Port, PortBinding as WireBinding, PortMap, PortSet, PortsChange as WireChange,
};
use ferry_errkind::Failure;
use ferry_model::network::{HostPort, PortBinding, PortKey, PortsChange};

use crate::refuse::invalid;

/// Reads `80/tcp`.
pub(super) fn key(text: &str) -> Result<PortKey, Failure> {
    // Docker names the number without the protocol.
    let words =
        || format!("invalid port specification: \"{}\"", text.split('/').next().unwrap_or(text));
    text.parse().map_err(|_| invalid(words()))
}

/// Reads `PortBindings`.
pub(super) fn bindings(wire: PortMap) -> Result<BTreeMap<PortKey, Vec<PortBinding>>, Failure> {
    let read = |(text, list): (String, Option<Vec<WireBinding>>)| {
        let list = list.unwrap_or_default().into_iter().map(binding);
        Ok((key(&text)?, list.collect::<Result<_, Failure>>()?))
    };
    wire.into_iter().map(read).collect()
}

/// Reads a change of published ports.
pub(crate) fn change(wire: WireChange) -> Result<PortsChange, Failure> {
    let WireChange { add, remove } = wire;
    let read = |text: &String| text.parse::<HostPort>().map_err(|error| invalid(error.to_string()));
    let remove = remove.iter().map(read).collect::<Result<_, Failure>>()?;
    Ok(PortsChange { add: bindings(add.unwrap_or_default())?, remove })
}

fn binding(WireBinding { host_ip, host_port }: WireBinding) -> Result<PortBinding, Failure> {
    let host_ip = match host_ip.as_str() {
        "" => None,
        text => Some(
            text.parse::<IpAddr>().map_err(|_| invalid(format!("invalid IP address: {text}")))?,
        ),
    };
    let words = || format!("invalid port specification: \"{host_port}\"");
    let number = |text: &str| text.parse::<u16>().map_err(|_| invalid(words()));
    let (first, last) = match host_port.split_once('-') {
        None if host_port.is_empty() => (0, 0),
        None => (number(&host_port)?, number(&host_port)?),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    if first > last {
        return Err(invalid(words()));
    }
    Ok(PortBinding { host_ip, host_port: first, host_port_end: last })
}

/// Writes `PortBindings` as they were asked for.
pub(super) fn bindings_to_wire(bindings: &BTreeMap<PortKey, Vec<PortBinding>>) -> PortMap {
    let write = |(key, list): (&PortKey, &Vec<PortBinding>)| {
        (key.to_string(), Some(list.iter().map(asked).collect()))
    };
    bindings.iter().map(write).collect()
}

fn asked(binding: &PortBinding) -> WireBinding {
    let PortBinding { host_ip, host_port, host_port_end } = *binding;
    let host_port = match (host_port, host_port_end) {
        (0, _) => String::new(),
        (first, last) if last > first => format!("{first}-{last}"),
        (port, _) => port.to_string(),
    };
    WireBinding { host_ip: host_ip.map(|ip| ip.to_string()).unwrap_or_default(), host_port }
}

/// Writes `ExposedPorts`.
pub(super) fn set_to_wire(ports: &BTreeSet<PortKey>) -> PortSet {
    ports.iter().map(|port| (port.to_string(), Nothing)).collect()
}

/// Writes `NetworkSettings.Ports`: where each port is, and `null` for those that are only exposed.
pub(super) fn bound(
    exposed: &BTreeSet<PortKey>,
    ports: &BTreeMap<PortKey, Vec<PortBinding>>,
) -> PortMap {
    let all: BTreeSet<&PortKey> = exposed.iter().chain(ports.keys()).collect();
    let write = |port: &PortKey| {
        let list: Vec<WireBinding> = ports.get(port).into_iter().flatten().map(real).collect();
        (port.to_string(), (!list.is_empty()).then_some(list))
    };
    all.into_iter().map(write).collect()
}

fn real(binding: &PortBinding) -> WireBinding {
    // None where the container is reached by its own address.
    let port = Some(binding.host_port).filter(|port| *port != 0);
    WireBinding {
        host_ip: address(binding).to_string(),
        host_port: port.map(|port| port.to_string()).unwrap_or_default(),
    }
}

fn address(binding: &PortBinding) -> IpAddr {
    binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Writes the list's ports.
pub(super) fn listed(
    exposed: &BTreeSet<PortKey>,
    ports: &BTreeMap<PortKey, Vec<PortBinding>>,
) -> Vec<Port> {
    let all: BTreeSet<&PortKey> = exposed.iter().chain(ports.keys()).collect();
    let mut listed = Vec::new();
    for port in all {
        let kind = port.protocol.as_str().to_owned();
        let plain = Port { private_port: port.port, kind, ..Port::default() };
        let bindings = ports.get(port).map_or(&[][..], Vec::as_slice);
        if bindings.is_empty() {
            listed.push(plain);
            continue;
        }
        listed.extend(bindings.iter().map(|binding| Port {
            ip: address(binding).to_string(),
            public_port: binding.host_port,
            ..plain.clone()
        }));
    }
    listed
}
