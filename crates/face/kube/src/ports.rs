//! Ports of containers, and of this machine that lead to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::reader::Reader;

/// Ports of containers, by `80/tcp`.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    pub(crate) exposed: BTreeSet<String>,
    pub(crate) bindings: BTreeMap<String, Vec<Value>>,
    pub(crate) names: BTreeMap<String, u16>,
}

impl Ports {
    pub(crate) fn add(&mut self, other: Ports) {
        self.exposed.extend(other.exposed);
        for (port, bindings) in other.bindings {
            self.bindings.entry(port).or_default().extend(bindings);
        }
    }
}

pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Ports, String> {
    let mut ports = Ports::default();
    reader.each("ports", |mut port| {
        let number = port.port("containerPort")?;
        let number = number.ok_or_else(|| format!("{}.containerPort is required", port.path()))?;
        let key = format!("{number}/{}", port.protocol()?);
        let ip = port.text("hostIP")?;
        if let Some(host) = port.port("hostPort")? {
            let binding = json!({ "HostIp": ip, "HostPort": host.to_string() });
            ports.bindings.entry(key.clone()).or_default().push(binding);
        }
        ports.exposed.insert(key);
        let name = port.text("name")?;
        if let (false, Ok(number)) = (name.is_empty(), u16::try_from(number)) {
            ports.names.insert(name, number);
        }
        port.finish()
    })?;
    Ok(ports)
}
