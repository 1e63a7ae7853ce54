//! 1.25: the daemon removes `--rm` containers. Until 1.24 the client did.

use http::Method;
use serde_json::Value;

use super::{Change, body, set};

pub(super) const CHANGES: &[Change] = &[body(Method::POST, "/containers/create", |request| {
    set(request, "/HostConfig/AutoRemove", Value::Bool(false));
    Ok(())
})];
