//! What a service's containers see of files: volumes, configs, secrets and mounted files.

use std::{fs::File, io::Read, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ferry_cli::face::CliError;
use serde_json::{Map, Value, json};

use super::{Converter, object_name, value_name};
use crate::{
    model::{Mount, Service},
    run::{create::target_of, inject::references},
};

/// Longest file of a ConfigMap or Secret: Kubernetes takes 1 MiB for the whole object.
const MAX_FILE: u64 = 1_000_000;

/// The volumes of a pod, and where a container has them.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    pub(super) volumes: Vec<Value>,
    pub(super) mounts: Vec<Value>,
}

impl Volumes {
    fn add(&mut self, volume: Value, path: &str, more: Value) {
        let mut mount = json!({ "name": volume["name"], "mountPath": path });
        for (key, value) in more.as_object().into_iter().flatten() {
            mount[key] = value.clone();
        }
        if !self.volumes.contains(&volume) {
            self.volumes.push(volume);
        }
        self.mounts.push(mount);
    }

    fn empty(&mut self, path: &str, medium: &str, size: i64) {
        let mut empty = Map::new();
        if !medium.is_empty() {
            empty.insert("medium".to_owned(), json!(medium));
        }
        if size > 0 {
            empty.insert("sizeLimit".to_owned(), json!(size.to_string()));
        }
        let name = format!("empty-{}", self.volumes.len());
        self.add(json!({ "name": name, "emptyDir": empty }), path, json!({}));
    }
}

/// Reads a file that is small enough for an object; in words what is wrong.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file =
        File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{} has more than {MAX_FILE} bytes", path.display()));
    }
    Ok(bytes)
}

/// A ConfigMap or Secret with one file.
pub(super) fn value_object(kind: &str, name: &str, key: &str, bytes: &[u8]) -> Value {
    let metadata = json!({ "name": name });
    let encoded = || json!({ key: STANDARD.encode(bytes) });
    if kind == "secret" {
        return json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": encoded() });
    }
    let mut object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata });
    match std::str::from_utf8(bytes) {
        Ok(text) => object["data"] = json!({ key: text }),
        Err(_) => object["binaryData"] = encoded(),
    }
    object
}

impl Converter<'_> {
    /// Everything that is mounted.
    pub(super) fn mounted(&mut self, service: &Service) -> Result<Volumes, CliError> {
        let mut all = Volumes::default();
        for mount in &service.volumes {
            self.one(service, mount, &mut all)?;
        }
        for text in &service.tmpfs {
            let (path, options) = text.split_once(':').unwrap_or((text, ""));
            let size = options.split(',').find_map(|option| option.strip_prefix("size="));
            let size = size.and_then(|size| ferry_stdx::size::parse_bytes(size).ok()).unwrap_or(0);
            all.empty(path, "Memory", size);
        }
        if service.shm_size.0 > 0 {
            all.empty("/dev/shm", "Memory", service.shm_size.0);
        }
        for (kind, object, reference) in references(self.project, service) {
            let name = value_name(object, &reference.source);
            // One file in a directory that may have others: a path below the volume.
            let path = target_of(kind, reference);
            let mut item = json!({ "key": reference.source, "path": reference.source });
            let mode = reference.mode.as_deref().and_then(|mode| i64::from_str_radix(mode, 8).ok());
            if let Some(mode) = mode {
                item["mode"] = json!(mode & 0o777);
            }
            let mut source = json!({ "items": [item] });
            let (key, names) =
                if kind == "secret" { ("secret", "secretName") } else { ("configMap", "name") };
            source[names] = json!(name);
            let volume = json!({ "name": object_name(&format!("{kind}-{name}")), key: source });
            all.add(volume, &path, json!({ "subPath": reference.source, "readOnly": true }));
            if !matches!(reference.uid.as_str(), "" | "0") {
                self.notices.push(format!(
                    "services.{}.{kind}s.{}.uid: files of a cluster are root's",
                    service.name, reference.source
                ));
            }
        }
        Ok(all)
    }

    fn one(&mut self, service: &Service, mount: &Mount, all: &mut Volumes) -> Result<(), CliError> {
        let mut more = Map::new();
        if mount.read_only {
            more.insert("readOnly".to_owned(), json!(true));
        }
        match mount.r#type.as_str() {
            "volume" if mount.source.is_empty() => all.empty(&mount.target, "", 0),
            "volume" => {
                let Some(volume) = self.project.volumes.get(&mount.source) else { return Ok(()) };
                let subpath = mount.volume.as_ref().map_or("", |volume| volume.subpath.as_str());
                if !subpath.is_empty() {
                    more.insert("subPath".to_owned(), json!(subpath));
                }
                let name = object_name(&volume.name);
                let volume =
                    json!({ "name": name, "persistentVolumeClaim": { "claimName": name } });
                all.add(volume, &mount.target, Value::Object(more));
            }
            "tmpfs" => {
                let size = mount.tmpfs.as_ref().map_or(0, |tmpfs| tmpfs.size.0);
                all.empty(&mount.target, "Memory", size);
            }
            "bind" => self.bind(service, mount, more, all),
            other => {
                return Err(CliError::new(format!(
                    "services.{}.volumes: a {other} at {} cannot be converted: a pod has nothing like it",
                    service.name, mount.target
                )));
            }
        }
        Ok(())
    }

    /// A small file that is only read goes into the cluster; everything else is looked for on its nodes.
    fn bind(
        &mut self,
        service: &Service,
        mount: &Mount,
        mut more: Map<String, Value>,
        all: &mut Volumes,
    ) {
        let path = Path::new(&mount.source);
        let key = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let content = (mount.read_only && path.is_file()).then(|| read(path).ok()).flatten();
        if let (Some(bytes), Some(key)) = (content, key.filter(|key| is_key(key))) {
            let name = object_name(&format!("file-{}-{}", all.mounts.len(), service.name));
            self.files.push(value_object("config", &name, &key, &bytes));
            more.insert("subPath".to_owned(), json!(key));
            let volume = json!({ "name": name, "configMap": { "name": name } });
            all.add(volume, &mount.target, Value::Object(more));
            return;
        }
        self.notice(format!(
            "services.{}.volumes: {} must be on every node that runs it",
            service.name, mount.source
        ));
        let volume = json!({ "name": format!("host-{}", all.volumes.len()), "hostPath": { "path": mount.source } });
        all.add(volume, &mount.target, Value::Object(more));
    }
}

/// Whether a ConfigMap takes it as a key.
fn is_key(text: &str) -> bool {
    text.len() <= 253
        && text != ".."
        && text != "."
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
