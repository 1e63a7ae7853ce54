//! The environment of a container: from ConfigMaps, Secrets, the pod itself, and what is written down.

use serde_json::Value;

use crate::{
    fields::{self, Field},
    manifest::{Manifests, Pod, Source},
    reader::Reader,
};

/// Where values come from.
#[derive(Clone, Copy)]
pub(crate) struct Values<'p> {
    pub(crate) pod: &'p Pod,
    pub(crate) manifests: &'p Manifests,
}

impl Values<'_> {
    /// Reads `envFrom` and `env` of a container: `NAME=value` lines. What is known when the pod is there is marked in them.
    pub(crate) fn read(&self, reader: &mut Reader<'_>, own: &str) -> Result<Vec<String>, String> {
        let mut all = self.env_from(reader)?;
        self.env(reader, own, &mut all)?;
        Ok(all)
    }

    /// The group of the pod's volumes, as its manifest says it.
    pub(crate) fn group(&self) -> Option<i64> {
        self.pod.spec.pointer("/securityContext/fsGroup").and_then(Value::as_i64)
    }

    pub(crate) fn value(&self, source: Source, name: &str, key: &str) -> Result<&str, String> {
        let map = self.manifests.values.get(&(source, name.to_owned()));
        let map = map.ok_or_else(|| format!("{source:?} \"{name}\" is not in the manifests"))?;
        let value = map.get(key);
        let value = value.ok_or_else(|| format!("{source:?} \"{name}\" has no key \"{key}\""))?;
        let text = std::str::from_utf8(value);
        text.map_err(|_| format!("{source:?} \"{name}\": the value of \"{key}\" is no text"))
    }

    fn env_from(&self, reader: &mut Reader<'_>) -> Result<Vec<String>, String> {
        let all = reader.each("envFrom", |mut from| {
            let prefix = from.text("prefix")?;
            let mut lines = Vec::new();
            for (key, source) in
                [("configMapRef", Source::ConfigMap), ("secretRef", Source::Secret)]
            {
                let mut of = from.inside(key)?;
                let name = of.text("name")?;
                let optional = of.flag("optional")?.unwrap_or(false);
                of.finish()?;
                match self.manifests.values.get(&(source, name.clone())) {
                    _ if name.is_empty() => {}
                    Some(map) => {
                        for key in map.keys() {
                            let value = self.value(source, &name, key)?;
                            lines.push(format!("{prefix}{key}={value}"));
                        }
                    }
                    None if optional => {}
                    None => return Err(format!("{source:?} \"{name}\" is not in the manifests")),
                }
            }
            from.finish()?;
            Ok(lines)
        })?;
        Ok(all.concat())
    }

    fn env(&self, reader: &mut Reader<'_>, own: &str, all: &mut Vec<String>) -> Result<(), String> {
        reader.each("env", |mut line| {
            let name = line.needed("name")?;
            if name.contains('=') {
                return Err(format!("{}.name: \"{name}\" cannot be", line.path()));
            }
            let mut value = Some(expanded(&line.text("value")?, all));
            let mut from = line.inside("valueFrom")?;
            for (key, source) in
                [("configMapKeyRef", Source::ConfigMap), ("secretKeyRef", Source::Secret)]
            {
                let mut of = from.inside(key)?;
                let (map, entry) = (of.text("name")?, of.text("key")?);
                let optional = of.flag("optional")?.unwrap_or(false);
                of.finish()?;
                if !map.is_empty() {
                    value = match self.value(source, &map, &entry) {
                        Ok(value) => Some(value.to_owned()),
                        Err(_) if optional => None,
                        Err(why) => return Err(why),
                    };
                }
            }
            let of_pod = fields::of_pod(&mut from, self.pod)?;
            match of_pod.or(fields::of_resources(&mut from, self.pod, own)?) {
                Some(Field::Known(known)) => value = Some(known),
                Some(Field::Late(field)) => value = Some(fields::marked(&field)),
                None => {}
            }
            from.finish()?;
            line.finish()?;
            all.extend(value.map(|value| format!("{name}={value}")));
            Ok(())
        })?;
        Ok(())
    }
}

/// `$(NAME)` is the variable's value, where there is one; `$$` is a dollar sign.
pub(crate) fn expanded(text: &str, env: &[String]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        let known = name.and_then(|(name, after)| {
            let line = env.iter().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| (value, after))
        });
        match known {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out + rest
}
