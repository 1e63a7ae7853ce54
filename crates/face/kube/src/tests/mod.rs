use serde_json::{Value, json};

use crate::{generate, jobs, manifest, plan, settings};

mod jobs_and_sets;
mod keepers;
mod services;

fn planned(text: &str) -> Result<(Vec<plan::PodPlan>, Vec<String>), String> {
    let zone = |name: &str| Err(format!("{name} is not here"));
    let manifests = manifest::read(ferry_compose::yaml_documents(text)?, &zone)?;
    let mut notices = manifests.notices.clone();
    let plans = jobs::plans(&manifests, &mut notices)?;
    Ok((plans.pods, notices))
}

/// A pod's mount at a place.
fn mount<'b>(body: &'b Value, target: &str) -> &'b Value {
    let mounts = body.pointer("/HostConfig/Mounts").and_then(Value::as_array);
    let found = mounts.into_iter().flatten().find(|one| one["Target"] == target);
    found.unwrap_or_else(|| panic!("nothing is mounted at {target} in {body:#}"))
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
    assert_eq!(names, ["web-0", "web-1", "front"]);
    let pod = &pods[0];
    assert_eq!((pod.init.len(), pod.containers.len()), (1, 2));
    assert_eq!(pod.work.own, ["web-0-tmp"]);
    assert_eq!(pod.work.claims, ["store"]);
    let main = &pod.containers[0].body;
    assert_eq!(main["Env"], json!(["COLOUR=blue", "TOKEN=secret", "ME=web-0"]));
    assert_eq!(main["HostConfig"]["Memory"], json!(64 << 20));
    assert_eq!(main["HostConfig"]["NanoCpus"], json!(500_000_000));
    assert_eq!(mount(main, "/data")["Source"], json!("store"));
    assert_eq!(mount(main, "/data")["ReadOnly"], json!(true));
    assert_eq!(mount(main, "/scratch")["Source"], json!("web-0-tmp"));
    // Two containers: the network is their keeper's.
    let keeper = &pod.keeper.as_ref().unwrap().body;
    assert_eq!(keeper["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"], json!("8080"));
    let aliases = &keeper["NetworkingConfig"]["EndpointsConfig"]["kube"]["Aliases"];
    assert_eq!(
        *aliases,
        json!(["web-0", "ready.web-0"]),
        "two pods behind a port of the machine have a front, and of several containers all have to run"
    );
    assert_eq!(keeper["Labels"]["ferry.names-while-healthy"], "ready.web-0");
    for one in pod.init.iter().chain(&pod.containers) {
        assert_eq!(one.body["HostConfig"]["NetworkMode"], json!("container:web-0_pod"));
        assert!(one.body["HostConfig"].get("PortBindings").is_none());
    }
    let front = &pods[2];
    assert_eq!((front.owner.as_str(), front.containers.len()), ("Service/front", 1));
    let words = json!(["kube", "keep", "service", "80/tcp=ready.web-0:80,ready.web-1:80"]);
    assert_eq!(front.containers[0].body["Cmd"], words);
    let names =
        json!(["front", "front.default", "front.default.svc", "front.default.svc.cluster.local"]);
    let network = &front.containers[0].body["NetworkingConfig"]["EndpointsConfig"]["kube"];
    assert_eq!(network["Aliases"], names);
    for words in ["nodeSelector has no meaning", "requests has no meaning"] {
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
        (container("volumeDevices: []"), "Pod/x.spec.containers[0].volumeDevices is not supported"),
        (
            container("livenessProbe: {httpGet: {port: web}}"),
            "or the name of one of the container's",
        ),
        (
            container("livenessProbe: {httpGet: {port: 80, scheme: FTP}}"),
            "\"FTP\" is neither HTTP nor HTTPS",
        ),
        (
            container("livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}"),
            "one way of asking",
        ),
        (
            container("}], initContainers: [{name: i, image: b, readinessProbe: {exec: {command: [a]}}"),
            "Pod/x.spec.initContainers[0]: an init container has no probes",
        ),
        (container("livenessProbe: {exec: {command: [a]}, successThreshold: 2}"), "must be 1"),
        (container("ports: [{containerPort: 70000}]"), "70000 is no port"),
        (container("ports: [{containerPort: 7, protocol: ICMP}]"), "\"ICMP\" is none"),
        (
            container("securityContext: {runAsNonRoot: true, runAsUser: 0}"),
            "runAsNonRoot and runAsUser 0",
        ),
        (container("imagePullPolicy: Sometimes"), "\"Sometimes\" cannot be"),
        (container("volumeMounts: [{name: v, mountPath: /v}]"), "there is no volume \"v\""),
        (
            container("envFrom: [{configMapRef: {name: c}}]"),
            "ConfigMap \"c\" is not in the manifests",
        ),
        (container("args: 7"), "expected a list of texts"),
        (container("resources: {limits: {memory: lots}}"), "\"lots\" is no quantity"),
        (
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: x}}".to_owned(),
            "kind \"NetworkPolicy\" is not supported",
        ),
        ("{apiVersion: v1, kind: Pod, metadata: {name: x}}".to_owned(), "containers is required"),
        (
            "{apiVersion: v2, kind: Pod, metadata: {name: x}}".to_owned(),
            "apiVersion \"v2\" is not supported",
        ),
        ("{apiVersion: v1, kind: Pod}".to_owned(), "metadata.name is required"),
        (
            "{apiVersion: batch/v1, kind: CronJob, metadata: {name: x}, spec: {schedule: '@daily', startingDeadlineSeconds: -1}}".to_owned(),
            "startingDeadlineSeconds: -1 cannot be",
        ),
        ("a: [".to_owned(), "yaml"),
    ] {
        let error = planned(&text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn what_is_about_a_cluster_is_named() {
    for (kind, words) in [
        ("Ingress", "Ingress/x has no meaning on one machine: a Service of type LoadBalancer"),
        ("ServiceAccount", "ServiceAccount/x has no meaning on one machine"),
    ] {
        let text =
            format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: x}}, spec: {{a: b}}}}");
        let (pods, notices) = planned(&text).unwrap();
        assert!(
            pods.is_empty() && notices.len() == 1 && notices[0].starts_with(words),
            "{notices:?}"
        );
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
    let all = [generate::claims(&pod).remove(0), service, generate::deployment("my-web", pod, 1)];
    let texts: Vec<String> = all.iter().map(ferry_compose::yaml_text).collect();
    let (pods, _) = planned(&texts.join("---\n")).unwrap();
    let body = &pods[0].containers[0].body;
    assert_eq!(body["Cmd"], json!(["sleep", "1000", "$$x"]));
    assert_eq!(body["Env"], json!(["A=1", "B=$(x)"]));
    assert_eq!(body["User"], json!("1000:50"));
    assert_eq!(body["Healthcheck"]["Test"], json!(["CMD", "/bin/sh", "-c", "true"]));
    assert_eq!(body["HostConfig"]["Memory"], json!(1 << 26));
    assert_eq!(mount(body, "/data")["Source"], json!("data"));
}

#[test]
fn a_pod_may_have_users_of_its_own() {
    let modes = |spec: &str| {
        let text =
            format!("{{apiVersion: v1, kind: Pod, metadata: {{name: x}}, spec: {{{spec}}}}}");
        let (pods, _) = planned(&text)?;
        let modes = pods[0].all().map(|one| one.body["HostConfig"]["UsernsMode"].clone());
        Ok::<_, String>(modes.collect::<Vec<_>>())
    };
    let two = "containers: [{name: a, image: b}, {name: c, image: b}]";
    assert_eq!(modes(&format!("hostUsers: false, {two}")).unwrap(), ["auto"; 3], "and the keeper");
    assert_eq!(
        modes(&format!("hostUsers: true, {two}")).unwrap(),
        [Value::Null, Value::Null, Value::Null]
    );
    for (spec, words) in [
        (
            "hostUsers: false, hostNetwork: true, containers: [{name: a, image: b}]",
            "hostNetwork cannot be",
        ),
        (
            "hostUsers: false, containers: [{name: a, image: b, securityContext: {privileged: true}}]",
            "a privileged container cannot have ids of its own",
        ),
    ] {
        let error = modes(spec).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn what_is_not_alive_ends_as_its_pod_says() {
    let ends = |policy: &str| {
        let text = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: x}}, spec: {{{policy} containers: [{{name: a, image: b, livenessProbe: {{exec: {{command: [c]}}}}}}]}}}}"
        );
        let (pods, _) = planned(&text).unwrap();
        pods[0].containers[0].body["Labels"]["ferry.health-on-failure"].clone()
    };
    assert_eq!(ends(""), "restart");
    assert_eq!(ends("restartPolicy: OnFailure,"), "restart");
    assert_eq!(ends("restartPolicy: Never,"), "stop");
}

const FILES: &str = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: page}, data: {index.html: hello, other: there}}
---
{apiVersion: v1, kind: Secret, metadata: {name: key}, data: {raw: /w==}}
---
{apiVersion: v1, kind: Service, metadata: {name: front}, spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 8000, targetPort: 80}]}}
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
    let files: Vec<(&str, &str, &[u8], u32)> = pods[0]
        .work
        .fills
        .iter()
        .flat_map(|fill| fill.files.iter().map(|file| (fill.volume.as_str(), file)))
        .map(|(volume, file)| (volume, file.path.as_str(), file.content.as_slice(), file.mode))
        .collect();
    let expected: [(&str, &str, &[u8], u32); 3] = [
        ("web-0-page", "index.html", b"hello", 0o644),
        ("web-0-page", "other", b"there", 0o644),
        ("web-0-key", "a/b", b"\xff", 0o400),
    ];
    assert_eq!(files, expected);
    let body = &main.body;
    assert_eq!(mount(body, "/www")["ReadOnly"], json!(true));
    assert_eq!(mount(body, "/etc/one")["VolumeOptions"]["Subpath"], json!("other"));
    assert_eq!(mount(body, "/keys")["VolumeOptions"]["Subpath"], json!("a"));
    assert_eq!(body["Cmd"], json!(["one", "$(A)", "$B"]));
    let front = &pods[2].containers[0].body;
    assert_eq!(front["HostConfig"]["PortBindings"]["8000/tcp"][0]["HostPort"], json!("8000"));
    assert_eq!(front["Cmd"][3], json!("8000/tcp=ready.web-0:80,ready.web-1:80"));
    // Only liveness restarts what never starts: that is for the keeper, which has the network then.
    assert!(body.get("Healthcheck").is_none());
    let keeper = pods[0].keeper.as_ref().unwrap();
    let host = &keeper.body["HostConfig"];
    assert_eq!(host["Sysctls"], json!({"net.core.somaxconn": "1"}));
    assert_eq!(host["DnsOptions"], json!(["ndots:2"]));
    assert_eq!(body["HostConfig"]["GroupAdd"], json!(["7"]));
    let with_both = FILES.replace("readinessProbe", "livenessProbe");
    let (pods, _) = planned(&with_both).unwrap();
    let body = &pods[0].containers[0].body;
    assert_eq!(body["Healthcheck"]["StartPeriod"], json!(10_000_000_000_i64));
    assert_eq!(body["Labels"]["ferry.health-on-failure"], json!("restart"));
    assert_eq!(body["HostConfig"]["Sysctls"], json!({"net.core.somaxconn": "1"}));
    assert!(pods[0].keeper.is_none());
    // Another question at the start is none that the same health check can ask.
    let other = with_both.replace(
        "startupProbe: {exec: {command: [\"true\"]}",
        "startupProbe: {exec: {command: [test]}",
    );
    assert!(planned(&other).unwrap().0[0].keeper.is_some());
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
    for one in pods[0].init.iter().chain(&pods[0].containers) {
        let network = &one.body["HostConfig"]["NetworkMode"];
        assert_eq!(*network, json!("container:web_pod"), "{}", one.name);
        assert!(one.body["HostConfig"].get("PortBindings").is_none(), "{}", one.name);
    }
    assert_eq!(proxy.body["HostConfig"]["RestartPolicy"]["Name"], json!("always"));
    // Whatever container says so, the ports are those of the network.
    let keeper = &pods[0].keeper.as_ref().unwrap().body;
    let bindings = keeper["HostConfig"]["PortBindings"].as_object().unwrap();
    assert_eq!(bindings.keys().collect::<Vec<_>>(), ["15000/tcp", "80/tcp", "90/tcp"]);
    let wrong = SIDECAR.replace("restartPolicy: Always", "restartPolicy: Never");
    assert!(planned(&wrong).unwrap_err().contains("\"Never\" cannot be"));
}

const PROBED: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}, annotations: {team: blue}}
spec:
  securityContext: {runAsUser: 7, runAsGroup: 8, fsGroup: 9, seccompProfile: {type: Unconfined}}
  volumes:
    - name: about
      projected:
        sources:
          - downwardAPI: {items: [{path: team, fieldRef: {fieldPath: \"metadata.annotations['team']\"}}]}
          - downwardAPI: {items: [{path: mem, resourceFieldRef: {containerName: main, resource: limits.memory, divisor: 1Mi}}]}
    - {name: place, hostPath: {path: /etc, type: Directory}}
    - {name: fast, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
    - {name: tools, image: {reference: busybox}}
  containers:
    - name: main
      image: busybox
      ports: [{name: http, containerPort: 8080}]
      env:
        - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
      resources: {limits: {cpu: 1500m, memory: 64Mi}}
      securityContext: {runAsUser: 10, procMount: Unmasked}
      livenessProbe: {httpGet: {port: http, path: alive, scheme: HTTPS}, failureThreshold: 5, terminationGracePeriodSeconds: 2}
      readinessProbe: {tcpSocket: {port: 8080}, successThreshold: 2}
      startupProbe: {grpc: {port: 8081}}
      lifecycle: {postStart: {exec: {command: [touch, /x]}}, preStop: {sleep: {seconds: 3}}}
      volumeMounts:
        - {name: about, mountPath: /about}
        - {name: place, mountPath: /place, subPathExpr: \"conf-$(CPU)\", mountPropagation: HostToContainer}
        - {name: fast, mountPath: /fast}
        - {name: tools, mountPath: /tools, subPath: bin}
";

#[test]
fn what_a_kubelet_does_is_for_the_keeper() {
    let (pods, _) = planned(PROBED).unwrap();
    let pod = &pods[0];
    let keeper = pod.keeper.as_ref().unwrap();
    let record: Value = serde_json::from_slice(&keeper.files[0].content).unwrap();
    let watch = &record["watches"][0];
    assert_eq!(watch["container"], "web-main");
    assert_eq!(watch["liveness"]["action"]["http"]["path"], "/alive");
    assert_eq!(watch["liveness"]["action"]["http"]["port"], 8080);
    assert_eq!(watch["liveness"]["action"]["http"]["tls"], true);
    assert_eq!(
        (&watch["liveness"]["failures"], &watch["liveness"]["grace"]),
        (&json!(5), &json!(2))
    );
    assert_eq!(watch["readiness"]["successes"], 2);
    assert_eq!(watch["startup"]["action"]["grpc"]["port"], 8081);
    assert_eq!(watch["pre_stop"], json!({"sleep": 3}));
    let main = &pod.containers[0];
    assert_eq!(
        main.body["Env"],
        json!(["IP=\0status.podIP\0", "CPU=2"]),
        "what is known later is marked; whole ones, rounded up"
    );
    assert_eq!(main.body["User"], json!("10:8"), "a container's word counts more");
    assert_eq!(
        main.body["HostConfig"]["SecurityOpt"],
        json!(["seccomp=unconfined", "systempaths=unconfined"])
    );
    assert_eq!(main.body["HostConfig"]["GroupAdd"], json!(["9"]));
    assert_eq!(pod.work.memory[0].1, "mode=2777,gid=9,size=1048576");
    assert_eq!(mount(&main.body, "/fast")["Source"], pod.work.memory[0].0);
    assert_eq!(mount(&keeper.body, "/memory-0")["Source"], pod.work.memory[0].0);
    assert_eq!(mount(&main.body, "/place")["Source"], "/etc/conf-2");
    assert_eq!(mount(&main.body, "/place")["BindOptions"]["Propagation"], "rslave");
    assert_eq!(mount(&main.body, "/tools")["ImageOptions"]["Subpath"], "bin");
    let files: Vec<(&str, &[u8])> = pod.work.fills[0]
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.content.as_slice()))
        .collect();
    assert_eq!(files, [("team", &b"blue"[..]), ("mem", b"64")]);
    assert_eq!(pod.group, Some(9));
    assert!(
        main.body.get("Healthcheck").is_none() && main.body["Labels"]["ferry.kube.pre-stop"] == "1"
    );
}
