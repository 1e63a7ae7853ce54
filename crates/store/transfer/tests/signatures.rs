//! Pulls of images that must be signed, from a registry in this process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fake::{
    Fake, Reply, Seen,
    image::{Image, Layer, tar},
    scratch::{Scratch, config, tuning},
};
use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::{Digest, media};
use ferry_transfer::{Client, ClientConfig, PullError, SignatureRule, VerifyKey};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// A key pair, as cosign makes one.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Signer {
        let random = SystemRandom::new();
        let kind = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Signer(EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap())
    }

    fn key(&self) -> VerifyKey {
        let mut der = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE").unwrap();
        // The last byte of it begins the point.
        der.pop();
        der.extend_from_slice(self.0.public_key().as_ref());
        let text = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n").parse().unwrap()
    }

    /// A manifest with a signature that says that `of` is the image, kept in `image`.
    fn sign(&self, image: &mut Image, of: &Digest) -> Value {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": "" },
                "image": { "docker-manifest-digest": of },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string();
        let signature = self.0.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
        let size = payload.len();
        let digest = image.add(payload);
        let config = image.add("{}");
        json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": { "mediaType": media::OCI_CONFIG, "digest": config, "size": 2 },
            "layers": [{
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": digest, "size": size,
                "annotations": { "dev.cosignproject.cosign/signature": STANDARD.encode(signature) },
            }],
        })
    }
}

fn image() -> Image {
    Image::of(&[Layer::gzip(tar("x", b"signed"))])
}

async fn serving(image: Image) -> Fake {
    Fake::start(move |seen: &Seen| match seen.path.split_once("/referrers/") {
        None => image.reply(seen),
        Some((_, digest)) => match image.manifests.get(&format!("referrers {digest}")) {
            Some((kind, bytes)) => Reply::new(200, bytes.clone()).with("content-type", kind),
            None => Reply::error(404, "NOT_FOUND", "nothing"),
        },
    })
    .await
}

fn client(prefix: &str, key: VerifyKey) -> Client {
    let rule = SignatureRule { prefix: prefix.to_owned(), keys: vec![Signer::new().key(), key] };
    Client::tuned(ClientConfig { signatures: vec![rule], ..config() }, tuning())
}

fn tag(of: &Digest) -> String {
    format!("sha256-{}.sig", of.hex())
}

/// What a pull of this image says when it is refused.
async fn refused(image: Image, key: VerifyKey) -> String {
    let (scratch, layer) = (Scratch::new(), image.layers[0].0.clone());
    let fake = serving(image).await;
    let error = scratch.pull(&client(&fake.host(), key), &format!("{}/app", fake.host())).await;
    let error = error.unwrap_err();
    assert!(matches!(error, PullError::Unsigned { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(fake.blob_requests(&layer).is_empty(), "not one layer of it comes");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_by_tag_is_found() {
    let (signer, mut image, scratch) = (Signer::new(), image(), Scratch::new());
    let digest = image.manifest.clone().unwrap();
    let signed = signer.sign(&mut image, &digest);
    image.tag(&tag(&digest), media::OCI_MANIFEST, &signed);
    let fake = serving(image).await;
    let client = client(&format!("{}/team", fake.host()), signer.key());
    scratch.pull(&client, &format!("{}/team/app", fake.host())).await.unwrap();
    // What no rule is about needs no signature, and nobody looks for one.
    let before = fake.seen().len();
    scratch.pull(&client, &format!("{}/other/app", fake.host())).await.unwrap();
    assert!(fake.seen()[before..].iter().all(|seen| !seen.path.contains(".sig")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_among_the_referrers_is_found() {
    let (signer, mut image, scratch) = (Signer::new(), image(), Scratch::new());
    let digest = image.manifest.clone().unwrap();
    let signed = signer.sign(&mut image, &digest);
    let about = image.tag("anything", media::OCI_MANIFEST, &signed);
    let list = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [
        { "mediaType": media::OCI_MANIFEST, "digest": Digest::sha256_of(b"sbom"), "size": 1, "artifactType": "sbom" },
        { "mediaType": media::OCI_MANIFEST, "digest": about, "size": signed.to_string().len(), "artifactType": ARTIFACT },
    ] });
    image.tag(&format!("referrers {digest}"), media::OCI_INDEX, &list);
    let fake = serving(image).await;
    let client = client(&fake.host(), signer.key());
    scratch.pull(&client, &format!("{}/app", fake.host())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_else_is_refused() {
    let signer = Signer::new();
    let words = refused(image(), signer.key()).await;
    assert!(words.contains("must be signed, and of sha256:"), "{words}");
    // Somebody else's signature.
    let mut foreign = image();
    let digest = foreign.manifest.clone().unwrap();
    let signed = Signer::new().sign(&mut foreign, &digest);
    foreign.tag(&tag(&digest), media::OCI_MANIFEST, &signed);
    let words = refused(foreign, signer.key()).await;
    assert!(words.contains("(1 by others)"), "{words}");
    // A good signature of another image.
    let mut other = image();
    let digest = other.manifest.clone().unwrap();
    let signed = signer.sign(&mut other, &Digest::sha256_of(b"another"));
    other.tag(&tag(&digest), media::OCI_MANIFEST, &signed);
    refused(other, signer.key()).await;
    // Another payload than the one that was signed.
    let mut changed = image();
    let digest = changed.manifest.clone().unwrap();
    let mut signed = signer.sign(&mut changed, &Digest::sha256_of(b"another"));
    let right = signer.sign(&mut changed, &digest);
    let annotations = signed["layers"][0]["annotations"].take();
    signed["layers"] = right["layers"].clone();
    signed["layers"][0]["annotations"] = annotations;
    changed.tag(&tag(&digest), media::OCI_MANIFEST, &signed);
    refused(changed, signer.key()).await;
    // No layers that could be one.
    let mut broken = image();
    let digest = broken.manifest.clone().unwrap();
    broken.tag(&tag(&digest), media::OCI_MANIFEST, &json!({ "schemaVersion": 2 }));
    refused(broken, signer.key()).await;
}
