//! Builds as a file for `buildx bake`.

use ferry_cli::face::CliError;
use serde_json::{Map, Value, json};

use super::{Building, From, Target};
use crate::{
    model::{Project, Service},
    run::Session,
};

/// A bake file for services.
pub(crate) fn bake(
    session: &Session<'_>,
    project: &Project,
    services: &[&Service],
    how: &Building,
) -> Result<Value, CliError> {
    let mut targets = Map::new();
    let mut sorted: Vec<&&Service> = services.iter().collect();
    sorted.sort_by_key(|service| &service.name);
    for service in sorted {
        let Some(build) = &service.build else { continue };
        let target = Target::of(session, project, service, build, how)?;
        targets.insert(service.name.clone(), target.baked(how));
    }
    let names: Vec<&String> = targets.keys().collect();
    Ok(json!({"group": {"default": {"targets": names}}, "target": targets}))
}

impl Target<'_> {
    /// As a target of a bake file.
    fn baked(&self, how: &Building) -> Value {
        let build = self.build;
        let limits = build.ulimits.iter();
        let limits: Vec<String> =
            limits.map(|(name, limit)| format!("{name}={}", limit.written())).collect();
        let agents: Vec<String> =
            self.ssh.iter().map(|(id, path)| format!("{id}={path}")).collect();
        let shm = (build.shm_size.0 > 0).then(|| build.shm_size.0.to_string());
        let pushed = how.push && !self.service.image.is_empty();
        let output = match (pushed, self.platforms.len() > 1) {
            (true, _) => "type=registry",
            (false, true) => "type=image,push=false",
            (false, false) => "type=docker",
        };
        let attests = [("provenance", &self.provenance), ("sbom", &self.sbom)];
        let attests = attests.into_iter().filter_map(|(kind, said)| match said.as_deref()? {
            "true" => Some(format!("type={kind}")),
            said => Some(format!("type={kind},{said}")),
        });
        let attests: Vec<String> = attests.collect();
        let all = [
            ("context", json!(build.context)),
            ("contexts", self.contexts()),
            ("dockerfile", json!(self.dockerfile())),
            ("dockerfile-inline", json!(build.dockerfile_inline)),
            ("args", json!(self.args)),
            ("labels", json!(self.labels)),
            ("tags", json!(self.tags)),
            ("cache-from", json!(build.cache_from)),
            ("cache-to", json!(build.cache_to)),
            ("target", json!(build.target)),
            ("secret", self.secrets.iter().map(secret).collect()),
            ("ssh", json!(agents)),
            ("platforms", json!(self.platforms)),
            ("pull", json!(how.pull || build.pull)),
            ("no-cache", json!(how.no_cache || build.no_cache)),
            ("network", json!(build.network)),
            ("no-cache-filter", json!(build.no_cache_filter)),
            ("shm-size", json!(shm)),
            ("ulimits", json!(limits)),
            ("call", json!(if how.check { "lint" } else { "" })),
            ("entitlements", json!(self.entitlements)),
            ("extra-hosts", hosts(&build.extra_hosts)),
            ("output", if how.check { Value::Null } else { json!([output]) }),
            ("attest", json!(attests)),
        ];
        let said = all.into_iter().filter(|(_, value)| !is_empty(value));
        Value::Object(said.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Images of other services are targets of the same file.
    fn contexts(&self) -> Value {
        let place = |(name, place): (&String, &Option<String>)| {
            let place = match self.bases.get(name.as_str()) {
                Some(base) => format!("target:{}", base.name),
                None => place.clone().unwrap_or_default(),
            };
            (name.clone(), Value::from(place))
        };
        Value::Object(self.build.additional_contexts.iter().map(place).collect())
    }
}

/// Whether it is as good as not said.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(on) => !on,
        Value::Number(_) => false,
    }
}

fn secret((id, from): &(String, From)) -> Value {
    Value::from(match from {
        From::File(path) => format!("id={id},type=file,src={path}"),
        From::Variable(name) => format!("id={id},type=env,env={name}"),
    })
}

fn hosts(all: &[String]) -> Value {
    let host = |host: &String| {
        let (name, address) = host.split_once('=').or_else(|| host.split_once(':'))?;
        Some((name.to_owned(), Value::from(address)))
    };
    Value::Object(all.iter().filter_map(host).collect())
}
