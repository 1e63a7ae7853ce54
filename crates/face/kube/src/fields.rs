//! What a pod says about itself to its containers: `fieldRef` and `resourceFieldRef`.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{manifest::Pod, reader::Reader, settings::milli};

/// A value, or one that is known when the pod is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    Known(String),
    Late(&'static str),
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
            let found = LATE.iter().find(|known| **known == late).copied();
            return Ok(found.map(Field::Late));
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

fn lines(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value:?}\n")).collect()
}

/// Reads a `resourceFieldRef`; `own` is the container that asks, which may ask for another one's.
pub(crate) fn of_resources(
    from: &mut Reader<'_>,
    pod: &Pod,
    own: &str,
) -> Result<Option<String>, String> {
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
    let value = value
        .ok_or_else(|| format!("{}.resource: container \"{name}\" has no {resource}", of.path()))?;
    of.finish()?;
    Ok(Some(value.saturating_add(divisor - 1).checked_div(divisor).unwrap_or(0).to_string()))
}
