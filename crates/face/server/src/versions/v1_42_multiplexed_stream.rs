//! 1.42: streams tell by their type whether they are multiplexed; stop and restart take a signal; terminals have a size from
//! the start; prune leaves named volumes alone.

use ferry_errkind::Failure;
use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};
use serde_json::Value;

use super::{Change, body, headers, query, remove};

pub(super) const CHANGES: &[Change] = &[
    headers(Method::GET, "/containers/{id}/logs", raw_stream),
    headers(Method::POST, "/containers/{id}/attach", raw_stream),
    headers(Method::POST, "/exec/{id}/start", raw_stream),
    query(Method::POST, "/containers/{id}/stop", |query| query.remove("signal")),
    query(Method::POST, "/containers/{id}/restart", |query| query.remove("signal")),
    query(Method::GET, "/images/json", |query| query.remove("shared-size")),
    query(Method::GET, "/system/df", |query| query.remove("type")),
    query(Method::POST, "/volumes/prune", |query| {
        if let Ok(mut filters) = ferry_docker_api::Filters::parse(query.get("filters")) {
            filters.add("all", "true");
            query.set("filters", &filters.to_json());
        }
    }),
    body(Method::POST, "/containers/create", create),
    body(Method::POST, "/containers/{id}/exec", no_console_size),
    body(Method::POST, "/exec/{id}/start", no_console_size),
];

fn raw_stream(headers: &mut HeaderMap) {
    if headers.contains_key(CONTENT_TYPE) {
        let raw = HeaderValue::from_static("application/vnd.docker.raw-stream");
        headers.insert(CONTENT_TYPE, raw);
    }
}

fn no_console_size(request: &mut Value) -> Result<(), Failure> {
    remove(request, "/ConsoleSize");
    Ok(())
}

fn create(request: &mut Value) -> Result<(), Failure> {
    remove(request, "/HostConfig/ConsoleSize");
    let mounts = request.pointer_mut("/HostConfig/Mounts").and_then(Value::as_array_mut);
    for mount in mounts.into_iter().flatten() {
        remove(mount, "/BindOptions/CreateMountpoint");
        // These were invalid before, too, but nobody checked.
        let kind = mount.get("Type").and_then(Value::as_str).unwrap_or_default().to_owned();
        for (other, options) in [("volume", "/VolumeOptions"), ("tmpfs", "/TmpfsOptions")] {
            if kind != other {
                remove(mount, options);
            }
        }
    }
    Ok(())
}
