//! How an image was made, as SLSA has it and BuildKit fills it in. What only BuildKit's own definitions (LLB) could say is left out.

use std::{collections::BTreeMap, sync::PoisonError};

use base64::Engine as _;
use serde_json::{Value, json};

use super::{super::graph::Build, Material, Provenance};

/// The kinds of predicates.
const V02: &str = "https://slsa.dev/provenance/v0.2";
const V1: &str = "https://slsa.dev/provenance/v1";
/// What BuildKit calls builds.
const TYPE_V02: &str = "https://mobyproject.org/buildkit@v1";
const TYPE_V1: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
/// Where BuildKit puts what SLSA has no field for.
const METADATA: &str = "https://mobyproject.org/buildkit@v1#metadata";

/// The predicate's kind, and what it says.
pub(super) fn of(build: &Build, asked: Provenance) -> (&'static str, Value) {
    let materials = build.materials.lock().unwrap_or_else(PoisonError::into_inner);
    let materials: Vec<Value> = materials.iter().map(material).collect();
    let request = &build.request;
    let started = build.began.format_rfc3339_nano();
    let finished = build.engine.shared.now().format_rfc3339_nano();
    let parameters = json!({
        "frontend": "dockerfile.v0",
        "args": arguments(build, asked.max),
        "locals": [{ "name": "context" }, { "name": "dockerfile" }],
    });
    let reproducible = request.epoch.is_some();
    let platform = ferry_oci::Platform::host().to_string();
    if asked.v1 {
        let mut metadata = json!({
            "invocationId": build.id,
            "startedOn": started,
            "finishedOn": finished,
            "buildkit_reproducible": reproducible,
            "buildkit_completeness": { "request": asked.max, "resolvedDependencies": false },
        });
        if asked.max {
            metadata["buildkit_metadata"] = source(build);
        }
        let predicate = json!({
            "buildDefinition": {
                "buildType": TYPE_V1,
                "externalParameters": {
                    "configSource": { "path": request.dockerfile },
                    "request": parameters,
                },
                "internalParameters": { "builderPlatform": platform },
                "resolvedDependencies": materials,
            },
            "runDetails": { "builder": { "id": "" }, "metadata": metadata },
        });
        return (V1, predicate);
    }
    let mut metadata = json!({
        "buildInvocationID": build.id,
        "buildStartedOn": started,
        "buildFinishedOn": finished,
        "reproducible": reproducible,
        "completeness": { "parameters": asked.max, "environment": true, "materials": false },
    });
    if asked.max {
        metadata[METADATA] = source(build);
    }
    let predicate = json!({
        "builder": { "id": "" },
        "buildType": TYPE_V02,
        "materials": materials,
        "invocation": {
            "configSource": { "entryPoint": request.dockerfile },
            "parameters": parameters,
            "environment": { "platform": platform },
        },
        "metadata": metadata,
    });
    (V02, predicate)
}

fn material(material: &Material) -> Value {
    json!({
        "uri": material.uri,
        "digest": { material.digest.algorithm(): material.digest.hex() },
    })
}

/// The frontend's attributes. Arguments and labels may be nobody's business: they are said only if all is.
fn arguments(build: &Build, all: bool) -> BTreeMap<String, String> {
    let request = &build.request;
    let mut args = BTreeMap::from([("filename".to_owned(), request.dockerfile.clone())]);
    if !request.target.is_empty() {
        args.insert("target".to_owned(), request.target.clone());
    }
    if request.no_cache {
        args.insert("no-cache".to_owned(), String::new());
    }
    args.extend(request.platform.clone().map(|platform| ("platform".to_owned(), platform)));
    if all {
        let given = request.build_args.iter();
        let given = given.filter_map(|(name, value)| Some((name, value.clone()?)));
        args.extend(given.map(|(name, value)| (format!("build-arg:{name}"), value)));
        let labels = request.labels.iter();
        args.extend(labels.map(|(name, value)| (format!("label:{name}"), value.clone())));
    }
    args
}

/// The Dockerfile.
fn source(build: &Build) -> Value {
    let data = base64::engine::general_purpose::STANDARD.encode(&build.text);
    let file =
        json!({ "filename": build.request.dockerfile, "language": "Dockerfile", "data": data });
    json!({ "source": { "infos": [file] } })
}
