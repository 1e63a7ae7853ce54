//! Compose as FEATURES B6 has it: projects of busybox services, through our command line and, where it is there, through Docker's own
//! Compose against our daemon.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ferry_testkit::{Client, DOCKERD, Run, Sandbox, binary, eventually, run};

use crate::with_busybox;

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

/// A program that speaks to a daemon: ours or Docker's own, each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairing {
    pub(crate) their_program: bool,
    pub(crate) their_daemon: bool,
}

/// Both are ours.
pub(crate) const OURS: Pairing = Pairing { their_program: false, their_daemon: false };

/// Each scenario in the four pairings.
macro_rules! in_all_pairings {
    ($($name:ident),+ $(,)?) => {
        mod ours_on_ours {
            $(#[test] fn $name() { crate::compose::pair(false, false, super::$name); })+
        }
        mod theirs_on_ours {
            $(#[test] fn $name() { crate::compose::pair(true, false, super::$name); })+
        }
        mod against_docker {
            mod ours {
                $(#[test] fn $name() { crate::compose::pair(false, true, super::super::$name); })+
            }
            mod theirs {
                $(#[test] fn $name() { crate::compose::pair(true, true, super::super::$name); })+
            }
        }
    };
}
pub(crate) use in_all_pairings;

/// Each scenario of what only our program has, on both daemons.
macro_rules! on_both_daemons {
    ($($name:ident),+ $(,)?) => {
        mod of_ours {
            mod on_ours {
                $(#[test] fn $name() { crate::compose::pair(false, false, super::super::$name); })+
            }
            mod against_docker {
                $(#[test] fn $name() { crate::compose::pair(false, true, super::super::$name); })+
            }
        }
    };
}
pub(crate) use on_both_daemons;

/// Runs a scenario where there are both.
pub(crate) fn pair(their_program: bool, their_daemon: bool, scenario: fn(Pairing)) {
    if their_program && real().is_none() {
        eprintln!("SKIPPED: there is no Docker Compose to compare with");
    } else if their_daemon && std::env::var_os(DOCKERD).is_none() {
        eprintln!("SKIPPED: {DOCKERD} names no Docker daemon to use");
    } else {
        scenario(Pairing { their_program, their_daemon });
    }
}

impl Pairing {
    /// The program, with what stands before its words.
    pub(crate) fn program(self) -> (PathBuf, &'static [&'static str]) {
        match real().filter(|_| self.their_program) {
            Some(program) => (program, &[]),
            None => (binary(), &["compose"]),
        }
    }

    /// The daemon, which has an image.
    pub(crate) fn daemon(self) -> Sandbox {
        with_busybox(if self.their_daemon { Client::FerryOnDocker } else { Client::Ferry })
    }

    pub(crate) fn project(self, text: &str) -> Project {
        let sandbox = self.daemon();
        // Docker's daemon may be in a root of its own, with the temporary directory in it.
        let own = sandbox.dir().file_name().unwrap().to_owned();
        let scratch = self.their_daemon.then(|| std::env::temp_dir().join(own));
        let above = scratch.as_deref().unwrap_or(sandbox.dir());
        let directory = above.join("shop");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("compose.yaml"), text).unwrap();
        Project { pairing: self, sandbox, directory, scratch, images: RefCell::default() }
    }
}

/// A project in a directory of its own.
pub(crate) struct Project {
    pub(crate) pairing: Pairing,
    pub(crate) sandbox: Sandbox,
    pub(crate) directory: PathBuf,
    /// What is not below the sandbox.
    scratch: Option<PathBuf>,
    /// Images that are removed with it: a daemon that is not the sandbox's own stays.
    images: RefCell<Vec<String>>,
}

impl Project {
    /// With our program and our daemon.
    pub(crate) fn new(text: &str) -> Project {
        OURS.project(text)
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

    /// Another one's, with a daemon and a directory of its own.
    pub(crate) fn elsewhere(sandbox: Sandbox, directory: PathBuf) -> Project {
        let images = RefCell::default();
        Project { pairing: OURS, sandbox, directory, scratch: None, images }
    }

    /// An image of the project's, for as long as it is there.
    pub(crate) fn import(&self, tar: &Path, name: &str) {
        self.owns(name);
        self.sandbox.ok(&["import", tar.to_str().unwrap(), name]);
    }

    /// An image of that name is the project's, wherever it comes from.
    pub(crate) fn owns(&self, name: &str) {
        self.images.borrow_mut().push(name.to_owned());
    }

    /// `build` of an image of the project's.
    pub(crate) fn build(&self, directory: &Path, name: &str) {
        self.owns(name);
        self.sandbox.ok(&["build", "-t", name, directory.to_str().unwrap()]);
    }

    /// Gives Docker Compose what it builds with. False, after a line that says so, where it would need that and it is missing.
    pub(crate) fn can_build(&self) -> bool {
        if !self.pairing.their_program {
            return true;
        }
        let known = ["/usr/libexec", "/tmp/peers/root/usr/libexec"];
        let known = known.map(|above| Path::new(above).join("docker/cli-plugins/docker-buildx"));
        let Some(buildx) = known.into_iter().find(|path| path.is_file()) else {
            eprintln!("SKIPPED: Docker Compose builds with buildx, which is not there");
            return false;
        };
        let plugins = self.sandbox.dir().join("config/cli-plugins");
        fs::create_dir_all(&plugins).unwrap();
        std::os::unix::fs::symlink(buildx, plugins.join("docker-buildx")).unwrap();
        true
    }

    /// The pairing's `compose`.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let (program, first) = self.pairing.program();
        let mut command = self.program(&program);
        command.args(first).args(args);
        command
    }

    /// The names of all its containers.
    pub(crate) fn containers(&self, project: &str) -> String {
        let filter = format!("label=com.docker.compose.project={project}");
        self.sandbox.ok(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"])
    }

    pub(crate) fn typed(&self, program: &Path, first: &[&str], args: &[&str]) -> Run {
        run(self.program(program).args(first).args(args))
    }

    /// Begins one that nobody looks at.
    pub(crate) fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// Begins one that watches files. Docker Compose looks at them only when its first copy is made, and says so then: what is
    /// written between the two it never sees. Ours sees it.
    pub(crate) fn begin_watching(&self, args: &[&str]) -> Child {
        if !self.pairing.their_program {
            return self.begin(args);
        }
        let path = self.sandbox.dir().join("watching");
        let file = fs::File::create(&path).unwrap();
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        let said = || fs::read_to_string(&path).unwrap();
        eventually("it watches", || said().contains("Watch enabled").then_some(()));
        child
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
        let mut down = vec!["down", "-v", "-t", "0", "--remove-orphans"];
        if self.pairing.their_daemon {
            down.extend(["--rmi", "local"]);
        }
        drop(self.run(&down));
        for image in self.images.borrow().iter().filter(|_| self.pairing.their_daemon) {
            drop(self.sandbox.run(&["rmi", "-f", image]));
        }
        if let Some(scratch) = &self.scratch {
            drop(fs::remove_dir_all(scratch));
        }
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

in_all_pairings!(files_merge_and_mistakes_have_composes_words);

fn files_merge_and_mistakes_have_composes_words(pairing: Pairing) {
    let project = pairing.project(FILE);
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

const SHARED: &str = "
services:
  base:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    volumes: [/v]
    label_file: ./labels
    mem_swappiness: 10
    deploy: {restart_policy: {condition: on-failure, max_attempts: 4}}
  beside:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    network_mode: 'service:base'
    pid: 'service:base'
    volumes_from: [base]
  linked: {image: busybox, command: sleep 1000, stop_grace_period: 0s, links: ['base:other']}
";

/// Hashes are also of the ids of containers that are shared, and of files.
#[test]
fn services_that_share_are_taken_over() {
    let Some(compose) = real() else { return };
    let project = Project::new(SHARED);
    fs::write(project.directory.join("labels"), "l=v\n").unwrap();
    let theirs = |args: &[&str]| project.typed(&compose, &[], args);
    let ids = || ["shop-base-1", "shop-beside-1", "shop-linked-1"].map(|name| project.id(name));
    let policy = || project.sandbox.inspect("shop-base-1", "{{.HostConfig.RestartPolicy}}");
    project.ok(&["up", "-d"]);
    assert_eq!(policy(), "{on-failure 4}");
    let found = project.run(&["exec", "-T", "linked", "nslookup", "other"]).stdout;
    assert!(found.contains("Name:"), "{found}");
    let first = ids();
    theirs(&["up", "-d"]).ok();
    assert_eq!(ids(), first);
    theirs(&["down", "-v"]).ok();
    theirs(&["up", "-d"]).ok();
    let second = ids();
    project.ok(&["up", "-d"]);
    assert_eq!((ids(), policy()), (second, "{on-failure 4}".to_owned()));
}

#[test]
fn a_service_may_have_the_daemons_socket() {
    let project = Project::new(
        "services:\n  a:\n    image: busybox\n    command: sleep 1000\n    stop_grace_period: 0s\n    use_api_socket: true\n",
    );
    let config = project.sandbox.dir().join("config");
    fs::create_dir_all(&config).unwrap();
    let known = r#"{"auths":{"registry.example":{"auth":"YW5uOnNlY3JldA=="}}}"#;
    fs::write(config.join("config.json"), known).unwrap();
    project.ok(&["up", "-d"]);
    let look = "test -S /var/run/docker.sock && echo socket; echo $DOCKER_CONFIG; cat $DOCKER_CONFIG/config.json";
    let seen = project.ok(&["exec", "-T", "a", "sh", "-c", look]);
    assert!(seen.starts_with("socket\n/run/secrets/docker\n"), "{seen}");
    assert!(seen.contains("YW5uOnNlY3JldA=="), "{seen}");
    assert!(!project.ok(&["config"]).contains("docker.sock"), "the file says nothing of how");
    let id = project.id("shop-a-1");
    project.ok(&["up", "-d"]);
    if let Some(compose) = real() {
        project.typed(&compose, &[], &["up", "-d"]).ok();
    }
    assert_eq!(project.id("shop-a-1"), id, "to either program it is as it should be");
}
