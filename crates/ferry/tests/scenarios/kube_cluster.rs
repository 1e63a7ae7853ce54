//! Manifests for a cluster, as a cluster's API server sees them: kubectl brings them, and every field must be one of Kubernetes 1.36.
//!
//! The server here knows what kubectl asks of one, and Kubernetes' own definitions (`kubernetes-1.36.json`, from its OpenAPI
//! specification as the package kubernetes-validate has it, without descriptions and states; Apache License 2.0).

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use ferry_testkit::{Client, Run, free_port, programs, run_with_input};
use serde_json::{Value, json};

use super::{
    compose::Project,
    kube::SHOP_FLAGS,
    kube_objects::{down, play},
    scratch, with_busybox,
};

const DEFINITIONS: &str = include_str!("kubernetes-1.36.json");

/// Groups, kinds and their names in addresses.
const KINDS: [(&str, &str, &str); 11] = [
    ("v1", "Pod", "pods"),
    ("v1", "Service", "services"),
    ("v1", "ConfigMap", "configmaps"),
    ("v1", "Secret", "secrets"),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("apps/v1", "Deployment", "deployments"),
    ("apps/v1", "StatefulSet", "statefulsets"),
    ("apps/v1", "DaemonSet", "daemonsets"),
    ("batch/v1", "Job", "jobs"),
    ("batch/v1", "CronJob", "cronjobs"),
    ("networking.k8s.io/v1", "Ingress", "ingresses"),
];

/// Whether a value is what a definition says; where it is not, and why.
fn check(schema: &Value, value: &Value, all: &Value, place: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let known = all.get(name).unwrap_or_else(|| panic!("there is no definition {name}"));
        return check(known, value, all, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().filter(|one| check(one, value, all, place).is_ok()).count();
        return if fits > 0 {
            Ok(())
        } else {
            Err(format!("{place}: {value} is none of the types"))
        };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits =
        types.is_empty() || types.contains(&is) || (is == "integer" && types.contains(&"number"));
    if !fits {
        return Err(format!("{place}: {value} is no {types:?}"));
    }
    if schema["enum"].as_array().is_some_and(|list| !value.is_null() && !list.contains(value)) {
        return Err(format!("{place}: {value} is none of {}", schema["enum"]));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            return Err(format!("{place}.{name} is required"));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, all, &format!("{place}[{index}]"))?;
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{key}");
        match (schema["properties"].get(key), &schema["additionalProperties"]) {
            (Some(schema), _) => check(schema, inner, all, &place)?,
            (None, Value::Bool(false)) => return Err(format!("unknown field \"{place}\"")),
            (None, more) => check(more, inner, all, &place)?,
        }
    }
    Ok(())
}

/// An API server that keeps what it is given.
struct Cluster {
    address: String,
    objects: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Cluster {
    fn start() -> Cluster {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let objects = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&objects);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                serve(client, &kept);
            }
        });
        Cluster { address, objects }
    }

    /// What was made since the last time: kinds and names.
    fn made(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.objects.lock().unwrap())
    }

    /// A kubectl that is configured for this cluster, in a directory of its own.
    fn configure(&self, home: &Path) -> PathBuf {
        let file = home.join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": self.address}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": ""}}],
        });
        std::fs::write(&file, text.to_string()).unwrap();
        file
    }
}

fn serve(mut client: TcpStream, objects: &Mutex<Vec<(String, Value)>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        let lower = line.to_ascii_lowercase();
        length = lower
            .strip_prefix("content-length:")
            .map_or(length, |text| text.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut words = first.split([' ', '?']);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, answer) = if method == "POST" {
        let object: Value = serde_json::from_slice(&body).unwrap();
        match judged(&object) {
            Ok(()) => {
                let name = format!(
                    "{}/{}",
                    object["kind"].as_str().unwrap(),
                    object["metadata"]["name"].as_str().unwrap()
                );
                objects.lock().unwrap().push((name, object.clone()));
                ("201 Created", object)
            }
            Err(why) => ("400 Bad Request", failure(400, "BadRequest", &why)),
        }
    } else {
        match document(path) {
            Value::Null => ("404 Not Found", failure(404, "NotFound", "not found")),
            found => ("200 OK", found),
        }
    };
    let text = answer.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    client.write_all(head.as_bytes()).and_then(|()| client.write_all(text.as_bytes())).ok();
}

fn failure(code: u16, reason: &str, why: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": why,
    })
}

fn judged(object: &Value) -> Result<(), String> {
    let all: Value = serde_json::from_str(DEFINITIONS).unwrap();
    let kind = object["kind"].as_str().unwrap_or_default();
    let (group, ..) = KINDS.iter().find(|(_, known, _)| *known == kind).ok_or("unknown kind")?;
    if object["apiVersion"] != *group {
        return Err(format!("{kind} is not in {}", object["apiVersion"]));
    }
    let area = match *group {
        "v1" => "core.v1".to_owned(),
        other => other.replace(".k8s.io", "").replace('/', "."),
    };
    let name = format!("io.k8s.api.{area}.{kind}");
    check(&json!({ "$ref": name }), object, &all, kind)
}

/// What kubectl wants to know before it sends something.
fn document(path: &str) -> Value {
    let mut groups: Vec<&str> = KINDS.iter().map(|(group, ..)| *group).collect();
    groups.dedup();
    let place =
        |group: &str| if group == "v1" { "api/v1".to_owned() } else { format!("apis/{group}") };
    match path {
        "/api" => return json!({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis" => {
            let named = groups.iter().filter_map(|group| Some((group, group.split_once('/')?)));
            let list: Vec<Value> = named
                .map(|(whole, (name, version))| {
                    let version = json!({"groupVersion": whole, "version": version});
                    json!({"name": name, "versions": [version], "preferredVersion": version})
                })
                .collect();
            return json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list});
        }
        "/openapi/v3" => {
            let paths = groups.iter().map(|group| {
                let place = place(group);
                let address = format!("/openapi/v3/{place}");
                (place, json!({"serverRelativeURL": address}))
            });
            return json!({"paths": paths.collect::<serde_json::Map<_, _>>()});
        }
        _ => {}
    }
    for group in groups {
        let kinds = KINDS.iter().filter(|(of, ..)| *of == group);
        if path == format!("/{}", place(group)) {
            let list: Vec<Value> = kinds
                .map(|(_, kind, name)| json!({"name": name, "namespaced": true, "kind": kind, "verbs": ["create", "get", "patch"]}))
                .collect();
            return json!({"kind": "APIResourceList", "groupVersion": group, "resources": list});
        }
        if path == format!("/openapi/v3/{}", place(group)) {
            // Fields are checked here.
            let (of, version) = group.split_once('/').unwrap_or(("", group));
            let paths = kinds.map(|(_, kind, name)| {
                let patch = json!({
                    "parameters": [{"name": "fieldValidation", "in": "query"}],
                    "responses": {},
                    "x-kubernetes-group-version-kind": {"group": of, "version": version, "kind": kind},
                });
                (format!("/{}/namespaces/{{namespace}}/{name}/{{name}}", place(group)), json!({"patch": patch}))
            });
            let paths = paths.collect::<serde_json::Map<_, _>>();
            return json!({"openapi": "3.0.0", "info": {"title": "here", "version": "1"}, "paths": paths});
        }
    }
    Value::Null
}

/// Debian's, in the version that `scripts/test.sh` brings.
fn kubectl() -> Option<PathBuf> {
    programs::made("usr/bin/kubectl").or_else(|| programs::find("kubectl"))
}

fn apply(kubectl: &Path, cluster: &Cluster, home: &Path, text: &str) -> Run {
    let mut command = Command::new(kubectl);
    command.env("HOME", home).env("KUBECONFIG", cluster.configure(home)).args(["apply", "-f", "-"]);
    run_with_input(&mut command, text.as_bytes())
}

/// What a project can say, piece by piece.
const PROJECTS: [&str; 8] = [
    "services: {web: {image: nginx, ports: ['80:80', '127.0.0.1:81:81', '53:53/udp', '9000-9002:9000-9002'],
     expose: ['7000'], networks: {default: {aliases: [front]}}}}",
    "services: {web: {image: nginx, healthcheck: {test: [CMD, curl, localhost], interval: 1500ms,
     timeout: 3s, retries: 4, start_period: 1m, start_interval: 2s}, restart: always}}",
    "services: {db: {image: postgres, healthcheck: {test: pg_isready}, volumes: ['data:/var/lib/postgresql',
     '/srv/conf:/conf:ro', '/cache'], tmpfs: ['/run:size=64m'], shm_size: 128m}}\nvolumes: {data: {}}",
    "services: {a: {image: x, deploy: {replicas: 4, labels: {a: b}, resources: {limits: {cpus: '1.5',
     memory: 1G, pids: 9}, reservations: {cpus: '0.01', memory: 5M, devices: [{capabilities: [gpu],
     count: 2}]}}, update_config: {parallelism: 2, order: start-first}}}}",
    "services: {a: {image: x, deploy: {mode: global}, configs: [{source: c, target: /etc/c, mode: 0440}],
     secrets: [s], labels: {k: v}, annotations: {l: w}}}\nconfigs: {c: {content: text}}\nsecrets: {s: {environment: HOME}}",
    "services: {a: {image: x, user: '5:6', group_add: ['7'], cap_add: [NET_ADMIN], cap_drop: [ALL],
     read_only: true, privileged: false, security_opt: ['no-new-privileges:true', 'seccomp:unconfined'],
     sysctls: {net.core.somaxconn: 5}, dns: [1.1.1.1], dns_search: [x.org], dns_opt: ['ndots:3'],
     extra_hosts: ['h:10.0.0.1'], hostname: n, stop_grace_period: 3s, working_dir: /w, stdin_open: true,
     tty: true, platform: linux/arm64}}",
    "services: {job: {image: x, command: [do, '$$it'], restart: 'on-failure:3'}, a: {image: x,
     depends_on: {job: {condition: service_completed_successfully}},
     entrypoint: [e], environment: {A: '1', B: '', C: x y}, pull_policy: always, post_start: [{command: [p]}],
     pre_stop: [{command: [q]}], pre_start: [{image: y, command: [z]}]}}",
    "services: {a: {image: x, network_mode: host, pid: host, ipc: host}, b: {image: y, scale: 2,
     ports: [{target: 80, published: '8080', protocol: tcp, name: web, app_protocol: http}]}}",
];

#[test]
fn a_cluster_takes_what_projects_become() {
    let Some(kubectl) = kubectl() else { return };
    let cluster = Cluster::start();
    for text in PROJECTS {
        let project = Project::new(text);
        let home = project.sandbox.dir();
        for flags in [&[][..], &["--ingress", "example.org", "--storage", "2Gi"]] {
            let objects =
                project.run(&[&["convert", "--format", "kubernetes"][..], flags].concat());
            assert_eq!(objects.code, 0, "{objects:?}");
            let objects = format!("{}\n", objects.stdout);
            let applied = apply(&kubectl, &cluster, home, &objects);
            assert_eq!(applied.code, 0, "{text}\n{applied:?}\n{objects}");
            let made = cluster.made();
            let lines = applied.stdout.lines();
            assert!(lines.clone().all(|line| line.ends_with(" created")), "{applied:?}");
            assert_eq!(made.len(), lines.count());
            let has_ingress = made.iter().any(|(name, _)| name.starts_with("Ingress/"));
            let publishes = text.contains("ports:") && !flags.is_empty();
            assert_eq!(has_ingress, publishes, "{text}");
            // kubectl reads them into its own types, too.
            let mut command = Command::new(&kubectl);
            command.env("HOME", home).env("KUBECONFIG", cluster.configure(home));
            command.args(["create", "--dry-run=client", "-o", "name", "-f", "-"]);
            let named = run_with_input(&mut command, objects.as_bytes()).ok();
            assert_eq!(named.lines().count(), made.len(), "{named}");
        }
    }
    // It would say so.
    for (object, why) in [
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {prots: []}}",
            "unknown field",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{name: x}]}}",
            "port is required",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, tty: 7}]}}",
            "7 is no",
        ),
    ] {
        let home = scratch("kubectl");
        // Older kubectls take what begins with a brace for JSON.
        let refused = apply(&kubectl, &cluster, &home, &format!("---\n{object}\n"));
        assert!(refused.code != 0 && refused.stderr.contains(why), "{refused:?}");
    }
}

#[test]
fn containers_are_handed_to_a_cluster() {
    let Some(kubectl) = kubectl() else { return };
    let sandbox = with_busybox(Client::Ferry);
    let cluster = Cluster::start();
    let port = format!("{}:80", free_port());
    let shop = format!(
        "create --name shop -p {port} {SHOP_FLAGS} -v /etc:/conf:ro --tmpfs /run --health-start-period 9s --cap-add SYS_TIME \
         -w /goods -it busybox sleep 1000"
    );
    sandbox.ok(&shop.split(' ').collect::<Vec<_>>());
    let hand = |args: &[&str]| {
        let mut command = sandbox.command(&[&["kube", "apply"][..], args].concat());
        let path = format!("{}:/usr/bin:/bin", kubectl.parent().unwrap().display());
        command.env("PATH", path).env("KUBECONFIG", cluster.configure(sandbox.dir()));
        run_with_input(&mut command, b"")
    };
    let applied = hand(&["--service", "--type", "deployment", "shop"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    assert_eq!(
        applied.stdout,
        "persistentvolumeclaim/goods created\nservice/shop created\ndeployment.apps/shop created\n"
    );
    let made = cluster.made();
    let (name, deployment) = &made[2];
    assert_eq!(name, "Deployment/shop");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "busybox");
    assert_eq!(container["resources"]["limits"], json!({"memory": "67108864", "cpu": "500m"}));
    assert_eq!(container["securityContext"]["runAsUser"], 1000);
    assert_eq!(made[1].1["spec"]["ports"][0]["port"], 80);
    // What kubectl says is what we say: here that it does not find the cluster.
    let mut command = sandbox.command(&["kube", "apply", "shop"]);
    command.env("PATH", kubectl.parent().unwrap()).env("KUBECONFIG", "/nonexistent");
    let failed = run_with_input(&mut command, b"");
    assert!(failed.code != 0, "{failed:?}");
    let mut command = sandbox.command(&["kube", "apply", "shop"]);
    command.env("PATH", "/nonexistent");
    run_with_input(&mut command, b"").fails(1).says("cannot run kubectl");

    // Pods that were played, and projects that run, by their names.
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: duo}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: a, image: busybox, \
               ports: [{containerPort: 80}], command: [sleep, '1000']}, {name: b, image: busybox, command: [sleep, '1000']}]}}";
    play(&sandbox, pod);
    assert_eq!(hand(&["duo"]).ok(), "pod/duo created");
    let (_, made) = cluster.made().remove(0);
    let names: Vec<&str> = made["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    for (service, number) in [("web", "1"), ("web", "2"), ("db", "1")] {
        let name = format!("mall-{service}-{number}");
        let labels = [
            "com.docker.compose.project=mall".to_owned(),
            format!("com.docker.compose.service={service}"),
            format!("com.docker.compose.container-number={number}"),
        ];
        sandbox.ok(&[
            "create", "--name", &name, "-l", &labels[0], "-l", &labels[1], "-l", &labels[2],
            "busybox",
        ]);
    }
    assert_eq!(
        hand(&["--type", "deployment", "mall"]).ok(),
        "deployment.apps/db created\ndeployment.apps/web created"
    );
    let made = cluster.made();
    assert_eq!(made[1].1["spec"]["replicas"], 2);
    hand(&["nothing"]).fails(1).says("no container, pod or project is called nothing");
    down(&sandbox, pod);
}
