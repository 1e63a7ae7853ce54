//! `--network` with its options, and the flags that mean the first network.

use std::collections::BTreeMap;

use ferry_docker_api::{EndpointIpamConfig, EndpointSettings};

use super::values::{csv, is_mac};
use crate::framework::{Matches, quote};

/// One `--network`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Attachment {
    pub(super) target: String,
    aliases: Vec<String>,
    driver_opts: BTreeMap<String, String>,
    links: Vec<String>,
    ipv4: String,
    ipv6: String,
    link_local: Vec<String>,
    mac: String,
    priority: i64,
}

/// What the network flags say: the mode, and endpoints by network.
#[derive(Debug, Default)]
pub(super) struct Networks {
    pub(super) mode: String,
    pub(super) endpoints: BTreeMap<String, Option<EndpointSettings>>,
}

/// The check of one `--network`, when it is parsed.
pub(super) fn check(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

/// Reads all network flags; errors in docker's words.
pub(super) fn networks(matches: &Matches) -> Result<Networks, String> {
    let given: Vec<Attachment> =
        matches.texts("network").iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
    if given.is_empty() {
        let mut only = Attachment { target: "default".to_owned(), ..Default::default() };
        apply_flags(&mut only, matches)?;
        let endpoints = BTreeMap::from([("default".to_owned(), Some(endpoint(only)?))]);
        return Ok(Networks { mode: "default".to_owned(), endpoints });
    }
    let mode = given[0].target.clone();
    let (alone, users) = (given.len() == 1, given.iter().filter(|n| is_users(&n.target)).count());
    let mixed = users > 0 && users < given.len();
    let mut endpoints = BTreeMap::new();
    for (index, mut attachment) in given.into_iter().enumerate() {
        if index == 0 {
            apply_flags(&mut attachment, matches)?;
        }
        let target = attachment.target.clone();
        let settings = endpoint(attachment)?;
        if endpoints.contains_key(&target) {
            return Err(format!("network {} is specified multiple times", quote(&target)));
        }
        // A single network without options is the mode alone, as older daemons know it.
        if !(index == 0 && alone && settings == EndpointSettings::default()) {
            endpoints.insert(target, Some(settings));
        }
    }
    if mixed {
        return Err(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                .to_owned(),
        );
    }
    Ok(Networks { mode, endpoints })
}

/// Whether a user made the network.
fn is_users(mode: &str) -> bool {
    !matches!(mode, "default" | "bridge" | "host" | "none") && !mode.starts_with("container:")
}

/// `name` or `name=…,alias=…`.
fn parse(text: &str) -> Result<Attachment, String> {
    if !has_pair(text) {
        return Ok(Attachment { target: text.to_owned(), ..Default::default() });
    }
    let mut attachment = Attachment::default();
    for field in csv(text)? {
        let Some((key, value)) = field.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(format!("invalid field {field}"));
        };
        let key = key.trim().to_lowercase();
        // What a driver is told is passed on as it is, since 28; all else has no upper case.
        let value = match key.as_str() {
            "driver-opt" => value.trim().to_owned(),
            _ => value.trim().to_lowercase(),
        };
        match key.as_str() {
            "name" => attachment.target = value,
            "alias" => attachment.aliases.push(value),
            "ip" => attachment.ipv4 = value,
            "ip6" => attachment.ipv6 = value,
            "mac-address" => attachment.mac = value,
            "link-local-ip" => attachment.link_local.push(value),
            "driver-opt" => {
                let (name, value) = value
                    .split_once('=')
                    .filter(|(name, _)| !name.is_empty())
                    .ok_or("invalid key value pair format in driver options".to_owned())?;
                let value = value.trim().to_owned();
                attachment.driver_opts.insert(name.trim().to_owned(), value);
            }
            "gw-priority" => {
                attachment.priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if attachment.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(attachment)
}

/// Whether there is a `=` with a word character on both sides: then it is the long notation.
fn has_pair(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.as_bytes().windows(3).any(|three| three[1] == b'=' && word(three[0]) && word(three[2]))
}

/// The flags that have always been there mean the first network.
fn apply_flags(attachment: &mut Attachment, matches: &Matches) -> Result<(), String> {
    let conflict = |flag: &str, what: &str| {
        Err(format!("conflicting options: cannot specify both {flag} and per-network {what}"))
    };
    let (aliases, links) = (matches.texts("network-alias"), matches.texts("link"));
    let (ip, ip6, mac) = (matches.text("ip"), matches.text("ip6"), matches.text("mac-address"));
    let link_local = matches.texts("link-local-ip");
    if !attachment.aliases.is_empty() && !aliases.is_empty() {
        return conflict("--network-alias", "alias");
    }
    if !attachment.ipv4.is_empty() && !ip.is_empty() {
        return conflict("--ip", "IPv4 address");
    }
    if !attachment.ipv6.is_empty() && !ip6.is_empty() {
        return conflict("--ip6", "IPv6 address");
    }
    if !attachment.mac.is_empty() && !mac.is_empty() {
        return conflict("--mac-address", "MAC address");
    }
    if !attachment.link_local.is_empty() && !link_local.is_empty() {
        return conflict("--link-local-ip", "link-local IP addresses");
    }
    if !aliases.is_empty() {
        attachment.aliases = aliases.to_vec();
    }
    // On the default bridge, a link is another thing, which the host configuration has.
    if is_users(&attachment.target) && !links.is_empty() {
        attachment.links = links.to_vec();
    }
    for (flag, field) in
        [(ip, &mut attachment.ipv4), (ip6, &mut attachment.ipv6), (mac, &mut attachment.mac)]
    {
        if !flag.is_empty() {
            flag.clone_into(field);
        }
    }
    if !link_local.is_empty() {
        attachment.link_local = link_local.to_vec();
    }
    Ok(())
}

fn endpoint(attachment: Attachment) -> Result<EndpointSettings, String> {
    if attachment.target.trim().is_empty() {
        return Err("no name set for network".to_owned());
    }
    if !is_users(&attachment.target) {
        if !attachment.aliases.is_empty() {
            return Err(
                "network-scoped aliases are only supported for user-defined networks".to_owned()
            );
        }
        if !attachment.links.is_empty() {
            return Err("links are only supported for user-defined networks".to_owned());
        }
    }
    if !attachment.mac.is_empty() && !is_mac(attachment.mac.trim()) {
        return Err(format!("{} is not a valid mac address", attachment.mac));
    }
    let fixed = !attachment.ipv4.is_empty()
        || !attachment.ipv6.is_empty()
        || !attachment.link_local.is_empty();
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    Ok(EndpointSettings {
        ipam_config: fixed.then_some(EndpointIpamConfig {
            ipv4_address: attachment.ipv4,
            ipv6_address: attachment.ipv6,
            link_local_ips: attachment.link_local,
        }),
        links: some(attachment.links),
        aliases: some(attachment.aliases),
        mac_address: attachment.mac,
        driver_opts: (!attachment.driver_opts.is_empty()).then_some(attachment.driver_opts),
        gw_priority: attachment.priority,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations() {
        assert_eq!(parse("my-net").unwrap().target, "my-net");
        let long =
            parse("name=n,alias=a,alias=b,ip=10.0.0.2,driver-opt=com.x=1,gw-priority=-1").unwrap();
        assert_eq!((long.target.as_str(), long.aliases.len(), long.priority), ("n", 2, -1));
        assert_eq!(long.driver_opts["com.x"], "1");
        for (text, words) in [
            ("alias=a", "network name/id is not specified"),
            ("name=n,foo=x", "invalid field key foo"),
            ("name=n,foo", "invalid field foo"),
            ("name=n,gw-priority=x", "invalid gw-priority (x): invalid syntax"),
        ] {
            assert_eq!(parse(text).unwrap_err(), words);
        }
    }
}
