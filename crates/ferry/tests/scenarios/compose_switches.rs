//! What the flags of Compose's commands do, each seen from outside; and that no flag is without a scenario that types it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{binary, eventually, run};

use crate::compose::{Pairing, Project, in_all_pairings};

in_all_pairings!(
    flags_before_the_command,
    lives_of_containers,
    looking_at_containers,
    a_wait_takes_the_project_down,
    runs_of_a_service,
);

const FILE: &str = "
services:
  a:
    image: busybox
    command: sh -c 'echo out; echo more; exec sleep 1000'
    init: true
    ports: ['127.0.0.1::80', '127.0.0.1::53/udp']
    stop_grace_period: 0s
  b:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    depends_on: [a]
    volumes: [/anonymous, 'data:/data']
  c: {image: busybox, command: sleep 1000, stop_grace_period: 0s, profiles: [extra]}
volumes: {data: , spare: }
";

fn flags_before_the_command(pairing: Pairing) {
    let project = pairing.project(FILE);
    let directory = project.directory.display().to_string();
    let file = format!("{directory}/compose.yaml");
    fs::write(project.directory.join("other.env"), "WHO=me\n").unwrap();
    let up = project.run(&[
        "--project-name",
        "one",
        "--file",
        &file,
        "--ansi",
        "never",
        "--progress",
        "plain",
        "--parallel",
        "2",
        "up",
        "--detach",
        "--quiet-pull",
        "--quiet-build",
        "--no-build",
        "--pull",
        "missing",
    ]);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(
        !up.stderr.contains('\x1b') && up.stderr.contains(" Container one-b-1  Started"),
        "{up:?}"
    );
    let names = || project.containers("one");
    assert_eq!(names().lines().collect::<BTreeSet<_>>(), ["one-a-1", "one-b-1"].into());
    assert_eq!(project.sandbox.ok(&["volume", "ls", "-q", "--filter", "name=one_"]), "one_data");
    project.ok(&["-p", "one", "--all-resources", "up", "-d"]);
    let volumes = project.sandbox.ok(&["volume", "ls", "-q", "--filter", "name=one_"]);
    assert_eq!(volumes, "one_data\none_spare");
    project.ok(&["-p", "one", "--profile", "extra", "up", "-d"]);
    assert!(names().contains("one-c-1"));
    project.ok(&["-p", "one", "--profile", "*", "down", "--timeout", "0", "--volumes"]);
    assert_eq!(names(), "");
    // Names as Compose 1 had them, a directory that is not the file's, and variables from another file.
    fs::write(
        project.directory.join("compose.yaml"),
        FILE.replace("image: busybox", "image: '${WHO-busybox}'"),
    )
    .unwrap();
    let shown = project.ok(&[
        "--file",
        &file,
        "--env-file",
        "other.env",
        "--project-directory",
        "/tmp",
        "config",
    ]);
    assert!(shown.contains("image: me") && shown.starts_with("name: tmp"), "{shown}");
    project.ok(&["--compatibility", "up", "-d", "a"]);
    assert_eq!(project.containers("shop"), "shop_a_1");
    project.ok(&["--compatibility", "down"]);
}

fn looking_at_containers(pairing: Pairing) {
    let project = pairing.project(FILE);
    project.ok(&["up", "-d"]);
    let ids =
        project.ok(&["ps", "--no-trunc", "--status", "running", "--orphans=false", "--quiet"]);
    let all: BTreeSet<String> = ids.lines().map(str::to_owned).collect();
    assert_eq!(
        all,
        [project.id("shop-a-1"), project.id("shop-b-1")].map(|id| id.trim().to_owned()).into()
    );
    let udp = project.ok(&["port", "--protocol", "udp", "a", "53"]);
    assert!(udp.starts_with("127.0.0.1:") && udp != project.ok(&["port", "a", "80"]), "{udp}");
    eventually("both lines are there", || {
        (project.ok(&["logs", "a"]).lines().count() == 2).then_some(())
    });
    let last =
        project.ok(&["logs", "--tail", "1", "--timestamps", "--no-color", "--no-log-prefix", "a"]);
    let (time, _) = last.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z') && last.lines().count() == 1, "{last}");
    assert_eq!(
        project.ok(&["logs", "--since", "1h", "--until", "1h", "a"]),
        "",
        "until an hour ago"
    );
    let script = "echo $A $PWD $(id -u)";
    let words = [
        "exec",
        "--no-tty",
        "--env",
        "A=1",
        "--workdir",
        "/tmp",
        "--user",
        "1000",
        "a",
        "sh",
        "-c",
        script,
    ];
    assert_eq!(project.ok(&words), "1 /tmp 1000");
    project.ok(&["exec", "--detach", "--privileged", "a", "touch", "/made"]);
    eventually("it was made", || {
        (project.run(&["exec", "-T", "a", "ls", "/made"]).code == 0).then_some(())
    });
    let image = project.sandbox.inspect("shop-a-1", "{{.Image}}");
    assert_eq!(project.ok(&["images", "--quiet"]), image.trim().trim_start_matches("sha256:"));
    assert_eq!(project.ok(&["volumes", "--quiet"]), "shop_data");
    assert_eq!(project.ok(&["ls", "--all", "--quiet"]), "shop");
    // Docker Compose 2.40 shows them, and then fails with the end of the stream.
    let events = project.run(&["events", "--json", "--since", "1h", "--until", "0s"]);
    assert!(events.code == 0 || pairing.their_program, "{events:?}");
    // A daemon that is not the test's own tells of earlier ones, too.
    let id = project.id("shop-a-1");
    let made = events.stdout.lines().any(|line| {
        let one: serde_json::Value = serde_json::from_str(line).unwrap();
        let told = (&one["action"], &one["service"], &one["id"]);
        told == (&"create".into(), &"a".into(), &id.as_str().into())
    });
    assert!(made, "{events:?}");
    let stats = project.ok(&["stats", "--no-stream", "--no-trunc", "--all"]);
    assert!(ids.lines().all(|id| stats.contains(id)), "{stats}");
    project.ok(&["stop", "--timeout", "0", "a"]);
    assert_eq!(project.ok(&["ps", "--services"]), "b");
    assert_eq!(project.ok(&["ps", "--all", "--services"]), "a\nb");
    // Docker Compose 2.40 waits for it to be started again.
    assert!(
        pairing.their_program || project.ok(&["logs", "--follow", "a"]).contains("out"),
        "following ends with the container"
    );
}

#[test]
fn files_and_images_of_containers() {
    let project = Project::new(FILE);
    project.ok(&["up", "-d"]);
    project.ok(&[
        "commit",
        "--author",
        "me",
        "--message",
        "words",
        "--change",
        "LABEL x=y",
        "--pause=false",
        "a",
        "made:1",
    ]);
    let made = project.sandbox.ok(&[
        "image",
        "inspect",
        "made:1",
        "--format",
        "{{.Author}} {{.Comment}} {{.Config.Labels.x}}",
    ]);
    assert_eq!(made, "me words y");
    let tar = project.directory.join("a.tar");
    project.ok(&["export", "--output", tar.to_str().unwrap(), "a"]);
    let listed = run(Command::new("tar").arg("-tf").arg(&tar)).ok();
    assert!(listed.lines().any(|line| line.ends_with("bin/busybox")), "{listed}");
    std::os::unix::fs::symlink("compose.yaml", project.directory.join("link")).unwrap();
    project.ok(&["cp", "--archive", "--follow-link", "link", "a:/copied"]);
    assert!(project.ok(&["exec", "-T", "a", "cat", "/copied"]).contains("services:"));
    project.ok(&["generate", "--output", "made.yaml", "shop-a-1"]);
    let made = fs::read_to_string(project.directory.join("made.yaml")).unwrap();
    assert!(made.contains("image: busybox"), "{made}");
    project.ok(&[
        "config",
        "--quiet",
        "--no-consistency",
        "--no-normalize",
        "--no-path-resolution",
        "--no-env-resolution",
    ]);
    project.ok(&["config", "--output", "conf.yaml", "--models"]);
    assert_eq!(
        fs::read_to_string(project.directory.join("conf.yaml")).unwrap(),
        "",
        "there are none"
    );
}

fn lives_of_containers(pairing: Pairing) {
    let project = pairing.project(FILE);
    project.ok(&["up", "-d"]);
    let started = |name: &str| project.sandbox.inspect(name, "{{.State.StartedAt}}");
    let state = |name: &str| project.sandbox.inspect(name, "{{.State.Status}}").trim().to_owned();
    let before = started("shop-b-1");
    project.ok(&["restart", "--timeout", "0", "b"]);
    assert_ne!(started("shop-b-1"), before);
    project.ok(&["kill", "--signal", "KILL", "b"]);
    eventually("it has ended", || (state("shop-b-1") == "exited").then_some(()));
    project.ok(&["rm", "--force", "--stop", "a"]);
    project.ok(&["create", "--no-build", "--no-recreate", "--pull", "never", "--quiet-pull"]);
    assert_eq!(state("shop-a-1"), "created");
    let anonymous = || {
        let format = "{{range .Mounts}}{{.Destination}}={{.Name}} {{end}}";
        let mounts = project.sandbox.inspect("shop-b-1", format);
        // Docker's daemon has them in any order.
        mounts.split_whitespace().map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let (ids, volumes) = (project.id("shop-a-1"), anonymous());
    project.ok(&["up", "--no-start", "--no-recreate"]);
    assert_eq!((project.id("shop-a-1"), state("shop-a-1")), (ids.clone(), "created".to_owned()));
    project.ok(&["up", "-d", "--force-recreate", "b"]);
    assert_eq!(anonymous(), volumes, "unnamed volumes go on");
    project.ok(&[
        "up",
        "-d",
        "--renew-anon-volumes",
        "--always-recreate-deps",
        "--timeout",
        "0",
        "b",
    ]);
    assert_ne!(anonymous(), volumes);
    assert_ne!(project.id("shop-a-1"), ids);
    project.ok(&["down", "--timeout", "0"]);
    assert_eq!(project.containers("shop"), "");
}

#[test]
fn one_that_ends_ends_all() {
    let project = Project::new(
        "services:\n  long: {image: busybox, command: sleep 1000, stop_grace_period: 0s}\n  short: {image: busybox, command: sh -c 'echo said; exit 3'}\n",
    );
    let ended = project.run(&["up", "--abort-on-container-exit", "--no-color", "--timestamps"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stdout.contains("short-1 exited with code 3"), "{ended:?}");
    let ended = project.run(&["up", "--abort-on-container-failure", "--no-attach", "short"]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(!ended.stdout.contains("said"), "{ended:?}");
    // Whose code it is need not be who ended first, nor one that is shown.
    let ended = project.run(&["up", "--exit-code-from", "long", "--attach", "short"]);
    assert_eq!(ended.code, 137, "{ended:?}");
    assert!(ended.stdout.contains("said") && !ended.stdout.contains("long-1"), "{ended:?}");
    assert_eq!(project.ok(&["ps", "-q"]), "");
    let ended = project.run(&["up", "--exit-code-from", "nobody"]);
    assert!(ended.code != 0 && ended.stderr.contains("no such service: nobody"), "{ended:?}");
    let both = project.run(&["up", "--detach", "--abort-on-container-exit"]);
    assert!(both.stderr.contains("--detach cannot be combined"), "{both:?}");
}

fn a_wait_takes_the_project_down(pairing: Pairing) {
    let project = pairing.project(
        "services:\n  long: {image: busybox, command: sleep 1000, stop_grace_period: 0s}\n  short: {image: busybox, command: sh -c 'sleep 2; exit 3'}\n",
    );
    project.ok(&["up", "-d"]);
    let waited = project.run(&["wait", "--down-project", "short"]);
    assert_eq!(waited.code, 3, "{waited:?}");
    assert!(waited.stdout.contains("exited with status code 3"), "{waited:?}");
    assert_eq!(project.containers("shop"), "");
}

fn runs_of_a_service(pairing: Pairing) {
    let project = pairing.project(FILE);
    fs::write(project.directory.join("more.env"), "MORE=2\n").unwrap();
    let script = "echo $A $MORE $PWD $(id -u) $(cat /in)";
    fs::write(project.directory.join("in"), "inside").unwrap();
    let volume = format!("{}:/in", project.directory.join("in").display());
    let said = project.run(&[
        "run",
        "--rm",
        "--no-deps",
        "-T",
        "--env",
        "A=1",
        "--env-from-file",
        "more.env",
        "--workdir",
        "/tmp",
        "--user",
        "7",
        "--volume",
        &volume,
        "--label",
        "x=y",
        "--cap-drop",
        "NET_RAW",
        "--entrypoint",
        "sh",
        "--quiet-pull",
        "--quiet-build",
        "a",
        "-c",
        script,
    ]);
    assert_eq!(said.stdout.trim(), "1 2 /tmp 7 inside", "{said:?}");
    let id = project.ok(&[
        "run",
        "--detach",
        "--name",
        "mine",
        "--service-ports",
        "--use-aliases",
        "--no-deps",
        "a",
    ]);
    assert!(!id.is_empty());
    assert!(project.sandbox.ok(&["port", "mine", "80"]).starts_with("127.0.0.1:"));
    let found =
        project.run(&["run", "--rm", "--quiet", "--no-TTY", "--no-deps", "b", "nslookup", "a"]);
    assert!(found.stdout.contains("Name:"), "known by the service's name: {found:?}");
    project.ok(&["run", "-d", "--publish", "127.0.0.1::99", "--name", "other", "--no-deps", "b"]);
    assert!(project.sandbox.ok(&["port", "other", "99"]).starts_with("127.0.0.1:"));
    project.ok(&["down", "--remove-orphans"]);
    assert_eq!(project.containers("shop"), "");
}

/// The flags in a help text, with the letters of those that have one.
fn flags(help: &str) -> BTreeSet<(String, Option<char>)> {
    let options = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let flags = options.filter_map(|line| {
        let (before, name) = line.split_once("--")?;
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(name.len());
        Some((name[..end].to_owned(), before.chars().nth(1)))
    });
    flags.filter(|(name, _)| name != "help").collect()
}

/// The words in each list of words that a scenario has, and in each command of a page of the guide.
fn typed(text: &str, page: bool) -> Vec<Vec<String>> {
    if page {
        let commands = text.lines().filter_map(|line| line.split_once("ferry compose "));
        let words = |line: &str| line.split([' ', '`']).map(str::to_owned).collect();
        return commands.map(|(_, line)| words(line)).collect();
    }
    let lists = text.split('[').map(|after| after.split(']').next().unwrap_or_default());
    lists.map(|list| list.split('"').skip(1).step_by(2).map(str::to_owned).collect()).collect()
}

#[test]
fn every_flag_of_every_command_is_typed() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let guide = tests.join("../../../docs/guide");
    let help = |words: &[&str]| {
        run(Command::new(binary()).arg("compose").args(words).arg("--help")).stdout
    };
    let top = help(&[]);
    let rows = top.split("Commands:\n").skip(1).flat_map(str::lines);
    let names = rows.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let mut names: BTreeSet<&str> =
        names.filter_map(|line| line.split_whitespace().next()).collect();
    names.insert("convert");
    // The command of a list is its first word that is one; what stands before it is for all commands.
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut look = |path: &Path, page: bool| {
        let file = path.file_name().unwrap().to_string_lossy();
        for words in typed(&fs::read_to_string(path).unwrap(), page) {
            let mut command = String::new();
            for word in words {
                if command.is_empty() && names.contains(word.as_str()) {
                    command = word;
                } else if word.starts_with('-') {
                    let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
                    let place = seen.entry((command.clone(), name.to_owned()));
                    place.or_insert_with(|| file.clone().into_owned());
                }
            }
        }
    };
    let scenarios = fs::read_dir(tests.join("scenarios")).unwrap().flatten();
    let mut scenarios: Vec<_> = scenarios.map(|entry| entry.path()).collect();
    scenarios.sort();
    let is_ours = |path: &&PathBuf| {
        path.is_file() && path.file_name().unwrap().to_string_lossy().starts_with("compose")
    };
    scenarios.iter().filter(is_ours).for_each(|path| look(path, false));
    for page in ["11-compose.md", "15-kubernetes.md"] {
        look(&guide.join(page), true);
    }
    let mut untested = String::new();
    let mut table = "# Flags of Compose's commands\n\nMade by a test (`every_flag_of_every_command_is_typed`, `UPDATE=1` writes it): each flag, and a file of scenarios or a page of the guide\nthat types it; the examples of the guide are run, too.\n\n| command | flag | typed in |\n|---|---|---|\n".to_owned();
    for name in names.iter().copied().chain([""]) {
        let words: Vec<&str> = [name].into_iter().filter(|name| !name.is_empty()).collect();
        for (flag, letter) in flags(&help(&words)) {
            let typed = |typed: String| seen.get(&(name.to_owned(), typed));
            let short = || typed(format!("-{}", letter?));
            match typed(format!("--{flag}")).or_else(short) {
                Some(file) => table.push_str(&format!("| `{name}` | `--{flag}` | {file} |\n")),
                None => untested.push_str(&format!("compose {name} --{flag}\n")),
            }
        }
    }
    assert!(untested.is_empty(), "no test types these flags:\n{untested}");
    let page = guide.join("../compose-flags.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&page, &table).unwrap();
    }
    assert!(fs::read_to_string(page).unwrap_or_default() == table, "UPDATE=1 writes the table");
}
