//! Containers as a pod, and services for their published ports.

use serde_json::{Map, Value, json};

use crate::{plan::CONTAINER, source::SERVICE};

/// A pod with these containers, as `inspect` shows them.
pub(crate) fn pod(name: &str, containers: &[Value]) -> Value {
    let mut volumes = Vec::new();
    let list: Vec<Value> = containers.iter().map(|one| container(one, &mut volumes)).collect();
    let mut spec = json!({ "containers": list });
    if !volumes.is_empty() {
        spec["volumes"] = json!(volumes);
    }
    let policy = containers
        .first()
        .and_then(|one| one.pointer("/HostConfig/RestartPolicy/Name").and_then(Value::as_str));
    spec["restartPolicy"] = json!(match policy {
        Some("always" | "unless-stopped") => "Always",
        Some("on-failure") => "OnFailure",
        _ => "Never",
    });
    if containers.iter().any(|one| text(one, "/HostConfig/NetworkMode") == "host") {
        spec["hostNetwork"] = json!(true);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": spec,
    })
}

/// Claims for the named volumes of these containers.
pub(crate) fn claims(pod: &Value) -> Vec<Value> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    let names = volumes.into_iter().flatten().filter_map(|volume| {
        volume.pointer("/persistentVolumeClaim/claimName").and_then(Value::as_str)
    });
    names
        .map(|name| {
            json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": { "name": name },
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": { "requests": { "storage": "1Gi" } },
                },
            })
        })
        .collect()
}

/// A service for the ports of a pod; `None` when it has none.
pub(crate) fn service(name: &str, pod: &Value) -> Option<Value> {
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    let ports: Vec<Value> = containers
        .iter()
        .flat_map(|one| one["ports"].as_array().cloned().unwrap_or_default())
        .map(|port| {
            let number = &port["containerPort"];
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            json!({
                "name": format!("p{number}-{}", protocol.to_ascii_lowercase()),
                "port": number,
                "targetPort": number,
                "protocol": protocol,
            })
        })
        .collect();
    (!ports.is_empty()).then(|| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": { "selector": { "app": name }, "ports": ports },
        })
    })
}

/// A pod as the template of a deployment.
pub(crate) fn deployment(name: &str, mut pod: Value, replicas: usize) -> Value {
    let metadata = pod["metadata"].take();
    let mut spec = pod["spec"].take();
    // The only policy that a deployment has.
    spec["restartPolicy"] = json!("Always");
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": spec },
        },
    })
}

/// A name that Kubernetes takes.
pub(crate) fn object_name(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let name: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    name.trim_matches('-').to_owned()
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What a container is called in its pod: as the pod or the project that it is of has it.
fn name(one: &Value) -> String {
    let labels = one.pointer("/Config/Labels");
    let known = [CONTAINER, SERVICE].into_iter();
    let named = known.filter_map(|key| labels?.get(key)?.as_str()).next();
    object_name(named.unwrap_or_else(|| text(one, "/Name").trim_start_matches('/')))
}

fn container(one: &Value, volumes: &mut Vec<Value>) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Bool(value) => !value,
            Value::Number(_) => false,
        };
        if !empty {
            out.insert(key.to_owned(), value);
        }
    };
    put("name", json!(name(one)));
    put("image", json!(text(one, "/Config/Image")));
    put("command", words(one.pointer("/Config/Entrypoint")));
    put("args", words(one.pointer("/Config/Cmd")));
    put("workingDir", json!(text(one, "/Config/WorkingDir")));
    put("env", environment(one));
    put("ports", ports(one));
    put("resources", resources(one));
    put("securityContext", security(one));
    put("livenessProbe", probe(one));
    put("stdin", one.pointer("/Config/OpenStdin").cloned().unwrap_or_default());
    put("tty", one.pointer("/Config/Tty").cloned().unwrap_or_default());
    put("volumeMounts", mounts(one, volumes));
    Value::Object(out)
}

/// A command line; a dollar sign means something to Kubernetes.
fn words(list: Option<&Value>) -> Value {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(|word| word.replace('$', "$$")).collect()
}

fn environment(one: &Value) -> Value {
    let lines = one.pointer("/Config/Env").and_then(Value::as_array);
    let pairs = lines.into_iter().flatten().filter_map(Value::as_str);
    let pairs = pairs.filter_map(|line| line.split_once('='));
    // A dollar sign means something to Kubernetes.
    pairs.map(|(name, value)| json!({ "name": name, "value": value.replace('$', "$$") })).collect()
}

fn ports(one: &Value) -> Value {
    let bindings = one.pointer("/HostConfig/PortBindings").and_then(Value::as_object);
    let mut ports = Vec::new();
    for (key, hosts) in bindings.into_iter().flatten() {
        let (port, protocol) = key.split_once('/').unwrap_or((key, "tcp"));
        let Ok(port) = port.parse::<u16>() else { continue };
        let host = text(hosts, "/0/HostPort").parse::<u16>().ok().filter(|port| *port > 0);
        let mut entry = json!({ "containerPort": port, "protocol": protocol.to_ascii_uppercase() });
        if let Some(host) = host {
            entry["hostPort"] = json!(host);
        }
        ports.push(entry);
    }
    json!(ports)
}

fn resources(one: &Value) -> Value {
    let number = |pointer: &str| one.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let mut limits = Map::new();
    let (memory, cpus) = (number("/HostConfig/Memory"), number("/HostConfig/NanoCpus"));
    if memory > 0 {
        limits.insert("memory".to_owned(), json!(memory.to_string()));
    }
    if cpus > 0 {
        limits.insert("cpu".to_owned(), json!(format!("{}m", (cpus / 1_000_000).max(1))));
    }
    if limits.is_empty() { Value::Null } else { json!({ "limits": limits }) }
}

fn security(one: &Value) -> Value {
    let mut context = Map::new();
    let flag = |pointer: &str| one.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
    if flag("/HostConfig/Privileged") {
        context.insert("privileged".to_owned(), json!(true));
    }
    if flag("/HostConfig/ReadonlyRootfs") {
        context.insert("readOnlyRootFilesystem".to_owned(), json!(true));
    }
    let mut capabilities = Map::new();
    for (key, pointer) in [("add", "/HostConfig/CapAdd"), ("drop", "/HostConfig/CapDrop")] {
        let names = one.pointer(pointer).and_then(Value::as_array);
        let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
        if !names.is_empty() {
            let bare = names.iter().map(|name| name.trim_start_matches("CAP_"));
            capabilities.insert(key.to_owned(), bare.collect());
        }
    }
    if !capabilities.is_empty() {
        context.insert("capabilities".to_owned(), Value::Object(capabilities));
    }
    let mut ids = text(one, "/Config/User").split(':').map(str::parse::<i64>);
    if let Some(Ok(user)) = ids.next() {
        context.insert("runAsUser".to_owned(), json!(user));
        if let Some(Ok(group)) = ids.next() {
            context.insert("runAsGroup".to_owned(), json!(group));
        }
    }
    Value::Object(context)
}

/// A health check as a liveness probe.
fn probe(one: &Value) -> Value {
    let test = one.pointer("/Config/Healthcheck/Test").and_then(Value::as_array);
    let words: Vec<&str> = test.into_iter().flatten().filter_map(Value::as_str).collect();
    let command: Vec<&str> = match words.split_first() {
        Some((&"CMD", rest)) => rest.to_vec(),
        Some((&"CMD-SHELL", rest)) => ["/bin/sh", "-c"].iter().chain(rest).copied().collect(),
        _ => return Value::Null,
    };
    let number = |key: &str| {
        one.pointer(&format!("/Config/Healthcheck/{key}")).and_then(Value::as_i64).unwrap_or(0)
    };
    let seconds = |key: &str, default: i64| match number(key) {
        0 => default,
        nanos => (nanos / 1_000_000_000).max(1),
    };
    let retries = if number("Retries") > 0 { number("Retries") } else { 3 };
    let mut probe = json!({
        "exec": { "command": command },
        "periodSeconds": seconds("Interval", 30),
        "timeoutSeconds": seconds("Timeout", 30),
        "failureThreshold": retries,
    });
    if number("StartPeriod") > 0 {
        probe["initialDelaySeconds"] = json!(seconds("StartPeriod", 0));
    }
    probe
}

fn mounts(one: &Value, volumes: &mut Vec<Value>) -> Value {
    let mut mounts = Vec::new();
    for mount in one.pointer("/Mounts").and_then(Value::as_array).into_iter().flatten() {
        let volume = match text(mount, "/Type") {
            "volume" => {
                let name = object_name(text(mount, "/Name"));
                json!({ "name": name, "persistentVolumeClaim": { "claimName": name } })
            }
            "bind" => {
                let name = format!("host-{}", volumes.len());
                json!({ "name": name, "hostPath": { "path": text(mount, "/Source") } })
            }
            _ => {
                let name = format!("memory-{}", volumes.len());
                json!({ "name": name, "emptyDir": { "medium": "Memory" } })
            }
        };
        let mut entry = json!({
            "name": volume["name"],
            "mountPath": text(mount, "/Destination"),
        });
        if mount.pointer("/RW").and_then(Value::as_bool) == Some(false) {
            entry["readOnly"] = json!(true);
        }
        if !volumes.contains(&volume) {
            volumes.push(volume);
        }
        mounts.push(entry);
    }
    json!(mounts)
}
