//! Pushes: what goes over the line, and what does not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::{
    io::Read,
    sync::{Arc, Mutex},
};

use fake::{
    Fake, Reply, Seen,
    image::{noise, tar},
    scratch::{Scratch, client},
};
use ferry_oci::{Digest, Reference};
use ferry_transfer::{Packing, Push, PushError, PushLayer, Pushed, RegistryAuth};

/// What the registry kept of the first attempt.
const KEPT: usize = 1_000_000;
const UPLOAD: &str = "/v2/some/where/blobs/uploads/1";

async fn push(
    scratch: &Scratch,
    host: &str,
    content: Vec<u8>,
    auth: Option<&RegistryAuth>,
) -> Result<Pushed, PushError> {
    let layer = scratch.layers.ingest(content.as_slice(), None).unwrap();
    let reference = Reference::parse(&format!("{host}/some/where:1")).unwrap();
    let layers = [PushLayer { diff_id: layer.diff_id, known: Vec::new() }];
    let said = Arc::clone(&scratch.said);
    let tell = move |progress| said.lock().unwrap().push(progress);
    let push = Push {
        reference: &reference,
        config_json: b"{}",
        layers: &layers,
        manifest: None,
        beside: false,
        auth,
        packing: Packing::default(),
    };
    client().push(&push, &scratch.layers, &tell).await
}

/// Takes everything, at `upload`.
fn takes_all(seen: &Seen, upload: &str) -> Reply {
    match (seen.method.as_str(), seen.path.ends_with("/blobs/uploads/")) {
        ("HEAD", _) => Reply::new(404, ""),
        ("POST", true) | ("PATCH", _) => Reply::new(202, "").with("location", upload),
        ("PUT", _) => Reply::new(201, ""),
        _ => Reply::new(200, "{}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_the_registry_says() {
    let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
    let store = Arc::clone(&kept);
    let fake = Fake::start(move |seen| {
        let mut store = store.lock().unwrap();
        match seen.method.as_str() {
            "PATCH" if store.is_empty() => {
                store.extend_from_slice(&seen.body[..KEPT]);
                Reply::new(503, "")
            }
            "PATCH" => {
                store.extend_from_slice(&seen.body);
                takes_all(seen, UPLOAD)
            }
            "GET" if seen.path == UPLOAD => {
                Reply::new(204, "").with("range", format!("0-{}", store.len() - 1))
            }
            _ => takes_all(seen, UPLOAD),
        }
    })
    .await;
    let scratch = Scratch::new();
    let content = tar("large", &noise(3_000_000, 1));
    let pushed = push(&scratch, &fake.host(), content.clone(), None).await.unwrap();
    let kept = kept.lock().unwrap().clone();
    let blob = &pushed.layers[0];
    assert_eq!(blob.digest, Digest::sha256_of(&kept));
    assert_eq!(blob.size, kept.len() as u64);
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(kept.as_slice()).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, content);
    let patches = fake.seen().into_iter().filter(|seen| seen.method == "PATCH");
    let sizes: Vec<usize> = patches.map(|seen| seen.body.len()).collect();
    assert_eq!(sizes, [kept.len(), kept.len() - KEPT]);
    let finish = format!("digest={}", blob.digest);
    assert!(fake.seen().iter().any(|seen| seen.method == "PUT" && seen.query == finish));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_stay_with_the_registry() {
    let elsewhere = Fake::start(|seen| takes_all(seen, "/upload")).await;
    let upload = format!("http://{}/upload", elsewhere.host());
    let fake = Fake::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401, "").with("www-authenticate", "Basic realm=\"test\""),
        Some(_) => takes_all(seen, &upload),
    })
    .await;
    let auth = RegistryAuth {
        username: "joe".to_owned(),
        password: "secret".to_owned(),
        ..RegistryAuth::default()
    };
    let scratch = Scratch::new();
    push(&scratch, &fake.host(), tar("small", b"x"), Some(&auth)).await.unwrap();
    let seen = elsewhere.seen();
    assert!(seen.iter().any(|seen| seen.method == "PATCH"), "the layer went there");
    assert!(seen.iter().all(|seen| seen.header("authorization").is_none()));
    let nobody = push(&scratch, &fake.host(), tar("small", b"x"), None).await;
    assert!(matches!(nobody, Err(PushError::NoCredentials)), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_not_tried_again() {
    let fake = Fake::start(|seen| match seen.method.as_str() {
        "POST" => Reply::error(403, "DENIED", "requested access to the resource is denied"),
        _ => takes_all(seen, UPLOAD),
    })
    .await;
    let scratch = Scratch::new();
    let error = push(&scratch, &fake.host(), tar("small", b"x"), None).await.unwrap_err();
    assert_eq!(error.to_string(), "denied: requested access to the resource is denied");
    assert_eq!(fake.seen().iter().filter(|seen| seen.method == "POST").count(), 1);
}
