//! Who is called what: random sequences of coming, hiding and going, checked against a list of who is there.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferry_dns::{Directory, Link, View};
use libfuzzer_sys::fuzz_target;

const NETWORKS: [(&str, &str); 3] = [("n0", "back"), ("n1", "Front.net"), ("n2", "web")];
const NAMES: [&str; 8] = ["web", "Web", "db", "svc", "SVC", "a.b", "db.back", "x"];
const ENDPOINTS: [&str; 5] = ["e0", "e1", "e2", "e3", "e4"];

struct Here {
    network: &'static str,
    full: &'static str,
    endpoint: &'static str,
    names: Vec<String>,
    hidden: Vec<String>,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// In the order in which they came.
#[derive(Default)]
struct Model(Vec<Here>);

impl Model {
    fn leave(&mut self, network: &str, endpoint: &str) {
        self.0.retain(|here| here.network != network || here.endpoint != endpoint);
    }

    /// The addresses of a name on one network; nothing where it is unknown.
    fn on(&self, network: &str, name: &str) -> Option<(Vec<Ipv4Addr>, Vec<Ipv6Addr>)> {
        let called = |names: &[String]| names.iter().any(|own| own.eq_ignore_ascii_case(name));
        let all: Vec<&Here> =
            self.0.iter().filter(|here| here.network == network && called(&here.names)).collect();
        let shown = || all.iter().filter(|here| !called(&here.hidden));
        let found = (shown().filter_map(|it| it.v4).collect(), shown().filter_map(|it| it.v6).collect());
        (!all.is_empty()).then_some(found)
    }

    fn find(&self, networks: &[String], name: &str) -> Option<(Vec<Ipv4Addr>, Vec<Ipv6Addr>)> {
        networks.iter().find_map(|network| {
            let full = NETWORKS.iter().find(|(id, _)| id == network)?.1.to_ascii_lowercase();
            let short = name.strip_suffix(&full).and_then(|name| name.strip_suffix('.'));
            self.on(network, name).or_else(|| self.on(network, short?))
        })
    }

    fn name_of(&self, networks: &[String], ip: IpAddr) -> Option<String> {
        networks.iter().find_map(|network| {
            let has = |here: &&Here| {
                let own = [here.v4.map(IpAddr::V4), here.v6.map(IpAddr::V6)];
                here.network == network && !here.names.is_empty() && own.contains(&Some(ip))
            };
            let last = self.0.iter().rev().find(has)?;
            Some(format!("{}.{}", last.names[0], last.full))
        })
    }
}

/// Addresses are few, as on a small network, and each is one endpoint's at a time.
fn v4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number % 6)
}

fn names(bits: u8) -> Vec<String> {
    let chosen = NAMES.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
    chosen.map(|(_, name)| (*name).to_owned()).collect()
}

fuzz_target!(|data: &[u8]| {
    let (mut directory, mut model) = (Directory::default(), Model::default());
    for step in data.chunks_exact(4).take(200) {
        let (network, full) = NETWORKS[usize::from(step[0] >> 2) % NETWORKS.len()];
        let endpoint = ENDPOINTS[usize::from(step[1]) % ENDPOINTS.len()];
        match step[0] & 3 {
            0 | 1 => {
                let ip = Some(v4(step[3])).filter(|_| step[3] & 0x40 == 0);
                let ip6 = Some(v4(step[3]).to_ipv6_mapped()).filter(|_| step[3] & 0x80 != 0);
                // The addresses of somebody who is still there are given to nobody else.
                let taken = model.0.iter().any(|here| {
                    let same = (ip.is_some() && here.v4 == ip) || (ip6.is_some() && here.v6 == ip6);
                    here.network == network && here.endpoint != endpoint && same
                });
                if taken {
                    continue;
                }
                directory.join((network, full), endpoint, &names(step[2]), ip, ip6);
                model.leave(network, endpoint);
                let (names, hidden) = (names(step[2]), Vec::new());
                model.0.push(Here { network, full, endpoint, names, hidden, v4: ip, v6: ip6 });
            }
            2 => {
                directory.leave(network, endpoint);
                model.leave(network, endpoint);
            }
            _ => {
                directory.hide(network, endpoint, &names(step[2]));
                let own = |here: &&mut Here| here.network == network && here.endpoint == endpoint;
                model.0.iter_mut().filter(own).for_each(|here| here.hidden = names(step[2]));
            }
        }
        check(&directory, &model, step);
    }
});

fn check(directory: &Directory, model: &Model, step: &[u8]) {
    let bits = step[3];
    let on = NETWORKS.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
    let mut networks: Vec<String> = on.map(|(_, (id, _))| (*id).to_owned()).collect();
    let by = usize::from(bits >> 6).min(networks.len());
    networks.rotate_left(by);
    let mut view = View { networks, links: Vec::new() };
    for name in ["web", "db", "svc", "a.b", "x", "web.back", "svc.front.net", "db.back", "db.back.back", ".web", "web.web"] {
        let found = directory.find(&view, name, 0).map(|found| (found.v4, found.v6));
        assert_eq!(found, model.find(&view.networks, name), "{name}");
        // In turn: the same ones, another first.
        let turned = directory.find(&view, name, usize::from(step[1]));
        assert_eq!(turned.is_some(), found.is_some());
        if let (Some(turned), Some((mut v4, _))) = (turned, found) {
            let mut all = turned.v4.clone();
            (all.sort(), v4.sort());
            assert_eq!(all, v4);
        }
    }
    for number in 0..6 {
        for ip in [IpAddr::V4(v4(number)), IpAddr::V6(v4(number).to_ipv6_mapped())] {
            let found = directory.name_of(&view, ip).map(str::to_owned);
            assert_eq!(found, model.name_of(&view.networks, ip), "{ip}");
        }
    }
    // A link leads to what it is for, and where that is not there, to what everybody sees.
    view.links.push(Link { network: "n0".into(), alias: "Web".into(), target: "DB".into() });
    let found = directory.find(&view, "web", 0).map(|found| (found.v4, found.v6));
    assert_eq!(found, model.on("n0", "db").or_else(|| model.find(&view.networks, "web")));
}
