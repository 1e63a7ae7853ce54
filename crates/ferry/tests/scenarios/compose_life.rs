//! What Compose does to projects that live: files that change, updates that fail, programs that are killed; in every pairing of the
//! two programs with the two daemons, where both have it.

use std::{fs, os::unix::fs::symlink, process::Command, time::Duration};

use ferry_testkit::{Run, Sandbox, binary, eventually, run};

use crate::compose::{Pairing, Project, in_all_pairings, on_both_daemons, real};

in_all_pairings!(watch_copies_what_changes, ctrl_c_once_stops_and_twice_kills);
on_both_daemons!(
    a_rehearsal_tells_each_call_and_changes_nothing,
    an_update_that_fails_leaves_what_ran,
    killed_in_the_middle_and_up_again,
    what_comes_before_a_service,
    volumes_are_saved_and_brought_back_together,
);

const PARTS: &str = "
include: [parts/cache.yaml]
services:
  web:
    build:
      context: .
      dockerfile_inline: |
        FROM busybox
        RUN echo built > /built
    command: sleep 1000
    stop_grace_period: 0s
    depends_on: {cache: {condition: service_healthy}}
    configs: [{source: inline, target: rel.conf}, {source: file, target: /etc/file.conf}]
    secrets: [token]
    env_file: web.env
    post_start: [{command: touch /started}]
configs:
  inline: {content: \"who=${WHO:-nobody}\"}
  file: {file: ./file.conf}
secrets:
  token: {environment: TOKEN}
";

/// Files of the project above, in a directory of its own.
fn parts(directory: &std::path::Path) {
    fs::create_dir_all(directory.join("parts")).unwrap();
    fs::write(directory.join("compose.yaml"), PARTS).unwrap();
    fs::write(directory.join(".env"), "TOKEN=s3cret\n").unwrap();
    fs::write(directory.join("web.env"), "FROM_FILE=yes\n").unwrap();
    fs::write(directory.join("file.conf"), "one\n").unwrap();
    let cache = "services:\n  cache:\n    image: busybox\n    command: sleep 1000\n    stop_grace_period: 0s\n    \
                 healthcheck: {test: 'true', interval: 100ms}\n    volumes: ['data:/data']\nvolumes: {data: }\n";
    fs::write(directory.join("parts/cache.yaml"), cache).unwrap();
}

/// The programs against a daemon: each goes through the whole life of the project, and hands over to the other in the middle.
fn whole_life(sandbox: &Sandbox, name: &str) {
    // Docker's daemon may be in a root of its own, with the temporary directory in it.
    let directory = std::env::temp_dir().join(format!("ferry-{name}-{}", std::process::id()));
    parts(&directory);
    let ours =
        |args: &[&str]| typed(sandbox, &directory, &binary(), &["compose", "-p", name], args);
    let compose = real();
    let theirs = |args: &[&str]| match &compose {
        // Its builder wants buildx, which is not here: ours has built the image.
        Some(compose) => typed(sandbox, &directory, compose, &["-p", name], args),
        None => ours(args),
    };
    let show = "cat /built /rel.conf /etc/file.conf /run/secrets/token; echo; echo $FROM_FILE; ls /started";
    ours(&["build", "-q"]).ok();
    for program in [&ours as &dyn Fn(&[&str]) -> Run, &theirs] {
        program(&["up", "-d"]).ok();
        let shown = program(&["exec", "-T", "web", "sh", "-c", show]).ok();
        assert_eq!(shown, "built\nwho=nobodyone\ns3cret\nyes\n/started");
        assert_eq!(program(&["ps", "--services"]).ok(), "cache\nweb");
        program(&["down", "-v"]).ok();
        assert_eq!(program(&["ps", "-aq"]).ok(), "");
    }
    ours(&["up", "-d"]).ok();
    let id = ours(&["ps", "-q", "web"]).ok();
    theirs(&["up", "-d"]).ok();
    assert_eq!(ours(&["ps", "-q", "web"]).ok(), id, "the other program has nothing to do");
    ours(&["up", "-d"]).ok();
    assert_eq!(ours(&["ps", "-q", "web"]).ok(), id);
    theirs(&["down", "-v"]).ok();
    ours(&["down", "-v", "--rmi", "local"]).ok();
    fs::remove_dir_all(directory).unwrap();
}

fn typed(
    sandbox: &Sandbox,
    directory: &std::path::Path,
    program: &std::path::Path,
    first: &[&str],
    args: &[&str],
) -> Run {
    let mut command = Command::new(program);
    command.args(first).args(args).current_dir(directory);
    command.env("DOCKER_HOST", sandbox.host()).env("DOCKER_CONFIG", sandbox.dir().join("config"));
    run(&mut command)
}

#[test]
fn a_project_lives_with_both_programs_on_our_daemon() {
    let sandbox = Sandbox::start();
    sandbox.busybox();
    whole_life(&sandbox, "lively");
}

#[test]
fn a_project_lives_with_both_programs_on_dockers_daemon() {
    let Some(sandbox) = Sandbox::on_docker() else { return };
    sandbox.busybox();
    whole_life(&sandbox, &format!("lively{}", std::process::id()));
}

const WATCHED: &str = "
services:
  web:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    configs: [{source: page, target: /page}]
    develop:
      watch: [{path: ./src, action: sync, target: /app, initial_sync: true, ignore: ['*.log']}]
  other:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    networks: [side]
configs: {page: {file: ./page}}
networks: {side: }
";

fn a_rehearsal_tells_each_call_and_changes_nothing(pairing: Pairing) {
    let project = pairing.project(WATCHED);
    fs::write(project.directory.join("page"), "one").unwrap();
    let rehearsed = project.ok(&["up", "-d", "--dry-run"]);
    for line in [
        "POST /networks/create shop_side  # there is no network shop_side",
        "POST /containers/create?name=shop-web-1  # service web has no container 1",
        "POST /containers/shop-web-1/start  # it is to run",
    ] {
        assert!(rehearsed.contains(line), "{line} is missing:\n{rehearsed}");
    }
    assert_eq!(project.containers("shop"), "");
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["diff"]), "", "nothing to do");

    // Contents count, and only for the service that has them.
    let other = project.id("shop-other-1");
    let web = project.id("shop-web-1");
    fs::write(project.directory.join("page"), "two").unwrap();
    let diff = project.ok(&["diff"]);
    assert!(diff.contains("# the contents of config page have changed"), "{diff}");
    assert!(!diff.contains("other"), "{diff}");
    project.ok(&["up", "-d"]);
    assert_ne!(project.id("shop-web-1"), web);
    assert_eq!(project.id("shop-other-1"), other);
    assert_eq!(project.ok(&["exec", "-T", "web", "cat", "/page"]), "two");

    // A network that is defined in another way is made anew, with who is on it.
    let text = WATCHED.replace("side: }", "side: {labels: {a: b}}}");
    fs::write(project.directory.join("compose.yaml"), text).unwrap();
    let web = project.id("shop-web-1");
    project.ok(&["up", "-d"]);
    assert_eq!(
        project.sandbox.ok(&["network", "inspect", "-f", "{{.Labels.a}}", "shop_side"]),
        "b"
    );
    assert_ne!(project.id("shop-other-1"), other);
    assert_eq!(project.id("shop-web-1"), web);
    let down = project.ok(&["down", "--dry-run"]);
    assert!(
        down.contains("DELETE /containers/shop-web-1?force=1  # the project goes down"),
        "{down}"
    );
    assert_eq!(project.ok(&["ps", "-q"]).lines().count(), 2);
}

fn watch_copies_what_changes(pairing: Pairing) {
    let project = pairing.project(WATCHED);
    fs::write(project.directory.join("page"), "one").unwrap();
    fs::create_dir_all(project.directory.join("src/deep")).unwrap();
    fs::write(project.directory.join("src/deep/a.txt"), "first").unwrap();
    let mut child = project.begin_watching(&["watch"]);
    let cat = |path: &str| project.run(&["exec", "-T", "web", "cat", path]).stdout;
    eventually("the first copy", || (cat("/app/deep/a.txt") == "first").then_some(()));
    fs::write(project.directory.join("src/deep/a.txt"), "second").unwrap();
    fs::write(project.directory.join("src/x.log"), "no").unwrap();
    fs::create_dir(project.directory.join("src/new")).unwrap();
    fs::write(project.directory.join("src/new/b.txt"), "third").unwrap();
    eventually("a change is copied", || (cat("/app/deep/a.txt") == "second").then_some(()));
    eventually("a new directory, too", || (cat("/app/new/b.txt") == "third").then_some(()));
    fs::remove_file(project.directory.join("src/deep/a.txt")).unwrap();
    let gone = || project.run(&["exec", "-T", "web", "ls", "/app/deep"]).stdout.is_empty();
    eventually("what is gone is gone there, too", || gone().then_some(()));
    assert_eq!(project.run(&["exec", "-T", "web", "ls", "/app"]).stdout.trim(), "deep\nnew");
    child.kill().unwrap();
    child.wait().unwrap();
}

const ROLLED: &str = "
services:
  web:
    image: busybox
    command: sh -c 'echo $$VERSION > /version; exec sleep 1000'
    environment: {VERSION: \"${VERSION:-1}\"}
    healthcheck: {test: \"test \\\"$$VERSION\\\" != bad\", interval: 100ms, retries: 2}
    stop_grace_period: 0s
    deploy:
      replicas: 2
      update_config: {order: start-first, failure_action: rollback, parallelism: 1}
";

fn an_update_that_fails_leaves_what_ran(pairing: Pairing) {
    let project = pairing.project(ROLLED);
    project.ok(&["up", "-d", "--wait"]);
    let ids = || project.ok(&["ps", "-q"]);
    let first = ids();
    fs::write(project.directory.join(".env"), "VERSION=2\n").unwrap();
    project.ok(&["up", "-d"]);
    let second = ids();
    assert_eq!(second.lines().count(), 2);
    assert!(!second.lines().any(|id| first.contains(id)), "both were replaced");
    // Its health does not say that it has come to write this.
    let version = eventually("it says its version", || {
        let cat = project.run(&["exec", "-T", "--index", "2", "web", "cat", "/version"]);
        Some(cat.stdout.trim().to_owned()).filter(|text| !text.is_empty())
    });
    assert_eq!(version, "2");
    fs::write(project.directory.join(".env"), "VERSION=bad\n").unwrap();
    let failed = project.run(&["up", "-d"]);
    assert_ne!(failed.code, 0);
    assert!(failed.stderr.contains("rolled back"), "{}", failed.stderr);
    assert_eq!(ids(), second, "the ones that were well still run");
    let names = project.containers("shop");
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["shop-web-1", "shop-web-2"], "and nothing else is left");
}

fn killed_in_the_middle_and_up_again(pairing: Pairing) {
    let services: String = (0..8)
        .map(|n| format!("  s{n}:\n    image: busybox\n    command: sleep 1000\n    stop_grace_period: 0s\n    volumes: ['data:/d']\n"))
        .collect();
    let project = pairing.project(&format!("services:\n{services}volumes: {{data: }}\n"));
    // One alone first: what all containers have in common is made with it.
    project.ok(&["up", "-d", "s0"]);
    for pause in [5, 40, 80, 140, 250] {
        let mut child = project.begin(&["up", "-d", "--force-recreate"]);
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        let names = |more: &[&str]| {
            let own = "label=com.docker.compose.project=shop";
            let format = ["ps", "--filter", own, "--format", "{{.Names}} {{.State}}"];
            let names = project.sandbox.ok(&[&format, more].concat());
            let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
            names.sort_unstable();
            names
        };
        let want: Vec<String> = (0..8).map(|n| format!("shop-s{n}-1 running")).collect();
        // The daemon may still be at what the one that was killed had asked for. What comes of it after an `up` has looked does not
        // run, and goes with the next.
        eventually(&format!("all run after {pause} ms"), || {
            (project.run(&["up", "-d"]).code == 0 && names(&[]) == want).then_some(())
        });
        eventually(&format!("nothing else is there after {pause} ms"), || {
            (project.run(&["up", "-d"]).code == 0 && names(&["-a"]) == want).then_some(())
        });
    }
}

/// The daemon is killed while a project comes up, at several moments; what the next `up` finds, it completes.
#[test]
fn the_daemon_is_killed_in_the_middle_and_up_again() {
    let services: String = (0..6)
        .map(|n| {
            let needs = if n % 2 == 1 { format!("    depends_on: [s{}]\n", n - 1) } else { String::new() };
            format!("  s{n}:\n    image: busybox\n    command: sleep 1000\n    stop_grace_period: 0s\n    volumes: ['v{n}:/d', /anonymous]\n{needs}")
        })
        .collect();
    let volumes: String = (0..6).map(|n| format!("  v{n}: {{}}\n")).collect();
    let project = Project::new(&format!("services:\n{services}volumes:\n{volumes}"));
    let list = |args: &[&str]| {
        let text = project.sandbox.ok(args);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    for pause in [10, 60, 120, 200, 400] {
        let mut child = project.begin(&["up", "-d"]);
        std::thread::sleep(Duration::from_millis(pause));
        project.sandbox.kill_daemon();
        child.wait().unwrap();
        project.sandbox.start_daemon(None);
        project.ok(&["up", "-d"]);
        let want: Vec<String> = (0..6).map(|n| format!("shop-s{n}-1 running")).collect();
        assert_eq!(
            list(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]),
            want,
            "after {pause} ms"
        );
        let want: Vec<String> = (0..6).map(|n| format!("shop_v{n}")).collect();
        let named = list(&["volume", "ls", "-q", "--filter", "name=shop_"]);
        assert_eq!(named, want, "after {pause} ms");
        assert_eq!(list(&["network", "ls", "-q", "--filter", "name=shop_"]).len(), 1);
        assert!(project.run(&["diff"]).stdout.is_empty(), "nothing is left to do");
        project.ok(&["down", "-v"]);
        assert_eq!(list(&["ps", "-aq"]), Vec::<String>::new());
        assert_eq!(list(&["volume", "ls", "-q", "--filter", "name=shop_"]), Vec::<String>::new());
    }
}

fn volumes_are_saved_and_brought_back_together(pairing: Pairing) {
    let project = pairing.project(
        "services:\n  a:\n    image: busybox\n    command: sleep 1000\n    stop_grace_period: 0s\n    volumes: ['one:/one', 'two:/deep/two']\n\
         volumes: {one: , two: }\n",
    );
    project.ok(&["up", "-d"]);
    let sh = |script: &str| project.ok(&["exec", "-T", "a", "sh", "-c", script]);
    sh("echo 1 > /one/f; mkdir /deep/two/d; echo 2 > /deep/two/d/f; chmod 600 /one/f");
    sh("chown 7:8 /one; chmod 700 /one");
    project.ok(&["snapshot", "before"]);
    if !pairing.their_daemon {
        let kept = project.sandbox.ok(&["volume", "snapshot", "--ls", "shop_one"]);
        assert_eq!(kept, "", "the daemon's own was for the moment only");
    }
    assert!(project.run(&["snapshot", "before"]).stderr.contains("already exists"));
    sh("echo 9 > /one/f; rm -r /deep/two/d; echo new > /one/new");
    project.ok(&["restore", "--force", "before"]);
    assert_eq!(sh("cat /one/f /deep/two/d/f; ls /one; stat -c %a /one/f"), "1\n2\nf\n600");
    assert_eq!(sh("stat -c '%u:%g %a' /one"), "7:8 700");
    // Elsewhere, and without anybody standing still; what was scaled stays so.
    project.ok(&["up", "-d", "--scale", "a=2"]);
    let pauses = || {
        let own = "label=com.docker.compose.project=shop";
        let events = ["events", "--since", "1h", "--until", "0s", "--filter", "event=pause"];
        project.sandbox.ok(&[&events[..], &["--filter", own]].concat()).lines().count()
    };
    let paused = pauses();
    assert_ne!(paused, 0, "they stood still for the first one");
    let place = project.sandbox.dir().join("kept");
    let place = place.to_str().unwrap();
    project.ok(&["snapshot", "--no-pause", "--directory", place, "v1.0"]);
    assert_eq!(pauses(), paused);
    let mut kept: Vec<_> = fs::read_dir(place).unwrap().flatten().map(|e| e.file_name()).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["v1.0"]);
    sh("echo 8 > /one/f");
    project.run(&["restore", "--force", "v1.0"]).fails(1);
    project.run(&["snapshot", ""]).fails(1).says("invalid snapshot name");
    project.ok(&["restore", "--force", "--directory", place, "v1.0"]);
    assert_eq!(sh("cat /one/f"), "1");
    assert_eq!(project.ok(&["ps", "-q"]).lines().count(), 2);
    // Elsewhere in the container there would be nothing of it in the volume.
    let text = fs::read_to_string(project.directory.join("compose.yaml")).unwrap();
    fs::write(project.directory.join("compose.yaml"), text.replace(":/one", ":/uno")).unwrap();
    project
        .run(&["restore", "--force", "before"])
        .fails(1)
        .says("was saved from a place called one");
    assert_eq!(sh("cat /one/f"), "1");
}

/// Each step sees what the one before has done, in the networks and volumes of the service.
const BEFORE: &str = "
services:
  web:
    image: busybox
    command: sh -c 'cat /data/steps /own/f; exec sleep 1000'
    user: '1000'
    stop_grace_period: 0s
    volumes: ['data:/data', /own]
    environment: {WHO: web}
    networks: {default: {ipv4_address: RANGE.9}}
    depends_on: [db]
    deploy: {replicas: 1}
    pre_start:
      - command: sh -c 'echo $$WHO $$(id -u) > /data/steps; echo own > /own/f; chmod 777 /data'
        user: root
      - image: STEP
        environment: {WHO: two}
        working_dir: /tmp
        command: sh -c 'nslookup db > /dev/null && echo $$WHO $$(id -u) $$PWD >> /data/steps && echo told && exit CODE'
        user: root
  db: {image: busybox, command: sleep 1000, stop_grace_period: 0s}
networks: {default: {ipam: {config: [{subnet: RANGE.0/24}]}}}
volumes: {data: }
";

fn what_comes_before_a_service(pairing: Pairing) {
    let project = pairing.project("services: {}");
    let step = format!("before{}:1", std::process::id());
    project.sandbox.ok(&["tag", "busybox", &step]);
    let text = BEFORE.replace("RANGE", &ferry_testkit::free_range()).replace("STEP", &step);
    let write = |code: &str| {
        fs::write(project.directory.join("compose.yaml"), text.replace("CODE", code)).unwrap();
    };
    write("3");
    let image = format!("fromImage=before{}", std::process::id());
    for pulls in [&["pull", "--dry-run"][..], &["up", "-d", "--dry-run", "--pull", "always"]] {
        let told = project.ok(pulls);
        assert!(told.contains(&image), "{pulls:?}: {told}");
    }
    assert!(project.ok(&["config", "--images"]).lines().any(|image| image == step));
    let told = project.ok(&["up", "-d", "--dry-run"]);
    let call = "POST /containers/create?name=shop-web-pre_start-1  # pre_start of service web runs";
    assert!(told.contains(call), "{told}");
    let failed = project.run(&["up", "-d"]).fails(1);
    assert!(failed.stderr.contains("exited with status 3:\ntold"), "{failed:?}");
    assert_eq!(project.sandbox.inspect("shop-web-1", "{{.State.Status}}"), "created");
    assert_eq!(project.containers("shop").lines().count(), 2, "none of them stays");
    write("0");
    project.ok(&["up", "-d"]);
    let said = "web 0\ntwo 0 /tmp\nown";
    eventually("it has what they made", || {
        (project.ok(&["logs", "--no-log-prefix", "web"]) == said).then_some(())
    });
    // Not again for one that is stopped and started, nor for more of them; but for another definition.
    let steps = || project.ok(&["exec", "-T", "web", "cat", "/data/steps"]);
    project.ok(&["exec", "-T", "-u", "root", "web", "sh", "-c", "echo mark >> /data/steps"]);
    project.ok(&["stop"]);
    project.ok(&["up", "-d"]);
    assert!(steps().ends_with("mark"));
    let other = text.replace("CODE", "0").replace("WHO: two", "WHO: three");
    fs::write(project.directory.join("compose.yaml"), other).unwrap();
    project.ok(&["up", "-d"]);
    assert_eq!(steps(), "web 0\nthree 0 /tmp");
    project.ok(&["down", "-v"]);
    project.sandbox.run(&["rmi", &step]);
}

#[test]
fn a_container_with_the_name_of_a_step_stays() {
    let project = Project::new(
        "services:\n  web: {image: busybox, command: sleep 1000, stop_grace_period: 0s, pre_start: [{command: 'true'}, {command: 'true'}]}\n  \
         web-pre_start: {image: busybox, command: sleep 1000, stop_grace_period: 0s}\n",
    );
    project.ok(&["up", "-d", "web-pre_start"]);
    let id = project.id("shop-web-pre_start-1");
    project.run(&["up", "-d"]).fails(1).says("is already in use");
    assert_eq!(project.id("shop-web-pre_start-1"), id);
    assert_eq!(project.sandbox.inspect(&id, "{{.State.Status}}"), "running");
}

#[test]
fn ctrl_c_leaves_the_steps_of_others() {
    let project = Project::new(
        "services:\n  a: {image: busybox, command: \"sh -c 'trap exit TERM; echo ready; while true; do sleep 0.1; done'\"}\n  \
         other: {image: busybox, command: sleep 1000, pre_start: [{command: 'true'}]}\n",
    );
    let labels = ["project=shop", "service=other", "hook=pre_start"]
        .map(|label| format!("--label=com.docker.compose.{label}"));
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let create = [&["create", "--name", "step"], &labels[..], &["busybox", "true"]].concat();
    project.sandbox.ok(&create);
    let mut child = project.begin(&["up", "a"]);
    eventually("it is ready", || project.ok(&["logs", "a"]).contains("ready").then_some(()));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(project.sandbox.inspect("step", "{{.State.Status}}"), "created");
}

#[test]
fn a_file_is_written_for_what_runs() {
    let project = Project::new("services: {}\n");
    let sandbox = &project.sandbox;
    sandbox.ok(&["network", "create", "own"]);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "plain",
        "-e",
        "A=$x",
        "-v",
        "keep:/k",
        "--network",
        "own",
        "--restart",
        "unless-stopped",
        "-m",
        "64m",
        "--cap-add",
        "NET_ADMIN",
        "busybox",
        "sleep",
        "1000",
    ]);
    let file = project.ok(&["generate", "plain"]);
    sandbox.ok(&["rm", "-f", "plain"]);
    fs::write(project.directory.join("made.yaml"), file + "\n").unwrap();
    project.ok(&["-f", "made.yaml", "up", "-d"]);
    let look = "{{index .Config.Env 0}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}} {{.HostConfig.CapAdd}} {{.HostConfig.NetworkMode}}";
    let found = sandbox.inspect("plain", look);
    assert!(
        found.starts_with("A=$x unless-stopped 67108864 [") && found.ends_with("] own"),
        "{found}"
    );
    project.ok(&["-f", "made.yaml", "down", "-t", "0"]);
}

#[test]
fn docker_takes_the_program_as_its_plugin() {
    let Some(docker) = ferry_testkit::programs::find("docker") else { return };
    let project = Project::new("services: {a: {image: busybox, command: sleep 5}}\n");
    let plugins = project.sandbox.dir().join("config/cli-plugins");
    fs::create_dir_all(&plugins).unwrap();
    symlink(binary(), plugins.join("docker-compose")).unwrap();
    let config = project.typed(&docker, &[], &["compose", "config", "--services"]);
    assert_eq!(config.ok(), "a");
    let version = project.typed(&docker, &[], &["compose", "version", "--short"]);
    assert_eq!(version.ok(), "2.40.3");
}

/// `up` before our eyes, and so many signals as from Ctrl-C, one second apart; how it ended.
fn interrupted(project: &Project, signals: usize) -> Option<i32> {
    let mut child = project.begin(&["up"]);
    let pid = rustix::process::Pid::from_child(&child);
    eventually("it runs", || (project.ok(&["ps", "-q"]).lines().count() == 1).then_some(()));
    // The shell sets its trap first.
    eventually("it is ready", || project.ok(&["logs"]).contains("ready").then_some(()));
    for _ in 0..signals {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    }
    child.wait().unwrap().code()
}

fn ctrl_c_once_stops_and_twice_kills(pairing: Pairing) {
    let polite = "services:\n  a:\n    image: busybox\n    command: sh -c 'trap \"echo bye; exit 0\" TERM; echo ready; while true; do sleep 0.1; done'\n    stop_grace_period: 20s\n";
    let project = pairing.project(polite);
    assert_eq!(interrupted(&project, 1), Some(130));
    assert!(project.ok(&["logs"]).contains("bye"), "it was asked to stop");
    project.ok(&["down"]);
    let stubborn = polite.replace("echo bye; exit 0", "echo no");
    fs::write(project.directory.join("compose.yaml"), stubborn).unwrap();
    assert_eq!(interrupted(&project, 2), Some(130));
    let state = project.sandbox.ok(&["inspect", "-f", "{{.State.ExitCode}}", "shop-a-1"]);
    assert_eq!(state, "137", "it was killed, long before its time was over");
}
