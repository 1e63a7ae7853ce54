//! Probes and hooks that ask other programs: gRPC's health service, pages, datagrams; registries that want to know who asks.

use std::{
    net::{TcpListener, UdpSocket},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use ferry_testkit::{Client, Containerd, FerryRegistry, Sandbox, eventually, free_port, images};

use super::{
    kube_objects::{down, job, of, play, try_to_play},
    registry_serve::add_user,
    scratch, with_busybox,
};

/// Leads connections of a port to a socket.
fn lead(listener: TcpListener, socket: PathBuf) {
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = UnixStream::connect(&socket) else { continue };
            let (Ok(mut from), Ok(mut to)) = (client.try_clone(), server.try_clone()) else {
                continue;
            };
            std::thread::spawn(move || std::io::copy(&mut from, &mut to).ok());
            let (mut from, mut to) = (server, client);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to).ok());
        }
    });
}

#[test]
fn grpc_probes_ask_a_real_server() {
    let dir = scratch("kube-grpc");
    let Some(containerd) = Containerd::start(&dir) else { return };
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    lead(listener, containerd.socket());
    let sandbox = with_busybox(Client::Ferry);
    let pod = |name: &str, port: u16, service: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 0\n  containers:\n    \
             - {{name: m, image: busybox, command: [sleep, '1000'], readinessProbe: {{periodSeconds: 1, failureThreshold: 1, grpc: {{port: {port}, service: '{service}'}}}}}}\n---\n"
        )
    };
    let text = [
        pod("known", port, ""),
        pod("unknown", port, "no.such.Service"),
        pod("nobody", free_port(), ""),
    ]
    .concat();
    play(&sandbox, &text);
    let health = |name: &str| {
        sandbox.inspect(&format!("{name}_pod"), "{{.State.Health.Status}}").trim().to_owned()
    };
    eventually("the server says that it serves", || (health("known") == "healthy").then_some(()));
    for name in ["unknown", "nobody"] {
        eventually("nobody says so", || (health(name) == "unhealthy").then_some(()));
        assert_eq!(sandbox.ok(&["logs", &format!("{name}_pod")]), "");
    }
    down(&sandbox, &text);
}

#[test]
fn hooks_ask_for_pages() {
    let sandbox = with_busybox(Client::Ferry);
    let ears = "{apiVersion: v1, kind: Pod, metadata: {name: ears}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: m, image: busybox,
        command: [sh, -c, 'mkdir -p /www/cgi-bin; echo here > /www/started; echo here > /www/stopping; exec httpd -f -vv -p 80 -h /www'],
        readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}}]}}";
    play(&sandbox, ears);
    eventually("it listens", || {
        (sandbox.inspect("ears_pod", "{{.State.Health.Status}}").trim() == "healthy").then_some(())
    });
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: caller}
spec:
  terminationGracePeriodSeconds: 5
  containers:
    - name: m
      image: busybox
      command: [sh, -c, 'trap exit TERM; while :; do sleep 0.1; done']
      lifecycle:
        postStart: {httpGet: {host: ears, port: 80, path: /started}}
        preStop: {httpGet: {host: ears, port: 80, path: /stopping}}
";
    play(&sandbox, text);
    let asked = || {
        let run = sandbox.run(&["logs", "ears-m"]);
        let lines = format!("{}{}", run.stdout, run.stderr);
        lines
            .lines()
            .filter_map(|line| line.split_once("url:/"))
            .map(|(_, page)| page.to_owned())
            .collect::<Vec<_>>()
    };
    eventually("the hook after the start has asked", || (asked() == ["started"]).then_some(()));
    assert_eq!(sandbox.inspect("caller-m", "{{.RestartCount}}").trim(), "0");
    down(&sandbox, text);
    assert_eq!(asked(), ["started", "stopping"]);
    // A hook that fails is the end of the start, and of the next.
    let lost = text.replace("path: /started", "path: /nothing");
    play(&sandbox, &lost);
    eventually("it was started again", || {
        let said = sandbox.ok(&["logs", "caller_pod"]);
        (said.matches("postStart failed: HTTP status 404").count() > 1).then_some(())
    });
    down(&sandbox, &lost);
    down(&sandbox, ears);
}

#[test]
fn datagrams_find_their_way_through_a_front() {
    let Some(python) = images::python_tar() else { return };
    let sandbox = Sandbox::start();
    sandbox.ok(&["import", python.to_str().unwrap(), "python"]);
    let port = free_port();
    let echo = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\\\"\\\", 5000))\\nwhile True: d, a = s.recvfrom(99); s.sendto(d + socket.gethostname().encode(), a)";
    let text = format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: echo}}}}
  template:
    metadata: {{labels: {{app: echo}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: m, image: python, command: [python3, -c, \"{echo}\"]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: out}}
spec: {{type: NodePort, selector: {{app: echo}}, ports: [{{protocol: UDP, port: 53, targetPort: 5000, nodePort: {port}}}]}}
"
    );
    play(&sandbox, &text);
    let say = |words: &str| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        let mut all = Vec::new();
        for _ in 0..2 {
            let mut answer = [0; 200];
            socket.send(words.as_bytes()).ok()?;
            let count = socket.recv(&mut answer).ok()?;
            all.push(String::from_utf8_lossy(&answer[..count]).into_owned());
        }
        Some(all)
    };
    let mut met = std::collections::BTreeSet::new();
    eventually("both pods have answered", || {
        let answers = say("hello ")?;
        assert_eq!(answers[0], answers[1], "a client stays where it is");
        met.insert(answers[0].clone());
        (met.len() == 2).then_some(())
    });
    assert_eq!(met.into_iter().collect::<Vec<_>>(), ["hello echo-0", "hello echo-1"]);
    down(&sandbox, &text);
}

#[test]
fn pods_of_a_job_that_is_over_end_with_their_hooks() {
    let sandbox = with_busybox(Client::Ferry);
    let pod = "volumes: [{name: notes, persistentVolumeClaim: {claimName: notes}}],
        containers: [{name: m, image: busybox, command: [sh, -c, 'echo run > /notes/run; exec sleep 1000'],
          volumeMounts: [{name: notes, mountPath: /notes}],
          lifecycle: {preStop: {exec: {command: [sh, -c, 'echo stopping > /notes/hook']}}}}]";
    let text = job("late", "activeDeadlineSeconds: 4,", pod)
        .replace("PeriodSeconds: 0", "PeriodSeconds: 5");
    play(&sandbox, &text);
    eventually("its time is over", || {
        let expected = ["late-0-m exited", "late-0_pod exited", "late_job exited"];
        (of(&sandbox, "Job/late") == expected).then_some(())
    });
    let look = ["run", "--rm", "-v", "notes:/notes", "busybox", "cat", "/notes/run", "/notes/hook"];
    assert_eq!(sandbox.ok(&look), "run\nstopping");
    down(&sandbox, &text);
}

#[test]
fn images_are_pulled_by_the_secrets_of_their_pods() {
    let root = scratch("kube-secrets");
    add_user(&root.join("registry"), "ann", "opener", &[]);
    let registry = FerryRegistry::start(&root.join("registry"), &[]);
    let sandbox = with_busybox(Client::Ferry);
    let host = registry.host();
    let image = format!("{host}/team/tool:1");
    sandbox.with_input(&["login", "-u", "ann", "--password-stdin", host], b"opener").ok();
    sandbox.ok(&["tag", "busybox", &image]);
    sandbox.ok(&["push", "-q", &image]);
    sandbox.ok(&["logout", host]);
    sandbox.ok(&["rmi", &image]);
    let secret = |password: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: regcred}}\ntype: kubernetes.io/dockerconfigjson\n\
             stringData: {{.dockerconfigjson: '{{\"auths\": {{\"{host}\": {{\"username\": \"ann\", \"password\": \"{password}\"}}}}}}'}}\n---\n"
        )
    };
    let pod = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: tool}}, spec: {{terminationGracePeriodSeconds: 0, imagePullSecrets: [{{name: regcred}}],
          containers: [{{name: m, image: '{image}', command: [sleep, '1000']}}]}}}}\n"
    );
    // Without the secret, and with a wrong one, nobody gets it.
    try_to_play(&sandbox, &pod).fails(1).says("Secret").says("not in the manifests");
    try_to_play(&sandbox, &(secret("wrong") + &pod)).fails(1);
    let text = secret("opener") + &pod;
    assert_eq!(play(&sandbox, &text), "Pod/tool tool created\n");
    down(&sandbox, &text);
    // Keepers have it, too: this one pulls for each pod.
    let many = job(
        "many",
        "completions: 2,",
        &format!(
            "imagePullSecrets: [{{name: regcred}}], containers: [{{name: m, image: '{image}', imagePullPolicy: Always, command: ['true']}}]"
        ),
    );
    let text = secret("opener") + &many;
    play(&sandbox, &text);
    eventually("both have run", || {
        let ended = sandbox.inspect("many_job", "{{.State.Status}} {{.State.ExitCode}}");
        (ended.trim() == "exited 0").then_some(())
    });
    down(&sandbox, &text);
}
