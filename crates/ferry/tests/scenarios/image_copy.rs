//! `image cp`, `manifest` and `search`: between registries (ours and Debian's), the daemon, archives and OCI layouts.

mod fake;

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use ferry_testkit::{Client, FerryRegistry, Http, Registry, RegistryOptions, Run, programs, run};
use serde_json::{Value, json};

use crate::{
    distribution::{manifest, push_about, push_blob},
    with_busybox,
};

through_both!(searching, what_a_daemon_has_is_served);

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The last line: the digest of what was copied.
fn digest_of(run: &Run) -> String {
    run.stdout.lines().last().unwrap_or_default().to_owned()
}

/// Puts a manifest; its digest.
fn put(http: &Http, name: &str, reference: &str, kind: &str, bytes: &[u8]) -> String {
    let path = format!("/v2/{name}/manifests/{reference}");
    let answer = http.send("PUT", &path, &[("Content-Type", kind)], bytes).is(201);
    answer.header("docker-content-digest").to_owned()
}

fn accepting(host: &str) -> Http {
    Http::new(host).with("Accept", INDEX).with("Accept", MANIFEST)
}

/// An index of two platforms in a registry, one of whose images has a signature of each kind; the index's digest.
fn push_two(http: &Http, name: &str) -> String {
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = format!("{{\"architecture\":\"{architecture}\",\"os\":\"linux\"}}");
        let config = (push_blob(http, name, config.as_bytes()), config.len());
        let text = format!("layer of {architecture}");
        let layer = (push_blob(http, name, text.as_bytes()), text.len());
        let shared = (push_blob(http, name, b"shared"), 6);
        let bytes = manifest(&config, &[layer, shared], json!({}));
        let digest = put(http, name, &format!("only-{architecture}"), MANIFEST, &bytes);
        entries.push(json!({
            "mediaType": MANIFEST, "digest": digest, "size": bytes.len(),
            "platform": { "os": "linux", "architecture": architecture },
        }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    put(http, name, "both", INDEX, index.to_string().as_bytes())
}

#[test]
fn an_image_goes_to_another_machine_and_comes_back() {
    use std::os::unix::fs::PermissionsExt;
    let (here, there) = (with_busybox(Client::Ferry), ferry_testkit::Sandbox::start());
    // In the place of ssh: what it would do at the other end.
    let ssh = here.dir().join("bin/ssh");
    std::fs::create_dir_all(ssh.parent().unwrap()).unwrap();
    let (calls, ferry) = (here.dir().join("calls"), ferry_testkit::binary());
    let (sent, came) = (here.dir().join("sent"), here.dir().join("came"));
    let text = format!(
        "#!/bin/sh\necho \"$@\" >> {}\nwhile [ \"$1\" != -- ]; do shift; done; shift 3\nexport DOCKER_HOST={}\ntee -a {} | {} \"$@\" | tee -a {}\n",
        calls.display(),
        there.host(),
        sent.display(),
        ferry.display(),
        came.display()
    );
    std::fs::write(&ssh, text).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", ssh.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let over = |args: &[&str]| run(here.command(args).env("PATH", &path));
    let far = "ssh://me@there:2222/team/busybox:far";
    over(&["image", "cp", "docker-daemon:busybox", far]).ok();
    assert_eq!(there.ok(&["run", "--rm", "team/busybox:far", "echo", "there"]), "there");
    over(&["image", "cp", far, "docker-daemon:team/busybox:back"]).ok();
    let id = |sandbox: &ferry_testkit::Sandbox, name: &str| sandbox.inspect(name, "{{.Id}}");
    assert_eq!(id(&here, "team/busybox:back"), id(&there, "team/busybox:far"));
    // Only what is missing travels, there and back.
    let size = |file: &std::path::Path| std::fs::metadata(file).unwrap().len();
    let layer = size(&sent);
    assert!(layer > 500_000, "the first time busybox travels: {layer} bytes");
    let build = ["build", "-q", "-t", "derived:1", "-"];
    here.with_input(&build, b"FROM busybox\nRUN echo more > /more\n").ok();
    let before = size(&sent);
    let far = "ssh://me@there:2222/derived:1";
    let seen = over(&["image", "cp", "docker-daemon:derived:1", far]);
    assert!(seen.code == 0 && seen.stderr.contains("1 there already"), "{seen}");
    assert!(size(&sent) - before < 64 << 10, "{} bytes were sent", size(&sent) - before);
    assert_eq!(there.ok(&["run", "--rm", "derived:1", "cat", "/more"]), "more");
    there
        .with_input(&["build", "-q", "-t", "derived:2", "-"], b"FROM derived:1\nRUN echo 2 > /2\n")
        .ok();
    let before = size(&came);
    over(&["image", "cp", "ssh://me@there:2222/derived:2", "docker-daemon:derived:2"]).ok();
    assert!(size(&came) - before < 64 << 10, "{} bytes came", size(&came) - before);
    assert_eq!(here.ok(&["run", "--rm", "derived:2", "cat", "/2", "/more"]), "2\nmore");
    assert_eq!(id(&here, "derived:2"), id(&there, "derived:2"));
    let called = std::fs::read_to_string(calls).unwrap();
    let first = called.lines().next().unwrap();
    assert_eq!(first, "-o ConnectTimeout=30 -T -l me -p 2222 -- there ferry system dial-stdio");
    over(&["image", "cp", "ssh://-oProxyCommand=x/a", "a"]).fails(1).says("invalid SSH URL");
    over(&["image", "cp", "ssh://there", "a"]).fails(1).says("is no ssh://[USER@]HOST");
}

/// The layers that a daemon has may go between its answer and the archive without them: then the whole comes.
#[test]
fn what_went_meanwhile_travels_after_all() {
    let sandbox = with_busybox(Client::Ferry);
    let archive = sandbox.dir().join("busybox.tar");
    sandbox.ok(&["save", "-o", archive.to_str().unwrap(), "busybox"]);
    let loads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&loads);
    let daemon = fake::serve(move |asked| match asked.path.split('?').next().unwrap() {
        path if path.ends_with("/served/layers") => {
            (200, String::from_utf8(asked.body.clone()).unwrap())
        }
        path if path.ends_with("/images/load") => {
            let mut loads = seen.lock().unwrap();
            loads.push(asked.body.len());
            match loads.len() {
                1 => (200, "{\"error\":\"the archive is not whole\"}".to_owned()),
                _ => (200, "{\"stream\":\"Loaded image: a:1\"}".to_owned()),
            }
        }
        path if path.ends_with("/_ping") => (200, String::new()),
        _ => (404, "{\"message\":\"page not found\"}".to_owned()),
    });
    let from = format!("docker-archive:{}", archive.display());
    let at = format!("tcp://{daemon}");
    let copied = sandbox.run(&["-H", &at, "image", "cp", &from, "docker-daemon:a:1"]);
    assert!(copied.code == 0 && copied.stderr.contains("2 blobs copied"), "{copied}");
    let loads = loads.lock().unwrap().clone();
    assert!(loads.len() == 2 && loads[0] < 64 << 10 && loads[1] > 500_000, "{loads:?}");
}

#[test]
fn an_image_goes_anywhere_and_only_what_is_missing_travels() {
    let sandbox = with_busybox(Client::Ferry);
    let ours = FerryRegistry::start(&sandbox.dir().join("ours"), &[]);
    let image = format!("{}/team/busybox:1", ours.host());
    sandbox.ok(&["tag", "busybox", &image]);
    let pushed = sandbox.ok(&["push", &image]);
    // From the daemon the same blobs come as by `push`, so that nothing travels but a manifest.
    let again = format!("{}/team/busybox:again", ours.host());
    let seen = sandbox.run(&["image", "cp", "docker-daemon:busybox", &again]);
    assert!(seen.stderr.contains("0 blobs copied") && seen.code == 0, "{seen}");
    let digest = digest_of(&seen);
    assert!(pushed.contains(&digest), "{pushed} has not {digest}");
    // Another repository of the same registry is given the blobs.
    let other = format!("{}/other:1", ours.host());
    let seen = sandbox.run(&["image", "cp", &image, &other]);
    assert!(seen.stderr.contains("0 blobs copied") && seen.stderr.contains("2 mounted"), "{seen}");
    assert_eq!(digest_of(&seen), digest);
    // A layout, and back to another registry.
    let layout = format!("oci:{}:v1", sandbox.dir().join("layout").display());
    let seen = sandbox.run(&["image", "cp", &image, &layout]);
    assert!(seen.stderr.contains("2 blobs copied"), "{seen}");
    let seen = sandbox.run(&["image", "cp", &image, &layout]);
    assert!(
        seen.stderr.contains("0 blobs copied") && seen.stderr.contains("2 there already"),
        "{seen}"
    );
    let theirs = FerryRegistry::start(&sandbox.dir().join("theirs"), &[]);
    let there = format!("{}/from/layout:1", theirs.host());
    assert_eq!(sandbox.ok(&["image", "cp", "-q", &layout, &there]), digest);
    // An archive that `load` reads, and the daemon itself.
    let archive = sandbox.dir().join("image.tar");
    let place = format!("docker-archive:{}:copied:1", archive.display());
    assert_eq!(sandbox.ok(&["image", "cp", "-q", &there, &place]), digest);
    let loaded = sandbox.ok(&["load", "-i", archive.to_str().unwrap()]);
    assert!(loaded.contains("Loaded image: copied:1"), "{loaded}");
    assert_eq!(sandbox.run(&["run", "--rm", "copied:1", "echo", "here"]).stdout, "here\n");
    sandbox.ok(&["image", "cp", "-q", &there, "docker-daemon:direct:2"]);
    assert_eq!(sandbox.run(&["run", "--rm", "direct:2", "echo", "there"]).stdout, "there\n");
    // From an archive that has several images, one has to be named.
    let build = ["build", "-q", "-t", "second:1", "-"];
    sandbox.with_input(&build, b"FROM busybox\nLABEL number=2\n").ok();
    let several = sandbox.dir().join("several.tar");
    sandbox.ok(&["save", "-o", several.to_str().unwrap(), "busybox", "copied:1", "second:1"]);
    let from = |name: &str| format!("docker-archive:{}{name}", several.display());
    sandbox.run(&["image", "cp", &from(""), &there]).fails(1).says("several images");
    sandbox
        .run(&["image", "cp", &from(":nothing:1"), &there])
        .fails(1)
        .says("has no image nothing:1");
    assert_eq!(sandbox.ok(&["image", "cp", "-q", &from(":copied:1"), &there]), digest);
    // What is not there, and what is no place.
    let nothing = format!("{}/nothing:1", ours.host());
    sandbox.run(&["image", "cp", &nothing, &layout]).fails(1).says("has no manifest 1");
    sandbox.run(&["image", "cp", &image, "sif:x"]).fails(1).says("not supported: sif:");
    for damage in [&ours, &theirs] {
        let scrubbed = FerryRegistry::command(damage.root(), &["scrub"]).ok();
        assert!(scrubbed.ends_with("0 damaged"), "{scrubbed}");
    }
}

#[test]
fn platforms_and_signatures_go_along() {
    let sandbox = with_busybox(Client::Ferry);
    let ours = FerryRegistry::start(&sandbox.dir().join("ours"), &[]);
    let http = accepting(ours.host());
    let index = push_two(&http, "a");
    // One by OCI's referrers, one as cosign keeps it, and one about the first.
    let about =
        |subject: &str| json!({ "subject": { "mediaType": INDEX, "digest": subject, "size": 1 } });
    let signature = push_about(&http, "a", "signature", "s", about(&index)).1;
    let counter = push_about(&http, "a", "counter", "c", about(&signature)).1;
    let cosign = format!("{}.sig", index.replace(':', "-"));
    push_about(&http, "a", &cosign, "cosign", json!({}));
    let from = format!("{}/a:both", ours.host());
    let layout = format!("oci:{}:both", sandbox.dir().join("layout").display());
    assert_eq!(sandbox.ok(&["image", "cp", "-q", &from, &layout]), index);
    // Debian's registry has no referrers of its own: they are listed under a tag.
    let debian = Registry::start(sandbox.dir(), &RegistryOptions::default());
    let theirs = FerryRegistry::start(&sandbox.dir().join("theirs"), &[]);
    let mut hosts = vec![(theirs.host().to_owned(), true)];
    hosts.extend(debian.as_ref().map(|debian| (debian.host(), false)));
    for (host, has_referrers) in hosts {
        let to = format!("{host}/b:both");
        assert_eq!(sandbox.ok(&["image", "cp", "-q", &layout, &to]), index);
        let http = accepting(&host);
        let listed = |digest: &str| -> Vec<String> {
            let path = match has_referrers {
                true => format!("/v2/b/referrers/{digest}"),
                false => format!("/v2/b/manifests/{}", digest.replace(':', "-")),
            };
            let list: Value = http.ask("GET", &path).is(200).json();
            let entries = list["manifests"].as_array().unwrap().iter();
            entries.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(listed(&index), [signature.as_str()], "{host}");
        assert_eq!(listed(&signature), [counter.as_str()], "{host}");
        http.ask("GET", &format!("/v2/b/manifests/{cosign}")).is(200);
        let list: Value = http.ask("GET", "/v2/b/manifests/both").is(200).json();
        for entry in list["manifests"].as_array().unwrap() {
            let digest = entry["digest"].as_str().unwrap();
            http.ask("GET", &format!("/v2/b/manifests/{digest}")).is(200);
        }
        // A second time nothing travels, and back it comes along, too.
        let seen = sandbox.run(&["image", "cp", &layout, &to]);
        assert!(seen.stderr.starts_with("0 blobs copied"), "{seen}");
        let back = format!("{}/back-{has_referrers}:1", ours.host());
        assert_eq!(sandbox.ok(&["image", "cp", "-q", &to, &back]), index);
        let path = format!("/v2/back-{has_referrers}/referrers/{signature}");
        let list: Value = accepting(ours.host()).ask("GET", &path).is(200).json();
        assert_eq!(list["manifests"][0]["digest"], counter.as_str(), "{host}");
    }
    // One platform, and without what is about it.
    let to = format!("{}/one:1", theirs.host());
    let one = sandbox.ok(&["image", "cp", "-q", "--platform", "linux/arm64", &from, &to]);
    let config: Value = {
        let manifest = accepting(theirs.host()).ask("GET", "/v2/one/manifests/1").is(200).json();
        let digest = manifest["config"]["digest"].as_str().unwrap().to_owned();
        theirs.http().ask("GET", &format!("/v2/one/blobs/{digest}")).is(200).json()
    };
    assert!(one != index && config["architecture"] == "arm64", "{one} {config}");
    let wrong = sandbox.run(&["image", "cp", "--platform", "linux/s390x", &from, &to]);
    wrong.fails(1).says("linux/amd64, linux/arm64");
    let to = format!("{}/bare:1", theirs.host());
    sandbox.ok(&["image", "cp", "-q", "--referrers=false", &from, &to]);
    let path = format!("/v2/bare/referrers/{index}");
    assert_eq!(theirs.http().ask("GET", &path).is(200).json()["manifests"], json!([]));
    // skopeo reads what we write.
    if let Some(skopeo) = programs::find("skopeo") {
        let raw = run(Command::new(skopeo).args(["inspect", "--raw", &layout]));
        assert!(raw.stdout.contains(INDEX), "{raw}");
    }
}

#[test]
fn damage_is_not_copied() {
    let sandbox = with_busybox(Client::Ferry);
    let ours = FerryRegistry::start(&sandbox.dir().join("ours"), &[]);
    let http = accepting(ours.host());
    push_two(&http, "a");
    let root = sandbox.dir().join("layout");
    let layout = format!("oci:{}", root.display());
    let from = format!("{}/a:both", ours.host());
    sandbox.ok(&["image", "cp", "-q", &from, &layout]);
    let blob = std::fs::read_dir(root.join("blobs/sha256")).unwrap().flatten();
    let shared = blob.map(|it| it.path()).find(|path| std::fs::read(path).unwrap() == b"shared");
    std::fs::write(shared.unwrap(), b"shaRed").unwrap();
    let to = format!("{}/b:1", ours.host());
    sandbox
        .run(&["image", "cp", &layout, &to])
        .fails(1)
        .says("has another digest than its name says");
    ours.http().ask("GET", "/v2/b/manifests/1").is(404);
}

/// A list of two images, made by `program` with a configuration of its own.
fn make_list(sandbox: &ferry_testkit::Sandbox, host: &str) -> Vec<Run> {
    let name = |path: &str| format!("{host}/{path}");
    let (list, one, two) = (name("m/list:1"), name("m/one:1"), name("m/two:1"));
    let ask = |args: &[&str]| sandbox.run(&[&["manifest"], args].concat());
    vec![
        ask(&["create", "--insecure", &list, &one, &two]),
        ask(&["create", "--insecure", &list, &one]),
        ask(&["create", "--insecure", "--amend", &list, &one]),
        ask(&["inspect", &list]),
        ask(&["inspect", &list, &one]),
        ask(&["inspect", "-v", &list, &one]),
        ask(&["annotate", "--arch", "xx", &list, &one]),
        ask(&[
            "annotate",
            "--os",
            "linux",
            "--os-version",
            "1.2",
            "--arch",
            "arm64",
            "--variant",
            "v8",
            "--os-features",
            "a,b",
            &list,
            &two,
        ]),
        ask(&["annotate", &list, &name("m/three:1")]),
        ask(&["push", "--insecure", "-p", &list]),
        ask(&["push", "--insecure", &list]),
        ask(&["rm", &list]),
        ask(&["inspect", "--insecure", &list]),
        ask(&["inspect", "--insecure", "-v", &list]),
        ask(&["inspect", "--insecure", &one]),
        ask(&["inspect", "--insecure", &name("m/nothing:1")]),
    ]
}

#[test]
fn lists_of_manifests_are_made_as_docker_makes_them() {
    let sandbox = with_busybox(Client::Ferry);
    let registry = FerryRegistry::start(&sandbox.dir().join("registry"), &[]);
    for (name, text) in [("m/one", "1"), ("m/two", "2")] {
        let image = format!("{}/{name}:1", registry.host());
        let built = format!("FROM busybox\nLABEL n={text}\n");
        let build = sandbox.with_input(&["build", "-q", "-t", &image, "-"], built.as_bytes());
        build.ok();
        sandbox.ok(&["push", "-q", &image]);
    }
    let ours = make_list(&sandbox, registry.host());
    let codes: Vec<i32> = ours.iter().map(|run| run.code).collect();
    assert_eq!(codes, [0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 0, 0, 1], "{ours:?}");
    let list: Value = serde_json::from_str(&ours[12].stdout).unwrap();
    assert_eq!(list["manifests"][1]["platform"]["variant"], "v8", "{list}");
    assert_eq!(list["manifests"][1]["platform"]["os.version"], "1.2", "{list}");
    // `run` finds the one for this machine.
    let image = format!("{}/m/list:1", registry.host());
    sandbox.ok(&["pull", "-q", &image]);
    if programs::find("docker").is_none() {
        return;
    }
    let sandbox = sandbox.through(Client::Docker);
    for (ours, theirs) in ours.iter().zip(make_list(&sandbox, registry.host())) {
        assert_eq!((ours.code, &ours.stdout), (theirs.code, &theirs.stdout), "{ours}{theirs}");
        let ours = ours.stderr.lines().next().unwrap_or_default();
        assert_eq!(ours, theirs.stderr.lines().next().unwrap_or_default());
    }
}

fn searching(client: Client) {
    let sandbox = with_busybox(client);
    let registry = FerryRegistry::start(&sandbox.dir().join("registry"), &[]);
    let http = registry.http();
    for name in ["team/nginx", "team/postgres", "nginx-small"] {
        push_about(&http, name, "1", name, json!({}));
    }
    let term = |word: &str| format!("{}/{word}", registry.host());
    let found = sandbox.ok(&["search", &term("nginx")]);
    let lines: Vec<&str> = found.lines().collect();
    assert!(lines[0].starts_with("NAME") && lines[0].contains("STARS"), "{found}");
    assert!(lines[1].starts_with("nginx-small") && lines[2].starts_with("team/nginx"), "{found}");
    assert_eq!(lines.len(), 3, "{found}");
    let one = sandbox.ok(&["search", "--limit", "1", "--format", "{{.Name}}", &term("nginx")]);
    assert_eq!(one, "nginx-small");
    let json = sandbox.ok(&["search", "--format", "json", &term("postgres")]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["Name"], &json["StarCount"]), (&"team/postgres".into(), &"0".into()));
    let official =
        sandbox.ok(&["search", "-f", "is-official=true", "--format", "{{.Name}}", &term("a")]);
    assert_eq!(official, "");
    sandbox.run(&["search", "-f", "what=x", &term("a")]).fails(1).says("invalid filter 'what'");
    sandbox.run(&["search", "--limit", "101", &term("a")]).fails(1).says("range of [1, 100]");
    // A long description is cut off, unless it is to be whole. None is told by our registry.
    let long = "A description that is longer than what a line of a table has room for";
    let results = json!({ "results": [{
        "name": "told", "description": long, "star_count": 7, "is_official": true,
    }] });
    let telling = fake::serve(move |asked| match asked.path.starts_with("/v1/search?q=told&") {
        true => (200, results.to_string()),
        false => (404, "{}".to_owned()),
    });
    let told = format!("{telling}/told");
    let cut = sandbox.ok(&["search", &told]);
    assert!(cut.contains("A description that is longer than what a lin…"), "{cut}");
    assert!(!cut.contains(long), "{cut}");
    let whole = sandbox.ok(&["search", "--no-trunc", &told]);
    let line = whole.lines().nth(1).unwrap();
    assert!(line.starts_with("told ") && line.contains(long), "{whole}");
    // A registry that has no search is looked through.
    let Some(debian) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else { return };
    push_about(&Http::new(&debian.host()), "some/where", "1", "x", json!({}));
    let found =
        sandbox.ok(&["search", "--format", "{{.Name}}", &format!("{}/where", debian.host())]);
    assert_eq!(found, "some/where");
}

fn what_a_daemon_has_is_served(client: Client) {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["tag", "busybox", "team/app:2"]);
    sandbox.ok(&["tag", "busybox", "localhost:1/not/to/be/served:1"]);
    let build = sandbox.with_input(
        &["build", "-q", "-t", "team/app:built", "-"],
        b"FROM busybox\nRUN echo built >/file && mkdir /directory && ln /file /directory/link\n",
    );
    build.ok();
    let root = sandbox.dir().join("accounts");
    let registry = FerryRegistry::from_engine(&sandbox.host(), &root, &[]);
    let http = registry.http();
    let catalog: Value = http.ask("GET", "/v2/_catalog").is(200).json();
    let names = catalog["repositories"].as_array().unwrap();
    assert!(names.contains(&json!("busybox")) && names.contains(&json!("team/app")), "{catalog}");
    assert!(!names.iter().any(|name| name.as_str().unwrap().contains("served")), "{catalog}");
    let tags: Value = http.ask("GET", "/v2/team/app/tags/list?n=1").is(200).json();
    assert_eq!(tags["tags"], json!(["2"]));
    // Another daemon pulls it, and has just what is in it.
    let image = format!("{}/team/app:built", registry.host());
    let other = ferry_testkit::Sandbox::start().through(client);
    other.ok(&["pull", &image]);
    let seen =
        other.ok(&["run", "--rm", &image, "sh", "-c", "cat /file; stat -c %h /directory/link"]);
    assert_eq!(seen, "built\n2");
    let id = |sandbox: &ferry_testkit::Sandbox, name: &str| sandbox.inspect(name, "{{.Id}}");
    assert_eq!(id(&other, &image), id(&sandbox, "team/app:built"));
    // Documents and blobs are those of their digests, whole and in parts.
    let answer = http.ask("GET", "/v2/busybox/manifests/latest").is(200);
    let found = answer.header("docker-content-digest").to_owned();
    let manifest: Value = answer.json();
    let by_digest = http.ask("GET", &format!("/v2/busybox/manifests/{found}")).is(200);
    assert_eq!(by_digest.body, answer.body);
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let path = format!("/v2/busybox/blobs/{layer}");
    let whole = http.ask("GET", &path).is(200);
    assert_eq!(whole.body.len() as u64, manifest["layers"][0]["size"].as_u64().unwrap());
    let part = http.send("GET", &path, &[("Range", "bytes=1000-1999")], b"").is(206);
    assert!(part.body == whole.body[1000..2000], "a part is that part");
    assert_eq!(
        http.ask("HEAD", &path).is(200).header("content-length"),
        whole.body.len().to_string()
    );
    // What is not there, and what is not done.
    http.ask("GET", "/v2/busybox/manifests/nothing").is(404);
    http.ask("GET", "/v2/nothing/tags/list").is(404);
    http.ask("GET", &format!("/v2/busybox/blobs/sha256:{}", "0".repeat(64))).is(404);
    let built: Value = http.ask("GET", "/v2/team/app/manifests/built").is(200).json();
    let upper = built["layers"][1]["digest"].as_str().unwrap();
    http.ask("GET", &format!("/v2/busybox/blobs/{upper}")).is(404);
    http.ask("POST", "/v2/busybox/blobs/uploads/").is(405);
    http.ask("DELETE", "/v2/busybox/manifests/latest").is(405);
    let refused = run(Command::new(ferry_testkit::binary()).args([
        "registry",
        "serve",
        "--from-engine",
        "--retain",
        "a,keep=1",
    ]));
    refused.fails(1).says("--retain is about what is kept here");
    // A daemon that is not there any more.
    sandbox.stop_daemon();
    http.ask("GET", "/v2/busybox/manifests/latest").is(503);
}
