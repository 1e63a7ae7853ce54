//! `ferry registry serve --proxy`: copies of what another registry has. With Debian's docker-registry as the upstream, and with one
//! that lies, stalls and dies.

mod upstream;

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use ferry_testkit::{
    Answer, Client, FerryRegistry, Http, Registry, RegistryOptions, Sandbox, eventually,
};

use self::upstream::{Mode, Upstream};
use crate::{registry::push, scratch, with_busybox};

through_both!(copies_outlive_their_upstream, a_daemon_uses_it_as_its_mirror);

/// `config.json` with a password for a registry.
pub(crate) fn credentials(dir: &Path, host: &str) -> PathBuf {
    let dir = dir.join("credentials");
    std::fs::create_dir_all(&dir).unwrap();
    // me:secret
    let text = format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"bWU6c2VjcmV0\"}}}}}}");
    std::fs::write(dir.join("config.json"), text).unwrap();
    dir
}

fn copies_outlive_their_upstream(client: Client) {
    let sandbox = with_busybox(client);
    let options = RegistryOptions {
        login: Some(("me".to_owned(), "secret".to_owned())),
        ..RegistryOptions::default()
    };
    let Some(upstream) = Registry::start(sandbox.dir(), &options) else { return };
    if push(&sandbox, &upstream, "some/where:1", &["--dest-creds", "me:secret"]).is_none() {
        return;
    }
    let root = sandbox.dir().join("cache");
    let config = credentials(sandbox.dir(), &upstream.host());
    let proxy = format!("up=http://{}", upstream.host());
    let flags = ["--proxy", proxy.as_str(), "--proxy-ttl", "0s"];
    let cache = FerryRegistry::start_with_config(&config, &root, &flags);
    let name = format!("{}/up/some/where:1", cache.host());
    sandbox.ok(&["pull", &name]);
    let seen = sandbox.run(&["run", "--rm", &name, "echo", "through the cache"]);
    assert_eq!(seen.stdout, "through the cache\n", "{seen}");
    let tags = cache.http().ask("GET", "/v2/up/some/where/tags/list").is(200);
    assert_eq!(tags.json()["tags"], serde_json::json!(["1"]));
    cache.http().ask("GET", "/v2/up/some/where/manifests/2").is(404);
    cache.http().ask("GET", "/v2/up/nothing/manifests/1").is(404);
    // Nothing is pushed to a copy, and the refusal says whose it is.
    sandbox.ok(&["tag", "busybox", &format!("{}/up/mine:1", cache.host())]);
    let refused = sandbox.run(&["push", &format!("{}/up/mine:1", cache.host())]).fails(1);
    assert!(refused.stderr.contains(&format!("http://{}", upstream.host())), "{refused}");
    // What is not below the prefix is pushed as always.
    sandbox.ok(&["tag", "busybox", &format!("{}/mine:1", cache.host())]);
    sandbox.ok(&["push", &format!("{}/mine:1", cache.host())]);
    drop(upstream);
    sandbox.ok(&["rmi", "-f", &name]);
    sandbox.ok(&["pull", &name]);
    let answer = cache.http().ask("GET", "/v2/up/some/where/manifests/1").is(200);
    assert!(answer.header("warning").starts_with("299 - \""), "{:?}", answer.headers);
    assert!(cache.log().contains("an old copy is given"), "{}", cache.log());
    cache.http().ask("GET", "/v2/up/some/where/manifests/2").is(503);
    // What came is whole, and stays after a restart; a scrub finds nothing wrong with what did not come.
    drop(cache);
    let scrubbed = FerryRegistry::command(&root, &["scrub"]).ok();
    assert!(scrubbed.contains("0 damaged"), "{scrubbed}");
    let cache = FerryRegistry::start_with_config(&config, &root, &flags);
    let answer = cache.http().ask("GET", "/v2/up/some/where/manifests/1").is(200);
    assert!(answer.header("warning").starts_with("299 - \""), "{:?}", answer.headers);
}

fn a_daemon_uses_it_as_its_mirror(client: Client) {
    let prepared = Sandbox::prepared(&[]).through(client);
    let Some(upstream) = Registry::start(prepared.dir(), &RegistryOptions::default()) else {
        prepared.start_daemon(None);
        return;
    };
    let proxy = format!("http://{}", upstream.host());
    let root = prepared.dir().join("cache");
    let cache = FerryRegistry::start(&root, &["--proxy", &proxy]);
    let sandbox = Sandbox::start_with(&["--registry-mirror", &format!("http://{}", cache.host())])
        .through(client);
    sandbox.busybox();
    prepared.start_daemon(None);
    if push(&sandbox, &upstream, "library/mirrored:1", &[]).is_none() {
        return;
    }
    let pulled = sandbox.ok(&["pull", "mirrored:1"]);
    assert!(pulled.contains("docker.io/library/mirrored:1"), "{pulled}");
    let kept = cache.http().ask("GET", "/v2/_catalog").is(200).json();
    assert_eq!(kept["repositories"], serde_json::json!(["library/mirrored"]));
    // As containerd asks: whose name it is.
    let path = "/v2/library/mirrored/manifests/1";
    cache.http().ask("HEAD", &format!("{path}?ns={}", upstream.host())).is(200);
    let other = cache.http().ask("GET", &format!("{path}?ns=ghcr.io")).is(404);
    assert_eq!(other.code(), "NAME_UNKNOWN", "one registry's image is never given as another's");
}

/// A cache of a made-up upstream.
fn cache_of(upstream: &Upstream, dir: &Path, more: &[&str]) -> FerryRegistry {
    let proxy = format!("http://{}", upstream.host());
    let flags = [&["--proxy", proxy.as_str(), "--proxy-ttl", "0s"], more].concat();
    FerryRegistry::start(&dir.join("cache"), &flags)
}

/// A blob, and whether all of it came.
fn blob(http: &Http, digest: &str) -> (u16, Vec<u8>, bool) {
    let mut stream = http.begin("GET", &format!("/v2/a/b/blobs/{digest}"), &[], 0);
    let mut all = Vec::new();
    // It may be reset.
    drop(stream.read_to_end(&mut all));
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
    let whole = length.unwrap().parse::<usize>().unwrap() == all.len() - end;
    (head[9..12].parse().unwrap(), all[end..].to_vec(), whole)
}

#[track_caller]
fn assert_whole((status, found, whole): (u16, Vec<u8>, bool), bytes: &[u8]) {
    let words = String::from_utf8_lossy(&found[..found.len().min(500)]);
    assert!(status == 200 && whole && found == bytes, "{status}, {}: {words}", found.len());
}

/// Nothing half done and nothing wrong is in the store.
fn assert_clean(root: &Path) {
    eventually("what failed is gone", || {
        (std::fs::read_dir(root.join("uploads")).unwrap().count() == 0).then_some(())
    });
    for directory in std::fs::read_dir(root.join("blobs")).unwrap().flatten() {
        for file in std::fs::read_dir(directory.path()).unwrap().flatten() {
            let bytes = std::fs::read(file.path()).unwrap();
            assert_eq!(file.file_name().to_string_lossy(), upstream::hex(&bytes));
        }
    }
}

#[test]
fn what_lies_never_enters() {
    let dir = scratch("proxy-lies");
    let upstream = Upstream::start();
    let cache = cache_of(&upstream, &dir, &[]);
    let http = cache.http();
    upstream.set(Mode::Lies);
    let (status, words, _) = blob(&http, &upstream.small.0);
    assert_eq!(status, 502);
    assert!(String::from_utf8_lossy(&words).contains("has another digest"));
    let (status, bytes, whole) = blob(&http, &upstream.large.0);
    assert_eq!((status, whole), (200, false), "its end is not given: {}", bytes.len());
    let garbage = http.ask("GET", "/v2/a/b/manifests/1").is(502);
    assert!(garbage.text().contains(&upstream.host()), "{}", garbage.text());
    assert_clean(cache.root());
    // Who said the truth before, is believed rather than who lies now.
    upstream.set(Mode::Honest);
    let first = http.ask("GET", "/v2/a/b/manifests/1").is(200);
    assert_eq!(
        (first.header("warning"), first.body.as_slice()),
        ("", upstream.manifest.1.as_slice())
    );
    upstream.set(Mode::Lies);
    let stale = http.ask("GET", "/v2/a/b/manifests/1").is(200);
    assert_eq!(stale.body, upstream.manifest.1);
    assert!(stale.header("warning").starts_with("299 - \""), "{:?}", stale.headers);
    upstream.set(Mode::Honest);
    for (digest, bytes) in [&upstream.small, &upstream.large] {
        assert_whole(blob(&http, digest), bytes);
    }
    assert_clean(cache.root());
    drop(cache);
}

#[test]
fn what_breaks_off_goes_on() {
    let dir = scratch("proxy-breaks");
    let upstream = Upstream::start();
    let cache = cache_of(&upstream, &dir, &[]);
    upstream.set(Mode::Dies);
    let (digest, bytes) = &upstream.large;
    assert_whole(blob(&cache.http(), digest), bytes);
    assert_eq!(upstream.asked("GET", digest), 2, "once from its beginning, once for the rest");
    // From the disk now, also in part.
    let path = format!("/v2/a/b/blobs/{digest}");
    let part = cache.http().send("GET", &path, &[("Range", "bytes=10-19")], b"").is(206);
    assert_eq!(part.body, bytes[10..20]);
    assert_eq!(upstream.asked("GET", digest), 2);
    drop(cache);
}

#[test]
fn what_stalls_is_given_up() {
    let dir = scratch("proxy-stalls");
    let upstream = Upstream::start();
    let cache = cache_of(&upstream, &dir, &["--proxy-timeout", "1s"]);
    upstream.set(Mode::Stalls);
    let (status, words, _) = blob(&cache.http(), &upstream.small.0);
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&words));
    assert!(String::from_utf8_lossy(&words).contains("no data came for 1 seconds"));
    assert_clean(cache.root());
    upstream.set(Mode::Honest);
    eventually("the upstream is asked again", || {
        (blob(&cache.http(), &upstream.small.0).0 == 200).then_some(())
    });
    drop(cache);
}

#[test]
fn many_ask_and_the_upstream_is_asked_once() {
    let dir = scratch("proxy-once");
    let upstream = Arc::new(Upstream::start());
    let cache = cache_of(&upstream, &dir, &["--proxy-timeout", "60s"]);
    upstream.set(Mode::Waits);
    let (digest, bytes) = upstream.large.clone();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (http, digest) = (cache.http(), digest.clone());
            std::thread::spawn(move || {
                let mut stream = http.begin("GET", &format!("/v2/a/b/blobs/{digest}"), &[], 0);
                // The first bytes come while the upstream still has the rest.
                let mut first = [0; 4096];
                stream.read_exact(&mut first).unwrap();
                (stream, first.to_vec())
            })
        })
        .collect();
    let begun: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    upstream.set(Mode::Honest);
    for (mut stream, mut all) in begun {
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let mut rest = vec![0; end + bytes.len() - all.len()];
        stream.read_exact(&mut rest).unwrap();
        all.extend(rest);
        assert!(all[end..] == bytes[..], "all of it, and nothing else");
    }
    assert_eq!(upstream.asked("GET", &digest), 1);
    drop(cache);
}

#[test]
fn tags_are_asked_about_and_quotas_shown() {
    let dir = scratch("proxy-tags");
    let upstream = Upstream::start();
    let proxy = format!("http://{}", upstream.host());
    let flags = ["--proxy", proxy.as_str(), "--proxy-ttl", "1h"];
    let cache = FerryRegistry::start(&dir.join("cache"), &flags);
    let ask = || -> Answer { cache.http().ask("GET", "/v2/a/b/manifests/1").is(200) };
    assert_eq!(ask().body, upstream.manifest.1);
    assert_eq!(ask().header("docker-content-digest"), upstream.manifest.0);
    assert_eq!(upstream.asked("HEAD", "manifests/1"), 1, "for an hour it is what it is");
    assert_eq!(upstream.asked("GET", "manifests/"), 1);
    let page = cache.http().ask("GET", "/").is(200).text();
    assert!(page.contains("76 of 100 left (in 360 minutes)"), "{page}");
    let wrong =
        FerryRegistry::command(&dir.join("other"), &["serve", "--proxy", "UP=https://ghcr.io"]);
    wrong.fails(1).says("its prefix is no name of a repository");
    drop(cache);
    assert_eq!(upstream.asked("TLS", ""), 0, "http:// is what it says");
}

#[test]
fn a_mirror_is_asked_by_whole_names() {
    let dir = scratch("proxy-names");
    let upstream = Upstream::start();
    let proxy = format!("up=http://{}/team", upstream.host());
    let cache = FerryRegistry::start(&dir.join("cache"), &["--proxy", &proxy]);
    let of = |name: &str| format!("/v2/{name}/manifests/1?ns={}", upstream.host());
    cache.http().ask("GET", &of("team/a")).is(200);
    cache.http().ask("GET", "/v2/up/a/manifests/1").is(200);
    assert_eq!(upstream.asked("GET", "/v2/team/a/manifests/"), 1, "both names have one copy");
    assert_eq!(cache.http().ask("GET", &of("other/a")).is(404).code(), "NAME_UNKNOWN");
    drop(cache);
}
