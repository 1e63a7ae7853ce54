use serde_json::json;

use super::{mount, planned};
use crate::{jobs, manifest, plan, workload};

pub(super) const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: m, image: busybox, env: [{name: A, valueFrom: {configMapKeyRef: {name: used, key: a}}}]}]}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: used}, data: {a: b}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: other}, data: {a: c}}
";

#[test]
fn a_job_is_a_pod_or_has_a_keeper() {
    let (pods, _) = planned(JOB).unwrap();
    let keeper = &pods[0].containers[0];
    assert_eq!((pods.len(), keeper.name.as_str()), (1, "once_job"));
    // Only what it uses is a part of it.
    let (same, _) = planned(&JOB.replace("a: c", "a: d")).unwrap();
    let (other, _) = planned(&JOB.replace("a: b", "a: d")).unwrap();
    assert_eq!(pods[0].hash, same[0].hash);
    assert_ne!(pods[0].hash, other[0].hash);
    // What is read back is what was meant.
    let (job, manifests): (workload::Job, _) =
        jobs::read(serde_json::from_slice(&keeper.files[0].content).unwrap()).unwrap();
    let pod = jobs::numbered(&job, jobs::Number::parse("3"));
    let plan = plan::plan(&pod, &manifests, &mut Vec::new()).unwrap();
    assert_eq!((plan.name.as_str(), plan.owner.as_str()), ("once-3", "Job/once"));
    assert_eq!(plan.containers[0].body["Env"], json!(["A=b"]));
    // Nothing is to be counted: the engine can do it.
    let (pods, _) =
        planned(&JOB.replace("restartPolicy: Never", "restartPolicy: OnFailure")).unwrap();
    assert_eq!(pods[0].containers[0].name, "once-m");
    let policy = &pods[0].containers[0].body["HostConfig"]["RestartPolicy"];
    assert_eq!(*policy, json!({"Name": "on-failure", "MaximumRetryCount": 6}));
}

#[test]
fn what_is_next_for_a_job() {
    use jobs::{
        Outcome::{Active, Exhausted, Failed, Succeeded},
        Step,
    };
    let zone = |name: &str| Err(format!("{name} is not here"));
    let job = |spec: &str| {
        let text = format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: j}}, spec: {{{spec} template: {{spec: {{restartPolicy: Never, containers: [{{name: m, image: b}}]}}}}}}}}"
        );
        manifest::read(ferry_compose::yaml_documents(&text).unwrap(), &zone).unwrap().jobs.remove(0)
    };
    let next =
        |spec: &str, pods: &[jobs::Outcome], now: i64| jobs::decide(&job(spec), pods, 0, now);
    assert_eq!(next("", &[], 0), Step::Start(1));
    assert_eq!(next("", &[Active], 0), Step::Wait(None));
    assert_eq!(next("", &[Succeeded], 0), Step::Succeeded);
    assert_eq!(
        next("", &[Failed(100)], 104),
        Step::Wait(Some(6)),
        "ten seconds after the first failure"
    );
    assert_eq!(next("", &[Failed(100), Failed(120)], 130), Step::Wait(Some(10)), "then twenty");
    assert_eq!(next("", &[Failed(100)], 110), Step::Start(1));
    assert_eq!(
        next("backoffLimit: 1,", &[Failed(1), Failed(2)], 99),
        Step::Failed("BackoffLimitExceeded")
    );
    let several = "completions: 5, parallelism: 2,";
    assert_eq!(next(several, &[Succeeded, Succeeded], 0), Step::Start(2));
    assert_eq!(next(several, &[Succeeded, Succeeded, Succeeded, Succeeded], 0), Step::Start(1));
    assert_eq!(next(several, &[Succeeded, Active, Active], 0), Step::Wait(None));
    let workers = "parallelism: 3,";
    assert_eq!(next(workers, &[], 0), Step::Start(3));
    assert_eq!(next(workers, &[Succeeded, Active, Active], 0), Step::Wait(None));
    assert_eq!(next(workers, &[Succeeded, Succeeded, Succeeded], 0), Step::Succeeded);
    assert_eq!(next("activeDeadlineSeconds: 9,", &[Active], 4), Step::Wait(Some(5)));
    assert_eq!(next("activeDeadlineSeconds: 9,", &[Active], 9), Step::Failed("DeadlineExceeded"));
    assert_eq!(next("", &[Exhausted], 0), Step::Failed("BackoffLimitExceeded"));
}

#[test]
fn pods_of_an_indexed_job_know_their_index() {
    use jobs::Outcome::{Active, Failed, Succeeded};
    let text = "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {completionMode: Indexed, completions: 4, parallelism: 3, template: {spec: {restartPolicy: Never,
        initContainers: [{name: i, image: b, env: null}], containers: [{name: m, image: b, args: ['$(JOB_COMPLETION_INDEX)'], env: [{name: A, value: a}]}]}}}}";
    let (pods, _) = planned(text).unwrap();
    assert_eq!(pods[0].containers[0].name, "j_job", "somebody has to count");
    let (job, manifests): (workload::Job, _) =
        jobs::read(serde_json::from_slice(&pods[0].containers[0].files[0].content).unwrap())
            .unwrap();
    let next = |pods: &[(&str, jobs::Outcome)], count| {
        let number = |(text, outcome): &(&str, _)| (jobs::Number::parse(text).unwrap(), *outcome);
        let next = jobs::next(&job, &pods.iter().map(number).collect(), count);
        next.into_iter().map(|one| jobs::numbered(&job, Some(one)).name).collect::<Vec<_>>()
    };
    assert_eq!(next(&[], 3), ["j-0", "j-1", "j-2"]);
    let some = [("0", Succeeded), ("1", Failed(1)), ("2", Active)];
    assert_eq!(
        next(&some, 2),
        ["j-1-1", "j-3"],
        "those that failed again, and those that are left"
    );
    let twice = [("0", Failed(1)), ("0-1", Failed(2)), ("1", Active), ("2", Active), ("3", Active)];
    assert_eq!(next(&twice, 1), ["j-0-2"]);
    let plan =
        plan::plan(&jobs::numbered(&job, jobs::Number::parse("1-2")), &manifests, &mut Vec::new());
    let plan = plan.unwrap();
    assert_eq!(plan.containers[0].body["Env"], json!(["A=a", "JOB_COMPLETION_INDEX=1"]));
    assert_eq!(plan.containers[0].body["Cmd"], json!(["1"]));
    assert_eq!(plan.containers[0].body["Hostname"], "j-1");
    assert_eq!(plan.init[0].body["Env"], json!(["JOB_COMPLETION_INDEX=1"]));
    for wrong in ["", "x", "1-", "-1", "1-2-3", "1--2"] {
        assert_eq!(jobs::Number::parse(wrong), None, "{wrong}");
    }
    let error = planned(&text.replace("completions: 4, ", "")).unwrap_err();
    assert!(error.contains("completions is required of an indexed job"), "{error}");
}

const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: dbs
  replicas: 2
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: m, image: b, volumeMounts: [{name: data, mountPath: /data}]}]}
";

#[test]
fn a_set_has_names_and_claims_of_its_own() {
    let (pods, _) = planned(SET).unwrap();
    for (pod, name) in pods.iter().zip(["db-0", "db-1"]) {
        let body = &pod.containers[0].body;
        assert_eq!(mount(body, "/data")["Source"], json!(format!("data-{name}")));
        assert!(pod.work.claims.contains(&format!("data-{name}")) && pod.work.own.is_empty());
        let names = &body["NetworkingConfig"]["EndpointsConfig"]["kube"]["Aliases"];
        let whole = format!("{name}.dbs.default.svc.cluster.local");
        let below = [format!("{name}.dbs"), format!("{name}.dbs.default")];
        assert_eq!(*names, json!([name, below[0], below[1], whole]));
        assert_eq!(body["Domainname"], "dbs.default.svc.cluster.local");
        assert!(pod.in_order);
    }
}
