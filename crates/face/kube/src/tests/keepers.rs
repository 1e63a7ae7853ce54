//! Who is asked what: a container's own health check, or its pod's keeper.

use serde_json::{Value, json};

use super::planned;
use crate::plan::PodPlan;

/// A pod with a container that has these fields, and with more in its `spec`.
fn pod(fields: &str, more: &str) -> PodPlan {
    let text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: p, labels: {{app: p}}}}, spec: {{containers: [{{name: m, image: b, {fields}}}{more}}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{selector: {{app: p}}, ports: [{{port: 80}}]}}}}"
    );
    planned(&text).unwrap().0.remove(0)
}

/// The containers that a pod's keeper knows, and of which it only knows whether they run.
fn asked(pod: &PodPlan) -> Vec<String> {
    let Some(keeper) = &pod.keeper else { return Vec::new() };
    let record: Value = serde_json::from_slice(&keeper.files[0].content).unwrap();
    let told = |watch: &Value| {
        let name = watch["container"].as_str().unwrap();
        let runs = ["startup", "liveness", "readiness"].iter().all(|kind| watch[kind].is_null());
        if runs { format!("{name} runs") } else { name.to_owned() }
    };
    record["watches"].as_array().unwrap().iter().map(told).collect()
}

const READY: &str = "readinessProbe: {exec: {command: [x]}}";
const BOTH: &str = "readinessProbe: {exec: {command: [x]}}, livenessProbe: {exec: {command: [x]}}";
const ALIVE: &str = "livenessProbe: {exec: {command: [x]}}";
const STARTS: &str = "startupProbe: {exec: {command: [x]}}, livenessProbe: {exec: {command: [x]}}";

#[test]
fn a_keeper_that_is_there_knows_who_is_ready() {
    let ip = "env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}], ";
    let sidecar = "], initContainers: [{name: i, image: b, restartPolicy: Always}]";
    for probes in [READY, BOTH, STARTS] {
        // Who is asked nothing is ready when it runs; who ends before the others start is not waited for.
        for (fields, more, others) in [
            ("", ", {name: n, image: b}]", &["p-n runs"][..]),
            ("", &format!(", {{name: n, image: b, {ALIVE}}}]"), &["p-n runs"]),
            ("", sidecar, &["p-i runs"]),
            ("", "], initContainers: [{name: i, image: b}], shareProcessNamespace: true", &[]),
            (ip, "]", &[]),
        ] {
            let pod = pod(&format!("{fields}{probes}"), more);
            assert_eq!(asked(&pod), [&["p-m"], others].concat(), "{probes} {more}");
            let body = &pod.containers[0].body;
            let own = (body.get("Healthcheck"), body["Labels"].get("ferry.health-on-failure"));
            assert_eq!(own, (None, None), "nobody else asks it, or ends it");
            let keeper = pod.keeper.as_ref().unwrap();
            assert!(keeper.has_api && keeper.body["Healthcheck"]["Test"].is_array());
            let names = keeper.body["Labels"]["ferry.names-while-healthy"].as_str().unwrap();
            assert!(names.split(',').any(|name| name == "s"), "{names}");
        }
    }
}

#[test]
fn what_its_own_check_can_say_is_left_to_a_container() {
    // Nobody else is there, or it is nobody else's concern.
    let two: &[&str] = &["p-m runs", "p-n runs"];
    for (probes, more, known) in [
        (READY, "]", &[][..]),
        (BOTH, "]", &[]),
        (STARTS, "]", &[]),
        // Its keeper wants to know who runs.
        (ALIVE, ", {name: n, image: b}]", two),
    ] {
        let pod = pod(probes, more);
        assert_eq!(asked(&pod), known);
        assert_eq!(pod.keeper.is_some(), !known.is_empty());
        let body = &pod.containers[0].body;
        assert_eq!(body["Healthcheck"]["Test"], json!(["CMD", "x"]), "{probes}");
        let ends = body["Labels"].get("ferry.health-on-failure");
        assert_eq!(ends.is_some(), probes != READY);
    }
    // Another patience is another question.
    let sooner = BOTH.replacen("[x]}", "[x]}, failureThreshold: 1", 1);
    assert_eq!(asked(&pod(&sooner, "]")), ["p-m"]);
    // On the machine's network nobody leads to it, and no keeper is needed for two.
    let pod = pod(READY, ", {name: n, image: b}], hostNetwork: true");
    assert!(pod.keeper.is_none() && pod.containers[0].body["Healthcheck"].is_object());
}
