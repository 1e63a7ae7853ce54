//! Cron jobs minute by minute: what runs is replaced, what has ended is kept only so long, and clocks are those of places.

use std::{process::Command, time::SystemTime};

use ferry_testkit::{Client, Sandbox, eventually, run};

use super::{
    kube_objects::{down, play},
    with_busybox,
};

fn minute() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 60
}

fn cron(name: &str, fields: &str, command: &str) -> String {
    format!(
        "{{apiVersion: batch/v1, kind: CronJob, metadata: {{name: {name}}}, spec: {{{fields}, jobTemplate: {{spec: {{backoffLimit: 0, template: {{spec: {{
           restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{{name: m, image: busybox, command: [{command}]}}]}}}}}}}}}}}}\n---\n"
    )
}

/// The minutes of which a cron job has containers, and how those stand.
fn there(sandbox: &Sandbox, name: &str) -> Vec<(u64, String)> {
    let filter = format!("label=ferry.kube.parent=CronJob/{name}");
    let lines = sandbox.ok(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}} {{.State}}"]);
    let one = |line: &str| {
        let (container, state) = line.split_once(' ').unwrap();
        let minute = container.split('-').nth(1).unwrap().parse().unwrap();
        (minute, state.to_owned())
    };
    lines.lines().map(one).collect()
}

#[test]
fn cron_jobs_are_replaced_and_forgotten_and_know_their_places() {
    let sandbox = with_busybox(Client::Ferry);
    // A minute that has not begun when the keepers listen.
    let first = (SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + 30).div_ceil(60);
    let at = format!("@{}", first * 60);
    let mut date = Command::new("date");
    let there_now = run(date.env("TZ", "Asia/Kolkata").args(["-d", &at, "+%-M %-H"])).ok();
    let then = format!("schedule: '{there_now} * * *'");
    let each = "schedule: '* * * * *'";
    let text = [
        cron("place", &format!("{then}, timeZone: Asia/Kolkata"), "'true'"),
        cron("greenwich", &then, "'true'"),
        cron("replaced", &format!("{each}, concurrencyPolicy: Replace"), "sleep, '1000'"),
        cron("failing", &format!("{each}, failedJobsHistoryLimit: 1"), "'false'"),
        cron("silent", &format!("{each}, successfulJobsHistoryLimit: 0"), "'true'"),
    ]
    .concat();
    play(&sandbox, &text);
    let one = |minute: u64, state: &str| vec![(minute, state.to_owned())];
    eventually("the minute before is over", || (minute() >= first - 1).then_some(()));
    eventually("the minute has come", || (minute() >= first).then_some(()));
    eventually("it is that time there", || {
        (there(&sandbox, "place") == one(first, "exited")).then_some(())
    });
    eventually("the next minute has come", || (minute() > first).then_some(()));
    let next = first + 1;
    eventually("the other one was ended for it", || {
        (there(&sandbox, "replaced") == one(next, "running")).then_some(())
    });
    eventually("one that failed is kept", || {
        (there(&sandbox, "failing") == one(next, "exited")).then_some(())
    });
    let said = |name: &str| sandbox.ok(&["logs", &format!("{name}_cron")]);
    eventually("the last one has come and gone", || {
        let ended = format!("Job/silent-{next} succeeded");
        (said("silent").contains(&ended) && there(&sandbox, "silent").is_empty()).then_some(())
    });
    assert_eq!(
        said("failing").matches(" failed: BackoffLimitExceeded").count(),
        said("failing").matches(": pod ").count()
    );
    assert_eq!(there(&sandbox, "place"), one(first, "exited"));
    assert_eq!(there(&sandbox, "greenwich"), []);
    down(&sandbox, &text);
    assert_eq!(sandbox.ok(&["ps", "-aq", "--filter", "label=ferry.kube.owner"]), "");
}
