//! Images of a project's services: built with all that a build can have, pulled, pushed, and pinned to their digests.

use std::{fs, os::unix::net::UnixListener};

use ferry_testkit::FerryRegistry;
use serde_json::Value;

use crate::compose::{OURS, Pairing, Project, in_all_pairings, on_both_daemons, real};

in_all_pairings!(images_go_to_a_registry);
// `pull --policy never` and the lock of what is built are told in another way by Docker Compose.
on_both_daemons!(images_come_from_a_registry, images_are_pinned_to_their_digests);

/// A project whose services' images are those of a registry of its own, where nothing is yet.
fn with_registry(pairing: Pairing, text: &str) -> (Project, FerryRegistry) {
    let project = pairing.project("services: {}\n");
    let registry = FerryRegistry::start(&project.sandbox.dir().join("registry"), &[]);
    let text = text.replace("HOST", registry.host());
    fs::write(project.directory.join("compose.yaml"), text).unwrap();
    (project, registry)
}

fn file_of(project: &Project, image: &str, path: &str) -> String {
    project.sandbox.ok(&["run", "--rm", image, "cat", path])
}

const BUILT: &str = r#"
services:
  web:
    build:
      context: .
      args: {ONE: "1", TWO: }
      additional_contexts: {base: "service:base", files: ./files}
      secrets: [{source: token, target: t}, file]
      ssh: ["default=AGENT"]
      dockerfile_inline: |
        FROM base
        ARG ONE
        ARG TWO
        ARG THREE
        COPY --from=files f /f
        RUN --mount=type=secret,id=t --mount=type=secret,id=file --mount=type=ssh \
            echo "$$ONE $$TWO $$THREE $$(cat /f /run/secrets/t /run/secrets/file) $$(test -S $$SSH_AUTH_SOCK && echo agent)" > /out
  base:
    image: own/base:1
    build: {context: ., dockerfile_inline: "FROM busybox\nRUN echo based > /base\n"}
secrets: {token: {environment: TOKEN}, file: {file: ./secret}}
"#;

#[test]
fn a_build_has_all_that_its_service_says() {
    let project = Project::new("services: {}\n");
    let agent = project.directory.join("agent");
    let _listener = UnixListener::bind(&agent).unwrap();
    let text = BUILT.replace("AGENT", &agent.display().to_string());
    fs::write(project.directory.join("compose.yaml"), text).unwrap();
    fs::write(project.directory.join(".env"), "TOKEN=s3cret\nTWO=2\n").unwrap();
    fs::write(project.directory.join("secret"), "hidden\n").unwrap();
    fs::create_dir(project.directory.join("files")).unwrap();
    fs::write(project.directory.join("files/f"), "file ").unwrap();
    // What it starts from is built with it, and before it.
    project.ok(&["build", "--quiet", "--build-arg", "THREE=3", "web"]);
    assert_eq!(file_of(&project, "shop-web", "/out"), "1 2 3 file s3crethidden agent");
    assert_eq!(file_of(&project, "shop-web", "/base"), "based");
    let scratch = fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let prefix = ".ferry-compose-";
    let mine = scratch.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let left =
        mine.filter(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text == "s3cret"));
    assert_eq!(left.count(), 0, "no secret stays on the disk");
    // `up` builds what is missing in the same order.
    project.sandbox.ok(&["rmi", "-f", "shop-web", "own/base:1"]);
    project.ok(&["up", "--no-start", "web"]);
    assert_eq!(file_of(&project, "own/base:1", "/base"), "based");
}

const SAID: &str = r#"
services:
  app:
    image: HOST/app:1
    command: /said
    build:
      context: .
      platforms: [linux/amd64, linux/arm64]
      provenance: mode=max
      sbom: true
      dockerfile_inline: |
        FROM --platform=$$BUILDPLATFORM busybox AS make
        ARG TARGETPLATFORM
        RUN echo $$TARGETPLATFORM > /said
        FROM scratch
        COPY --from=make /said /
"#;

/// What an index lists: architectures, and `unknown` for what is said of an image.
fn listed(registry: &FerryRegistry, name: &str) -> Vec<String> {
    let index = crate::build::attested::manifest(registry, name, "1");
    let all = index["manifests"].as_array().into_iter().flatten();
    all.map(|one| one["platform"]["architecture"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn images_of_several_platforms_and_what_is_said_of_them() {
    let (project, registry) = with_registry(OURS, SAID);
    project.ok(&["build", "--push"]);
    assert_eq!(listed(&registry, "app"), ["amd64", "arm64", "unknown", "unknown"]);
    // The command line is stronger than the file.
    project.ok(&["build", "--push", "--sbom=false", "--provenance=false"]);
    assert_eq!(listed(&registry, "app"), ["amd64", "arm64"]);
    // What is to run here is that of one platform.
    let name = format!("{}/app:1", registry.host());
    project.sandbox.ok(&["rmi", &name]);
    project.ok(&["up", "--no-start", "--quiet-build"]);
    project.ok(&["push", "--quiet"]);
    assert_eq!(listed(&registry, "app").len(), 2, "one, and what is said of it");
    let text = SAID.replace("HOST/", "").replace("platforms: [linux/amd64, linux/arm64]", "");
    fs::write(project.directory.join("compose.yaml"), &text).unwrap();
    for (flag, value) in [("--provenance", "nothing=1"), ("--sbom", "generator=x")] {
        project.run(&["build", flag, value]).fails(1).says("of an attestation");
    }
    let lists = "      platforms: [linux/amd64]\n    platform: linux/s390x\n";
    fs::write(project.directory.join("compose.yaml"), text.trim_end().to_owned() + "\n" + lists)
        .unwrap();
    let wrong = project.run(&["config"]);
    wrong.says("service.build.platforms MUST include service.platform \"linux/s390x\"");
}

#[test]
fn a_build_file_for_bake_is_dockers() {
    let project = Project::new(&BUILT.replace("\"default=AGENT\"", "default, k=/path"));
    fs::write(project.directory.join("secret"), "").unwrap();
    let words = ["build", "--print", "--no-cache", "--push", "--ssh", "x=/y", "--build-arg", "A=b"];
    let ours: Value = serde_json::from_str(&project.ok(&words)).unwrap();
    assert_eq!(ours["target"]["web"]["contexts"]["base"], "target:base");
    assert_eq!(ours["target"]["base"]["output"], serde_json::json!(["type=registry"]));
    let checked: Value =
        serde_json::from_str(&project.ok(&["build", "--print", "--check"])).unwrap();
    assert_eq!(checked["target"]["web"]["call"], "lint");
    let Some(compose) = real() else { return };
    let said = SAID.replace("HOST/", "");
    fs::write(project.directory.join("said.yaml"), said).unwrap();
    let said = ["-f", "said.yaml", "build", "--print"];
    for words in [words.as_slice(), &["build", "--print", "--pull", "base"], &said] {
        let said = project.typed(&compose, &[], words).ok();
        let mut theirs: Value = serde_json::from_str(&said).unwrap();
        let mut ours: Value = serde_json::from_str(&project.ok(words)).unwrap();
        // Theirs come in any order.
        for file in [&mut theirs, &mut ours] {
            for list in ["/group/default/targets", "/target/base/ssh", "/target/web/ssh"] {
                if let Some(list) = file.pointer_mut(list).and_then(Value::as_array_mut) {
                    list.sort_by_key(Value::to_string);
                }
            }
        }
        assert_eq!(ours, theirs, "{words:?}");
    }
}

#[test]
fn flags_of_a_build() {
    let project = Project::new(
        "services:\n  a:\n    build:\n      context: .\n      dockerfile_inline: |\n        FROM busybox\n        \
         RUN head -c 9 /dev/urandom | base64 > /random; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes > /limit 2>/dev/null; true\n    \
         depends_on: [b]\n  b:\n    build: {context: ., dockerfile_inline: 'FROM busybox'}\n",
    );
    let random = || file_of(&project, "shop-a", "/random");
    project.ok(&["build", "a"]);
    let first = random();
    assert_ne!(project.sandbox.run(&["image", "inspect", "shop-b"]).code, 0, "only what is named");
    project.ok(&["build", "--with-dependencies", "a"]);
    assert_eq!(random(), first, "from the cache");
    project.sandbox.ok(&["image", "inspect", "shop-b"]);
    project.ok(&["build", "--no-cache", "--memory", "64m", "a"]);
    assert_ne!(random(), first);
    assert_eq!(file_of(&project, "shop-a", "/limit"), "67108864");
    project.ok(&["build", "--builder", "default", "--provenance=false", "--sbom=false", "b"]);
    project.run(&["build", "--builder=mine", "b"]).fails(1).says("no builder \"mine\" found");
    // A file that is only looked through makes no image.
    project.sandbox.ok(&["rmi", "-f", "shop-b"]);
    project.ok(&["build", "--check", "b"]);
    let wrong = "services:\n  b:\n    build: {context: ., dockerfile_inline: \"FROM busybox\\nfrom busybox as x\\nRUN true\\n\"}\n";
    fs::write(project.directory.join("compose.yaml"), wrong).unwrap();
    let checked = project.run(&["build", "--check"]);
    assert!(
        checked.code != 0 && checked.stdout.contains("ConsistentInstructionCasing"),
        "{checked:?}"
    );
    assert_ne!(project.sandbox.run(&["image", "inspect", "shop-b"]).code, 0);
}

const PUSHED: &str = "
services:
  web:
    image: HOST/web:1
    build: {context: ., dockerfile_inline: 'FROM busybox', tags: ['HOST/other:2']}
    depends_on: [db]
  db:
    image: HOST/db:1
    build: {context: ., dockerfile_inline: \"FROM busybox\\nRUN echo db > /db\\n\"}
";

/// What the builds leave on a daemon that stays.
fn owned(project: &Project, registry: &FerryRegistry) {
    for name in ["web:1", "other:2", "db:1", "again:1"] {
        project.owns(&format!("{}/{name}", registry.host()));
    }
    project.owns("127.0.0.1:1/db:1");
}

fn there(registry: &FerryRegistry, name: &str) -> bool {
    let (name, tag) = name.split_once(':').unwrap();
    registry.http().ask("HEAD", &format!("/v2/{name}/manifests/{tag}")).status == 200
}

fn images_go_to_a_registry(pairing: Pairing) {
    let (project, registry) = with_registry(pairing, PUSHED);
    if !project.can_build() {
        return;
    }
    owned(&project, &registry);
    project.ok(&["build", "--push", "db"]);
    assert!(there(&registry, "db:1") && !there(&registry, "web:1"));
    project.ok(&["build"]);
    project.ok(&["push", "--quiet", "web"]);
    assert!(there(&registry, "web:1") && there(&registry, "other:2"));

    let (project, registry) = with_registry(pairing, PUSHED);
    project.can_build();
    owned(&project, &registry);
    project.ok(&["build"]);
    project.ok(&["push", "--include-deps", "web"]);
    assert!(there(&registry, "db:1") && there(&registry, "web:1"));
    // One that has no registry does not keep the others.
    let text = PUSHED.replace("HOST/db:1", "127.0.0.1:1/db:1").replace("HOST", registry.host());
    fs::write(project.directory.join("compose.yaml"), text.replace("web:1", "again:1")).unwrap();
    project.ok(&["build"]);
    assert_ne!(project.run(&["push"]).code, 0);
    assert!(!there(&registry, "again:1"));
    let pushed = project.run(&["push", "--ignore-push-failures"]);
    assert!(pushed.code == 0 && pushed.stderr.contains("127.0.0.1:1"), "{pushed:?}");
    assert!(there(&registry, "again:1"));
}

fn images_come_from_a_registry(pairing: Pairing) {
    let (project, registry) = with_registry(
        pairing,
        "services:\n  web: {image: 'HOST/web:1', depends_on: [db]}\n  db: {image: 'HOST/db:1'}\n  \
         own: {image: 'HOST/own:1', build: {context: .}, profiles: [x]}\n  none: {image: 'HOST/none:1', profiles: [x]}\n",
    );
    let name = |image: &str| format!("{}/{image}:1", registry.host());
    for image in ["web", "db"] {
        project.owns(&name(image));
        project.sandbox.ok(&["tag", "busybox", &name(image)]);
        project.sandbox.ok(&["push", &name(image)]);
        project.sandbox.ok(&["rmi", &name(image)]);
    }
    let here = |image: &str| project.sandbox.run(&["image", "inspect", &name(image)]).code == 0;
    project.ok(&["pull", "--quiet", "web"]);
    assert!(here("web") && !here("db"));
    project.ok(&["pull", "--include-deps", "web"]);
    assert!(here("db"));
    let skipped = project.run(&["pull", "--policy", "missing", "web"]);
    assert!(skipped.stderr.contains("Skipped - Image is already present locally"), "{skipped:?}");
    let always = project.run(&["pull", "--policy", "always", "web"]);
    assert!(always.stderr.contains("Pulled"), "{always:?}");
    project.run(&["pull", "--policy", "never", "web"]).fails(1).says("invalid value for --policy");
    // What is built has no image to be pulled yet, and another one is nowhere.
    assert_ne!(project.run(&["pull", "own"]).code, 0);
    let built = project.run(&["pull", "--ignore-buildable", "own"]);
    assert!(built.code == 0 && built.stderr.contains("Skipped"), "{built:?}");
    project.sandbox.ok(&["rmi", &name("web")]);
    assert_ne!(project.run(&["pull", "none", "web"]).code, 0);
    project.sandbox.run(&["rmi", &name("web")]);
    let pulled = project.run(&["pull", "--ignore-pull-failures", "none", "web"]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert!(here("web"));
}

fn images_are_pinned_to_their_digests(pairing: Pairing) {
    let (project, registry) = with_registry(
        pairing,
        "services:\n  web: {image: 'HOST/web:1', ports: ['80']}\n  built: {build: .}\n",
    );
    let name = format!("{}/web:1", registry.host());
    project.owns(&name);
    project.sandbox.ok(&["tag", "busybox", &name]);
    project.sandbox.ok(&["push", &name]);
    let answer = registry.http().ask("HEAD", "/v2/web/manifests/1");
    let pinned = format!("{name}@{}", answer.header("docker-content-digest"));
    let whole = project.ok(&["config", "--resolve-image-digests"]);
    assert!(
        whole.contains(&format!("image: {pinned}\n")) && whole.contains("target: 80"),
        "{whole}"
    );
    let lock = project.ok(&["config", "--lock-image-digests"]);
    assert_eq!(lock, format!("services:\n  web:\n    image: {pinned}"));
    assert_eq!(project.ok(&["convert", "--lock-image-digests"]), lock);
    assert_eq!(project.ok(&["convert", "--resolve-image-digests"]), whole);
    // What was locked is a file to go with the others.
    fs::write(project.directory.join("compose.override.yaml"), &lock).unwrap();
    assert!(project.ok(&["config", "--images"]).contains(&pinned));
}
