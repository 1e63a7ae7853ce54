//! "Pull": manifests and blobs, whole and in part.

use ferry_testkit::Http;

use super::{MANIFEST, Requirement, Since, digest, push_blob, push_image};

const ACCEPT: (&str, &str) = ("Accept", MANIFEST);

pub(super) const REQUIREMENTS: &[Requirement] = &[
    ("end-1: GET /v2/ answers 200", Since::One, base),
    ("GET of a manifest by tag answers it as it was pushed, with its type", Since::One, by_tag),
    ("GET of a manifest by digest answers it", Since::One, by_digest),
    ("HEAD of a manifest answers what GET does, without the body", Since::One, head_manifest),
    ("a manifest that is not there answers 404 MANIFEST_UNKNOWN", Since::One, no_manifest),
    ("GET of a blob answers it, with its digest", Since::One, blob),
    ("HEAD of a blob answers its length", Since::One, head_blob),
    ("a blob that is not there answers 404 BLOB_UNKNOWN", Since::One, no_blob),
    ("a blob of another repository is not there", Since::One, other_repository),
    ("a range of a blob answers 206 and that part", Since::One, ranges),
    ("a range beyond the blob answers 416", Since::One, beyond),
    ("a name that is none answers 404 or 400 NAME_INVALID", Since::One, bad_names),
    (
        "a name that is none answers 400 NAME_INVALID, where it reads as a path",
        Since::OneOne,
        invalid,
    ),
    ("a digest that is none answers 400 DIGEST_INVALID", Since::OneOne, bad_digest),
    ("If-None-Match with the digest answers 304", Since::OneOne, unchanged),
];

fn base(http: &Http) {
    http.ask("GET", "/v2/").is(200);
}

fn by_tag(http: &Http) {
    let (bytes, digest) = push_image(http, "pull/a", "t", "by tag");
    let answer = http.send("GET", "/v2/pull/a/manifests/t", &[ACCEPT], b"").is(200);
    assert_eq!(answer.body, bytes);
    assert_eq!(answer.header("content-type"), MANIFEST);
    assert_eq!(answer.header("docker-content-digest"), digest);
}

fn by_digest(http: &Http) {
    let (bytes, digest) = push_image(http, "pull/a", "", "by digest");
    let path = format!("/v2/pull/a/manifests/{digest}");
    assert_eq!(http.send("GET", &path, &[ACCEPT], b"").is(200).body, bytes);
}

fn head_manifest(http: &Http) {
    let (bytes, digest) = push_image(http, "pull/a", "head", "head");
    let answer = http.send("HEAD", "/v2/pull/a/manifests/head", &[ACCEPT], b"").is(200);
    assert_eq!(answer.header("content-length"), bytes.len().to_string());
    assert_eq!(answer.header("docker-content-digest"), digest);
    assert_eq!(answer.header("content-type"), MANIFEST);
    assert!(http.send("HEAD", "/v2/pull/a/manifests/no", &[ACCEPT], b"").is(404).body.is_empty());
}

fn no_manifest(http: &Http) {
    push_image(http, "pull/a", "t", "no manifest");
    for reference in ["never", &digest(b"never")] {
        let answer = http.ask("GET", &format!("/v2/pull/a/manifests/{reference}")).is(404);
        assert_eq!(answer.code(), "MANIFEST_UNKNOWN");
        assert!(answer.header("content-type").starts_with("application/json"));
    }
}

fn blob(http: &Http) {
    let digest = push_blob(http, "pull/a", b"a blob");
    let answer = http.ask("GET", &format!("/v2/pull/a/blobs/{digest}")).is(200);
    assert_eq!(answer.body, b"a blob");
    assert_eq!(answer.header("docker-content-digest"), digest);
    assert_eq!(answer.header("content-length"), "6");
    let empty = push_blob(http, "pull/a", b"");
    assert!(http.ask("GET", &format!("/v2/pull/a/blobs/{empty}")).is(200).body.is_empty());
}

fn head_blob(http: &Http) {
    let digest = push_blob(http, "pull/a", b"another blob");
    let answer = http.ask("HEAD", &format!("/v2/pull/a/blobs/{digest}")).is(200);
    assert_eq!(answer.header("content-length"), "12");
    assert_eq!(answer.header("docker-content-digest"), digest);
}

fn no_blob(http: &Http) {
    let path = format!("/v2/pull/a/blobs/{}", digest(b"never pushed"));
    assert_eq!(http.ask("GET", &path).is(404).code(), "BLOB_UNKNOWN");
    http.ask("HEAD", &path).is(404);
}

fn other_repository(http: &Http) {
    let digest = push_blob(http, "pull/mine", b"only mine");
    http.ask("GET", &format!("/v2/pull/yours/blobs/{digest}")).is(404);
}

fn ranges(http: &Http) {
    let digest = push_blob(http, "pull/a", b"0123456789");
    let path = format!("/v2/pull/a/blobs/{digest}");
    for (range, part, shown) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=4-", "456789", "bytes 4-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
    ] {
        let answer = http.send("GET", &path, &[("Range", range)], b"").is(206);
        assert_eq!(answer.text(), part, "{range}");
        assert_eq!(answer.header("content-range"), shown);
    }
}

fn beyond(http: &Http) {
    let digest = push_blob(http, "pull/a", b"0123456789");
    let path = format!("/v2/pull/a/blobs/{digest}");
    http.send("GET", &path, &[("Range", "bytes=10-")], b"").is(416);
}

fn bad_names(http: &Http) {
    for name in ["UPPER", "a//b", "-a", "a/"] {
        let answer = http.ask("GET", &format!("/v2/{name}/tags/list"));
        assert!(matches!(answer.status, 301 | 400 | 404), "{name}: {}", answer.status);
    }
}

fn invalid(http: &Http) {
    let long = "a/".repeat(150) + "a";
    for name in ["UPPER", "-a", "a..b", "a/-", &long] {
        let answer = http.ask("GET", &format!("/v2/{name}/tags/list")).is(400);
        assert_eq!(answer.code(), "NAME_INVALID", "{name}");
    }
}

fn bad_digest(http: &Http) {
    for digest in ["sha256:12", "sha256:zz", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let answer = http.ask("GET", &format!("/v2/pull/a/blobs/{digest}")).is(400);
        assert_eq!(answer.code(), "DIGEST_INVALID", "{digest}");
    }
}

fn unchanged(http: &Http) {
    let (_, digest) = push_image(http, "pull/a", "etag", "etag");
    let known = format!("\"{digest}\"");
    let answer =
        http.send("GET", "/v2/pull/a/manifests/etag", &[("If-None-Match", &known)], b"").is(304);
    assert!(answer.body.is_empty());
}
