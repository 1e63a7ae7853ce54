//! firewalld, a firewall of the host that decides by zones: what is forwarded between links that are in none is rejected, whatever our
//! rules accept. Where it runs it is asked to have our bridges in its zone `trusted`, over the system bus as any program may: no rule of
//! its is touched. Docker has a zone of its own there, Podman names its subnets.

use std::{io, time::Duration};

use ferry_dbus::{Call, Connection, Peer, Value};
use ferry_netlink::{Family, Socket, nft};

use crate::firewall::close_behind;

/// The table that it has with nftables.
const TABLE: &str = "firewalld";
/// The chain of its zones that it has with iptables, whose programs write nftables on every machine of today.
const ZONES_CHAIN: &str = "FORWARD_ZONES";
/// What is in it may go everywhere.
const ZONE: &str = "trusted";
/// It reloads its rules while it lets others wait: so long for all that is asked at once.
const PATIENCE: Duration = Duration::from_secs(5);

const FIREWALLD: Peer =
    Peer { name: "org.fedoraproject.FirewallD1", path: "/org/fedoraproject/FirewallD1" };
const ZONES: &str = "org.fedoraproject.FirewallD1.zone";

/// Has firewalld forward what comes from these links and goes to them, if it runs. `changed` gets those that it did not before, also where it
/// stops to answer on the way.
///
/// # Errors
/// It did not answer, or refused.
pub fn trust_in_firewalld(links: &[String], changed: &mut Vec<String>) -> io::Result<()> {
    if links.is_empty() || !is_in_force() {
        return Ok(());
    }
    let Some(mut bus) = Connection::system(PATIENCE)? else { return Ok(()) };
    for link in links {
        // In a zone that somebody chose it stays.
        if ask(&mut bus, "getZoneOfInterface", &[link])?.is_empty() {
            ask(&mut bus, "addInterface", &[ZONE, link])?;
            changed.push(link.clone());
        }
    }
    Ok(())
}

/// Takes a link that is gone out of the zone again.
///
/// # Errors
/// It did not answer, or refused.
pub fn forget_in_firewalld(link: &str) -> io::Result<()> {
    if !is_in_force() {
        return Ok(());
    }
    let Some(mut bus) = Connection::system(PATIENCE)? else { return Ok(()) };
    if ask(&mut bus, "getZoneOfInterface", &[link])? == ZONE {
        ask(&mut bus, "removeInterface", &[ZONE, link])?;
    }
    Ok(())
}

/// Whether its rules are there: everywhere else nobody is asked.
fn is_in_force() -> bool {
    let Ok(mut socket) = Socket::open(Family::Netfilter) else { return false };
    let chains = nft::chain_names(&mut socket);
    close_behind(socket);
    let is_its = |(table, name): &(String, String)| table == TABLE || name == ZONES_CHAIN;
    chains.is_ok_and(|chains| chains.iter().any(is_its))
}

/// Calls a method that takes strings. Answers the string that it gives back, or nothing.
fn ask(bus: &mut Connection, method: &str, arguments: &[&str]) -> io::Result<String> {
    let arguments: Vec<Value> = arguments.iter().map(|text| Value::text(*text)).collect();
    let call = Call { peer: &FIREWALLD, interface: ZONES, method, arguments: &arguments };
    bus.call(&call).map(|answer| answer.text()).map_err(io::Error::other)
}
