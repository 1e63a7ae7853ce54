//! Values on their way through a template.

use serde_json::Value;

use crate::print;

/// A range over a number is cut here: steps are counted anyway.
const MAX_COUNT: i64 = 1_000_000;

/// A value, or the lack of one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) value: Option<Value>,
    /// The key that it was found below, for the way it prints; `Mounts[]` for an item of `Mounts`.
    pub(crate) key: Option<String>,
    /// It is the root itself, which has methods and may be strict.
    pub(crate) root: bool,
}

impl Found {
    pub(crate) fn of(value: Value) -> Self {
        Found { value: Some(value), key: None, root: false }
    }

    /// What a range goes through: indexes or keys, and items. The error is Go's.
    pub(crate) fn items(self) -> Result<Vec<(Value, Found)>, String> {
        let key = self.key.map(|key| key + "[]");
        let item = |value| Found { value: Some(value), key: key.clone(), root: false };
        Ok(match self.value {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(index, value)| (Value::from(index), item(value)))
                .collect(),
            Some(Value::Object(members)) => {
                // Go goes through maps by sorted keys.
                let mut members: Vec<_> = members.into_iter().collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                members.into_iter().map(|(key, value)| (Value::from(key), item(value))).collect()
            }
            Some(Value::Number(count)) if count.as_i64().is_some() => {
                let count = count.as_i64().unwrap_or(0).clamp(0, MAX_COUNT);
                (0..count).map(|number| (Value::from(number), item(Value::from(number)))).collect()
            }
            Some(other) => {
                let mut text = String::new();
                print::plain(&other, &mut text);
                return Err(format!("range can't iterate over {text}"));
            }
        })
    }
}

/// Go's truth: not the zero of its type.
pub(crate) fn truth(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
    }
}
