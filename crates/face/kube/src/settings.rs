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
    limits.notice("ephemeral-storage", "is not kept");
    limits.finish()?;
    resources.notice("claims", "has no meaning on one machine");
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

/// Who a container runs as, and what it may.
#[derive(Debug, Clone, Default)]
pub(crate) struct Security {
    user: Option<i64>,
    group: Option<i64>,
    /// Root is refused.
    pub(crate) non_root: bool,
    /// Words for `SecurityOpt`, by what they are about.
    options: BTreeMap<&'static str, String>,
}

impl Security {
    /// Reads what pods and containers can both say; a container's word counts more.
    fn common(mut self, context: &mut Reader<'_>) -> Result<Self, String> {
        self.user = id(context, "runAsUser")?.or(self.user);
        self.group = id(context, "runAsGroup")?.or(self.group);
        self.non_root = context.flag("runAsNonRoot")?.unwrap_or(self.non_root);
        for (key, ours) in [("seccompProfile", "seccomp"), ("appArmorProfile", "apparmor")] {
            let mut profile = context.inside(key)?;
            let kind = profile.text("type")?;
            let file = profile.text("localhostProfile")?;
            match (kind.as_str(), ours) {
                ("", _) => {}
                ("RuntimeDefault", _) => drop(self.options.remove(ours)),
                ("Unconfined", _) => drop(self.options.insert(ours, format!("{ours}=unconfined"))),
                ("Localhost", "apparmor") => {
                    self.options.insert(ours, format!("{ours}={file}"));
                }
                (other, _) => {
                    return Err(format!("{}.type: \"{other}\" is not supported", profile.path()));
                }
            }
            profile.finish()?;
        }
        let mut labels = context.inside("seLinuxOptions")?;
        for (key, ours) in [
            ("user", "label=user"),
            ("role", "label=role"),
            ("type", "label=type"),
            ("level", "label=level"),
        ] {
            let text = labels.text(key)?;
            if !text.is_empty() {
                self.options.insert(ours, format!("{ours}:{text}"));
            }
        }
        labels.finish()?;
        Ok(self)
    }

    /// Reads a container's own word. `host` gets what is not about the user, which is answered.
    pub(crate) fn container(
        &self,
        reader: &mut Reader<'_>,
        host: &mut Value,
    ) -> Result<(String, bool), String> {
        let mut context = reader.inside("securityContext")?;
        let own = self.clone().common(&mut context)?;
        host["Privileged"] = json!(context.flag("privileged")?.unwrap_or(false));
        host["ReadonlyRootfs"] = json!(context.flag("readOnlyRootFilesystem")?.unwrap_or(false));
        let mut options: Vec<&str> = own.options.values().map(String::as_str).collect();
        if context.flag("allowPrivilegeEscalation")? == Some(false) {
            options.push("no-new-privileges");
        }
        match context.text("procMount")?.as_str() {
            "" | "Default" => {}
            "Unmasked" => options.push("systempaths=unconfined"),
            other => return Err(format!("{}.procMount: \"{other}\" cannot be", context.path())),
        }
        if !options.is_empty() {
            host["SecurityOpt"] = json!(options);
        }
        let mut capabilities = context.inside("capabilities")?;
        host["CapAdd"] = json!(capabilities.texts("add")?);
        host["CapDrop"] = json!(capabilities.texts("drop")?);
        capabilities.finish()?;
        if own.non_root && own.user == Some(0) {
            return Err(format!("{}: runAsNonRoot and runAsUser 0", context.path()));
        }
        context.finish()?;
        let user = match (own.user, own.group) {
            (None, None) => String::new(),
            (Some(user), None) => user.to_string(),
            (None, Some(group)) => format!("0:{group}"),
            (Some(user), Some(group)) => format!("{user}:{group}"),
        };
        Ok((user, own.non_root && own.user.is_none()))
    }
}

fn id(context: &mut Reader<'_>, key: &str) -> Result<Option<i64>, String> {
    match context.number(key)? {
        Some(id) if !(0..=i64::from(i32::MAX)).contains(&id) => {
            Err(format!("{}.{key}: {id} is no id", context.path()))
        }
        id => Ok(id),
    }
}

/// What all containers of a pod have.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// Settings of every container's `HostConfig`.
    pub(crate) host: Vec<(&'static str, Value)>,
    /// Settings of the one that has the pod's network.
    pub(crate) network: Vec<(&'static str, Value)>,
    pub(crate) security: Security,
    /// The group of files in volumes.
    pub(crate) group: Option<i64>,
    /// Files are given to it only where their volume itself is not the group's yet.
    pub(crate) group_on_mismatch: bool,
}

/// Reads what all containers of a pod have: users, groups, kernel parameters, and where names are looked up.
pub(crate) fn around(spec: &mut Reader<'_>) -> Result<Around, String> {
    let mut all = Around::default();
    let mut context = spec.inside("securityContext")?;
    let sysctls = context.each("sysctls", |mut one| {
        let pair = (one.needed("name")?, one.text("value")?);
        one.finish()?;
        Ok(pair)
    })?;
    let mut groups = context.numbers("supplementalGroups")?;
    all.group = id(&mut context, "fsGroup")?;
    groups.extend(all.group);
    all.group_on_mismatch = match context.text("fsGroupChangePolicy")?.as_str() {
        "" | "Always" => false,
        "OnRootMismatch" => true,
        other => {
            let path = context.path();
            return Err(format!("{path}.fsGroupChangePolicy: \"{other}\" cannot be"));
        }
    };
    context.notice(
        "supplementalGroupsPolicy",
        "has no meaning here: groups are those of the image and these",
    );
    all.security = Security::default().common(&mut context)?;
    context.finish()?;
    if !sysctls.is_empty() {
        all.network.push(("Sysctls", json!(sysctls.into_iter().collect::<BTreeMap<_, _>>())));
    }
    if !groups.is_empty() {
        let ids: Vec<String> = groups.iter().map(i64::to_string).collect();
        all.host.push(("GroupAdd", json!(ids)));
    }
    let mut dns = spec.inside("dnsConfig")?;
    for (key, ours) in [("nameservers", "Dns"), ("searches", "DnsSearch")] {
        let list = dns.texts(key)?;
        if !list.is_empty() {
            all.network.push((ours, json!(list)));
        }
    }
    let options = dns.each("options", |mut one| {
        let (name, value) = (one.needed("name")?, one.text("value")?);
        one.finish()?;
        Ok(if value.is_empty() { name } else { format!("{name}:{value}") })
    })?;
    if !options.is_empty() {
        all.network.push(("DnsOptions", json!(options)));
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
        "T" => 1_000_000_000_000_000,
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
