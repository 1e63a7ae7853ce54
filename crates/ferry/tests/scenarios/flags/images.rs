//! Flags of images and builds in their long forms.

use std::path::{Path, PathBuf};

use ferry_testkit::{Client, Sandbox, eventually, run};

use crate::{build::context, with_busybox};

through_both!(archives_and_imports, lists_and_histories, classic_builds, limits_of_steps);

fn archives_and_imports(client: Client) {
    let sandbox = with_busybox(client);
    let saved = sandbox.dir().join("saved.tar");
    let saved = saved.to_str().unwrap();
    sandbox.ok(&["save", "--output", saved, "busybox"]);
    sandbox.ok(&["rmi", "--no-prune", "busybox"]);
    assert_eq!(sandbox.ok(&["load", "--input", saved]), "Loaded image: busybox:latest");
    let tar = ferry_testkit::images::busybox_tar();
    let words = ["--change", "ENV A=b", "--message", "from a tar", tar.to_str().unwrap(), "own:1"];
    sandbox.ok(&[&["import"], &words[..]].concat());
    assert_eq!(
        sandbox.ok(&["image", "inspect", "--format", "{{.Comment}} {{.Config.Env}}", "own:1"]),
        "from a tar [A=b]"
    );
    for words in [["pull", "busybox"], ["push", "busybox"]] {
        let [verb, name] = words;
        let seen = sandbox.run(&[verb, "--disable-content-trust=false", name]);
        assert!(seen.code != 0, "nobody signs these: {seen}");
    }
}

fn lists_and_histories(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["tag", "busybox", "second:2"]);
    let size = sandbox.ok(&["image", "inspect", "-f", "{{.Size}}", "busybox"]);
    let exact = sandbox.ok(&[
        "history",
        "--human=false",
        "--format",
        "{{.Size}} {{.CreatedAt}}",
        "busybox",
    ]);
    assert!(exact.starts_with(&format!("{size} 20")), "{exact}");
    let human = sandbox.ok(&["history", "--human", "--format", "{{.Size}}", "busybox"]);
    assert!(human.ends_with("MB"), "{human}");
    sandbox.ok(&["run", "-d", "busybox", "sleep", "1000"]);
    let tree = sandbox.ok(&["images", "--tree"]);
    assert!(tree.starts_with("WARNING: This is an experimental feature."), "{tree}");
    for words in ["IMAGE", "DISK USAGE", "CONTENT SIZE", "busybox:latest", "second:2"] {
        assert!(tree.contains(words), "{words}: {tree}");
    }
    let (_, images) = sandbox.api().call("GET", "/images/json?shared-size=1", None);
    assert!(images[0]["SharedSize"].as_i64().is_some_and(|size| size >= 0), "{images}");
    // There is nobody to ask for images that are not there.
    sandbox.run(&["search", "--limit", "5", "busybox"]).fails(1);
    sandbox
        .run(&["images", "--tree", "--quiet"])
        .fails(1)
        .says("--quiet is not yet supported with --tree");
}

/// What the classic builder knows and BuildKit's does not care for.
fn classic_builds(client: Client) {
    let sandbox = with_busybox(client);
    let dockerfile = "FROM busybox\nRUN cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_period_us 2>/dev/null; true\nCOPY f /f\n";
    let directory = context(&sandbox, "c", &[("deep/Other", dockerfile), ("f", "1")]);
    let file = directory.join("deep/Other");
    let classic = |flags: &[&str], tag: &str| {
        let words = [&["build"], flags, &["--tag", tag, directory.to_str().unwrap()]].concat();
        run(sandbox.command(&words).env("DOCKER_BUILDKIT", "0"))
    };
    let limits = [
        "--compress",
        "--force-rm",
        "--cpu-period",
        "50000",
        "--cpu-quota",
        "50000",
        "--cpuset-mems",
        "0",
    ];
    let built = classic(&[&["--file", file.to_str().unwrap()], &limits[..]].concat(), "one").ok();
    assert!(built.contains("50000"), "the step has the limit: {built}");
    assert_eq!(sandbox.ok(&["run", "--rm", "one", "cat", "/f"]), "1");
    assert_eq!(
        sandbox.ok(&["ps", "-aq"]),
        sandbox.ok(&["ps", "-q"]),
        "no container of a step stays"
    );
    let trusted = classic(&["-f", file.to_str().unwrap(), "--disable-content-trust=false"], "two");
    assert_ne!(trusted.code, 0, "nobody signs these: {trusted}");
    if client == Client::Ferry {
        for flag in ["--squash", "--isolation=hyperv"] {
            let refused = classic(&["-f", file.to_str().unwrap(), flag], "two").fails(1);
            let name = flag.split('=').next().unwrap();
            assert!(refused.stderr.contains(name), "{refused}");
        }
        let words = ["build", "--load", "--file", file.to_str().unwrap(), "--tag", "three"];
        sandbox.ok(&[&words[..], &[directory.to_str().unwrap()]].concat());
        assert_eq!(sandbox.ok(&["run", "--rm", "three", "cat", "/f"]), "1");
        let used = sandbox.ok(&["builder", "du", "--verbose"]);
        assert!(used.contains("build_cache_id: ") && used.contains("usage_count: "), "{used}");
    }
    let pruned = sandbox.ok(&["builder", "prune", "--force", "--keep-storage", "10g"]);
    assert!(pruned.contains("0B"), "what may stay stays: {pruned}");
}

/// A file of the cgroup that a process is in, by its names in version 1 and 2.
fn limit(pid: &str, v1: &str, v2: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let controller = v1.split('.').next().unwrap();
    let root = Path::new("/sys/fs/cgroup");
    let unified = root.join("cgroup.controllers").exists();
    let (base, name) = if unified { (root.to_owned(), v2) } else { (root.join(controller), v1) };
    let own = place_of(&text, if unified { "" } else { controller });
    let path = base.join(own.strip_prefix("/").unwrap()).join(name);
    let text = std::fs::read_to_string(&path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// Where a controller has a process, by what `/proc/PID/cgroup` says.
fn place_of(text: &str, controller: &str) -> PathBuf {
    let rows = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let mut places = rows.filter(|(names, _)| names.split(',').any(|name| name == controller));
    PathBuf::from(places.next().unwrap_or_else(|| panic!("{controller}: {text}")).1)
}

/// The process of the one step that runs.
fn step(sandbox: &Sandbox) -> (String, String) {
    eventually("the step runs", || {
        let id = sandbox.ok(&["ps", "-q"]);
        let pid = (id.lines().count() == 1).then(|| sandbox.inspect(&id, "{{.State.Pid}}"));
        pid.filter(|pid| pid != "0").map(|pid| (id, pid))
    })
}

fn limits_of_steps(client: Client) {
    let sandbox = with_busybox(client);
    let dockerfile = "FROM busybox\nRUN exec sleep 1000\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let parent = format!("{}/of-builds", sandbox.cgroup_parent());
    let flags = [
        "build",
        "--cgroup-parent",
        &format!("/{parent}"),
        "--cpuset-cpus",
        "0",
        "--memory",
        "64m",
        "--memory-swap",
        "96m",
        "--cpu-shares",
        "200",
        "--shm-size",
        "33m",
        "--ulimit",
        "nofile=77:99",
        directory.to_str().unwrap(),
    ];
    let mut command = sandbox.command(&flags);
    let mut build = command.env("DOCKER_BUILDKIT", "0").stdout(std::process::Stdio::null());
    build = build.stderr(std::process::Stdio::null());
    let mut build = build.spawn().unwrap();
    let (id, pid) = step(&sandbox);
    assert_eq!(limit(&pid, "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(limit(&pid, "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    if Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists() {
        assert_eq!(limit(&pid, "memory.memsw.limit_in_bytes", ""), (96 << 20).to_string());
    }
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        assert_eq!(limit(&pid, "cpu.shares", ""), "200");
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(text.contains(&format!("/{parent}/")), "{text}");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().collect::<Vec<_>>()[3..5], ["77", "99"]);
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    let shm = mounts.lines().find(|line| line.contains(" /dev/shm ")).unwrap();
    assert!(shm.contains("size=33792k"), "{shm}");
    sandbox.ok(&["kill", &id]);
    assert!(!build.wait().unwrap().success(), "a step that was killed has failed");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}
