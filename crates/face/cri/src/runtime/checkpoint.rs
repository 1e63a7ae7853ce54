//! CheckpointContainer, and the files of its archive that describe the container: those that checkpointctl, CRI-O and containerd read.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ferry_engine::ops::container::{self, CheckpointFiles, CheckpointRequest};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::runtime::Spec;
use serde_json::{Value, json};
use tonic::Status;

use super::{
    Runtime,
    container::{no_container, status_of},
    now,
};
use crate::{
    answer::{Answer, done, invalid, refused},
    api,
    record::{Member, Sandbox},
};

/// How long one may take that has no limit of its own. A kubelet gives up after two minutes, and then nothing is left of it.
const LIMIT: Duration = Duration::from_secs(600);

pub(super) async fn write(
    runtime: &Runtime,
    request: api::CheckpointContainerRequest,
) -> Answer<api::CheckpointContainerResponse> {
    let it = runtime.container(&request.container_id)?;
    let member = Member::of(&it).ok_or_else(|| no_container(&request.container_id))?;
    let limit = match request.timeout {
        0 => LIMIT,
        seconds => Duration::from_secs(
            u64::try_from(seconds).map_err(|_| invalid("timeout must not be negative"))?,
        ),
    };
    let sandbox = runtime.sandbox(member.sandbox)?;
    let shown = status_of(&runtime.engine, &it).await.unwrap_or_default();
    let own = Arc::clone(&it);
    let describe = move |spec: &Spec| match (Member::of(&own), Sandbox::of(&sandbox)) {
        (Some(member), Some(sandbox)) => describe(spec, &member, &sandbox, &shown),
        _ => Vec::new(),
    };
    let request = CheckpointRequest {
        location: PathBuf::from(request.location),
        limit,
        describe: Box::new(describe),
    };
    container::checkpoint(&runtime.engine, &it.id, request).await.map_err(failed)?;
    done(api::CheckpointContainerResponse {})
}

/// A failure with what to do about it, which nobody else tells a kubelet's user.
fn failed(failure: Failure) -> Status {
    let hint = failure.hint().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    let words = format!("{}{hint}", failure.message());
    match failure.kind() {
        ErrorKind::Unavailable => Status::deadline_exceeded(words),
        kind => refused(Failure::new(kind, words)),
    }
}

fn describe(
    spec: &Spec,
    member: &Member<'_>,
    sandbox: &Sandbox<'_>,
    shown: &api::ContainerStatus,
) -> CheckpointFiles {
    let mut spec = serde_json::to_value(spec).unwrap_or_default();
    annotate(&mut spec, member, sandbox);
    let handler = Some(sandbox.handler.as_str()).filter(|name| !name.is_empty());
    let config = json!({
        "id": shown.id,
        "name": shown.metadata.as_ref().map(|it| it.name.as_str()).unwrap_or_default(),
        "rootfsImage": image(shown),
        "rootfsImageRef": shown.image_ref,
        "rootfsImageName": image(shown),
        "runtime": handler.unwrap_or("ferry"),
        "createdTime": member.it.created.format_rfc3339_nano(),
        "checkpointedTime": now().format_rfc3339_nano(),
        "restoredTime": "0001-01-01T00:00:00Z",
        "restored": false,
    });
    let text = |value: &Value| value.to_string().into_bytes();
    vec![
        ("config.dump", text(&config)),
        ("spec.dump", text(&spec)),
        ("status.dump", text(&go_status(shown))),
    ]
}

fn image(status: &api::ContainerStatus) -> &str {
    status.image.as_ref().map(|it| it.image.as_str()).unwrap_or_default()
}

/// Whose container it is, in containerd's words.
fn annotate(spec: &mut Value, member: &Member<'_>, sandbox: &Sandbox<'_>) {
    let own = member.config.metadata.clone().unwrap_or_default();
    let pod = sandbox.config.metadata.clone().unwrap_or_default();
    let image = member.config.image.as_ref().map(|it| it.image.clone()).unwrap_or_default();
    let all = [
        ("container-type", "container".to_owned()),
        ("container-name", own.name),
        ("image-name", image),
        ("sandbox-id", member.sandbox.to_owned()),
        ("sandbox-name", pod.name),
        ("sandbox-namespace", pod.namespace),
        ("sandbox-uid", pod.uid),
    ];
    for (name, value) in all {
        spec["annotations"][format!("io.kubernetes.cri.{name}")] = Value::from(value);
    }
}

/// A status as Go writes it: the proto file's names, numbers for enumerations, nothing that is empty.
fn go_status(status: &api::ContainerStatus) -> Value {
    let metadata = status.metadata.clone().unwrap_or_default();
    let mounts = status.mounts.iter().map(|mount| {
        compact(json!({
            "container_path": mount.container_path,
            "host_path": mount.host_path,
            "readonly": mount.readonly,
            "selinux_relabel": mount.selinux_relabel,
            "propagation": mount.propagation,
            "recursive_read_only": mount.recursive_read_only,
        }))
    });
    compact(json!({
        "id": status.id,
        "metadata": compact(json!({"name": metadata.name, "attempt": metadata.attempt})),
        "state": status.state,
        "created_at": status.created_at,
        "started_at": status.started_at,
        "image": compact(json!({"image": image(status)})),
        "image_ref": status.image_ref,
        "image_id": status.image_id,
        "labels": status.labels,
        "annotations": status.annotations,
        "mounts": mounts.collect::<Vec<_>>(),
        "log_path": status.log_path,
    }))
}

fn compact(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| match value {
            Value::Bool(value) => *value,
            Value::Number(value) => value.as_i64() != Some(0),
            Value::String(value) => !value.is_empty(),
            Value::Array(value) => !value.is_empty(),
            Value::Object(value) => !value.is_empty(),
            Value::Null => false,
        });
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_as_go_writes_it() {
        let status = api::ContainerStatus {
            id: "abc".to_owned(),
            metadata: Some(api::ContainerMetadata { name: "main".to_owned(), attempt: 0 }),
            state: api::ContainerState::ContainerRunning.into(),
            created_at: 5,
            mounts: vec![api::Mount { container_path: "/a".to_owned(), ..api::Mount::default() }],
            ..api::ContainerStatus::default()
        };
        let wanted = json!({
            "id": "abc",
            "metadata": {"name": "main"},
            "state": 1,
            "created_at": 5,
            "mounts": [{"container_path": "/a"}],
        });
        assert_eq!(go_status(&status), wanted);
    }
}
