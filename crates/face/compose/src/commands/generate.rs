//! `compose generate`: the file for containers that are there already.

use std::collections::BTreeMap;

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use ferry_client::path_segment;
use ferry_docker_api::{ContainerInspect, ContainerSummary, HostConfig, ImageInspect};
use serde_json::{Map, Value, json};

use super::{Compose, DRY, Verb};
use crate::{run::labels::SERVICE, yaml::to_yaml};

pub(super) static GENERATE: Verb = Verb {
    command: Command {
        name: "generate",
        short: "Write a Compose file for containers that are there (beyond Docker)",
        usage: "[OPTIONS] [CONTAINER...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::string("format", "Format the output. Values: [yaml | json]").default("yaml"),
            Flag::string("output", "Save to file (default to stdout)").short('o'),
        ],
        ..Command::NEW
    },
    run,
};

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let client = compose.cli.client()?;
    let names: Vec<String> = if matches.args().is_empty() {
        let call = client.get("/containers/json");
        let list: Vec<ContainerSummary> = compose.cli.wait(call.json())?;
        list.into_iter().map(|one| one.id).collect()
    } else {
        matches.args().to_vec()
    };
    if names.is_empty() {
        return Err(CliError::new("no container runs"));
    }
    let mut file = File::default();
    for name in names {
        let path = format!("/containers/{}/json", path_segment(&name));
        let found: ContainerInspect = compose.cli.wait(client.get(path).json())?;
        let path = format!("/images/{}/json", path_segment(&found.image));
        let image: Option<ImageInspect> = match compose.cli.wait(client.get(path).json()) {
            Ok(image) => Some(image),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        file.add(&found, image.as_ref());
    }
    let whole = file.whole();
    let text = match matches.text("format") {
        "yaml" => to_yaml(&whole).replace('$', "$$"),
        "json" => {
            let text = serde_json::to_string_pretty(&whole);
            text.map_err(|error| CliError::new(error.to_string()))?.replace('$', "$$") + "\n"
        }
        other => return Err(CliError::new(format!("unsupported format {other:?}"))),
    };
    match matches.text("output") {
        "" => compose.cli.print(&text)?,
        path => std::fs::write(path, text)
            .map_err(|error| CliError::new(format!("open {path}: {error}")))?,
    }
    Ok(0)
}

/// The file as it grows.
#[derive(Default)]
struct File {
    services: BTreeMap<String, Value>,
    networks: BTreeMap<String, Value>,
    volumes: BTreeMap<String, Value>,
}

/// Puts a value in where it says something.
fn put(service: &mut Map<String, Value>, key: &str, value: Value) {
    let nothing = match &value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) => false,
    };
    if !nothing {
        service.insert(key.to_owned(), value);
    }
}

impl File {
    fn whole(self) -> Value {
        let mut whole = Map::new();
        put(&mut whole, "services", json!(self.services));
        put(&mut whole, "networks", json!(self.networks));
        put(&mut whole, "volumes", json!(self.volumes));
        Value::Object(whole)
    }

    fn add(&mut self, found: &ContainerInspect, image: Option<&ImageInspect>) {
        let config = found.config.clone().unwrap_or_default();
        let host = found.host_config.clone().unwrap_or_default();
        let of_image = image.and_then(|image| image.config.clone()).unwrap_or_default();
        let name = found.name.trim_start_matches('/').to_owned();
        let own = config.labels.clone().unwrap_or_default();
        let mut service = Map::new();
        put(&mut service, "image", json!(config.image));
        let project = own.get(SERVICE).cloned();
        if project.is_none() {
            put(&mut service, "container_name", json!(name));
        }
        if config.cmd.0 != of_image.cmd {
            put(&mut service, "command", json!(config.cmd.0));
        }
        if config.entrypoint.0 != of_image.entrypoint {
            put(&mut service, "entrypoint", json!(config.entrypoint.0));
        }
        let known = of_image.env.unwrap_or_default();
        let env = config.env.unwrap_or_default();
        let env: BTreeMap<&str, &str> = env
            .iter()
            .filter(|pair| !known.contains(pair))
            .filter_map(|pair| pair.split_once('='))
            .collect();
        put(&mut service, "environment", json!(env));
        let labels = of_image.labels.unwrap_or_default();
        let labels: BTreeMap<&String, &String> = own
            .iter()
            .filter(|(name, value)| labels.get(*name) != Some(value))
            .filter(|(name, _)| {
                !name.starts_with("com.docker.compose.") && !name.starts_with("io.ferry.")
            })
            .collect();
        put(&mut service, "labels", json!(labels));
        if config.user != of_image.user {
            put(&mut service, "user", json!(config.user));
        }
        if config.working_dir != of_image.working_dir {
            put(&mut service, "working_dir", json!(config.working_dir));
        }
        let id = found.id.get(..12).unwrap_or_default();
        if config.hostname != id {
            put(&mut service, "hostname", json!(config.hostname));
        }
        put(&mut service, "tty", json!(config.tty));
        put(&mut service, "stdin_open", json!(config.open_stdin));
        from_host(&mut service, &host);
        self.mounts(&mut service, found);
        self.networks(&mut service, found, &host);
        self.services.insert(project.unwrap_or(name), Value::Object(service));
    }

    fn mounts(&mut self, service: &mut Map<String, Value>, found: &ContainerInspect) {
        let mut list = Vec::new();
        for mount in found.mounts.as_deref().unwrap_or_default() {
            let options = if mount.rw { "" } else { ":ro" };
            match mount.kind.as_str() {
                // A name of 64 digits is nobody's name.
                "volume" if mount.name.len() == 64 => list.push(mount.destination.clone()),
                "volume" => {
                    self.volumes.insert(mount.name.clone(), json!({"external": true}));
                    list.push(format!("{}:{}{options}", mount.name, mount.destination));
                }
                "bind" => list.push(format!("{}:{}{options}", mount.source, mount.destination)),
                _ => {}
            }
        }
        put(service, "volumes", json!(list));
    }

    fn networks(
        &mut self,
        service: &mut Map<String, Value>,
        found: &ContainerInspect,
        host: &HostConfig,
    ) {
        let mode = host.network_mode.as_str();
        if matches!(mode, "host" | "none" | "bridge" | "default") || mode.starts_with("container:")
        {
            let mode = if mode == "default" { "bridge" } else { mode };
            put(service, "network_mode", json!(mode));
            return;
        }
        let settings = found.network_settings.as_ref().and_then(|one| one.networks.as_ref());
        let names: Vec<&String> = settings.into_iter().flat_map(|map| map.keys()).collect();
        for name in &names {
            self.networks.insert((*name).clone(), json!({"external": true}));
        }
        put(service, "networks", json!(names));
    }
}

/// What stands in the part about the machine.
fn from_host(service: &mut Map<String, Value>, host: &HostConfig) {
    let mut ports = Vec::new();
    for (inside, bindings) in host.port_bindings.iter().flatten() {
        for binding in bindings.iter().flatten() {
            let address = if binding.host_ip.is_empty() {
                String::new()
            } else {
                format!("{}:", binding.host_ip)
            };
            let inside = inside.strip_suffix("/tcp").unwrap_or(inside);
            ports.push(if binding.host_port.is_empty() && address.is_empty() {
                inside.to_owned()
            } else {
                format!("{address}{}:{inside}", binding.host_port)
            });
        }
    }
    put(service, "ports", json!(ports));
    let restart = match (host.restart_policy.name.as_str(), host.restart_policy.maximum_retry_count)
    {
        ("" | "no", _) => String::new(),
        (name, 0) => name.to_owned(),
        (name, count) => format!("{name}:{count}"),
    };
    put(service, "restart", json!(restart));
    put(service, "privileged", json!(host.privileged));
    put(service, "read_only", json!(host.readonly_rootfs));
    put(service, "cap_add", json!(host.cap_add.0));
    put(service, "cap_drop", json!(host.cap_drop.0));
    put(service, "security_opt", json!(host.security_opt));
    put(service, "extra_hosts", json!(host.extra_hosts));
    put(service, "dns", json!(host.dns));
    put(service, "group_add", json!(host.group_add));
    put(service, "sysctls", json!(host.sysctls));
    put(service, "init", json!(host.init));
    let tmpfs: Vec<String> = host
        .tmpfs
        .iter()
        .map(
            |(path, options)| {
                if options.is_empty() { path.clone() } else { format!("{path}:{options}") }
            },
        )
        .collect();
    put(service, "tmpfs", json!(tmpfs));
    let resources = &host.resources;
    put(service, "mem_limit", json!(resources.memory));
    put(service, "cpu_shares", json!(resources.cpu_shares));
    put(service, "cpuset", json!(resources.cpuset_cpus));
    if resources.nano_cpus != 0 {
        // A number that people write with two digits.
        put(service, "cpus", json!(resources.nano_cpus as f64 / 1e9));
    }
    put(service, "pids_limit", json!(resources.pids_limit));
    let devices: Vec<String> = resources
        .devices
        .iter()
        .flatten()
        .map(|one| {
            format!("{}:{}:{}", one.path_on_host, one.path_in_container, one.cgroup_permissions)
        })
        .collect();
    put(service, "devices", json!(devices));
}
