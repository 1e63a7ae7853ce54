//! Jobs and cron jobs: how often they run, when they are over, and what is left of them.

use std::time::SystemTime;

use ferry_testkit::{Client, eventually};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    kube_objects::{down, job, of, only, play},
    with_busybox,
};

#[test]
fn jobs_run_as_often_as_they_must() {
    let sandbox = with_busybox(Client::Ferry);
    let shell = |script: &str| only(&format!("sh, -c, '{script}'"));
    let text = [
        job("many", "completions: 3, parallelism: 2,", &shell("exit 0")),
        job("never", "backoffLimit: 0, parallelism: 2, completions: 2,", &shell("exit 3")),
        job("slow", "activeDeadlineSeconds: 3,", &shell("sleep 1000")),
        job("gone", "ttlSecondsAfterFinished: 1,", &shell("exit 0")),
    ]
    .concat();
    play(&sandbox, &text);
    eventually("enough have succeeded", || {
        let expected = ["many-0-m exited", "many-1-m exited", "many-2-m exited", "many_job exited"];
        (of(&sandbox, "Job/many") == expected).then_some(())
    });
    assert_eq!(sandbox.inspect("many_job", "{{.State.ExitCode}}").trim(), "0");
    eventually("too many have failed", || {
        let ended = sandbox.inspect("never_job", "{{.State.Status}} {{.State.ExitCode}}");
        (ended.trim() == "exited 1").then_some(())
    });
    eventually("there is no more time", || {
        (of(&sandbox, "Job/slow") == ["slow-0-m exited", "slow_job exited"]).then_some(())
    });
    assert_eq!(
        sandbox.ok(&["logs", "slow_job"]).lines().last(),
        Some("Job/slow failed: DeadlineExceeded")
    );
    eventually("what has its time is removed after it", || {
        of(&sandbox, "Job/gone").is_empty().then_some(())
    });
    // What has ended is not started again, not even with the daemon.
    let text = text
        .split("---\n")
        .filter(|one| !one.contains("name: gone"))
        .collect::<Vec<_>>()
        .join("---\n");
    let again = play(&sandbox, &text);
    assert!(again.lines().all(|line| line.ends_with("unchanged")), "{again}");
    down(&sandbox, &text);
    assert_eq!(sandbox.ok(&["ps", "-aq", "--filter", "label=ferry.kube.owner"]), "");
}

#[test]
fn the_sidecar_of_a_job_ends_with_it() {
    let sandbox = with_busybox(Client::Ferry);
    let text = job(
        "work",
        "",
        "initContainers: [{name: side, image: busybox, restartPolicy: Always, command: [sh, -c, 'exec nc -ll -p 80 -e echo tools']}],
         containers: [{name: main, image: busybox, command: [sh, -c, 'until nc -w 1 127.0.0.1 80 < /dev/null; do sleep 0.1; done']}]",
    );
    play(&sandbox, &text);
    eventually("all of them have ended", || {
        let expected =
            ["work-0-main exited", "work-0-side exited", "work-0_pod exited", "work_job exited"];
        (of(&sandbox, "Job/work") == expected).then_some(())
    });
    assert_eq!(sandbox.ok(&["logs", "work-0-main"]), "tools");
    down(&sandbox, &text);
    assert_eq!(of(&sandbox, "Job/work"), Vec::<String>::new());
}

#[test]
fn a_job_that_failed_has_failed_also_when_its_keeper_dies() {
    let sandbox = with_busybox(Client::Ferry);
    // The first process of a container ignores SIGTERM unless it says something else.
    let text = job(
        "late",
        "activeDeadlineSeconds: 3,",
        &only("sh, -c, 'until [ -e /go ]; do sleep 0.1; done'"),
    );
    let text = text.replace("PeriodSeconds: 0", "PeriodSeconds: 120");
    play(&sandbox, &text);
    let last = || sandbox.ok(&["logs", "late_job"]).lines().last().map(str::to_owned);
    let failed = "Job/late failed: DeadlineExceeded";
    eventually("its time is over", || (last().as_deref() == Some(failed)).then_some(()));
    // Its pod ends as if all were well, and its keeper dies before it sees that.
    let pid = sandbox.inspect("late_job", "{{.State.Pid}}");
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    sandbox.ok(&["exec", "late-0-m", "touch", "/go"]);
    assert_eq!(sandbox.ok(&["wait", "late-0-m"]), "0");
    kill_process(pid, Signal::KILL).unwrap();
    eventually("another one has come to an end", || {
        let ended = sandbox.inspect("late_job", "{{.RestartCount}} {{.State.Status}}");
        (ended.trim() == "1 exited").then_some(())
    });
    assert_eq!(sandbox.inspect("late_job", "{{.State.ExitCode}}").trim(), "1");
    assert_eq!(last().as_deref(), Some(failed));
    down(&sandbox, &text);
    assert_eq!(of(&sandbox, "Job/late"), Vec::<String>::new());
}

/// The only container of a pod with a volume that is the pod's alone.
fn with_scratch(only: &str) -> String {
    let mount = "volumeMounts: [{name: scratch, mountPath: /scratch}]";
    let only = only.replace("name: m,", &format!("name: m, {mount},"));
    format!("volumes: [{{name: scratch, emptyDir: {{}}}}], {only}")
}

#[test]
fn a_suspended_job_has_nothing_that_runs() {
    let sandbox = with_busybox(Client::Ferry);
    let pod = with_scratch(&only("sleep, '1000'"));
    let text = &job("long", "parallelism: 2, completions: 2, suspend: false,", &pod);
    play(&sandbox, text);
    eventually("two of them run", || {
        let running =
            of(&sandbox, "Job/long").iter().filter(|one| one.ends_with("running")).count();
        (running == 3).then_some(())
    });
    let suspended = text.replace("suspend: false", "suspend: true");
    let played = play(&sandbox, &suspended);
    assert!(played.contains("Job/long long deleted\n"), "{played}");
    assert_eq!(of(&sandbox, "Job/long"), Vec::<String>::new());
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
    play(&sandbox, text);
    down(&sandbox, &suspended);
    assert_eq!(of(&sandbox, "Job/long"), Vec::<String>::new());
}

#[test]
fn jobs_have_indexes_and_deadlines() {
    let sandbox = with_busybox(Client::Ferry);
    let stuck = format!(
        "initContainers: [{{name: wait, image: busybox, command: [sleep, '1000']}}], {}",
        only("'true'")
    );
    let text = &[
        job(
            "parts",
            "completionMode: Indexed, completions: 3, parallelism: 2,",
            &only("sh, -c, 'echo $JOB_COMPLETION_INDEX of $(hostname)'"),
        ),
        job("stuck", "activeDeadlineSeconds: 3,", &stuck),
        job("gone", "ttlSecondsAfterFinished: 0,", &with_scratch(&only("'true'"))),
    ]
    .concat();
    play(&sandbox, text);
    eventually("every index has succeeded", || {
        let ended = sandbox.inspect("parts_job", "{{.State.Status}} {{.State.ExitCode}}");
        (ended.trim() == "exited 0").then_some(())
    });
    for index in ["0", "1", "2"] {
        let said = sandbox.ok(&["logs", &format!("parts-{index}-m")]);
        assert_eq!(said, format!("{index} of parts-{index}"));
    }
    eventually("an init container is no way around the deadline", || {
        let ended = sandbox.inspect("stuck_job", "{{.State.Status}} {{.State.ExitCode}}");
        (ended.trim() == "exited 1").then_some(())
    });
    assert_eq!(of(&sandbox, "Job/stuck"), ["stuck-0-wait exited", "stuck_job exited"]);
    eventually("what has its time goes with its volumes", || {
        (of(&sandbox, "Job/gone").is_empty() && sandbox.ok(&["volume", "ls", "-q"]).is_empty())
            .then_some(())
    });
    down(&sandbox, text);
    assert_eq!(sandbox.ok(&["ps", "-aq", "--filter", "label=ferry.kube.owner"]), "");
}

#[test]
fn a_cron_job_survives_the_daemon() {
    let sandbox = with_busybox(Client::Ferry);
    let text = "
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: '* * * * *'
  timeZone: Europe/Berlin
  concurrencyPolicy: Forbid
  successfulJobsHistoryLimit: 1
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: m, image: busybox, command: [date, '+%s']}]}
";
    assert_eq!(play(&sandbox, text), "CronJob/tick tick created\n");
    assert_eq!(play(&sandbox, text), "CronJob/tick tick unchanged\n");
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    let jobs = || {
        let filter = "label=ferry.kube.parent=CronJob/tick";
        sandbox.ok(&["ps", "-a", "--filter", filter, "--format", "{{.Names}} {{.State}}"])
    };
    let minute = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 60;
    let begin = minute();
    eventually("the minute is over", || (minute() > begin).then_some(()));
    let first = eventually("a job has run", || {
        jobs().lines().find(|one| one.ends_with(" exited")).map(str::to_owned)
    });
    let name = first.trim_end_matches(" exited");
    let at: i64 = sandbox.ok(&["logs", name]).trim().parse().unwrap();
    // Its name tells the minute for which it was started.
    let minute: i64 = name.split('-').nth(1).unwrap().parse().unwrap();
    assert!((0..60).contains(&(at - minute * 60)), "{name} at {at}");
    // Another schedule starts another keeper, without what the old one made.
    let other = text.replace("'* * * * *'", "'0 0 1 1 *'");
    assert_eq!(play(&sandbox, &other), "CronJob/tick tick configured\n");
    assert_eq!(jobs(), "");
    down(&sandbox, text);
    assert_eq!(of(&sandbox, "CronJob/tick"), Vec::<String>::new());
}
