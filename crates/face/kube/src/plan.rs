//! A pod to bodies of container create. Pure: what runs already is nobody's concern here.
//!
//! The first container that stays has the pod's network and IPC namespaces, and the ports of all; the others join it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    manifest::{Manifests, Pod, Source},
    ports::{self, Ports},
    probes,
    reader::Reader,
    settings::{around, limits, security},
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
    /// In this order: each to its end, but sidecars.
    pub(crate) init: Vec<ContainerPlan>,
    pub(crate) containers: Vec<ContainerPlan>,
    /// Volumes that go with the pod.
    pub(crate) volumes: Vec<String>,
}

/// A container.
#[derive(Debug)]
pub(crate) struct ContainerPlan {
    pub(crate) name: String,
    /// It runs to its end before the next one starts.
    pub(crate) ends: bool,
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
    let mut first: Option<String> = None;
    let mut ports = Ports::default();
    let mut each = |reader: Reader<'_>, is_init: bool| {
        let (plan, own) = common.container(reader, is_init, first.as_deref())?;
        if !plan.ends {
            ports.add(own);
            first.get_or_insert_with(|| plan.name.clone());
        }
        Ok(plan)
    };
    let mut init = spec.each("initContainers", |reader| each(reader, true))?;
    let mut containers = spec.each("containers", |reader| each(reader, false))?;
    if containers.is_empty() {
        return Err(format!("{}.containers is required", spec.path()));
    }
    spec.finish()?;
    if !on_host && let Some(one) = init.iter_mut().chain(&mut containers).find(|one| !one.ends) {
        common.publish(ports, &mut one.body);
    }
    let text: String =
        init.iter().chain(&containers).map(|one| format!("{}={}\n", one.name, one.body)).collect();
    let files: Vec<&PutFile> = init.iter().chain(&containers).flat_map(|one| &one.files).collect();
    // What there was before files could be has the hash that it had.
    let text = if files.is_empty() { text } else { format!("{text}{files:?}") };
    let digest = Sha256::digest(text.as_bytes());
    let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
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
    /// One container, and the ports that it has; `joins` is the one that has the pod's network.
    fn container(
        &self,
        mut reader: Reader<'_>,
        is_init: bool,
        joins: Option<&str>,
    ) -> Result<(ContainerPlan, Ports), String> {
        let own = reader.needed("name")?;
        let ends = is_init && !self.is_sidecar(&mut reader)?;
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
        let ports = ports::read(&mut reader)?;
        let mounted = volumes::mounts(&mut reader, self.volumes)?;
        let mut host = json!({
            "Binds": mounted.binds,
            "Mounts": mounted.mounts,
            "Tmpfs": mounted.tmpfs,
            "RestartPolicy": { "Name": if ends { "no" } else if is_init { "always" } else { self.restart } },
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
        Ok((ContainerPlan { name, ends, image, pull, body, files: mounted.files }, ports))
    }

    /// An init container that stays, and is started again when it ends.
    fn is_sidecar(&self, reader: &mut Reader<'_>) -> Result<bool, String> {
        match reader.text("restartPolicy")?.as_str() {
            "" => Ok(false),
            "Always" if !self.pod.is_job => Ok(true),
            "Always" => Err(format!(
                "{}.restartPolicy: nobody here ends the sidecar of a job when that has ended",
                reader.path()
            )),
            other => Err(format!("{}.restartPolicy: \"{other}\" cannot be", reader.path())),
        }
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

    /// Gives the container that has the pod's network the ports of all, and those of load balancers that lead here: such a port is
    /// one pod's, the first that is selected.
    fn publish(&self, ports: Ports, body: &mut Value) {
        let Ports { exposed, mut bindings } = ports;
        for service in self.manifests.services.iter().filter(|service| service.selects(self.pod)) {
            let mut pods = self.manifests.pods.iter();
            if pods.find(|pod| service.selects(pod)).is_none_or(|pod| pod.name != self.pod.name) {
                continue;
            }
            for (port, target, protocol) in &service.published {
                let bound = bindings.entry(format!("{target}/{protocol}")).or_default();
                bound.push(json!({ "HostIp": "", "HostPort": port.to_string() }));
            }
        }
        body["ExposedPorts"] = exposed.into_iter().map(|port| (port, json!({}))).collect();
        body["HostConfig"]["PortBindings"] = json!(bindings);
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
