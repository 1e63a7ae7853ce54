//! The short syntax of ports: `[[address:]host[-host]:]container[-container][/protocol]`.

use serde_json::{Value, json};

/// Ranges are no longer than this.
const MAX_RANGE: u32 = 65_536;

/// The long form of each port that `text` names.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("Invalid proto: {protocol}"));
    }
    let (address, host, container) = split(ports);
    if container.is_empty() {
        return Err(format!("No port specified: {text}<empty>"));
    }
    let inside = range(container).ok_or_else(|| format!("Invalid containerPort: {container}"))?;
    let outside = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| format!("Invalid hostPort: {host}"))?),
    };
    let count = inside.1 - inside.0;
    if let Some((first, last)) = outside
        && last - first != count
        && count != 0
    {
        return Err(format!(
            "Invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    let list = (0..=count).take(MAX_RANGE as usize).map(|at| {
        let mut port = json!({"mode": "ingress"});
        if !address.is_empty() {
            port["host_ip"] = json!(address);
        }
        port["target"] = json!(inside.0 + at);
        match outside {
            // One container port, any of a range of the host's.
            Some((first, last)) if count == 0 && last > first => {
                port["published"] = json!(format!("{first}-{last}"));
            }
            Some((first, _)) => port["published"] = json!((first + at).to_string()),
            None => {}
        }
        port["protocol"] = json!(protocol);
        port
    });
    Ok(list.collect())
}

fn split(ports: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = ports.rsplit_once(':') else { return ("", "", ports) };
    let Some((address, host)) = rest.rsplit_once(':') else { return ("", rest, container) };
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    (address, host, container)
}

fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first.into(), last.into()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(list) => list
                .iter()
                .map(|port| {
                    let field = |name: &str| port[name].as_str().unwrap_or("").to_owned();
                    format!(
                        "{}|{}|{}|{}",
                        field("host_ip"),
                        field("published"),
                        port["target"],
                        field("protocol")
                    )
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(words) => words,
        }
    }

    #[test]
    fn ports() {
        assert_eq!(shown("80"), "||80|tcp");
        assert_eq!(shown("8000:80"), "|8000|80|tcp");
        assert_eq!(shown("127.0.0.1:8000:80/udp"), "127.0.0.1|8000|80|udp");
        assert_eq!(shown("127.0.0.1::80"), "127.0.0.1||80|tcp");
        assert_eq!(shown("[::1]:1:2"), "::1|1|2|tcp");
        assert_eq!(shown("10-11:20-21"), "|10|20|tcp |11|21|tcp");
        assert_eq!(shown("10-12:20"), "|10-12|20|tcp");
        assert_eq!(shown("x:y"), "Invalid containerPort: y");
        assert_eq!(shown("99999"), "Invalid containerPort: 99999");
    }
}
