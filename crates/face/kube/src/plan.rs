//! A pod to bodies of container create. Pure: what runs already is nobody's concern here.
//!
//! The first container has the pod's network and IPC namespaces, the others join it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    manifest::{Manifests, Pod, Source},
    probes,
    reader::Reader,
    volumes::{self, PutFile, Volume},
};

/// The network of all pods; names of pods and services are names on it.
pub(crate) const NETWORK: &str = "kube";

/// The object that a container belongs to.
pub(crate) const OWNER: &str = "ferry.kube.owner";
/// Its pod.
pub(crate) const POD: &str = "io.kubernetes.pod.name";
/// Its name in the pod.
pub(crate) const CONTAINER: &str = "io.kubernetes.container.name";
/// What its pod was made of.
pub(crate) const HASH: &str = "ferry.kube.hash";

/// A pod as it is to run.
#[derive(Debug)]
pub(crate) struct PodPlan {
    pub(crate) name: String,
    pub(crate) owner: String,
    /// Tells whether it is the same as one that runs.
    pub(crate) hash: String,
    /// In this order, each to its end.
    pub(crate) init: Vec<ContainerPlan>,
    pub(crate) containers: Vec<ContainerPlan>,
    /// Volumes that go with the pod.
    pub(crate) volumes: Vec<String>,
}

/// A container.
#[derive(Debug)]
pub(crate) struct ContainerPlan {
    pub(crate) name: String,
    pub(crate) image: String,
    /// `Always`, `IfNotPresent`, `Never`.
    pub(crate) pull: String,
    pub(crate) body: Value,
    /// Put into it before it starts.
    pub(crate) files: Vec<PutFile>,
}

/// Plans a pod.
pub(crate) fn plan(
    pod: &Pod,
    manifests: &Manifests,
    notices: &mut Vec<String>,
) -> Result<PodPlan, String> {
    let mut spec = Reader::new(format!("Pod/{}.spec", pod.name), pod.spec.clone(), notices)?;
    let hostname = spec.text("hostname")?;
    let hostname = if hostname.is_empty() { pod.name.clone() } else { hostname };
    let restart = match (spec.text("restartPolicy")?.as_str(), pod.is_job) {
        ("", false) | ("Always", false) => "always",
        ("OnFailure", _) => "on-failure",
        ("Never", _) => "no",
        (other, _) => return Err(format!("{}.restartPolicy: \"{other}\" cannot be", spec.path())),
    };
    let on_host = spec.flag("hostNetwork")?.unwrap_or(false);
    let host_pid = spec.flag("hostPID")?.unwrap_or(false);
    let host_ipc = spec.flag("hostIPC")?.unwrap_or(false);
    let around = around(&mut spec)?;
    let grace = spec.number("terminationGracePeriodSeconds")?.unwrap_or(30);
    let aliases = spec.each("hostAliases", |mut alias| {
        let ip = alias.needed("ip")?;
        let names = alias.texts("hostnames")?;
        alias.finish()?;
        Ok(names.into_iter().map(|name| format!("{name}:{ip}")).collect::<Vec<_>>())
    })?;
    let mut own = Vec::new();
    let volumes: BTreeMap<String, Volume> = spec
        .each("volumes", |volume| volumes::volume(volume, &pod.name, manifests, &mut own))?
        .into_iter()
        .collect();
    let common = Common {
        pod,
        manifests,
        volumes: &volumes,
        hostname: &hostname,
        restart,
        grace,
        on_host,
        host_pid,
        host_ipc,
        around,
        hosts: aliases.concat(),
    };
    let mut init = spec.each("initContainers", |reader| common.container(reader, true, None))?;
    let mut first: Option<String> = None;
    let containers = spec.each("containers", |reader| {
        let plan = common.container(reader, false, first.as_deref())?;
        first.get_or_insert_with(|| plan.name.clone());
        Ok(plan)
    })?;
    if containers.is_empty() {
        return Err(format!("{}.containers is required", spec.path()));
    }
    spec.finish()?;
    let text: String =
        init.iter().chain(&containers).map(|one| format!("{}={}\n", one.name, one.body)).collect();
    let files: Vec<&PutFile> = init.iter().chain(&containers).flat_map(|one| &one.files).collect();
    // What there was before files could be has the hash that it had.
    let text = if files.is_empty() { text } else { format!("{text}{files:?}") };
    let digest = Sha256::digest(text.as_bytes());
    let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let mut containers = containers;
    for one in init.iter_mut().chain(&mut containers) {
        one.body["Labels"][HASH] = json!(hash);
    }
    let (name, owner) = (pod.name.clone(), pod.owner.clone());
    Ok(PodPlan { name, owner, hash, init, containers, volumes: own })
}

/// What all containers of a pod have in common.
struct Common<'p> {
    pod: &'p Pod,
    manifests: &'p Manifests,
    volumes: &'p BTreeMap<String, Volume>,
    hostname: &'p str,
    restart: &'static str,
    grace: i64,
    on_host: bool,
    host_pid: bool,
    host_ipc: bool,
    /// Settings of every container's `HostConfig`.
    around: Vec<(&'static str, Value)>,
    hosts: Vec<String>,
}

impl Common<'_> {
    /// One container; `joins` is the one that has the pod's network.
    fn container(
        &self,
        mut reader: Reader<'_>,
        is_init: bool,
        joins: Option<&str>,
    ) -> Result<ContainerPlan, String> {
        let own = reader.needed("name")?;
        let image = reader.needed("image")?;
        let list = |words: Vec<String>| if words.is_empty() { Value::Null } else { json!(words) };
        let (command, args) = (reader.texts("command")?, reader.texts("args")?);
        let directory = reader.text("workingDir")?;
        let (stdin, tty) = (reader.flag("stdin")?.unwrap_or(false), reader.flag("tty")?);
        let mut env = self.env_from(&mut reader)?;
        self.env(&mut reader, &mut env)?;
        let words =
            |list_of: Vec<String>| list(list_of.iter().map(|word| expanded(word, &env)).collect());
        let (command, args) = (words(command), words(args));
        let (exposed, mut bindings) = ports(&mut reader)?;
        let mounted = volumes::mounts(&mut reader, self.volumes)?;
        let mut host = json!({
            "Binds": mounted.binds,
            "Mounts": mounted.mounts,
            "Tmpfs": mounted.tmpfs,
            "RestartPolicy": { "Name": if is_init { "no" } else { self.restart } },
            "ExtraHosts": if joins.is_none() { self.hosts.clone() } else { Vec::new() },
            "PidMode": if self.host_pid { "host" } else { "" },
        });
        for (key, value) in &self.around {
            host[*key] = value.clone();
        }
        limits(&mut reader, &mut host)?;
        let user = security(&mut reader, &mut host)?;
        let (health, is_alive) = probes::health(&mut reader)?;
        let pull = reader.text("imagePullPolicy")?;
        reader.finish()?;
        match joins {
            _ if self.on_host => host["NetworkMode"] = json!("host"),
            Some(first) => {
                host["NetworkMode"] = json!(format!("container:{first}"));
                host["IpcMode"] = json!(format!("container:{first}"));
            }
            None => {
                host["NetworkMode"] = json!(NETWORK);
                host["IpcMode"] = json!("shareable");
                self.published(&mut bindings);
                host["PortBindings"] = bindings;
            }
        }
        if self.host_ipc {
            host["IpcMode"] = json!("host");
        }
        let mut body = json!({
            "Image": image,
            "Entrypoint": command,
            "Cmd": args,
            "WorkingDir": directory,
            "Env": env,
            "OpenStdin": stdin,
            "Tty": tty.unwrap_or(false),
            "User": user,
            "StopTimeout": self.grace,
            "Labels": self.labels(&own),
            "HostConfig": host,
        });
        if joins.is_none() && !self.on_host {
            body["Hostname"] = json!(self.hostname);
            body["ExposedPorts"] = exposed;
            body["NetworkingConfig"] =
                json!({ "EndpointsConfig": { NETWORK: { "Aliases": self.names() } } });
        }
        if let Some(health) = health {
            body["Healthcheck"] = health;
            if is_alive {
                body["Labels"]["ferry.health-on-failure"] = json!("restart");
            }
        }
        let name = format!("{}-{own}", self.pod.name);
        Ok(ContainerPlan { name, image, pull, body, files: mounted.files })
    }

    fn labels(&self, container: &str) -> Value {
        let mut labels = json!({ OWNER: self.pod.owner, POD: self.pod.name, CONTAINER: container });
        for (key, value) in &self.pod.labels {
            labels[key] = json!(value);
        }
        labels
    }

    /// What the pod is called: its name, and those of services that select it.
    fn names(&self) -> Vec<String> {
        let services = self.manifests.services.iter().filter(|service| service.selects(self.pod));
        let names = services.map(|service| service.name.clone());
        [self.pod.name.clone()].into_iter().chain(names).collect()
    }

    /// Ports of load balancers that lead here: a port is one pod's, the first that is selected.
    fn published(&self, bindings: &mut Value) {
        for service in self.manifests.services.iter().filter(|service| service.selects(self.pod)) {
            let mut pods = self.manifests.pods.iter();
            if pods.find(|pod| service.selects(pod)).is_none_or(|pod| pod.name != self.pod.name) {
                continue;
            }
            for (port, target, protocol) in &service.published {
                let bound = &mut bindings[format!("{target}/{protocol}")];
                let entry = json!({ "HostIp": "", "HostPort": port.to_string() });
                match bound.as_array_mut() {
                    Some(list) => list.push(entry),
                    None => *bound = json!([entry]),
                }
            }
        }
    }

    fn value(&self, source: Source, name: &str, key: &str) -> Result<&str, String> {
        let map = self.manifests.values.get(&(source, name.to_owned()));
        let map = map.ok_or_else(|| format!("{source:?} \"{name}\" is not in the manifests"))?;
        let value = map.get(key);
        let value = value.ok_or_else(|| format!("{source:?} \"{name}\" has no key \"{key}\""))?;
        let text = std::str::from_utf8(value);
        text.map_err(|_| format!("{source:?} \"{name}\": the value of \"{key}\" is no text"))
    }

    fn env_from(&self, reader: &mut Reader<'_>) -> Result<Vec<String>, String> {
        let all = reader.each("envFrom", |mut from| {
            let prefix = from.text("prefix")?;
            let mut lines = Vec::new();
            for (key, source) in
                [("configMapRef", Source::ConfigMap), ("secretRef", Source::Secret)]
            {
                let mut of = from.inside(key)?;
                let name = of.text("name")?;
                let optional = of.flag("optional")?.unwrap_or(false);
                of.finish()?;
                match self.manifests.values.get(&(source, name.clone())) {
                    _ if name.is_empty() => {}
                    Some(map) => {
                        for key in map.keys() {
                            let value = self.value(source, &name, key)?;
                            lines.push(format!("{prefix}{key}={value}"));
                        }
                    }
                    None if optional => {}
                    None => return Err(format!("{source:?} \"{name}\" is not in the manifests")),
                }
            }
            from.finish()?;
            Ok(lines)
        })?;
        Ok(all.concat())
    }

    fn env(&self, reader: &mut Reader<'_>, env: &mut Vec<String>) -> Result<(), String> {
        reader.each("env", |mut line| {
            let name = line.needed("name")?;
            let mut value = expanded(&line.text("value")?, env);
            let mut from = line.inside("valueFrom")?;
            for (key, source) in
                [("configMapKeyRef", Source::ConfigMap), ("secretKeyRef", Source::Secret)]
            {
                let mut of = from.inside(key)?;
                let (map, entry) = (of.text("name")?, of.text("key")?);
                of.finish()?;
                if !map.is_empty() {
                    value = self.value(source, &map, &entry)?.to_owned();
                }
            }
            let field = from.inside("fieldRef")?.text("fieldPath")?;
            match field.as_str() {
                "" => {}
                "metadata.name" => value.clone_from(&self.pod.name),
                "metadata.namespace" => value = "default".to_owned(),
                other => {
                    return Err(format!("{}.fieldRef \"{other}\" is not supported", from.path()));
                }
            }
            from.finish()?;
            line.finish()?;
            env.push(format!("{name}={value}"));
            Ok(())
        })?;
        Ok(())
    }
}

fn ports(reader: &mut Reader<'_>) -> Result<(Value, Value), String> {
    let (mut exposed, mut bindings) = (json!({}), json!({}));
    reader.each("ports", |mut port| {
        let number = port.number("containerPort")?.unwrap_or_default();
        let protocol = port.text("protocol")?.to_ascii_lowercase();
        let protocol = if protocol.is_empty() { "tcp" } else { protocol.as_str() };
        let key = format!("{number}/{protocol}");
        if let Some(host) = port.number("hostPort")? {
            let ip = port.text("hostIP")?;
            bindings[&key] = json!([{ "HostIp": ip, "HostPort": host.to_string() }]);
        }
        exposed[&key] = json!({});
        port.take("name");
        port.finish()
    })?;
    Ok((exposed, bindings))
}

fn limits(reader: &mut Reader<'_>, host: &mut Value) -> Result<(), String> {
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
fn security(reader: &mut Reader<'_>, host: &mut Value) -> Result<String, String> {
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
fn around(spec: &mut Reader<'_>) -> Result<Vec<(&'static str, Value)>, String> {
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

/// `$(NAME)` is the variable's value, where there is one; `$$` is a dollar sign.
fn expanded(text: &str, env: &[String]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        let known = name.and_then(|(name, after)| {
            let line = env.iter().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| (value, after))
        });
        match known {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out + rest
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
