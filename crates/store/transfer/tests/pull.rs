//! Pulls from a registry in this process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::{collections::HashSet, sync::Arc};

use fake::{
    Fake, Reply,
    image::{Image, Layer, noise, tar},
    scratch::{Scratch, client, client_with_mirrors},
};
use ferry_errkind::{ErrorKind, Kinded, chain};
use ferry_oci::{Digest, media};
use serde_json::json;

fn three_codecs() -> Image {
    Image::of(&[
        Layer::gzip(tar("gzip.bin", &noise(200_000, 1))),
        Layer::zstd(tar("zstd.bin", &noise(200_000, 2))),
        Layer::plain(tar("plain.bin", &noise(200_000, 3))),
    ])
}

async fn serving(image: &Image) -> Fake {
    let image = image.clone();
    Fake::start(move |seen| image.reply(seen)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_comes_whole_and_only_once() {
    let image = three_codecs();
    let (fake, scratch, client) = (serving(&image).await, Scratch::new(), client());
    let name = format!("{}/team/app", fake.host());
    let pulled = scratch.pull(&client, &name).await.unwrap();
    assert_eq!(Some(&pulled.digest), image.manifest.as_ref());
    assert_eq!(Some(&pulled.config_digest), image.config.as_ref());
    assert_eq!(Digest::sha256_of(&pulled.config_json), pulled.config_digest);
    assert_eq!(Digest::sha256_of(&pulled.manifest_json), pulled.manifest.digest);
    assert_eq!(pulled.manifest.media_type, media::OCI_MANIFEST);
    let file = scratch.layers.lower_dirs(&[image.layers[1].1.clone()]).unwrap()[0].join("zstd.bin");
    assert_eq!(std::fs::read(file).unwrap(), noise(200_000, 2));
    assert_eq!(scratch.leftovers(), [""; 0]);
    let first = &fake.seen()[1];
    assert_eq!(first.header("user-agent"), Some("ferry/test"));
    let id = &image.layers[0].0.hex()[..12];
    let statuses = scratch.statuses(id);
    for status in [
        "Pulling fs layer",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Pull complete",
    ] {
        assert!(statuses.iter().any(|own| own == status), "{status}: {statuses:?}");
    }
    assert_eq!(scratch.statuses("latest"), ["Pulling from team/app"]);

    scratch.pull(&client, &name).await.unwrap();
    for (blob, _) in &image.layers {
        assert_eq!(fake.blob_requests(blob).len(), 1);
    }
    assert!(scratch.statuses(id).contains(&"Already exists".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_at_once_fetch_a_layer_once() {
    let image = Image::of(&[Layer::gzip(tar("x", &noise(3_000_000, 4)))]);
    let (fake, scratch, client) = (serving(&image).await, Scratch::new(), client());
    let name = format!("{}/app", fake.host());
    let (one, two) = tokio::join!(scratch.pull(&client, &name), scratch.pull(&client, &name));
    one.unwrap();
    two.unwrap();
    assert_eq!(fake.blob_requests(&image.layers[0].0).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_layer_twice_in_an_image() {
    let twice = || Layer::gzip(tar("x", &noise(10_000, 5)));
    let image = Image::of(&[twice(), twice()]);
    let (fake, scratch) = (serving(&image).await, Scratch::new());
    let pulled = scratch.pull(&client(), &format!("{}/app", fake.host())).await.unwrap();
    assert_eq!(pulled.layers.len(), 2);
    assert_eq!(fake.blob_requests(&image.layers[0].0).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_leads_to_the_right_image_or_says_what_there_is() {
    let mut image = three_codecs();
    let digest = image.manifest.clone().unwrap();
    let size = image.manifests["latest"].1.len();
    let entry = |os: &str, architecture: &str| {
        json!({"mediaType": media::OCI_MANIFEST, "digest": digest, "size": size,
            "platform": {"os": os, "architecture": architecture}})
    };
    let entries = [entry("unknown", "unknown"), entry("linux", "amd64"), entry("linux", "arm64")];
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": entries});
    let index = image.tag("many", media::OCI_INDEX, &index);
    let (fake, scratch, client) = (serving(&image).await, Scratch::new(), client());
    let name = format!("{}/app:many", fake.host());
    let pulled = scratch.pull_as(&client, &name, Some("linux/amd64"), None).await.unwrap();
    assert_eq!((&pulled.digest, &pulled.manifest.digest), (&index, &digest));

    let error = scratch.pull_as(&client, &name, Some("linux/s390x"), None).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no matching manifest for linux/s390x in the manifest list entries"
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().unwrap().contains("linux/amd64, linux/arm64"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_image_for_another_platform_is_a_warning() {
    let image = three_codecs();
    let (fake, scratch) = (serving(&image).await, Scratch::new());
    let name = format!("{}/app:latest", fake.host());
    scratch.pull_as(&client(), &name, Some("linux/arm64"), None).await.unwrap();
    let warning = format!(
        "WARNING: image with reference {name} was found but its platform (linux/amd64) does not match the specified platform (linux/arm64)"
    );
    assert!(scratch.said.lock().unwrap().iter().any(|progress| progress.status == warning));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_by_digest_is_checked() {
    let image = three_codecs();
    let other = Digest::sha256_of(b"other");
    let mut lying = image.clone();
    lying.manifests.insert(other.to_string(), image.manifests["latest"].clone());
    let (fake, scratch, client) = (serving(&lying).await, Scratch::new(), client());
    let digest = image.manifest.unwrap();
    let name = format!("{}/app@{digest}", fake.host());
    assert_eq!(scratch.pull(&client, &name).await.unwrap().digest, digest);
    let name = format!("{}/app@{other}", fake.host());
    let error = scratch.pull(&client, &name).await.unwrap_err();
    assert_eq!(error.to_string(), format!("manifest verification failed for digest {other}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_with_another_digest_is_refused() {
    let mut image = three_codecs();
    let blob = image.layers[2].0.clone();
    // Whole, valid, and another one.
    let size = image.blobs[&blob].len();
    let other = Layer::plain(tar("plain.bin", &noise(200_000, 99))).blob;
    assert_eq!(other.len(), size);
    image.blobs.insert(blob.clone(), other.into());
    let (fake, scratch) = (serving(&image).await, Scratch::new());
    let error = scratch.pull(&client(), &format!("{}/app", fake.host())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("filesystem layer verification failed for digest {blob}")
    );
    assert!(!scratch.layers.contains(&image.layers[2].1));
    assert_eq!(fake.blob_requests(&blob).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_too_long_or_too_short_is_refused() {
    for (change, words) in
        [(-5_isize, "download failed after attempts=6"), (5, "verification failed")]
    {
        let mut image = Image::of(&[Layer::plain(tar("x", &noise(100_000, 6)))]);
        let blob = image.layers[0].0.clone();
        let mut bytes = image.blobs[&blob].to_vec();
        bytes.resize(bytes.len().checked_add_signed(change).unwrap(), 0);
        image.blobs.insert(blob.clone(), bytes.into());
        let fake = Fake::start(move |seen| match seen.range() {
            Some(_) => Reply::new(416, ""),
            None => image.reply(seen),
        })
        .await;
        let scratch = Scratch::new();
        let error = scratch.pull(&client(), &format!("{}/app", fake.host())).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(scratch.layers.list(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_not_the_configurations_is_refused() {
    let layer = Layer::gzip(tar("x", &noise(10_000, 7)));
    let image = Image::with_diff_ids(&[layer], vec![Digest::sha256_of(b"another tar")]);
    let (fake, scratch) = (serving(&image).await, Scratch::new());
    let error = scratch.pull(&client(), &format!("{}/app", fake.host())).await.unwrap_err();
    assert!(
        error.to_string().starts_with("layers from manifest don't match image configuration"),
        "{error}"
    );
    assert_eq!(scratch.layers.list(), []);
    assert_eq!(scratch.leftovers(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there() {
    let fake = Fake::start(|seen| match seen.path.split('/').nth(2) {
        Some("denied") => Reply::error(403, "DENIED", "requested access to the resource is denied"),
        Some("hub") => Reply::error(401, "UNAUTHORIZED", "authentication required")
            .with("www-authenticate", r#"Bearer realm="",error="insufficient_scope""#),
        Some("gone") => Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry"),
        Some("bare") => Reply::new(404, ""),
        Some("busy") => Reply::error(429, "TOOMANYREQUESTS", "You have reached your limit"),
        Some("ill") => Reply::new(500, "oh"),
        _ => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    })
    .await;
    let (scratch, client, host) = (Scratch::new(), client(), fake.host());
    let denied = "repository does not exist or may require 'docker login': denied: requested access to the resource is denied";
    for (repository, kind, words) in [
        (
            "x",
            ErrorKind::NotFound,
            format!("manifest for {host}/x:1 not found: manifest unknown: manifest unknown"),
        ),
        (
            "bare",
            ErrorKind::NotFound,
            format!("manifest for {host}/bare:1 not found: manifest unknown: manifest unknown"),
        ),
        ("denied", ErrorKind::NotFound, format!("pull access denied for {host}/denied, {denied}")),
        ("hub", ErrorKind::NotFound, format!("pull access denied for {host}/hub, {denied}")),
        (
            "gone",
            ErrorKind::NotFound,
            format!(
                "repository {host}/gone not found: name unknown: repository name not known to registry"
            ),
        ),
        ("busy", ErrorKind::Unavailable, "toomanyrequests: You have reached your limit".to_owned()),
        (
            "ill",
            ErrorKind::Internal,
            "received unexpected HTTP status: 500 Internal Server Error".to_owned(),
        ),
    ] {
        let error = scratch.pull(&client, &format!("{host}/{repository}:1")).await.unwrap_err();
        assert_eq!((chain(&error), error.kind()), (words, kind));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (scratch, client) = (Scratch::new(), client());
    let error = scratch.pull(&client, &format!("{address}/x")).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!(r#"Get "http://{address}/v2/": dial tcp {address}: connect: connection refused"#)
    );
    let error = scratch.pull(&client, "registry.invalid/x").await.unwrap_err();
    assert_eq!(
        chain(&error),
        r#"Get "https://registry.invalid/v2/": dial tcp: lookup registry.invalid: no such host"#
    );
    assert!(error.hint().unwrap().contains("DNS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_no_images() {
    let mut image = three_codecs();
    let config = json!({"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": image.config, "size": 2});
    let helm = json!({"schemaVersion": 2, "config": config, "layers": []});
    image.tag("helm", media::OCI_MANIFEST, &helm);
    image.tag(
        "old",
        media::DOCKER_SCHEMA1,
        &json!({"schemaVersion": 1, "name": "x", "fsLayers": []}),
    );
    let foreign = json!({"mediaType": media::DOCKER_FOREIGN, "digest": Digest::sha256_of(b"f"), "size": 9,
        "urls": ["http://127.0.0.1:1/evil"]});
    let config = image.config.clone().unwrap();
    let config = json!({"mediaType": media::OCI_CONFIG, "digest": config, "size": image.blobs[&config].len()});
    let listed: Vec<_> = (0..3).map(|_| foreign.clone()).collect();
    image.tag(
        "foreign",
        media::OCI_MANIFEST,
        &json!({"schemaVersion": 2, "config": config, "layers": listed}),
    );
    image.tag(
        "short",
        media::OCI_MANIFEST,
        &json!({"schemaVersion": 2, "config": config, "layers": []}),
    );
    let many: Vec<_> = (0..128).map(|_| foreign.clone()).collect();
    image.tag(
        "deep",
        media::OCI_MANIFEST,
        &json!({"schemaVersion": 2, "config": config, "layers": many}),
    );
    let huge = vec![b' '; ferry_oci::MAX_MANIFEST + 1];
    image.manifests.insert("huge".into(), (media::OCI_MANIFEST.into(), huge.into()));
    let (fake, scratch, client) = (serving(&image).await, Scratch::new(), client());
    for (tag, words) in [
        ("helm", "unsupported media type application/vnd.cncf.helm.config.v1+json"),
        ("old", "schema 1 support has been removed"),
        ("foreign", "is a foreign layer"),
        ("short", "layers from manifest don't match image configuration"),
        ("deep", "max depth exceeded"),
        ("huge", "larger than the limit"),
    ] {
        let error = scratch.pull(&client, &format!("{}/app:{tag}", fake.host())).await.unwrap_err();
        assert!(chain(&error).contains(words), "{tag}: {}", chain(&error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_never_fail_a_pull() {
    let image = three_codecs();
    let origin = serving(&image).await;
    let mut lying = image.clone();
    for (blob, _) in &image.layers {
        let wrong = noise(image.blobs[blob].len(), 77);
        lying.blobs.insert(blob.clone(), wrong.into());
    }
    let liar = serving(&lying).await;
    let ill = Fake::start(|_| Reply::new(500, "")).await;
    let mut empty = image.clone();
    empty.blobs.retain(|digest, _| Some(digest) == image.config.as_ref());
    let empty = serving(&empty).await;
    let (down, ill, liar) =
        ("127.0.0.1:1".to_owned(), ill.host(), format!("http://{}", liar.host()));
    for mirrors in
        [vec![&down], vec![&ill], vec![&liar], vec![&empty.host()], vec![&down, &ill, &liar]]
    {
        let mirrors: Vec<&str> = mirrors.into_iter().map(String::as_str).collect();
        let client = client_with_mirrors(&origin.host(), &mirrors);
        let scratch = Scratch::new();
        let pulled = scratch.pull(&client, &format!("{}/app", origin.host())).await;
        assert!(pulled.is_ok(), "{mirrors:?}: {}", chain(&pulled.unwrap_err()));
        let there: HashSet<_> =
            scratch.layers.list().into_iter().map(|layer| layer.diff_id).collect();
        assert_eq!(there, image.layers.iter().map(|(_, diff_id)| diff_id.clone()).collect());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_works_spares_the_registry() {
    let image = three_codecs();
    let (mirror, origin) = (serving(&image).await, serving(&image).await);
    let client = client_with_mirrors("*", &[&mirror.host()]);
    let scratch = Scratch::new();
    scratch.pull(&client, &format!("{}/app", origin.host())).await.unwrap();
    assert_eq!(origin.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_pull_leaves_no_layer() {
    let image = Image::of(&[Layer::gzip(tar("x", &noise(4_000_000, 8)))]);
    let served = image.clone();
    let fake = Fake::start(move |seen| {
        let reply = served.reply(seen);
        if seen.path.contains("/blobs/") && reply.body.len() > 1_000_000 {
            reply.cut(2_000_000)
        } else {
            reply
        }
    })
    .await;
    let scratch = Arc::new(Scratch::new());
    let name = format!("{}/app", fake.host());
    let pull = {
        let scratch = Arc::clone(&scratch);
        tokio::spawn(async move { scratch.pull(&client(), &name).await.map(|_| ()) })
    };
    while fake.blob_requests(&image.layers[0].0).is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    pull.abort();
    drop(pull.await);
    for _ in 0..3000 {
        let entries = std::fs::read_dir(scratch.layers.root()).unwrap().count();
        if entries == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a layer in the making stays");
}
