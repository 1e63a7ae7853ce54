//! Two long forms to one: what a later file, or the service that extends, says on top.

use serde_json::Value;

use super::schema::{self, Kind};

/// Merges `over` into `base`.
pub(crate) fn merge(base: &mut Value, over: Value, kind: &Kind) {
    if over.is_null() && !base.is_null() {
        return;
    }
    if base.is_null() {
        // What is one thing twice in one file is so, too.
        *base = match &over {
            Value::Object(_) => Value::Object(serde_json::Map::new()),
            Value::Array(_) if is_list(kind) => Value::Array(Vec::new()),
            _ => {
                *base = over;
                return;
            }
        };
    }
    match kind {
        Kind::Object(keys) => {
            if is_logging(base) && base["driver"] != over["driver"] && !over["driver"].is_null() {
                *base = over;
                return;
            }
            let Value::Object(over) = over else { return };
            for (name, value) in over {
                let kind =
                    keys.iter().find(|key| key.name == name).map_or(Kind::Any, |key| key.kind);
                merge(&mut base[name.as_str()], value, &kind);
            }
        }
        Kind::MapOf(inner) => by_name(base, over, inner),
        Kind::Networks => by_name(base, over, &Kind::Object(schema::SERVICE_NETWORK)),
        Kind::DependsOn => by_name(base, over, &Kind::Object(schema::DEPENDENCY)),
        Kind::Build => merge(base, over, &Kind::Object(schema::BUILD)),
        Kind::Mapping | Kind::Labels | Kind::Options | Kind::Ulimits => {
            by_name(base, over, &Kind::Text)
        }
        Kind::Texts | Kind::TextOrTexts | Kind::Hosts | Kind::EnvFiles | Kind::Include => {
            append(base, over, &|item| item.to_string());
        }
        Kind::Ports => append(base, over, &|port| {
            format!(
                "{}|{}|{}|{}",
                port["host_ip"], port["target"], port["published"], port["protocol"]
            )
        }),
        Kind::Mounts | Kind::Devices => append(base, over, &|item| item["target"].to_string()),
        Kind::Configs | Kind::Secrets => append(base, over, &|item| {
            let target = &item["target"];
            (if target.is_null() { &item["source"] } else { target }).to_string()
        }),
        Kind::ListOf(Kind::Object(keys)) if std::ptr::eq(*keys, schema::POOL) => pools(base, over),
        // Steps: each is done, in their order.
        Kind::ListOf(Kind::Object(keys))
            if [schema::HOOK, schema::PRE_START].iter().any(|own| std::ptr::eq(*keys, *own)) =>
        {
            if let (Value::Array(base), Value::Array(over)) = (base, over) {
                base.extend(over);
            }
        }
        Kind::ServiceModels => by_name(base, over, &Kind::Any),
        Kind::ListOf(_) | Kind::Gpus | Kind::Ssh => append(base, over, &|item| item.to_string()),
        Kind::Any if base.is_object() && over.is_object() => by_name(base, over, &Kind::Any),
        _ => *base = over,
    }
}

/// Lists that grow when they are merged.
fn is_list(kind: &Kind) -> bool {
    !matches!(kind, Kind::Command | Kind::Test | Kind::Any)
}

/// The ranges of addresses of a later file stand for those of an earlier one; what both say of the same range is merged.
fn pools(base: &mut Value, over: Value) {
    let Value::Array(mut over) = over else { return };
    for pool in &mut over {
        let mut known = base.as_array().into_iter().flatten();
        let same = known.find(|known| known["subnet"] == pool["subnet"]).cloned();
        if let Some(mut merged) = same {
            for (name, value) in pool.as_object().into_iter().flatten() {
                merged[name.as_str()] = value.clone();
            }
            *pool = merged;
        }
    }
    *base = Value::Array(over);
}

fn is_logging(value: &Value) -> bool {
    value.as_object().is_some_and(|map| {
        map.contains_key("driver") && map.keys().all(|key| key == "driver" || key == "options")
    })
}

fn by_name(base: &mut Value, over: Value, inner: &Kind) {
    let Value::Object(over) = over else { return };
    for (name, value) in over {
        // A variable without a value says: the value of the environment.
        if matches!(inner, Kind::Text) {
            base[name.as_str()] = value;
        } else {
            merge(&mut base[name.as_str()], value, inner);
        }
    }
}

/// Appends; of items with the same identity the later one stands, where the first stood.
fn append(base: &mut Value, over: Value, identity: &dyn Fn(&Value) -> String) {
    let (Value::Array(base), Value::Array(over)) = (base, over) else { return };
    for item in over {
        let id = identity(&item);
        match base.iter_mut().find(|known| identity(known) == id) {
            Some(known) => *known = item,
            None => base.push(item),
        }
    }
}
