//! Kubernetes' manifests on one machine.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use ferry_testkit::{Client, eventually, free_port, programs, run_with_input};

use super::{
    compose::Project,
    kube_objects::{down, play},
    with_busybox,
};

const WEB: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {TEXT: hello from a pod}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: store}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  nodeSelector: {disk: ssd}
  volumes:
    - {name: data, persistentVolumeClaim: {claimName: store}}
    - {name: scratch, emptyDir: {}}
  initContainers:
    - name: prepare
      image: busybox
      command: [sh, -c, \"echo $TEXT > /data/page\"]
      envFrom: [{configMapRef: {name: page}}]
      volumeMounts: [{name: data, mountPath: /data}]
  containers:
    - name: serve
      image: busybox
      command: [sh, -c, \"nc -ll -p 80 -e cat /data/page\"]
      volumeMounts: [{name: data, mountPath: /data, readOnly: true}]
      livenessProbe: {exec: {command: [\"true\"]}, periodSeconds: 1}
    - name: side
      image: busybox
      command: [sh, -c, \"sleep 1000\"]
      volumeMounts: [{name: scratch, mountPath: /scratch}]
";

#[test]
fn a_pod_is_played_and_taken_down() {
    let sandbox = with_busybox(Client::Ferry);
    let file = sandbox.dir().join("web.yaml");
    std::fs::write(&file, WEB).unwrap();
    let file = file.to_str().unwrap();
    let first = sandbox.run(&["kube", "play", file]);
    assert_eq!((first.code, first.stdout.as_str()), (0, "Pod/web web created\n"), "{first:?}");
    assert!(first.stderr.contains("nodeSelector has no meaning on one machine"), "{first:?}");

    // Containers of a pod share their network; services are names.
    let side = |script: &str| sandbox.run(&["exec", "web-side", "sh", "-c", script]).stdout;
    eventually("the pod serves", || {
        (side("nc -w 1 127.0.0.1 80 < /dev/null") == "hello from a pod\n").then_some(())
    });
    let ask = "nc -w 1 front 80 < /dev/null";
    eventually("its service answers by its name", || {
        let words = ["run", "--rm", "--network", "kube", "busybox", "sh", "-c", ask];
        (sandbox.run(&words).stdout == "hello from a pod\n").then_some(())
    });
    eventually("the probe is asked", || {
        let health = sandbox.inspect("web-serve", "{{.State.Health.Status}}");
        (health.trim() == "healthy").then_some(())
    });

    // Again: nothing changes. Then one word does.
    let ids = || sandbox.ok(&["ps", "-aq", "--no-trunc", "--filter", "label=ferry.kube.owner"]);
    let before = ids();
    assert_eq!(sandbox.ok(&["kube", "play", file]), "Pod/web web unchanged");
    assert_eq!(ids(), before);
    std::fs::write(file, WEB.replace("sleep 1000", "sleep 2000")).unwrap();
    assert_eq!(sandbox.ok(&["kube", "play", file]), "Pod/web web configured");
    assert_ne!(ids(), before);

    assert_eq!(sandbox.ok(&["kube", "down", file]), "Pod/web web deleted");
    assert_eq!(ids(), "");
    let volumes = sandbox.ok(&["volume", "ls", "-q"]);
    assert_eq!(volumes, "store", "claims stay, what was the pod's alone goes");
    sandbox.ok(&["volume", "rm", "store"]);
}

/// What kubectl wants to know of a cluster before it looks at a manifest.
fn document(path: &str) -> &'static str {
    match path {
        "/api" => r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}"#,
        "/apis" => {
            r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}],"preferredVersion":{"groupVersion":"apps/v1","version":"v1"}},{"name":"batch","versions":[{"groupVersion":"batch/v1","version":"v1"}],"preferredVersion":{"groupVersion":"batch/v1","version":"v1"}},{"name":"networking.k8s.io","versions":[{"groupVersion":"networking.k8s.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"networking.k8s.io/v1","version":"v1"}}]}"#
        }
        "/api/v1" => {
            r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","namespaced":true,"kind":"Pod","verbs":["create"]},{"name":"configmaps","namespaced":true,"kind":"ConfigMap","verbs":["create"]},{"name":"secrets","namespaced":true,"kind":"Secret","verbs":["create"]},{"name":"services","namespaced":true,"kind":"Service","verbs":["create"]},{"name":"persistentvolumeclaims","namespaced":true,"kind":"PersistentVolumeClaim","verbs":["create"]}]}"#
        }
        "/apis/apps/v1" => {
            r#"{"kind":"APIResourceList","groupVersion":"apps/v1","resources":[{"name":"deployments","namespaced":true,"kind":"Deployment","verbs":["create"]},{"name":"daemonsets","namespaced":true,"kind":"DaemonSet","verbs":["create"]}]}"#
        }
        "/apis/batch/v1" => {
            r#"{"kind":"APIResourceList","groupVersion":"batch/v1","resources":[{"name":"jobs","namespaced":true,"kind":"Job","verbs":["create"]}]}"#
        }
        "/apis/networking.k8s.io/v1" => {
            r#"{"kind":"APIResourceList","groupVersion":"networking.k8s.io/v1","resources":[{"name":"ingresses","namespaced":true,"kind":"Ingress","verbs":["create"]}]}"#
        }
        _ => "",
    }
}

/// A server that knows which kinds there are.
fn cluster() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split([' ', '?']).nth(1).unwrap_or_default();
            let body = document(path);
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            let text = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write_all(text.as_bytes()).ok();
        }
    });
    address
}

/// What kubectl makes of manifests: it reads them into the objects that it knows, field by field (`set env --local`), and names
/// what it would create.
fn dry_run(kubectl: &Path, server: &str, home: &Path, text: &str) -> String {
    let typed = ["set", "env", "--local", "-f", "-", "--all", "KUBECTL=read", "-o", "name"];
    let workloads: Vec<&str> =
        text.split("---\n").filter(|one| one.contains("containers:")).collect();
    let mut command = Command::new(kubectl);
    command.env("HOME", home).args(typed);
    run_with_input(&mut command, workloads.join("---\n").as_bytes()).ok();
    let mut command = Command::new(kubectl);
    command.env("HOME", home).args(["--server", server, "create", "--dry-run=client"]);
    command.args(["--validate=false", "-o", "name", "-f", "-"]);
    run_with_input(&mut command, text.as_bytes()).ok()
}

/// What a container can be told that a manifest says, too.
pub(crate) const SHOP_FLAGS: &str = "-v goods:/goods -e PRICE=$5 --memory 64m --cpus 0.5 --user 1000:50 --restart always \
    --health-cmd true --health-interval 5s --read-only --cap-drop NET_RAW";

#[test]
fn kubectl_takes_what_is_generated() {
    let Some(kubectl) = programs::find("kubectl") else { return };
    let sandbox = with_busybox(Client::Ferry);
    let free = free_port();
    let ports = format!("{free}:80");
    let shop = format!("create --name shop -p {ports} {SHOP_FLAGS} busybox sleep 1000");
    sandbox.ok(&shop.split(' ').collect::<Vec<_>>());
    let server = cluster();
    for (kind, name) in [("pod", "pod/shop"), ("deployment", "deployment.apps/shop")] {
        let text = sandbox.ok(&["kube", "generate", "--service", "--type", kind, "shop"]);
        let names = dry_run(&kubectl, &server, sandbox.dir(), &text);
        assert_eq!(names, format!("persistentvolumeclaim/goods\nservice/shop\n{name}"));
    }
    // And Ferry itself plays it.
    let text = sandbox.ok(&["kube", "generate", "--name", "copy", "shop"]);
    sandbox.ok(&["rm", "-f", "shop"]);
    play(&sandbox, &text);
    let copy = sandbox
        .inspect("copy-shop", "{{.Config.User}} {{.HostConfig.Memory}} {{json .Config.Env}}");
    assert!(copy.starts_with("1000:50 67108864") && copy.contains("PRICE=$5"), "{copy}");
    down(&sandbox, &text);
    sandbox.ok(&["volume", "rm", "goods"]);
}

const SHOP: &str = "
name: shop
services:
  web:
    image: busybox
    entrypoint: [sh, -c]
    command: ['nc -ll -p 80 -e sh -c \"cat /page /run/secrets/password; nc -w 1 db 90 </dev/null\"']
    ports: ['PORT:80']
    configs: [{source: page, target: /page}]
    secrets: [password]
    depends_on: {db: {condition: service_healthy}, migrate: {condition: service_completed_successfully}}
    restart: always
    stop_grace_period: 0s
    healthcheck: {test: test -f /page, interval: 1s, retries: 2, start_period: 5s}
    deploy: {resources: {limits: {cpus: '0.5', memory: 64M}, reservations: {memory: 16M}}}
  db:
    image: busybox
    command: sh -c 'echo kept > /data/file; exec nc -ll -p 90 -e cat /data/file'
    volumes: ['data:/data', './motd:/etc/motd:ro']
    tmpfs: [/scratch]
    stop_grace_period: 0s
  migrate: {image: busybox, command: 'true'}
volumes: {data: }
configs: {page: {content: 'hello '}}
secrets: {password: {environment: PASSWORD}}
";

/// What is said at a port of this machine, to its end.
pub(crate) fn answer(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

#[test]
fn a_compose_project_is_converted_and_played() {
    let free = free_port();
    let text = SHOP.replace("PORT", &free.to_string());
    let project = Project::new(&text);
    std::fs::write(project.directory.join("motd"), "welcome").unwrap();
    std::fs::write(project.directory.join(".env"), "PASSWORD=opener\n").unwrap();
    let converted = project.run(&["convert", "--format", "kubernetes"]);
    assert_eq!(converted.code, 0, "{converted:?}");
    assert!(converted.stderr.contains("services.web.depends_on: a cluster starts everything"));
    let objects = project.ok(&["convert", "--format", "kubernetes", "--ingress", "example.org"]);
    if let Some(kubectl) = programs::find("kubectl") {
        let names = dry_run(&kubectl, &cluster(), project.sandbox.dir(), &format!("{objects}\n"));
        let expected = "configmap/shop-page secret/shop-password persistentvolumeclaim/shop-data \
            configmap/file-1-db deployment.apps/db service/db job.batch/migrate \
            deployment.apps/web service/web ingress.networking.k8s.io/shop";
        assert_eq!(names.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    let file = project.sandbox.dir().join("shop.yaml");
    std::fs::write(&file, &converted.stdout).unwrap();
    let file = file.to_str().unwrap();
    let played = project.sandbox.run(&["kube", "play", file]);
    assert_eq!(played.code, 0, "{played:?}");
    eventually("the published port answers", || {
        (answer(free)? == "hello openerkept\n").then_some(())
    });
    let motd = project.sandbox.ok(&["exec", "db-0-db", "cat", "/etc/motd"]);
    assert_eq!(motd, "welcome");
    let limit = project.sandbox.inspect("web-0-web", "{{.HostConfig.Memory}}");
    assert_eq!(limit.trim(), "67108864");
    eventually("the health check is asked", || {
        let health = project.sandbox.inspect("web-0-web", "{{.State.Health.Status}}");
        (health.trim() == "healthy").then_some(())
    });
    let again = project.sandbox.ok(&["kube", "play", file]);
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    project.sandbox.ok(&["kube", "down", file]);
    project.sandbox.ok(&["volume", "rm", "shop-data"]);
}

#[test]
fn sidecars_are_there_before_what_needs_them() {
    let sandbox = with_busybox(Client::Ferry);
    let (first, second) = (free_port(), free_port());
    let text = format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: app}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
    - {{name: proxy, image: busybox, restartPolicy: Always, ports: [{{containerPort: 81, hostPort: {first}}}],
       command: [sh, -c, 'nc -ll -p 81 -e echo from the sidecar & until [ -e /end ]; do sleep 0.1; done; rm /end']}}
    - {{name: needs, image: busybox, command: [sh, -c, 'until nc -w 1 127.0.0.1 81 < /dev/null | grep sidecar; do sleep 0.1; done']}}
  containers:
    - {{name: main, image: busybox, ports: [{{containerPort: 80, hostPort: {second}}}], command: [sh, -c, 'exec nc -ll -p 80 -e echo from the program']}}
"
    );
    assert_eq!(play(&sandbox, &text), "Pod/app app created\n");
    for (port, words) in [(first, "from the sidecar\n"), (second, "from the program\n")] {
        eventually("both ports lead into the pod", || {
            let mut said = String::new();
            let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
            stream.read_to_string(&mut said).ok()?;
            (said == words).then_some(())
        });
    }
    assert_eq!(sandbox.inspect("app-needs", "{{.State.ExitCode}}").trim(), "0");
    // It is started again, as a container of the pod.
    sandbox.ok(&["exec", "app-proxy", "touch", "/end"]);
    eventually("the sidecar is back", || {
        (sandbox.inspect("app-proxy", "{{.RestartCount}} {{.State.Running}}").trim() == "1 true")
            .then_some(())
    });
}
