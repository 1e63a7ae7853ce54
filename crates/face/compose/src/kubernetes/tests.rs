use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::load;

fn converted(text: &str, wishes: &Wishes) -> Result<Converted, String> {
    let environment = BTreeMap::from([("PASSWORD".to_owned(), "opener".to_owned())]);
    let project = load::from_text(text, environment).map_err(|error| error.to_string())?;
    let names = project.services.keys().cloned().collect();
    convert(&project, &names, wishes).map_err(|error| error.to_string())
}

fn find<'v>(all: &'v Converted, kind: &str, name: &str) -> &'v Value {
    let is = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
    let found = all.objects.iter().find(is);
    found.unwrap_or_else(|| panic!("no {kind} {name} in {:#?}", all.objects))
}

const SHOP: &str = "
name: shop
services:
  web:
    image: web:1
    command: [serve, --price=$$5]
    environment: {COST: $$3, FROM_IMAGE: }
    ports: ['8000:80', '127.0.0.1:9000:90', '53:53/udp']
    depends_on: {db: {condition: service_healthy}, migrate: {condition: service_completed_successfully}}
    restart: always
    healthcheck: {test: wget -q localhost, interval: 5s, timeout: 1s, retries: 2, start_period: 20s}
    deploy:
      replicas: 3
      resources: {limits: {cpus: '0.5', memory: 64M}, reservations: {cpus: '0.25', memory: 32M}}
      update_config: {order: start-first, parallelism: 2}
    networks: {default: {aliases: [front]}}
    configs: [{source: page, target: /www/index.html, mode: 0440}]
    user: '1000:50'
  db:
    image: postgres
    volumes: [data:/data]
    secrets: [password]
    environment: {POSTGRES_PASSWORD_FILE: /run/secrets/password}
  migrate: {image: web:1, command: migrate, restart: on-failure}
volumes: {data: }
configs: {page: {content: hello}}
secrets: {password: {environment: PASSWORD}}
";

#[test]
fn a_project_becomes_objects() {
    let all = converted(SHOP, &Wishes::default()).unwrap();
    let kinds: Vec<String> = all
        .objects
        .iter()
        .map(|one| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text(&one["kind"]), text(&one["metadata"]["name"]))
        })
        .collect();
    let expected = [
        "Secret/shop-password",
        "ConfigMap/shop-page",
        "PersistentVolumeClaim/shop-data",
        "Deployment/db",
        "Service/db",
        "Job/migrate",
        "Deployment/web",
        "Service/front",
        "Service/web",
        "Service/web-published",
    ];
    assert_eq!(kinds, expected, "values, claims, and services after those that they depend on");

    let web = find(&all, "Deployment", "web");
    assert_eq!(web["spec"]["replicas"], 3);
    assert_eq!(
        web["spec"]["strategy"]["rollingUpdate"],
        json!({"maxSurge": 2, "maxUnavailable": 0})
    );
    let pod = &web["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["args"], json!(["serve", "--price=$$5"]));
    assert_eq!(container["env"], json!([{"name": "COST", "value": "$$3"}]));
    assert_eq!(container["resources"]["limits"], json!({"cpu": "500m", "memory": "67108864"}));
    assert_eq!(container["resources"]["requests"], json!({"cpu": "250m", "memory": "33554432"}));
    assert_eq!(container["securityContext"], json!({"runAsUser": 1000, "runAsGroup": 50}));
    let probe = json!({
        "exec": {"command": ["/bin/sh", "-c", "wget -q localhost"]},
        "periodSeconds": 5, "timeoutSeconds": 1, "failureThreshold": 2,
    });
    assert_eq!(container["readinessProbe"], probe);
    assert_eq!(container["livenessProbe"], probe, "it is to be started again");
    assert_eq!(container["startupProbe"]["failureThreshold"], 6);
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/www/index.html");
    let item = json!([{"key": "page", "path": "page", "mode": 0o440}]);
    assert_eq!(pod["volumes"][0]["configMap"]["items"], item);

    let db = find(&all, "Deployment", "db");
    assert_eq!(db["spec"]["strategy"], json!({"type": "Recreate"}), "its claim is for one");
    assert_eq!(find(&all, "Service", "db")["spec"]["clusterIP"], "None");
    assert_eq!(find(&all, "Secret", "shop-password")["data"]["password"], "b3BlbmVy");
    assert_eq!(find(&all, "ConfigMap", "shop-page")["data"]["page"], "hello");
    let job = find(&all, "Job", "migrate");
    assert_eq!(job["spec"]["template"]["spec"]["restartPolicy"], "OnFailure");
    let published = find(&all, "Service", "web-published");
    let ports = json!([
        {"name": "tcp-8000", "port": 8000, "targetPort": 80, "protocol": "TCP"},
        {"name": "udp-53", "port": 53, "targetPort": 53, "protocol": "UDP"},
    ]);
    assert_eq!(published["spec"]["ports"], ports, "what is on loopback stays inside");
    let notices = all.notices.join("\n");
    assert!(notices.contains("services.web.depends_on"), "{notices}");
    assert!(notices.contains("90 is published on 127.0.0.1 only"), "{notices}");
}

#[test]
fn published_ports_are_behind_an_ingress_on_demand() {
    let wishes = Wishes { ingress: "example.org".to_owned(), storage: "5Gi".to_owned() };
    let all = converted(SHOP, &wishes).unwrap();
    let ingress = find(&all, "Ingress", "shop");
    assert_eq!(ingress["spec"]["rules"][0]["host"], "web.example.org");
    let backend = &ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"];
    assert_eq!(backend["service"], json!({"name": "web", "port": {"number": 80}}));
    let published = find(&all, "Service", "web-published");
    assert_eq!(published["spec"]["ports"][0]["protocol"], "UDP", "an ingress has HTTP only");
    let claim = find(&all, "PersistentVolumeClaim", "shop-data");
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"], "5Gi");
}

#[test]
fn what_a_pod_does_not_have_is_refused_by_name() {
    let refused = |lines: &str| {
        let text = format!("services: {{a: {{image: x, {lines}}}, b: {{image: x}}}}");
        converted(&text, &Wishes::default()).unwrap_err()
    };
    assert!(refused("network_mode: 'service:b'").starts_with("services.a.network_mode cannot"));
    assert!(refused("volumes_from: [b]").starts_with("services.a.volumes_from cannot"));
    assert!(refused("post_start: [{command: x}, {command: y}]").contains("services.a.post_start"));
    let same = converted("services: {a_b: {image: x}, a-b: {image: x}}", &Wishes::default());
    assert_eq!(same.unwrap_err(), "services a-b and a_b would both be a-b in a cluster");
}

#[test]
fn what_comes_before_a_service_comes_before_its_pods() {
    let text = "services:\n  web: {image: x, user: '7', scale: 2, ports: ['80:80'], volumes: ['d:/d'], \
                pre_start: [{image: y, command: [do, it], user: '0'}, {environment: {A: b}}]}\nvolumes: {d: }";
    let all = converted(text, &Wishes::default()).unwrap();
    let pod = &find(&all, "Deployment", "web")["spec"]["template"]["spec"];
    let before = &pod["initContainers"];
    assert_eq!((&before[0]["image"], &before[0]["args"]), (&json!("y"), &json!(["do", "it"])));
    assert_eq!(before[0]["volumeMounts"], pod["containers"][0]["volumeMounts"]);
    assert_eq!((&before[1]["image"], &before[1]["env"][0]["value"]), (&json!("x"), &json!("b")));
    assert!(before[0].get("ports").is_none() && before[2].is_null());
    assert!(all.notices.join("\n").contains("services.web.pre_start runs in each of its pods"));
}

#[test]
fn names_are_those_of_a_cluster() {
    for (ours, theirs) in [("Web_1", "web-1"), ("1st", "s1st"), ("-", "s"), ("a.b", "a-b")] {
        assert_eq!(object_name(ours), theirs);
    }
    assert_eq!(object_name(&"x".repeat(80)).len(), 63);
}
