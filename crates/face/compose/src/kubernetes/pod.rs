//! A service's container, and the pod around it.

use ferry_cli::face::CliError;
use serde_json::{Map, Value, json};

use super::{Converter, mounts::Volumes, network::inside, object_name};
use crate::{
    load::nanoseconds,
    model::{Healthcheck, Hook, Limits, Service},
};

/// Puts what is there; nothing for nothing.
fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    let empty = match &value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    if !empty {
        map.insert(key.to_owned(), value);
    }
}

/// A dollar sign means something to Kubernetes.
fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

fn words(list: Option<&Vec<String>>) -> Value {
    list.map_or(Value::Null, |list| list.iter().map(|word| json!(escaped(word))).collect())
}

/// Whole seconds, at least one.
fn seconds(text: Option<&String>, default: i64) -> i64 {
    let nanos = text.and_then(|text| nanoseconds(text)).filter(|nanos| *nanos > 0);
    nanos.map_or(default, |nanos| (nanos + 999_999_999) / 1_000_000_000)
}

impl Converter<'_> {
    /// What every pod of a service is like.
    pub(super) fn template(&mut self, service: &Service, ends: bool) -> Result<Value, CliError> {
        self.unsaid(service);
        let volumes = self.mounted(service)?;
        let mut spec = Map::new();
        put(&mut spec, "hostname", json!(service.hostname));
        put(&mut spec, "hostNetwork", json!(service.network_mode == "host"));
        put(&mut spec, "hostPID", json!(service.pid == "host"));
        put(&mut spec, "hostIPC", json!(service.ipc == "host"));
        put(&mut spec, "hostAliases", aliases(service));
        put(&mut spec, "dnsConfig", dns(service));
        put(&mut spec, "nodeSelector", nodes(&service.platform));
        put(&mut spec, "securityContext", around(service));
        if ends {
            let retries = matches!(service.restart.as_str(), "always" | "unless-stopped")
                || service.restart.starts_with("on-failure");
            spec.insert(
                "restartPolicy".to_owned(),
                json!(if retries { "OnFailure" } else { "Never" }),
            );
        }
        if service.stop_grace_period.is_some() {
            let grace = seconds(service.stop_grace_period.as_ref(), 0);
            spec.insert("terminationGracePeriodSeconds".to_owned(), json!(grace));
        }
        put(&mut spec, "volumes", json!(volumes.volumes));
        let before: Result<Vec<Value>, CliError> = (0..service.pre_start.len())
            .map(|number| self.container(&service.before(number), &volumes))
            .collect();
        put(&mut spec, "initContainers", json!(before?));
        if !service.pre_start.is_empty() && service.replicas() > 1 {
            self.notice(format!("services.{}.pre_start runs in each of its pods", service.name));
        }
        spec.insert("containers".to_owned(), json!([self.container(service, &volumes)?]));
        let mut metadata = json!({ "labels": self.labels(Some(service)) });
        let mut annotations = service.labels.clone();
        for (key, value) in &service.annotations {
            annotations.insert(key.clone(), value.clone().unwrap_or_default());
        }
        if !annotations.is_empty() {
            metadata["annotations"] = json!(annotations);
        }
        Ok(json!({ "metadata": metadata, "spec": spec }))
    }

    fn container(&mut self, service: &Service, volumes: &Volumes) -> Result<Value, CliError> {
        let mut out = Map::new();
        let name =
            if service.container_name.is_empty() { &service.name } else { &service.container_name };
        put(&mut out, "name", json!(object_name(name)));
        put(&mut out, "image", json!(self.project.image_of(service)));
        put(
            &mut out,
            "imagePullPolicy",
            json!(match service.pull_policy.as_str() {
                "always" => "Always",
                "never" => "Never",
                "missing" | "if_not_present" | "build" => "IfNotPresent",
                _ => "",
            }),
        );
        put(&mut out, "command", words(service.entrypoint.as_ref()));
        put(&mut out, "args", words(service.command.as_ref()));
        put(&mut out, "workingDir", json!(service.working_dir));
        let mut env = Vec::new();
        for (name, value) in &service.environment {
            // Without a value it is the image's.
            let Some(value) = value else { continue };
            env.push(json!({ "name": name, "value": escaped(value) }));
        }
        put(&mut out, "env", json!(env));
        let ports: Vec<Value> = inside(service)
            .into_keys()
            .map(|(port, protocol)| json!({ "containerPort": port, "protocol": protocol }))
            .collect();
        put(&mut out, "ports", json!(ports));
        put(&mut out, "resources", resources(service));
        put(&mut out, "securityContext", self.security(service));
        self.probes(service, &mut out);
        put(&mut out, "lifecycle", lifecycle(service)?);
        put(&mut out, "stdin", json!(service.stdin_open));
        put(&mut out, "tty", json!(service.tty));
        put(&mut out, "volumeMounts", json!(volumes.mounts));
        Ok(Value::Object(out))
    }

    /// A health check says when a service can be used: readiness. Where a service is started again when it ends, it is
    /// started again when it is not well, too: liveness.
    fn probes(&mut self, service: &Service, out: &mut Map<String, Value>) {
        let Some(check) = &service.healthcheck else { return };
        let Some(command) = command(check) else { return };
        let period = seconds(check.interval.as_ref(), 30);
        let retries = check.retries.filter(|count| *count > 0).unwrap_or(3);
        let probe = json!({
            "exec": { "command": command },
            "periodSeconds": period,
            "timeoutSeconds": seconds(check.timeout.as_ref(), 30),
            "failureThreshold": retries,
        });
        let start = seconds(check.start_period.as_ref(), 0);
        if start > 0 {
            let every = seconds(check.start_interval.as_ref(), 5);
            let mut first = probe.clone();
            first["periodSeconds"] = json!(every);
            first["failureThreshold"] = json!((start + every - 1) / every + retries);
            put(out, "startupProbe", first);
        }
        if !matches!(service.restart.as_str(), "" | "no") {
            put(out, "livenessProbe", probe.clone());
        }
        put(out, "readinessProbe", probe);
    }

    fn security(&mut self, service: &Service) -> Value {
        let mut context = Map::new();
        put(&mut context, "privileged", json!(service.privileged));
        put(&mut context, "readOnlyRootFilesystem", json!(service.read_only));
        let mut capabilities = Map::new();
        for (key, names) in [("add", &service.cap_add), ("drop", &service.cap_drop)] {
            let bare: Vec<&str> =
                names.iter().map(|name| name.trim_start_matches("CAP_")).collect();
            put(&mut capabilities, key, json!(bare));
        }
        put(&mut context, "capabilities", Value::Object(capabilities));
        let (user, group) = service.user.split_once(':').unwrap_or((&service.user, ""));
        for (key, text) in [("runAsUser", user), ("runAsGroup", group)] {
            match text.parse::<u32>() {
                Ok(id) => put(&mut context, key, json!(id)),
                Err(_) if text.is_empty() => {}
                Err(_) => self.notice(format!(
                    "services.{}.user: {text} is a name, and a cluster takes numbers only",
                    service.name
                )),
            }
        }
        for option in &service.security_opt {
            match option.replace('=', ":").as_str() {
                "no-new-privileges" | "no-new-privileges:true" => {
                    context.insert("allowPrivilegeEscalation".to_owned(), json!(false));
                }
                "seccomp:unconfined" => {
                    put(&mut context, "seccompProfile", json!({ "type": "Unconfined" }));
                }
                _ => self.notice(format!(
                    "services.{}.security_opt: {option} is not converted",
                    service.name
                )),
            }
        }
        Value::Object(context)
    }

    /// Tells what the objects do not say.
    fn unsaid(&mut self, service: &Service) {
        let waits = service.depends_on.values().any(|how| how.condition != "service_started");
        let pids = service.pids_limit.is_some_and(|limit| limit > 0)
            || service.limits().is_some_and(|limits| limits.pids.is_some_and(|pids| pids > 0));
        let unsaid = [
            ("build", service.build.is_some(), "the image must be where the cluster finds it"),
            ("depends_on", waits, "a cluster starts everything at once"),
            ("restart", service.restart == "no", "a cluster starts again what has ended"),
            ("links", !service.links.is_empty(), "services are known by their own names"),
            ("logging", service.logging.is_some(), "is the cluster's concern"),
            ("ulimits", !service.ulimits.is_empty(), "is the nodes' concern"),
            ("pids_limit", pids, "is the nodes' concern"),
            ("stop_signal", !service.stop_signal.is_empty(), "is the image's in a cluster"),
            ("blkio_config", service.blkio_config.is_some(), "has no counterpart"),
            ("cpuset", !service.cpuset.is_empty(), "has no counterpart"),
            ("mac_address", !service.mac_address.is_empty(), "has no counterpart"),
            ("oom_score_adj", service.oom_score_adj != 0, "is the cluster's concern"),
            ("cgroup_parent", !service.cgroup_parent.is_empty(), "is the nodes' concern"),
            ("userns_mode", !service.userns_mode.is_empty(), "is the nodes' concern"),
            ("runtime", !service.runtime.is_empty(), "wants a RuntimeClass"),
            ("domainname", !service.domainname.is_empty(), "is the cluster's"),
            (
                "networks",
                service.networks.values().flatten().any(|one| !one.ipv4_address.is_empty()),
                "addresses are the cluster's",
            ),
        ];
        for (key, used, why) in unsaid {
            if used {
                self.notice(format!("services.{}.{key}: {why}", service.name));
            }
        }
    }
}

/// What a health check runs.
fn command(check: &Healthcheck) -> Option<Vec<&str>> {
    if check.disable {
        return None;
    }
    let words: Vec<&str> = check.test.iter().map(String::as_str).collect();
    match words.split_first() {
        Some((&"CMD", rest)) => Some(rest.to_vec()),
        Some((&"CMD-SHELL", rest)) => Some(["/bin/sh", "-c"].iter().chain(rest).copied().collect()),
        _ => None,
    }
}

fn amounts(cpus: f64, memory: i64) -> Map<String, Value> {
    let mut out = Map::new();
    if cpus > 0.0 {
        // Thousandths, which is as fine as Kubernetes counts.
        out.insert("cpu".to_owned(), json!(format!("{:.0}m", (cpus * 1000.0).max(1.0))));
    }
    if memory > 0 {
        out.insert("memory".to_owned(), json!(memory.to_string()));
    }
    out
}

fn resources(service: &Service) -> Value {
    let one =
        |limits: Option<&Limits>| limits.map_or((0.0, 0), |limits| (limits.cpus, limits.memory.0));
    let (cpus, memory) = one(service.limits());
    let cpus = if cpus > 0.0 { cpus } else { service.cpus };
    let memory = if memory > 0 { memory } else { service.mem_limit.0 };
    let mut limits = amounts(cpus, memory);
    let (cpus, memory) = one(service.reservations());
    let memory = if memory > 0 { memory } else { service.mem_reservation.0 };
    let requests = amounts(cpus, memory);
    let reserved = service.reservations().into_iter().flat_map(|limits| &limits.devices);
    for request in service.gpus.iter().chain(reserved) {
        let driver = if request.driver.is_empty() { "nvidia" } else { &request.driver };
        let count = request.count.filter(|count| *count > 0).unwrap_or(1);
        limits.insert(format!("{driver}.com/gpu"), json!(count));
    }
    let mut out = Map::new();
    put(&mut out, "limits", Value::Object(limits));
    put(&mut out, "requests", Value::Object(requests));
    Value::Object(out)
}

/// Hooks run as the container's own user in a cluster, one of each kind.
fn lifecycle(service: &Service) -> Result<Value, CliError> {
    let mut out = Map::new();
    for (key, ours, hooks) in [
        ("postStart", "post_start", &service.post_start),
        ("preStop", "pre_stop", &service.pre_stop),
    ] {
        let Some(hook) = hooks.first() else { continue };
        let plain = |hook: &Hook| {
            !hook.privileged
                && hook.user.is_empty()
                && hook.working_dir.is_empty()
                && hook.environment.is_empty()
        };
        if hooks.len() > 1 || !plain(hook) {
            return Err(CliError::new(format!(
                "services.{}.{ours} cannot be converted: a pod has one command, as the container's user",
                service.name
            )));
        }
        out.insert(key.to_owned(), json!({ "exec": { "command": hook.command } }));
    }
    Ok(Value::Object(out))
}

fn aliases(service: &Service) -> Value {
    let mut list: Vec<(String, Vec<String>)> = Vec::new();
    for line in &service.extra_hosts {
        let Some((name, ip)) = line.split_once(['=', ':']) else { continue };
        match list.iter_mut().find(|(other, _)| other == ip) {
            Some((_, names)) => names.push(name.to_owned()),
            None => list.push((ip.to_owned(), vec![name.to_owned()])),
        }
    }
    list.into_iter().map(|(ip, names)| json!({ "ip": ip, "hostnames": names })).collect()
}

fn dns(service: &Service) -> Value {
    let mut out = Map::new();
    put(&mut out, "nameservers", json!(service.dns));
    put(&mut out, "searches", json!(service.dns_search));
    let options = service.dns_opt.iter().map(|option| match option.split_once(':') {
        Some((name, value)) => json!({ "name": name, "value": value }),
        None => json!({ "name": option }),
    });
    put(&mut out, "options", options.collect());
    Value::Object(out)
}

/// Nodes of a platform.
fn nodes(platform: &str) -> Value {
    let mut parts = platform.split('/').filter(|part| !part.is_empty());
    let mut out = Map::new();
    for key in ["kubernetes.io/os", "kubernetes.io/arch"] {
        put(&mut out, key, json!(parts.next()));
    }
    Value::Object(out)
}

/// What all containers of a pod have.
fn around(service: &Service) -> Value {
    let mut context = Map::new();
    let sysctls: Vec<Value> = service
        .sysctls
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value.clone().unwrap_or_default() }))
        .collect();
    put(&mut context, "sysctls", json!(sysctls));
    let groups: Vec<u32> = service.group_add.iter().filter_map(|id| id.parse().ok()).collect();
    put(&mut context, "supplementalGroups", json!(groups));
    Value::Object(context)
}
