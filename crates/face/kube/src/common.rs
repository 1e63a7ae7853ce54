//! A pod's own settings, and its containers by them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    env::{Values, expanded},
    mounts::{self, Mounted},
    plan::{CONTAINER, ContainerPlan},
    ports::{self, Ports},
    probes::{self, Watch},
    reader::Reader,
    service::Service,
    settings::{Around, around, limits},
    volumes::Volume,
};

/// What all containers of a pod have in common.
pub(crate) struct Common<'p> {
    pub(crate) values: Values<'p>,
    volumes: &'p BTreeMap<String, Volume>,
    pub(crate) hostname: String,
    /// The headless service that names it.
    subdomain: String,
    restart: &'static str,
    grace: i64,
    pub(crate) on_host: bool,
    host_pid: bool,
    pub(crate) host_ipc: bool,
    pub(crate) shares_pids: bool,
    /// Its root is nobody on the machine.
    pub(crate) own_users: bool,
    pub(crate) around: Around,
    pub(crate) hosts: Vec<String>,
}

pub(crate) fn common<'p>(
    values: Values<'p>,
    spec: &mut Reader<'_>,
    volumes: &'p BTreeMap<String, Volume>,
) -> Result<Common<'p>, String> {
    let hostname = spec.text("hostname")?;
    let hostname = if hostname.is_empty() { values.pod.name.clone() } else { hostname };
    let restart = match (spec.text("restartPolicy")?.as_str(), values.pod.is_job) {
        ("", false) | ("Always", false) => "always",
        ("OnFailure", _) => "on-failure",
        ("Never", _) => "no",
        (other, _) => return Err(format!("{}.restartPolicy: \"{other}\" cannot be", spec.path())),
    };
    let subdomain = match spec.text("subdomain")? {
        text if text.is_empty() => values.pod.subdomain.clone(),
        text => text,
    };
    spec.notice("setHostnameAsFQDN", "has no meaning on one machine");
    spec.notice("os", "has no meaning on one machine");
    spec.notice("overhead", "has no meaning on one machine");
    spec.notice("activeDeadlineSeconds", "is kept for jobs only, where they say it themselves");
    let aliases = spec.each("hostAliases", |mut alias| {
        let ip = alias.needed("ip")?;
        let names = alias.texts("hostnames")?;
        alias.finish()?;
        Ok(names.into_iter().map(|name| format!("{name}:{ip}")).collect::<Vec<_>>())
    })?;
    let own_users = spec.flag("hostUsers")? == Some(false);
    let mut host = |key: &str| match spec.flag(key)? {
        Some(true) if own_users => {
            Err(format!("{}.{key} cannot be with hostUsers: false", spec.path()))
        }
        flag => Ok(flag.unwrap_or(false)),
    };
    let (on_host, host_pid, host_ipc) = (host("hostNetwork")?, host("hostPID")?, host("hostIPC")?);
    Ok(Common {
        values,
        volumes,
        hostname,
        subdomain,
        restart,
        grace: spec.number("terminationGracePeriodSeconds")?.unwrap_or(30).max(0),
        on_host,
        host_pid,
        host_ipc,
        own_users,
        shares_pids: spec.flag("shareProcessNamespace")?.unwrap_or(false),
        around: around(spec)?,
        hosts: aliases.concat(),
    })
}

/// A container with what its pod wants to know of it.
pub(crate) struct Made {
    pub(crate) plan: ContainerPlan,
    pub(crate) ports: Ports,
    pub(crate) watch: Option<Watch>,
}

impl Common<'_> {
    pub(crate) fn container(&self, mut reader: Reader<'_>, is_init: bool) -> Result<Made, String> {
        let own = reader.needed("name")?;
        let ends = is_init && !self.is_sidecar(&mut reader)?;
        let image = reader.needed("image")?;
        let environment = self.values.read(&mut reader, &own)?;
        let words = |list: Vec<String>| match list.is_empty() {
            true => Value::Null,
            false => list.iter().map(|word| json!(expanded(word, &environment))).collect(),
        };
        let (command, args) = (words(reader.texts("command")?), words(reader.texts("args")?));
        let ports = ports::read(&mut reader)?;
        let mounted = mounts::mounts(&mut reader, self.volumes, &environment)?;
        let mut host = self.host(is_init, ends, mounted);
        limits(&mut reader, &mut host)?;
        let (user, non_root) = self.around.security.container(&mut reader, &mut host)?;
        if self.own_users && host["Privileged"] == json!(true) {
            let why = "a privileged container cannot have ids of its own (hostUsers: false)";
            return Err(format!("{}: {why}", reader.path()));
        }
        let watch = probes::read(&mut reader, &ports.names)?;
        if ends && watch.is_some() {
            let why =
                "an init container has no probes and no lifecycle unless it is always restarted";
            return Err(format!("{}: {why}", reader.path()));
        }
        let pull = reader.text("imagePullPolicy")?;
        if !matches!(pull.as_str(), "" | "Always" | "IfNotPresent" | "Never") {
            return Err(format!("{}.imagePullPolicy: \"{pull}\" cannot be", reader.path()));
        }
        let body = json!({
            "Image": image,
            "Entrypoint": command,
            "Cmd": args,
            "WorkingDir": reader.text("workingDir")?,
            "Env": environment,
            "OpenStdin": reader.flag("stdin")?.unwrap_or(false),
            "StdinOnce": reader.flag("stdinOnce")?.unwrap_or(false),
            "Tty": reader.flag("tty")?.unwrap_or(false),
            "User": user,
            "StopTimeout": self.grace,
            "Labels": self.labels(&own),
            "HostConfig": host,
        });
        reader.finish()?;
        let name = format!("{}-{own}", self.values.pod.name);
        let watch = watch.map(|watch| Watch {
            container: name.clone(),
            restarts: is_init || self.starts_again(),
            grace: u64::try_from(self.grace).unwrap_or(30),
            ..watch
        });
        let mut plan =
            ContainerPlan { name, ends, image, pull, body, non_root, ..ContainerPlan::default() };
        plan.starts_up = watch.as_ref().is_some_and(|watch| watch.startup.is_some());
        Ok(Made { plan, ports, watch })
    }

    /// Whether containers that end are started again.
    pub(crate) fn starts_again(&self) -> bool {
        self.restart != "no"
    }

    /// What a container has of its pod's `HostConfig`.
    fn host(&self, is_init: bool, ends: bool, mounted: Mounted) -> Value {
        let mut host = json!({
            "Binds": mounted.binds,
            "Mounts": mounted.mounts,
            "RestartPolicy": self.policy(is_init, ends),
            "PidMode": if self.host_pid { "host" } else { "" },
        });
        for (key, value) in &self.around.host {
            host[*key] = value.clone();
        }
        host
    }

    fn policy(&self, is_init: bool, ends: bool) -> Value {
        match (is_init, self.restart, self.values.pod.restarts) {
            (true, ..) => json!({ "Name": if ends { "no" } else { "always" } }),
            (false, "on-failure", Some(count)) => {
                json!({ "Name": if count > 0 { "on-failure" } else { "no" }, "MaximumRetryCount": count })
            }
            (false, name, _) => json!({ "Name": name }),
        }
    }

    /// An init container that stays, and is started again when it ends.
    fn is_sidecar(&self, reader: &mut Reader<'_>) -> Result<bool, String> {
        match reader.text("restartPolicy")?.as_str() {
            "" => Ok(false),
            "Always" => Ok(true),
            other => Err(format!("{}.restartPolicy: \"{other}\" cannot be", reader.path())),
        }
    }

    fn labels(&self, container: &str) -> Value {
        let mut labels = json!({ CONTAINER: container });
        for (key, value) in &self.values.pod.labels {
            labels[key] = json!(value);
        }
        labels
    }

    /// What the pod is always called: its name, and those of services that do not ask whether it is ready.
    pub(crate) fn names(&self) -> Vec<String> {
        let pod = self.values.pod;
        let mut names = vec![pod.name.clone()];
        if let Some(domain) = self.domain() {
            names.push(format!("{}.{}", self.hostname, self.subdomain));
            names.push(format!("{}.{}.{}", self.hostname, self.subdomain, pod.namespace));
            names.push(format!("{}.{domain}", self.hostname));
        }
        names.extend(self.names_for(false));
        names
    }

    /// The domain of a pod that is named by a headless service.
    pub(crate) fn domain(&self) -> Option<String> {
        let Common { subdomain, values, .. } = self;
        let domain = format!("{subdomain}.{}.svc.cluster.local", values.pod.namespace);
        (!subdomain.is_empty()).then_some(domain)
    }

    /// What it is called as long as it is ready.
    pub(crate) fn names_when_ready(&self) -> Vec<String> {
        self.names_for(true)
    }

    /// Names of services that lead to others: to a front or to other pods, and all of them as long as the pod is only prepared.
    pub(crate) fn names_of_others(&self, prepares: bool) -> BTreeSet<String> {
        let Values { pod, manifests } = self.values;
        let leads_here = |one: &&Service| one.selects(pod) && !one.has_front(manifests);
        let others = manifests.services.iter().filter(|one| prepares || !leads_here(one));
        others.flat_map(Service::names).collect()
    }

    /// Names that services give it: those of their fronts for it, or where there is none their own.
    fn names_for(&self, ready: bool) -> Vec<String> {
        let Values { pod, manifests } = self.values;
        let services = manifests.services.iter();
        let services = services.filter(|one| one.selects(pod) && one.wants_ready(pod) == ready);
        let mut names = Vec::new();
        for service in services {
            let more = match service.has_front(manifests) {
                true => vec![service.name_of(pod)],
                false => service.names(),
            };
            names.extend(more.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
        }
        names
    }

    /// Gives the container that has the pod's network the ports of all, and those of services that lead here alone.
    pub(crate) fn publish(&self, ports: Ports, body: &mut Value) {
        let Ports { exposed, mut bindings, .. } = ports;
        let Values { pod, manifests } = self.values;
        for service in manifests.services.iter() {
            if !service.selects(pod) || service.has_front(manifests) {
                continue;
            }
            for (target, protocol, binding) in service.published() {
                bindings.entry(format!("{target}/{protocol}")).or_default().push(binding);
            }
        }
        body["ExposedPorts"] = exposed.into_iter().map(|port| (port, json!({}))).collect();
        body["HostConfig"]["PortBindings"] = json!(bindings);
    }
}
