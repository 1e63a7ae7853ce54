//! Docker Compose's labels and hashes: by them either program finds what the other has started.

use std::collections::BTreeMap;

use ferry_cli::face::CliError;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    load::{html_safe, ordered_network, ordered_service, ordered_volume},
    model::{Project, Service},
};

pub(crate) const PROJECT: &str = "com.docker.compose.project";
pub(crate) const SERVICE: &str = "com.docker.compose.service";
pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
pub(crate) const ONEOFF: &str = "com.docker.compose.oneoff";
pub(crate) const HASH: &str = "com.docker.compose.config-hash";
pub(crate) const IMAGE: &str = "com.docker.compose.image";
pub(crate) const FILES: &str = "com.docker.compose.project.config_files";
pub(crate) const NETWORK: &str = "com.docker.compose.network";
pub(crate) const VOLUME: &str = "com.docker.compose.volume";
const DIRECTORY: &str = "com.docker.compose.project.working_dir";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";
pub(crate) const VERSION: &str = "com.docker.compose.version";
/// A container beside those of the service: `pre_start`.
pub(crate) const HOOK: &str = "com.docker.compose.hook";
const SLUG: &str = "com.docker.compose.slug";
/// What the files of a service say; Docker Compose does not know it, and leaves it alone.
pub(crate) const CONTENTS: &str = "io.ferry.compose.contents";

/// The Compose whose labels, words and hashes these are.
pub(crate) const COMPOSE_VERSION: &str = "2.40.3";

/// A service's hash: of what makes a container another one, not of how many there are or when they start.
pub(crate) fn service_hash(service: &Service) -> String {
    hash_of(service.value.clone())
}

/// The hash that a service's containers carry: with the files of labels, and with the containers that stand for the services whose
/// namespaces and volumes it uses.
pub(crate) fn container_hash(
    service: &Service,
    container_of: &dyn Fn(&str) -> Option<String>,
) -> String {
    let mut value = service.value.clone();
    let found = |mode: &Value| container_of(mode.as_str()?.strip_prefix("service:")?);
    for key in ["network_mode", "ipc", "pid"] {
        if let Some(id) = value.get(key).and_then(found) {
            value[key] = Value::from(format!("container:{id}"));
        }
    }
    for from in value.get_mut("volumes_from").and_then(Value::as_array_mut).into_iter().flatten() {
        let mut parts = from.as_str().unwrap_or_default().split(':');
        let id = match parts.next() {
            Some("container") => parts.next().map(str::to_owned),
            Some(name) => container_of(name),
            None => None,
        };
        *from = id.map_or_else(|| from.take(), Value::from);
    }
    if !service.label_files.is_empty() {
        value["label_file"] = Value::from(service.label_files.clone());
    }
    hash_of(value)
}

fn hash_of(mut value: Value) -> String {
    if let Some(map) = value.as_object_mut() {
        let when =
            ["build", "pull_policy", "pull_refresh_after", "scale", "depends_on", "profiles"];
        for key in when {
            map.shift_remove(key);
        }
        if let Some(Value::Object(deploy)) = map.get_mut("deploy") {
            deploy.shift_remove("replicas");
        }
    }
    digest(&ordered_service(&value))
}

/// A network's.
pub(crate) fn network_hash(network: &Value) -> String {
    digest(&ordered_network(network))
}

/// A volume's.
pub(crate) fn volume_hash(volume: &Value) -> String {
    let mut volume = volume.clone();
    if volume["driver"].as_str().is_none_or(str::is_empty) {
        volume["driver"] = Value::from("local");
    }
    digest(&ordered_volume(&volume))
}

/// SHA-256 of the JSON that Go's encoder would write.
fn digest(value: &Value) -> String {
    let text = value.to_string();
    let text = html_safe(&text);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Labels of what is no container.
pub(crate) fn of_resource(
    project: &Project,
    own: &BTreeMap<String, String>,
    kind: &str,
    name: &str,
    hash: String,
) -> BTreeMap<String, String> {
    let mut labels = own.clone();
    labels.insert(kind.to_owned(), name.to_owned());
    labels.insert(PROJECT.to_owned(), project.name.clone());
    labels.insert(VERSION.to_owned(), COMPOSE_VERSION.to_owned());
    labels.insert(HASH.to_owned(), hash);
    labels
}

/// Labels of a container; `number` is none for one of `run`.
pub(crate) fn of_container(
    project: &Project,
    service: &Service,
    number: Option<u32>,
    image_id: &str,
    container_of: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut labels = service.labels.clone();
    let contents = super::contents::label_of(project, service)?;
    if !contents.is_empty() {
        labels.insert(CONTENTS.to_owned(), contents);
    }
    let files: Vec<String> = project.files.iter().map(|file| file.display().to_string()).collect();
    let mut depends: Vec<String> = service
        .depends_on
        .iter()
        .map(|(name, how)| format!("{name}:{}:{}", how.condition, how.restart))
        .collect();
    depends.sort();
    let pairs = [
        (PROJECT, project.name.clone()),
        (SERVICE, service.name.clone()),
        (VERSION, COMPOSE_VERSION.to_owned()),
        (HASH, container_hash(service, container_of)),
        (DIRECTORY, project.directory.display().to_string()),
        (FILES, files.join(",")),
        (DEPENDS_ON, depends.join(",")),
        (IMAGE, image_id.to_owned()),
        (ONEOFF, if number.is_none() { "True" } else { "False" }.to_owned()),
    ];
    labels.extend(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)));
    match number {
        Some(number) => labels.insert(NUMBER.to_owned(), number.to_string()),
        None => labels.insert(SLUG.to_owned(), String::new()),
    };
    Ok(labels)
}
