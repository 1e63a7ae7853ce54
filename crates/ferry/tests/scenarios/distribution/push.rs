//! "Push": blobs in one piece, in two steps, in chunks, as a stream, by a mount; manifests.

use ferry_testkit::Http;
use serde_json::json;

use super::{
    INDEX, MANIFEST, Requirement, Since, digest, manifest, push_blob, push_image, put, with_digest,
};

const OCTETS: (&str, &str) = ("Content-Type", "application/octet-stream");

pub(super) const REQUIREMENTS: &[Requirement] = &[
    ("end-4a: POST begins an upload and says where", Since::One, begin),
    ("end-6: POST then PUT makes a blob", Since::One, two_steps),
    ("end-4b: POST with a digest makes a blob", Since::OneOne, single_at_once),
    ("end-5: chunks in order make a blob, each answers 202 and the range", Since::One, chunks),
    ("a stream without a range makes a blob", Since::One, stream),
    ("a chunk out of order answers 416", Since::OneOne, out_of_order),
    ("a chunk whose length is not its range's answers 400", Since::OneOne, wrong_length),
    ("end-13: GET of an upload answers 204 and how far it is", Since::One, status),
    ("an upload that broke off goes on where it stopped", Since::OneOne, resume),
    ("an upload that was given up is not there", Since::One, cancel),
    ("content with another digest answers 400 DIGEST_INVALID", Since::One, mismatch),
    ("PUT without a digest answers 400 DIGEST_INVALID", Since::One, no_digest),
    ("an upload that is not there answers 404 BLOB_UPLOAD_UNKNOWN", Since::OneOne, no_upload),
    ("an upload belongs to its repository", Since::One, upload_of_another),
    ("end-11: a mount of a blob that is there answers 201", Since::One, mount),
    ("a mount of a blob that is not there begins an upload", Since::One, mount_of_nothing),
    ("end-7: PUT of a manifest answers 201, its location and digest", Since::One, put_manifest),
    ("a manifest by another digest answers 400 DIGEST_INVALID", Since::One, wrong_reference),
    ("a manifest of missing blobs answers 400 or 404 MANIFEST_BLOB_UNKNOWN", Since::One, missing),
    ("a manifest that does not read answers 400 MANIFEST_INVALID", Since::One, unreadable),
    ("a manifest with an unknown type answers 400 or 404", Since::OneOne, unknown_type),
    ("a manifest larger than the limit answers 413", Since::OneOne, too_large),
    ("an index of manifests that are there is taken", Since::One, index),
    ("a tag goes to the manifest that was pushed last", Since::One, retag),
    ("a manifest with a subject answers OCI-Subject", Since::OneOne, subject),
];

fn begin(http: &Http) {
    let answer = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    assert!(answer.header("location").contains("/v2/push/a/blobs/uploads/"));
}

fn two_steps(http: &Http) {
    let digest = digest(b"two steps");
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    let at = with_digest(begun.header("location"), &digest);
    let answer = http.send("PUT", &at, &[OCTETS], b"two steps").is(201);
    assert!(answer.header("location").ends_with(&format!("/v2/push/a/blobs/{digest}")));
    assert_eq!(answer.header("docker-content-digest"), digest);
    http.ask("HEAD", &format!("/v2/push/a/blobs/{digest}")).is(200);
}

fn single_at_once(http: &Http) {
    let digest = digest(b"single at once");
    // As some clients write it.
    let path = format!("/v2/push/a/blobs/uploads/?digest={}", digest.replace(':', "%3A"));
    http.send("POST", &path, &[OCTETS], b"single at once").is(201);
    http.ask("HEAD", &format!("/v2/push/a/blobs/{digest}")).is(200);
}

fn chunks(http: &Http) {
    let mut at =
        http.ask("POST", "/v2/push/a/blobs/uploads/").is(202).header("location").to_owned();
    for (range, chunk, so_far) in [("0-3", "0123", "0-3"), ("4-9", "456789", "0-9")] {
        let headers = [OCTETS, ("Content-Range", range)];
        let answer = http.send("PATCH", &at, &headers, chunk.as_bytes()).is(202);
        assert_eq!(answer.header("range"), so_far);
        at = answer.header("location").to_owned();
    }
    let digest = digest(b"0123456789ab");
    let headers = [OCTETS, ("Content-Range", "10-11")];
    http.send("PUT", &with_digest(&at, &digest), &headers, b"ab").is(201);
    let found = http.ask("GET", &format!("/v2/push/a/blobs/{digest}")).is(200);
    assert_eq!(found.text(), "0123456789ab");
}

fn stream(http: &Http) {
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    let bytes = vec![7; 3 << 20];
    let sent = http.send("PATCH", begun.header("location"), &[OCTETS], &bytes).is(202);
    let digest = digest(&bytes);
    http.ask("PUT", &with_digest(sent.header("location"), &digest)).is(201);
    assert_eq!(http.ask("GET", &format!("/v2/push/a/blobs/{digest}")).body, bytes);
}

fn out_of_order(http: &Http) {
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    let at = begun.header("location");
    let answer = http.send("PATCH", at, &[OCTETS, ("Content-Range", "5-6")], b"ab").is(416);
    assert!(answer.header("location").contains("/blobs/uploads/"));
    http.send("PATCH", at, &[OCTETS, ("Content-Range", "0-1")], b"ab").is(202);
    http.send("PATCH", at, &[OCTETS, ("Content-Range", "0-1")], b"ab").is(416);
    http.send("PATCH", at, &[OCTETS, ("Content-Range", "x")], b"ab").is(400);
}

fn wrong_length(http: &Http) {
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    let headers = [OCTETS, ("Content-Range", "0-9")];
    let answer = http.send("PATCH", begun.header("location"), &headers, b"ab").is(400);
    assert_eq!(answer.code(), "SIZE_INVALID");
}

fn status(http: &Http) {
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    let sent = http.send("PATCH", begun.header("location"), &[OCTETS], b"abcde").is(202);
    let answer = http.ask("GET", sent.header("location")).is(204);
    assert_eq!(answer.header("range"), "0-4");
    assert!(!answer.header("location").is_empty());
}

fn resume(http: &Http) {
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    let mut stream = http.begin("PATCH", begun.header("location"), &[OCTETS], 1000);
    std::io::Write::write_all(&mut stream, &[b'a'; 600]).unwrap();
    drop(stream);
    // The registry has to notice first.
    let seen = ferry_testkit::eventually("the bytes that came are kept", || {
        let answer = http.ask("GET", begun.header("location"));
        (answer.status == 204 && answer.header("range") == "0-599").then_some(answer)
    });
    let rest = [b'b'; 400];
    let sent =
        http.send("PATCH", seen.header("location"), &[OCTETS, ("Content-Range", "600-999")], &rest);
    let bytes = [vec![b'a'; 600], rest.to_vec()].concat();
    let at = with_digest(sent.is(202).header("location"), &digest(&bytes));
    http.ask("PUT", &at).is(201);
}

fn cancel(http: &Http) {
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    http.ask("DELETE", begun.header("location")).is(204);
    http.ask("GET", begun.header("location")).is(404);
}

fn mismatch(http: &Http) {
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    let wrong = digest(b"something else");
    let at = with_digest(begun.header("location"), &wrong);
    assert_eq!(http.send("PUT", &at, &[OCTETS], b"this").is(400).code(), "DIGEST_INVALID");
    http.ask("HEAD", &format!("/v2/push/a/blobs/{wrong}")).is(404);
}

fn no_digest(http: &Http) {
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    let answer = http.send("PUT", begun.header("location"), &[OCTETS], b"this").is(400);
    assert_eq!(answer.code(), "DIGEST_INVALID");
}

fn no_upload(http: &Http) {
    let path = "/v2/push/a/blobs/uploads/6b3c9a93-af5d-473f-a4cf-9710022185cd";
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = http.ask(method, path).is(404);
        assert_eq!(answer.code(), "BLOB_UPLOAD_UNKNOWN", "{method}");
    }
}

fn upload_of_another(http: &Http) {
    let begun = http.ask("POST", "/v2/push/a/blobs/uploads/").is(202);
    let other = begun.header("location").replace("/v2/push/a/", "/v2/push/b/");
    let answer = http.ask("GET", &other);
    assert!(matches!(answer.status, 400 | 404), "{}", answer.status);
}

fn mount(http: &Http) {
    let digest = push_blob(http, "push/from", b"to be mounted");
    let path = format!("/v2/push/to/blobs/uploads/?mount={digest}&from=push/from");
    let answer = http.ask("POST", &path).is(201);
    assert!(answer.header("location").ends_with(&format!("/v2/push/to/blobs/{digest}")));
    http.ask("GET", &format!("/v2/push/to/blobs/{digest}")).is(200);
}

fn mount_of_nothing(http: &Http) {
    let digest = digest(b"nowhere");
    for from in ["&from=push/from", "&from=never/pushed", ""] {
        let answer = http.ask("POST", &format!("/v2/push/to/blobs/uploads/?mount={digest}{from}"));
        assert!(answer.is(202).header("location").contains("/blobs/uploads/"));
    }
}

fn put_manifest(http: &Http) {
    let (bytes, digest) = push_image(http, "push/a", "put", "put");
    let answer = put(http, "push/a", "put", &bytes).is(201);
    assert_eq!(answer.header("docker-content-digest"), digest);
    assert!(answer.header("location").contains("/v2/push/a/manifests/"));
    put(http, "push/a", &digest, &bytes).is(201);
}

fn wrong_reference(http: &Http) {
    let (bytes, _) = push_image(http, "push/a", "wrong", "wrong");
    let answer = put(http, "push/a", &digest(b"no manifest"), &bytes).is(400);
    assert_eq!(answer.code(), "DIGEST_INVALID");
}

fn missing(http: &Http) {
    let nowhere = (digest(b"not pushed"), 10);
    let answer = put(http, "push/a", "missing", &manifest(&nowhere, &[], json!({})));
    assert!(matches!(answer.status, 400 | 404), "{}", answer.status);
    assert!(answer.text().contains("MANIFEST_BLOB_UNKNOWN"), "{}", answer.text());
    assert!(answer.text().contains(&nowhere.0), "it says which: {}", answer.text());
    http.ask("GET", "/v2/push/a/manifests/missing").is(404);
}

fn unreadable(http: &Http) {
    for bytes in ["", "{", "[]"] {
        let answer = put(http, "push/a", "unreadable", bytes.as_bytes()).is(400);
        assert_eq!(answer.code(), "MANIFEST_INVALID", "{bytes}");
    }
}

fn unknown_type(http: &Http) {
    let (bytes, _) = push_image(http, "push/a", "type", "type");
    for kind in ["text/plain", INDEX] {
        let path = "/v2/push/a/manifests/type2";
        let answer = http.send("PUT", path, &[("Content-Type", kind)], &bytes).is(400);
        assert_eq!(answer.code(), "MANIFEST_INVALID");
    }
}

fn too_large(http: &Http) {
    let filler = vec![b' '; (4 << 20) + 1];
    put(http, "push/a", "large", &filler).is(413);
}

fn index(http: &Http) {
    let (bytes, digest) = push_image(http, "push/a", "", "in an index");
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        { "mediaType": MANIFEST, "digest": digest, "size": bytes.len(), "platform": { "os": "linux", "architecture": "arm64" } },
    ] });
    let index = serde_json::to_vec(&index).unwrap();
    let path = "/v2/push/a/manifests/index";
    http.send("PUT", path, &[("Content-Type", INDEX)], &index).is(201);
    let answer = http.send("GET", path, &[("Accept", INDEX)], b"").is(200);
    assert_eq!(answer.body, index);
    assert_eq!(answer.header("content-type"), INDEX);
}

fn retag(http: &Http) {
    push_image(http, "push/a", "moving", "first");
    let (_, second) = push_image(http, "push/a", "moving", "second");
    let answer = http.send("HEAD", "/v2/push/a/manifests/moving", &[("Accept", MANIFEST)], b"");
    assert_eq!(answer.is(200).header("docker-content-digest"), second);
}

fn subject(http: &Http) {
    // What it is about need not be there.
    let subject = digest(b"not here yet");
    let config = (push_blob(http, "push/a", b"{}"), 2);
    let about = json!({ "subject": { "mediaType": MANIFEST, "digest": subject, "size": 12 } });
    let answer = put(http, "push/a", "about", &manifest(&config, &[], about)).is(201);
    assert_eq!(answer.header("oci-subject"), subject);
}
