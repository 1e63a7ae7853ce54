//! What does not fit together in a project, though each value is one: found after merging, all of it at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    LoadError,
    near::{hint, nearest},
};
use crate::yaml::Place;

/// Where keys stand, by their paths: `services.web.volumes`.
pub(super) type Places = BTreeMap<String, (String, Place)>;

/// One mistake.
struct Misfit {
    /// The key that it is about.
    at: String,
    words: String,
    hint: Option<String>,
}

/// Collects them.
#[derive(Default)]
struct Misfits(Vec<Misfit>);

impl Misfits {
    /// With Compose's own ending.
    fn add(&mut self, at: String, words: &str) {
        self.add_plain(at, format!("{words}: invalid compose project"));
    }

    fn add_plain(&mut self, at: String, words: String) {
        self.0.push(Misfit { at, words, hint: None });
    }

    /// Something is named that is not there.
    fn add_unknown<'a>(
        &mut self,
        at: String,
        words: &str,
        name: &str,
        known: impl Iterator<Item = &'a str>,
    ) {
        self.add(at, words);
        if let Some(last) = self.0.last_mut() {
            last.hint = nearest(name, known).map(hint);
        }
    }

    fn into_error(self, places: &Places) -> Result<(), LoadError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = self.0.iter().map(|one| one.line(places)).collect();
        Err(LoadError::Inconsistent(lines.join("\n")))
    }
}

impl Misfit {
    /// The place is that of the key, or of what is around it.
    fn line(&self, places: &Places) -> String {
        let mut at = self.at.as_str();
        let place = loop {
            match (places.get(at), at.rsplit_once('.')) {
                (Some((file, place)), _) => {
                    break Some(format!("{file}:{}:{}", place.line, place.column));
                }
                (None, Some((around, _))) => at = around,
                (None, None) => break None,
            }
        };
        let more: Vec<String> = place.into_iter().chain(self.hint.clone()).collect();
        if more.is_empty() {
            return self.words.clone();
        }
        format!("{} ({})", self.words, more.join("; "))
    }
}

/// Looks at a project whose services are told apart by their profiles.
pub(super) fn check(
    services: &Map<String, Value>,
    disabled: &Map<String, Value>,
    tree: &Value,
    places: &Places,
) -> Result<(), LoadError> {
    let mut misfits = Misfits::default();
    for (name, service) in services {
        let checked = Checked { name, service, services, disabled, tree };
        checked.parts(&mut misfits);
        checked.build(&mut misfits);
        checked.references(&mut misfits);
        checked.mounts(&mut misfits);
        checked.dependencies(&mut misfits);
        checked.distinct(&mut misfits);
    }
    outside(tree, &mut misfits);
    misfits.into_error(places)?;
    circle(services)
}

/// Volumes, secrets and configs.
fn outside(tree: &Value, misfits: &mut Misfits) {
    for (name, volume) in entries(&tree["volumes"]) {
        if volume["external"] != json!(true) {
            continue;
        }
        let own = |key: &&String| !matches!(key.as_str(), "name" | "external");
        let keys = volume.as_object().into_iter().flat_map(Map::keys).filter(own);
        if let Some(key) = keys.into_iter().find(|key| !key.starts_with("x-")) {
            let at = format!("volumes.{name}");
            let words = format!("{at}: conflicting parameters \"external\" and {key:?} specified");
            misfits.add_plain(format!("{at}.{key}"), words);
        }
    }
    for (kind, known) in [("secrets", "file|environment"), ("configs", "file|environment|content")]
    {
        for (name, object) in entries(&tree[kind]) {
            let all = ["file", "environment", "content"];
            let said = all.iter().filter(|key| object.get(key).is_some()).count();
            let at = format!("{kind}.{name}");
            let elsewhere = object.get("driver").is_some() || object.get("external").is_some();
            if said > 1 {
                let words = format!("{at}: {known} attributes are mutually exclusive");
                misfits.add_plain(at, words);
            } else if said == 0 && !elsewhere {
                let words = format!("{at}: one of {known} must be set");
                misfits.add_plain(at, words);
            }
        }
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn names(value: &Value) -> impl Iterator<Item = &str> {
    entries(value).map(|(name, _)| name.as_str())
}

/// A service among the others.
struct Checked<'a> {
    name: &'a str,
    service: &'a Value,
    services: &'a Map<String, Value>,
    disabled: &'a Map<String, Value>,
    tree: &'a Value,
}

impl Checked<'_> {
    fn at(&self, key: &str) -> String {
        match key {
            "" => format!("services.{}", self.name),
            key => format!("services.{}.{key}", self.name),
        }
    }

    /// Keys of its own that need or exclude each other.
    fn parts(&self, misfits: &mut Misfits) {
        let Checked { name, service, .. } = *self;
        let said = |key: &&str| service.get(key).is_some_and(|value| value.as_str() != Some(""));
        if !["image", "build", "provider"].iter().any(said) {
            misfits.add(
                self.at(""),
                &format!("service {name:?} has neither an image nor a build context specified"),
            );
        }
        if service.get("networks").is_some() && service.get("network_mode").is_some() {
            misfits.add(
                self.at("network_mode"),
                &format!(
                    "service {name} declares mutually exclusive `network_mode` and `networks`"
                ),
            );
        }
        let first = service.pointer("/healthcheck/test/0").and_then(Value::as_str);
        if first.is_some_and(|word| !matches!(word, "CMD" | "CMD-SHELL" | "NONE")) {
            misfits.add_plain(
                self.at("healthcheck.test"),
                r#"healthcheck.test must start either by "CMD", "CMD-SHELL" or "NONE""#.to_owned(),
            );
        }
        let watched = service.pointer("/develop/watch").unwrap_or(&Value::Null);
        let untargeted = |trigger: &Value| {
            let action = trigger["action"].as_str().unwrap_or_default();
            action.starts_with("sync") && trigger["target"].as_str().is_none_or(str::is_empty)
        };
        if items(watched).any(untargeted) {
            misfits.add(
                self.at("develop.watch"),
                &format!(
                    "services.{name}.develop.watch: target is required for non-rebuild actions"
                ),
            );
        }
        let reserved = service.pointer("/deploy/resources/reservations/devices");
        let reserved = ("deploy.resources.reservations.devices", reserved.unwrap_or(&Value::Null));
        for (key, devices) in [("gpus", &service["gpus"]), reserved] {
            for (number, device) in items(devices).enumerate() {
                if device.get("count").is_some() && device.get("device_ids").is_some() {
                    let at = self.at(key);
                    let words = format!(
                        "{at}.{number}: \"count\" and \"device_ids\" attributes are exclusive"
                    );
                    misfits.add_plain(at, words);
                }
            }
        }
    }

    fn build(&self, misfits: &mut Misfits) {
        let Checked { name, service, services, disabled, tree } = *self;
        let build = &service["build"];
        if build.get("dockerfile").is_some() && build.get("dockerfile_inline").is_some() {
            misfits.add(
                self.at("build.dockerfile"),
                &format!(
                    "service {name:?} declares mutualy exclusive dockerfile and dockerfile_inline"
                ),
            );
        }
        for (context, place) in entries(&build["additional_contexts"]) {
            let Some(other) = place.as_str().and_then(|place| place.strip_prefix("service:"))
            else {
                continue;
            };
            let (what, hinted) = match services.get(other).or_else(|| disabled.get(other)) {
                Some(service) if service.get("build").is_some() => continue,
                Some(_) => ("non-buildable", None),
                None => ("unknown", nearest(other, services.keys().map(String::as_str))),
            };
            misfits.0.push(Misfit {
                at: self.at("build.additional_contexts"),
                words: format!(
                    "service {name:?} declares {what} service {other:?} as additional contexts {context}"
                ),
                hint: hinted.map(hint),
            });
        }
        let platform = service["platform"].as_str().unwrap_or_default();
        let platforms: Vec<&str> = items(&build["platforms"]).filter_map(Value::as_str).collect();
        if !(platform.is_empty() || platforms.is_empty() || platforms.contains(&platform)) {
            misfits.add(
                self.at("build.platforms"),
                &format!("service.build.platforms MUST include service.platform {platform:?}"),
            );
        }
        for secret in items(&build["secrets"]).filter_map(|one| one["source"].as_str()) {
            if tree["secrets"].get(secret).is_none() {
                misfits.add_unknown(
                    self.at("build.secrets"),
                    &format!("service {name:?} refers to undefined build secret {secret}"),
                    secret,
                    names(&tree["secrets"]),
                );
            }
        }
    }

    /// What it names of the project's networks, configs, secrets and volumes.
    fn references(&self, misfits: &mut Misfits) {
        let Checked { name, service, tree, .. } = *self;
        let mut look = |kind: &str, list: &str, used: &str| {
            if tree[list].get(used).is_none() {
                misfits.add_unknown(
                    self.at(list),
                    &format!("service {name:?} refers to undefined {kind} {used}"),
                    used,
                    names(&tree[list]),
                );
            }
        };
        names(&service["networks"]).for_each(|used| look("network", "networks", used));
        for (kind, list) in [("config", "configs"), ("secret", "secrets")] {
            let used = items(&service[list]).filter_map(|item| item["source"].as_str());
            used.for_each(|used| look(kind, list, used));
        }
        let volumes = items(&service["volumes"]).filter(|mount| mount["type"] == "volume");
        let used = volumes.filter_map(|mount| mount["source"].as_str());
        used.filter(|used| !used.is_empty()).for_each(|used| look("volume", "volumes", used));
    }

    /// Two things at one place inside.
    fn mounts(&self, misfits: &mut Misfits) {
        for (number, mount) in items(&self.service["volumes"]).enumerate() {
            if mount.is_object() && mount.get("type").is_none() {
                let at = self.at("volumes");
                let words = format!("{at}.{number} missing property 'type'");
                misfits.add_plain(at, words);
            }
        }
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        let tmpfs = items(&self.service["tmpfs"]).filter_map(Value::as_str);
        let tmpfs = tmpfs.map(|text| ("tmpfs", text.split(':').next().unwrap_or(text)));
        let volumes = items(&self.service["volumes"]).filter_map(|mount| mount["target"].as_str());
        let volumes = volumes.map(|target| ("volumes", target));
        let numbered = tmpfs.enumerate().chain(volumes.enumerate());
        for (number, (key, target)) in numbered {
            let at = self.at(key);
            let place = format!("{at}[{number}]");
            match known.get(target) {
                Some(other) => {
                    let words = format!("{place}: target {target} already mounted as {other}");
                    misfits.add_plain(at, words);
                }
                None => drop(known.insert(target, place)),
            }
        }
    }

    fn dependencies(&self, misfits: &mut Misfits) {
        let Checked { name, service, services, disabled, .. } = *self;
        for (other, how) in entries(&service["depends_on"]) {
            let optional = how["required"] == json!(false) && disabled.contains_key(other);
            if optional || services.contains_key(other) {
                continue;
            }
            misfits.add_unknown(
                self.at("depends_on"),
                &format!("service {name:?} depends on undefined service {other:?}"),
                other,
                services.keys().map(String::as_str).filter(|known| known != &name),
            );
        }
    }

    /// Two keys for one thing must agree.
    fn distinct(&self, misfits: &mut Misfits) {
        let Checked { name, service, .. } = *self;
        for (key, part, other) in [
            ("scale", "deploy", "replicas"),
            ("cpus", "deploy.resources.limits", "cpus"),
            ("mem_limit", "deploy.resources.limits", "memory"),
            ("mem_reservation", "deploy.resources.reservations", "memory"),
            ("pids_limit", "deploy.resources.limits", "pids"),
        ] {
            let Some(own) = service.get(key) else { continue };
            let Some(part_of) = service.pointer(&format!("/{}", part.replace('.', "/"))) else {
                continue;
            };
            let there = part_of.get(other);
            // The number of containers may be said once; of limits, that nothing is said is something else, too.
            if (there.is_some() || key != "scale") && there != Some(own) {
                misfits.add(
                    self.at(key),
                    &format!(
                        "services.{name}: can't set distinct values on '{key}' and '{part}.{other}'"
                    ),
                );
            }
        }
        let replicas = service.pointer("/deploy/replicas");
        let key = if service.get("scale").is_some() { "scale" } else { "deploy.replicas" };
        let count = service.get("scale").or(replicas).and_then(Value::as_i64).unwrap_or(1);
        if service.get("container_name").is_some() && count > 1 {
            misfits.add(
                self.at("container_name"),
                &format!(
                    "services.{key}: can't set container_name and {name} as container name must be unique"
                ),
            );
        }
    }
}

/// Services that wait for each other.
fn circle(services: &Map<String, Value>) -> Result<(), LoadError> {
    fn visit(
        name: &str,
        services: &Map<String, Value>,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Result<(), LoadError> {
        if let Some(at) = path.iter().position(|known| known == name) {
            let mut circle = path[at..].to_vec();
            circle.push(name.to_owned());
            return Err(LoadError::Cycle(circle.join(" -> ")));
        }
        if done.contains(name) {
            return Ok(());
        }
        path.push(name.to_owned());
        let others = services.get(name).and_then(|service| service["depends_on"].as_object());
        for other in others.into_iter().flatten().map(|(name, _)| name) {
            visit(other, services, path, done)?;
        }
        path.pop();
        done.insert(name.to_owned());
        Ok(())
    }
    let mut done = BTreeSet::new();
    services.keys().try_for_each(|name| visit(name, services, &mut Vec::new(), &mut done))
}

#[cfg(test)]
mod tests {
    use super::super::from_text;

    #[test]
    fn all_that_does_not_fit_is_told_at_once_with_its_place() {
        let text = "services:\n  web:\n    image: x\n    volumes: ['dta:/d']\n    depends_on: [dbb]\n  db: {image: x, networks: [back]}\n\
                    volumes: {data: }\nsecrets: {s: {}}\n";
        let error = from_text(text, [].into()).unwrap_err().to_string();
        let told: Vec<&str> = error.lines().collect();
        assert_eq!(
            told,
            [
                "service \"web\" refers to undefined volume dta: invalid compose project (/project/compose.yaml:4:5; did you mean \"data\"?)",
                "service \"web\" depends on undefined service \"dbb\": invalid compose project (/project/compose.yaml:5:5; did you mean \"db\"?)",
                "service \"db\" refers to undefined network back: invalid compose project (/project/compose.yaml:6:18)",
                "secrets.s: one of file|environment must be set (/project/compose.yaml:8:11)",
            ]
        );
    }
}
