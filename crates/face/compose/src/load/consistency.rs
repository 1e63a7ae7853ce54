//! What does not fit together in a project, though each value is one: found after merging, all of it at once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    LoadError,
    near::{hint, nearest},
};
use crate::yaml::Place;

/// So many circles of a project are told: each may be as long as the file.
const MAX_CIRCLES: usize = 16;

/// Where keys stand, by their paths: `services.web.volumes`.
pub(super) type Places = BTreeMap<String, (String, Place)>;

/// The place of a key, or of what is around it.
pub(super) fn place_of(places: &Places, key: &str) -> Option<String> {
    let mut at = key;
    loop {
        match (places.get(at), at.rsplit_once('.')) {
            (Some((file, place)), _) => {
                return Some(format!("{file}:{}:{}", place.line, place.column));
            }
            (None, Some((around, _))) => at = around,
            (None, None) => return None,
        }
    }
}

/// Words with their place, and what may be meant.
pub(super) fn placed(words: &str, places: Option<String>, hint: Option<String>) -> String {
    let more = places.into_iter().chain(hint).filter(|text| !text.is_empty());
    let more: Vec<String> = more.collect();
    if more.is_empty() { words.to_owned() } else { format!("{words} ({})", more.join("; ")) }
}

/// One mistake.
struct Misfit {
    /// The keys that it is about.
    at: Vec<String>,
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
        self.0.push(Misfit { at: vec![at], words, hint: None });
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
    fn line(&self, places: &Places) -> String {
        let at: Vec<String> = self.at.iter().filter_map(|key| place_of(places, key)).collect();
        placed(&self.words, Some(at.join(", ")).filter(|at| !at.is_empty()), self.hint.clone())
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
    circles(services, &mut misfits);
    misfits.into_error(places)
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
                at: vec![self.at("build.additional_contexts")],
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

/// Services that wait for each other. Chains may be as long as a file, so they are not followed by calls.
fn circles(services: &Map<String, Value>, misfits: &mut Misfits) {
    let others = |name: &str| services.get(name).map(|service| entries(&service["depends_on"]));
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut found = 0;
    for first in services.keys() {
        let mut path: Vec<&str> = Vec::new();
        let mut within: BTreeSet<&str> = BTreeSet::new();
        let mut left = Vec::new();
        if done.insert(first) {
            path.push(first);
            within.insert(first);
            left.extend(others(first));
        }
        while let Some(below) = left.last_mut() {
            let Some((other, _)) = below.next() else {
                left.pop();
                if let Some(name) = path.pop() {
                    within.remove(name);
                }
                continue;
            };
            if within.contains(other.as_str()) {
                if found == MAX_CIRCLES {
                    return;
                }
                found += 1;
                let at = path.iter().position(|name| name == other).unwrap_or_default();
                let circle: Vec<&str> =
                    path[at..].iter().copied().chain([other.as_str()]).collect();
                misfits.0.push(Misfit {
                    at: path[at..]
                        .iter()
                        .zip(&circle[1..])
                        .map(|(name, other)| format!("services.{name}.depends_on.{other}"))
                        .collect(),
                    words: format!("dependency cycle detected: {}", circle.join(" -> ")),
                    hint: Some(
                        "one of them has to start first: take out what it depends on".to_owned(),
                    ),
                });
            } else if let Some(more) = others(other).filter(|_| done.insert(other)) {
                path.push(other);
                within.insert(other);
                left.push(more);
            }
        }
    }
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

    #[test]
    fn every_circle_is_told_with_the_places_of_its_parts() {
        let text = "services:\n  a: {image: x, depends_on: [b]}\n  b:\n    image: x\n    depends_on:\n      c: {condition: service_started}\n  \
                    c: {image: x, depends_on: [a]}\n  d: {image: x, depends_on: [d, a]}\n";
        let error = from_text(text, [].into()).unwrap_err().to_string();
        let hint = "one of them has to start first: take out what it depends on";
        let at = "/project/compose.yaml";
        assert_eq!(
            error,
            format!(
                "dependency cycle detected: a -> b -> c -> a ({at}:2:17, {at}:6:7, {at}:7:17; {hint})\n\
                 dependency cycle detected: d -> d ({at}:8:17; {hint})"
            )
        );
        // However long the chain is.
        let chain: String = (0..20_000)
            .map(|n| format!("  s{n}: {{image: x, depends_on: [s{}]}}\n", n + 1))
            .collect();
        let text = format!("services:\n{chain}  s20000: {{image: x}}\n");
        assert!(from_text(&text, [].into()).is_ok());
    }

    #[test]
    fn what_cannot_be_extended_is_told_with_its_place() {
        let text = "services:\n  a: {extends: {service: b}}\n  b: {extends: {service: a}}\n  web: {extends: {service: bse}}\n  base: {image: x}\n";
        let error = from_text(text, [].into()).unwrap_err().to_string();
        let at = "/project/compose.yaml";
        assert_eq!(
            error,
            format!(
                "Circular reference:\n  a in {at}\n  extends b in {at}\n  extends a in {at} ({at}:2:17; one of them has to stand without the others)\n\
                 cannot extend service \"web\" in {at}: service \"bse\" not found ({at}:4:19; did you mean \"base\"?)"
            )
        );
    }
}
