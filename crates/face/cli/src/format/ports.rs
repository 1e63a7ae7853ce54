//! Ports as `docker ps` shows them: neighbours together, and those that are elsewhere on the host at the end.

use std::collections::HashMap;

use ferry_docker_api::Port;

/// `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp`, `80-81/tcp`.
pub(crate) fn displayable(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.kind).cmp(&(
            b.private_port,
            &b.ip,
            b.public_port,
            &b.kind,
        ))
    });
    let mut shown = Vec::new();
    let mut moved = Vec::new();
    // Runs that may still grow, by address and protocol, and the order in which they came up.
    let mut runs: HashMap<(&str, &str), (u16, u16)> = HashMap::new();
    let mut order = Vec::new();
    for port in sorted {
        let (inside, kind) = (port.private_port, port.kind.as_str());
        if !port.ip.is_empty() && port.public_port != inside {
            moved.push(format!(
                "{}->{inside}/{kind}",
                host(&port.ip, &port.public_port.to_string())
            ));
            continue;
        }
        let key = (port.ip.as_str(), kind);
        match runs.get_mut(&key) {
            None => {
                runs.insert(key, (inside, inside));
                order.push(key);
            }
            Some(run) if run.1.checked_add(1) == Some(inside) => run.1 = inside,
            Some(run) => {
                shown.push(of_run(key, *run));
                *run = (inside, inside);
            }
        }
    }
    shown.extend(order.into_iter().filter_map(|key| Some(of_run(key, *runs.get(&key)?))));
    shown.extend(moved);
    shown.join(", ")
}

fn of_run((ip, kind): (&str, &str), (first, last): (u16, u16)) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    if ip.is_empty() {
        return format!("{range}/{kind}");
    }
    format!("{}->{range}/{kind}", host(ip, &range))
}

fn host(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, inside: u16, outside: u16, kind: &str) -> Port {
        Port {
            ip: ip.to_owned(),
            private_port: inside,
            public_port: outside,
            kind: kind.to_owned(),
        }
    }

    #[test]
    fn neighbours_stand_together() {
        for (ports, text) in [
            (vec![], ""),
            (vec![port("", 80, 0, "tcp")], "80/tcp"),
            (
                vec![port("::", 80, 8080, "tcp"), port("0.0.0.0", 80, 8080, "tcp")],
                "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (
                vec![port("1.1.1.1", 81, 81, "tcp"), port("1.1.1.1", 80, 80, "tcp")],
                "1.1.1.1:80-81->80-81/tcp",
            ),
            (
                vec![port("", 80, 0, "tcp"), port("", 90, 0, "tcp"), port("", 80, 0, "udp")],
                "80/tcp, 90/tcp, 80/udp",
            ),
            (
                vec![port("", 9, 0, "tcp"), port("1.1.1.1", 8, 99, "udp")],
                "9/tcp, 1.1.1.1:99->8/udp",
            ),
        ] {
            assert_eq!(displayable(&ports), text);
        }
    }
}
