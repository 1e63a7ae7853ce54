//! What keepers do for pods and services: probes and hooks, the network of a pod, fronts.

use std::collections::BTreeSet;

use ferry_testkit::{Client, eventually, free_port};

use super::{
    kube::answer,
    kube_objects::{down, of, play, try_to_play},
    with_busybox,
};

const PROBED: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 5
  volumes: [{name: notes, persistentVolumeClaim: {claimName: notes}}]
  containers:
    - name: main
      image: busybox
      command: [sh, -c, 'mkdir -p /www; touch /www/alive; echo run >> /notes/runs; trap exit TERM; httpd -f -p 8080 -h /www & wait']
      ports: [{name: http, containerPort: 8080}]
      volumeMounts: [{name: notes, mountPath: /notes}]
      startupProbe: {tcpSocket: {port: http}, periodSeconds: 1}
      livenessProbe: {httpGet: {port: http, path: /alive}, periodSeconds: 1, failureThreshold: 2}
      readinessProbe: {httpGet: {port: http, path: /ready}, periodSeconds: 1, failureThreshold: 1}
      lifecycle:
        postStart: {exec: {command: [sh, -c, 'echo started >> /notes/hooks']}}
        preStop: {exec: {command: [sh, -c, 'echo stopping >> /notes/hooks']}}
---
{apiVersion: v1, kind: Service, metadata: {name: front}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: same}, spec: {selector: {app: web}, ports: [{port: 8080}]}}
";

#[test]
fn probes_and_hooks_are_those_of_kubernetes() {
    let sandbox = with_busybox(Client::Ferry);
    assert_eq!(play(&sandbox, PROBED), "Pod/web web created\nService/front front created\n");
    let inside = |script: &str| sandbox.run(&["exec", "web-main", "sh", "-c", script]).stdout;
    eventually("the hook after the start has run", || {
        (inside("cat /notes/hooks") == "started\n").then_some(())
    });
    // It lives, but is not ready before it says so.
    let health = || sandbox.inspect("web_pod", "{{.State.Health.Status}}").trim().to_owned();
    eventually("the pod is looked at", || (health() == "unhealthy").then_some(()));
    // Services lead to pods that are ready only.
    let answers = |place: &str| {
        let ask = format!("printf 'GET /alive HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {place}");
        let ask = ["run", "--rm", "--network", "kube", "busybox", "sh", "-c", &ask];
        sandbox.run(&ask).stdout.contains(" 200 ")
    };
    let answering = || ["web 8080", "same 8080", "front 80"].map(answers);
    assert_eq!(answering(), [true, false, false]);
    inside("touch /www/ready");
    eventually("the pod is ready", || (health() == "healthy").then_some(()));
    assert_eq!(answering(), [true; 3]);
    inside("rm /www/ready");
    eventually("the pod is not ready", || (health() == "unhealthy").then_some(()));
    assert_eq!(answering(), [true, false, false]);
    inside("touch /www/ready");
    // Its keeper goes on when the daemon is killed, and so do names.
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    eventually("the pod is ready again", || (health() == "healthy").then_some(()));
    assert_eq!(answering(), [true; 3]);
    assert_eq!(inside("cat /notes/runs"), "run\n", "it was left alone until now");
    // A page that has gone is the end of this run, with its hook, and the begin of the next.
    let first = sandbox.inspect("web-main", "{{.State.StartedAt}}");
    inside("rm /www/alive");
    eventually("it is started again", || {
        let again = sandbox.inspect("web-main", "{{.State.StartedAt}} {{.State.Running}}");
        (again.trim().ends_with(" true") && !again.starts_with(first.trim())).then_some(())
    });
    eventually("the hooks have run", || {
        (inside("cat /notes/hooks") == "started\nstopping\nstarted\n").then_some(())
    });
    let said = sandbox.ok(&["logs", "web_pod"]);
    assert!(said.contains("web-main: the liveness probe failed: HTTP status 404"), "{said}");

    let again = "Pod/web web unchanged\nService/front front unchanged\n";
    assert_eq!(play(&sandbox, PROBED), again);
    down(&sandbox, PROBED);
    assert_eq!(of(&sandbox, "Pod/web"), Vec::<String>::new());
    let notes = ["run", "--rm", "-v", "notes:/notes", "busybox", "cat", "/notes/hooks"];
    assert_eq!(sandbox.ok(&notes), "started\nstopping\nstarted\nstopping");
    sandbox.ok(&["volume", "rm", "notes"]);
}

const DUO: &str = "
apiVersion: v1
kind: Pod
metadata: {name: duo, labels: {app: duo}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
    - {name: serve, image: busybox, command: [sh, -c, 'exec nc -ll -p 80 -e echo here'],
       readinessProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1, failureThreshold: 1}}
    - {name: side, image: busybox, command: [sh, -c, 'until [ -e /end ]; do sleep 0.1; done']}
---
{apiVersion: v1, kind: Service, metadata: {name: lead}, spec: {selector: {app: duo}, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: early}, spec: {publishNotReadyAddresses: true, selector: {app: duo}, ports: [{port: 80}]}}
";

#[test]
fn a_pod_is_ready_when_all_its_containers_are() {
    let sandbox = with_busybox(Client::Ferry);
    assert_eq!(play(&sandbox, DUO), "Pod/duo duo created\n");
    let health = || sandbox.inspect("duo_pod", "{{.State.Health.Status}}").trim().to_owned();
    let answering = || {
        ["early", "lead"].map(|place| {
            let ask = format!("nc -w 5 {place} 80 < /dev/null");
            let ask = ["run", "--rm", "--network", "kube", "busybox", "sh", "-c", &ask];
            sandbox.run(&ask).stdout == "here\n"
        })
    };
    eventually("its keeper has looked", || (health() == "unhealthy").then_some(()));
    eventually("it serves", || (answering() == [true, false]).then_some(()));
    sandbox.ok(&["exec", "duo-serve", "touch", "/ready"]);
    eventually("both are ready", || (health() == "healthy").then_some(()));
    assert_eq!(answering(), [true; 2]);
    // One of whom nothing is asked has to run.
    sandbox.ok(&["exec", "duo-side", "touch", "/end"]);
    eventually("one has ended", || (health() == "unhealthy").then_some(()));
    assert_eq!(answering(), [true, false]);
    down(&sandbox, DUO);
    assert_eq!(of(&sandbox, "Pod/duo"), Vec::<String>::new());
}

#[test]
fn a_container_that_ends_leaves_its_pod_the_network() {
    let sandbox = with_busybox(Client::Ferry);
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: first, image: busybox, command: [sh, -c, 'until [ -e /end ]; do sleep 0.1; done; rm /end']}
    - {name: second, image: busybox, command: [sh, -c, 'exec nc -ll -p 80 -e echo here']}
---
{apiVersion: v1, kind: Service, metadata: {name: lead}, spec: {selector: {app: two}, ports: [{port: 80}]}}
";
    play(&sandbox, text);
    sandbox.ok(&["exec", "two-first", "touch", "/end"]);
    eventually("the first one is back", || {
        let state = sandbox.inspect("two-first", "{{.RestartCount}} {{.State.Running}}");
        (state.trim() == "1 true").then_some(())
    });
    // They see each other still, and others see them; both are the pod to themselves.
    for one in ["two-first", "two-second"] {
        assert_eq!(sandbox.ok(&["exec", one, "hostname"]), "two");
    }
    let ask = ["exec", "two-first", "sh", "-c", "nc -w 1 127.0.0.1 80 < /dev/null"];
    assert_eq!(sandbox.ok(&ask), "here");
    let others = |place: &str| {
        let ask = format!("nc -w 5 {place} 80 < /dev/null");
        sandbox.run(&["run", "--rm", "--network", "kube", "busybox", "sh", "-c", &ask]).stdout
    };
    assert_eq!(others("two"), "here\n");
    // Without probes, too, a service leads to a pod all of whose containers run.
    eventually("both run", || (others("lead") == "here\n").then_some(()));
    sandbox.ok(&["stop", "-t", "0", "two-first"]);
    eventually("one does not", || others("lead").is_empty().then_some(()));
    assert_eq!(others("two"), "here\n");
    sandbox.ok(&["start", "two-first"]);
    eventually("both run again", || (others("lead") == "here\n").then_some(()));
}

#[test]
fn a_service_is_in_front_of_its_pods() {
    let sandbox = with_busybox(Client::Ferry);
    let port = free_port();
    let text = format!(
        "
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: app}}
spec:
  replicas: 2
  serviceName: apps
  template:
    metadata: {{labels: {{app: app}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: busybox
          command: [sh, -c, 'exec nc -ll -p 8080 -e hostname']
          ports: [{{name: web, containerPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: front}}
spec: {{selector: {{app: app}}, ports: [{{port: 80, targetPort: web}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: outside}}
spec: {{type: NodePort, selector: {{app: app}}, ports: [{{port: 80, targetPort: 8080, nodePort: {port}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: apps}}
spec: {{clusterIP: None, selector: {{app: app}}}}
"
    );
    play(&sandbox, &text);
    let ask = |place: &str| {
        let script = format!("nc -w 2 {place} < /dev/null");
        sandbox.run(&["run", "--rm", "--network", "kube", "busybox", "sh", "-c", &script]).stdout
    };
    for place in ["front 80", "front.default.svc.cluster.local 80"] {
        let mut met = BTreeSet::new();
        eventually("both pods answer at another port than theirs", || {
            met.insert(ask(place));
            (met.contains("app-0\n") && met.contains("app-1\n")).then_some(())
        });
    }
    assert_eq!(ask("app-1.apps 8080"), "app-1\n", "a pod of a set has a name of its own");
    let mut met = BTreeSet::new();
    eventually("both pods answer at the machine's port", || {
        met.extend(answer(port));
        (met.contains("app-0\n") && met.contains("app-1\n")).then_some(())
    });
    // One of them is enough.
    sandbox.ok(&["stop", "app-0-main"]);
    for _ in 0..3 {
        assert_eq!(answer(port).as_deref(), Some("app-1\n"));
    }
    // Fewer of them: only that changes.
    let fewer = text.replace("replicas: 2", "replicas: 1");
    let played = play(&sandbox, &fewer);
    assert!(played.starts_with("StatefulSet/app app-1 deleted\n"), "{played}");
    down(&sandbox, &fewer);
    assert_eq!(sandbox.ok(&["ps", "-aq", "--filter", "label=ferry.kube.owner"]), "");
}

const HARDENED: &str = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: page}, data: {a: one, b: two}}
---
apiVersion: v1
kind: Pod
metadata: {name: safe, labels: {tier: back}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000, runAsNonRoot: true}
  volumes:
    - {name: page, configMap: {name: page, defaultMode: 0440}}
    - {name: scratch, emptyDir: {}}
    - {name: about, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
    - {name: tools, image: {reference: busybox}}
  containers:
    - name: main
      image: busybox
      command: [sh, -c, 'cp /page/a /scratch/copy; exec sleep 1000']
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      env:
        - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
      resources: {limits: {cpu: 250m}}
      volumeMounts:
        - {name: page, mountPath: /page}
        - {name: page, mountPath: /one, subPath: b}
        - {name: scratch, mountPath: /scratch}
        - {name: about, mountPath: /about}
        - {name: tools, mountPath: /tools}
";

#[test]
fn a_hardened_pod_has_its_files() {
    let sandbox = with_busybox(Client::Ferry);
    play(&sandbox, HARDENED);
    let inside = |script: &str| sandbox.run(&["exec", "safe-main", "sh", "-c", script]).stdout;
    eventually("it has written to its empty directory", || {
        (inside("cat /scratch/copy") == "one").then_some(())
    });
    assert_eq!(inside("id -u; id -g; id -G"), "1000\n1000\n1000 2000\n");
    assert_eq!(inside("stat -c '%a %g' /page/a /scratch"), "440 2000\n2777 2000\n");
    assert_eq!(
        inside("cat /one; cat /about/labels; echo; ls /tools/bin/busybox"),
        "twotier=\"back\"\n/tools/bin/busybox\n"
    );
    assert_eq!(
        inside("touch /page/c 2>/dev/null || echo no; touch /c 2>/dev/null || echo no"),
        "no\nno\n"
    );
    let own = inside("ip -o -4 addr show eth0 | awk '{print $4}' | cut -d/ -f1");
    assert_eq!(inside("echo $IP; echo $CPU"), format!("{own}250\n"));
    // A file that changes is a pod that changes.
    let other = HARDENED.replace("b: two", "b: three");
    assert_eq!(play(&sandbox, &other), "Pod/safe safe configured\n");
    assert_eq!(inside("cat /one"), "three");
    down(&sandbox, &other);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
    // The image does not say that its program is not root's.
    let root = HARDENED.replace("runAsUser: 1000, runAsGroup: 1000, ", "");
    try_to_play(&sandbox, &root)
        .fails(1)
        .says("safe-main has runAsNonRoot, and the image's user is root");
}
