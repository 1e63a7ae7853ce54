//! Manifests as Kubernetes' own tutorials have them: programs that wait for each other, sets, what a pod knows of itself.

use ferry_testkit::{Client, eventually};

use super::{
    kube_objects::{down, of, play, try_to_play},
    with_busybox,
};

/// A program that needs a database, before the database; its first attempt to prepare itself fails.
const SHOP: &str = "
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: shop, creationTimestamp: null}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 0
      volumes: [{name: notes}]
      initContainers:
        - name: wait
          image: busybox
          command: [sh, -c, 'until nc -w 1 database 3306 < /dev/null | grep here; do sleep 0.1; done']
        - name: twice
          image: busybox
          command: [sh, -c, '[ -e /notes/tried ] || { touch /notes/tried; exit 4; }']
          volumeMounts: [{name: notes, mountPath: /notes}]
      containers: [{name: main, image: busybox, resources: {}, command: [sleep, '1000']}]
status: {}
";

const DATABASE: &str = "
apiVersion: v1
kind: ReplicationController
metadata: {name: database}
spec:
  selector: {app: database}
  template:
    metadata: {labels: {app: database}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: busybox, command: [sh, -c, 'exec nc -ll -p 3306 -e echo here']}]
";

const SERVICE: &str = "{apiVersion: v1, kind: Service, metadata: {name: database}, spec: {selector: {app: database}, ports: [{port: 3306}]}}";

#[test]
fn pods_of_several_files_wait_for_each_other() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = sandbox.dir().join("manifests");
    std::fs::create_dir(&directory).unwrap();
    for (name, text) in [("1.yaml", SHOP), ("2.yml", DATABASE), ("notes.txt", "no: [manifest")] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let service = sandbox.dir().join("service.yaml");
    std::fs::write(&service, SERVICE).unwrap();
    let words = ["kube", "play", directory.to_str().unwrap(), service.to_str().unwrap()];
    let played = sandbox.run(&words);
    let made =
        "ReplicaSet/shop shop-0 created\nReplicationController/database database-0 created\n";
    assert_eq!((played.code, played.stdout.as_str()), (0, made), "{played:?}");
    let again = "shop-0-twice ended with exit code 4, and is started again";
    assert!(played.stderr.contains(again), "{played:?}");
    assert!(!played.stderr.contains("no meaning"), "nothing is said there: {played:?}");
    assert_eq!(sandbox.ok(&["logs", "shop-0-wait"]), "here");
    assert_eq!(sandbox.inspect("shop-0-main", "{{.State.Running}}").trim(), "true");
    let again = sandbox.ok(&words);
    assert!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");
    sandbox.ok(&["kube", "down", words[2], words[3]]);
    assert_eq!(sandbox.ok(&["ps", "-aq", "--filter", "label=ferry.kube.owner"]), "");

    // Nobody waits any longer for what does not start.
    let broken = DATABASE.replace("command: [sh, -c,", "command: [/nothing,");
    let text = format!("{SHOP}---\n{broken}---\n{SERVICE}\n");
    try_to_play(&sandbox, &text).fails(1).says("/nothing");
    assert_eq!(of(&sandbox, "ReplicaSet/shop"), ["shop-0-wait running"]);
    // What is started once is prepared once.
    let once = "{apiVersion: v1, kind: Pod, metadata: {name: once}, spec: {restartPolicy: Never, initContainers: [{name: fails, image: busybox, \
                command: ['false']}], containers: [{name: main, image: busybox}]}}";
    try_to_play(&sandbox, once).fails(1).says("once-fails ended with exit code 1");
    down(&sandbox, &text);
    down(&sandbox, once);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
    sandbox.run(&["kube", "play", sandbox.dir().join("empty").to_str().unwrap()]).fails(1);
}

const SET: &str = "
{apiVersion: v1, kind: Service, metadata: {name: crew}, spec: {clusterIP: None, selector: {app: crew}, ports: [{port: 80}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: crew}
spec:
  serviceName: crew
  replicas: 2
  podManagementPolicy: OrderedReady
  selector: {matchLabels: {app: crew}}
  template:
    metadata: {labels: {app: crew, zone: b}, annotations: {}}
    spec:
      terminationGracePeriodSeconds: 0
      volumes: [{name: about, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]
      containers:
        - name: main
          image: busybox
          command: [sh, -c]
          args: ['echo $(IP) $(ADDRESS) $$(IP) $CPUS > /about-me; nc -w 5 crew-0.crew 80 < /dev/null > /met; sleep 2; exec nc -ll -p 80 -e echo at work']
          readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
          env:
            - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
            - {name: ADDRESS, value: 'tcp://$(IP):80'}
            - {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
          volumeMounts: [{name: about, mountPath: /about}]
";

#[test]
fn a_set_starts_in_order_and_knows_its_names() {
    let sandbox = with_busybox(Client::Ferry);
    play(&sandbox, SET);
    let inside =
        |pod: &str, script: &str| sandbox.ok(&["exec", &format!("{pod}-main"), "sh", "-c", script]);
    // The first one was ready before the second one asked it once.
    assert_eq!(inside("crew-1", "cat /met"), "at work");
    assert_eq!(inside("crew-0", "cat /met"), "");
    let domain = "crew.default.svc.cluster.local";
    let names = format!("crew-1\n{domain}\ncrew-1.{domain}");
    assert_eq!(inside("crew-1", "hostname -s; hostname -d; hostname -f"), names);
    for name in ["crew-1.crew", "crew-1.crew.default", &format!("crew-1.{domain}")] {
        let ask = format!("nc -w 5 {name} 80 < /dev/null");
        let words = ["exec", "crew-0-main", "sh", "-c", &ask];
        eventually("it has its names", || {
            (sandbox.run(&words).stdout == "at work\n").then_some(())
        });
    }
    // What is known when the pod is there stands wherever it was written.
    let own = inside("crew-0", "ip -o -4 addr show eth0 | awk '{print $4}' | cut -d/ -f1");
    let cpus = sandbox.ok(&["info", "--format", "{{.NCPU}}"]);
    let about = format!("{own} tcp://{own}:80 {cpus}");
    assert_eq!(inside("crew-0", "cat /about-me"), about);
    assert_eq!(inside("crew-0", "cat /about/labels"), "app=\"crew\"\nzone=\"b\"");
    down(&sandbox, SET);
}

#[test]
fn a_volume_in_memory_is_the_pods() {
    let sandbox = with_busybox(Client::Ferry);
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: fast}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {fsGroup: 2000}
  volumes: [{name: cache, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]
  initContainers:
    - {name: first, image: busybox, command: [sh, -c, 'mkdir /cache/sub; echo kept > /cache/sub/file'], volumeMounts: [{name: cache, mountPath: /cache}]}
  containers:
    - name: main
      image: busybox
      command: [sh, -c, 'until [ -e /cache/end ]; do sleep 0.1; done; rm /cache/end']
      securityContext: {runAsUser: 1000}
      volumeMounts: [{name: cache, mountPath: /cache}, {name: cache, mountPath: /below, subPath: sub, readOnly: true}]
";
    play(&sandbox, text);
    let inside = |script: &str| sandbox.run(&["exec", "fast-main", "sh", "-c", script]).stdout;
    assert_eq!(inside("cat /cache/sub/file /below/file"), "kept\nkept\n");
    assert_eq!(inside("stat -f -c %T /cache; stat -c '%a %g' /cache"), "tmpfs\n2777 2000\n");
    assert_eq!(
        inside("touch /cache/own && echo mine; touch /below/x 2>/dev/null || echo no"),
        "mine\nno\n"
    );
    let full = "dd if=/dev/zero of=/cache/big bs=64k count=32 2>/dev/null; wc -c < /cache/big; rm /cache/big";
    assert!(inside(full).trim().parse::<u64>().unwrap() <= 1 << 20, "it has its size");
    // It is the pod's: programs come and go.
    inside("touch /cache/end");
    eventually("it is back", || {
        let state = sandbox.inspect("fast-main", "{{.RestartCount}} {{.State.Running}}");
        (state.trim() == "1 true").then_some(())
    });
    assert_eq!(inside("cat /cache/sub/file; ls /cache/own"), "kept\n/cache/own\n");
    assert!(play(&sandbox, text).ends_with("unchanged\n"));
    down(&sandbox, text);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
}

#[test]
fn claims_become_the_groups_at_each_start() {
    let sandbox = with_busybox(Client::Ferry);
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: own}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, fsGroup: 2000, fsGroupChangePolicy: Always}
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
  containers: [{name: main, image: busybox, command: [sleep, '1000'], volumeMounts: [{name: data, mountPath: /data}]}]
";
    let fill = "mkdir -p /data/sub; echo old > /data/sub/file; ln -sf /etc/passwd /data/link; chmod 600 /data/sub/file; chmod 700 /data/sub; \
                chown -R 0:0 /data; chmod 755 /data";
    sandbox.ok(&["run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", fill]);
    play(&sandbox, text);
    let inside = |script: &str| sandbox.run(&["exec", "own-main", "sh", "-c", script]).stdout;
    let all = "stat -c '%a %g' /data /data/sub /data/sub/file";
    assert_eq!(inside(all), "2775 2000\n2770 2000\n660 2000\n");
    assert_eq!(
        inside("cat /data/sub/file; echo new > /data/sub/file && stat -c %g /etc/passwd"),
        "old\n0\n"
    );
    // A volume that is the group's already is left as it is, where that is wished.
    sandbox.ok(&["exec", "--user", "0", "own-main", "chown", "0:0", "/data/sub/file"]);
    let once = text.replace("Policy: Always", "Policy: OnRootMismatch");
    play(&sandbox, &once.replace("'1000'", "'1001'"));
    assert_eq!(inside("stat -c %g /data/sub/file"), "0\n");
    play(&sandbox, text);
    assert_eq!(inside("stat -c %g /data/sub/file"), "2000\n");
    down(&sandbox, text);
    try_to_play(&sandbox, &text.replace("Policy: Always", "Policy: Never"))
        .fails(1)
        .says("\"Never\" cannot be");
}

#[test]
fn what_comes_after_a_sidecar_finds_it_started() {
    let sandbox = with_busybox(Client::Ferry);
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  initContainers:
    - name: proxy
      image: busybox
      restartPolicy: Always
      command: [sh, -c, 'sleep 2; exec nc -ll -p 81 -e echo here']
      startupProbe: {tcpSocket: {port: 81}, periodSeconds: 1}
    - {name: needs, image: busybox, command: [sh, -c, 'nc -w 1 127.0.0.1 81 < /dev/null']}
  containers: [{name: main, image: busybox, command: [sleep, '1000']}]
";
    play(&sandbox, text);
    assert_eq!(sandbox.ok(&["logs", "app-needs"]), "here");
    down(&sandbox, text);
}
