//! Ports of containers, and of this machine that lead to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::reader::Reader;

/// Ports of containers, by `80/tcp`.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    pub(crate) exposed: BTreeSet<String>,
    pub(crate) bindings: BTreeMap<String, Vec<Value>>,
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
        let number = port.number("containerPort")?.unwrap_or_default();
        let protocol = port.text("protocol")?.to_ascii_lowercase();
        let protocol = if protocol.is_empty() { "tcp" } else { protocol.as_str() };
        let key = format!("{number}/{protocol}");
        if let Some(host) = port.number("hostPort")? {
            let ip = port.text("hostIP")?;
            let binding = json!({ "HostIp": ip, "HostPort": host.to_string() });
            ports.bindings.entry(key.clone()).or_default().push(binding);
        }
        ports.exposed.insert(key);
        port.take("name");
        port.finish()
    })?;
    Ok(ports)
}
