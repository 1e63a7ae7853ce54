//! Flags of images and builds in their long forms.

use ferry_testkit::{Client, run};

use crate::{build::context, with_busybox};

through_both!(archives_and_imports, lists_and_histories, classic_builds);

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
