//! What users meet around pods: starts that fail, pods and services of one name, users of their own, probes of other kinds.

use ferry_testkit::{Client, Sandbox, eventually, free_port};

use super::{
    kube_objects::{down, of, play, try_to_play},
    with_busybox,
};

#[test]
fn a_start_that_fails_leaves_nothing_that_is_in_the_way() {
    let sandbox = with_busybox(Client::Ferry);
    let port = free_port();
    let text = format!(
        "
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: page}}, data: {{a: one}}}}
---
{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: store}}, spec: {{accessModes: [ReadWriteOnce]}}}}
---
{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: later}}, spec: {{accessModes: [ReadWriteOnce]}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsUser: 1000}}
  volumes: [{{name: page, configMap: {{name: page}}}}, {{name: store, persistentVolumeClaim: {{claimName: store}}}}]
  containers:
    - name: main
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, 'cat /page/a > /store/copy; exec sleep 1000']
      ports: [{{containerPort: 80, hostPort: {port}}}]
      volumeMounts: [{{name: page, mountPath: /page}}, {{name: store, mountPath: /store}}]
"
    );
    // Without its image nothing is made.
    try_to_play(&sandbox, &text.replace("image: busybox", "image: nothing"))
        .fails(1)
        .says("nothing");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
    // Somebody else's volume is not the pod's.
    sandbox.ok(&["volume", "create", "web-page"]);
    try_to_play(&sandbox, &text).fails(1).says("volume web-page is there already");
    sandbox.ok(&["volume", "rm", "web-page"]);
    // Its port is taken: it is made, and does not start.
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "first",
        "-p",
        &format!("{port}:80"),
        "busybox",
        "sleep",
        "1000",
    ]);
    try_to_play(&sandbox, &text).fails(1);
    sandbox.ok(&["rm", "-f", "first"]);
    assert_eq!(play(&sandbox, &text), "Pod/web web configured\n", "it is no pod that runs");
    let inside = |script: &str| sandbox.run(&["exec", "web-main", "sh", "-c", script]).stdout;
    eventually("it has written to the claim", || {
        (inside("cat /store/copy") == "one").then_some(())
    });
    assert_eq!(play(&sandbox, &text), "Pod/web web unchanged\n");
    // A claim that nobody mounts yet is anybody's, too.
    let write = [
        "run",
        "--rm",
        "--user",
        "1000",
        "--mount",
        "type=volume,src=later,dst=/later,volume-nocopy",
        "busybox",
        "touch",
        "/later/file",
    ];
    sandbox.ok(&write);
    down(&sandbox, &text);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "later\nstore");
}

#[test]
fn a_service_has_the_name_of_its_pod() {
    let sandbox = with_busybox(Client::Ferry);
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: scratch, emptyDir: {}}]
  containers:
    - name: main
      image: busybox
      command: [sh, -c, 'touch /scratch/file; exec nc -ll -p 8080 -e echo here']
      volumeMounts: [{name: scratch, mountPath: /scratch}]
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}
";
    assert_eq!(play(&sandbox, text), "Pod/web web created\nService/web web created\n");
    let ask = |port: &str| {
        let script = format!("nc -w 2 web.default {port} < /dev/null");
        sandbox.run(&["run", "--rm", "--network", "kube", "busybox", "sh", "-c", &script]).stdout
    };
    eventually("the front leads to the pod", || (ask("80") == "here\n").then_some(()));
    // The name is the front's alone; inside, the pod is called so still.
    let look = ["run", "--rm", "--network", "kube", "busybox", "nslookup", "-type=a", "web"];
    let found = sandbox.run(&look).stdout;
    assert_eq!(found.matches("Name:").count(), 1, "{found}");
    let front = sandbox.inspect("web_service", "{{.NetworkSettings.Networks.kube.IPAddress}}");
    assert!(found.contains(front.trim()), "{front} is not in {found}");
    assert_eq!(sandbox.ok(&["exec", "web-main", "hostname"]), "web");
    // Another port: that is the service's concern alone, also in what is generated.
    let other = text.replace("port: 80,", "port: 81,");
    assert_eq!(play(&sandbox, &other), "Pod/web web unchanged\nService/web web configured\n");
    eventually("the other port leads to the pod", || (ask("81") == "here\n").then_some(()));
    assert_eq!(sandbox.ok(&["exec", "web-main", "ls", "/scratch"]), "file");
    let generated = sandbox.ok(&["kube", "generate", "web"]);
    assert_eq!(generated.matches("image:").count(), 1, "{generated}");
    // The pod's own port needs no front.
    let same = text.replace("port: 80, targetPort: 8080", "port: 8080");
    assert_eq!(play(&sandbox, &same), "Service/web web deleted\nPod/web web configured\n");
    eventually("the name leads to the pod", || (ask("8080") == "here\n").then_some(()));
    assert_eq!(of(&sandbox, "Service/web"), Vec::<String>::new());
    down(&sandbox, text);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
}

const OWN: &str = "
apiVersion: v1
kind: Pod
metadata: {name: own}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 0
  volumes: [{name: scratch, emptyDir: {}}]
  containers:
    - name: serve
      image: busybox
      command: [sh, -c, 'touch /scratch/file; exec nc -ll -p 80 -e echo here']
      readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
      livenessProbe: {exec: {command: [test, -e, /scratch/file]}, periodSeconds: 1, failureThreshold: 1}
      volumeMounts: [{name: scratch, mountPath: /scratch}]
    - name: side
      image: busybox
      command: [sleep, '1000']
      volumeMounts: [{name: scratch, mountPath: /scratch}]
";

#[test]
fn a_pod_has_users_of_its_own() {
    has_users_of_its_own(&with_busybox(Client::Ferry), OWN);
    // With such a daemon every pod has.
    let sandbox = Sandbox::start_with(&["--userns-remap", "default"]);
    sandbox.busybox();
    has_users_of_its_own(&sandbox, &OWN.replace("hostUsers: false", "hostUsers: true"));
}

fn has_users_of_its_own(sandbox: &Sandbox, text: &str) {
    play(sandbox, text);
    eventually("its keeper can ask the daemon, and the pod", || {
        let health = sandbox.inspect("own_pod", "{{.State.Health.Status}}");
        (health.trim() == "healthy").then_some(())
    });
    let namespace = |name: &str| {
        let pid = sandbox.inspect(name, "{{.State.Pid}}");
        let own = std::fs::read_link(format!("/proc/{}/ns/user", pid.trim())).unwrap();
        let map = std::fs::read_to_string(format!("/proc/{}/uid_map", pid.trim())).unwrap();
        (own, map.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let (first, map) = namespace("own-serve");
    assert_eq!(map[0], "0");
    assert_ne!(map[1], "0", "its root is nobody");
    assert_eq!(namespace("own-side"), (first.clone(), map.clone()), "all of a pod are in one");
    assert_eq!(namespace("own_pod"), (first, map));
    assert_eq!(sandbox.ok(&["exec", "own-side", "stat", "-c", "%u", "/scratch/file"]), "0");
    // What the keeper asks for is done.
    let started = sandbox.inspect("own-serve", "{{.State.StartedAt}}");
    sandbox.ok(&["exec", "own-side", "rm", "/scratch/file"]);
    eventually("it is started again", || {
        let again = sandbox.inspect("own-serve", "{{.State.StartedAt}}");
        (!again.is_empty() && again != started).then_some(())
    });
    down(sandbox, text);
}

#[test]
fn probes_ask_over_tls_and_do_not_pile_up() {
    let sandbox = with_busybox(Client::Ferry);
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: safe}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: notes, emptyDir: {}}]
  containers:
    - name: serve
      image: ferry/welcome
      command: [/ferry, registry, serve, --addr, '0.0.0.0:8443', --root, /data, --tls-self-signed, localhost, --open]
      readinessProbe: {httpGet: {scheme: HTTPS, port: 8443, path: /v2/}, periodSeconds: 1}
    - name: hangs
      image: busybox
      command: [sleep, '1000']
      startupProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
      livenessProbe: {exec: {command: [sh, -c, 'echo beat >> /notes/beats']}, periodSeconds: 1}
      readinessProbe:
        periodSeconds: 1
        exec: {command: [sh, -c, 'echo asked >> /notes/asked; echo $$ > /notes/pid; [ -e /notes/end ] || exec sleep 1000']}
      volumeMounts: [{name: notes, mountPath: /notes}]
";
    play(&sandbox, text);
    let said = || sandbox.ok(&["logs", "safe_pod"]);
    eventually("the page is good", || said().contains("safe-serve: ready").then_some(()));
    let lines = |file: &str| {
        let script = format!("cat /notes/{file} | wc -l");
        sandbox.ok(&["exec", "safe-hangs", "sh", "-c", &script]).parse::<u32>().unwrap()
    };
    eventually("it was asked often whether it lives", || (lines("beats") > 4).then_some(()));
    assert_eq!(lines("asked"), 1, "the program that hangs is the only one");
    sandbox.ok(&["exec", "safe-hangs", "sh", "-c", "touch /notes/end; kill $(cat /notes/pid)"]);
    eventually("it is asked again when that has ended", || {
        said().contains("safe-hangs: ready").then_some(())
    });
    // Who speaks TLS only has no page without it.
    let plain = text.replace("scheme: HTTPS", "scheme: HTTP").replace("name: safe", "name: plain");
    let only: Vec<&str> = plain.split("    - name: hangs").collect();
    play(&sandbox, only[0]);
    eventually("its keeper has looked", || {
        let health = sandbox.inspect("plain_pod", "{{.State.Health.Status}}");
        (health.trim() == "unhealthy").then_some(())
    });
    assert_eq!(sandbox.ok(&["logs", "plain_pod"]), "");
    down(&sandbox, text);
    down(&sandbox, only[0]);
}
