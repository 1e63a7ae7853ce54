//! Logs: FEATURES A40.

use ferry_testkit::{Client, eventually};

use crate::with_busybox;

through_both!(
    streams_and_tails,
    follow_and_times,
    rotation_bounds_the_log,
    rotated_files_are_packed,
    drivers
);
against_docker!(follow_and_times, drivers);

fn streams_and_tails(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "--name",
        "talk",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3 4 5; do echo out $i; done; echo err >&2; printf 'no end'",
    ]);
    let all = sandbox.run(&["logs", "talk"]);
    assert_eq!(all.stdout, "out 1\nout 2\nout 3\nout 4\nout 5\nno end");
    assert_eq!(all.stderr, "err\n");
    assert_eq!(sandbox.run(&["logs", "-n", "2", "talk"]).stdout.lines().last(), Some("no end"));
    // Which of two pipes is read first is nobody's business: the error may be the last line.
    let stamped = sandbox.run(&["logs", "-t", "--tail", "2", "talk"]).stdout;
    let (stamp, text) = stamped.lines().last().unwrap().split_once(' ').unwrap();
    assert_eq!(text, "no end");
    assert!(stamp.len() == 30 && stamp.ends_with('Z'), "{stamp}");
    let file = sandbox.inspect("talk", "{{.LogPath}}");
    let text = std::fs::read_to_string(file).unwrap();
    let first = text.lines().find(|line| line.contains("stdout")).unwrap();
    assert!(
        first.starts_with("{\"log\":\"out 1\\n\",\"stream\":\"stdout\",\"time\":\""),
        "{first}"
    );
    sandbox.run(&["logs", "nothing"]).fails(1).says("No such container: nothing");
}

fn follow_and_times(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "count",
        "busybox",
        "sh",
        "-c",
        "for i in $(seq 30); do echo $i; sleep 0.05; done",
    ]);
    let seen = sandbox.ok(&["logs", "-f", "count"]);
    let expected: Vec<String> = (1..=30).map(|number| number.to_string()).collect();
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        expected,
        "follow sees every line and ends with the container"
    );
    assert_eq!(sandbox.ok(&["logs", "--since", "1h", "count"]).lines().count(), 30);
    assert_eq!(sandbox.ok(&["logs", "--until", "1h", "count"]), "");
    assert_eq!(sandbox.ok(&["logs", "-f", "--tail", "3", "count"]), "28\n29\n30");
}

fn rotation_bounds_the_log(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "--name",
        "much",
        "--log-opt",
        "max-size=100k",
        "--log-opt",
        "max-file=3",
        "busybox",
        "sh",
        "-c",
        "yes 'a line that is written over and over' | head -n 20000",
    ]);
    let file = sandbox.inspect("much", "{{.LogPath}}");
    let directory = std::path::Path::new(&file).parent().unwrap();
    let logs: Vec<u64> = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("json.log"))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    assert_eq!(logs.len(), 3);
    assert!(logs.iter().all(|size| *size < 110_000), "{logs:?}");
    let lines = sandbox.ok(&["logs", "much"]);
    assert!(lines.lines().all(|line| line == "a line that is written over and over"));
    assert!(lines.lines().count() > 1500, "all files are read: {}", lines.lines().count());
}

fn drivers(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "--name", "mute", "--log-driver", "none", "busybox", "echo", "x"]);
    sandbox
        .run(&["logs", "mute"])
        .fails(1)
        .says("configured logging driver does not support reading");
    sandbox.run(&["run", "--log-driver", "nonsense", "busybox"]).fails(125).says("nonsense");
    sandbox
        .run(&["run", "--log-opt", "max-siz=1m", "busybox"])
        .fails(125)
        .says("unknown log opt 'max-siz'");
    sandbox.ok(&[
        "run",
        "--name",
        "labelled",
        "--log-opt",
        "labels=a",
        "-l",
        "a=b",
        "busybox",
        "echo",
        "x",
    ]);
    eventually("attributes stand in the log", || {
        sandbox.ok(&["logs", "--details", "labelled"]).starts_with("a=b x").then_some(())
    });
}

fn rotated_files_are_packed(client: Client) {
    let sandbox = with_busybox(client);
    let run = |options: &[&str], name: &str| {
        let options: Vec<&str> = options.iter().flat_map(|option| ["--log-opt", *option]).collect();
        let words = [
            "busybox",
            "sh",
            "-c",
            "i=0; while [ $i -lt 4000 ]; do echo line $i; i=$((i+1)); done",
        ];
        sandbox.run(&[&["run", "-d", "--name", name], &options[..], &words].concat())
    };
    run(&["compress=true"], "no").fails(125).says(
        "failed to initialize logging driver: compress cannot be true when max-file is less than 2 or max-size is not set",
    );
    run(&["compress=x"], "never")
        .fails(125)
        .says("strconv.ParseBool: parsing \"x\": invalid syntax");
    run(&["compress=true", "max-size=50k", "max-file=9"], "talk").ok();
    // Somebody who listens from the beginning to the end has every line once.
    let followed = sandbox.run(&["logs", "--follow", "talk"]).fails(0).stdout;
    let expected: Vec<String> = (0..4000).map(|number| format!("line {number}")).collect();
    assert_eq!(followed.lines().collect::<Vec<_>>(), expected);
    let file = sandbox.inspect("talk", "{{.LogPath}}");
    let first = eventually("the last file is packed", || {
        let plain = std::path::Path::new(&format!("{file}.1")).exists();
        std::fs::read(format!("{file}.1.gz")).ok().filter(|_| !plain)
    });
    assert_eq!(first[..2], [0x1f, 0x8b], "gzip, which zcat reads, too");
    assert_eq!(sandbox.run(&["logs", "talk"]).stdout.lines().count(), 4000);
    let last = sandbox.ok(&["logs", "--tail", "1500", "talk"]);
    assert_eq!(last.lines().collect::<Vec<_>>(), expected[2500..]);
    // The driver `local` packs unless it is told not to.
    let local = ["run", "--rm", "--log-driver", "local", "--log-opt", "max-file=1", "busybox"];
    sandbox.run(&local).fails(125).says("compression cannot be enabled when max file count is 1");
}
