//! The `filters` query parameter.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Filters by name. Values are sorted and occur once each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(pub BTreeMap<String, Vec<String>>);

/// The parameter is neither of the two forms. The words are dockerd's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid filter")]
pub struct InvalidFilters;

/// A filter's value as it came: `{"value": true}` since 1.22, `["value"]` before and in many scripts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Set(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl Filters {
    /// Reads the parameter; empty text is no filters.
    pub fn parse(text: &str) -> Result<Self, InvalidFilters> {
        if text.is_empty() {
            return Ok(Filters::default());
        }
        let raw: BTreeMap<String, Option<Values>> =
            serde_json::from_str(text).map_err(|_| InvalidFilters)?;
        Ok(Filters(raw.into_iter().map(|(name, values)| (name, flatten(values))).collect()))
    }

    /// The newer of the two forms; empty for no filters.
    pub fn to_json(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let sets = self.0.iter().map(|(name, values)| {
            let set = values.iter().map(|value| (value.clone(), true.into()));
            (name.clone(), serde_json::Value::Object(set.collect()))
        });
        serde_json::Value::Object(sets.collect()).to_string()
    }

    /// Adds a value.
    pub fn add(&mut self, name: &str, value: &str) {
        let values = self.0.entry(name.to_owned()).or_default();
        if let Err(at) = values.binary_search_by(|known| known.as_str().cmp(value)) {
            values.insert(at, value.to_owned());
        }
    }

    /// The values of one filter; none when it is not there.
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

fn flatten(values: Option<Values>) -> Vec<String> {
    match values {
        None => Vec::new(),
        Some(Values::Set(set)) => {
            set.into_iter().filter(|(_, on)| *on).map(|(value, _)| value).collect()
        }
        Some(Values::List(mut list)) => {
            list.sort();
            list.dedup();
            list
        }
    }
}
