use serde_json::{Value, json};

use super::{FILES, PROBED, jobs_and_sets::JOB, planned};
use crate::{manifest, plan::ContainerPlan};

#[test]
fn what_has_nothing_that_runs_any_more_is_looked_at() {
    let owners = |text: &str| {
        let zone = |name: &str| Err(format!("{name} is not here"));
        manifest::read(ferry_compose::yaml_documents(text).unwrap(), &zone).unwrap().owners
    };
    assert_eq!(
        owners(&FILES.replace("replicas: 2", "replicas: 1")),
        ["Service/front", "Deployment/web"]
    );
    assert_eq!(owners(JOB), Vec::<String>::new());
    assert_eq!(owners(&JOB.replace("  template:", "  suspend: true\n  template:")), ["Job/once"]);
}

#[test]
fn a_service_without_ports_is_names() {
    let text = FILES
        .replace("ports: [{port: 8000, targetPort: 80}]", "sessionAffinity: ClientIP")
        .replace("type: LoadBalancer, ", "");
    let (pods, _) = planned(&text).unwrap();
    assert_eq!(pods.len(), 2, "no front that would lead nothing nowhere");
    let names = |text: &str| {
        let (pods, _) = planned(text).unwrap();
        let holder = &pods[0].keeper.as_ref().unwrap().body;
        let network = &holder["NetworkingConfig"]["EndpointsConfig"]["kube"];
        (network["Aliases"].clone(), holder["Labels"]["ferry.names-while-healthy"].clone())
    };
    let all = ["front", "front.default", "front.default.svc", "front.default.svc.cluster.local"];
    let whole = json!([&["web-0"][..], &all].concat());
    assert_eq!(
        names(&text),
        (whole.clone(), json!(all.join(","))),
        "who is not ready is not found"
    );
    let early = text.replace("sessionAffinity", "publishNotReadyAddresses: true, sessionAffinity");
    assert_eq!(names(&early), (whole, Value::Null));
}

#[test]
fn a_service_does_not_lead_to_who_prepares() {
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {app: p}}, spec: {initContainers: [{name: i, image: b}],
        containers: [{name: m, image: b, readinessProbe: {exec: {command: [x]}}}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {selector: {app: p}, ports: [{port: 80}]}}";
    let (pods, _) = planned(text).unwrap();
    assert!(pods[0].keeper.is_none());
    let names = |body: &Value| {
        let network = &body["NetworkingConfig"]["EndpointsConfig"]["kube"];
        (network["Aliases"].clone(), body["Labels"]["ferry.names-while-healthy"].is_string())
    };
    assert_eq!(names(&pods[0].init[0].body), (json!([]), false));
    let (all, when_ready) = names(&pods[0].containers[0].body);
    assert!(all.as_array().unwrap().contains(&json!("s")) && when_ready, "{all}");
}

#[test]
fn a_service_leads_to_ports_by_name() {
    let service = |ports: &str| {
        format!(
            "{PROBED}\n---\n{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{selector: {{app: web}}, ports: [{ports}]}}}}"
        )
    };
    let (pods, _) = planned(&service("{port: 80, targetPort: http}")).unwrap();
    assert_eq!(pods[1].containers[0].body["Cmd"][3], json!("80/tcp=ready.web:8080"));
    let (pods, _) = planned(&service("{port: 8080, targetPort: http}")).unwrap();
    assert_eq!(pods.len(), 1, "the name leads to the pod itself");
    let error = planned(&service("{port: 80, targetPort: none}")).unwrap_err();
    assert!(error.contains("pod web has no port of that name"), "{error}");
    let error = planned(&service("{port: 80, targetPort: 81, protocol: SCTP}")).unwrap_err();
    assert!(error.contains("an SCTP port must be"), "{error}");
}

#[test]
fn a_name_of_a_service_is_no_other_pods() {
    let text = |name: &str, hostname: &str, service: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: web}}}}, spec: {{{hostname} containers: [{{name: m, image: b}}], initContainers: [{{name: i, image: b}}]}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{{service}}}}}"
        )
    };
    // Aliases, the name inside, and names that are others'.
    let of = |one: &ContainerPlan| {
        let network = &one.body["NetworkingConfig"]["EndpointsConfig"]["kube"];
        let others = one.body["Labels"]["ferry.names-of-others"].as_str().unwrap_or_default();
        (network["Aliases"].clone(), one.body["Hostname"].clone(), others.to_owned())
    };
    let names = |name: &str, hostname: &str, service: &str| {
        let (pods, _) = planned(&text(name, hostname, service)).unwrap();
        assert_eq!(of(&pods[0].init[0]).2, "web", "who prepares is no service");
        of(&pods[0].containers[0])
    };
    let with = |aliases: Value, others: &str| (aliases, json!("web"), others.to_owned());
    let front = "selector: {app: web}, ports: [{port: 80, targetPort: 81}]";
    assert_eq!(names("web", "", front), with(json!(["pod.web"]), "web"));
    // Also when it is called so only inside.
    assert_eq!(names("other", "hostname: web,", front), with(json!(["other", "pod.other"]), "web"));
    // And when the service leads to other pods.
    let away = "selector: {app: other}, ports: [{port: 80}]";
    assert_eq!(names("web", "", away), with(json!([]), "web"));
    let (aliases, _, others) = names("web", "", "selector: {app: web}, ports: [{port: 80}]");
    assert!(aliases.as_array().unwrap().contains(&json!("web")), "without a front it is the pod's");
    assert_eq!(others, "");
    // A container is no service either.
    let text = text("shop", "", front).replace("name: web}", "name: shop-m}");
    let (pods, _) = planned(&text).unwrap();
    assert_eq!(of(&pods[0].containers[0]).2, "shop-m");
}
