//! `ferry registry serve --mirror` and `--replicate`: between registries of ours, and with Debian's docker-registry at the other end.

use std::path::Path;

use ferry_testkit::{FerryRegistry, Http, Registry, RegistryOptions, eventually, free_port};
use serde_json::{Value, json};

use crate::{
    distribution::{digest, manifest, push_about, push_blob, put},
    registry_proxy::credentials,
    scratch,
};

/// The tags of a repository; none where there is no repository.
fn tags(http: &Http, name: &str) -> Vec<String> {
    let answer = http.ask("GET", &format!("/v2/{name}/tags/list"));
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let mut tags: Vec<String> = serde_json::from_value(json["tags"].clone()).unwrap_or_default();
    tags.sort();
    tags
}

#[track_caller]
fn has_tags(http: &Http, name: &str, wanted: &[&str]) {
    eventually(&format!("{name} has {wanted:?}"), || (tags(http, name) == wanted).then_some(()));
}

fn rules(root: &Path) -> String {
    FerryRegistry::command(root, &["rules"]).ok()
}

/// Something about a manifest, found by what it says of itself.
fn about(http: &Http, name: &str, subject: &(Vec<u8>, String), seed: &str) -> String {
    let config = (push_blob(http, name, b"{}"), 2);
    let layer = (push_blob(http, name, seed.as_bytes()), seed.len());
    let more = json!({
        "artifactType": "application/x.signature",
        "subject": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": subject.1,
            "size": subject.0.len(),
        },
    });
    let bytes = manifest(&config, &[layer], more);
    let digest = digest(&bytes);
    put(http, name, &digest, &bytes).is(201);
    digest
}

fn referrers(http: &Http, name: &str, subject: &str) -> Vec<String> {
    let answer = http.ask("GET", &format!("/v2/{name}/referrers/{subject}"));
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let all = json["manifests"].as_array().cloned().unwrap_or_default();
    all.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_mirror_has_what_its_rule_means() {
    let dir = scratch("mirror");
    let log = dir.join("requests");
    let upstream = FerryRegistry::start(&dir.join("up"), &["--request-log", log.to_str().unwrap()]);
    let there = upstream.http();
    let image = push_about(&there, "team/app", "v1", "one", json!({}));
    put(&there, "team/app", "v1.1", &image.0).is(201);
    push_about(&there, "team/app", "latest", "two", json!({}));
    push_about(&there, "other/app", "v1", "three", json!({}));
    let signature = about(&there, "team/app", &image, "signed");
    let cosign = format!("sha256-{}.sig", image.1.trim_start_matches("sha256:"));
    push_about(&there, "team/app", &cosign, "by cosign", json!({}));
    let rule = format!("up=http://{}/team/*:v*,every=1s,delete", upstream.host());
    let root = dir.join("mirror");
    let mirror = FerryRegistry::start(&root, &["--mirror", &rule]);
    let here = mirror.http();
    has_tags(&here, "up/team/app", &[cosign.as_str(), "v1", "v1.1"]);
    assert_eq!(here.ask("GET", "/v2/up/team/app/manifests/v1").is(200).body, image.0);
    assert_eq!(referrers(&here, "up/team/app", &image.1), [signature]);
    assert!(tags(&here, "up/other/app").is_empty());
    // Everything of it is here, and each blob came once.
    assert!(FerryRegistry::command(&root, &["scrub"]).ok().ends_with("0 damaged"));
    let layer = digest(b"layer of one");
    let asked = || {
        let requests = std::fs::read_to_string(&log).unwrap();
        requests.lines().filter(|line| line.contains("\"GET\"") && line.contains(&layer)).count()
    };
    eventually("the log is written", || (asked() > 0).then_some(()));
    assert_eq!(asked(), 1);
    // What moves, comes and goes there does so here.
    let moved = push_about(&there, "team/app", "v1", "one again", json!({}));
    push_about(&there, "team/new", "v7", "seven", json!({}));
    there.ask("DELETE", "/v2/team/app/manifests/v1.1").is(202);
    has_tags(&here, "up/team/new", &["v7"]);
    has_tags(&here, "up/team/app", &[cosign.as_str(), "v1"]);
    eventually("the tag moved", || {
        (here.ask("GET", "/v2/up/team/app/manifests/v1").body == moved.0).then_some(())
    });
    eventually("all is well", || {
        let seen = rules(&root);
        (seen.contains(&rule) && seen.contains("ago")).then_some(())
    });
    let page = here.ask("GET", "/").is(200).text();
    assert!(page.contains("mirror <code>up=http://"), "{page}");
    // Away: it says so, keeps what it has, and goes on when the other one is back.
    let at = upstream.host().to_owned();
    let place = upstream.root().to_owned();
    upstream.kill();
    eventually("it says that the other one is away", || {
        rules(&root).contains("connection refused").then_some(())
    });
    here.ask("GET", "/v2/up/team/app/manifests/v1").is(200);
    let upstream = FerryRegistry::start(&place, &["--addr", &at]);
    push_about(&upstream.http(), "team/new", "v8", "eight", json!({}));
    FerryRegistry::command(&root, &["rules", "--run"]).ok();
    has_tags(&here, "up/team/new", &["v7", "v8"]);
}

#[test]
fn a_mirror_of_dockers_registry() {
    let dir = scratch("mirror-docker");
    let options = RegistryOptions {
        login: Some(("me".to_owned(), "secret".to_owned())),
        ..RegistryOptions::default()
    };
    let Some(upstream) = Registry::start(&dir, &options) else { return };
    let there = Http::new(&upstream.host()).with("Authorization", "Basic bWU6c2VjcmV0");
    let image = push_about(&there, "a/b", "1", "one", json!({}));
    let config = credentials(&dir, &upstream.host());
    let rule = format!("http://{}/a/b,every=1s", upstream.host());
    let mirror =
        FerryRegistry::start_with_config(&config, &dir.join("mirror"), &["--mirror", &rule]);
    has_tags(&mirror.http(), "a/b", &["1"]);
    assert_eq!(mirror.http().ask("GET", "/v2/a/b/manifests/1").is(200).body, image.0);
}

#[test]
fn what_is_pushed_is_replicated_whoever_is_away() {
    let dir = scratch("replicate");
    let port = free_port();
    let to = format!("127.0.0.1:{port}");
    let rule = format!("team/*:v*=http://{to}/copies,delete");
    let (root, other) = (dir.join("root"), dir.join("other"));
    let registry = FerryRegistry::start(&root, &["--replicate", &rule]);
    let here = registry.http();
    // Nobody is there yet; and we are killed before they are.
    let image = push_about(&here, "team/app", "v1", "one", json!({}));
    push_about(&here, "team/app", "w1", "two", json!({}));
    push_about(&here, "app", "v1", "three", json!({}));
    eventually("it says that nobody is there", || {
        rules(&root).contains("connection refused").then_some(())
    });
    registry.kill();
    let registry = FerryRegistry::start(&root, &["--replicate", &rule]);
    let here = registry.http();
    let replica = FerryRegistry::start(&other, &["--addr", &to]);
    let there = replica.http();
    FerryRegistry::command(&root, &["rules", "--run"]).ok();
    has_tags(&there, "copies/team/app", &["v1"]);
    assert_eq!(there.ask("GET", "/v2/copies/team/app/manifests/v1").is(200).body, image.0);
    // What is about it goes after it, whenever it comes.
    let signature = about(&here, "team/app", &image, "signed");
    eventually("the signature is there", || {
        (referrers(&there, "copies/team/app", &image.1) == [signature.clone()]).then_some(())
    });
    // Several names of one image, and one that moves.
    put(&here, "team/app", "v2", &image.0).is(201);
    let moved = push_about(&here, "team/app", "v1", "moved", json!({}));
    eventually("the tag moved", || {
        (there.ask("GET", "/v2/copies/team/app/manifests/v1").body == moved.0).then_some(())
    });
    has_tags(&there, "copies/team/app", &["v1", "v2"]);
    here.ask("DELETE", "/v2/team/app/manifests/v2").is(202);
    has_tags(&there, "copies/team/app", &["v1"]);
    assert!(tags(&there, "copies/app").is_empty());
    // Killed while it sends, it goes on.
    let large: Vec<u8> = (0..24 << 20).map(|at: u32| (at / 5) as u8).collect();
    let layer = (push_blob(&here, "team/large", &large), large.len());
    let config = (push_blob(&here, "team/large", b"{}"), 2);
    put(&here, "team/large", "v1", &manifest(&config, &[layer], json!({}))).is(201);
    registry.kill();
    let registry = FerryRegistry::start(&root, &["--replicate", &rule]);
    has_tags(&there, "copies/team/large", &["v1"]);
    assert!(FerryRegistry::command(&other, &["scrub"]).ok().ends_with("0 damaged"));
    eventually("nothing is left to do", || {
        let seen = rules(&root);
        (seen.contains("ago") && !seen.contains("refused")).then_some(())
    });
    drop(registry);
}

#[test]
fn replicas_at_dockers_registry() {
    let dir = scratch("replicate-docker");
    let Some(other) = Registry::start(&dir, &RegistryOptions::default()) else { return };
    let rule = format!("*=http://{},delete", other.host());
    let registry = FerryRegistry::start(&dir.join("root"), &["--replicate", &rule]);
    let (here, there) = (registry.http(), Http::new(&other.host()));
    let image = push_about(&here, "a", "1", "one", json!({}));
    let signature = about(&here, "a", &image, "signed");
    has_tags(&there, "a", &["1", &image.1.replace(':', "-")]);
    // It has no referrers of its own: the tag that stands for them lists it.
    let index = there.clone().with("Accept", "application/vnd.oci.image.index.v1+json");
    // Its lists have a tag before it can be read.
    let list = eventually("the list is there", || {
        let at = format!("/v2/a/manifests/{}", image.1.replace(':', "-"));
        let answer = index.ask("GET", &at);
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(list["manifests"][0]["digest"], signature.as_str());
    here.ask("DELETE", "/v2/a/manifests/1").is(202);
    eventually("it is gone there", || {
        (there.ask("GET", "/v2/a/manifests/1").status == 404).then_some(())
    });
}

#[test]
fn rules_that_cannot_be_are_refused() {
    let dir = scratch("rules-wrong");
    let root = dir.join("root");
    for (flag, rule, why) in [
        ("--mirror", "https://host", "write [PREFIX=]https://HOST/REPOSITORY"),
        ("--mirror", "https://host/a,often", "nothing is called often"),
        ("--replicate", "team", "write REPOSITORY[:TAG]=https://HOST"),
        ("--replicate", "team=https://host,every=1h", "nothing is called every=1h"),
    ] {
        let refused =
            FerryRegistry::command(&root, &["serve", "--addr", "127.0.0.1:0", flag, rule]).fails(1);
        assert!(refused.stderr.contains(why), "{refused}");
    }
    let both = [
        "serve",
        "--addr",
        "127.0.0.1:0",
        "--proxy",
        "up=https://host",
        "--mirror",
        "up=https://host/a",
    ];
    let refused = FerryRegistry::command(&root, &both).fails(1);
    assert!(refused.stderr.contains("is a copy already"), "{refused}");
    let nobody = FerryRegistry::command(&root, &["rules"]).fails(1);
    assert!(nobody.stderr.contains("no registry runs"), "{nobody}");
}
