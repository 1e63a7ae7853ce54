//! 1.49: info tells the firewall, and no longer the expected commits.

use http::Method;
use serde_json::Value;

use super::{Change, answer, remove};

pub(super) const CHANGES: &[Change] = &[answer(Method::GET, "/info", |info| {
    remove(info, "/FirewallBackend");
    for part in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
        if let Some(commit) = info.get_mut(part).and_then(Value::as_object_mut) {
            let id = commit.get("ID").cloned().unwrap_or_default();
            commit.insert("Expected".into(), id);
        }
    }
})];
