//! `system df` and `system prune`: the figures are du's, shared layers count once, and a dry run tells the truth.

use std::path::Path;

use ferry_testkit::{Client, Sandbox, eventually};
use serde_json::Value;

use crate::with_busybox;

through_both!(tables, prune_takes_what_is_unused);

/// Files of all kinds: a large one, many small ones, a hole, a hard link.
const FILL: &str = "cd \"$0\" && dd if=/dev/zero of=big bs=1M count=6 2>/dev/null && mkdir small && \
    for i in $(seq 300); do echo $i >small/$i; done && ln big again && \
    dd if=/dev/zero of=hole bs=1 count=1 seek=50000000 2>/dev/null && sync";

/// What `du` says in bytes.
fn du(path: &Path) -> f64 {
    let output = std::process::Command::new("du").args(["-s", "-B1"]).arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[track_caller]
fn same(figure: &Value, path: &Path) {
    let (figure, disk) = (figure.as_f64().unwrap(), du(path));
    assert!(
        (figure - disk).abs() <= disk / 100.0,
        "{figure} is not du's {disk} of {}",
        path.display()
    );
}

#[test]
fn figures_are_those_of_du() {
    let sandbox = with_busybox(Client::Ferry);
    // The same layer under another configuration, and one more.
    let tar = ferry_testkit::images::busybox_tar();
    sandbox.ok(&["import", "-c", "CMD [\"false\"]", tar.to_str().unwrap(), "twin:latest"]);
    let own = sandbox.dir().join("own");
    std::fs::create_dir_all(&own).unwrap();
    std::process::Command::new("sh").args(["-c", FILL]).arg(&own).status().unwrap();
    let tar = sandbox.dir().join("own.tar");
    std::process::Command::new("tar")
        .arg("-cf")
        .arg(&tar)
        .arg("-C")
        .arg(&own)
        .arg(".")
        .status()
        .unwrap();
    sandbox.ok(&["import", tar.to_str().unwrap(), "own:latest"]);
    sandbox.ok(&[
        "run",
        "--name",
        "writer",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
        FILL,
        "/data",
    ]);
    sandbox.ok(&["run", "--name", "filler", "busybox", "sh", "-c", FILL, "/root"]);
    sandbox.ok(&["volume", "create", "empty"]);
    // A copy of a layer that came too late goes in the background.
    eventually("only layers are left", || {
        let layers = std::fs::read_dir(sandbox.data().join("layers")).unwrap().flatten();
        let mut names = layers.map(|entry| entry.file_name().to_string_lossy().into_owned());
        (!names.any(|name| name.starts_with("tmp-"))).then_some(())
    });
    let (_, usage) = sandbox.api().call("GET", "/system/df", None);
    same(&usage["LayersSize"], &sandbox.data().join("layers"));
    for container in usage["Containers"].as_array().unwrap() {
        if container["Names"][0] == "/filler" {
            let id = container["Id"].as_str().unwrap();
            same(&container["SizeRw"], &sandbox.data().join("containers").join(id).join("upper"));
        }
    }
    let volume = |name: &str| {
        usage["Volumes"].as_array().unwrap().iter().find(|one| one["Name"] == name).unwrap().clone()
    };
    same(
        &volume("data")["UsageData"]["Size"],
        Path::new(volume("data")["Mountpoint"].as_str().unwrap()),
    );
    assert_eq!(volume("data")["UsageData"]["RefCount"], 1);
    assert_eq!(volume("empty")["UsageData"], serde_json::json!({"RefCount": 0, "Size": 0}));
    let image = |name: &str| {
        let all = usage["Images"].as_array().unwrap();
        all.iter().find(|one| one["RepoTags"][0] == format!("{name}:latest")).unwrap().clone()
    };
    for name in ["busybox", "twin"] {
        assert_eq!(
            image(name)["Size"],
            image(name)["SharedSize"],
            "{name} has no layer of its own"
        );
    }
    assert_eq!(image("own")["SharedSize"], 0);
    assert_eq!(
        (&image("busybox")["Containers"], &image("own")["Containers"]),
        (&2.into(), &0.into())
    );
    let sum = image("busybox")["Size"].as_i64().unwrap() + image("own")["Size"].as_i64().unwrap();
    assert_eq!(usage["LayersSize"], sum, "each layer once");
    let (_, some) = sandbox.api().call("GET", "/system/df?type=volume", None);
    assert!(some["Images"].is_null() && some["Volumes"].is_array());
    assert_eq!(sandbox.api().call("GET", "/system/df?type=what", None).0, 400);
}

fn tables(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "--name",
        "writer",
        "-v",
        "data:/data",
        "busybox",
        "sh",
        "-c",
        FILL,
        "/data",
    ]);
    let table = sandbox.ok(&["system", "df"]);
    let lines: Vec<&str> = table.lines().collect();
    for (line, start) in
        lines.iter().zip(["TYPE", "Images", "Containers", "Local Volumes", "Build Cache"])
    {
        assert!(line.starts_with(start), "{table}");
    }
    let shown = sandbox.ok(&[
        "system",
        "df",
        "--format",
        "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}",
    ]);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("Images|1|1|"), "{shown}");
    assert!(lines[1].starts_with("Containers|1|0|"), "{shown}");
    assert!(lines[2].starts_with("Local Volumes|1|1|7."), "{shown}");
    let all = sandbox.ok(&["system", "df", "-v"]);
    for words in [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "UNIQUE SIZE",
        "LINKS",
    ] {
        assert!(all.contains(words), "{all}");
    }
}

/// Something of every kind that a prune may take, and something that it may not.
fn litter(sandbox: &Sandbox) {
    let tar = ferry_testkit::images::busybox_tar();
    let tar = tar.to_str().unwrap();
    sandbox.ok(&["import", "-c", "CMD [\"a\"]", tar]);
    sandbox.ok(&["import", "-c", "CMD [\"b\"]", tar, "unused:latest"]);
    sandbox.ok(&["run", "--name", "kept", "-d", "-v", "/anonymous", "busybox", "sleep", "1000"]);
    sandbox.ok(&["run", "--name", "ended", "-v", "/anonymous", "busybox", "true"]);
    sandbox.ok(&["run", "--name", "labelled", "--label", "keep", "busybox", "true"]);
    sandbox.ok(&["network", "create", "lonely"]);
    sandbox.ok(&["volume", "create", "named"]);
}

fn prune_takes_what_is_unused(client: Client) {
    let sandbox = with_busybox(client);
    litter(&sandbox);
    let said = sandbox.ok(&["system", "prune", "-f", "--filter", "label!=keep"]);
    assert!(
        said.contains("Deleted Containers:") && said.contains("Deleted Networks:\nlonely"),
        "{said}"
    );
    assert!(said.contains("Total reclaimed space: "), "{said}");
    told_of_prunes(&sandbox);
    let mut names: Vec<String> =
        sandbox.ok(&["ps", "-a", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["kept", "labelled"]);
    assert_eq!(sandbox.ok(&["images", "-q", "--filter", "dangling=true"]), "");
    let before = sandbox.ok(&["volume", "ls", "-q"]).lines().count();
    sandbox.ok(&["system", "prune", "-f", "-a", "--volumes"]);
    assert_eq!(sandbox.ok(&["images", "--format", "{{.Repository}}"]), "busybox");
    assert_eq!(
        sandbox.ok(&["volume", "ls", "-q"]).lines().count(),
        before - 1,
        "the one of `ended`"
    );
    sandbox
        .run(&["system", "prune", "-f", "--volumes", "--filter", "until=1h"])
        .fails(1)
        .says("The \"until\" filter is not supported with \"--volumes\"");
}

fn told_of_prunes(sandbox: &Sandbox) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let until = (now.as_secs() + 1).to_string();
    let events = ["events", "--since", "1", "--until", &until, "--filter", "event=prune"];
    let lines = sandbox.ok(&[&events[..], &["--format", "{{json .}}"]].concat());
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (kinds, figures): (Vec<Value>, Vec<Value>) = events
        .map(|event| (event["Type"].clone(), event["Actor"]["Attributes"]["reclaimed"].clone()))
        .unzip();
    assert_eq!(kinds, ["container", "network", "image"]);
    assert!(figures.iter().all(Value::is_string), "{lines}");
}

/// Beyond Docker.
#[test]
fn a_dry_run_names_what_a_prune_takes() {
    let sandbox = with_busybox(Client::Ferry);
    litter(&sandbox);
    let ended = sandbox.inspect("ended", "{{.Id}}");
    let everything = || {
        ["ps -aq", "images -q", "volume ls -q", "network ls -q"]
            .map(|words| sandbox.ok(&words.split(' ').collect::<Vec<_>>()))
    };
    let before = everything();
    let filtered = sandbox.ok(&["system", "prune", "--dry-run", "--filter", "label!=keep"]);
    assert!(filtered.starts_with(&format!("Would delete containers:\n{ended}\n\nWould delete networks:\nlonely\n\nWould delete images:\nsha256:")), "{filtered}");
    let all = sandbox.ok(&["system", "prune", "--dry-run", "-a", "--volumes"]);
    assert_eq!(everything(), before, "nothing is removed");
    assert!(all.contains("unused:latest"), "{all}");
    let old = sandbox.ok(&["system", "prune", "--dry-run", "--filter", "until=24h"]);
    assert!(!old.contains("containers"), "{old}");
    let done = sandbox.ok(&["system", "prune", "-f", "-a", "--volumes"]);
    let promised = all.lines().filter(|line| !line.is_empty() && !line.contains(':'));
    for name in promised {
        assert!(done.contains(name), "{name} was promised:\n{all}\n{done}");
    }
    assert_eq!(
        sandbox.ok(&["system", "prune", "--dry-run", "-a", "--volumes"]),
        "Total reclaimable space: 0B"
    );
}
