//! The stock `docker build` with buildx, `docker buildx bake`, `du`, `prune` and `history`, and `docker compose build`, as they are,
//! against our daemon.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{
    Client, FerryRegistry, Registry, RegistryOptions, Run, Sandbox, eventually, run, run_with_input,
};
use serde_json::Value;

use crate::{build::attested::manifest, with_busybox};

/// Where packages put plugins of the docker command line; the last is where `shared/peers` unpacks Debian's.
const PLUGINS: [&str; 4] = [
    "/usr/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/tmp/peers/root/usr/libexec/docker/cli-plugins",
];

/// A plugin of the docker command line.
fn plugin(name: &str) -> Option<PathBuf> {
    let installed = PLUGINS.iter().map(|directory| Path::new(directory).join(name));
    installed.into_iter().find(|path| path.is_file())
}

/// A daemon, and docker with buildx in front of it, with compose too where that is. `None` where one is missing.
#[track_caller]
fn sandbox() -> Option<Sandbox> {
    ferry_testkit::programs::find("docker")?;
    let buildx =
        plugin("docker-buildx").or_else(|| ferry_testkit::programs::find("docker-buildx"))?;
    let sandbox = with_busybox(Client::Docker);
    let directory = sandbox.dir().join("config/cli-plugins");
    std::fs::create_dir_all(&directory).unwrap();
    let link = |path: &Path, name| std::os::unix::fs::symlink(path, directory.join(name)).unwrap();
    link(&buildx, "docker-buildx");
    if let Some(compose) = compose() {
        link(&compose, "docker-compose");
    }
    Some(sandbox)
}

fn compose() -> Option<PathBuf> {
    plugin("docker-compose").or_else(|| std::env::var_os("DOCKER_COMPOSE").map(PathBuf::from))
}

/// A directory with files.
fn context(sandbox: &Sandbox, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = sandbox.dir().join(name);
    for (path, text) in files {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

fn command(sandbox: &Sandbox, directory: &Path, words: &[&str]) -> Command {
    let mut command = sandbox.command(words);
    command.current_dir(directory).env_remove("DOCKER_BUILDKIT").env("BUILDKIT_PROGRESS", "plain");
    command
}

#[track_caller]
fn docker(sandbox: &Sandbox, directory: &Path, words: &[&str]) -> Run {
    run(&mut command(sandbox, directory, words))
}

#[test]
fn a_context_becomes_an_image_and_progress_is_shown() {
    let Some(sandbox) = sandbox() else { return };
    let listed = docker(&sandbox, sandbox.dir(), &["buildx", "ls"]).ok();
    assert!(listed.contains("running"), "{listed}");
    let dockerfile = "FROM busybox\nARG WHO=nobody\nWORKDIR /app\nCOPY . .\nRUN echo I am $WHO; echo oh >&2; find . | sort\n\
        LABEL a=1\nCMD [\"cat\", \"/app/dir/file\"]\n";
    let files = [
        ("Dockerfile", dockerfile),
        (".dockerignore", "*.log\n!keep.log\nsecret\n"),
        ("dir/file", "hello\n"),
        ("dir/empty", ""),
        ("a.log", "1"),
        ("keep.log", "2"),
        ("secret/key", "3"),
    ];
    let directory = context(&sandbox, "c", &files);
    std::os::unix::fs::symlink("dir/file", directory.join("link")).unwrap();
    let long = "n".repeat(120);
    std::fs::write(directory.join(&long), "long").unwrap();
    let iid = sandbox.dir().join("iid");
    let metadata = sandbox.dir().join("metadata.json");
    let words = [
        "build",
        "-t",
        "app",
        "-t",
        "two/app:2",
        "--build-arg",
        "WHO=you",
        "--label",
        "b=2",
        "--iidfile",
        iid.to_str().unwrap(),
        "--metadata-file",
        metadata.to_str().unwrap(),
        ".",
    ];
    let seen = docker(&sandbox, &directory, &words);
    let said = seen.stderr.clone();
    seen.ok();
    for part in [
        "[internal] load build definition from Dockerfile",
        "[internal] load build context",
        "transferring context:",
        "[3/4] COPY . .",
        "I am you",
        "oh",
        "./link",
        "./keep.log",
        "exporting to image",
        "naming to docker.io/library/app:latest",
        "naming to docker.io/two/app:2",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    for part in ["./a.log", "./secret", "ERROR"] {
        assert!(!said.contains(part), "{part:?} is in {said}");
    }
    assert!(said.contains(&long), "{said}");
    assert_eq!(sandbox.ok(&["run", "--rm", "app"]), "hello");
    let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "two/app:2"]);
    assert_eq!(std::fs::read_to_string(iid).unwrap(), id);
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], id.as_str());
    assert!(metadata["image.name"].as_str().unwrap().contains("two/app:2"), "{metadata}");
    let labels = sandbox.ok(&["image", "inspect", "-f", "{{json .Config.Labels}}", "app"]);
    assert_eq!(labels, "{\"a\":\"1\",\"b\":\"2\"}");
    // The second time, everything is known.
    let again = docker(&sandbox, &directory, &["build", "--build-arg", "WHO=you", "."]).stderr;
    assert_eq!(again.matches("CACHED").count(), 4, "{again}");
    assert_eq!(
        docker(
            &sandbox,
            &directory,
            &["build", "-q", "--label", "b=2", "--build-arg", "WHO=you", "."]
        )
        .ok(),
        id
    );
    let anew = docker(&sandbox, &directory, &["build", "--no-cache", "."]).stderr;
    assert!(!anew.contains("COPY . .\n#7 CACHED") && anew.contains("I am nobody"), "{anew}");
}

#[test]
fn what_fails_says_where() {
    let Some(sandbox) = sandbox() else { return };
    let directory =
        context(&sandbox, "c", &[("Dockerfile", "FROM busybox\nRUN echo so far\nRUN exit 7\n")]);
    let failed = docker(&sandbox, &directory, &["build", "."]).fails(1);
    let words = "process \"/bin/sh -c exit 7\" did not complete successfully: exit code: 7";
    for part in [words, "so far", ">>> RUN exit 7", "Dockerfile:3"] {
        assert!(failed.stderr.contains(part), "{part:?} is not in {}", failed.stderr);
    }
    std::fs::write(directory.join("Dockerfile"), "FROM busybox\nRUNN x\n").unwrap();
    docker(&sandbox, &directory, &["build", "."]).fails(1).says("unknown instruction: RUNN");
    let absent = ["build", "-f", "nowhere", "."];
    docker(&sandbox, &directory, &absent).fails(1).says("nowhere: no such file or directory");
    std::fs::write(directory.join("Dockerfile"), "FROM busybox\nCOPY absent /\n").unwrap();
    let missing = docker(&sandbox, &directory, &["build", "."]).fails(1);
    assert!(missing.stderr.contains("absent"), "{}", missing.stderr);
    // What cannot be done is refused by its name, never passed over.
    std::fs::write(directory.join("Dockerfile"), "FROM busybox\n").unwrap();
    let refused: [(&[&str], &str); 2] = [
        (&["build", "--cache-to", "type=local,dest=x", "."], "the cache exporter \"local\""),
        (&["build", "--output", "type=image,compression=estargz", "."], "type estargz"),
    ];
    for (arguments, words) in refused {
        docker(&sandbox, &directory, arguments).fails(1).says(words);
    }
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "", "containers of steps are gone");
}

#[test]
fn results_go_to_directories_and_tars() {
    let Some(sandbox) = sandbox() else { return };
    let dockerfile = "FROM busybox AS make\nRUN mkdir -p /out/d && echo text > /out/d/f && ln -s d/f /out/l && chmod 750 /out/d && \
        dd if=/dev/zero of=/out/large bs=1M count=9 && : > /out/empty\nFROM scratch\nCOPY --from=make /out /\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let images = || sandbox.ok(&["images", "-aq"]);
    let before = images();
    docker(&sandbox, &directory, &["build", "-o", "out", "."]).ok();
    assert_eq!(std::fs::read_to_string(directory.join("out/d/f")).unwrap(), "text\n");
    assert_eq!(std::fs::read_link(directory.join("out/l")).unwrap(), Path::new("d/f"));
    assert_eq!(std::fs::metadata(directory.join("out/large")).unwrap().len(), 9 << 20);
    assert_eq!(std::fs::metadata(directory.join("out/empty")).unwrap().len(), 0);
    let mode =
        std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(directory.join("out/d")).unwrap());
    assert_eq!(mode & 0o777, 0o750);
    std::fs::remove_dir_all(directory.join("out")).unwrap();
    docker(&sandbox, &directory, &["build", "-o", "type=tar,dest=../files.tar", "."]).ok();
    let tar = sandbox.dir().join("files.tar");
    let listed = run(Command::new("tar").arg("-tf").arg(&tar)).ok();
    assert!(listed.contains("d/f") && listed.contains("large"), "{listed}");
    for (kind, name) in [("oci", "an/oci:1"), ("docker", "a/docker:1")] {
        let file = sandbox.dir().join(format!("{kind}.tar"));
        let output = format!("type={kind},dest={}", file.display());
        docker(&sandbox, &directory, &["build", "-t", name, "-o", &output, "."]).ok();
        let listed = run(Command::new("tar").arg("-tf").arg(&file)).ok();
        assert!(listed.contains("oci-layout") && listed.contains("index.json"), "{listed}");
        assert_eq!(images(), before, "an exported image does not stay");
        let loaded = sandbox.ok(&["load", "-i", file.to_str().unwrap()]);
        assert!(loaded.contains(&format!("Loaded image: {name}")), "{loaded}");
        sandbox.ok(&["rmi", name]);
    }
}

#[test]
fn images_go_to_stores_of_the_client() {
    let Some(sandbox) = sandbox() else { return };
    let directory = context(
        &sandbox,
        "c",
        &[("Dockerfile", "FROM busybox\nRUN dd if=/dev/urandom of=/large bs=1M count=5\n")],
    );
    let before = sandbox.ok(&["images", "-aq"]);
    let output = |more: &str| format!("type=oci,dest=layout,tar=false{more}");
    let output = [output(""), output(",compression=gzip,force-compression=true")];
    for (name, output) in
        [("an/oci:1", &output[0]), ("an/oci:2", &output[0]), ("an/oci:2", &output[1])]
    {
        docker(&sandbox, &directory, &["build", "-t", name, "-o", output, "."]).ok();
    }
    assert_eq!(sandbox.ok(&["images", "-aq"]), before, "an exported image does not stay");
    let layout = directory.join("layout");
    crate::build::files::is_layout(&layout, &["docker.io/an/oci:1", "docker.io/an/oci:2"]);
    let archive = sandbox.dir().join("layout.tar");
    run(Command::new("tar").arg("-C").arg(&layout).arg("-cf").arg(&archive).arg(".")).ok();
    sandbox.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
    assert_eq!(sandbox.ok(&["run", "--rm", "an/oci:2", "stat", "-c", "%s", "/large"]), "5242880");
}

#[test]
fn contexts_of_all_kinds() {
    let Some(sandbox) = sandbox() else { return };
    let other = context(&sandbox, "other", &[("file", "of another\n"), ("sub/x", "x")]);
    let dockerfile =
        "FROM base AS one\nCOPY --from=more /file /file\nRUN --mount=from=more,target=/m ls /m\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile), ("f", "1")]);
    let more = format!("more={}", other.display());
    let words = [
        "build",
        "-t",
        "named",
        "--build-context",
        &more,
        "--build-context",
        "base=docker-image://busybox",
        ".",
    ];
    docker(&sandbox, &directory, &words).ok();
    assert_eq!(sandbox.ok(&["run", "--rm", "named", "cat", "/file"]), "of another");
    // A Dockerfile from elsewhere, one on standard input, and a whole context there.
    let words = ["build", "-t", "apart", "-f", "-", "."];
    run_with_input(&mut command(&sandbox, &directory, &words), b"FROM busybox\nCOPY f /f\n").ok();
    assert_eq!(sandbox.ok(&["run", "--rm", "apart", "ls", "-d", "/f"]), "/f");
    std::fs::write(other.join("Dockerfile"), "FROM busybox\nCOPY file /\n").unwrap();
    let tar = Command::new("tar").arg("-C").arg(&other).args(["-c", "."]).output().unwrap().stdout;
    let words = ["build", "-t", "sent", "-"];
    run_with_input(&mut command(&sandbox, &directory, &words), &tar).ok();
    assert_eq!(sandbox.ok(&["run", "--rm", "sent", "cat", "/file"]), "of another");
}

/// Bytes of the context that the client sent, as it shows them.
fn transferred(run: &Run) -> String {
    let said = format!("{}{}", run.stdout, run.stderr);
    let mut lines = said.lines().filter(|line| line.contains("transferring context:"));
    lines.next_back().unwrap_or_default().to_owned()
}

#[test]
fn dated_builds_are_the_same_on_another_day() {
    let Some(sandbox) = sandbox() else { return };
    let files = [
        ("Dockerfile", "FROM busybox\nCOPY . /app\nRUN echo $SOURCE_DATE_EPOCH > /epoch\n"),
        ("a", "1"),
    ];
    let directory = context(&sandbox, "c", &files);
    let build = |args: &[&str]| {
        let fixed =
            ["buildx", "build", "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1600000000"];
        docker(&sandbox, &directory, &[&fixed, args, &["."]].concat()).ok();
    };
    let id = |name: &str| sandbox.ok(&["image", "inspect", "-f", "{{.Id}} {{.Created}}", name]);
    build(&["-t", "one"]);
    let file = fs::File::options().write(true).open(directory.join("a")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    build(&["-o", "type=image,name=two,rewrite-timestamp=true"]);
    assert_eq!(id("one"), id("two"));
    assert!(id("one").ends_with(" 2020-09-13T12:26:40Z"));
    let look = ["run", "--rm", "one", "sh", "-c", "stat -c %Y /app/a /epoch; cat /epoch"];
    assert_eq!(sandbox.ok(&look), "1600000000\n1600000000\n1600000000");
}

#[test]
fn only_what_has_changed_is_sent() {
    let Some(sandbox) = sandbox() else { return };
    let large = "x".repeat(3 << 20);
    let files = [
        ("Dockerfile", "FROM busybox\nCOPY . /app\n"),
        ("large", large.as_str()),
        ("a", "1"),
        ("d/e/f", "2"),
        ("d/g", "3"),
        ("gone/h", "4"),
    ];
    let directory = context(&sandbox, "c", &files);
    std::os::unix::fs::symlink("a", directory.join("link")).unwrap();
    fs::hard_link(directory.join("a"), directory.join("second")).unwrap();
    // What was written a moment ago might be written again in the same tick of the clock, and is asked for twice.
    let file = fs::File::options().write(true).open(directory.join("large")).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600)).unwrap();
    let build = || {
        let built = docker(&sandbox, &directory, &["build", "-t", "kept", "."]);
        let list = "cd /app; find . | sort; cat a second link d/e/f d/g 2>/dev/null; stat -c %h a";
        (transferred(&built), sandbox.ok(&["run", "--rm", "kept", "sh", "-c", list]))
    };
    let (sent, first) = build();
    assert!(sent.contains("3.1"), "{sent}");
    let (sent, again) = build();
    assert!(!sent.contains("MB") && !sent.contains("kB"), "{sent}");
    assert_eq!(first, again);
    fs::write(directory.join("a"), "new").unwrap();
    fs::remove_dir_all(directory.join("gone")).unwrap();
    fs::remove_dir_all(directory.join("d/e")).unwrap();
    fs::write(directory.join("d/e"), "a file now").unwrap();
    fs::remove_file(directory.join("d/g")).unwrap();
    fs::create_dir(directory.join("d/g")).unwrap();
    fs::write(directory.join("d/g/i"), "deeper").unwrap();
    let (sent, changed) = build();
    assert!(!sent.contains("MB"), "{sent}");
    let expected = "./d/e\n./d/g\n./d/g/i\n";
    assert!(changed.contains(expected) && !changed.contains("gone"), "{changed}");
    assert!(changed.contains("newnewnew"), "{changed}");
    // The same as what another daemon makes of it, which was sent everything.
    docker(&sandbox, &directory, &["buildx", "prune", "-af"]).ok();
    let (sent, whole) = build();
    assert!(sent.contains("3.1"), "{sent}");
    assert_eq!(changed, whole);
    let used = docker(&sandbox, &directory, &["buildx", "du", "--verbose"]).ok();
    assert!(used.contains("source.local"), "{used}");
    // A directory with nothing in it, twice.
    let empty = sandbox.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    for _ in 0..2 {
        let words = ["build", "-t", "nothing", "-f", "-", "."];
        run_with_input(&mut command(&sandbox, &empty, &words), b"FROM busybox\nCOPY . /x\n").ok();
    }
}

#[test]
fn steps_ask_the_client_for_secrets() {
    let Some(sandbox) = sandbox() else { return };
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=key cat /run/secrets/key > /length && wc -c < /length > /n && rm /length\n\
        RUN --mount=type=secret,id=word,env=WORD test \"$WORD\" = please\n\
        RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile), ("key", "12345")]);
    let words =
        ["build", "-t", "s", "--secret", "id=key,src=key", "--secret", "id=word,env=THE_WORD", "."];
    run(command(&sandbox, &directory, &words).env("THE_WORD", "please")).ok();
    assert_eq!(sandbox.ok(&["run", "--rm", "s", "cat", "/n"]), "5");
    std::fs::write(
        directory.join("Dockerfile"),
        "FROM busybox\nRUN --mount=type=secret,id=nope,required=true true\n",
    )
    .unwrap();
    docker(&sandbox, &directory, &["build", "."]).fails(1).says("nope");
}

#[test]
fn bake_and_compose_build_several_at_once() {
    let Some(sandbox) = sandbox() else { return };
    let bake = "group \"default\" { targets = [\"a\", \"b\"] }\n\
        target \"a\" {\n context = \".\"\n tags = [\"bake:a\"]\n}\n\
        target \"b\" {\n inherits = [\"a\"]\n args = { WHO = \"b\" }\n tags = [\"bake:b\"]\n}\n";
    let project = "services:\n  web:\n    build: .\n    image: comp:web\n  two:\n    build:\n      context: .\n      args: {WHO: two}\n";
    let files = [
        ("Dockerfile", "FROM busybox\nARG WHO=a\nRUN echo $WHO > /who\nCMD [\"cat\", \"/who\"]\n"),
        ("docker-bake.hcl", bake),
        ("compose.yaml", project),
    ];
    let directory = context(&sandbox, "c", &files);
    docker(&sandbox, &directory, &["buildx", "bake", "-f", "docker-bake.hcl"]).ok();
    assert_eq!(sandbox.ok(&["run", "--rm", "bake:a"]), "a");
    assert_eq!(sandbox.ok(&["run", "--rm", "bake:b"]), "b");
    if compose().is_none() {
        eprintln!("SKIPPED: docker-compose 2 is not installed");
        return;
    }
    docker(&sandbox, &directory, &["compose", "-p", "proj", "build"]).ok();
    assert_eq!(sandbox.ok(&["run", "--rm", "comp:web"]), "a");
    assert_eq!(sandbox.ok(&["run", "--rm", "proj-two"]), "two");
}

#[test]
fn the_cache_and_the_history_are_listed_and_emptied() {
    let Some(sandbox) = sandbox() else { return };
    let dockerfile = "FROM busybox\nRUN head -c 100000 /dev/urandom > /f\nRUN echo logged\n";
    let directory = context(&sandbox, "named", &[("Dockerfile", dockerfile)]);
    docker(&sandbox, &directory, &["build", "."]).ok();
    docker(&sandbox, &directory, &["build", "--target", "nowhere", "."]).fails(1);
    let used = docker(&sandbox, &directory, &["buildx", "du"]).ok();
    assert!(used.contains("RECLAIMABLE") && used.lines().count() > 4, "{used}");
    // A build is on record when it is over for its client, too.
    let listed = ferry_testkit::eventually("both builds are on record", || {
        let listed = docker(&sandbox, &directory, &["buildx", "history", "ls"]).ok();
        let count = |word: &str| listed.matches(word).count();
        ((count("Completed"), count("Error")) == (1, 1)).then_some(listed)
    });
    // The next daemon lists the same.
    eventually("the records are on disk", || {
        let files = fs::read_dir(sandbox.data().join("build-history")).into_iter().flatten();
        let texts = files.flatten().filter_map(|file| fs::read_to_string(file.path()).ok());
        let told = texts.filter(|text| text.contains("\"about\":[1"));
        (told.count() == 2).then_some(())
    });
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    let again = docker(&sandbox, &directory, &["buildx", "history", "ls"]).ok();
    assert_eq!(
        (again.matches("Completed").count(), again.matches("Error").count()),
        (1, 1),
        "{again}"
    );
    let done = listed.lines().find(|line| line.contains("Completed")).unwrap();
    let id = done.split_whitespace().next().unwrap();
    assert!(again.contains(id), "{again}");
    let logs = docker(&sandbox, &directory, &["buildx", "history", "logs", id]);
    assert!(format!("{}{}", logs.stdout, logs.stderr).contains("logged"), "{}", logs.stderr);
    let shown = docker(&sandbox, &directory, &["buildx", "history", "inspect", id]).ok();
    assert!(shown.contains("Build Steps"), "{shown}");
    docker(&sandbox, &directory, &["buildx", "history", "rm", id]).ok();
    let left = docker(&sandbox, &directory, &["buildx", "history", "ls"]).ok();
    assert!(!left.contains(id), "{left}");
    docker(&sandbox, &directory, &["buildx", "prune", "-af"]).ok();
    let empty = docker(&sandbox, &directory, &["buildx", "du"]).ok();
    assert!(empty.contains("Total:\t\t0B"), "{empty}");
}

#[test]
fn images_are_pushed_by_the_build() {
    let Some(sandbox) = sandbox() else { return };
    let Some(registry) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else {
        return;
    };
    let directory =
        context(&sandbox, "c", &[("Dockerfile", "FROM busybox\nRUN echo pushed > /f\n")]);
    let name = format!("{}/some/image:1", registry.host());
    let metadata = sandbox.dir().join("metadata.json");
    let words =
        ["build", "-t", &name, "--push", "--metadata-file", metadata.to_str().unwrap(), "."];
    docker(&sandbox, &directory, &words).ok();
    let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    let digest = metadata["containerimage.digest"].as_str().unwrap();
    sandbox.ok(&["rmi", &name]);
    let by_digest = format!("{}/some/image@{digest}", registry.host());
    sandbox.ok(&["pull", &by_digest]);
    assert_eq!(sandbox.ok(&["run", "--rm", &by_digest, "cat", "/f"]), "pushed");
}

#[test]
fn several_platforms_and_what_is_said_of_them_are_an_index() {
    let Some(sandbox) = sandbox() else { return };
    let registry = FerryRegistry::start(&sandbox.dir().join("registry"), &[]);
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS make\nARG TARGETPLATFORM\n\
        RUN echo $TARGETPLATFORM > /said\nFROM scratch\nCOPY --from=make /said /\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let name = format!("{}/app:1", registry.host());
    let platforms = ["buildx", "build", "--platform", "linux/amd64,linux/arm64"];
    let said = ["--provenance=mode=max", "--sbom=true", "--push", "-t", &name, "."];
    docker(&sandbox, &directory, &[&platforms[..], &said].concat()).ok();
    let index = manifest(&registry, "app", "1");
    let manifests = index["manifests"].as_array().unwrap();
    let of = |manifest: &Value| manifest["platform"]["architecture"].as_str().unwrap().to_owned();
    let all: Vec<String> = manifests.iter().map(of).collect();
    assert_eq!(all, ["amd64", "arm64", "unknown", "unknown"]);
    let statements = manifest(&registry, "app", manifests[2]["digest"].as_str().unwrap());
    assert_eq!(statements["layers"].as_array().unwrap().len(), 2);
    // One platform, with a statement; and alone, as buildx's own wish for one is nothing that its user wants.
    docker(
        &sandbox,
        &directory,
        &["buildx", "build", "--provenance=true", "--push", "-t", &name, "."],
    )
    .ok();
    assert_eq!(manifest(&registry, "app", "1")["manifests"].as_array().unwrap().len(), 2);
    docker(&sandbox, &directory, &["buildx", "build", "--push", "-t", &name, "."]).ok();
    assert!(manifest(&registry, "app", "1")["layers"].is_array());
    let archive = sandbox.dir().join("app.tar");
    let output = format!("type=oci,dest={}", archive.display());
    docker(&sandbox, &directory, &[&platforms[..], &["-o", &output, "."]].concat()).ok();
    let index = run(Command::new("tar").arg("-xOf").arg(&archive).arg("index.json")).ok();
    assert!(index.contains("application/vnd.oci.image.index.v1+json\",\"digest\""), "{index}");
    // As files: a directory for each, with what is said of it.
    let words = ["--sbom=true", "--provenance=true", "-o", "out", "."];
    docker(&sandbox, &directory, &[&platforms[..], &words].concat()).ok();
    for (name, platform) in [("linux_amd64", "linux/amd64\n"), ("linux_arm64", "linux/arm64\n")] {
        let out = directory.join("out").join(name);
        assert_eq!(std::fs::read_to_string(out.join("said")).unwrap(), platform);
        for document in ["provenance.json", "sbom.spdx.json"] {
            let text = std::fs::read_to_string(out.join(document)).unwrap();
            let statement: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(statement["subject"][0]["name"], "said", "{text}");
        }
    }
    let merged = ["-o", "type=local,dest=merged,platform-split=false", "."];
    docker(&sandbox, &directory, &[&platforms[..], &merged].concat())
        .fails(1)
        .says("when split option is disabled");
    // And with layers as they are asked for.
    let zstd = format!("type=image,name={name},push=true,compression=zstd,force-compression=true");
    docker(&sandbox, &directory, &["buildx", "build", "-o", &zstd, "."]).ok();
    let image = manifest(&registry, "app", "1");
    assert_eq!(image["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
}

#[test]
fn dockerfiles_are_checked_without_being_built() {
    let Some(sandbox) = sandbox() else { return };
    let dockerfile = "from busybox AS one\nARG WORD=1\nFROM one AS two\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let checked = docker(&sandbox, &directory, &["build", "--check", "."]).fails(1);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("WARNING: ") && said.contains("Dockerfile:1"), "{said}");
    let targets = docker(&sandbox, &directory, &["build", "--call=targets", "."]).ok();
    assert!(targets.contains("one") && targets.contains("two (default)"), "{targets}");
    assert!(!sandbox.ok(&["images"]).contains("<none>"));
}

#[test]
fn a_client_that_leaves_takes_its_build_along() {
    let Some(sandbox) = sandbox() else { return };
    let directory = context(&sandbox, "c", &[("Dockerfile", "FROM busybox\nRUN sleep 600\n")]);
    let mut child = command(&sandbox, &directory, &["build", "."])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let sleeping = || {
        let path = sandbox.data().join("build");
        let names = std::fs::read_dir(path).map(|entries| entries.count()).unwrap_or_default();
        names > 0
    };
    ferry_testkit::eventually("the build is at work", || sleeping().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    ferry_testkit::eventually("nothing of the build is left", || (!sleeping()).then_some(()));
    ferry_testkit::eventually("it is over on record, too", || {
        let listed = docker(&sandbox, &directory, &["buildx", "history", "ls"]).ok();
        (!listed.contains("Running")).then_some(())
    });
    // And the daemon builds on.
    std::fs::write(directory.join("Dockerfile"), "FROM busybox\nRUN true\n").unwrap();
    docker(&sandbox, &directory, &["build", "."]).ok();
}

#[test]
fn the_cache_goes_through_a_registry() {
    let Some(sandbox) = sandbox() else { return };
    let Some(registry) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else {
        return;
    };
    let dockerfile =
        "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /f\nCMD [\"cat\", \"/f\"]\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let cache = format!("type=registry,ref={}/cache:1,mode=max", registry.host());
    docker(&sandbox, &directory, &["build", "-t", "first", "--cache-to", &cache, "."]).ok();
    assert!(!sandbox.ok(&["images"]).contains("/cache"), "the cache is no image here");
    let first = sandbox.ok(&["run", "--rm", "first"]);
    sandbox.ok(&["rmi", "first"]);
    docker(&sandbox, &directory, &["buildx", "prune", "-af"]).ok();
    let from = format!("type=registry,ref={}/cache:1", registry.host());
    let words = ["build", "-t", "second", "--cache-from", &from, "."];
    let said = docker(&sandbox, &directory, &words).stderr;
    assert!(said.contains("importing cache from"), "{said}");
    assert_eq!(sandbox.ok(&["run", "--rm", "second"]), first);
}
