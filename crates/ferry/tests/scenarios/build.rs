//! `build`: the Dockerfiles that tutorials teach, through our command line and docker's own with the classic builder.

mod again;
pub(crate) mod attested;
mod budget;
mod contexts;
mod corpus;
mod crash;
mod edits;
pub(crate) mod files;
mod platforms;
mod results;
mod steps;

use std::path::PathBuf;

use ferry_testkit::{Client, Run, Sandbox, run, run_with_input};

use crate::with_busybox;

through_both!(
    stages_and_a_config,
    the_cache_knows_what_changed,
    what_is_ignored_is_not_sent,
    a_step_that_fails,
    documents_users_and_directories,
    archives_wildcards_and_owners,
    contexts_on_standard_input,
    arguments_and_targets,
    triggers_of_a_base_image,
    what_cannot_be_done_is_named
);

/// A directory with files.
pub(crate) fn context(sandbox: &Sandbox, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = sandbox.dir().join(name);
    for (path, text) in files {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    directory
}

#[track_caller]
fn build(sandbox: &Sandbox, directory: &std::path::Path, args: &[&str]) -> Run {
    let words = [&["build"], args, &[directory.to_str().unwrap()]].concat();
    run(sandbox.command(&words).env("DOCKER_BUILDKIT", "0"))
}

fn stages_and_a_config(client: Client) {
    let sandbox = with_busybox(client);
    let dockerfile = "FROM busybox AS build\nWORKDIR /src\nCOPY main.txt .\nRUN cat main.txt > out && echo built >> out\n\
        FROM busybox AS unused\nRUN false\n\
        FROM busybox\nARG WHO=world\nENV GREETING=\"hello $WHO\" B=2\nLABEL org.app=\"x y\"\nEXPOSE 80 53/udp\nVOLUME /data\n\
        USER 1000:1000\nSTOPSIGNAL SIGINT\nHEALTHCHECK --interval=5s CMD true\n\
        COPY --from=build /src/out /app/out\nENTRYPOINT [\"cat\"]\nCMD [\"/app/out\"]\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile), ("main.txt", "main\n")]);
    let said =
        build(&sandbox, &directory, &["-t", "app", "-t", "second/app:1", "--build-arg", "WHO=you"])
            .ok();
    assert!(
        said.contains("Successfully tagged app:latest") && said.contains("second/app:1"),
        "{said}"
    );
    assert_eq!(sandbox.ok(&["run", "--rm", "app"]), "main\nbuilt");
    assert_eq!(
        sandbox.ok(&["image", "inspect", "-f", "{{json .Config.Env}} {{.Config.User}} {{.Config.StopSignal}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}} {{json .Config.Labels}} {{json .Config.Entrypoint}} {{json .Config.Cmd}}", "app"]),
        "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"GREETING=hello you\",\"B=2\"] 1000:1000 SIGINT {\"53/udp\":{},\"80/tcp\":{}} {\"/data\":{}} {\"org.app\":\"x y\"} [\"cat\"] [\"/app/out\"]"
    );
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "", "containers of steps are gone");
    let images = sandbox.ok(&["images", "-aq"]);
    assert!(images.lines().collect::<std::collections::BTreeSet<_>>().len() <= 3, "{images}");
}

fn the_cache_knows_what_changed(client: Client) {
    let sandbox = with_busybox(client);
    let dockerfile = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /one\nCOPY f /f\nRUN cat /proc/sys/kernel/random/uuid > /two\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile), ("f", "1")]);
    build(&sandbox, &directory, &["-t", "a"]).ok();
    let id = |name: &str| sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", name]);
    let first = id("a");
    // Another time on the file is no change.
    run(std::process::Command::new("touch").args(["-d", "2001-01-01"]).arg(directory.join("f")))
        .ok();
    let again = build(&sandbox, &directory, &["-t", "a"]).ok();
    assert_eq!(again.matches("Using cache").count(), 3, "{again}");
    assert_eq!(id("a"), first);
    let times = sandbox.ok(&["run", "--rm", "a", "cat", "/one", "/two"]);
    std::fs::write(directory.join("f"), "2").unwrap();
    let edited = build(&sandbox, &directory, &["-t", "b"]).ok();
    assert_eq!(edited.matches("Using cache").count(), 1, "{edited}");
    let after = sandbox.ok(&["run", "--rm", "b", "cat", "/one", "/two"]);
    let (one, two) = (times.lines().collect::<Vec<_>>(), after.lines().collect::<Vec<_>>());
    assert!(one[0] == two[0] && one[1] != two[1], "{times} {after}");
    let none = build(&sandbox, &directory, &["--no-cache", "-t", "c"]).ok();
    assert!(!none.contains("Using cache"), "{none}");
    // The cache outlives the daemon.
    sandbox.stop_daemon();
    sandbox.start_daemon(None);
    let later = build(&sandbox, &directory, &["-q"]).ok();
    assert_eq!(later.trim(), id("c"), "what was built last is what is known");
}

fn what_is_ignored_is_not_sent(client: Client) {
    let sandbox = with_busybox(client);
    let directory = context(
        &sandbox,
        "c",
        &[
            ("Dockerfile", "FROM busybox\nCOPY . /all\nRUN cd /all && find . -type f | sort\n"),
            (".dockerignore", "# no\n*.log\nnode_modules\n!keep.log\nDockerfile\n.dockerignore\n"),
            ("a.txt", "a"),
            ("b.log", "b"),
            ("keep.log", "k"),
            ("node_modules/x/y.js", "y"),
            ("src/c.log", "c"),
        ],
    );
    let said = build(&sandbox, &directory, &[]).ok();
    for (path, sent) in [
        ("./a.txt", true),
        ("./keep.log", true),
        ("./src/c.log", true),
        ("./b.log", false),
        ("y.js", false),
        ("./Dockerfile", false),
    ] {
        assert_eq!(said.contains(&format!("{path}\n")), sent, "{path}: {said}");
    }
}

fn a_step_that_fails(client: Client) {
    let sandbox = with_busybox(client);
    let directory = context(
        &sandbox,
        "c",
        &[("Dockerfile", "FROM busybox\nRUN echo before\nRUN echo out; exit 7\nRUN echo never\n")],
    );
    let failed = build(&sandbox, &directory, &["-t", "bad"])
        .fails(7)
        .says("The command '/bin/sh -c echo out; exit 7' returned a non-zero code: 7");
    drop(failed);
    sandbox.run(&["image", "inspect", "bad"]).fails(1);
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    for (text, words) in [
        (
            "FROM busybox\nCOPY nope /x\n",
            "file not found in build context or excluded by .dockerignore: stat nope: file does not exist",
        ),
        ("FROM busybox\nFOO bar\n", "unknown instruction: FOO"),
        ("RUN x\n", "no build stage in current context"),
        ("", "file with no instructions"),
    ] {
        let directory = context(&sandbox, "c", &[("Dockerfile", text)]);
        build(&sandbox, &directory, &[]).fails(1).says(words);
    }
    let directory = context(&sandbox, "c", &[("Dockerfile", "FROM busybox")]);
    build(&sandbox, &directory, &["--target", "nope"]).fails(1).says("nope");
    build(&sandbox, &directory, &["-f", "/nonexistent/D"]).fails(1);
}

fn documents_users_and_directories(client: Client) {
    let sandbox = with_busybox(client);
    let dockerfile = "FROM busybox\nRUN <<EOF\necho 'app:x:1234:1234::/:/bin/sh' >> /etc/passwd\necho 'app:x:1234:' >> /etc/group\nEOF\n\
        COPY --chown=app --chmod=750 <<run.sh /bin/\n#!/bin/sh\necho \"$0 $(id -u)\"\nrun.sh\n\
        WORKDIR /work/deep\nUSER app\nRUN pwd; id -u\nRUN <<EOF\n#!/bin/sh\necho from $0\nEOF\nCMD run.sh\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let said = build(&sandbox, &directory, &["-t", "app"]).ok();
    assert!(said.contains("/work/deep\n1234\n") && said.contains("from /dev/pipes/EOF"), "{said}");
    let stat =
        sandbox.ok(&["run", "--rm", "app", "stat", "-c", "%a %u %g", "/bin/run.sh", "/work/deep"]);
    assert_eq!(stat, "750 1234 1234\n755 0 0");
}

fn archives_wildcards_and_owners(client: Client) {
    let sandbox = with_busybox(client);
    let directory = context(
        &sandbox,
        "c",
        &[("a1.txt", "1"), ("a2.txt", "2"), ("b.md", "b"), ("d/e/f", "f"), ("t/in", "in")],
    );
    for (name, how) in [("x.tgz", "-czf"), ("x.txz", "-cJf"), ("x.tbz", "-cjf")] {
        let mut tar = std::process::Command::new("tar");
        tar.arg("-C").arg(directory.join("t")).arg(how).arg(directory.join(name)).arg("in");
        run(&mut tar).ok();
    }
    let dockerfile = "FROM busybox\nCOPY a*.txt b.md /w/\nCOPY d /w/d\nCOPY --chown=5:6 d /owned\nADD x.tgz /added\nADD x.txz /added/xz/\nADD x.tbz /added/bz\nCOPY x.tgz /packed\nCOPY b.md /renamed\n\
        RUN rm /w/b.md && find /w /owned /added /packed /renamed | sort && stat -c '%u %g' /owned/e/f\n";
    std::fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    let said = build(&sandbox, &directory, &["-t", "app"]).ok();
    let listed = "/added\n/added/bz\n/added/bz/in\n/added/in\n/added/xz\n/added/xz/in\n/owned\n/owned/e\n/owned/e/f\n/packed\n/renamed\n/w\n/w/a1.txt\n/w/a2.txt\n/w/d\n/w/d/e\n/w/d/e/f\n5 6\n";
    assert!(said.contains(listed), "{said}");
    assert_eq!(sandbox.ok(&["run", "--rm", "app", "ls", "/w"]), "a1.txt\na2.txt\nd");
}

fn contexts_on_standard_input(client: Client) {
    let sandbox = with_busybox(client);
    let mut command = sandbox.command(&["build", "-q", "-"]);
    let id =
        run_with_input(command.env("DOCKER_BUILDKIT", "0"), b"FROM busybox\nCMD echo piped\n").ok();
    assert_eq!(sandbox.ok(&["run", "--rm", id.trim()]), "piped");
    let directory =
        context(&sandbox, "c", &[("f", "file"), ("D2", "FROM busybox\nCOPY f /\nCMD cat /f\n")]);
    let tar = run(std::process::Command::new("tar")
        .arg("-C")
        .arg(&directory)
        .args(["-cf"])
        .arg(sandbox.dir().join("c.tar"))
        .arg("."));
    tar.ok();
    let bytes = std::fs::read(sandbox.dir().join("c.tar")).unwrap();
    let mut command = sandbox.command(&["build", "-q", "-f", "D2", "-"]);
    let id = run_with_input(command.env("DOCKER_BUILDKIT", "0"), &bytes).ok();
    assert_eq!(sandbox.ok(&["run", "--rm", id.trim()]), "file");
    let xz = run(std::process::Command::new("xz").arg("-k").arg(sandbox.dir().join("c.tar")));
    xz.ok();
    let bytes = std::fs::read(sandbox.dir().join("c.tar.xz")).unwrap();
    let mut command = sandbox.command(&["build", "-q", "-f", "D2", "-"]);
    let id = run_with_input(command.env("DOCKER_BUILDKIT", "0"), &bytes).ok();
    assert_eq!(sandbox.ok(&["run", "--rm", id.trim()]), "file");
    let mut command = sandbox.command(&["build", "-q", "-f", "-", directory.to_str().unwrap()]);
    let id = run_with_input(
        command.env("DOCKER_BUILDKIT", "0"),
        b"FROM busybox\nCOPY f /g\nCMD cat /g\n",
    )
    .ok();
    assert_eq!(sandbox.ok(&["run", "--rm", id.trim()]), "file");
}

fn arguments_and_targets(client: Client) {
    let sandbox = with_busybox(client);
    let dockerfile = "ARG BASE=busybox\nFROM ${BASE} AS first\nARG A=1\nRUN echo \"A is $A\"\nFROM first AS second\nRUN echo \"then ${A:-unset}\"\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let file = sandbox.dir().join("id");
    let said = build(
        &sandbox,
        &directory,
        &["--build-arg", "A=2", "--label", "l=v", "--iidfile", file.to_str().unwrap(), "-t", "x"],
    )
    .ok();
    // As with BuildKit a stage has the arguments of the one that it stands on.
    assert!(said.contains("A is 2\n") && said.contains("then 2\n"), "{said}");
    let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "x"]);
    assert_eq!(std::fs::read_to_string(file).unwrap().trim(), id);
    assert_eq!(sandbox.ok(&["image", "inspect", "-f", "{{.Config.Labels.l}}", "x"]), "v");
    let said = build(&sandbox, &directory, &["--target", "first", "--build-arg", "A=3"]).ok();
    assert!(said.contains("A is 3\n") && !said.contains("then"), "{said}");
    build(&sandbox, &directory, &["--network", "none"]).ok();
}

fn triggers_of_a_base_image(client: Client) {
    let sandbox = with_busybox(client);
    let base = context(
        &sandbox,
        "base",
        &[("Dockerfile", "FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cat /f\n")],
    );
    build(&sandbox, &base, &["-t", "base"]).ok();
    let child = context(&sandbox, "child", &[("Dockerfile", "FROM base\n"), ("f", "triggered\n")]);
    let said = build(&sandbox, &child, &["-t", "child"]).ok();
    assert!(said.contains("Executing 2 build triggers") && said.contains("triggered\n"), "{said}");
    assert_eq!(
        sandbox.ok(&["image", "inspect", "-f", "{{json .Config.OnBuild}}", "child"]),
        "null"
    );
}

fn what_cannot_be_done_is_named(client: Client) {
    let sandbox = with_busybox(client);
    for (text, words) in [
        (
            "# syntax=example.com/other:1\nFROM busybox\n",
            "the frontend example.com/other:1 is not supported",
        ),
        ("FROM busybox\nRUN --mount=type=what,target=/c true\n", "unsupported mount type"),
        ("FROM busybox\nCOPY --nope x /x\n", "unknown flag: --nope"),
    ] {
        let directory = context(&sandbox, "c", &[("Dockerfile", text)]);
        build(&sandbox, &directory, &[]).fails(1).says(words);
    }
}
