//! What a pod says about itself to its containers: `fieldRef` and `resourceFieldRef`.

use std::collections::BTreeSet;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{manifest::Pod, reader::Reader, settings::milli};

/// A value, or one that is known when the pod is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    Known(String),
    Late(String),
}

/// Stands around the name of a late field where its value belongs. No argument and no variable of a program can have it.
const MARK: char = '\0';

/// A late field's place in a text.
pub(crate) fn marked(field: &str) -> String {
    format!("{MARK}{field}{MARK}")
}

/// The late fields that stand in a text.
pub(crate) fn late_in(text: &str) -> Vec<&str> {
    text.split(MARK).skip(1).step_by(2).collect()
}

/// The late fields that stand in the texts of a body.
pub(crate) fn late(body: &Value) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    each_text(&mut body.clone(), &mut |text| {
        fields.extend(late_in(text).into_iter().map(str::to_owned));
    });
    fields
}

/// Puts values where late fields are marked.
pub(crate) fn put_late(body: &mut Value, value: &dyn Fn(&str) -> String) {
    each_text(body, &mut |text| {
        let parts = text.split(MARK).enumerate();
        *text = parts
            .map(|(index, part)| if index % 2 == 1 { value(part) } else { part.to_owned() })
            .collect();
    });
}

/// What a container runs, and its variables: late fields are nowhere else.
fn each_text(body: &mut Value, with: &mut dyn FnMut(&mut String)) {
    for key in ["Entrypoint", "Cmd", "Env"] {
        for line in body.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::String(text) = line {
                with(text);
            }
        }
    }
}

/// What only the engine knows.
const LATE: [&str; 5] =
    ["status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs", "spec.nodeName"];

/// Reads a `fieldRef`; `None` when it is not there.
pub(crate) fn of_pod(from: &mut Reader<'_>, pod: &Pod) -> Result<Option<Field>, String> {
    if !from.has("fieldRef") {
        return Ok(None);
    }
    let mut of = from.inside("fieldRef")?;
    let path = of.needed("fieldPath")?;
    of.take("apiVersion");
    let of_map = |pairs: &[(String, String)], key: &str| {
        let pair = pairs.iter().find(|(name, _)| name == key);
        pair.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let between = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
    let known = match path.as_str() {
        "metadata.name" => pod.name.clone(),
        "metadata.namespace" => pod.namespace.clone(),
        "metadata.uid" => uid(pod),
        "metadata.labels" => lines(&pod.labels),
        "metadata.annotations" => lines(&pod.annotations),
        "spec.serviceAccountName" => {
            let name = pod.spec.get("serviceAccountName").and_then(Value::as_str);
            name.unwrap_or("default").to_owned()
        }
        late if LATE.contains(&late) => {
            of.finish()?;
            return Ok(Some(Field::Late(late.to_owned())));
        }
        other => match (between("metadata.labels['"), between("metadata.annotations['")) {
            (Some(key), _) => of_map(&pod.labels, key),
            (None, Some(key)) => of_map(&pod.annotations, key),
            (None, None) => {
                return Err(format!("{}.fieldPath: \"{other}\" is not supported", of.path()));
            }
        },
    };
    of.finish()?;
    Ok(Some(Field::Known(known)))
}

/// The same for the same pod.
fn uid(pod: &Pod) -> String {
    let digest = Sha256::digest(format!("{}/{}/{}", pod.owner, pod.namespace, pod.name));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-")
}

/// As Kubernetes writes them: by name, and no line ends behind the last.
fn lines(pairs: &[(String, String)]) -> String {
    let mut lines: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    lines.sort();
    lines.join("\n")
}

/// Reads a `resourceFieldRef`; `own` is the container that asks, which may ask for another one's.
pub(crate) fn of_resources(
    from: &mut Reader<'_>,
    pod: &Pod,
    own: &str,
) -> Result<Option<Field>, String> {
    if !from.has("resourceFieldRef") {
        return Ok(None);
    }
    let mut of = from.inside("resourceFieldRef")?;
    let resource = of.needed("resource")?;
    let divisor = match of.take("divisor") {
        Value::String(text) => text,
        Value::Null => "1".to_owned(),
        other => other.to_string(),
    };
    // "0" is how Kubernetes shows that nothing was said.
    let divisor = if divisor == "0" { "1".to_owned() } else { divisor };
    let divisor = milli(&divisor).filter(|divisor| *divisor > 0);
    let divisor = divisor.ok_or_else(|| format!("{}.divisor is no quantity", of.path()))?;
    let name = match of.text("containerName")? {
        name if name.is_empty() => own.to_owned(),
        name => name,
    };
    let path = of.path().to_owned();
    let lists = ["containers", "initContainers"].into_iter();
    let mut all = lists.filter_map(|key| pod.spec.get(key)?.as_array()).flatten();
    let container = all.find(|one| one.get("name").and_then(Value::as_str) == Some(&name));
    let (kind, key) = resource.split_once('.').unwrap_or_default();
    let found = |kind: &str| {
        let value = container?.get("resources")?.get(kind)?.get(key)?;
        milli(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    let value = match kind {
        "limits" => found("limits"),
        // A limit is also a request.
        "requests" => found("requests").or_else(|| found("limits")),
        _ => None,
    };
    of.finish()?;
    let whole = |value: i64| value.saturating_add(divisor - 1).checked_div(divisor).unwrap_or(0);
    match value {
        Some(value) => Ok(Some(Field::Known(whole(value).to_string()))),
        // What is not limited may have all that the machine has.
        None if container.is_some()
            && matches!(resource.as_str(), "limits.cpu" | "limits.memory") =>
        {
            Ok(Some(Field::Late(format!("{resource}/{divisor}"))))
        }
        None => Err(format!("{path}.resource: container \"{name}\" has no {resource}")),
    }
}

/// What a machine has of a resource, by a late field's name: in thousandths, divided and rounded up.
pub(crate) fn of_machine(field: &str, cpus: i64, memory: i64) -> Option<String> {
    let (resource, divisor) = field.split_once('/')?;
    let divisor: i64 = divisor.parse().ok().filter(|divisor| *divisor > 0)?;
    let all = if resource == "limits.cpu" { cpus } else { memory }.saturating_mul(1000);
    Some((all.saturating_add(divisor - 1) / divisor).to_string())
}
