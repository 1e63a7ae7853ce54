//! Small values: what a flag's text must look like, in docker's words.

use std::{collections::BTreeMap, net::IpAddr};

use ferry_docker_api::{RestartPolicy, Ulimit};

use crate::framework::quote;

/// Limits that a process can have.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
/// Kernel parameters that belong to a namespace.
const SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// `--attach`.
pub(super) fn check_attach(text: &str) -> Result<(), String> {
    match text.to_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// `--env`.
pub(super) fn check_env(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(())
}

/// `--label`.
pub(super) fn check_label(text: &str) -> Result<(), String> {
    let key = text.split_once('=').map_or(text, |(key, _)| key).trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if key.contains([' ', '\t']) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(())
}

/// `--dns`.
pub(super) fn check_ip(text: &str) -> Result<(), String> {
    text.trim()
        .parse::<IpAddr>()
        .map(drop)
        .map_err(|_| format!("IP address is not correctly formatted: {text}"))
}

/// `--dns-search`.
pub(super) fn check_domain(text: &str) -> Result<(), String> {
    let text = text.trim_matches(' ');
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let valid = name.chars().any(|c| c.is_ascii_alphabetic())
        && name.len() < 255
        && name.split('.').all(label);
    if text == "." || valid { Ok(()) } else { Err(format!("{text} is not a valid domain")) }
}

/// `--add-host`: `name:address` or `name=address`.
pub(super) fn check_extra_host(text: &str) -> Result<(), String> {
    extra_host(text).map(drop)
}

/// `--add-host` as the daemon reads it: with a colon, the address without brackets.
pub(super) fn extra_host(text: &str) -> Result<String, String> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty() && !name.contains(':'))
        .ok_or_else(|| format!("bad format for add-host: {}", quote(text)))?;
    if address == "host-gateway" {
        return Ok(format!("{name}:{address}"));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .filter(|inner| !inner.is_empty())
        .unwrap_or(address);
    check_ip(bare).map_err(|_| format!("invalid IP address in add-host: {}", quote(bare)))?;
    Ok(format!("{name}:{bare}"))
}

/// `--link`.
pub(super) fn check_link(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("empty string specified for links".to_owned());
    }
    if text.matches(':').count() > 1 {
        return Err(format!("bad format for links: {text}"));
    }
    Ok(())
}

/// `--sysctl`.
pub(super) fn check_sysctl(text: &str) -> Result<(), String> {
    let known = text.split_once('=').is_some_and(|(key, _)| {
        SYSCTLS.contains(&key) || key.starts_with("net.") || key.starts_with("fs.mqueue.")
    });
    if known { Ok(()) } else { Err(format!("sysctl '{text}' is not allowed")) }
}

/// `--ulimit`.
pub(super) fn check_ulimit(text: &str) -> Result<(), String> {
    ulimit(text).map(drop)
}

fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, values) =
        text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| {
        text.parse::<i64>().map_err(|error| {
            let why = match error.kind() {
                std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                    "value out of range"
                }
                _ => "invalid syntax",
            };
            format!("strconv.ParseInt: parsing {}: {why}", quote(text))
        })
    };
    let parts: Vec<&str> = values.split(':').collect();
    let (soft, hard) = match parts[..] {
        [soft] => (number(soft)?, number(soft)?),
        [soft, hard] => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        _ => {
            return Err(format!(
                "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    let order = "ulimit soft limit must be less than or equal to hard limit";
    if hard != -1 && soft == -1 {
        return Err(format!("{order}: soft: -1 (unlimited), hard: {hard}"));
    }
    if hard != -1 && soft > hard {
        return Err(format!("{order}: {soft} > {hard}"));
    }
    Ok(Ulimit { name: name.to_owned(), hard, soft })
}

/// All `--ulimit`, sorted; the last of a name counts.
pub(crate) fn ulimits(given: &[String]) -> Result<Vec<Ulimit>, String> {
    let mut by_name = BTreeMap::new();
    for text in given {
        let limit = ulimit(text)?;
        by_name.insert(limit.name.clone(), limit);
    }
    Ok(by_name.into_values().collect())
}

/// `--restart`.
pub(crate) fn restart_policy(text: &str) -> Result<RestartPolicy, String> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() && text.contains(':') {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let maximum_retry_count = match count {
        "" => 0,
        count => count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

/// Whether Go's `net.ParseMAC` would read it: six, eight or twenty bytes.
pub(super) fn is_mac(text: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    for (separator, size) in [(':', 2), ('-', 2), ('.', 4)] {
        let parts: Vec<&str> = text.split(separator).collect();
        let bytes = parts.len() * size / 2;
        if parts.iter().all(|part| hex(part, size)) && matches!(bytes, 6 | 8 | 20) {
            return true;
        }
    }
    false
}

/// One record as Go's `encoding/csv` reads it: fields between commas, quoted ones with `""` for a quote.
pub(crate) fn csv(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find(',').unwrap_or(rest.len());
            if let Some(at) = rest[..end].find('"') {
                let column = text.len() - rest.len() + at + 1;
                return Err(format!(
                    "parse error on line 1, column {column}: bare \" in non-quoted-field"
                ));
            }
            fields.push(rest[..end].to_owned());
            match rest.get(end + 1..) {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        let mut remaining = quoted;
        loop {
            let Some((before, after)) = remaining.split_once('"') else {
                let column = text.len() + 1;
                return Err(format!(
                    "parse error on line 1, column {column}: extraneous or missing \" in quoted-field"
                ));
            };
            field.push_str(before);
            match after.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    remaining = more;
                }
                None => {
                    remaining = after;
                    break;
                }
            }
        }
        fields.push(field);
        if remaining.is_empty() {
            return Ok(fields);
        }
        match remaining.strip_prefix(',') {
            Some(after) => rest = after,
            None => {
                let column = text.len() - remaining.len();
                return Err(format!(
                    "parse error on line 1, column {column}: extraneous or missing \" in quoted-field"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        assert_eq!(csv("a,b=c").unwrap(), ["a", "b=c"]);
        assert_eq!(csv(r#""a,b",c"#).unwrap(), ["a,b", "c"]);
        assert_eq!(csv(r#""a""b""#).unwrap(), [r#"a"b"#]);
        assert_eq!(csv("a,").unwrap(), ["a", ""]);
        assert_eq!(csv("").unwrap_err(), "EOF");
        assert!(csv(r#"a"b"#).is_err() && csv(r#""a"#).is_err());
    }

    #[test]
    fn words_of_checks() {
        assert_eq!(check_label("a b=c").unwrap_err(), "label 'a b' contains whitespaces");
        assert_eq!(check_domain("a_b").unwrap_err(), "a_b is not a valid domain");
        assert!(check_domain(".").is_ok() && check_domain("a.b-c.d.").is_ok());
        assert_eq!(extra_host("h=[::1]").unwrap(), "h:::1");
        assert_eq!(extra_host("h:host-gateway").unwrap(), "h:host-gateway");
        assert_eq!(extra_host("h").unwrap_err(), "bad format for add-host: \"h\"");
        assert_eq!(extra_host("h:x").unwrap_err(), "invalid IP address in add-host: \"x\"");
        assert_eq!(check_sysctl("vm.x=1").unwrap_err(), "sysctl 'vm.x=1' is not allowed");
        assert_eq!(ulimit("nofile=1:2").unwrap().hard, 2);
        assert_eq!(ulimit("foo=1").unwrap_err(), "invalid ulimit type: foo");
        assert_eq!(
            ulimit("nofile=3:2").unwrap_err(),
            "ulimit soft limit must be less than or equal to hard limit: 3 > 2"
        );
        assert_eq!(restart_policy("on-failure:3").unwrap().maximum_retry_count, 3);
        assert!(restart_policy(":3").is_err() && restart_policy("always:x").is_err());
        assert!(is_mac("02:42:ac:11:00:02") && is_mac("0242.ac11.0002") && !is_mac("02:42"));
    }
}
