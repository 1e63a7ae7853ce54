//! "Content discovery" and "content management": lists, referrers, deletion.

use ferry_testkit::{Answer, Http};
use serde_json::{Value, json};

use super::{INDEX, MANIFEST, Requirement, Since, digest, push_about, push_blob, push_image};

pub(super) const REQUIREMENTS: &[Requirement] = &[
    ("end-8a: the list of tags is in order", Since::OneOne, tags),
    ("end-8b: n and last give a page, Link the next one", Since::OneOne, pages),
    ("n=0 gives no tags", Since::OneOne, none),
    ("tags of a repository that is not there answer 404 NAME_UNKNOWN", Since::One, unknown),
    ("the catalog lists repositories, page by page", Since::One, catalog),
    ("end-9: DELETE of a manifest answers 202, and it is gone", Since::One, delete_manifest),
    ("with a manifest go its tags", Since::OneOne, tags_go),
    ("end-9: DELETE of a tag answers 202, and the manifest stays", Since::OneOne, delete_tag),
    ("end-10: DELETE of a blob answers 202, and it is gone", Since::One, delete_blob),
    ("a blob that a manifest needs is not deleted", Since::OneOne, needed_blob),
    ("DELETE of what is not there answers 404", Since::OneOne, delete_nothing),
    ("end-12a: referrers of nothing are an empty index", Since::OneOne, no_referrers),
    ("end-12a: referrers are listed with type and annotations", Since::OneOne, referrers),
    ("end-12b: artifactType filters, and it is said", Since::OneOne, filter),
    ("a referrer that is deleted is no longer listed", Since::OneOne, deleted_referrer),
    ("a method that is none answers 405 UNSUPPORTED", Since::OneOne, methods),
    ("what is no path of the API answers 404", Since::One, paths),
];

fn names(answer: &Answer, list: &str) -> Vec<String> {
    let json = answer.json();
    let list = json[list].as_array().unwrap();
    list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn tags(http: &Http) {
    for tag in ["b", "a", "c"] {
        push_image(http, "list/tags", tag, "tags");
    }
    let answer = http.ask("GET", "/v2/list/tags/tags/list").is(200);
    assert_eq!(answer.json()["name"], "list/tags");
    assert_eq!(names(&answer, "tags"), ["a", "b", "c"]);
}

fn pages(http: &Http) {
    for tag in ["a", "b", "c"] {
        push_image(http, "list/pages", tag, "pages");
    }
    let answer = http.ask("GET", "/v2/list/pages/tags/list?n=2").is(200);
    assert_eq!(names(&answer, "tags"), ["a", "b"]);
    let link = answer.header("link");
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    let next = link.split(['<', '>']).nth(1).unwrap();
    let answer = http.ask("GET", next).is(200);
    assert_eq!(names(&answer, "tags"), ["c"]);
    assert_eq!(answer.header("link"), "");
    assert_eq!(names(&http.ask("GET", "/v2/list/pages/tags/list?last=b"), "tags"), ["c"]);
    assert_eq!(names(&http.ask("GET", "/v2/list/pages/tags/list?last=aa&n=1"), "tags"), ["b"]);
    http.ask("GET", "/v2/list/pages/tags/list?n=x").is(400);
}

fn none(http: &Http) {
    push_image(http, "list/none", "a", "none");
    assert!(names(&http.ask("GET", "/v2/list/none/tags/list?n=0").is(200), "tags").is_empty());
}

fn unknown(http: &Http) {
    let answer = http.ask("GET", "/v2/never/pushed/tags/list").is(404);
    assert_eq!(answer.code(), "NAME_UNKNOWN");
}

fn catalog(http: &Http) {
    for name in ["cat/a", "cat/b", "cat/c"] {
        push_image(http, name, "t", "catalog");
    }
    let answer = http.ask("GET", "/v2/_catalog?last=cat/a&n=1").is(200);
    assert_eq!(names(&answer, "repositories"), ["cat/b"]);
    let next = answer.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(names(&http.ask("GET", &next).is(200), "repositories"), ["cat/c"]);
}

fn delete_manifest(http: &Http) {
    let (_, digest) = push_image(http, "delete/a", "", "delete manifest");
    let path = format!("/v2/delete/a/manifests/{digest}");
    http.ask("DELETE", &path).is(202);
    assert_eq!(http.ask("GET", &path).is(404).code(), "MANIFEST_UNKNOWN");
}

fn tags_go(http: &Http) {
    let (_, digest) = push_image(http, "delete/a", "one", "tags go");
    push_image(http, "delete/a", "two", "tags go");
    http.ask("DELETE", &format!("/v2/delete/a/manifests/{digest}")).is(202);
    for tag in ["one", "two"] {
        http.ask("GET", &format!("/v2/delete/a/manifests/{tag}")).is(404);
    }
}

fn delete_tag(http: &Http) {
    let (_, digest) = push_image(http, "delete/a", "tag", "delete tag");
    http.ask("DELETE", "/v2/delete/a/manifests/tag").is(202);
    http.ask("GET", "/v2/delete/a/manifests/tag").is(404);
    http.ask("GET", &format!("/v2/delete/a/manifests/{digest}")).is(200);
}

fn delete_blob(http: &Http) {
    let digest = push_blob(http, "delete/a", b"not needed");
    let path = format!("/v2/delete/a/blobs/{digest}");
    http.ask("DELETE", &path).is(202);
    http.ask("GET", &path).is(404);
    push_blob(http, "delete/a", b"not needed");
    http.ask("GET", &path).is(200);
}

fn needed_blob(http: &Http) {
    push_image(http, "delete/b", "t", "needed");
    let path = format!("/v2/delete/b/blobs/{}", digest(b"layer of needed"));
    assert_eq!(http.ask("DELETE", &path).is(405).code(), "UNSUPPORTED");
    http.ask("GET", &path).is(200);
}

fn delete_nothing(http: &Http) {
    let digest = digest(b"nothing at all");
    http.ask("DELETE", &format!("/v2/delete/a/blobs/{digest}")).is(404);
    http.ask("DELETE", &format!("/v2/delete/a/manifests/{digest}")).is(404);
    http.ask("DELETE", "/v2/delete/a/manifests/never").is(404);
}

fn no_referrers(http: &Http) {
    let path = format!("/v2/refer/a/referrers/{}", digest(b"nobody's subject"));
    let answer = http.ask("GET", &path).is(200);
    assert_eq!(answer.header("content-type"), INDEX);
    let json = answer.json();
    assert_eq!(json["schemaVersion"], 2);
    assert_eq!(json["mediaType"], INDEX);
    assert_eq!(json["manifests"], json!([]));
    http.ask("GET", "/v2/refer/a/referrers/sha256:12").is(400);
}

/// An image and two that are about it, of different types.
fn refer(http: &Http, name: &str) -> (String, String, String) {
    let (bytes, subject) = push_image(http, name, "image", name);
    let about = json!({ "mediaType": MANIFEST, "digest": subject, "size": bytes.len() });
    let signature = json!({ "subject": about, "artifactType": "application/signature", "annotations": { "by": "me" } });
    let (_, signature) = push_about(http, name, "", "signature", signature);
    // Without an artifactType, the configuration's type counts.
    let (_, plain) = push_about(http, name, "", "plain", json!({ "subject": about }));
    (subject, signature, plain)
}

fn listed(http: &Http, name: &str, subject: &str, query: &str) -> (Answer, Vec<Value>) {
    let answer = http.ask("GET", &format!("/v2/{name}/referrers/{subject}{query}")).is(200);
    let list = answer.json()["manifests"].as_array().unwrap().clone();
    (answer, list)
}

fn referrers(http: &Http) {
    let (subject, signature, plain) = refer(http, "refer/all");
    let (_, list) = listed(http, "refer/all", &subject, "");
    assert_eq!(list.len(), 2);
    let find = |digest: &str| list.iter().find(|entry| entry["digest"] == digest).unwrap();
    assert_eq!(find(&signature)["artifactType"], "application/signature");
    assert_eq!(find(&signature)["annotations"], json!({ "by": "me" }));
    assert_eq!(find(&signature)["mediaType"], MANIFEST);
    assert!(find(&signature)["size"].as_u64().unwrap() > 0);
    assert_eq!(find(&plain)["artifactType"], "application/vnd.oci.image.config.v1+json");
}

fn filter(http: &Http) {
    let (subject, signature, _) = refer(http, "refer/some");
    // A list may come in pages, by its headers.
    let (answer, first) = listed(http, "refer/some", &subject, "?n=1");
    if let Some(next) = answer.header("link").strip_prefix('<') {
        let next = next.split('>').next().unwrap();
        let answer = http.ask("GET", next).is(200);
        let second = answer.json()["manifests"].as_array().unwrap().clone();
        assert_eq!((first.len(), second.len(), answer.header("link")), (1, 1, ""));
        assert_ne!(first[0]["digest"], second[0]["digest"]);
    }
    let (answer, list) =
        listed(http, "refer/some", &subject, "?artifactType=application%2Fsignature");
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["digest"], *signature);
    assert_eq!(answer.header("oci-filters-applied"), "artifactType");
    assert!(listed(http, "refer/some", &subject, "?artifactType=none").1.is_empty());
}

fn deleted_referrer(http: &Http) {
    let (subject, signature, plain) = refer(http, "refer/gone");
    http.ask("DELETE", &format!("/v2/refer/gone/manifests/{signature}")).is(202);
    let (_, list) = listed(http, "refer/gone", &subject, "");
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["digest"], *plain);
}

fn methods(http: &Http) {
    for (method, path) in [("POST", "/v2/"), ("PUT", "/v2/_catalog"), ("PATCH", "/v2/a/tags/list")]
    {
        assert_eq!(http.ask(method, path).is(405).code(), "UNSUPPORTED");
    }
}

fn paths(http: &Http) {
    for path in ["/v1/", "/v2/a/what/ever", "/v3/"] {
        http.ask("GET", path).is(404);
    }
}
