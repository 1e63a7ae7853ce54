//! 1.40: containers do not share their IPC namespace unless asked; non-recursive binds; TCP kernel memory.

use ferry_errkind::Failure;
use http::Method;
use serde_json::Value;

use super::{Change, body, remove, set};

pub(super) const CHANGES: &[Change] = &[body(Method::POST, "/containers/create", create)];

fn create(request: &mut Value) -> Result<(), Failure> {
    for mount in request
        .pointer_mut("/HostConfig/Mounts")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        remove(mount, "/BindOptions/NonRecursive");
    }
    remove(request, "/HostConfig/KernelMemoryTCP");
    let ipc = request.pointer("/HostConfig/IpcMode").and_then(Value::as_str).unwrap_or_default();
    if ipc.is_empty() {
        if request.get("HostConfig").is_none_or(Value::is_null) {
            set(request, "/HostConfig", Value::Object(serde_json::Map::new()));
        }
        set(request, "/HostConfig/IpcMode", "shareable".into());
    }
    Ok(())
}
