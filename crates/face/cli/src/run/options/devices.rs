//! `--device`, `--gpus`, and limits of block devices.

use std::collections::BTreeMap;

use ferry_docker_api::{DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice};

use super::{values::csv, volumes::clean};

/// Reads `--device`: mappings, and names of devices that CDI knows.
pub(super) fn devices(specs: &[String]) -> Result<(Vec<DeviceMapping>, Vec<String>), String> {
    let (mut mappings, mut names) = (Vec::new(), Vec::new());
    for spec in specs {
        if is_cdi(spec) { names.push(spec.clone()) } else { mappings.push(mapping(spec)?) }
    }
    Ok((mappings, names))
}

/// `vendor.com/class=name`.
fn is_cdi(spec: &str) -> bool {
    let Some((kind, name)) = spec.split_once('=') else { return false };
    let Some((vendor, class)) = kind.split_once('/') else { return false };
    let plain = |text: &str, extra: &str| {
        text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    let named = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c));
    plain(vendor, "_-.") && plain(class, "_-") && named
}

/// `source[:target][:rwm]`.
fn mapping(spec: &str) -> Result<DeviceMapping, String> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [source] if !source.is_empty() => (clean(source), clean(source), "rwm"),
        [source, mode] if !source.is_empty() && is_mode(mode) => {
            (source.to_owned(), clean(source), mode)
        }
        [source, target] if !source.is_empty() => (source.to_owned(), clean(target), "rwm"),
        [source, target, mode] if !source.is_empty() => {
            if !is_mode(mode) {
                return Err(format!("bad mode specified: {mode}"));
            }
            (source.to_owned(), target.to_owned(), mode)
        }
        _ => return Err(format!("bad format for path: {spec}")),
    };
    if !target.starts_with('/') {
        return Err(format!(
            "{} is not an absolute path",
            parts.get(1).filter(|_| parts.len() > 1 && !is_mode(parts[1])).unwrap_or(&parts[0])
        ));
    }
    Ok(DeviceMapping {
        path_on_host: source,
        path_in_container: target,
        cgroup_permissions: mode.to_owned(),
    })
}

/// Some of `rwm`, each once.
fn is_mode(mode: &str) -> bool {
    let once = |letter: char| mode.matches(letter).count() <= 1;
    !mode.is_empty() && mode.chars().all(|letter| "rwm".contains(letter) && once(letter))
}

/// The check of `--device-cgroup-rule`: `c 1:3 rwm`.
pub(super) fn check_rule(text: &str) -> Result<(), String> {
    let number =
        |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let parts: Vec<&str> = text.split(' ').collect();
    let fits = match parts[..] {
        [kind, numbers, mode] => {
            matches!(kind, "a" | "c" | "b")
                && numbers
                    .split_once(':')
                    .is_some_and(|(major, minor)| number(major) && number(minor))
                && (1..=3).contains(&mode.len())
                && mode.chars().all(|letter| "rwm".contains(letter))
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("invalid device cgroup format '{text}'")) }
}

fn device_path(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

/// `--blkio-weight-device`.
pub(super) fn weight(text: &str) -> Result<WeightDevice, String> {
    let (path, value) = device_path(text)?;
    match value.parse::<u16>() {
        Ok(weight @ (0 | 10..=1000)) => Ok(WeightDevice { path: path.to_owned(), weight }),
        _ => Err(format!("invalid weight for device: {text}")),
    }
}

/// `--device-read-bps` and `--device-write-bps`.
pub(super) fn bytes_rate(text: &str) -> Result<ThrottleDevice, String> {
    let (path, value) = device_path(text)?;
    let rate = ferry_stdx::size::parse_bytes(value).ok().and_then(|rate| u64::try_from(rate).ok());
    let path = path.to_owned();
    rate.map(|rate| ThrottleDevice { path, rate }).ok_or_else(|| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb")
    })
}

/// `--device-read-iops` and `--device-write-iops`.
pub(super) fn operations_rate(text: &str) -> Result<ThrottleDevice, String> {
    let (path, value) = device_path(text)?;
    let path = path.to_owned();
    value.parse().map(|rate| ThrottleDevice { path, rate }).map_err(|_| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer")
    })
}

/// `--gpus`: `all`, a number, or `key=value` pairs.
pub(super) fn gpus(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest::default();
    let (mut seen, mut counted) = (Vec::new(), false);
    for field in csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value)),
            None => (field.clone(), None),
        };
        if seen.contains(&key) {
            return Err(format!("gpu request key '{key}' can be specified only once"));
        }
        let list = |value: &str| value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match (key.as_str(), value) {
            (count, None) | ("count", Some(count)) => {
                request.count = gpu_count(count)?;
                counted = true;
            }
            ("driver", Some(value)) => value.clone_into(&mut request.driver),
            ("device", Some(value)) => request.device_ids = Some(list(value)),
            ("capabilities", Some(value)) => {
                let mut names = list(value);
                names.push("gpu".to_owned());
                request.capabilities = Some(vec![names]);
            }
            ("options", Some(value)) => {
                let pairs =
                    csv(value).map_err(|why| format!("failed to read gpu options: {why}"))?;
                let pair = |text: String| {
                    let (name, value) = text.split_once('=').unwrap_or((&text, ""));
                    (name.to_owned(), value.to_owned())
                };
                request.options = Some(pairs.into_iter().map(pair).collect());
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        seen.push(key);
    }
    if !counted && request.device_ids.is_none() {
        request.count = 1;
    }
    request.options.get_or_insert_with(BTreeMap::new);
    request.capabilities.get_or_insert_with(|| vec![vec!["gpu".to_owned()]]);
    Ok(request)
}

fn gpu_count(text: &str) -> Result<i64, String> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_| {
        format!(
            r#"invalid count ({text}): value must be either "all" or an integer: invalid syntax"#
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings() {
        let show = |spec: &str| {
            mapping(spec).map(|m| {
                format!("{} {} {}", m.path_on_host, m.path_in_container, m.cgroup_permissions)
            })
        };
        assert_eq!(show("/dev/a").unwrap(), "/dev/a /dev/a rwm");
        assert_eq!(show("/dev/a:r").unwrap(), "/dev/a /dev/a r");
        assert_eq!(show("/dev/a:/dev/b").unwrap(), "/dev/a /dev/b rwm");
        assert_eq!(show("/dev/a:/dev/b:rw").unwrap(), "/dev/a /dev/b rw");
        assert_eq!(show("/dev/a:/dev/b:rx").unwrap_err(), "bad mode specified: rx");
        assert_eq!(show("/dev/a:b").unwrap_err(), "b is not an absolute path");
        assert_eq!(show(":/dev/b").unwrap_err(), "bad format for path: :/dev/b");
        assert!(is_cdi("vendor.com/gpu=0") && !is_cdi("/dev/a"));
    }

    #[test]
    fn rules_and_rates() {
        assert!(check_rule("c 1:3 rwm").is_ok() && check_rule("a *:* rwm").is_ok());
        assert_eq!(check_rule("x").unwrap_err(), "invalid device cgroup format 'x'");
        assert_eq!(weight("/dev/sda:1").unwrap_err(), "invalid weight for device: /dev/sda:1");
        assert_eq!(bytes_rate("/dev/sda:1mb").unwrap().rate, 1 << 20);
        assert_eq!(operations_rate("sda:1").unwrap_err(), "bad format for device path: sda:1");
    }

    #[test]
    fn graphics() {
        assert_eq!(gpus("all").unwrap().count, -1);
        assert_eq!(gpus("device=0").unwrap().device_ids.unwrap(), ["0"]);
        assert_eq!(gpus("driver=x").unwrap().count, 1);
        assert_eq!(
            gpus("a,a").unwrap_err(),
            r#"invalid count (a): value must be either "all" or an integer: invalid syntax"#
        );
    }
}
