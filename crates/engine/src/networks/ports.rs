//! Ports of the host that are held for containers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::{PortBinding, Protocol};
use ferry_network::{PortReservation, ReserveError};

use super::Networks;
use crate::relay::Relay;

/// One port of the host.
#[derive(Debug)]
pub(super) struct Reserved {
    name: String,
    protocol: Protocol,
    address: IpAddr,
    socket: PortReservation,
    /// What carries data where the kernel does not.
    relay: Option<Relay>,
}

/// Who wants a port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PortOwner<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    /// A container whose ports are given up to this one.
    pub(crate) from: Option<&'a str>,
}

impl Networks {
    /// Whether a container holds a port that is on its record.
    pub(crate) fn holds(&self, container: &str, binding: &PortBinding) -> bool {
        let state = self.lock();
        let held = state.ports.get(container).into_iter().flatten();
        let address = binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        held.into_iter().any(|it| it.address == address && it.socket.port() == binding.host_port)
    }

    /// Whether a container other than this one holds a port.
    pub(crate) fn holds_another(
        &self,
        container: &str,
        protocol: Protocol,
        binding: &PortBinding,
    ) -> bool {
        let address = binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let same = |it: &Reserved| {
            (it.protocol, it.address, it.socket.port()) == (protocol, address, binding.host_port)
        };
        self.lock().ports.iter().any(|(owner, held)| owner != container && held.iter().any(same))
    }

    /// Notes that nobody is to find a container, or ends that.
    pub(crate) fn set_aside(&self, container: &str, aside: bool) {
        let mut state = self.lock();
        if aside {
            state.aside.insert(container.to_owned());
        } else {
            state.aside.remove(container);
        }
    }

    /// Whether nobody is to find a container.
    pub(crate) fn is_aside(&self, container: &str) -> bool {
        self.lock().aside.contains(container)
    }

    /// Holds a host port for a container: the one that is wanted, one of its range, or any.
    pub(crate) fn reserve_port(
        &self,
        owner: PortOwner<'_>,
        protocol: Protocol,
        address: IpAddr,
        wanted: &PortBinding,
        leads_to: SocketAddr,
    ) -> Result<u16, Failure> {
        let mut state = self.lock();
        let last = wanted.host_port_end.max(wanted.host_port);
        if let Some(mut given) = owner.from.and_then(|from| {
            let held = state.ports.get_mut(from)?;
            let same = |it: &Reserved| {
                (it.protocol, it.address, it.socket.port()) == (protocol, address, wanted.host_port)
            };
            held.iter().position(same).map(|at| held.remove(at))
        }) {
            // The socket stays bound all the time; what it carried goes on.
            given.name = owner.name.to_owned();
            drop(given.relay.take());
            given.relay =
                Relay::start(protocol, &given.socket, leads_to, self.config.respect_firewall);
            state.ports.entry(owner.id.to_owned()).or_default().push(given);
            return Ok(wanted.host_port);
        }
        let mut failure = None;
        for port in wanted.host_port..=last {
            let bind = || PortReservation::bind(protocol, Some(address), port);
            let bound = bind().or_else(|error| {
                // Names for people are served where nobody publishes a port.
                let ours = matches!(error, ReserveError::InUse { .. }) && protocol == Protocol::Tcp;
                if ours && self.fronts.give_way(address, port) { bind() } else { Err(error) }
            });
            match bound {
                Ok(socket) => {
                    let port = socket.port();
                    let name = owner.name.to_owned();
                    let relay =
                        Relay::start(protocol, &socket, leads_to, self.config.respect_firewall);
                    let reserved = Reserved { name, protocol, address, socket, relay };
                    state.ports.entry(owner.id.to_owned()).or_default().push(reserved);
                    return Ok(port);
                }
                Err(error) => failure = Some((port, error.leading_to(leads_to))),
            }
        }
        let Some((port, error)) = failure else {
            return Err(Failure::new(ErrorKind::InvalidArgument, "empty host port range"));
        };
        // One of ours is named by its name: that says more than a process id of our own.
        let other = state.ports.values().flatten().find(|own| {
            own.protocol == protocol
                && own.socket.port() == port
                && (own.address.is_unspecified()
                    || address.is_unspecified()
                    || own.address == address)
        });
        // Who has it stands in the message itself: docker's own command line does not show hints.
        let holder = other.map(|other| format!("container \"{}\" publishes it", other.name));
        // Nobody is to wait for that.
        drop(state);
        let error = if holder.is_some() { error } else { error.with_holder() };
        let failure = Failure::from(error);
        let holder = holder.or_else(|| failure.hint().map(str::to_owned));
        Err(match holder {
            Some(holder) => {
                Failure::new(failure.kind(), format!("{} ({holder})", failure.message()))
            }
            None => failure,
        })
    }

    /// Gives one port back.
    pub(crate) fn release_port(
        &self,
        container: &str,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
    ) {
        if let Some(held) = self.lock().ports.get_mut(container) {
            held.retain(|it| {
                it.protocol != protocol || it.address != address || it.socket.port() != port
            });
        }
    }

    pub(crate) fn release_ports(&self, container: &str) {
        self.lock().ports.remove(container);
    }
}
