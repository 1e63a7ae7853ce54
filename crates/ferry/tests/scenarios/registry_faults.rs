//! `ferry registry serve` where something is broken: a disk that may only be read, blobs that are cut short, an upstream that talks
//! nonsense. A full disk and `kill -9` are in `registry_serve.rs`, buckets in `registry_bucket.rs`.

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{FerryRegistry, eventually, run};
use serde_json::json;

use crate::{
    distribution::{digest, push_about, push_blob},
    registry_serve::files,
    scratch,
};

/// Directories that may only be read, until it is dropped.
struct ReadOnly(Vec<PathBuf>);

impl ReadOnly {
    /// `None` where nothing can be mounted.
    fn make(paths: &[PathBuf]) -> Option<ReadOnly> {
        let mut made = ReadOnly(Vec::new());
        for path in paths {
            if run(Command::new("mount").arg("--bind").arg(path).arg(path)).code != 0 {
                eprintln!("SKIPPED: nothing can be mounted here");
                return None;
            }
            made.0.push(path.clone());
            run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(path)).ok();
        }
        Some(made)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        for path in &self.0 {
            drop(run(Command::new("umount").arg("-l").arg(path)));
        }
    }
}

#[test]
fn a_disk_that_may_only_be_read() {
    let dir = scratch("registry-read-only");
    let root = dir.join("root");
    let registry = FerryRegistry::start(&root, &[]);
    let http = registry.http();
    let image = push_about(&http, "a", "1", "one", json!({}));
    let Some(locked) = ReadOnly::make(&[root.join("uploads"), root.join("blobs")]) else { return };
    http.ask("POST", "/v2/a/blobs/uploads/").is(500);
    let text = String::from_utf8(image.0.clone()).unwrap().replace("one", "two");
    let put = |tag: &str| {
        let kind = [("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
        http.send("PUT", &format!("/v2/a/manifests/{tag}"), &kind, format!("{text} ").as_bytes())
    };
    put("2").is(500);
    // What is there is there, and nothing half.
    assert_eq!(http.ask("GET", "/v2/a/manifests/1").is(200).body, image.0);
    http.ask("GET", "/v2/a/manifests/2").is(404);
    assert!(registry.log().contains("Read-only file system"), "{}", registry.log());
    drop(locked);
    put("2").is(201);
    push_blob(&http, "a", b"again");
    assert!(FerryRegistry::command(&root, &["scrub"]).ok().ends_with("0 damaged"));
    // It does not begin on one either, and says why.
    registry.kill();
    let Some(_locked) = ReadOnly::make(std::slice::from_ref(&root)) else { return };
    let refused = FerryRegistry::command(&root, &["serve", "--addr", "127.0.0.1:0"]).fails(1);
    assert!(refused.stderr.contains("ead-only file system"), "{refused}");
}

/// The file of a blob.
fn file(root: &Path, digest: &str) -> PathBuf {
    let hex = digest.trim_start_matches("sha256:");
    root.join("blobs").join(&hex[..2]).join(hex)
}

#[test]
fn a_blob_that_is_cut_short() {
    let dir = scratch("registry-short");
    let root = dir.join("root");
    let registry = FerryRegistry::start(&root, &[]);
    let http = registry.http();
    // More than sockets take while nobody reads.
    let bytes: Vec<u8> = (0..24 << 20).map(|at: u32| (at / 3) as u8).collect();
    let name = push_blob(&http, "a", &bytes);
    push_about(&http, "a", "1", "one", json!({}));
    let at = format!("/v2/a/blobs/{name}");
    // While somebody reads it: they get no end, and nobody else notices.
    let mut stream = http.begin("GET", &at, &[], 0);
    let mut some = vec![0; 64 << 10];
    stream.read_exact(&mut some).unwrap();
    let short = std::fs::OpenOptions::new().write(true).open(file(&root, &name)).unwrap();
    short.set_len(1 << 20).unwrap();
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    assert!(some.len() + rest.len() < bytes.len(), "{}", rest.len());
    http.ask("GET", "/v2/a/manifests/1").is(200);
    let damage = FerryRegistry::command(&root, &["scrub"]).fails(1).stdout;
    assert!(damage.contains(&format!("corrupt  {name}  in a")), "{damage}");
    // From now on it is missing, so a client sends it again.
    http.ask("HEAD", &at).is(404);
    push_blob(&http, "a", &bytes);
    assert!(http.ask("GET", &at).is(200).body == bytes);
    assert!(FerryRegistry::command(&root, &["scrub"]).ok().ends_with("0 damaged"));
}

/// An upstream that answers everything with the same bytes.
fn babbler(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 1024];
            drop(stream.read(&mut head));
            drop(stream.write_all(answer));
        }
    });
    host
}

#[test]
fn an_upstream_that_talks_nonsense() {
    let dir = scratch("registry-garbage");
    let answers: [&'static [u8]; 5] = [
        b"\x00\xff\xfe garbage \r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnonsense\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let host = babbler(answer);
        let root = dir.join(format!("root{number}"));
        let (proxy, mirror) =
            (format!("up=http://{host}"), format!("other=http://{host}/a/b,every=1s"));
        let flags = ["--proxy", &proxy, "--mirror", &mirror, "--proxy-timeout", "2s"];
        let registry = FerryRegistry::start(&root, &flags);
        let http = registry.http();
        let blob = digest(b"what nobody has");
        for path in ["manifests/1", "tags/list", &format!("blobs/{blob}")] {
            let answer = http.ask("GET", &format!("/v2/up/a/b/{path}"));
            let listed = path == "tags/list" && answer.status == 200;
            assert!(answer.status >= 400 || listed, "{number} {path}: {}", answer.status);
        }
        http.ask("GET", "/v2/").is(200);
        push_about(&http, "own", "1", "one", json!({}));
        eventually("the rule was tried", || {
            let seen = FerryRegistry::command(&root, &["rules"]).ok();
            (seen.contains("again in")).then_some(())
        });
        let kept = files(&root.join("blobs"));
        assert_eq!(kept.len(), 3, "only what was pushed: {kept:?}");
        assert!(files(&root.join("uploads")).is_empty());
    }
}

#[test]
fn limits_hold_and_slow_clients_hold_up_nobody() {
    let dir = scratch("registry-limits");
    let flags = ["--max-blob-size", "8m", "--max-connections", "64"];
    let registry = FerryRegistry::start(&dir.join("root"), &flags);
    let http = registry.http();
    let begun = http.ask("POST", "/v2/a/blobs/uploads/").is(202);
    http.send("PATCH", begun.header("location"), &[], &vec![0; 9 << 20]).is(413);
    // Half of the connections belong to clients that take nothing, or send nothing.
    let bytes: Vec<u8> = (0..8 << 20).map(|at: u32| (at / 3) as u8).collect();
    let name = push_blob(&http, "a", &bytes);
    let at = format!("/v2/a/blobs/{name}");
    let readers: Vec<_> = (0..16).map(|_| http.begin("GET", &at, &[], 0)).collect();
    let writers: Vec<_> = (0..16)
        .map(|_| {
            let begun = http.ask("POST", "/v2/a/blobs/uploads/").is(202);
            http.begin("PATCH", begun.header("location"), &[], 1 << 20)
        })
        .collect();
    for _ in 0..8 {
        assert!(http.ask("GET", &at).is(200).body == bytes);
        push_about(&http, "b", "1", "one", json!({}));
    }
    // With all of them taken, the next one waits, and is served when one goes.
    let idle: Vec<_> = (0..32).map(|_| http.begin("GET", &at, &[], 0)).collect();
    let waiting = http.begin("GET", "/v2/", &[], 0);
    drop((readers, writers, idle));
    ferry_testkit::Http::answer(waiting, "GET").is(200);
    drop(registry);
    let registry = FerryRegistry::start(&dir.join("root"), &["--max-rate", "5"]);
    let refused = eventually("too many requests are refused", || {
        let answer = registry.http().ask("GET", "/v2/");
        (answer.status == 429).then_some(answer)
    });
    assert_eq!(refused.code(), "TOOMANYREQUESTS");
    eventually("and a little later they are not", || {
        (registry.http().ask("GET", "/v2/").status == 200).then_some(())
    });
}
