//! 1.48: gateway priorities, image mounts, networks without IPv4, images and loads by platform.

use ferry_errkind::Failure;
use http::Method;
use serde_json::Value;

use super::{Change, body, query, refuse, remove};

pub(super) const CHANGES: &[Change] = &[
    body(Method::POST, "/containers/create", create),
    body(Method::POST, "/networks/create", |request| {
        remove(request, "/EnableIPv4");
        Ok(())
    }),
    query(Method::GET, "/images/{name}/json", |query| query.remove("platform")),
    query(Method::GET, "/images/{name}/history", |query| query.remove("platform")),
    query(Method::GET, "/images/{name}/get", |query| query.remove("platform")),
    query(Method::GET, "/images/get", |query| query.remove("platform")),
    query(Method::POST, "/images/load", |query| query.remove("platform")),
];

fn create(request: &mut Value) -> Result<(), Failure> {
    let endpoints =
        request.pointer_mut("/NetworkingConfig/EndpointsConfig").and_then(Value::as_object_mut);
    for endpoint in
        endpoints.into_iter().flat_map(|map| map.values_mut()).filter_map(Value::as_object_mut)
    {
        endpoint.remove("GwPriority");
    }
    let mounts = request.pointer("/HostConfig/Mounts").and_then(Value::as_array);
    if mounts
        .into_iter()
        .flatten()
        .any(|mount| mount.get("Type").and_then(Value::as_str) == Some("image"))
    {
        return Err(refuse("Mount type \"Image\" needs API v1.48 or newer"));
    }
    Ok(())
}
