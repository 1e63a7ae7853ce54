//! Objects of Kubernetes, as scenarios play them and take them down.

use ferry_testkit::{Run, Sandbox};

/// Plays manifests, which may be refused.
#[track_caller]
pub(crate) fn try_to_play(sandbox: &Sandbox, text: &str) -> Run {
    sandbox.with_input(&["kube", "play", "-"], text.as_bytes())
}

/// Plays manifests; what was done.
#[track_caller]
pub(crate) fn play(sandbox: &Sandbox, text: &str) -> String {
    let played = try_to_play(sandbox, text).fails(0);
    played.stdout
}

/// Takes down what was played.
#[track_caller]
pub(crate) fn down(sandbox: &Sandbox, text: &str) {
    sandbox.with_input(&["kube", "down", "-"], text.as_bytes()).ok();
}

/// Containers of an object: names and states.
#[track_caller]
pub(crate) fn of(sandbox: &Sandbox, owner: &str) -> Vec<String> {
    let filter = format!("label=ferry.kube.owner={owner}");
    let all = sandbox.ok(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}} {{.State}}"]);
    let mut all: Vec<String> = all.lines().map(str::to_owned).collect();
    all.sort();
    all
}

/// A job: `fields` of its own (each with a comma behind it), and those of its pods, which are started once and end at once.
pub(crate) fn job(name: &str, fields: &str, pod: &str) -> String {
    let spec = format!("restartPolicy: Never, terminationGracePeriodSeconds: 0, {pod}");
    format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: {name}}}, spec: {{{fields} template: {{spec: {{{spec}}}}}}}}}\n---\n"
    )
}

/// The only container of a pod, with its command as a list's inside.
pub(crate) fn only(command: &str) -> String {
    format!("containers: [{{name: m, image: busybox, command: [{command}]}}]")
}
