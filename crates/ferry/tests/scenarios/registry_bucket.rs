//! `ferry registry serve --storage s3://…`: blobs in a bucket of a real server, which works, fails, stalls and lies.

mod between;
mod server;

use std::path::{Path, PathBuf};

use ferry_testkit::{Client, FerryRegistry, Http, eventually};

use self::{
    between::{Between, Harm},
    server::{Kind, Server, address},
};
use crate::{
    distribution::{conforms, digest, push_about, push_blob},
    scratch, with_busybox,
};

through_both!(push_and_pull);

fn push_and_pull(client: Client) {
    let sandbox = with_busybox(client);
    let Some(server) = Server::start(Kind::S3rver, sandbox.dir()) else { return };
    let root = sandbox.dir().join("registry");
    let registry = start(&root, &address(&server.host(), sandbox.dir()));
    let name = format!("{}/team/busybox:1", registry.host());
    sandbox.ok(&["tag", "busybox", &name]);
    sandbox.ok(&["push", &name]);
    let other = format!("{}/other/busybox:2", registry.host());
    sandbox.ok(&["tag", "busybox", &other]);
    let pushed = sandbox.ok(&["push", &other]);
    assert!(pushed.contains("Mounted from team/busybox"), "{pushed}");
    sandbox.ok(&["rmi", "-f", &name, &other, "busybox"]);
    let seen = sandbox.run(&["run", "--rm", &name, "echo", "from the bucket"]);
    assert_eq!(seen.stdout, "from the bucket\n", "{seen}");
    assert!(files(&root.join("blobs")).is_empty() && files(&root.join("uploads")).is_empty());
    assert_eq!(registry.log(), "");
}

fn start(root: &Path, storage: &str) -> FerryRegistry {
    FerryRegistry::start(root, &["--storage", storage, "--gc-every", "0s"])
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files(&path),
            path => vec![path],
        })
        .collect()
}

/// Names of blobs that the bucket has.
fn objects(host: &str, dir: &Path) -> usize {
    // s3rver keeps an object in a file, and what it knows of it in two more.
    let data = dir.join("s3/images/of/tests/blobs");
    let _ = host;
    files(&data).iter().filter(|path| path.to_string_lossy().ends_with("._S3rver_object")).count()
}

/// Bytes that nobody else has, in parts when they go to the bucket.
fn large(seed: u8, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 3).to_le_bytes()[at % 3] ^ seed).collect()
}

fn gc(root: &Path) -> String {
    FerryRegistry::command(root, &["gc", "--grace", "0s"]).ok()
}

#[test]
fn it_conforms() {
    let dir = scratch("bucket-conforms");
    for kind in [Kind::S3rver, Kind::Moto] {
        let place = dir.join(format!("{kind:?}"));
        std::fs::create_dir_all(&place).unwrap();
        let Some(server) = Server::start(kind, &place) else { continue };
        let storage = address(&server.host(), &place);
        let registry =
            FerryRegistry::start(&place.join("root"), &["--open", "--storage", &storage]);
        conforms(registry.host(), true);
    }
}

#[test]
fn large_layers_go_in_parts_and_ranges_come() {
    let dir = scratch("bucket-large");
    for kind in [Kind::S3rver, Kind::Moto] {
        let place = dir.join(format!("{kind:?}"));
        std::fs::create_dir_all(&place).unwrap();
        let Some(server) = Server::start(kind, &place) else { continue };
        let between = Between::start(&server.host());
        let root = place.join("root");
        let registry = start(&root, &address(&between.host(), &place));
        let http = registry.http();
        let bytes = large(7, 20 << 20);
        let name = push_blob(&http, "a", &bytes);
        assert_eq!(between.seen(&["PUT", "partNumber="]), 3, "20 MiB in parts of 8");
        let at = format!("/v2/a/blobs/{name}");
        assert!(http.ask("GET", &at).is(200).body == bytes);
        let part = http.send("GET", &at, &[("Range", "bytes=9000000-9000099")], b"").is(206);
        assert_eq!(part.body, &bytes[9_000_000..9_000_100]);
        let size = http.ask("HEAD", &at).is(200).header("content-length").to_owned();
        assert_eq!(size, bytes.len().to_string());
        // The same again, into another repository: it is there, so nothing is sent to the bucket.
        push_blob(&http, "b", &bytes);
        assert_eq!(between.seen(&["PUT", "partNumber="]), 3);
        assert!(FerryRegistry::command(&root, &["scrub"]).ok().ends_with("0 damaged"));
        let gone = gc(&root);
        assert!(gone.contains("2 links, 1 blobs with 20.97MB"), "{gone}");
        http.ask("GET", &at).is(404);
    }
}

#[test]
fn a_bucket_that_fails_in_passing_is_asked_again() {
    let dir = scratch("bucket-fails");
    let Some(server) = Server::start(Kind::S3rver, &dir) else { return };
    let between = Between::start(&server.host());
    let root = dir.join("root");
    let registry = start(&root, &address(&between.host(), &dir));
    let http = registry.http();
    for status in [500, 503] {
        for what in ["PUT", "HEAD"] {
            between.set(Harm::FailsOnce(status, what));
            push_about(
                &http,
                "a",
                &format!("{what}{status}"),
                &format!("{what} {status}"),
                serde_json::json!({}),
            );
        }
        between.set(Harm::FailsOnce(status, "GET"));
        http.ask("GET", "/v2/a/manifests/PUT500").is(200);
    }
    // One that goes on failing is told of, and nothing is half there.
    between.set(Harm::Fails(503, "PUT"));
    let bytes = large(1, 9 << 20);
    let begun = http.ask("POST", "/v2/a/blobs/uploads/").is(202);
    let at = format!("{}?digest={}", begun.header("location"), digest(&bytes));
    assert_eq!(http.send("PUT", &at, &[], &bytes).is(503).code(), "UNAVAILABLE");
    http.ask("HEAD", &format!("/v2/a/blobs/{}", digest(&bytes))).is(404);
    // What the client sent is still here, so it need not send it again.
    between.set(Harm::None);
    http.ask("PUT", &at).is(201);
    assert!(http.ask("GET", &format!("/v2/a/blobs/{}", digest(&bytes))).is(200).body == bytes);
    // Reading while it is away.
    between.set(Harm::Fails(500, "GET"));
    http.ask("GET", &format!("/v2/a/blobs/{}", digest(&bytes))).is(503);
    http.ask("GET", "/v2/a/tags/list").is(200);
}

#[test]
fn what_breaks_off_goes_on_and_what_lies_is_not_given() {
    let dir = scratch("bucket-lies");
    let Some(server) = Server::start(Kind::S3rver, &dir) else { return };
    let between = Between::start(&server.host());
    let root = dir.join("root");
    let registry = start(&root, &address(&between.host(), &dir));
    let http = registry.http();
    let bytes = large(3, 3 << 20);
    let name = push_blob(&http, "a", &bytes);
    let at = format!("/v2/a/blobs/{name}");
    between.set(Harm::Breaks("GET /images/of/tests/blobs/"));
    assert!(http.ask("GET", &at).is(200).body == bytes, "each time the half of the rest");
    between.set(Harm::Lies("GET /images/of/tests/blobs/"));
    let stream = http.begin("GET", &at, &[], 0);
    let got = std::panic::catch_unwind(|| Http::answer(stream, "GET"));
    let whole = got.is_ok_and(|answer| answer.body.len() == bytes.len());
    assert!(!whole, "nobody gets the end of it");
    between.set(Harm::Longer("GET /images/of/tests/blobs/"));
    http.ask("GET", &at).is(500);
    // A manifest is not given at all.
    between.set(Harm::None);
    push_about(&http, "a", "1", "one", serde_json::json!({}));
    between.set(Harm::Lies("GET /images/of/tests/blobs/"));
    http.ask("GET", "/v2/a/manifests/1").is(500);
    // A lie about what was put: it is not taken for there.
    between.set(Harm::Longer("HEAD /images/of/tests/blobs/"));
    let other = large(4, 1 << 20);
    let begun = http.ask("POST", "/v2/a/blobs/uploads/").is(202);
    let put = format!("{}?digest={}", begun.header("location"), digest(&other));
    http.send("PUT", &put, &[], &other).is(500);
    between.set(Harm::None);
    http.ask("GET", &format!("/v2/a/blobs/{}", digest(&other))).is(404);
    http.ask("GET", "/v2/a/manifests/1").is(200);
}

#[test]
fn a_bucket_that_stalls_holds_up_nobody_else() {
    let dir = scratch("bucket-stalls");
    let Some(server) = Server::start(Kind::S3rver, &dir) else { return };
    let between = Between::start(&server.host());
    let root = dir.join("root");
    let registry = start(&root, &address(&between.host(), &dir));
    let http = registry.http();
    let (_, manifest) = push_about(&http, "a", "1", "one", serde_json::json!({}));
    between.set(Harm::Stalls("GET /images/of/tests/blobs/"));
    let waiting: Vec<_> = (0..40)
        .map(|_| http.begin("GET", &format!("/v2/a/manifests/{manifest}"), &[], 0))
        .collect();
    eventually("they are asked for", || {
        (between.seen(&["GET /images/of/tests/blobs/"]) >= 40).then_some(())
    });
    // More than there are threads for those who wait for a disk.
    http.ask("GET", "/v2/a/tags/list").is(200);
    push_about(&http, "b", "1", "two", serde_json::json!({}));
    between.set(Harm::None);
    for stream in waiting {
        Http::answer(stream, "GET").is(200);
    }
}

#[test]
fn killed_at_any_instant_it_has_the_old_or_the_new() {
    let dir = scratch("bucket-killed");
    let Some(server) = Server::start(Kind::S3rver, &dir) else { return };
    let between = Between::start(&server.host());
    let root = dir.join("root");
    let storage = address(&between.host(), &dir);
    let registry = start(&root, &storage);
    let (old, old_digest) = push_about(&registry.http(), "a", "1", "old", serde_json::json!({}));
    // Where the bucket has done what was asked, and we were not told: the last part, the end of it, the look at it, the manifest.
    let bytes = large(9, 9 << 20);
    let mut registry = registry;
    for harm in ["partNumber=2", "POST /images/of/tests/blobs/", "HEAD /images/of/tests/blobs/"] {
        let http = registry.http();
        let begun = http.ask("POST", "/v2/a/blobs/uploads/").is(202);
        let at = format!("{}?digest={}", begun.header("location"), digest(&bytes));
        let before = between.seen(&[harm]);
        between.set(Harm::Stalls(harm));
        let mut stream = http.begin("PUT", &at, &[], bytes.len() as u64);
        std::io::Write::write_all(&mut stream, &bytes).unwrap();
        eventually("the bucket is asked", || (between.seen(&[harm]) > before).then_some(()));
        registry.kill();
        between.set(Harm::None);
        registry = start(&root, &storage);
        let http = registry.http();
        assert_eq!(http.ask("GET", "/v2/a/manifests/1").is(200).body, old, "{harm}");
        http.ask("GET", &format!("/v2/a/blobs/{}", digest(&bytes))).is(404);
        assert!(FerryRegistry::command(&root, &["scrub"]).ok().ends_with("0 damaged"), "{harm}");
    }
    // The client goes on, and what the crashes left is swept.
    push_blob(&registry.http(), "a", &bytes);
    gc(&root);
    FerryRegistry::command(&root, &["gc", "--grace", "0s", "--uploads", "0s"]).ok();
    assert_eq!(
        objects(&server.host(), &dir),
        3,
        "layer, configuration and manifest of the old image"
    );
    registry.http().ask("GET", &format!("/v2/a/manifests/{old_digest}")).is(200);
    drop(registry);
}

#[test]
fn damage_is_found_and_mended() {
    let dir = scratch("bucket-damage");
    let Some(server) = Server::start(Kind::S3rver, &dir) else { return };
    let root = dir.join("root");
    let registry = start(&root, &address(&server.host(), &dir));
    let http = registry.http();
    push_about(&http, "a", "1", "one", serde_json::json!({}));
    let all = files(&dir.join("s3/images/of/tests/blobs"));
    let mut contents: Vec<PathBuf> = all
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with("._S3rver_object"))
        .collect();
    contents.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
    let mut bytes = std::fs::read(&contents[0]).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&contents[0], bytes).unwrap();
    let gone = contents[1].to_string_lossy().into_owned();
    for suffix in ["object", "object.md5", "metadata.json"] {
        let path = format!("{}{suffix}", gone.trim_end_matches("object"));
        std::fs::remove_file(path).unwrap();
    }
    let damage = FerryRegistry::command(&root, &["scrub"]).fails(1).stdout;
    assert!(damage.contains("corrupt  sha256:") && damage.contains("missing  sha256:"), "{damage}");
    assert!(damage.contains("3 blobs") && damage.contains("2 damaged"), "{damage}");
    push_about(&http, "a", "1", "one", serde_json::json!({}));
    assert!(FerryRegistry::command(&root, &["scrub"]).ok().ends_with("0 damaged"));
    gc(&root);
    assert!(contents[0].exists(), "what is damaged stays for whoever wants to know why");
}

#[test]
fn a_bucket_belongs_to_one_directory_and_outlives_it() {
    let dir = scratch("bucket-owner");
    let Some(server) = Server::start(Kind::S3rver, &dir) else { return };
    let storage = address(&server.host(), &dir);
    let root = dir.join("root");
    let registry = start(&root, &storage);
    let (manifest, _) = push_about(&registry.http(), "a", "1", "one", serde_json::json!({}));
    eventually("the records are in the bucket", || {
        files(&dir.join("s3/images/of/tests/records"))
            .iter()
            .any(|path| path.to_string_lossy().ends_with("_object"))
            .then_some(())
    });
    let ferry = |root: &Path, storage: &str| {
        FerryRegistry::command(root, &["serve", "--addr", "127.0.0.1:0", "--storage", storage])
    };
    let refused = ferry(&dir.join("other"), &storage).fails(1);
    assert!(refused.stderr.contains("belongs to another directory"), "{refused}");
    registry.end();
    // Another bucket than the one that has the blobs.
    let elsewhere = ferry(&root, &storage.replace("of/tests", "elsewhere")).fails(1);
    assert!(elsewhere.stderr.contains("are in s3://images/of/tests, not in"), "{elsewhere}");
    // The directory is lost: with a new one everything is there that was there when the old one ended.
    std::fs::remove_dir_all(&root).unwrap();
    let new = dir.join("new");
    let registry = start(&new, &format!("{storage}&take-over=true"));
    assert_eq!(registry.http().ask("GET", "/v2/a/manifests/1").is(200).body, manifest);
    assert!(FerryRegistry::command(&new, &["scrub"]).ok().ends_with("0 damaged"));
    drop(registry);
    // A directory that knows its bucket need not be told.
    let registry = FerryRegistry::start(&new, &[]);
    registry.http().ask("GET", "/v2/a/manifests/1").is(200);
    for (wrong, why) in [
        ("s3://images?endpoint=http://10.0.0.1:1", "everybody on the way"),
        ("s3://", "write s3://BUCKET"),
        ("https://images", "write s3://BUCKET"),
    ] {
        let refused = ferry(&dir.join("wrong"), wrong).fails(1);
        assert!(refused.stderr.contains(why), "{refused}");
    }
}
