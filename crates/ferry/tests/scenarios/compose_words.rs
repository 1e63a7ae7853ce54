//! Words and variables of Compose that other scenarios type for other commands only: each flag is typed for each command that has it
//! (`compose_switches.rs` looks whether that is so), and each `COMPOSE_…` variable is set.

use std::{collections::BTreeSet, fs, process::Command};

use ferry_testkit::{Run, eventually, run};

use crate::compose::{OURS, Pairing, Project, in_all_pairings};

in_all_pairings!(images_are_built_first_if_asked_for, up_watches, variables_of_the_environment);

const FILE: &str = "
services:
  a:
    image: busybox
    command: sh -c 'echo out; exec sleep 1000'
    stop_grace_period: 0s
    environment: {WHO: \"${WHO:-nobody}\"}
    volumes: ['data:/data', '/anonymous']
  built:
    build: {context: ., dockerfile_inline: \"FROM busybox\\nCOPY src /src\\n\"}
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [extra]
volumes: {data: }
";

fn project() -> Project {
    project_of(OURS)
}

fn project_of(pairing: Pairing) -> Project {
    let project = pairing.project(FILE);
    fs::create_dir(project.directory.join("src")).unwrap();
    fs::write(project.directory.join("src/f"), "one").unwrap();
    project
}

/// All containers with what they are doing.
fn containers(project: &Project) -> BTreeSet<String> {
    let listed = project.sandbox.ok(&[
        "ps",
        "-a",
        "--no-trunc",
        "--format",
        "{{.ID}} {{.Names}} {{.State}}",
    ]);
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn a_rehearsal_of_every_command() {
    let project = project();
    project.ok(&["up", "-d", "--scale", "a=2"]);
    project.ok(&["snapshot", "kept"]);
    let before = containers(&project);
    let images = project.sandbox.ok(&["images", "-q"]);
    // What only looks says the same as ever; what would change something says what it would call.
    let rehearsed: &[(&[&str], &str)] = &[
        (&["attach", "--dry-run", "a"], "attach shop-a-1"),
        (&["build", "--dry-run", "built"], "POST /build?t=shop-built"),
        (&["commit", "--dry-run", "a", "x:1"], "commit shop-a-1 x:1"),
        (&["config", "--dry-run"], "name: shop"),
        (&["convert", "--dry-run"], "name: shop"),
        (&["cp", "--dry-run", "a:/etc/hostname", "here"], "cp shop-a-1:/etc/hostname"),
        (&["create", "--dry-run"], "DELETE /containers/shop-a-2"),
        (&["diff", "--dry-run"], "DELETE /containers/shop-a-2"),
        (&["down", "--dry-run"], "DELETE /containers/shop-a-1"),
        (&["events", "--dry-run", "--since", "1h", "--until", "0s"], "container create"),
        (&["exec", "--dry-run", "a", "true"], "exec "),
        (&["export", "--dry-run", "--output", "a.tar", "a"], "export --output=a.tar shop-a-1"),
        (&["generate", "--dry-run", "shop-a-1"], "image: busybox"),
        (&["images", "--dry-run"], "shop-a-1"),
        (&["kill", "--dry-run"], "POST /containers/shop-a-1/kill?signal=SIGKILL"),
        (&["logs", "--dry-run", "a"], ""),
        (&["ls", "--dry-run"], "running(2)"),
        (&["pause", "--dry-run"], "POST /containers/shop-a-1/pause"),
        (&["ps", "--dry-run"], "shop-a-1"),
        (&["pull", "--dry-run", "a"], "POST /images/create?fromImage=busybox"),
        (&["push", "--dry-run"], ""),
        (&["restart", "--dry-run"], "POST /containers/shop-a-1/restart"),
        (&["restore", "--dry-run", "--force", "kept"], "data"),
        (&["rm", "--dry-run", "--stop", "--force"], "DELETE /containers/shop-a-1"),
        (&["run", "--dry-run", "a", "true"], "POST /containers/create?name=shop-a-run-"),
        (&["scale", "--dry-run", "a=3"], "POST /containers/create?name=shop-a-3"),
        (
            &["snapshot", "--dry-run", "other"],
            "POST /volumes/shop_data/snapshots?name=compose-other",
        ),
        (&["snapshot", "--dry-run", "--no-pause", "x"], "/containers/shop-a-1/archive?path=/data"),
        (&["start", "--dry-run"], ""),
        (&["stats", "--dry-run", "--no-stream"], "shop-a-1"),
        (&["stop", "--dry-run"], "POST /containers/shop-a-1/stop"),
        (&["top", "--dry-run"], "sleep 1000"),
        (&["unpause", "--dry-run"], ""),
        (&["up", "--dry-run", "--detach"], "DELETE /containers/shop-a-2"),
        (&["version", "--dry-run"], "2.40.3"),
        (&["volumes", "--dry-run"], "shop_data"),
    ];
    for (words, wanted) in rehearsed {
        let told = project.ok(words);
        assert!(told.contains(wanted), "{words:?}: {told}");
        assert_eq!(containers(&project), before, "{words:?} changed something");
    }
    let port = project.run(&["port", "--dry-run", "--index", "2", "a", "80"]).fails(1);
    port.says("no port 80/tcp for container shop-a-2");
    let watch = project.run(&["watch", "--dry-run", "--quiet"]).fails(1);
    watch.says("none of the selected services is configured for watch");
    let publish = project.run(&["publish", "--dry-run", "127.0.0.1:1/x"]).fails(1);
    publish.says("cannot be published");
    // Keys are for a terminal, which there is none.
    project.ok(&["up", "--menu", "--dry-run"]);
    assert_eq!(project.sandbox.ok(&["images", "-q"]), images);
    for name in ["here", "a.tar", ".compose-snapshots/other"] {
        assert!(!project.directory.join(name).exists(), "{name}");
    }
}

#[test]
fn the_second_of_two_and_other_forms() {
    let project = project();
    project.ok(&["create", "--scale", "a=2", "--yes", "--build", "--remove-orphans"]);
    let states = containers(&project);
    assert!(states.len() == 2 && states.iter().all(|one| one.ends_with("created")), "{states:?}");
    project.ok(&["start"]);
    project.ok(&["exec", "-T", "--index", "2", "a", "sh", "-c", "echo two > /two"]);
    project.ok(&["cp", "--index", "2", "a:/two", "two"]);
    assert_eq!(fs::read_to_string(project.directory.join("two")).unwrap(), "two\n");
    project.ok(&["cp", "--all", "two", "a:/all"]);
    for index in ["1", "2"] {
        assert_eq!(project.ok(&["exec", "-T", "--index", index, "a", "cat", "/all"]), "two");
    }
    project.ok(&["commit", "--index", "2", "a", "second:1"]);
    assert_eq!(project.sandbox.ok(&["run", "--rm", "second:1", "cat", "/two"]), "two");
    project.ok(&["export", "--index", "2", "--output", "a.tar", "a"]);
    let tar = project.directory.join("a.tar");
    let listed = run(Command::new("tar").arg("-tf").arg(tar)).ok();
    assert!(listed.lines().any(|line| line.trim_start_matches("./") == "two"), "{listed}");
    eventually("the second one has said it", || {
        (project.ok(&["logs", "--index", "2", "a"]) == "a-2  | out").then_some(())
    });
    let told =
        project.ok(&["attach", "--index", "2", "--dry-run", "--detach-keys", "ctrl-x,q", "a"]);
    assert!(told.contains("--detach-keys=ctrl-x,q") && told.ends_with("shop-a-2"), "{told}");

    let parsed = |words: &[&str]| -> serde_json::Value {
        serde_json::from_str(project.ok(words).lines().next().unwrap()).unwrap()
    };
    assert_eq!(parsed(&["ls", "--format", "json"])[0]["Name"], "shop");
    assert_eq!(parsed(&["images", "--format", "json"])[0]["Repository"], "busybox");
    assert_eq!(parsed(&["version", "--format", "json"])["version"], "2.40.3");
    assert_eq!(parsed(&["volumes", "--format", "json"])["Name"], "shop_data");
    let generated = project.ok(&["generate", "--format", "json", "shop-a-1"]);
    let generated: serde_json::Value = serde_json::from_str(&generated).unwrap();
    assert_eq!(generated["services"]["a"]["image"], "busybox");
    let stats = project.ok(&["stats", "--no-stream", "--format", "{{.Name}}"]);
    assert_eq!(stats.lines().collect::<BTreeSet<_>>(), ["shop-a-1", "shop-a-2"].into());

    let id = project.id("shop-a-1");
    project.ok(&["create", "--force-recreate", "--scale", "a=1"]);
    assert_ne!(project.id("shop-a-1"), id);
    project.ok(&["scale", "--no-deps", "a=2"]);
    assert_eq!(project.ok(&["ps", "-q"]).lines().count(), 2);
    let started = project.sandbox.inspect("shop-a-2", "{{.State.StartedAt}}");
    project.ok(&["restart", "--no-deps", "a"]);
    assert_ne!(project.sandbox.inspect("shop-a-2", "{{.State.StartedAt}}"), started);
    let volumes = || project.sandbox.ok(&["volume", "ls", "-q"]).lines().count();
    let before = volumes();
    project.ok(&["rm", "--force", "--stop", "--volumes"]);
    assert_eq!(volumes(), before - 2, "what has no name goes with its container");
}

#[test]
fn plans_of_other_kinds() {
    let project = project();
    project.ok(&["up", "-d"]);
    let diff = |more: &[&str]| project.ok(&[&["diff"], more].concat());
    assert_eq!(diff(&[]), "");
    for (words, wanted) in [
        (&["diff", "--scale", "a=2"][..], "POST /containers/create?name=shop-a-2"),
        (&["diff", "--force-recreate"], "# --force-recreate"),
        (&["diff", "--pull", "always", "--quiet-pull"], "POST /images/create?fromImage=busybox"),
        (&["run", "--pull", "always", "--dry-run", "a", "true"], "POST /images/create"),
        (&["diff", "--build", "built"], "POST /build?t=shop-built"),
    ] {
        let told = project.ok(words);
        assert!(told.contains(wanted), "{words:?}: {told}");
    }
    let text = FILE.replace("out;", "other;");
    fs::write(project.directory.join("compose.yaml"), &text).unwrap();
    assert!(!diff(&[]).is_empty());
    assert_eq!(project.ok(&["diff", "--no-recreate", "--no-build", "--yes"]), "");
    // A container of a service that is no more.
    fs::write(project.directory.join("compose.yaml"), text.replace("  a:\n", "  b:\n")).unwrap();
    assert!(!diff(&[]).contains("DELETE"));
    assert!(project.ok(&["diff", "--remove-orphans"]).contains("DELETE /containers/shop-a-1"));
    let killed = project.ok(&["kill", "--remove-orphans", "--dry-run"]);
    assert!(killed.contains("/containers/shop-a-1"), "{killed}");
    project.ok(&["run", "--remove-orphans", "--rm", "-T", "b", "true"]);
    assert_eq!(project.sandbox.ok(&["ps", "-aq"]), "");
}

fn images_are_built_first_if_asked_for(pairing: Pairing) {
    let project = project_of(pairing);
    if !project.can_build() {
        return;
    }
    let source = project.directory.join("src/f");
    let cat = ["run", "--build", "--rm", "-T", "built", "cat", "/src/f"];
    let last = |words: &[&str]| project.ok(words).lines().last().unwrap_or_default().to_owned();
    assert_eq!(last(&cat), "one");
    fs::write(&source, "two").unwrap();
    assert_eq!(last(&["run", "--rm", "-T", "built", "cat", "/src/f"]), "one");
    project.ok(&["up", "--build", "-d", "built"]);
    assert_eq!(project.ok(&["exec", "-T", "built", "cat", "/src/f"]), "two");
    let short = "services: {a: {image: busybox, command: sh -c 'echo said; exit 3'}}\n";
    fs::write(project.directory.join("compose.yaml"), short).unwrap();
    let words = ["up", "--no-log-prefix", "--remove-orphans", "--abort-on-container-exit"];
    let ended = project.run(&words).fails(3);
    assert!(ended.stdout.lines().any(|line| line.trim_end() == "said"), "{ended:?}");
    if !pairing.their_program {
        project.run(&["wait", "--dry-run", "a"]).fails(3);
    }
}

fn up_watches(pairing: Pairing) {
    let project = pairing.project(
        "services:\n  web:\n    image: busybox\n    command: sleep 1000\n    stop_grace_period: 0s\n    \
         develop: {watch: [{path: ./src, action: sync, target: /app, initial_sync: true}]}\n",
    );
    fs::create_dir(project.directory.join("src")).unwrap();
    fs::write(project.directory.join("src/f"), "one").unwrap();
    let mut child = project.begin_watching(&["up", "--watch"]);
    let shown = || project.run(&["exec", "-T", "web", "cat", "/app/f"]).stdout;
    eventually("the first copy", || (shown() == "one").then_some(()));
    fs::write(project.directory.join("src/f"), "two").unwrap();
    eventually("a change is copied", || (shown() == "two").then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let both = project.run(&["up", "--watch", "--detach"]);
    assert!(both.stderr.contains("--detach cannot be combined with"), "{both:?}");
}

/// What `config` says is in what `convert` says, too: it is the same command.
#[test]
fn parts_of_a_file() {
    let project = project();
    let same: &[(&[&str], &[&str], &str)] = &[
        (&["config", "--networks"], &["convert", "--networks"], "default"),
        (&["config", "--volumes"], &["convert", "--volumes"], "data"),
        (&["config", "--profiles"], &["convert", "--profiles"], "extra"),
        (&["config", "--services"], &["convert", "--services"], "a"),
        (&["config", "--images"], &["convert", "--images"], "busybox"),
        (&["config", "--variables"], &["convert", "--variables"], "nobody"),
        (&["config", "--environment"], &["convert", "--environment"], "COMPOSE_PROJECT_NAME=shop"),
        (&["config", "--no-interpolate"], &["convert", "--no-interpolate"], "${WHO:-nobody}"),
        (&["config", "--hash", "*"], &["convert", "--hash", "*"], "a "),
        (&["config", "--models"], &["convert", "--models"], ""),
        (&["config", "--no-consistency"], &["convert", "--no-consistency"], "name: shop"),
        (&["config", "--no-env-resolution"], &["convert", "--no-env-resolution"], "name: shop"),
        (&["config", "--no-normalize"], &["convert", "--no-normalize"], "name: shop"),
        (&["config", "--no-path-resolution"], &["convert", "--no-path-resolution"], "name: shop"),
        (&["config", "--quiet"], &["convert", "--quiet"], ""),
    ];
    for (one, other, wanted) in same {
        let said = project.ok(one);
        assert!(said.contains(wanted), "{one:?}: {said}");
        assert_eq!(project.ok(other), said, "{other:?}");
    }
    project.ok(&["convert", "--output", "out.yaml"]);
    let written = fs::read_to_string(project.directory.join("out.yaml")).unwrap();
    assert_eq!(written.trim_end(), project.ok(&["config"]));
    let storage = project.ok(&["convert", "--format", "kubernetes", "--storage", "7Gi"]);
    assert!(storage.contains("storage: 7Gi"), "{storage}");
    let wrong = project.run(&["convert", "--ingress", "x.example"]).fails(1);
    wrong.says("--ingress wants --format kubernetes");
}

fn variables_of_the_environment(pairing: Pairing) {
    let project = project_of(pairing);
    let with = |variables: &[(&str, &str)], words: &[&str]| -> Run {
        run(project.command(words).envs(variables.iter().copied()))
    };
    let write = |name: &str, text: &str| fs::write(project.directory.join(name), text).unwrap();
    let who = |variables: &[(&str, &str)]| {
        let shown = with(variables, &["config", "--format", "json"]).ok();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown["services"]["a"]["environment"]["WHO"].as_str().unwrap().to_owned()
    };
    write(".env", "WHO=dotenv\n");
    write("one.env", "WHO=one\n");
    write("two.env", "WHO=two\n");
    assert_eq!(who(&[]), "dotenv");
    assert_eq!(who(&[("WHO", "shell")]), "shell");
    assert_eq!(who(&[("COMPOSE_DISABLE_ENV_FILE", "1")]), "nobody");
    assert_eq!(who(&[("COMPOSE_ENV_FILES", "one.env,two.env")]), "two");
    let missing = with(&[("COMPOSE_ENV_FILES", "none.env")], &["config"]);
    assert!(missing.code != 0 && missing.stderr.contains("couldn't find env file"), "{missing:?}");

    let services = |variables: &[(&str, &str)]| {
        // Theirs come in any order.
        let shown = with(variables, &["config", "--services"]).ok();
        let mut names: Vec<&str> = shown.lines().collect();
        names.sort_unstable();
        names.join("\n")
    };
    write("more.yaml", "services: {more: {image: busybox}}\n");
    let files = ("COMPOSE_FILE", "compose.yaml:more.yaml");
    assert_eq!(services(&[files]), "a\nmore");
    let files = [("COMPOSE_FILE", "compose.yaml,more.yaml"), ("COMPOSE_PATH_SEPARATOR", ",")];
    assert_eq!(services(&files), "a\nmore");
    assert_eq!(services(&[("COMPOSE_PROFILES", "none,extra")]), "a\nbuilt");
    let named = with(&[("COMPOSE_PROJECT_NAME", "other")], &["config"]).ok();
    assert!(named.starts_with("name: other"), "{named}");
    let wrong = with(&[("COMPOSE_PARALLEL_LIMIT", "many")], &["up", "-d"]);
    let words = "COMPOSE_PARALLEL_LIMIT must be an integer (found: \"many\")";
    assert!(wrong.code != 0 && wrong.stderr.contains(words), "{wrong:?}");
    let wrong = with(&[("COMPOSE_ANSI", "maybe")], &["ps"]);
    let told = wrong.stderr.contains("unsupported --ansi value \"maybe\"");
    assert!(told || pairing.their_program, "{wrong:?}");

    let up = with(&[("COMPOSE_PROGRESS", "json"), ("COMPOSE_PARALLEL_LIMIT", "1")], &["up", "-d"]);
    assert!(up.stderr.contains("shop-a-1"), "{up:?}");
    assert!(up.stderr.lines().all(|line| line.starts_with('{')), "{up:?}");
    let up = with(&[("COMPOSE_STATUS_STDOUT", "1")], &["up", "-d"]);
    assert!(up.stdout.contains("Container shop-a-1  Running"), "{up:?}");
    assert!(!up.stderr.contains("Running"), "{up:?}");
    with(&[("COMPOSE_COMPATIBILITY", "1")], &["--dry-run", "up", "-d"]).ok();
    // An orphan is told, not told, or removed.
    write(
        "compose.yaml",
        "services: {b: {image: busybox, command: sleep 1000, stop_grace_period: 0s}}\n",
    );
    let told = |variables: &[(&str, &str)]| {
        with(variables, &["up", "--no-start"]).stderr.contains("Found orphan containers")
    };
    assert!(told(&[]));
    assert!(!told(&[("COMPOSE_IGNORE_ORPHANS", "true")]));
    with(&[("COMPOSE_REMOVE_ORPHANS", "1")], &["up", "-d"]).ok();
    assert_eq!(project.containers("shop"), "shop-b-1");
}
