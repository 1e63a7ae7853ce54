//! `builder` in `daemon.json`: how much the build cache may take, in dockerd's words.

use std::time::Duration;

use ferry_engine::{BuildBudget as Budget, BuildGcRule};
use serde_json::{Map, Value};

/// Reads it. Without a word about it, BuildKit's default for the disk of the data root holds.
pub(super) fn read(text: Option<&str>, disk: u64) -> Result<Vec<BuildGcRule>, String> {
    let default = BuildGcRule::budget_of(disk);
    let Some(text) = text else { return Ok(BuildGcRule::defaults(default)) };
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| format!("builder: {error}"))?;
    let mut rules = BuildGcRule::defaults(default);
    for (key, value) in &object {
        match key.to_lowercase().as_str() {
            "gc" => rules = collection(value, default)?,
            _ => return Err(format!("builder: {key} is not supported: there is gc")),
        }
    }
    Ok(rules)
}

fn collection(value: &Value, default: Budget) -> Result<Vec<BuildGcRule>, String> {
    let (mut enabled, mut policy, mut own) = (true, None, None);
    for (key, value) in members("builder.gc", value)? {
        let wrong =
            || format!("builder.gc: {key}: a value of this kind means nothing there: {value}");
        match key.to_lowercase().as_str() {
            "enabled" => enabled = value.as_bool().ok_or_else(wrong)?,
            "policy" => policy = Some(value.as_array().ok_or_else(wrong)?),
            "defaultkeepstorage" | "defaultreservedspace" => {
                own.get_or_insert(Budget::default()).reserved = bytes(key, value)?;
            }
            "defaultmaxusedspace" => {
                own.get_or_insert(Budget::default()).max_used = bytes(key, value)?;
            }
            "defaultminfreespace" => {
                own.get_or_insert(Budget::default()).min_free = bytes(key, value)?;
            }
            _ => return Err(format!("builder.gc: {key} is not supported")),
        }
    }
    if !enabled {
        return Ok(Vec::new());
    }
    match policy {
        Some(rules) => rules.iter().map(rule).collect(),
        None => Ok(BuildGcRule::defaults(own.unwrap_or(default))),
    }
}

fn rule(value: &Value) -> Result<BuildGcRule, String> {
    let mut rule = BuildGcRule::default();
    let mut all = false;
    for (key, value) in members("builder.gc.policy", value)? {
        match key.to_lowercase().as_str() {
            "all" => all = value.as_bool().unwrap_or_default(),
            "keepstorage" | "reservedspace" => rule.budget.reserved = bytes(key, value)?,
            "maxusedspace" => rule.budget.max_used = bytes(key, value)?,
            "minfreespace" => rule.budget.min_free = bytes(key, value)?,
            "filter" => filters(&mut rule, value)?,
            _ => return Err(format!("builder.gc.policy: {key} is not supported")),
        }
    }
    // Everything would go after every build.
    if rule.budget == Budget::default() && rule.unused_for.is_none() {
        let words = "builder.gc.policy: a rule needs a size to keep or an age (unused-for)";
        return Err(if all { words.to_owned() } else { format!("{words}: {value}") });
    }
    Ok(rule)
}

/// `["unused-for=48h", "type=exec.cachemount"]`, or the same as an object.
fn filters(rule: &mut BuildGcRule, value: &Value) -> Result<(), String> {
    let wrong = || format!("builder.gc.policy: the filter does not read: {value}");
    let pairs: Vec<(String, String)> = match value {
        Value::Array(items) => {
            let pair = |item: &Value| {
                let (name, value) = item.as_str()?.split_once('=')?;
                Some((
                    name.trim_end_matches('=').to_owned(),
                    value.trim_start_matches('=').to_owned(),
                ))
            };
            items.iter().map(|item| pair(item).ok_or_else(wrong)).collect::<Result<_, _>>()?
        }
        Value::Object(members) => {
            let pair =
                |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            members.iter().map(|member| pair(member).ok_or_else(wrong)).collect::<Result<_, _>>()?
        }
        _ => return Err(wrong()),
    };
    for (name, value) in pairs {
        match name.as_str() {
            "unused-for" | "until" => {
                let nanos = ferry_stdx::duration::parse_go(&value)
                    .map_err(|error| format!("builder.gc.policy: {error}"))?;
                rule.unused_for =
                    Some(Duration::from_nanos(u64::try_from(nanos).map_err(|_| wrong())?));
            }
            "type" => rule.kinds.get_or_insert_default().push(value),
            other => {
                return Err(format!("builder.gc.policy: choosing by {other} is not supported"));
            }
        }
    }
    Ok(())
}

fn members<'a>(name: &str, value: &'a Value) -> Result<&'a Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("{name}: a value of this kind means nothing there: {value}"))
}

fn bytes(key: &str, value: &Value) -> Result<u64, String> {
    let wrong = |why: String| format!("builder.gc: {key}: {why}");
    let bytes = match value {
        Value::Number(number) => number.as_i64().ok_or_else(|| wrong(format!("{value}")))?,
        Value::String(text) => {
            ferry_stdx::size::parse_bytes(text).map_err(|error| wrong(error.to_string()))?
        }
        _ => return Err(wrong(format!("a size is wanted, not {value}"))),
    };
    u64::try_from(bytes).map_err(|_| wrong(format!("{bytes} is less than nothing")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_dockerds() {
        let text = r#"{"gc": {"enabled": true, "policy": [
            {"keepStorage": "10GB", "filter": ["unused-for=2200h"]},
            {"maxUsedSpace": "1GB", "all": true, "filter": {"type": "exec.cachemount"}}]}}"#;
        let rules = read(Some(text), 0).unwrap();
        assert_eq!(rules[0].budget.reserved, 10 << 30);
        assert_eq!(rules[0].unused_for, Some(Duration::from_secs(2200 * 3600)));
        assert_eq!(rules[1].budget.max_used, 1 << 30);
        assert_eq!(rules[1].kinds.as_deref(), Some(["exec.cachemount".to_owned()].as_slice()));
        assert_eq!(read(Some(r#"{"gc": {"enabled": false}}"#), 0).unwrap(), []);
        let kept = read(Some(r#"{"gc": {"defaultKeepStorage": "5GB"}}"#), 0).unwrap();
        assert_eq!(kept.last().unwrap().budget, Budget { reserved: 5 << 30, ..Budget::default() });
        assert_eq!(read(None, 1_000_000_000_000).unwrap()[2].budget.reserved, 10_000_000_000);
    }

    #[test]
    fn what_would_empty_the_cache_or_means_nothing_is_refused() {
        for (text, words) in [
            (r#"{"gc": {"policy": [{"all": true}]}}"#, "a rule needs a size"),
            (r#"{"gc": {"policy": [{"keepStorage": "x"}]}}"#, "keepStorage"),
            (r#"{"gc": {"policy": [{"filter": ["id=x"]}]}}"#, "choosing by id"),
            (r#"{"entitlements": {}}"#, "entitlements is not supported"),
            ("[]", "builder"),
        ] {
            let refused = read(Some(text), 0).unwrap_err();
            assert!(refused.contains(words), "{text}: {refused}");
        }
    }
}
