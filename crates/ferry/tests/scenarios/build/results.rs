//! What comes of a build, and what is said about it.

use ferry_testkit::{Client, eventually, run};

use super::{context, steps::modern};
use crate::with_busybox;

#[test]
fn results_go_where_they_are_asked_to() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = context(
        &sandbox,
        "c",
        &[(
            "Dockerfile",
            "FROM busybox AS make\nRUN mkdir /o && echo hi > /o/f && chmod 640 /o/f\nFROM scratch\nCOPY --from=make /o /\n",
        )],
    );
    let place = |name: &str| sandbox.dir().join(name).to_str().unwrap().to_owned();
    modern(&sandbox, &directory, &["-o", &place("out")]).ok();
    assert_eq!(std::fs::read_to_string(place("out") + "/f").unwrap(), "hi\n");
    modern(&sandbox, &directory, &["-o", &format!("type=tar,dest={}", place("o.tar"))]).ok();
    let listed = run(std::process::Command::new("tar").args(["-tf", &place("o.tar")])).ok();
    assert_eq!(listed.trim(), "f");
    let archive = format!("type=oci,dest={}", place("o.oci"));
    modern(&sandbox, &directory, &["-t", "named:1", "-o", &archive]).ok();
    let listed = run(std::process::Command::new("tar").args(["-tf", &place("o.oci")])).ok();
    assert!(listed.contains("index.json") && listed.contains("oci-layout"), "{listed}");
    let (ids, metadata) = (place("id"), place("meta.json"));
    let said = modern(
        &sandbox,
        &directory,
        &["-q", "-t", "x", "--iidfile", &ids, "--metadata-file", &metadata],
    )
    .ok();
    let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "x"]);
    assert_eq!(
        (said.trim(), std::fs::read_to_string(ids).unwrap().trim()),
        (id.as_str(), id.as_str())
    );
    assert!(std::fs::read_to_string(metadata).unwrap().contains("docker.io/library/x:latest"));
    modern(&sandbox, &directory, &["-o", "type=nonsense,dest=x"]).fails(1).says("nonsense");
    // Only what was to be an image is one.
    assert_eq!(sandbox.ok(&["images", "-q", "-f", "dangling=true"]), "");
}

#[test]
fn errors_show_the_lines() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = context(
        &sandbox,
        "c",
        &[("Dockerfile", "FROM busybox\n\nRUN echo one; \\\n  echo two >&2; exit 3\nRUN true\n")],
    );
    let mut said = modern(&sandbox, &directory, &[]).fails(1);
    for words in [
        " > [2/3] RUN echo one;",
        "Dockerfile:3\n",
        "   3 | >>> RUN echo one; \\\n   4 | >>>   echo two >&2; exit 3\n   5 |     RUN true\n",
        "did not complete successfully: exit code: 3",
    ] {
        said = said.says(words);
    }
    let directory = context(&sandbox, "c", &[("Dockerfile", "FROM busybox\nFOO bar\n")]);
    modern(&sandbox, &directory, &[]).fails(1).says("   2 | >>> FOO bar");
}

#[test]
fn checks_and_descriptions() {
    let sandbox = with_busybox(Client::Ferry);
    let text = "# v what to build\nARG v=1\nFROM busybox as Base\nMAINTAINER me\nWORKDIR rel\nENV API_KEY=x\nENV a b\nCMD echo $nope\n\
        # final the end\nFROM base AS final\nRUN --mount=type=secret,id=s true\nEXPOSE 80/TCP\nUSER $undefined\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", text)]);
    let said = modern(&sandbox, &directory, &["--check"]).fails(1);
    for rule in [
        "FromAsCasing",
        "StageNameCasing",
        "MaintainerDeprecated",
        "WorkdirRelativePath",
        "SecretsUsedInArgOrEnv",
        "LegacyKeyValueFormat",
        "JSONArgsRecommended",
        "ExposeProtoCasing",
        "UndefinedVar",
    ] {
        assert!(said.stdout.contains(rule), "{rule}: {}", said.stdout);
    }
    let said = modern(&sandbox, &directory, &["--call", "outline"]).ok();
    assert!(said.contains("TARGET:      final") && said.contains("what to build"), "{said}");
    let said = modern(&sandbox, &directory, &["--call", "targets"]).ok();
    assert!(
        said.contains("base") && said.contains("final (default)") && said.contains("the end"),
        "{said}"
    );
    let strict = format!("# check=error=true\n{text}");
    let directory = context(&sandbox, "c", &[("Dockerfile", &strict)]);
    modern(&sandbox, &directory, &[]).fails(1).says("lint violation found");
}

#[test]
fn stages_run_at_the_same_time_and_once() {
    let sandbox = with_busybox(Client::Ferry);
    // Each waits until the other is at work: one behind the other they would never end.
    let meet = |own: &str, other: &str| {
        format!(
            "RUN --mount=type=cache,target=/m touch /m/{own}; n=0; until [ -e /m/{other} ]; do n=$((n + 1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done; \
             cat /proc/sys/kernel/random/uuid > /{own}\n"
        )
    };
    let (a, c) = (meet("a", "c"), meet("c", "a"));
    let text = format!(
        "FROM busybox AS a\n{a}FROM busybox AS b\n{a}FROM busybox AS c\n{c}FROM busybox AS never\nRUN exit 1\n\
         FROM busybox\nCOPY --from=a /a /1\nCOPY --from=b /a /2\nCOPY --from=c /c /3\n"
    );
    let directory = context(&sandbox, "c", &[("Dockerfile", &text)]);
    modern(&sandbox, &directory, &["-t", "x"]).ok();
    sandbox.ok(&["run", "--rm", "x", "cmp", "/1", "/2"]);
    let again = modern(&sandbox, &directory, &["-t", "x", "--no-cache-filter", "c"]).ok();
    drop(again);
    let said = modern(&sandbox, &directory, &["-t", "x"]);
    assert_eq!(said.stderr.matches("CACHED").count(), 6 + 4, "{}", said.stderr);
}

#[test]
fn a_killed_daemon_leaves_nothing_of_a_build() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = context(
        &sandbox,
        "c",
        &[(
            "Dockerfile",
            "FROM busybox\nRUN echo x > /x\nRUN --mount=type=cache,target=/c sleep 60\n",
        )],
    );
    let words = ["build", directory.to_str().unwrap()];
    let mut build = sandbox.command(&words).stderr(std::process::Stdio::null()).spawn().unwrap();
    eventually("the step runs", || (sandbox.ok(&["ps", "-q"]).lines().count() == 1).then_some(()));
    sandbox.kill_daemon();
    build.wait().unwrap();
    sandbox.start_daemon(None);
    eventually("the build's container and files go", || {
        let left = std::fs::read_dir(sandbox.data().join("build")).map_or(0, Iterator::count);
        (left == 0 && sandbox.ok(&["ps", "-aq"]).is_empty()).then_some(())
    });
    let directory =
        context(&sandbox, "c", &[("Dockerfile", "FROM busybox\nRUN echo x > /x\nRUN cat /x\n")]);
    modern(&sandbox, &directory, &["-t", "after"]).ok();
    assert_eq!(sandbox.ok(&["run", "--rm", "after", "cat", "/x"]), "x");
}

#[test]
fn the_cache_goes_elsewhere_and_comes_back() {
    let sandbox = with_busybox(Client::Ferry);
    let text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u\nCMD [\"cat\", \"/u\"]\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", text)]);
    let place = sandbox.dir().join("cache").to_str().unwrap().to_owned();
    for (to, from) in [
        (format!("type=local,dest={place}"), format!("type=local,src={place}")),
        ("type=inline".to_owned(), "made".to_owned()),
    ] {
        modern(&sandbox, &directory, &["--no-cache", "-t", "made", "--cache-to", &to]).ok();
        let made = sandbox.ok(&["run", "--rm", "made"]);
        if from != "made" {
            sandbox.ok(&["rmi", "made"]);
        }
        sandbox.ok(&["builder", "prune", "-f", "--all"]);
        modern(&sandbox, &directory, &["-t", "again", "--cache-from", &from]).ok();
        assert_eq!(sandbox.ok(&["run", "--rm", "again"]), made, "{from}");
        sandbox.ok(&["rmi", "again"]);
    }
    let images = sandbox.ok(&["images", "--format", "{{.Repository}}"]);
    assert!(!images.contains("ferry-build-cache"), "{images}");
    modern(&sandbox, &directory, &["--cache-to", "type=gha"]).fails(1).says("--cache-to type=gha");
}

#[test]
fn large_results_come_whole() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = context(&sandbox, "c", &[("Dockerfile", "FROM scratch\nCOPY large /\n")]);
    std::fs::write(directory.join("large"), vec![7; 40 << 20]).unwrap();
    let place = sandbox.dir().join("out").to_str().unwrap().to_owned();
    modern(&sandbox, &directory, &["-o", &place]).ok();
    let came = std::fs::read(place + "/large").unwrap();
    assert!(came.len() == 40 << 20 && came.iter().all(|byte| *byte == 7));
}

#[test]
fn one_build_goes_to_several_places() {
    let sandbox = with_busybox(Client::Ferry);
    let directory =
        context(&sandbox, "c", &[("Dockerfile", "FROM scratch\nCOPY f /d/f\n"), ("f", "1")]);
    let place = |name: &str| sandbox.dir().join(name).to_str().unwrap().to_owned();
    let [local, tar, archive] = ["out", "out.tar", "image.tar"].map(place);
    let outputs = [
        format!("type=local,dest={local}"),
        format!("type=tar,dest={tar}"),
        format!("type=docker,dest={archive}"),
    ];
    let words =
        ["-o", &outputs[0], "-o", &outputs[1], "--output", &outputs[2], "--load", "-t", "many"];
    modern(&sandbox, &directory, &words).ok();
    assert_eq!(std::fs::read_to_string(format!("{local}/d/f")).unwrap(), "1");
    let listed = run(std::process::Command::new("tar").args(["-tf", &tar])).ok();
    assert!(listed.contains("d/f"), "{listed}");
    sandbox.ok(&["rmi", "many"]);
    assert!(sandbox.ok(&["load", "-i", &archive]).contains("many:latest"));
    let twice = modern(&sandbox, &directory, &["-o", "-", "-o", "type=tar"]);
    assert!(twice.stderr.contains("only one output can go to standard output"), "{twice}");
}

#[test]
fn a_shell_opens_in_what_a_failed_step_has_written() {
    let sandbox = with_busybox(Client::Ferry);
    let dockerfile = "FROM busybox\nENV WHERE=here\nWORKDIR /w\nRUN echo half > made && exit 7\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let words =
        ["build", "--progress", "plain", "--on-error", "shell", directory.to_str().unwrap()];
    let run = sandbox.with_input(&words, b"echo $WHERE; pwd; cat made\n");
    assert_eq!(run.code, 1, "{run}");
    assert!(run.stdout.contains("here\n/w\nhalf"), "{run}");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    assert_eq!(sandbox.ok(&["images", "-aq", "-f", "dangling=true"]), "");
    modern(&sandbox, &directory, &["--on-error", "nothing"]).fails(1).says("there is shell");
}
