//! Compose as FEATURES B6 has it: projects of busybox services, through our command line and, where it is there, through Docker's own
//! Compose against our daemon.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ferry_testkit::{Run, Sandbox, binary, run};

/// Three services, of which one waits for another and one is not up of itself.
pub(crate) const FILE: &str = "
services:
  web:
    image: busybox
    command: sh -c 'echo hello from web; exec sleep 1000'
    environment: {WHO: \"${WHO:-nobody}\"}
    depends_on: {db: {condition: service_healthy}}
    stop_grace_period: 0s
  db:
    image: busybox
    command: sleep 1000
    volumes: [data:/data]
    healthcheck: {test: test -f /data/ready || touch /data/ready, interval: 100ms}
    stop_grace_period: 0s
  tool:
    image: busybox
    command: 'true'
    profiles: [tools]
volumes: {data: }
";

/// A project in a directory of its own.
pub(crate) struct Project {
    pub(crate) sandbox: Sandbox,
    pub(crate) directory: PathBuf,
}

impl Project {
    pub(crate) fn new(text: &str) -> Project {
        let sandbox = Sandbox::start();
        sandbox.busybox();
        let directory = sandbox.dir().join("shop");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("compose.yaml"), text).unwrap();
        Project { sandbox, directory }
    }

    /// A program in the project's directory, with the sandbox's daemon.
    pub(crate) fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.directory)
            .env("DOCKER_HOST", self.sandbox.host())
            .env("DOCKER_CONFIG", self.sandbox.dir().join("config"));
        command
    }

    /// Our own `compose`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(&binary());
        command.arg("compose").args(args);
        command
    }

    pub(crate) fn typed(&self, program: &Path, first: &[&str], args: &[&str]) -> Run {
        run(self.program(program).args(first).args(args))
    }

    /// Begins one of our own, which nobody looks at.
    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        run(&mut self.command(args))
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    pub(crate) fn id(&self, name: &str) -> String {
        self.sandbox.inspect(name, "{{.Id}}")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // A test that has failed leaves containers, which would hold the sandbox's networks.
        drop(self.run(&["down", "-v", "-t", "0"]));
    }
}

/// Docker's own Compose, where a machine has it.
pub(crate) fn real() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_COMPOSE").map(PathBuf::from);
    let known = [
        "/usr/libexec/docker/cli-plugins/docker-compose",
        "/tmp/peers/root/usr/libexec/docker/cli-plugins/docker-compose",
    ];
    named.into_iter().chain(known.map(PathBuf::from)).find(|path| path.is_file())
}

#[test]
fn files_merge_and_mistakes_have_composes_words() {
    let project = Project::new(FILE);
    let extra = "services:\n  web:\n    environment: [MORE=1]\n    ports: !reset []\n  db:\n    command: sleep 5\n";
    fs::write(project.directory.join("compose.override.yaml"), extra).unwrap();
    let shown = project.ok(&["config"]);
    assert!(shown.contains("      MORE: \"1\"\n      WHO: nobody\n"), "{shown}");
    assert!(shown.contains("      - sleep\n      - \"5\"\n"), "{shown}");
    for (text, words) in [
        ("services: {x: {image: a, foo: 1}}", "services.x additional properties 'foo' not allowed"),
        ("services: {x: {image: 5}}", "services.x.image must be a string"),
        ("services: {x: {image: a, ports: 5}}", "services.x.ports must be a array"),
        (
            "services: {x: {hostname: a}}",
            "service \"x\" has neither an image nor a build context specified: invalid compose project",
        ),
        (
            "services: {x: {image: a, volumes: [vol:/v]}, y: {image: a}}",
            "service \"x\" refers to undefined volume vol: invalid compose project",
        ),
        (
            "services: {x: {image: a, depends_on: [y]}, y: {image: a, depends_on: [x]}}",
            "dependency cycle detected: x -> y -> x",
        ),
        (
            "services: {x: {image: '${NONE:?no value}'}}",
            "error while interpolating services.x.image: required variable NONE is missing a value: no value",
        ),
        ("include: [other.yaml]", "other.yaml: no such file or directory"),
    ] {
        fs::write(project.directory.join("wrong.yaml"), text).unwrap();
        let wrong = project.run(&["-f", "wrong.yaml", "config"]);
        assert_ne!(wrong.code, 0, "{text}");
        assert!(wrong.stderr.contains(words), "{text}: {}", wrong.stderr);
    }
}

#[test]
fn dockers_compose_takes_a_project_over_and_gives_it_back() {
    let Some(compose) = real() else { return };
    let project = Project::new(FILE);
    let theirs = |args: &[&str]| project.typed(&compose, &[], args);
    project.ok(&["up", "-d"]);
    let (web, db) = (project.id("shop-web-1"), project.id("shop-db-1"));
    assert_eq!(theirs(&["config", "--hash", "*"]).ok(), project.ok(&["config", "--hash", "*"]));
    assert_eq!(theirs(&["config"]).ok(), project.ok(&["config"]));
    theirs(&["up", "-d"]).ok();
    assert_eq!((project.id("shop-web-1"), project.id("shop-db-1")), (web, db));
    theirs(&["down", "-v"]).ok();
    theirs(&["up", "-d"]).ok();
    let web = project.id("shop-web-1");
    let ours = project.run(&["up", "-d"]);
    assert!(ours.stderr.contains(" Container shop-web-1  Running"), "{}", ours.stderr);
    assert_eq!(project.id("shop-web-1"), web);
    project.ok(&["down", "-v"]);
    assert_eq!(project.sandbox.ok(&["ps", "-aq"]), "");
}
