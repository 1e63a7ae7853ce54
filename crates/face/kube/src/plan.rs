//! A pod to bodies of container create. Pure: what runs already is nobody's concern here.
//!
//! The first container has the pod's network and IPC namespaces, the others join it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    manifest::{Manifests, Pod, Source},
    reader::Reader,
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
}

/// What a volume of a pod is on this machine.
enum Volume {
    Named(String),
    Host(String),
    Memory(String),
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
    let grace = spec.number("terminationGracePeriodSeconds")?.unwrap_or(30);
    let aliases = spec.each("hostAliases", |mut alias| {
        let ip = alias.needed("ip")?;
        let names = alias.texts("hostnames")?;
        alias.finish()?;
        Ok(names.into_iter().map(|name| format!("{name}:{ip}")).collect::<Vec<_>>())
    })?;
    let mut own = Vec::new();
    let volumes: BTreeMap<String, Volume> = spec
        .each("volumes", |volume| one_volume(volume, &pod.name, &mut own))?
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
    let digest = Sha256::digest(text.as_bytes());
    let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let mut containers = containers;
    for one in init.iter_mut().chain(&mut containers) {
        one.body["Labels"][HASH] = json!(hash);
    }
    let (name, owner) = (pod.name.clone(), pod.owner.clone());
    Ok(PodPlan { name, owner, hash, init, containers, volumes: own })
}

fn one_volume(
    mut volume: Reader<'_>,
    pod: &str,
    own: &mut Vec<String>,
) -> Result<(String, Volume), String> {
    let name = volume.needed("name")?;
    let claim = volume.take("persistentVolumeClaim");
    let host = volume.take("hostPath");
    let empty = volume.take("emptyDir");
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let is = if let Some(claim) = text(&claim, "claimName") {
        Volume::Named(claim)
    } else if let Some(path) = text(&host, "path") {
        Volume::Host(path)
    } else if !empty.is_null() && text(&empty, "medium").as_deref() == Some("Memory") {
        Volume::Memory(text(&empty, "sizeLimit").unwrap_or_default())
    } else if !empty.is_null() {
        let named = format!("{pod}-{name}");
        own.push(named.clone());
        Volume::Named(named)
    } else {
        return Err(format!(
            "{}: emptyDir, hostPath and persistentVolumeClaim are supported",
            volume.path()
        ));
    };
    volume.finish()?;
    Ok((name, is))
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
        let command = list(reader.texts("command")?);
        let args = list(reader.texts("args")?);
        let directory = reader.text("workingDir")?;
        let (stdin, tty) = (reader.flag("stdin")?.unwrap_or(false), reader.flag("tty")?);
        let mut env = self.env_from(&mut reader)?;
        self.env(&mut reader, &mut env)?;
        let (exposed, bindings) = ports(&mut reader)?;
        let (binds, tmpfs) = self.mounts(&mut reader)?;
        let mut host = json!({
            "Binds": binds,
            "Tmpfs": tmpfs,
            "RestartPolicy": { "Name": if is_init { "no" } else { self.restart } },
            "ExtraHosts": if joins.is_none() { self.hosts.clone() } else { Vec::new() },
            "PidMode": if self.host_pid { "host" } else { "" },
        });
        limits(&mut reader, &mut host)?;
        let user = security(&mut reader, &mut host)?;
        let health = health(&mut reader)?;
        for probe in ["readinessProbe", "startupProbe"] {
            reader.notice(probe, "is not asked: nobody here waits for it");
        }
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
                host["PortBindings"] = bindings;
            }
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
            body["Labels"]["ferry.health-on-failure"] = json!("restart");
        }
        let name = format!("{}-{own}", self.pod.name);
        Ok(ContainerPlan { name, image, pull, body })
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
        let selected = |selector: &[(String, String)]| {
            !selector.is_empty() && selector.iter().all(|pair| self.pod.labels.contains(pair))
        };
        let services = self.manifests.services.iter();
        let names =
            services.filter(|(_, selector)| selected(selector)).map(|(name, _)| name.clone());
        [self.pod.name.clone()].into_iter().chain(names).collect()
    }

    fn value(&self, source: Source, name: &str, key: &str) -> Result<&str, String> {
        let map = self.manifests.values.get(&(source, name.to_owned()));
        let map = map.ok_or_else(|| format!("{source:?} \"{name}\" is not in the manifests"))?;
        let value = map.get(key).map(String::as_str);
        value.ok_or_else(|| format!("{source:?} \"{name}\" has no key \"{key}\""))
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
                    Some(map) => lines
                        .extend(map.iter().map(|(key, value)| format!("{prefix}{key}={value}"))),
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

    fn mounts(&self, reader: &mut Reader<'_>) -> Result<(Vec<String>, Value), String> {
        let mut tmpfs = json!({});
        let binds = reader.each("volumeMounts", |mut mount| {
            let name = mount.needed("name")?;
            let path = mount.needed("mountPath")?;
            let mode = if mount.flag("readOnly")?.unwrap_or(false) { ":ro" } else { "" };
            let volume = self.volumes.get(&name);
            let volume =
                volume.ok_or_else(|| format!("{}: there is no volume \"{name}\"", mount.path()))?;
            mount.finish()?;
            Ok(match volume {
                Volume::Named(volume) => Some(format!("{volume}:{path}{mode}")),
                Volume::Host(source) => Some(format!("{source}:{path}{mode}")),
                Volume::Memory(size) => {
                    let size =
                        quantity(size).map_or_else(String::new, |size| format!("size={size}"));
                    tmpfs[path] = json!(size);
                    None
                }
            })
        })?;
        Ok((binds.into_iter().flatten().collect(), tmpfs))
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

/// A liveness probe that runs a program is a health check.
fn health(reader: &mut Reader<'_>) -> Result<Option<Value>, String> {
    let mut probe = reader.inside("livenessProbe")?;
    let command = probe.inside("exec")?.texts("command")?;
    let mut seconds = |key: &str, default: i64| {
        Ok::<i64, String>(probe.number(key)?.unwrap_or(default).saturating_mul(1_000_000_000))
    };
    let (period, timeout) = (seconds("periodSeconds", 10)?, seconds("timeoutSeconds", 1)?);
    let delay = seconds("initialDelaySeconds", 0)?;
    let retries = probe.number("failureThreshold")?.unwrap_or(3);
    probe.take("successThreshold");
    for other in ["httpGet", "tcpSocket", "grpc"] {
        probe.notice(other, "is not asked: only programs in the container are");
    }
    probe.finish()?;
    if command.is_empty() {
        return Ok(None);
    }
    let test: Vec<String> = ["CMD".to_owned()].into_iter().chain(command).collect();
    Ok(Some(json!({
        "Test": test,
        "Interval": period,
        "Timeout": timeout,
        "StartPeriod": delay,
        "Retries": retries,
    })))
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

fn quantity(text: &str) -> Option<i64> {
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
