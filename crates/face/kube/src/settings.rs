//! Limits, rights and surroundings of containers, in the words of `HostConfig`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::reader::Reader;

pub(crate) fn limits(reader: &mut Reader<'_>, host: &mut Value) -> Result<(), String> {
    let mut resources = reader.inside("resources")?;
    resources.notice("requests", "has no meaning on one machine");
    let mut limits = resources.inside("limits")?;
    let mut read = |key: &str| {
        let text = match limits.take(key) {
            Value::Null => return Ok(None),
            Value::String(text) => text,
            other => other.to_string(),
        };
        let wrong = || format!("{}.{key}: \"{text}\" is no quantity", limits.path());
        milli(&text).map(Some).ok_or_else(wrong)
    };
    let (cpu, memory) = (read("cpu")?, read("memory")?);
    limits.finish()?;
    resources.finish()?;
    if let Some(cpu) = cpu {
        host["NanoCpus"] = json!(cpu.saturating_mul(1_000_000));
    }
    if let Some(memory) = memory {
        host["Memory"] = json!(memory / 1000);
        host["MemorySwap"] = json!(memory / 1000);
    }
    Ok(())
}

/// Capabilities and the like; answers the user.
pub(crate) fn security(reader: &mut Reader<'_>, host: &mut Value) -> Result<String, String> {
    let mut context = reader.inside("securityContext")?;
    host["Privileged"] = json!(context.flag("privileged")?.unwrap_or(false));
    host["ReadonlyRootfs"] = json!(context.flag("readOnlyRootFilesystem")?.unwrap_or(false));
    if context.flag("allowPrivilegeEscalation")? == Some(false) {
        host["SecurityOpt"] = json!(["no-new-privileges"]);
    }
    let (user, group) = (context.number("runAsUser")?, context.number("runAsGroup")?);
    let mut capabilities = context.inside("capabilities")?;
    host["CapAdd"] = json!(capabilities.texts("add")?);
    host["CapDrop"] = json!(capabilities.texts("drop")?);
    capabilities.finish()?;
    context.finish()?;
    Ok(match (user, group) {
        (None, _) => String::new(),
        (Some(user), None) => user.to_string(),
        (Some(user), Some(group)) => format!("{user}:{group}"),
    })
}

/// What all containers of a pod have: groups, kernel parameters, and where names are looked up.
pub(crate) fn around(spec: &mut Reader<'_>) -> Result<Vec<(&'static str, Value)>, String> {
    let mut all: Vec<(&'static str, Value)> = Vec::new();
    let mut context = spec.inside("securityContext")?;
    let sysctls = context.each("sysctls", |mut one| {
        let pair = (one.needed("name")?, one.text("value")?);
        one.finish()?;
        Ok(pair)
    })?;
    let groups = context.take("supplementalGroups");
    context.finish()?;
    if !sysctls.is_empty() {
        all.push(("Sysctls", json!(sysctls.into_iter().collect::<BTreeMap<_, _>>())));
    }
    if let Some(groups) = groups.as_array() {
        let ids: Vec<String> = groups.iter().map(Value::to_string).collect();
        all.push(("GroupAdd", json!(ids)));
    }
    let mut dns = spec.inside("dnsConfig")?;
    for (key, ours) in [("nameservers", "Dns"), ("searches", "DnsSearch")] {
        let list = dns.texts(key)?;
        if !list.is_empty() {
            all.push((ours, json!(list)));
        }
    }
    let options = dns.each("options", |mut one| {
        let (name, value) = (one.needed("name")?, one.text("value")?);
        one.finish()?;
        Ok(if value.is_empty() { name } else { format!("{name}:{value}") })
    })?;
    if !options.is_empty() {
        all.push(("DnsOptions", json!(options)));
    }
    dns.finish()?;
    Ok(all)
}

pub(crate) fn quantity(text: &str) -> Option<i64> {
    milli(text).map(|value| value / 1000)
}

/// A quantity in thousandths: `500m`, `2`, `64Mi`, `0.5`.
pub(crate) fn milli(text: &str) -> Option<i64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: i64 = match unit {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i64 = whole.parse().ok().filter(|value| *value >= 0)?;
    let mut value = whole.checked_mul(factor)?;
    if !part.is_empty() {
        let places = u32::try_from(part.len()).ok().filter(|places| *places <= 9)?;
        let numerator: i64 = part.parse().ok()?;
        value = value.checked_add(numerator.checked_mul(factor)? / 10_i64.pow(places))?;
    }
    Some(value)
}
