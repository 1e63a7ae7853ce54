//! 1.44: MAC addresses belong to endpoints, several endpoints at create, health checks have a start interval, read-only binds
//! are recursive, images have no virtual size.

use ferry_errkind::Failure;
use http::Method;
use serde_json::{Map, Value, json};

use super::{Change, answer, body, items, refuse, remove, set};

pub(super) const CHANGES: &[Change] = &[
    body(Method::POST, "/containers/create", create),
    answer(Method::GET, "/images/json", |images| items(images).for_each(virtual_size)),
    answer(Method::GET, "/images/{name}/json", |image| {
        if let Some(image) = image.as_object_mut() {
            virtual_size(image);
            image.entry("Created").or_insert_with(|| ferry_docker_api::ZERO_TIME.into());
        }
    }),
    answer(Method::GET, "/system/df", |usage| {
        if let Some(images) = usage.get_mut("Images") {
            items(images).for_each(virtual_size);
        }
    }),
];

fn virtual_size(image: &mut Map<String, Value>) {
    if let Some(size) = image.get("Size").cloned() {
        image.insert("VirtualSize".into(), size);
    }
}

fn create(request: &mut Value) -> Result<(), Failure> {
    remove(request, "/Healthcheck/StartInterval");
    let mounts = request.pointer_mut("/HostConfig/Mounts").and_then(Value::as_array_mut);
    for mount in mounts.into_iter().flatten() {
        if mount.pointer("/BindOptions/ReadOnlyForceRecursive") == Some(&Value::Bool(true)) {
            return Err(refuse("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"));
        }
        let kind = mount.get("Type").and_then(Value::as_str);
        if kind == Some("bind") && mount.get("ReadOnly") == Some(&Value::Bool(true)) {
            if mount.get("BindOptions").is_none_or(Value::is_null) {
                set(mount, "/BindOptions", json!({}));
            }
            set(mount, "/BindOptions/ReadOnlyNonRecursive", Value::Bool(true));
        }
    }
    endpoints(request)
}

fn endpoints(request: &mut Value) -> Result<(), Failure> {
    let mac = request.get("MacAddress").and_then(Value::as_str).unwrap_or_default().to_owned();
    let endpoints = request.pointer_mut("/NetworkingConfig/EndpointsConfig");
    let Some(endpoints) = endpoints.and_then(Value::as_object_mut) else { return Ok(()) };
    if endpoints.len() > 1 {
        let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
        return Err(refuse(&format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    if mac.is_empty() {
        // The old API would have ignored an endpoint's own address.
        for endpoint in endpoints.values_mut().filter_map(Value::as_object_mut) {
            endpoint.remove("MacAddress");
        }
    }
    Ok(())
}
