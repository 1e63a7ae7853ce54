//! `-p` and `--expose`.

use std::collections::BTreeMap;

use ferry_docker_api::{Nothing, PortBinding};

/// Ports that are exposed, and those that are published; keyed `80/tcp`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Ports {
    pub(super) exposed: BTreeMap<String, Nothing>,
    pub(super) published: BTreeMap<String, Option<Vec<PortBinding>>>,
}

/// Reads all of both; errors in docker's words.
pub(super) fn parse(publish: &[String], expose: &[String]) -> Result<Ports, String> {
    let mut ports = Ports::default();
    for spec in publish {
        let spec = if spec.contains('=') { from_pairs(spec)? } else { spec.clone() };
        published(&spec, &mut ports)?;
    }
    for spec in expose {
        exposed(spec, &mut ports)?;
    }
    Ok(ports)
}

/// Reads `-p`s alone.
pub(crate) fn published_ports(
    publish: &[String],
) -> Result<BTreeMap<String, Option<Vec<PortBinding>>>, String> {
    parse(publish, &[]).map(|ports| ports.published)
}

/// `published=8080,target=80,protocol=udp` in the short notation.
fn from_pairs(spec: &str) -> Result<String, String> {
    let (mut host, mut container, mut protocol) = ("", "", "tcp");
    for pair in spec.split(',') {
        match pair.split_once('=') {
            Some(("published", value)) => host = value,
            Some(("target", value)) => container = value,
            Some(("protocol", value)) => protocol = value,
            Some((key, _)) if !key.is_empty() => {}
            _ => {
                return Err(format!(
                    "invalid publish opts format (should be name=value but got '{pair}')"
                ));
            }
        }
    }
    Ok(format!("{host}:{container}/{protocol}"))
}

/// `[ip:][host:]container[/protocol]`, with ranges.
fn published(spec: &str, ports: &mut Ports) -> Result<(), String> {
    let mut parts = spec.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default();
    let (port, protocol) = split_protocol(container);
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let address = match address.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(|| {
            format!("invalid IP address {address}: address {address}:: missing ']' in address")
        })?,
        None => address,
    };
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    if port.is_empty() {
        return Err(format!("no port specified: {spec}<empty>"));
    }
    let (first, last) = range(port).map_err(|_| format!("invalid containerPort: {port}"))?;
    let host_range = match host {
        "" => None,
        host => Some(range(host).map_err(|_| format!("invalid hostPort: {host}"))?),
    };
    if let Some((from, to)) = host_range
        && last - first != to - from
        && first != last
    {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {port} and {host}"
        ));
    }
    for number in first..=last {
        let host_port = match host_range {
            None => String::new(),
            // The daemon picks one of them.
            Some((from, to)) if first == last && from != to => format!("{from}-{to}"),
            // As many as there are on the other side, so it stays a port.
            Some((from, _)) => (u32::from(from) + u32::from(number - first)).to_string(),
        };
        let key = format!("{number}/{protocol}");
        ports.exposed.insert(key.clone(), Nothing);
        let binding = PortBinding { host_ip: address.to_owned(), host_port };
        ports.published.entry(key).or_default().get_or_insert_default().push(binding);
    }
    Ok(())
}

fn exposed(spec: &str, ports: &mut Ports) -> Result<(), String> {
    if spec.contains(':') {
        return Err(format!("invalid port format for --expose: {spec}"));
    }
    let (port, protocol) = split_protocol(spec);
    let (first, last) = range(port)
        .map_err(|why| format!("invalid range format for --expose: {spec}, error: {why}"))?;
    for number in first..=last {
        ports.exposed.insert(format!("{number}/{protocol}"), Nothing);
    }
    Ok(())
}

fn split_protocol(text: &str) -> (&str, &str) {
    let (port, protocol) = text.split_once('/').unwrap_or((text, ""));
    match (port, protocol) {
        ("", _) => ("", "tcp"),
        (port, "") => (port, "tcp"),
        both => both,
    }
}

/// `80` or `80-90`; errors in the words of Go's `strconv` and nat.
fn range(text: &str) -> Result<(u16, u16), String> {
    let number = |digits: &str| {
        let why = if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            "invalid syntax"
        } else {
            "value out of range"
        };
        digits.parse::<u16>().ok().filter(|_| why != "invalid syntax").ok_or_else(|| {
            format!("strconv.ParseUint: parsing {}: {why}", crate::framework::quote(digits))
        })
    };
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let Some((first, last)) = text.split_once('-') else {
        let one = number(text)?;
        return Ok((one, one));
    };
    let (first, last) = (number(first)?, number(last.split('-').next().unwrap_or(last))?);
    if last < first {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(specs: &[&str]) -> Result<Vec<String>, String> {
        let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
        let ports = parse(&specs, &[])?;
        let mut lines = Vec::new();
        for (key, bindings) in ports.published {
            for binding in bindings.unwrap_or_default() {
                lines.push(format!("{key}={}|{}", binding.host_ip, binding.host_port));
            }
        }
        Ok(lines)
    }

    #[test]
    fn what_publish_understands() {
        for (spec, ports) in [
            ("80", &["80/tcp=|"][..]),
            ("8080:80", &["80/tcp=|8080"]),
            ("127.0.0.1:8080:80/udp", &["80/udp=127.0.0.1|8080"]),
            ("127.0.0.1::80", &["80/tcp=127.0.0.1|"]),
            ("[::1]:8080:80/TCP", &["80/tcp=::1|8080"]),
            ("::1:8080:80", &["80/tcp=::1|8080"]),
            ("8080-8081:80-81", &["80/tcp=|8080", "81/tcp=|8081"]),
            ("8080-8090:80", &["80/tcp=|8080-8090"]),
            ("published=8080,target=80,protocol=udp", &["80/udp=|8080"]),
        ] {
            assert_eq!(list(&[spec]).unwrap(), ports, "{spec}");
        }
    }

    #[test]
    fn what_it_does_not() {
        for (spec, words) in [
            ("x", "invalid containerPort: x"),
            ("70000", "invalid containerPort: 70000"),
            ("x:80", "invalid hostPort: x"),
            ("80/icmp", "invalid proto: icmp"),
            ("300.1.1.1:80:80", "invalid IP address: 300.1.1.1"),
            (
                "8080-8082:80-81",
                "invalid ranges specified for container and host Ports: 80-81 and 8080-8082",
            ),
            ("a=b,c", "invalid publish opts format (should be name=value but got 'c')"),
        ] {
            assert_eq!(list(&[spec]).unwrap_err(), words, "{spec}");
        }
    }

    #[test]
    fn exposing() {
        let ports = parse(&[], &["80-81/udp".to_owned(), "90".to_owned()]).unwrap();
        assert_eq!(ports.exposed.into_keys().collect::<Vec<_>>(), ["80/udp", "81/udp", "90/tcp"]);
        assert_eq!(
            parse(&[], &["9-8".to_owned()]).unwrap_err(),
            "invalid range format for --expose: 9-8, error: invalid range specified for port: 9-8"
        );
    }
}
