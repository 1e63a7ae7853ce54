//! Projects that are loaded right from a registry (`-f oci://…`), published and used by either program: ours and Docker's own.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use ferry_testkit::{FerryRegistry, Registry, RegistryOptions, Run, Sandbox, binary, run};
use serde_json::Value;

use crate::{
    compose::{Project, real},
    compose_publish::files,
};

/// Docker Compose cannot publish names of files in brackets.
const PUBLISHED: &str = "
services:
  web:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    env_file:
      - web.env
    environment: {WHO: \"${WHO:-nobody}\"}
    extends:
      file: base/base.yaml
      service: base
    volumes: [\"./data:/data\"]
";

/// One of the programs, in a directory.
#[derive(Clone)]
struct User<'a> {
    sandbox: &'a Sandbox,
    directory: PathBuf,
    program: PathBuf,
    first: &'static [&'static str],
}

impl<'a> User<'a> {
    fn new(sandbox: &'a Sandbox, name: &str, program: Option<PathBuf>) -> User<'a> {
        let directory = sandbox.dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let first: &[&str] = if program.is_none() { &["compose"] } else { &[] };
        User { sandbox, directory, program: program.unwrap_or_else(binary), first }
    }

    fn with(&self, program: Option<PathBuf>) -> User<'a> {
        let first: &[&str] = if program.is_none() { &["compose"] } else { &[] };
        User { program: program.unwrap_or_else(binary), first, ..self.clone() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(self.first)
            .args(args)
            .current_dir(&self.directory)
            .env("DOCKER_HOST", self.sandbox.host())
            .env("DOCKER_CONFIG", self.sandbox.dir().join("config"))
            .env("XDG_CACHE_HOME", self.sandbox.dir().join("cache"))
            .env("COMPOSE_MENU", "false")
            .env("__TEST__INSECURE__REGISTRY__", "1");
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        run(&mut self.command(args))
    }

    fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    /// With an answer to what is asked.
    fn answered(&self, args: &[&str], answer: &str) -> (bool, String) {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Whoever asks nothing has ended by now.
        drop(child.stdin.take().unwrap().write_all(answer.as_bytes()));
        let end = child.wait_with_output().unwrap();
        let said = [end.stdout, end.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (end.status.success(), said.concat())
    }
}

#[test]
fn a_project_goes_up_right_from_its_registry() {
    let project = Project::new("services: {}\n");
    let registry = FerryRegistry::start(&project.sandbox.dir().join("registry"), &[]);
    let author = User::new(&project.sandbox, "shop", None);
    files(&author.directory, PUBLISHED);
    let name = format!("{}/team/app:1", registry.host());
    author.ok(&["publish", "--yes", "--with-env", &name]);

    let user = User::new(&project.sandbox, "user", None);
    let from = format!("oci://{name}");
    let file = ["-f", from.as_str()];
    let typed = |args: &[&str]| user.run(&[&file, args].concat());
    fs::write(user.directory.join(".env"), "WHO=me\n").unwrap();
    let shown: Value = serde_json::from_str(&typed(&["config", "--format", "json"]).ok()).unwrap();
    assert_eq!(shown["name"], "user", "the project is named by where it is used");
    let web = &shown["services"]["web"];
    assert_eq!(web["environment"]["FROM_FILE"], "yes");
    assert_eq!(web["environment"]["WHO"], "me");
    assert_eq!(web["labels"]["extended"], "1");
    let place = web["volumes"][0]["source"].as_str().unwrap().strip_suffix("/data").unwrap();
    assert!(place.contains("/cache/docker-compose/"), "{place}");

    // What somebody else has written does not run unseen.
    let (well, said) = user.answered(&[&file[..], &["up", "-d"]].concat(), "");
    assert!(!well, "{said}");
    for line in [
        &format!("Your compose stack {from:?} is stored in {place:?}"),
        "VARIABLE   VALUE   SOURCE        REQUIRED   DEFAULT",
        "WHO        me      environment   no         nobody",
        "operation cancelled by user",
    ] {
        assert!(said.contains(line), "{line} is missing:\n{said}");
    }
    assert_eq!(project.sandbox.ok(&["ps", "-aq"]), "");
    let (well, said) = user.answered(&[&file[..], &["up", "-d"]].concat(), "y\n");
    assert!(well, "{said}");
    let directory = project.sandbox.inspect(
        "user-web-1",
        "{{index .Config.Labels \"com.docker.compose.project.working_dir\"}}",
    );
    assert_eq!(directory, place);
    let found = typed(&["exec", "-T", "web", "sh", "-c", "echo $WHO $FROM_FILE"]).ok();
    assert_eq!(found, "me yes");
    let id = project.id("user-web-1");
    typed(&["up", "-d", "--yes"]).ok();
    assert_eq!(project.id("user-web-1"), id);
    let (well, said) =
        user.answered(&[&file[..], &["run", "--rm", "-T", "web", "echo", "ran"]].concat(), "y\n");
    assert!(well && said.contains("ran"), "{said}");
    typed(&["--progress", "quiet", "up", "-d", "--yes"]).ok();

    // Files from here lie over it, and their relative paths lead to where it lies, as with Docker Compose.
    fs::write(user.directory.join("more.yaml"), "services: {web: {labels: {more: here}}}\n")
        .unwrap();
    let both = ["-f", from.as_str(), "-f", "more.yaml", "config", "--format", "json"];
    let shown: Value = serde_json::from_str(&user.ok(&both)).unwrap();
    assert_eq!(shown["services"]["web"]["labels"]["more"], "here");
    let listed = [("COMPOSE_FILE", from.as_str()), ("COMPOSE_PATH_SEPARATOR", ",")];
    let services = run(user.command(&["config", "--services"]).envs(listed)).ok();
    assert_eq!(services, "web");
    typed(&["down"]).ok();
    assert_eq!(project.sandbox.ok(&["ps", "-aq"]), "");
    let none = format!("oci://{}/team/none:1", registry.host());
    let missing = user.run(&["-f", &none, "config"]);
    assert!(missing.code != 0 && missing.stderr.contains("cannot load oci://"), "{missing:?}");
}

/// A registry's answer about a manifest, which is one of a kind.
fn manifest(http: &ferry_testkit::Http, name: &str, reference: &str) -> Value {
    let kinds = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
    let path = format!("/v2/{name}/manifests/{reference}");
    http.send("GET", &path, &[("Accept", kinds)], b"").is(200).json()
}

#[test]
fn a_project_is_published_with_its_images() {
    let project = Project::new("services: {}\n");
    let registry = FerryRegistry::start(&project.sandbox.dir().join("registry"), &[]);
    let other = FerryRegistry::start(&project.sandbox.dir().join("other"), &[]);
    let author = User::new(&project.sandbox, "shop", None);
    let (near, far) = (format!("{}/near:1", registry.host()), format!("{}/far:1", other.host()));
    let text = format!(
        "services:\n  near:\n    image: {near}\n    build: {{context: ., dockerfile_inline: FROM busybox}}\n  far: {{image: \"{far}\"}}\n"
    );
    fs::write(author.directory.join("compose.yaml"), text).unwrap();
    project.sandbox.ok(&["tag", "busybox", &far]);
    project.sandbox.ok(&["push", &far]);
    author.ok(&["build"]);
    author.ok(&["push", "near"]);
    let name = format!("{}/team/app:1", registry.host());
    let told = author.ok(&["--dry-run", "publish", "--app", &name]);
    assert!(told.contains(&format!("# a copy of {far}@sha256:")), "{told}");
    author.ok(&["publish", "--app", "--yes", &name]);

    // The images are in the repository, pinned, and listed as what is about the project.
    let http = registry.http();
    let published = http.ask("GET", "/v2/team/app/manifests/1").is(200);
    let digest = published.header("docker-content-digest").to_owned();
    let last = published.json()["layers"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["annotations"]["com.docker.compose.file"], "image-digests.yaml");
    let about = http.ask("GET", &format!("/v2/team/app/referrers/{digest}")).is(200).json();
    let index = about["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let index = manifest(&http, "team/app", &index);
    assert_eq!(index["subject"]["digest"], digest);
    let images = index["manifests"].as_array().unwrap();
    assert_eq!(images.len(), 2, "{index}");
    let of = |http: &ferry_testkit::Http, name: &str| {
        http.ask("HEAD", &format!("/v2/{name}/manifests/1"))
            .header("docker-content-digest")
            .to_owned()
    };
    let wanted = [of(&http, "near"), of(&other.http(), "far")];
    for image in images {
        let digest = image["digest"].as_str().unwrap();
        assert!(wanted.iter().any(|one| one == digest), "{digest}: {wanted:?}");
        let copy = manifest(&http, "team/app", digest);
        for blob in copy["layers"].as_array().unwrap() {
            let blob = blob["digest"].as_str().unwrap();
            http.ask("HEAD", &format!("/v2/team/app/blobs/{blob}")).is(200);
        }
    }
    let user = User::new(&project.sandbox, "user", None);
    let images = user.ok(&["-f", &format!("oci://{name}"), "config", "--images"]);
    assert!(images.contains(&format!("{far}@sha256:")), "{images}");
    // A digest that is in the copy leads to the same image.
    project.sandbox.ok(&["pull", "-q", &format!("{}/team/app@{}", registry.host(), wanted[1])]);
}

/// Whatever one of the programs publishes, each of them loads, includes and runs.
#[test]
fn what_either_program_publishes_both_use() {
    let Some(theirs) = real() else { return };
    let project = Project::new("services: {}\n");
    let sandbox = &project.sandbox;
    let options = RegistryOptions::default();
    let Some(registry) = Registry::start(sandbox.dir(), &options) else { return };
    let author = User::new(sandbox, "shop", None);
    files(&author.directory, PUBLISHED);
    let programs = [("ours", None), ("theirs", Some(theirs.clone()))];
    for (who, program) in &programs {
        let name = format!("{}/team/{who}:1", registry.host());
        author.with(program.clone()).ok(&["publish", "--yes", "--with-env", &name]);
        let user = User::new(sandbox, who, None);
        let from = format!("oci://{name}");
        fs::write(user.directory.join("compose.yaml"), format!("include: [{from:?}]\n")).unwrap();
        let both = |args: &[&str]| {
            let ours = user.ok(args);
            assert_eq!(ours, user.with(Some(theirs.clone())).ok(args), "{args:?} of {who}");
            ours
        };
        let shown = both(&["-f", &from, "config"]);
        assert!(
            shown.contains("FROM_FILE: \"yes\"") && shown.contains("extended: \"1\""),
            "{shown}"
        );
        both(&["-f", &from, "config", "--hash", "*"]);
        both(&["config"]);
        // Each of them takes over what the other has brought up.
        let up = ["-f", &from, "up", "-d", "--yes"];
        let container = format!("{who}-web-1");
        user.ok(&up);
        let id = sandbox.inspect(&container, "{{.Id}}");
        user.with(Some(theirs.clone())).ok(&up);
        assert_eq!(sandbox.inspect(&container, "{{.Id}}"), id, "theirs finds ours as it is to be");
        user.with(Some(theirs.clone())).ok(&["-f", &from, "down"]);
        user.with(Some(theirs.clone())).ok(&up);
        let id = sandbox.inspect(&container, "{{.Id}}");
        user.ok(&up);
        assert_eq!(sandbox.inspect(&container, "{{.Id}}"), id, "ours finds theirs as it is to be");
        assert_eq!(
            user.ok(&["-f", &from, "exec", "-T", "web", "sh", "-c", "echo $FROM_FILE"]),
            "yes"
        );
        user.ok(&["-f", &from, "down"]);
    }
}
