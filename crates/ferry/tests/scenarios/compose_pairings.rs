//! The main scenarios of Compose in the four pairings: our program or Docker's own, against our daemon or Docker's. What is asserted here
//! is what both programs do. [`ALONE`] says which scenarios of the files beside this one are not in all pairings, and why.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use ferry_testkit::{Run, Sandbox, eventually, free_range, run};

use crate::compose::{FILE, Pairing, in_all_pairings};

in_all_pairings!(
    up_again_changed_and_down,
    scaled_run_and_orphaned,
    the_foreground_ends_with_a_code,
    commands_for_containers,
    conditions_hooks_and_restarts,
    what_is_not_well_is_told,
    resources_of_every_kind,
    replaced_or_kept,
    one_off_commands,
);

/// A project of one of the programs, against one of the daemons.
struct Bed {
    pairing: Pairing,
    sandbox: Sandbox,
    directory: PathBuf,
    name: String,
    image: String,
}

impl Drop for Bed {
    fn drop(&mut self) {
        drop(self.run(&["down", "-v", "-t", "0", "--remove-orphans"]));
        drop(self.sandbox.run(&["rmi", "-f", &self.image]));
        drop(fs::remove_dir_all(&self.directory));
    }
}

impl Bed {
    fn new(pairing: Pairing) -> Bed {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let sandbox = pairing.daemon();
        let name = format!("pair{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Nobody else gives this name to another image meanwhile.
        let image = format!("{name}:1");
        sandbox.ok(&["tag", "busybox", &image]);
        // Docker's daemon may be in a root of its own, with the temporary directory in it.
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(&directory).unwrap();
        Bed { pairing, sandbox, directory, name, image }
    }

    /// The project's file, with the name of the image where it says `IMAGE`.
    fn file(&self, text: &str) {
        let text = text.replace("IMAGE", &self.image).replace("NAME", &self.name);
        fs::write(self.directory.join("compose.yaml"), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Run {
        let (program, first) = self.pairing.program();
        let mut command = Command::new(program);
        command
            .args(first)
            .args(args)
            .current_dir(&self.directory)
            .env("DOCKER_HOST", self.sandbox.host())
            .env("DOCKER_CONFIG", self.sandbox.dir().join("config"))
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .env("COMPOSE_MENU", "false");
        run(&mut command)
    }

    fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    /// A container's name.
    fn of(&self, service: &str) -> String {
        format!("{}-{service}", self.name)
    }

    fn inspect(&self, service: &str, format: &str) -> String {
        self.sandbox.inspect(&self.of(service), format)
    }

    fn id(&self, service: &str) -> String {
        self.inspect(service, "{{.Id}}")
    }

    /// What there is of a kind of the project's.
    fn all(&self, list: &[&str]) -> Vec<String> {
        let filter = format!("label=com.docker.compose.project={}", self.name);
        let text = self.sandbox.ok(&[list, &["-q", "--filter", &filter]].concat());
        text.lines().map(str::to_owned).collect()
    }
}

/// The project of `compose.rs`, with this bed's image.
fn shop() -> String {
    FILE.replace("image: busybox", "image: IMAGE")
}

fn up_again_changed_and_down(pairing: Pairing) {
    let bed = &Bed::new(pairing);
    bed.file(&shop());
    let first = bed.run(&["up", "-d"]);
    for line in [
        " Network NAME_default  Created",
        " Volume NAME_data  Created",
        " Container NAME-db-1  Healthy",
        " Container NAME-web-1  Started",
    ] {
        let line = line.replace("NAME", &bed.name);
        assert!(first.stderr.contains(&line), "{line} is missing:\n{}", first.stderr);
    }
    first.ok();
    let (web, db) = (bed.id("web-1"), bed.id("db-1"));
    let again = bed.run(&["up", "-d"]);
    assert!(
        again.stderr.contains(&format!(" Container {}  Running", bed.of("web-1"))),
        "{again:?}"
    );
    assert!(!again.stderr.contains("Created") && !again.stderr.contains("Started"), "{again:?}");
    again.ok();
    assert_eq!(bed.id("web-1"), web, "nothing to do is nothing done");
    assert_eq!(bed.ok(&["ps", "--services"]), "db\nweb");
    eventually("it is logged", || {
        (bed.ok(&["logs", "web"]) == "web-1  | hello from web").then_some(())
    });
    assert_eq!(bed.ok(&["exec", "-T", "web", "sh", "-c", "echo $WHO"]), "nobody");
    assert_eq!(bed.run(&["exec", "-T", "web", "sh", "-c", "exit 5"]).code, 5);
    let found = bed.run(&["exec", "-T", "web", "nslookup", "db"]).stdout;
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    assert!(found.contains(&bed.inspect("db-1", address)), "{found}");
    // What changed is replaced, and nothing else.
    fs::write(bed.directory.join(".env"), "WHO=me\n").unwrap();
    bed.ok(&["up", "-d"]);
    assert_ne!(bed.id("web-1"), web);
    assert_eq!(bed.id("db-1"), db);
    assert_eq!(bed.ok(&["exec", "-T", "web", "sh", "-c", "echo $WHO"]), "me");
    bed.ok(&["down"]);
    assert!(bed.all(&["ps", "-a"]).is_empty() && bed.all(&["network", "ls"]).is_empty());
    assert_eq!(bed.all(&["volume", "ls"]), [format!("{}_data", bed.name)], "down keeps volumes");
    bed.ok(&["down", "-v"]);
    assert!(bed.all(&["volume", "ls"]).is_empty());
}

fn scaled_run_and_orphaned(pairing: Pairing) {
    let bed = &Bed::new(pairing);
    bed.file(&shop());
    bed.ok(&["up", "-d", "--scale", "web=3"]);
    let count = || bed.ok(&["ps", "-q", "web"]).lines().count();
    assert_eq!(count(), 3);
    bed.ok(&["scale", "web=2"]);
    assert_eq!(count(), 2);
    bed.ok(&["up", "-d"]);
    assert_eq!(count(), 1);
    assert_eq!(bed.ok(&["run", "--rm", "-T", "--no-deps", "tool", "echo", "hey"]), "hey");
    bed.ok(&["--profile", "tools", "up", "-d", "tool"]);
    eventually("it has ended well", || {
        let ended = bed.inspect("tool-1", "{{.State.Status}} {{.State.ExitCode}}");
        (ended == "exited 0").then_some(())
    });
    let web = bed.id("web-1");
    bed.file(&shop().replace("  web:", "  front:"));
    let up = bed.run(&["up", "-d"]);
    let orphan = format!("Found orphan containers ([{}])", bed.of("web-1"));
    assert!(up.stderr.contains(&orphan), "{}", up.stderr);
    assert_eq!(bed.id("web-1"), web);
    bed.ok(&["up", "-d", "--remove-orphans"]);
    assert_ne!(bed.sandbox.run(&["inspect", &bed.of("web-1")]).code, 0);
    assert!(bed.ok(&["ls", "-q"]).lines().any(|name| name == bed.name));
}

fn the_foreground_ends_with_a_code(pairing: Pairing) {
    let bed = &Bed::new(pairing);
    bed.file(
        "services:\n  a:\n    image: IMAGE\n    command: sh -c 'echo one; echo two >&2; exit 7'\n  \
         long:\n    image: IMAGE\n    command: sleep 1000\n    stop_grace_period: 0s\n",
    );
    let up = bed.run(&["up", "--exit-code-from", "a"]).fails(7);
    assert!(up.stdout.contains("| one\n") && up.stderr.contains("| two\n"), "{up}");
    assert!(up.stdout.contains("a-1 exited with code 7\n"), "{up}");
    assert!(!up.stderr.contains("Started"), "what is shown is the containers' output: {up}");
    let logs = bed.ok(&["logs", "--no-log-prefix", "a"]);
    assert!(logs.contains("one") && logs.contains("two"), "of either stream: {logs}");
    assert_eq!(bed.ok(&["ps", "-q"]), "", "the other one was stopped");
    bed.run(&["up", "--exit-code-from", "nobody"]).says("no such service: nobody");
}

fn commands_for_containers(pairing: Pairing) {
    let bed = &Bed::new(pairing);
    bed.file(
        "services:\n  a:\n    image: IMAGE\n    command: sh -c 'echo line 1; echo line 2; exec sleep 1000'\n    \
         ports: ['127.0.0.1::80']\n    stop_grace_period: 0s\n    init: true\n",
    );
    bed.ok(&["create"]);
    assert_eq!(bed.inspect("a-1", "{{.State.Status}}"), "created");
    let state = |state: &str| {
        eventually(state, || (bed.inspect("a-1", "{{.State.Status}}") == state).then_some(()));
    };
    bed.ok(&["start"]);
    state("running");
    assert!(bed.ok(&["port", "a", "80"]).starts_with("127.0.0.1:"));
    let top = bed.ok(&["top"]);
    assert!(top.contains("sleep 1000"), "{top}");
    eventually("both lines are there", || {
        (bed.ok(&["logs", "--no-log-prefix", "a"]) == "line 1\nline 2").then_some(())
    });
    assert_eq!(bed.ok(&["logs", "--no-log-prefix", "--tail", "1", "a"]), "line 2");
    fs::write(bed.directory.join("in"), "carried").unwrap();
    bed.ok(&["cp", "in", "a:/there"]);
    bed.ok(&["cp", "a:/there", "out"]);
    assert_eq!(fs::read_to_string(bed.directory.join("out")).unwrap(), "carried");
    bed.ok(&["pause"]);
    state("paused");
    bed.ok(&["unpause"]);
    state("running");
    let started = bed.inspect("a-1", "{{.State.StartedAt}}");
    bed.ok(&["restart", "-t", "0"]);
    assert_ne!(bed.inspect("a-1", "{{.State.StartedAt}}"), started);
    bed.ok(&["kill", "-s", "KILL"]);
    state("exited");
    assert_eq!(bed.ok(&["ps", "-q"]), "");
    assert_eq!(bed.ok(&["ps", "-aq"]), bed.id("a-1"));
    bed.ok(&["start"]);
    bed.ok(&["stop", "-t", "0"]);
    state("exited");
    let shown: serde_json::Value =
        serde_json::from_str(&bed.ok(&["ps", "-a", "--format", "json"])).unwrap();
    assert_eq!((shown["Service"].as_str(), shown["State"].as_str()), (Some("a"), Some("exited")));
    let images = bed.ok(&["images"]);
    assert!(images.contains(&bed.name), "{images}");
    bed.ok(&["rm", "-f"]);
    assert_eq!(bed.ok(&["ps", "-aq"]), "");
}

fn conditions_hooks_and_restarts(pairing: Pairing) {
    let bed = &Bed::new(pairing);
    bed.file(
        "services:\n  first: {image: IMAGE, command: sh -c 'sleep 0.3; echo done > /shared/done', volumes: ['shared:/shared']}\n  \
         base:\n    image: IMAGE\n    command: sleep 1000\n    stop_grace_period: 0s\n    healthcheck: {test: test -f /well, interval: 100ms, retries: 6000}\n    \
         post_start: [{command: touch /well}]\n    pre_stop: [{command: touch /shared/stopped}]\n    volumes: ['shared:/shared']\n  \
         web:\n    image: IMAGE\n    command: sh -c 'cat /shared/done; exec sleep 1000'\n    stop_grace_period: 0s\n    volumes: ['shared:/shared']\n    depends_on:\n      \
         first: {condition: service_completed_successfully}\n      base: {condition: service_healthy, restart: true}\n\
         volumes: {shared: }\n",
    );
    bed.ok(&["up", "-d"]);
    eventually("what it waited for was there", || {
        (bed.ok(&["logs", "--no-log-prefix", "web"]) == "done").then_some(())
    });
    let started = bed.inspect("web-1", "{{.State.StartedAt}}");
    bed.ok(&["restart", "base"]);
    assert_ne!(bed.inspect("web-1", "{{.State.StartedAt}}"), started, "it goes with the other");
    bed.ok(&["stop", "base"]);
    assert_eq!(bed.ok(&["exec", "-T", "web", "ls", "/shared"]), "done\nstopped");
}

fn what_is_not_well_is_told(pairing: Pairing) {
    let bed = &Bed::new(pairing);
    let file = "services:\n  base: {image: IMAGE, command: sleep 1000, stop_grace_period: 0s, healthcheck: {test: 'false', interval: 100ms, retries: 1}}\n  \
                web: {image: IMAGE, command: sleep 1000, stop_grace_period: 0s, depends_on: {base: {condition: service_healthy}}}\n";
    bed.file(file);
    let up = bed.run(&["up", "-d"]);
    assert_eq!(up.code, 1, "{up:?}");
    up.says(&format!("dependency failed to start: container {} is unhealthy", bed.of("base-1")));
    assert_eq!(bed.inspect("web-1", "{{.State.Status}}"), "created");
    assert_eq!(bed.run(&["up", "-d", "--wait", "base"]).code, 1);
    bed.file("services:\n  a: {image: IMAGE, command: 'true', volumes: ['none:/x']}\n");
    bed.run(&["up", "-d"])
        .says("service \"a\" refers to undefined volume none: invalid compose project");
    bed.file("services:\n  a: {image: IMAGE, command: 'true', networks: [far]}\nnetworks: {far: {external: true, name: NAME-nowhere}}\n");
    let up = bed.run(&["up", "-d"]);
    let words =
        format!("network {}-nowhere declared as external, but could not be found", bed.name);
    assert!(up.code != 0 && up.stderr.contains(&words), "{up:?}");
}

fn resources_of_every_kind(pairing: Pairing) {
    let bed = &Bed::new(pairing);
    // The pairings run at the same time, on one machine.
    let range = free_range();
    let file = "services:\n  a:\n    image: IMAGE\n    command: sleep 1000\n    stop_grace_period: 0s\n    hostname: other\n    \
         networks: {default: {aliases: [known]}, side: {ipv4_address: RANGE.9}}\n    \
         volumes: ['named:/named', 'there:/there', './file:/file:ro', {type: tmpfs, target: /memory}]\n    \
         configs: [{source: text, target: /etc/text}]\n    secrets: [token]\n    env_file: more.env\n    \
         labels: {own: label}\n    ulimits: {nofile: 512}\n    sysctls: {net.ipv4.ip_forward: 1}\n    cap_drop: [NET_RAW]\n    mem_limit: 64m\n\
         networks: {side: {ipam: {config: [{subnet: RANGE.0/24}]}}}\n\
         volumes: {named: {labels: {l: v}}, there: {external: true, name: NAME-there}}\n\
         configs: {text: {content: some text}}\nsecrets: {token: {file: ./token}}\n";
    bed.file(&file.replace("RANGE", &range));
    for (name, text) in [("file", "bound"), ("token", "s3cret"), ("more.env", "MORE=yes\n")] {
        fs::write(bed.directory.join(name), text).unwrap();
    }
    let there = format!("{}-there", bed.name);
    bed.sandbox.ok(&["volume", "create", &there]);
    bed.ok(&["up", "-d"]);
    let look = "cat /file /etc/text /run/secrets/token; echo; hostname; echo $MORE; ulimit -n; cat /proc/sys/net/ipv4/ip_forward; ls -d /named /there; grep -c ' /memory tmpfs' /proc/mounts";
    let seen = bed.ok(&["exec", "-T", "a", "sh", "-c", look]);
    assert_eq!(seen, "boundsome texts3cret\nother\nyes\n512\n1\n/named\n/there\n1");
    let found = bed.run(&["exec", "-T", "a", "nslookup", "known"]).stdout;
    assert!(found.contains("Name:"), "{found}");
    let address =
        format!("{{{{(index .NetworkSettings.Networks \"{}_side\").IPAddress}}}}", bed.name);
    assert_eq!(bed.inspect("a-1", &address), format!("{range}.9"));
    let limits = "{{.HostConfig.Memory}} {{.HostConfig.CapDrop}} {{.Config.Labels.own}}";
    let limits = bed.inspect("a-1", limits);
    assert!(limits.starts_with("67108864 [") && limits.ends_with("NET_RAW] label"), "{limits}");
    bed.ok(&["down", "-v"]);
    assert!(bed.all(&["volume", "ls"]).is_empty());
    // What is somebody else's stays.
    bed.sandbox.ok(&["volume", "rm", &there]);
}

fn replaced_or_kept(pairing: Pairing) {
    let bed = &Bed::new(pairing);
    bed.file(
        "services:\n  a: {image: IMAGE, command: sleep 1000, stop_grace_period: 0s}\n  \
         b: {image: IMAGE, command: sleep 1000, stop_grace_period: 0s, depends_on: [a], volumes: [/anonymous]}\n",
    );
    bed.ok(&["up", "--no-start"]);
    assert_eq!(bed.inspect("b-1", "{{.State.Status}}"), "created");
    bed.ok(&["up", "-d", "--pull", "never"]);
    let volume = || bed.inspect("b-1", "{{range .Mounts}}{{.Name}}{{end}}");
    let (a, b, kept) = (bed.id("a-1"), bed.id("b-1"), volume());
    bed.ok(&["up", "-d", "--force-recreate", "--no-deps", "b"]);
    assert_eq!((bed.id("a-1"), volume()), (a.clone(), kept.clone()), "unnamed volumes go on");
    assert_ne!(bed.id("b-1"), b);
    let b = bed.id("b-1");
    bed.ok(&[
        "up",
        "-d",
        "--force-recreate",
        "--renew-anon-volumes",
        "--always-recreate-deps",
        "b",
    ]);
    assert!(bed.id("a-1") != a && bed.id("b-1") != b && volume() != kept);
    let b = bed.id("b-1");
    let text = fs::read_to_string(bed.directory.join("compose.yaml")).unwrap();
    fs::write(bed.directory.join("compose.yaml"), text.replace("1000", "2000")).unwrap();
    bed.ok(&["up", "-d", "--no-recreate"]);
    assert_eq!(bed.id("b-1"), b);
    bed.ok(&["up", "-d"]);
    assert_ne!(bed.id("b-1"), b);
    bed.ok(&["rm", "-fsv", "b"]);
    assert_eq!(bed.ok(&["ps", "-a", "--services"]), "a");
    bed.ok(&["down", "--rmi", "local"]);
    bed.sandbox.ok(&["image", "inspect", &bed.image]);
}

fn one_off_commands(pairing: Pairing) {
    let bed = &Bed::new(pairing);
    bed.file(
        "services:\n  a: {image: IMAGE, command: sleep 1000, stop_grace_period: 0s, ports: ['127.0.0.1::80']}\n  \
         b: {image: IMAGE, command: sleep 1000, stop_grace_period: 0s, depends_on: [a], environment: {X: file}}\n",
    );
    fs::write(bed.directory.join("in"), "inside").unwrap();
    let volume = format!("{}:/in", bed.directory.join("in").display());
    let words = [
        "run",
        "--rm",
        "-T",
        "--no-deps",
        "-e",
        "X=said",
        "-w",
        "/tmp",
        "-u",
        "7",
        "-v",
        &volume,
        "-l",
        "l=v",
        "--entrypoint",
        "sh",
        "b",
        "-c",
        "echo $X $PWD $(id -u) $(cat /in)",
    ];
    assert_eq!(bed.ok(&words), "said /tmp 7 inside");
    assert!(bed.all(&["ps", "-a"]).is_empty(), "it is gone, and started nothing else");
    assert_eq!(bed.run(&["run", "--rm", "-T", "b", "sh", "-c", "exit 9"]).code, 9);
    assert_eq!(bed.ok(&["ps", "--services"]), "a", "what it depends on runs");
    let called = format!("{}-mine", bed.name);
    let id = bed.ok(&["run", "-d", "--name", &called, "--service-ports", "a"]);
    assert_eq!(id, bed.sandbox.inspect(&called, "{{.Id}}"));
    assert!(bed.sandbox.ok(&["port", &called, "80"]).starts_with("127.0.0.1:"));
    let label = "{{index .Config.Labels \"com.docker.compose.oneoff\"}}";
    assert_eq!(bed.sandbox.inspect(&called, label), "True");
    // One in the background that is to be gone afterwards is.
    let brief = format!("{}-brief", bed.name);
    bed.ok(&["run", "-d", "--rm", "--no-deps", "--name", &brief, "b", "true"]);
    eventually("it is gone", || (bed.sandbox.run(&["inspect", &brief]).code != 0).then_some(()));
    bed.ok(&["down", "--remove-orphans", "-t", "0"]);
    assert!(bed.all(&["ps", "-a"]).is_empty());
}

/// The scenarios of Compose that are neither in all four pairings nor, where only our program has what they are about, on both daemons; and
/// why.
const ALONE: &[(&str, &str)] = &[
    ("a_build_file_for_bake_is_dockers", "compares both programs; no daemon has a part in it"),
    (
        "a_build_has_all_that_its_service_says",
        "secrets, ssh and a base of another service: our program asks Docker's daemon for its classic builder, which has none of them",
    ),
    ("a_container_with_the_name_of_a_step_stays", "Docker Compose has no `pre_start`"),
    ("a_file_is_written_for_what_runs", "compose generate"),
    ("a_new_one_that_never_ran_is_no_replica", "rolling updates"),
    ("a_project_comes_from_git", "our own server of git, and no daemon"),
    ("a_project_goes_up_right_from_its_registry", "asks no question, as Docker Compose does"),
    ("a_project_is_published_and_included", "every pairing inside: compose_elsewhere"),
    ("a_project_is_published_with_its_images", "as above"),
    ("a_project_lives_with_both_programs_on_dockers_daemon", "both programs in one project"),
    ("a_project_lives_with_both_programs_on_our_daemon", "both programs in one project"),
    ("a_rehearsal_of_every_command", "a rehearsal names calls of the API, which Docker's does not"),
    (
        "a_service_may_have_the_daemons_socket",
        "both programs in one project; Docker's socket is not where it is looked for",
    ),
    ("an_update_fails_no_request", "our daemon hands ports over; Docker's has nothing like it"),
    ("an_update_one_after_the_other_is_finished", "rolling updates"),
    ("an_update_side_by_side_is_finished_from_each_moment", "rolling updates"),
    ("an_update_that_fails_is_not_noticed_either", "as above"),
    ("ctrl_c_leaves_the_steps_of_others", "Docker Compose has no `pre_start`"),
    ("docker_takes_the_program_as_its_plugin", "our program as the plugin of docker"),
    ("dockers_compose_takes_a_project_over_and_gives_it_back", "both programs in one project"),
    ("every_flag_of_docker_compose_is_one_of_ours", "compares both programs' help"),
    ("every_flag_of_every_command_is_typed", "looks at the scenarios"),
    ("every_scenario_is_in_all_pairings_or_says_why_not", "looks at the scenarios"),
    ("files_and_images_of_containers", "compose generate"),
    (
        "flags_of_a_build",
        "--memory and --check, of which bake and the classic builder have one each",
    ),
    ("images_go_with_what_is_published", "--app of images at a registry of the test's"),
    (
        "images_of_several_platforms_and_what_is_said_of_them",
        "the classic builder has neither platforms nor attestations",
    ),
    ("keys_of_an_up_at_a_terminal", "the line of keys is drawn in another way"),
    ("one_container_takes_another_ones_place", "rolling updates"),
    (
        "one_that_ends_ends_all",
        "with Docker Compose 2.40 what it is not attached to ends nothing; a code is in the_foreground_ends_with_a_code",
    ),
    ("parts_of_a_file", "convert --format kubernetes; the rest is compared in the corpus"),
    ("plans_of_other_kinds", "compose diff"),
    ("services_that_share_are_taken_over", "both programs in one project"),
    ("the_daemon_is_killed_in_the_middle_and_up_again", "kills our daemon"),
    ("the_second_of_two_and_other_forms", "compose generate"),
    ("watch_rebuilds_and_tidies_up", "what watch itself says, in our words"),
    ("what_either_program_publishes_both_use", "both programs in one project"),
];

#[test]
fn every_scenario_is_in_all_pairings_or_says_why_not() {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut alone = BTreeSet::new();
    for entry in fs::read_dir(scenarios).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("compose") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let tests = text.split("#[test]\nfn ").skip(1);
            alone.extend(tests.filter_map(|test| Some(test.split_once('(')?.0.to_owned())));
        }
    }
    let told: BTreeSet<String> = ALONE.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(alone, told, "left: the scenarios; right: those that say why");
}
