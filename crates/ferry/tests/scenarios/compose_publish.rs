//! Projects from elsewhere: published as an artifact of a registry and included from there, and from git.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ferry_testkit::{FerryRegistry, Run, eventually, programs, run};
use serde_json::Value;

use crate::compose::Project;

const PUBLISHED: &str = "
services:
  web:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    env_file: [web.env]
    extends: {file: base/base.yaml, service: base}
";

/// A command of a project with a cache of its own.
fn ours(project: &Project, args: &[&str]) -> Run {
    run(project.command(args).env("XDG_CACHE_HOME", project.sandbox.dir().join("cache")))
}

/// A project, and what it refers to.
pub(crate) fn files(directory: &Path, text: &str) {
    fs::create_dir_all(directory.join("base")).unwrap();
    fs::write(directory.join("compose.yaml"), text).unwrap();
    fs::write(directory.join("web.env"), "FROM_FILE=yes\n").unwrap();
    let base = "services: {base: {labels: {extended: \"1\"}}}\n";
    fs::write(directory.join("base/base.yaml"), base).unwrap();
}

fn manifest(registry: &FerryRegistry, name: &str) -> Value {
    let (name, tag) = name.split_once(':').unwrap();
    registry.http().ask("GET", &format!("/v2/{name}/manifests/{tag}")).is(200).json()
}

#[test]
fn a_project_is_published_and_included() {
    let project = Project::new("services: {}\n");
    let registry = FerryRegistry::start(&project.sandbox.dir().join("registry"), &[]);
    files(&project.directory, PUBLISHED);
    let name = |name: &str| format!("{}/{name}", registry.host());
    let refused = ours(&project, &["publish", &name("app:1")]).fails(1);
    refused.says("service \"web\" has env_file declared.");
    ours(&project, &["publish", "--oci-version", "3", &name("app:1")])
        .fails(1)
        .says("unsupported OCI version: 3");
    ours(&project, &["publish", "--yes", "--with-env", &name("app:1")]).ok();
    let mine = manifest(&registry, "app:1");
    assert_eq!(mine["artifactType"], "application/vnd.docker.compose.project");
    ours(&project, &["publish", "-y", "--with-env", "--oci-version", "1.0", &name("old:1")]).ok();
    let old = manifest(&registry, "old:1");
    let kind = "application/vnd.docker.compose.config.empty.v1+json";
    assert!(old["artifactType"].is_null() && old["config"]["mediaType"] == kind, "{old}");

    // Whoever includes it has all of its files.
    let user = project.sandbox.dir().join("user");
    fs::create_dir_all(&user).unwrap();
    let user = Project::elsewhere(ferry_testkit::Sandbox::start(), user);
    for published in ["app:1", "old:1"] {
        let text = format!("include: [\"oci://{}\"]\n", name(published));
        fs::write(user.directory.join("compose.yaml"), text).unwrap();
        let shown = ours(&user, &["config", "--format", "json"]).ok();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let web = &shown["services"]["web"];
        assert_eq!(web["image"], "busybox", "{published}");
        assert_eq!(web["environment"]["FROM_FILE"], "yes", "{published}");
        assert_eq!(web["labels"]["extended"], "1", "{published}");
    }
    // It goes up from there, too.
    user.sandbox.busybox();
    ours(&user, &["up", "-d"]).ok();
    let found = ours(&user, &["exec", "-T", "web", "sh", "-c", "echo $FROM_FILE"]).ok();
    assert_eq!(found, "yes");
    ours(&user, &["down"]).ok();
    fs::write(
        user.directory.join("compose.yaml"),
        format!("include: [\"oci://{}\"]\n", name("none:1")),
    )
    .unwrap();
    let missing = ours(&user, &["config"]);
    assert!(missing.code != 0 && missing.stderr.contains("cannot load oci://"), "{missing:?}");
}

#[test]
fn images_go_with_what_is_published() {
    let project = Project::new("services: {}\n");
    let registry = FerryRegistry::start(&project.sandbox.dir().join("registry"), &[]);
    let image = format!("{}/web:1", registry.host());
    let hook = format!("{}/hook:1", registry.host());
    project.sandbox.ok(&["tag", "busybox", &hook]);
    project.sandbox.ok(&["push", &hook]);
    let text = format!(
        "services:\n  web:\n    image: {image}\n    build: {{context: ., dockerfile_inline: FROM busybox}}\n    \
         pre_start: [{{command: 'true'}}, {{image: {hook}, command: 'echo ${{WHERE:-nowhere}}'}}]\n"
    );
    fs::write(project.directory.join("compose.yaml"), &text).unwrap();
    let name = format!("{}/app", registry.host());
    let told = ours(&project, &["--dry-run", "publish", &name]).ok();
    assert!(told.contains("/app:latest"), "{told}");
    assert_eq!(registry.http().ask("GET", "/v2/app/manifests/latest").status, 404);
    project.ok(&["build"]);
    ours(&project, &["publish", "--resolve-image-digests", &name]).ok();
    assert_eq!(registry.http().ask("HEAD", "/v2/web/manifests/1").status, 200);
    let digest = |path: &str| {
        let found = registry.http().ask("HEAD", path);
        found.header("docker-content-digest").to_owned()
    };
    let (digest, hook_digest) = (digest("/v2/web/manifests/1"), digest("/v2/hook/manifests/1"));
    let published = manifest(&registry, "app:latest");
    let last = published["layers"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["annotations"]["com.docker.compose.file"], "image-digests.yaml");
    fs::write(project.directory.join("compose.yaml"), format!("include: [\"oci://{name}\"]\n"))
        .unwrap();
    let pinned = ours(&project, &["config", "--images"]).ok();
    assert_eq!(pinned, format!("{image}@{digest}\n{hook}@{hook_digest}"));
    // Its steps are as many as before, and what they say of variables is for whoever runs them.
    let mut config = project.command(&["config", "--format", "json"]);
    let shown =
        run(config.env("XDG_CACHE_HOME", project.sandbox.dir().join("cache")).env("WHERE", "here"));
    let shown: Value = serde_json::from_str(&shown.ok()).unwrap();
    let steps = shown["services"]["web"]["pre_start"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[1]["command"], serde_json::json!(["echo", "here"]));
    // What only a build can make is of no use to others, nor is what lies beside it.
    fs::write(project.directory.join("compose.yaml"), "services: {a: {build: .}}\n").unwrap();
    ours(&project, &["publish", &name])
        .fails(1)
        .says("only contains a build section for service(s):");
    fs::write(project.directory.join("other.yaml"), "services: {a: {image: x}}\n").unwrap();
    fs::write(project.directory.join("compose.yaml"), "include: [other.yaml]\n").unwrap();
    ours(&project, &["publish", &name])
        .fails(1)
        .says("cannot publish compose file with local includes");
}

struct GitServer(Child);

impl Drop for GitServer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_project_comes_from_git() {
    let Some(git) = programs::find("git") else { return };
    let project = Project::new("services: {}\n");
    let repository = project.sandbox.dir().join("git/app");
    fs::create_dir_all(repository.join("deep")).unwrap();
    let said = |words: &[&str]| {
        let mut command = Command::new(&git);
        command.arg("-C").arg(&repository).args(["-c", "user.name=n", "-c", "user.email=e@x"]);
        run(command.args(words)).ok()
    };
    let commit = |image: &str| {
        let text = format!("services: {{a: {{image: {image}, env_file: a.env}}}}\n");
        fs::write(repository.join("deep/compose.yaml"), text).unwrap();
        fs::write(repository.join("deep/a.env"), "A=1\n").unwrap();
        said(&["add", "."]);
        said(&["commit", "-q", "-m", image]);
        said(&["rev-parse", "HEAD"])
    };
    said(&["init", "-q", "-b", "main"]);
    std::os::unix::fs::symlink("/etc/hostname", repository.join("outside.yaml")).unwrap();
    let first = commit("one");
    let port = ferry_testkit::free_port();
    let base = format!("--base-path={}", project.sandbox.dir().join("git").display());
    // Not through `git`, which would leave it behind when killed.
    let place = run(Command::new(&git).arg("--exec-path")).ok();
    let server = Command::new(PathBuf::from(place).join("git-daemon"))
        .args([
            "--listen=127.0.0.1",
            &format!("--port={port}"),
            "--export-all",
            "--reuseaddr",
            &base,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(server) = server else {
        // Some packages of git have it apart.
        programs::may_be_missing("git-daemon");
        return;
    };
    let _server = GitServer(server);
    eventually("git serves", || TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()));
    let image = |reference: &str| {
        let text = format!("include: [\"git://127.0.0.1:{port}/app#{reference}\"]\n");
        fs::write(project.directory.join("compose.yaml"), text).unwrap();
        ours(&project, &["config", "--images"])
    };
    assert_eq!(image("main:deep").ok(), "one");
    let second = commit("two");
    assert_eq!(image("main:deep/compose.yaml").ok(), "two", "a branch is asked for each time");
    assert_eq!(image(&format!("{first}:deep")).ok(), "one");
    assert_eq!(image(&format!("{second}:deep")).ok(), "two");
    for (reference, words) in [
        ("nothing:deep", "git ls-remote"),
        ("main", "it has no Compose file"),
        ("main:outside.yaml", "it leads out of the repository"),
        ("main:../..", "it leads out of the repository"),
        ("--upload-pack=x", "git ls-remote"),
    ] {
        let wrong = image(reference);
        assert!(wrong.code != 0 && wrong.stderr.contains(words), "{reference}: {wrong:?}");
    }
}
