//! Who is called what on which network.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// More addresses are not told for one name.
const ADDRESSES: usize = 256;

/// The names on all networks.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    networks: HashMap<String, Network>,
}

#[derive(Debug, Clone, Default)]
struct Network {
    /// In small letters.
    name: String,
    names: HashMap<String, Vec<Host>>,
    /// Whose an address is, and what it leads back to.
    reverse: HashMap<IpAddr, (String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    endpoint: String,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
    /// The name is known, and does not lead here for now.
    hidden: bool,
}

/// What one container sees of the [`Directory`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Ids of its networks; names on earlier ones hide those on later ones.
    pub networks: Vec<String>,
    /// Names that only this container has for others.
    pub links: Vec<Link>,
}

/// A name that one container has for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Id of the network on which the other is.
    pub network: String,
    /// What the other is called here.
    pub alias: String,
    /// What it is called by everybody.
    pub target: String,
}

/// What a name leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// IPv4 addresses.
    pub v4: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub v6: Vec<Ipv6Addr>,
}

impl Directory {
    /// Makes the names of an endpoint known on a network. The first name is what its addresses lead back to.
    pub fn join(
        &mut self,
        network: (&str, &str),
        endpoint: &str,
        names: &[String],
        v4: Option<Ipv4Addr>,
        v6: Option<Ipv6Addr>,
    ) {
        self.leave(network.0, endpoint);
        let entry = self.networks.entry(network.0.to_owned()).or_default();
        entry.name = network.1.to_ascii_lowercase();
        for name in names {
            let hosts = entry.names.entry(name.to_ascii_lowercase()).or_default();
            // A host name may be the container's own in other letters.
            if hosts.iter().all(|host| host.endpoint != endpoint) {
                hosts.push(Host { endpoint: endpoint.to_owned(), v4, v6, hidden: false });
            }
        }
        if let Some(first) = names.first() {
            let full = format!("{first}.{}", network.1);
            for ip in v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6)) {
                entry.reverse.insert(ip, (endpoint.to_owned(), full.clone()));
            }
        }
    }

    /// Lets these names of an endpoint lead nowhere, and all others to it. Nobody else is asked for them meanwhile.
    pub fn hide(&mut self, network: &str, endpoint: &str, names: &[String]) {
        let Some(entry) = self.networks.get_mut(network) else { return };
        for (name, hosts) in &mut entry.names {
            for host in hosts.iter_mut().filter(|host| host.endpoint == endpoint) {
                host.hidden = names.iter().any(|hidden| hidden.eq_ignore_ascii_case(name));
            }
        }
    }

    /// Forgets an endpoint.
    pub fn leave(&mut self, network: &str, endpoint: &str) {
        let Some(entry) = self.networks.get_mut(network) else { return };
        entry.names.retain(|_, hosts| {
            hosts.retain(|host| host.endpoint != endpoint);
            !hosts.is_empty()
        });
        // Somebody else may have the address by now.
        entry.reverse.retain(|_, (owner, _)| owner != endpoint);
        if entry.names.is_empty() {
            self.networks.remove(network);
        }
    }

    /// What a name leads to for a container: a link, a name on one of its networks, or `name.network`. The name is in
    /// small letters. `turn` says which of several addresses is first.
    pub fn find(&self, view: &View, name: &str, turn: usize) -> Option<Found> {
        if let Some(link) = view.links.iter().find(|link| link.alias.eq_ignore_ascii_case(name)) {
            let target = link.target.to_ascii_lowercase();
            if let Some(found) = self.on(&link.network, &target, turn) {
                return Some(found);
            }
        }
        view.networks.iter().find_map(|network| {
            self.on(network, name, turn).or_else(|| {
                // Names of containers and of networks may have dots, too.
                let of_network = &self.networks.get(network)?.name;
                let short = name.strip_suffix(of_network.as_str())?.strip_suffix('.')?;
                self.on(network, short, turn)
            })
        })
    }

    /// The name of an address, as a container sees it.
    pub fn name_of(&self, view: &View, ip: IpAddr) -> Option<&str> {
        view.networks
            .iter()
            .find_map(|network| self.networks.get(network)?.reverse.get(&ip))
            .map(|(_, name)| name.as_str())
    }

    fn on(&self, network: &str, name: &str, turn: usize) -> Option<Found> {
        let hosts = self.networks.get(network)?.names.get(name)?;
        let hosts: Vec<&Host> = hosts.iter().filter(|host| !host.hidden).collect();
        let mut found = Found::default();
        let first = turn % hosts.len().max(1);
        for host in hosts[first..].iter().chain(&hosts[..first]).take(ADDRESSES) {
            found.v4.extend(host.v4);
            found.v6.extend(host.v6);
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn directory() -> (Directory, View) {
        let mut directory = Directory::default();
        let back = ("n1", "back.net");
        directory.join(back, "e1", &names(&["web", "svc"]), Some(ip(1)), None);
        directory.join(back, "e2", &names(&["Db", "svc"]), Some(ip(2)), None);
        directory.join(("n2", "front"), "e3", &names(&["web"]), Some(ip(3)), None);
        let view = View { networks: vec!["n1".into()], links: Vec::new() };
        (directory, view)
    }

    #[test]
    fn names_are_of_the_networks_that_one_is_on() {
        let (directory, mut view) = directory();
        let v4 = |view: &View, name| directory.find(view, name, 0).map(|found| found.v4);
        assert_eq!(v4(&view, "web"), Some(vec![ip(1)]));
        assert_eq!(v4(&view, "db"), Some(vec![ip(2)]));
        assert_eq!(v4(&view, "web.back.net"), Some(vec![ip(1)]));
        assert_eq!(v4(&view, "web.front"), None);
        assert_eq!(v4(&view, "other"), None);
        view.networks = vec!["n2".into(), "n1".into()];
        assert_eq!(v4(&view, "web"), Some(vec![ip(3)]));
        assert_eq!(v4(&view, "web.back.net"), Some(vec![ip(1)]));
        view.links.push(Link { network: "n1".into(), alias: "Web".into(), target: "db".into() });
        assert_eq!(v4(&view, "web"), Some(vec![ip(2)]));
    }

    #[test]
    fn a_hidden_name_is_known_and_leads_nowhere() {
        let (mut directory, view) = directory();
        let v4 = |directory: &Directory, name| directory.find(&view, name, 0).unwrap().v4;
        directory.hide("n1", "e1", &names(&["SVC"]));
        assert_eq!(v4(&directory, "svc"), [ip(2)]);
        assert_eq!(v4(&directory, "web"), [ip(1)], "its other names stay");
        directory.hide("n1", "e2", &names(&["svc"]));
        assert!(v4(&directory, "svc").is_empty());
        directory.hide("n1", "e1", &[]);
        assert_eq!(v4(&directory, "svc"), [ip(1)]);
        directory.hide("n9", "e1", &names(&["svc"]));
    }

    #[test]
    fn one_name_in_two_spellings_is_one_address() {
        let (mut directory, view) = directory();
        directory.join(("n1", "back.net"), "e4", &names(&["App", "app"]), Some(ip(4)), None);
        let found = directory.find(&view, "app", 0).map(|found| found.v4);
        assert_eq!(found, Some(vec![ip(4)]));
    }

    #[test]
    fn an_address_leads_back_to_who_has_it_now() {
        let (mut directory, view) = directory();
        directory.join(("n1", "back.net"), "e4", &names(&["app"]), Some(ip(1)), None);
        directory.leave("n1", "e1");
        assert_eq!(directory.name_of(&view, ip(1).into()), Some("app.back.net"));
        directory.leave("n1", "e4");
        assert_eq!(directory.name_of(&view, ip(1).into()), None);
    }

    #[test]
    fn several_take_turns() {
        let (directory, view) = directory();
        let first = |turn| directory.find(&view, "svc", turn).map(|found| found.v4[0]);
        assert_eq!([first(0), first(1), first(2)], [Some(ip(1)), Some(ip(2)), Some(ip(1))]);
    }

    #[test]
    fn who_leaves_has_no_name_and_no_address() {
        let (mut directory, view) = directory();
        assert_eq!(directory.name_of(&view, ip(2).into()), Some("Db.back.net"));
        directory.leave("n1", "e2");
        assert_eq!(directory.name_of(&view, ip(2).into()), None);
        assert_eq!(directory.find(&view, "db", 0), None);
        assert_eq!(directory.find(&view, "svc", 0).map(|found| found.v4), Some(vec![ip(1)]));
        directory.leave("n1", "e1");
        directory.leave("n2", "e3");
        assert!(directory.networks.is_empty());
    }
}
