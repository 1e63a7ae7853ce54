//! What older versions of the API lack or spell differently. Handlers know only the newest version: a request from an older
//! client is upgraded on its way in, the answer downgraded on its way out. One file a version, named for what it brought.

use bytes::Bytes;
use ferry_docker_api::ApiVersion;
use ferry_errkind::{ErrorKind, Failure};
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::{body::Body, query::Query, reply::Reply, request::invalid_json, table::Endpoint};

#[cfg(test)]
mod tests;
mod v1_25_daemon_removes;
mod v1_40_private_ipc;
mod v1_41_platform;
mod v1_42_multiplexed_stream;
mod v1_43_untagged_images;
mod v1_44_per_endpoint_mac;
mod v1_45_volume_subpath;
mod v1_48_gateway_priority;
mod v1_49_firewall_backend;
mod v1_50_slim_image_config;
mod v1_51_image_containers;

/// One difference of one endpoint before a version.
pub(crate) struct Change {
    /// The endpoint's method.
    method: Method,
    /// The endpoint's path.
    path: &'static str,
    /// What to do about it.
    edit: Edit,
}

/// What upgrades a request or downgrades an answer.
#[derive(Clone, Copy)]
pub(crate) enum Edit {
    /// Upgrades the query.
    Query(fn(&mut Query)),
    /// Upgrades a JSON body.
    Body(fn(&mut Value) -> Result<(), Failure>),
    /// Downgrades a JSON answer.
    Answer(fn(&mut Value)),
    /// Downgrades the answer's headers.
    Headers(fn(&mut HeaderMap)),
}

/// Which minor version brought which changes, oldest first.
const HISTORY: &[(u16, &[Change])] = &[
    (25, v1_25_daemon_removes::CHANGES),
    (40, v1_40_private_ipc::CHANGES),
    (41, v1_41_platform::CHANGES),
    (42, v1_42_multiplexed_stream::CHANGES),
    (43, v1_43_untagged_images::CHANGES),
    (44, v1_44_per_endpoint_mac::CHANGES),
    (45, v1_45_volume_subpath::CHANGES),
    (48, v1_48_gateway_priority::CHANGES),
    (49, v1_49_firewall_backend::CHANGES),
    (50, v1_50_slim_image_config::CHANGES),
    (51, v1_51_image_containers::CHANGES),
];

/// The changes between a client's version and the newest, for one endpoint; oldest first.
#[derive(Clone, Default)]
pub(crate) struct Changes(Vec<Edit>);

impl Changes {
    /// What concerns `endpoint` and came after `version`.
    pub(crate) fn since(version: ApiVersion, endpoint: &Endpoint) -> Self {
        if version >= ApiVersion::MAX {
            return Changes::default();
        }
        let later = HISTORY.iter().filter(|(minor, _)| version < ApiVersion::new(1, *minor));
        let concerns =
            |change: &&Change| change.method == endpoint.method && change.path == endpoint.path;
        Changes(
            later
                .flat_map(|(_, changes)| changes.iter())
                .filter(concerns)
                .map(|c| c.edit)
                .collect(),
        )
    }

    /// Upgrades the query.
    pub(crate) fn upgrade_query(&self, query: &mut Query) {
        for edit in &self.0 {
            if let Edit::Query(upgrade) = edit {
                upgrade(query);
            }
        }
    }

    /// Upgrades a JSON body; `None` when nothing is to do.
    pub(crate) fn upgrade_body(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let mut edits = self.0.iter().filter_map(|edit| match edit {
            Edit::Body(upgrade) => Some(upgrade),
            Edit::Query(_) | Edit::Answer(_) | Edit::Headers(_) => None,
        });
        let Some(first) = edits.next() else { return Ok(None) };
        let mut value = serde_json::from_slice(bytes).map_err(|error| invalid_json(&error))?;
        for upgrade in std::iter::once(first).chain(edits) {
            upgrade(&mut value)?;
        }
        Ok(Some(value.to_string().into_bytes()))
    }

    /// Downgrades an answer.
    pub(crate) fn downgrade(&self, reply: &mut Reply) {
        for edit in self.0.iter().rev() {
            if let Edit::Headers(downgrade) = edit {
                downgrade(reply.headers_mut());
            }
        }
        let has_answer = self.0.iter().any(|edit| matches!(edit, Edit::Answer(_)));
        if !has_answer || !reply.status().is_success() {
            return;
        }
        if let Body::Full(Some(bytes)) = reply.body_mut()
            && let Ok(mut value) = serde_json::from_slice::<Value>(bytes)
        {
            for edit in self.0.iter().rev() {
                if let Edit::Answer(downgrade) = edit {
                    downgrade(&mut value);
                }
            }
            *bytes = Bytes::from(format!("{value}\n"));
        }
    }
}

/// A change of a request's query.
const fn query(method: Method, path: &'static str, edit: fn(&mut Query)) -> Change {
    Change { method, path, edit: Edit::Query(edit) }
}

/// A change of a request's body.
const fn body(
    method: Method,
    path: &'static str,
    edit: fn(&mut Value) -> Result<(), Failure>,
) -> Change {
    Change { method, path, edit: Edit::Body(edit) }
}

/// A change of a JSON answer.
const fn answer(method: Method, path: &'static str, edit: fn(&mut Value)) -> Change {
    Change { method, path, edit: Edit::Answer(edit) }
}

/// A change of an answer's headers.
const fn headers(method: Method, path: &'static str, edit: fn(&mut HeaderMap)) -> Change {
    Change { method, path, edit: Edit::Headers(edit) }
}

/// The objects in a list.
fn items(value: &mut Value) -> impl Iterator<Item = &mut serde_json::Map<String, Value>> {
    value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Sets `value` at a pointer such as `/HostConfig/AutoRemove`, if its parent is there.
fn set(document: &mut Value, pointer: &str, value: Value) {
    if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(parent) = document.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        parent.insert(name.to_owned(), value);
    }
}

/// Takes what is at a pointer away.
fn remove(document: &mut Value, pointer: &str) {
    if let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(parent) = document.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        parent.remove(name);
    }
}

/// Refuses what an older version did not have and may not be ignored.
fn refuse(words: &str) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, words)
}
