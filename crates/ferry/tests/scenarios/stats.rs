//! `stats`: the figures are the kernel's, in Docker's fields and columns.

use ferry_testkit::{Client, Sandbox, eventually};
use serde_json::Value;

use crate::with_busybox;

through_both!(a_table_of_what_runs, formats_and_errors, a_stream_follows);

fn a_table_of_what_runs(client: Client) {
    let sandbox = with_busybox(client);
    let hog = "while :; do :; done";
    sandbox.ok(&["run", "-d", "--name", "hog", "-m", "64m", "busybox", "sh", "-c", hog]);
    sandbox.ok(&["run", "-d", "--name", "idle", "--network", "none", "busybox", "sleep", "1000"]);
    sandbox.ok(&["create", "--name", "never", "busybox"]);
    let table = sandbox.ok(&["stats", "--no-stream"]);
    let lines: Vec<&str> = table.lines().collect();
    let titles = [
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEM USAGE / LIMIT",
        "MEM %",
        "NET I/O",
        "BLOCK I/O",
        "PIDS",
    ];
    let shown: Vec<&str> =
        lines[0].split("   ").map(str::trim).filter(|word| !word.is_empty()).collect();
    assert_eq!(shown, titles);
    assert_eq!(lines.len(), 3, "only those that run: {table}");
    let line = |name: &str| lines.iter().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("hog").contains("/ 64MiB"), "{table}");
    let share: f64 =
        line("hog").split_whitespace().nth(2).unwrap().trim_end_matches('%').parse().unwrap();
    assert!(share > 5.0 && share < 210.0, "{table}");
    assert!(line("idle").contains("0B / 0B"), "{table}");
    let all = sandbox.ok(&[
        "stats",
        "--no-stream",
        "-a",
        "--format",
        "{{.Name}}|{{.MemUsage}}|{{.PIDs}}",
    ]);
    assert!(all.contains("never|0B / 0B|0"), "{all}");
}

fn formats_and_errors(client: Client) {
    let sandbox = with_busybox(client);
    let id = sandbox.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
    let json = sandbox.ok(&["stats", "--no-stream", "--format", "json", "web"]);
    let value: Value = serde_json::from_str(&json).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    let fields =
        ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"];
    assert_eq!(keys, fields);
    assert_eq!((&value["Container"], &value["PIDs"]), (&"web".into(), &"1".into()));
    let words = "{{.ID}} {{.Name}}";
    assert_eq!(
        sandbox.ok(&["stats", "--no-stream", "--no-trunc", "--format", words, "web"]),
        format!("{id} web")
    );
    sandbox.run(&["stats", "--no-stream", "nosuch"]).fails(1).says("No such container: nosuch");
}

fn a_stream_follows(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "-d", "--name", "first", "busybox", "sleep", "1000"]);
    let path = sandbox.dir().join("painted");
    let mut child = sandbox
        .command(&["stats", "--format", "{{.Name}}"])
        .stdout(std::fs::File::create(&path).unwrap())
        .spawn()
        .unwrap();
    let painted = || std::fs::read_to_string(&path).unwrap();
    let last = || painted().rsplit("\x1b[J").nth(1).map(str::to_owned);
    eventually("the first is shown", || last()?.contains("first").then_some(()));
    sandbox.ok(&["run", "-d", "--name", "second", "busybox", "sleep", "1000"]);
    eventually("one that comes is shown", || last()?.contains("second").then_some(()));
    sandbox.ok(&["rm", "-f", "first"]);
    eventually("one that goes is not", || (!last()?.contains("first")).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The API's own figures, against the kernel's files.
#[test]
fn the_kernel_s_figures() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-m",
        "64m",
        "--pids-limit",
        "50",
        "busybox",
        "sh",
        "-c",
        "sleep 1001 & sleep 1000",
    ]);
    let get =
        |query: &str| sandbox.api().call("GET", &format!("/containers/web/stats?{query}"), None);
    let pid = sandbox.inspect("web", "{{.State.Pid}}");
    eventually("both processes run", || {
        (get("stream=0&one-shot=1").1["pids_stats"]["current"] == 2).then_some(())
    });
    let (_, shot) = get("stream=0&one-shot=1");
    assert_eq!((&shot["name"], &shot["preread"]), (&Value::Null, &"0001-01-01T00:00:00Z".into()));
    let (_, one) = get("stream=0");
    assert_eq!(one["name"], "/web");
    assert_eq!(one["pids_stats"]["limit"], 50);
    assert_eq!(one["memory_stats"]["limit"], 64 << 20);
    assert!(one["memory_stats"]["usage"].as_u64() > Some(0));
    let (now, before) = (&one["cpu_stats"], &one["precpu_stats"]);
    assert!(now["system_cpu_usage"].as_u64() > before["system_cpu_usage"].as_u64());
    assert!(
        now["cpu_usage"]["total_usage"].as_u64() >= before["cpu_usage"]["total_usage"].as_u64()
    );
    assert!(before["cpu_usage"]["total_usage"].as_u64() > Some(0), "the sample before is there");
    let device = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    let line = device.lines().find(|line| line.trim().starts_with("eth0:")).unwrap();
    let sent: u64 = line.split_whitespace().nth(9).unwrap().parse().unwrap();
    assert!(one["networks"]["eth0"]["tx_bytes"].as_u64().unwrap() <= sent);
    assert_eq!(one["networks"].as_object().unwrap().len(), 1, "without loopback");
    assert_eq!(get("stream=1&one-shot=1").0, 400);
    sandbox.ok(&["kill", "web"]);
    sandbox.ok(&["wait", "web"]);
    let (_, stopped) = get("stream=0");
    assert_eq!(
        (&stopped["name"], &stopped["read"]),
        (&"/web".into(), &"0001-01-01T00:00:00Z".into())
    );
    assert_eq!(sandbox.api().call("GET", "/containers/nosuch/stats", None).0, 404);
    streams_end_with_their_container(&sandbox);
}

fn streams_end_with_their_container(sandbox: &Sandbox) {
    sandbox.ok(&["start", "web"]);
    let mut child = sandbox
        .command(&["stats", "--format", "json", "web"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    sandbox.ok(&["rm", "-f", "web"]);
    eventually("the command ends", || child.try_wait().unwrap());
}
