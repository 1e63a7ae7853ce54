//! Whoever updates a service is killed in the middle of it, at each moment; the next `up` makes the project whole: one container of each
//! number, with its own name, and found by the service's name and port.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use ferry_testkit::{Run, eventually, free_port, run};

use crate::{compose::Project, compose_rolling::get};

/// A version is well when somebody says so.
const FILE: &str = r#"
services:
  web:
    image: busybox
    command: sh -c 'mkdir /www; echo $$VERSION > /www/v; exec httpd -f -p 80 -h /www'
    environment: {VERSION: "${VERSION:-1}"}
    volumes: ["./gate:/gate"]
    healthcheck: {test: "test -f /gate/$$VERSION", interval: 100ms, retries: 6000}
    stop_grace_period: 0s
PLACE
  look: {image: busybox, command: sleep 1000, stop_grace_period: 0s}
"#;

struct Updated {
    project: Project,
    version: u32,
}

impl Updated {
    fn new(place: &str) -> Updated {
        let project = Project::new(&FILE.replace("PLACE", place));
        fs::create_dir(project.directory.join("gate")).unwrap();
        let updated = Updated { project, version: 1 };
        updated.well();
        updated.up(&["--wait"]).ok();
        updated
    }

    /// Lets the version be well from now on.
    fn well(&self) {
        fs::write(self.project.directory.join(format!("gate/{}", self.version)), "").unwrap();
    }

    fn command(&self) -> Command {
        let mut command = self.project.command(&["up", "-d"]);
        command.env("VERSION", self.version.to_string());
        command
    }

    fn up(&self, more: &[&str]) -> Run {
        run(self.command().args(more))
    }

    /// Begins to update to the next version, and is killed while the first new container runs and is not well.
    fn killed(&mut self) -> String {
        self.version += 1;
        let mut child: Child = self.command().stderr(Stdio::null()).spawn().unwrap();
        let new = eventually("the new one runs", || {
            let names = self.project.sandbox.ok(&["ps", "--format", "{{.Names}}"]);
            names.lines().find(|name| name.ends_with("_shop-web-1")).map(str::to_owned)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        new
    }

    /// `up` again, and everything is as if nobody had been killed.
    fn whole(&self, moment: &str, containers: &[&str]) {
        self.well();
        let up = self.up(&[]);
        assert_eq!(up.code, 0, "{moment}: {up:?}");
        let names = self.project.sandbox.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
        let mut names: Vec<&str> = names.lines().collect();
        names.sort_unstable();
        assert_eq!(names, containers, "{moment}");
        let look = ["exec", "-T", "look", "nslookup", "web"];
        let found = self.project.run(&look).stdout;
        let found = found.lines().filter(|line| line.starts_with("Address")).skip(1).count();
        assert_eq!(found, containers.len() - 1, "{moment}: each is found, and nothing else");
        for number in 1..containers.len() {
            let index = number.to_string();
            let cat = ["exec", "-T", "--index", &index, "web", "cat", "/www/v"];
            // Well is who has a gate, which may be before it has written this.
            let version = eventually(moment, || {
                let text = self.project.run(&cat).stdout.trim().to_owned();
                Some(text).filter(|text| !text.is_empty())
            });
            assert_eq!(version, self.version.to_string(), "{moment}");
        }
        let again = self.up(&["--dry-run"]);
        assert_eq!(again.ok(), "", "{moment}: nothing is left to do");
    }
}

#[test]
fn an_update_side_by_side_is_finished_from_each_moment() {
    let port = free_port();
    let mut updated = Updated::new(&format!(
        "    ports: ['127.0.0.1:{port}:80']\n    deploy: {{update_config: {{order: start-first}}}}"
    ));
    for moment in ["aside", "revealed", "the old one stopped", "the old one renamed"] {
        let new = updated.killed();
        let old = updated.project.id("shop-web-1");
        let post = |path: &str| {
            let (status, answer) = updated.project.sandbox.api().call("POST", path, None);
            assert!((200..300).contains(&status), "{moment}: {path}: {answer}");
        };
        if moment != "aside" {
            post(&format!("/containers/{new}/reveal?t=0&from={old}"));
        }
        if moment.starts_with("the old one") {
            post(&format!("/containers/{old}/stop"));
        }
        if moment == "the old one renamed" {
            post(&format!("/containers/{old}/rename?name={}_old_shop-web-1", &old[..12]));
        }
        updated.whole(moment, &["shop-look-1 running", "shop-web-1 running"]);
        let version = eventually(moment, || get(port).ok());
        assert_eq!(version, updated.version.to_string(), "{moment}");
    }
}

#[test]
fn an_update_one_after_the_other_is_finished() {
    let place = "    deploy: {replicas: 2, update_config: {order: stop-first, parallelism: 1}}";
    let mut updated = Updated::new(place);
    let whole = ["shop-look-1 running", "shop-web-1 running", "shop-web-2 running"];
    updated.killed();
    updated.whole("the new one runs", &whole);
    // The same while the daemon was not there: who is aside is not on its record.
    updated.killed();
    updated.project.sandbox.kill_daemon();
    updated.project.sandbox.start_daemon(None);
    updated.whole("the daemon was killed as well", &whole);
}

/// Without `update_config` a new container is only made when the old one is removed; what was made of several is removed, not mixed up.
#[test]
fn a_new_one_that_never_ran_is_no_replica() {
    let file = "services:\n  web: {image: busybox, command: sleep 1000, stop_grace_period: 0s, scale: 2}\n";
    let project = Project::new(file);
    project.ok(&["up", "-d"]);
    let (old, second) = (project.id("shop-web-1"), project.id("shop-web-2"));
    let labels = project.sandbox.inspect("shop-web-1", "{{json .Config.Labels}}");
    let mut labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
    fs::write(project.directory.join("compose.yaml"), file.replace("1000", "2000")).unwrap();
    let hash = project.ok(&["config", "--hash", "web"]);
    labels["com.docker.compose.config-hash"] = hash.split_whitespace().last().unwrap().into();
    let body = serde_json::json!({
        "Image": "busybox", "Cmd": ["sleep", "2000"], "Labels": labels,
        "HostConfig": {"NetworkMode": "shop_default"},
    });
    let path = format!("/containers/create?name={}_shop-web-1", &old[..12]);
    let (status, made) = project.sandbox.api().call("POST", &path, Some(&body));
    assert_eq!(status, 201, "{made}");
    project.ok(&["up", "-d"]);
    let names = project.sandbox.ok(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["shop-web-1 running", "shop-web-2 running"]);
    assert_ne!((project.id("shop-web-1"), project.id("shop-web-2")), (old, second));
}
