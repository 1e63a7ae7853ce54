//! The OCI distribution specification 1.1, requirement by requirement, from its text: first against Debian's docker-registry, which
//! shows that the questions are right, then against ours. What docker-registry 2.8 does not have is asked of ours only.

mod content;
mod pull;
mod push;

use ferry_testkit::{Answer, FerryRegistry, Http, Registry, RegistryOptions};
use serde_json::{Value, json};

/// Which version of the specification asks for something.
#[derive(Clone, Copy, PartialEq)]
enum Since {
    /// 1.0: docker-registry has it, too.
    One,
    /// 1.1, or what the specification leaves open and ours settles, or what docker-registry 2.8 is seen not to do: it lists tags in
    /// no order, answers a `POST` with a digest before it has read it, calls uploads that are not there invalid, and loses what
    /// came of a body that broke off.
    OneOne,
}

/// A requirement: its name, since when, and what it takes.
type Requirement = (&'static str, Since, fn(&Http));

fn requirements() -> Vec<Requirement> {
    [pull::REQUIREMENTS, push::REQUIREMENTS, content::REQUIREMENTS].concat()
}

/// Runs them all and says which failed.
pub(crate) fn conforms(host: &str, all: bool) {
    let mut failed = Vec::new();
    for (name, since, requirement) in requirements() {
        if !all && since == Since::OneOne {
            continue;
        }
        let http = Http::new(host);
        if std::panic::catch_unwind(|| requirement(&http)).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), requirements().len());
}

#[test]
fn dockers_registry_conforms() {
    let dir = crate::scratch("conform-docker");
    let Some(registry) = Registry::start(&dir, &RegistryOptions::default()) else { return };
    conforms(&registry.host(), false);
}

#[test]
fn ours_conforms() {
    let dir = crate::scratch("conform-ferry");
    let registry = FerryRegistry::start(&dir.join("root"), &["--open"]);
    conforms(registry.host(), true);
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn digest(bytes: &[u8]) -> String {
    let output =
        ferry_testkit::run_with_input(std::process::Command::new("sha256sum").arg("-"), bytes);
    format!("sha256:{}", output.stdout.split(' ').next().unwrap())
}

/// Pushes a blob in two steps; its digest.
#[track_caller]
pub(crate) fn push_blob(http: &Http, name: &str, bytes: &[u8]) -> String {
    let digest = digest(bytes);
    let begun = http.ask("POST", &format!("/v2/{name}/blobs/uploads/")).is(202);
    let at = with_digest(begun.header("location"), &digest);
    http.send("PUT", &at, &[("Content-Type", "application/octet-stream")], bytes).is(201);
    digest
}

/// Where an upload ends: its location may have a query already.
fn with_digest(location: &str, digest: &str) -> String {
    let sign = if location.contains('?') { '&' } else { '?' };
    format!("{location}{sign}digest={digest}")
}

/// A manifest of these blobs.
pub(crate) fn manifest(
    config: &(String, usize),
    layers: &[(String, usize)],
    more: Value,
) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|(digest, size)| {
            json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size })
        })
        .collect();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1 },
        "layers": layers,
    });
    for (name, value) in more.as_object().unwrap() {
        manifest[name] = value.clone();
    }
    serde_json::to_vec(&manifest).unwrap()
}

/// Pushes an image with content that no other has; manifest and its digest.
#[track_caller]
fn push_image(http: &Http, name: &str, tag: &str, seed: &str) -> (Vec<u8>, String) {
    push_about(http, name, tag, seed, json!({}))
}

#[track_caller]
pub(crate) fn push_about(
    http: &Http,
    name: &str,
    tag: &str,
    seed: &str,
    more: Value,
) -> (Vec<u8>, String) {
    let config = format!("{{\"seed\":\"{seed}\"}}").into_bytes();
    let layer = format!("layer of {seed}").into_bytes();
    let config = (push_blob(http, name, &config), config.len());
    let layer = (push_blob(http, name, &layer), layer.len());
    let bytes = manifest(&config, &[layer], more);
    let digest = digest(&bytes);
    let reference = if tag.is_empty() { digest.as_str() } else { tag };
    put(http, name, reference, &bytes).is(201);
    (bytes, digest)
}

#[track_caller]
pub(crate) fn put(http: &Http, name: &str, reference: &str, bytes: &[u8]) -> Answer {
    http.send(
        "PUT",
        &format!("/v2/{name}/manifests/{reference}"),
        &[("Content-Type", MANIFEST)],
        bytes,
    )
}
