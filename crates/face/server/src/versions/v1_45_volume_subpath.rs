//! 1.45: subpaths of volumes; a container's short id is no longer among its aliases; images no longer tell of the container that
//! they were committed from.

use ferry_errkind::Failure;
use http::Method;
use serde_json::{Value, json};

use super::{Change, answer, body, refuse};

pub(super) const CHANGES: &[Change] = &[
    body(Method::POST, "/containers/create", create),
    answer(Method::GET, "/containers/{id}/json", short_id_alias),
    answer(Method::GET, "/images/{name}/json", container_config),
];

fn create(request: &mut Value) -> Result<(), Failure> {
    let mounts = request.pointer("/HostConfig/Mounts").and_then(Value::as_array);
    let subpath = |mount: &Value| {
        mount
            .pointer("/VolumeOptions/Subpath")
            .and_then(Value::as_str)
            .is_some_and(|path| !path.is_empty())
    };
    if mounts.into_iter().flatten().any(subpath) {
        return Err(refuse("VolumeOptions.Subpath needs API v1.45 or newer"));
    }
    Ok(())
}

fn short_id_alias(container: &mut Value) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let short: String = text(container.get("Id")).chars().take(12).collect();
    let hostname = text(container.pointer("/Config/Hostname"));
    let networks =
        container.pointer_mut("/NetworkSettings/Networks").and_then(Value::as_object_mut);
    for (name, endpoint) in networks.into_iter().flatten() {
        if matches!(name.as_str(), "bridge" | "default" | "host" | "none") {
            continue;
        }
        let mut aliases: Vec<Value> =
            endpoint.get("Aliases").and_then(Value::as_array).cloned().unwrap_or_default();
        for alias in [json!(short), json!(hostname)] {
            if !aliases.contains(&alias) {
                aliases.push(alias);
            }
        }
        if let Some(endpoint) = endpoint.as_object_mut() {
            endpoint.insert("Aliases".into(), aliases.into());
        }
    }
}

/// Builders have left this empty since 2023; old clients read it nevertheless.
fn container_config(image: &mut Value) {
    let empty = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null,
        "Cmd": null, "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null,
        "OnBuild": null, "Labels": null,
    });
    if let Some(image) = image.as_object_mut() {
        image.insert("ContainerConfig".into(), empty);
    }
}
