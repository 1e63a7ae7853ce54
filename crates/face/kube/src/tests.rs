use serde_json::{Value, json};

use crate::{generate, manifest, plan, settings};

fn planned(text: &str) -> Result<(Vec<plan::PodPlan>, Vec<String>), String> {
    let manifests = manifest::read(ferry_compose::yaml_documents(text)?)?;
    let mut notices = manifests.notices.clone();
    let pods = manifests.pods.iter().map(|pod| plan::plan(pod, &manifests, &mut notices));
    Ok((pods.collect::<Result<_, _>>()?, notices))
}

const WEB: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOUR: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {token: c2VjcmV0}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: web}, ports: [{port: 80}], type: NodePort}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {disk: ssd}
      volumes: [{name: data, persistentVolumeClaim: {claimName: store}}, {name: tmp, emptyDir: {}}]
      initContainers: [{name: prepare, image: busybox, command: [\"true\"]}]
      containers:
        - name: main
          image: busybox
          args: [sleep, \"1000\"]
          envFrom: [{configMapRef: {name: settings}}]
          env:
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
            - {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
          ports: [{containerPort: 80, hostPort: 8080}]
          resources: {limits: {memory: 64Mi, cpu: 500m}, requests: {cpu: 1}}
          volumeMounts: [{name: data, mountPath: /data, readOnly: true}, {name: tmp, mountPath: /scratch}]
        - {name: side, image: busybox, command: [sleep, \"1000\"]}
";

#[test]
fn a_deployment_becomes_pods() {
    let (pods, notices) = planned(WEB).unwrap();
    let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["web-0", "web-1"]);
    let pod = &pods[0];
    assert_eq!((pod.init.len(), pod.containers.len()), (1, 2));
    assert_eq!(pod.volumes, ["web-0-tmp"]);
    let main = &pod.containers[0].body;
    assert_eq!(main["Env"], json!(["COLOUR=blue", "TOKEN=secret", "ME=web-0"]));
    assert_eq!(main["HostConfig"]["Memory"], json!(64 << 20));
    assert_eq!(main["HostConfig"]["NanoCpus"], json!(500_000_000));
    assert_eq!(main["HostConfig"]["Binds"], json!(["store:/data:ro", "web-0-tmp:/scratch"]));
    assert_eq!(main["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"], json!("8080"));
    let aliases = &main["NetworkingConfig"]["EndpointsConfig"]["kube"]["Aliases"];
    assert_eq!(*aliases, json!(["web-0", "front"]));
    let side = &pod.containers[1].body;
    assert_eq!(side["HostConfig"]["NetworkMode"], json!("container:web-0-main"));
    for words in
        ["nodeSelector has no meaning", "requests has no meaning", "spec.type has no meaning"]
    {
        assert!(notices.iter().any(|notice| notice.contains(words)), "{words}: {notices:?}");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let container = |field: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: x}}, spec: {{containers: [{{name: a, image: b, {field}}}]}}}}"
        )
    };
    for (text, words) in [
        (container("lifecycle: {}"), "Pod/x.spec.containers[0].lifecycle is not supported"),
        (container("volumeMounts: [{name: v, mountPath: /v}]"), "there is no volume \"v\""),
        (
            container("envFrom: [{configMapRef: {name: c}}]"),
            "ConfigMap \"c\" is not in the manifests",
        ),
        (container("args: 7"), "expected a list of texts"),
        (container("resources: {limits: {memory: lots}}"), "\"lots\" is no quantity"),
        (
            "{apiVersion: v1, kind: Ingress, metadata: {name: x}}".to_owned(),
            "kind \"Ingress\" is not supported",
        ),
        ("{apiVersion: v1, kind: Pod, metadata: {name: x}}".to_owned(), "containers is required"),
        (
            "{apiVersion: v2, kind: Pod, metadata: {name: x}}".to_owned(),
            "apiVersion \"v2\" is not supported",
        ),
        ("{apiVersion: v1, kind: Pod}".to_owned(), "metadata.name is required"),
        ("a: [".to_owned(), "yaml"),
    ] {
        let error = planned(&text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn quantities() {
    for (text, value) in [
        ("500m", Some(500)),
        ("2", Some(2000)),
        ("0.5", Some(500)),
        ("64Mi", Some(64_000 << 20)),
        ("1.5Gi", Some(1_536_000 << 20)),
        ("", None),
        ("-1", None),
        ("1x", None),
        ("99999999999G", None),
    ] {
        assert_eq!(settings::milli(text), value, "{text}");
    }
}

#[test]
fn a_container_as_a_pod_and_back() {
    let inspected: Value = json!({
        "Name": "/My_web",
        "Config": {
            "Image": "busybox",
            "Cmd": ["sleep", "1000", "$$x"],
            "Env": ["A=1", "B=$(x)"],
            "Healthcheck": { "Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_i64 },
            "User": "1000:50",
        },
        "HostConfig": {
            "Memory": 1 << 26,
            "PortBindings": { "80/tcp": [{ "HostPort": "8080" }] },
            "RestartPolicy": { "Name": "always" },
        },
        "Mounts": [{ "Type": "volume", "Name": "data", "Destination": "/data", "RW": true }],
    });
    let pod = generate::pod("my-web", &[inspected]);
    assert_eq!(generate::claims(&pod).len(), 1);
    let service = generate::service("my-web", &pod).unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], json!(80));
    let all = [generate::claims(&pod).remove(0), service, generate::deployment("my-web", pod)];
    let texts: Vec<String> = all.iter().map(ferry_compose::yaml_text).collect();
    let (pods, _) = planned(&texts.join("---\n")).unwrap();
    let body = &pods[0].containers[0].body;
    assert_eq!(body["Cmd"], json!(["sleep", "1000", "$$x"]));
    assert_eq!(body["Env"], json!(["A=1", "B=$(x)"]));
    assert_eq!(body["User"], json!("1000:50"));
    assert_eq!(body["Healthcheck"]["Test"], json!(["CMD", "/bin/sh", "-c", "true"]));
    assert_eq!(body["HostConfig"]["Memory"], json!(1 << 26));
    assert_eq!(body["HostConfig"]["Binds"], json!(["data:/data"]));
}

const FILES: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {index.html: hello, other: there}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
data: {raw: /w==}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 8000, targetPort: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {sysctls: [{name: net.core.somaxconn, value: \"1\"}], supplementalGroups: [7]}
      dnsConfig: {nameservers: [1.1.1.1], options: [{name: ndots, value: \"2\"}]}
      volumes:
        - {name: page, configMap: {name: page}}
        - {name: key, secret: {secretName: key, items: [{key: raw, path: a/b, mode: 256}]}}
      containers:
        - name: main
          image: busybox
          args: [\"$(A)\", \"$$(A)\", $B]
          env: [{name: A, value: one}]
          readinessProbe: {exec: {command: [\"true\"]}, periodSeconds: 1}
          startupProbe: {exec: {command: [\"true\"]}, periodSeconds: 2, failureThreshold: 5}
          volumeMounts:
            - {name: page, mountPath: /www}
            - {name: page, mountPath: /etc/one, subPath: other}
            - {name: key, mountPath: /keys, subPath: a}
";

#[test]
fn files_ports_and_probes_of_a_deployment() {
    let (pods, notices) = planned(FILES).unwrap();
    assert_eq!(notices, Vec::<String>::new());
    let main = &pods[0].containers[0];
    let files: Vec<(&str, &[u8], u32)> = main
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.content.as_slice(), file.mode))
        .collect();
    let expected: [(&str, &[u8], u32); 4] = [
        ("/www/index.html", b"hello", 0o644),
        ("/www/other", b"there", 0o644),
        ("/etc/one", b"there", 0o644),
        ("/keys/b", b"\xff", 0o400),
    ];
    assert_eq!(files, expected);
    let body = &main.body;
    assert_eq!(body["Cmd"], json!(["one", "$(A)", "$B"]));
    assert_eq!(body["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"], json!("8000"));
    let second = &pods[1].containers[0].body["HostConfig"]["PortBindings"];
    assert_eq!(*second, json!({}), "a port is one pod's");
    assert_eq!(body["HostConfig"]["Sysctls"], json!({"net.core.somaxconn": "1"}));
    assert_eq!(body["HostConfig"]["GroupAdd"], json!(["7"]));
    assert_eq!(body["HostConfig"]["DnsOptions"], json!(["ndots:2"]));
    assert_eq!(body["Healthcheck"]["StartPeriod"], json!(10_000_000_000_i64));
    assert!(body["Labels"].get("ferry.health-on-failure").is_none(), "it is only not ready");
    let away = FILES.replace("path: a/b", "path: ../b");
    assert!(planned(&away).unwrap_err().contains("no path below a volume"));
}

const SIDECAR: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  initContainers:
    - {name: early, image: busybox, command: [\"true\"]}
    - {name: proxy, image: busybox, restartPolicy: Always, ports: [{containerPort: 15000, hostPort: 15001}]}
    - {name: late, image: busybox, command: [\"true\"]}
  containers:
    - {name: main, image: busybox, ports: [{containerPort: 80, hostPort: 8080}]}
    - {name: side, image: busybox, ports: [{containerPort: 90, hostPort: 9090}]}
";

#[test]
fn a_sidecar_has_the_network_of_its_pod() {
    let (pods, _) = planned(SIDECAR).unwrap();
    let [early, proxy, late] = pods[0].init.as_slice() else { panic!("three of them") };
    assert_eq!((early.ends, proxy.ends, late.ends), (true, false, true));
    let network = |one: &plan::ContainerPlan| one.body["HostConfig"]["NetworkMode"].clone();
    assert_eq!([network(early), network(proxy)], [json!("kube"), json!("kube")]);
    for one in [late].into_iter().chain(&pods[0].containers) {
        assert_eq!(network(one), json!("container:web-proxy"), "{}", one.name);
        assert!(one.body["HostConfig"].get("PortBindings").is_none(), "{}", one.name);
    }
    assert_eq!(proxy.body["HostConfig"]["RestartPolicy"]["Name"], json!("always"));
    // Whatever container says so, the ports are those of the network.
    let bindings = proxy.body["HostConfig"]["PortBindings"].as_object().unwrap();
    assert_eq!(bindings.keys().collect::<Vec<_>>(), ["15000/tcp", "80/tcp", "90/tcp"]);
    let job = "apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {template: {spec: {restartPolicy: Never, initContainers: [{name: s, image: busybox, restartPolicy: Always}], containers: [{name: m, image: busybox}]}}}";
    assert!(planned(job).unwrap_err().contains("nobody here ends the sidecar of a job"));
    let wrong = SIDECAR.replace("restartPolicy: Always", "restartPolicy: Never");
    assert!(planned(&wrong).unwrap_err().contains("\"Never\" cannot be"));
}
