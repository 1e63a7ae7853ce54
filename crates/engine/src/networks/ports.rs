//! Ports of the host that are held for containers.

use std::net::{IpAddr, SocketAddr};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::{PortBinding, Protocol};
use ferry_network::PortReservation;

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
    _relay: Option<Relay>,
}

/// Who wants a port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PortOwner<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
}

impl Networks {
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
        let mut failure = None;
        for port in wanted.host_port..=last {
            match PortReservation::bind(protocol, Some(address), port) {
                Ok(socket) => {
                    let port = socket.port();
                    let name = owner.name.to_owned();
                    let relay =
                        Relay::start(protocol, &socket, leads_to, self.config.respect_firewall);
                    let reserved = Reserved { name, protocol, address, socket, _relay: relay };
                    state.ports.entry(owner.id.to_owned()).or_default().push(reserved);
                    return Ok(port);
                }
                Err(error) => failure = Some((port, Failure::from(error.leading_to(leads_to)))),
            }
        }
        let Some((port, failure)) = failure else {
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
        let holder = match other {
            Some(other) => Some(format!("container \"{}\" publishes it", other.name)),
            None => failure.hint().map(str::to_owned),
        };
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
