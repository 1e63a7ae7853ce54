//! CNI: the network of a pod as plugins make it, from a configuration list in a directory.
//!
//! Knows: the CNI specification up to 1.1 (lists, ADD, CHECK, DEL, STATUS, GC, results, errors), how to run a plugin with a time limit.
//! Does not know: pods' records, our own bridges. Blocking: callers are on a thread for that.
//! Start with [`load`], [`Network`].

mod config;
mod error;
mod invoke;
mod result;
mod talk;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use ferry_model::container::CniRequest;
use serde_json::{Map, Value, json};

pub use config::{ConfList, load};
pub use error::CniError;
pub use result::Attached;

/// The link's name in every pod: kubelet expects this one.
pub const INTERFACE: &str = "eth0";

/// Where GC finds who is attached: the key, and the one that the specification had before.
const VALID: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// A configuration list and where its plugins are.
#[derive(Debug, Clone)]
pub struct Network {
    /// The list.
    pub list: ConfList,
    /// Directories with plugins, searched in order.
    pub plugins: Vec<PathBuf>,
}

/// The pod that plugins are called for.
#[derive(Debug, Clone, Copy)]
pub struct Pod<'a> {
    /// Its sandbox's id.
    pub id: &'a str,
    /// The path of its network namespace; empty when that is gone already (DEL only).
    pub netns: &'a str,
    /// What the plugins are told.
    pub request: &'a CniRequest,
}

impl Network {
    /// Attaches a pod: every plugin's ADD, in order.
    ///
    /// # Errors
    /// The first plugin that fails. What those before it did is there still: call [`Network::del`].
    pub fn add(&self, pod: Pod<'_>) -> Result<Attached, CniError> {
        let mut previous = None;
        for plugin in self.list.plugins() {
            let output = self.call("ADD", plugin, pod, previous.as_ref())?;
            previous = Some(result::read(plugin_kind(plugin), &output)?);
        }
        let value = previous.ok_or(CniError::NoPlugins)?;
        result::attached(&self.list.name, value)
    }

    /// Whether a pod is attached still, by every plugin's CHECK.
    ///
    /// # Errors
    /// The first plugin that says no. Lists older than 0.4.0, or that forbid it, have no CHECK: that is no error.
    pub fn check(&self, pod: Pod<'_>, result: &str) -> Result<(), CniError> {
        if self.list.disable_check || !self.list.is_at_least(0, 4) {
            return Ok(());
        }
        let previous = result::read("the record", result.as_bytes())?;
        for plugin in self.list.plugins() {
            self.call("CHECK", plugin, pod, Some(&previous))?;
        }
        Ok(())
    }

    /// Detaches a pod: every plugin's DEL, in reverse. May be repeated. `result` is what ADD said, empty if it did not.
    ///
    /// # Errors
    /// The first plugin that failed; the others were called nevertheless.
    pub fn del(&self, pod: Pod<'_>, result: &str) -> Result<(), CniError> {
        let previous = match result {
            "" => None,
            text if self.list.is_at_least(0, 4) => result::read("the record", text.as_bytes()).ok(),
            _ => None,
        };
        let mut outcome = Ok(());
        for plugin in self.list.plugins().iter().rev() {
            let done = self.call("DEL", plugin, pod, previous.as_ref()).map(|_| ());
            outcome = outcome.and(done);
        }
        outcome
    }

    /// Whether the plugins are ready to attach pods. Lists older than 1.1.0 have no STATUS: then it is enough that the
    /// plugins are there.
    ///
    /// # Errors
    /// The first plugin that is not.
    pub fn status(&self) -> Result<(), CniError> {
        let request = CniRequest::default();
        let pod = Pod { id: "", netns: "", request: &request };
        for plugin in self.list.plugins() {
            if self.list.is_at_least(1, 1) {
                self.call("STATUS", plugin, pod, None)?;
            } else {
                invoke::find(plugin_kind(plugin), &self.plugins)?;
            }
        }
        Ok(())
    }

    /// Lets the plugins give back what belongs to no pod of `valid`, the ids of all that are attached, or may be. Lists older than
    /// 1.1.0, or that forbid it, have no GC: that is no error. Nothing may be attached to this network meanwhile.
    ///
    /// # Errors
    /// The first plugin that failed; the others were called nevertheless.
    pub fn collect(&self, valid: &[String]) -> Result<(), CniError> {
        if self.list.disable_gc || !self.list.is_at_least(1, 1) {
            return Ok(());
        }
        let valid: Value =
            valid.iter().map(|id| json!({ "containerID": id, "ifname": INTERFACE })).collect();
        let request = CniRequest::default();
        let pod = Pod { id: "", netns: "", request: &request };
        let mut outcome = Ok(());
        for plugin in self.list.plugins() {
            let mut plugin = plugin.clone();
            for key in VALID {
                plugin.insert(key.to_owned(), valid.clone());
            }
            let done = self.call("GC", &plugin, pod, None).map(|_| ());
            outcome = outcome.and(done);
        }
        outcome
    }

    fn call(
        &self,
        command: &'static str,
        plugin: &Map<String, Value>,
        pod: Pod<'_>,
        previous: Option<&Value>,
    ) -> Result<Vec<u8>, CniError> {
        let config = self.list.for_plugin(plugin, runtime_config(plugin, pod.request), previous);
        invoke::run(&invoke::Call {
            command,
            kind: plugin_kind(plugin),
            directories: &self.plugins,
            config: &config,
            pod,
            limit: invoke::limit(command),
        })
    }
}

fn plugin_kind(plugin: &Map<String, Value>) -> &str {
    plugin.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// What a plugin gets of the request: only the capabilities that it declares.
fn runtime_config(plugin: &Map<String, Value>, request: &CniRequest) -> Map<String, Value> {
    let mut config = Map::new();
    let capabilities = plugin.get("capabilities").and_then(Value::as_object);
    let wants = |name: &str| {
        capabilities.and_then(|map| map.get(name)).and_then(Value::as_bool).unwrap_or(false)
    };
    if wants("portMappings") && !request.ports.is_empty() {
        let ports = request.ports.iter().map(|port| {
            json!({
                "hostPort": port.host.host_port,
                "containerPort": port.container_port,
                "protocol": port.protocol,
                "hostIP": port.host.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            })
        });
        config.insert("portMappings".to_owned(), ports.collect());
    }
    if let Some(limits) = request.bandwidth.filter(|_| wants("bandwidth")) {
        let value = json!({
            "ingressRate": limits.ingress_rate,
            "ingressBurst": limits.ingress_burst,
            "egressRate": limits.egress_rate,
            "egressBurst": limits.egress_burst,
        });
        config.insert("bandwidth".to_owned(), value);
    }
    if let Some([servers, searches, options]) = request.dns.as_ref().filter(|_| wants("dns")) {
        let value = json!({ "servers": servers, "searches": searches, "options": options });
        config.insert("dns".to_owned(), value);
    }
    if wants("cgroupPath") && !request.cgroup_path.is_empty() {
        config.insert("cgroupPath".to_owned(), json!(request.cgroup_path));
    }
    const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";
    if wants(ANNOTATIONS) && !request.annotations.is_empty() {
        config.insert(ANNOTATIONS.to_owned(), json!(request.annotations));
    }
    config
}
