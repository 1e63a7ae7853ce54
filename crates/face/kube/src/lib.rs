//! `ferry kube`: Kubernetes' manifests on one machine, and manifests of what runs here.
//!
//! Knows: manifests of a few kinds, the client and the wire types. Does not know: the engine, or which daemon answers.
//! Start with `manifest.rs` (documents to objects), `plan.rs` and `common.rs` (a pod to bodies of container create), `infra.rs` and `keep/`
//! (what a kubelet does for a pod, in a container of the pod's), `play.rs`, `generate.rs`.
//!
//! Invariants: what has no meaning on one machine is named; what is not supported is refused by name; the same manifest played
//! twice changes nothing.

mod commands;
mod common;
mod cron;
mod end;
mod env;
mod exec;
mod fields;
mod files;
mod fill;
mod generate;
mod groups;
mod images;
mod infra;
mod jobs;
mod keep;
mod manifest;
mod mounts;
mod plan;
mod play;
mod ports;
mod probes;
mod reader;
mod service;
mod settings;
mod source;
mod start;
#[cfg(test)]
mod tests;
mod together;
mod volumes;
mod workload;

use ferry_cli::face::Extension;

/// `ferry kube`.
pub const EXTENSION: Extension = Extension {
    name: "kube",
    short: "Run Kubernetes manifests on this machine, and write them",
    run: commands::run,
};

/// Reads manifests and plans their pods; answers how many containers come of it. For `fuzz/`, which throws anything at it.
///
/// # Errors
/// What is wrong with them, in words.
///
/// # Panics
/// A plan is not the same the second time, or is no request of the API.
pub fn planned(text: &str) -> Result<usize, String> {
    let plans = || {
        let zone = |name: &str| Err(format!("{name} is not here"));
        let manifests = manifest::read(ferry_compose::yaml_documents(text)?, &zone)?;
        jobs::plans(&manifests, &mut Vec::new())
    };
    let (first, second) = (plans()?, plans()?);
    let mut count = 0;
    let all = |plans| {
        let play::Plans { pods, later } = plans;
        pods.into_iter().chain(later)
    };
    for (one, other) in all(first).zip(all(second)) {
        assert_eq!(one.hash, other.hash, "{}", one.name);
        for container in one.all() {
            let body = container.body.clone();
            let read = serde_json::from_value::<ferry_docker_api::ContainerCreateRequest>(body);
            assert!(read.is_ok(), "{read:?}: {}", container.body);
            count += 1;
        }
    }
    Ok(count)
}
