//! Reading manifests field by field: every field is asked for, has no meaning here, or is refused.

use serde_json::{Map, Value};

/// Fields about clusters: scheduling, identities, the ways of a kubelet. They are named, and change nothing.
const MEANINGLESS: [&str; 25] = [
    "affinity",
    "automountServiceAccountToken",
    "creationTimestamp",
    "dnsPolicy",
    "enableServiceLinks",
    "finalizers",
    "minReadySeconds",
    "nodeName",
    "nodeSelector",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "progressDeadlineSeconds",
    "readinessGates",
    "resizePolicy",
    "revisionHistoryLimit",
    "schedulerName",
    "serviceAccount",
    "serviceAccountName",
    "status",
    "strategy",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tolerations",
    "topologySpreadConstraints",
];

/// A mapping on its way of being read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    path: String,
    map: Map<String, Value>,
    notices: &'a mut Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader of `value`, which must be a mapping; nothing is an empty one.
    pub(crate) fn new(
        path: impl Into<String>,
        value: Value,
        notices: &'a mut Vec<String>,
    ) -> Result<Self, String> {
        let path = path.into();
        match value {
            Value::Object(map) => Ok(Reader { path, map, notices }),
            Value::Null => Ok(Reader { path, map: Map::new(), notices }),
            _ => Err(format!("{path}: expected a mapping")),
        }
    }

    pub(crate) fn take(&mut self, key: &str) -> Value {
        self.map.remove(key).unwrap_or_default()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// A port's number.
    pub(crate) fn port(&mut self, key: &str) -> Result<Option<i64>, String> {
        match self.number(key)? {
            Some(port) if !(1..=65535).contains(&port) => {
                Err(format!("{}.{key}: {port} is no port", self.path))
            }
            port => Ok(port),
        }
    }

    /// A port's protocol, in small letters.
    pub(crate) fn protocol(&mut self) -> Result<String, String> {
        match self.text("protocol")?.as_str() {
            "" | "TCP" => Ok("tcp".to_owned()),
            "UDP" => Ok("udp".to_owned()),
            "SCTP" => Ok("sctp".to_owned()),
            other => Err(format!("{}.protocol: \"{other}\" is none", self.path)),
        }
    }

    pub(crate) fn inside(&mut self, key: &str) -> Result<Reader<'_>, String> {
        let (path, value) = (format!("{}.{key}", self.path), self.take(key));
        Reader::new(path, value, self.notices)
    }

    /// Every item of a list, read by `read`.
    pub(crate) fn each<T>(
        &mut self,
        key: &str,
        mut read: impl FnMut(Reader<'_>) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let path = format!("{}.{key}", self.path);
        match self.take(key) {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => {
                let mut all = Vec::new();
                for (index, item) in items.into_iter().enumerate() {
                    all.push(read(Reader::new(format!("{path}[{index}]"), item, self.notices)?)?);
                }
                Ok(all)
            }
            _ => Err(format!("{path}: expected a list")),
        }
    }

    /// A text; numbers and truth values are refused, as kubectl does.
    pub(crate) fn text(&mut self, key: &str) -> Result<String, String> {
        match self.take(key) {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text),
            _ => Err(format!("{}.{key}: expected a text", self.path)),
        }
    }

    pub(crate) fn needed(&mut self, key: &str) -> Result<String, String> {
        let text = self.text(key)?;
        if text.is_empty() { Err(format!("{}.{key} is required", self.path)) } else { Ok(text) }
    }

    pub(crate) fn texts(&mut self, key: &str) -> Result<Vec<String>, String> {
        let wrong = || format!("{}.{key}: expected a list of texts", self.path);
        match self.map.remove(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
                .collect(),
            Some(_) => Err(wrong()),
        }
    }

    pub(crate) fn flag(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.take(key) {
            Value::Null => Ok(None),
            Value::Bool(value) => Ok(Some(value)),
            _ => Err(format!("{}.{key}: expected true or false", self.path)),
        }
    }

    pub(crate) fn number(&mut self, key: &str) -> Result<Option<i64>, String> {
        match self.take(key) {
            Value::Null => Ok(None),
            value => {
                let wrong = || format!("{}.{key}: expected a whole number", self.path);
                value.as_i64().map(Some).ok_or_else(wrong)
            }
        }
    }

    pub(crate) fn numbers(&mut self, key: &str) -> Result<Vec<i64>, String> {
        let wrong = || format!("{}.{key}: expected a list of whole numbers", self.path);
        match self.map.remove(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_i64().ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    /// A mapping of texts.
    pub(crate) fn pairs(&mut self, key: &str) -> Result<Vec<(String, String)>, String> {
        let path = format!("{}.{key}", self.path);
        match self.take(key) {
            Value::Null => Ok(Vec::new()),
            Value::Object(map) => map
                .into_iter()
                .map(|(name, value)| match value {
                    Value::String(text) => Ok((name, text)),
                    _ => Err(format!("{path}.{name}: expected a text")),
                })
                .collect(),
            _ => Err(format!("{path}: expected a mapping")),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// A field that is there and changes nothing here.
    pub(crate) fn notice(&mut self, key: &str, why: &str) {
        if !says_nothing(&self.take(key)) {
            self.notices.push(format!("{}.{key} {why}", self.path));
        }
    }

    /// Says something about a field that was read.
    pub(crate) fn tell(&mut self, key: &str, words: &str) {
        self.notices.push(format!("{}.{key} {words}", self.path));
    }

    /// Nothing else may be there.
    pub(crate) fn finish(self) -> Result<(), String> {
        for (key, value) in self.map {
            let is_known = MEANINGLESS.contains(&key.as_str());
            if value.is_null() || (is_known && says_nothing(&value)) {
                continue;
            }
            if !is_known {
                return Err(format!("{}.{key} is not supported", self.path));
            }
            self.notices.push(format!("{}.{key} has no meaning on one machine", self.path));
        }
        Ok(())
    }
}

/// `strategy: {}` and the like, which `kubectl create --dry-run` writes.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}
