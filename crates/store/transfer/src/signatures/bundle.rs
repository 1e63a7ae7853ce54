//! Sigstore bundles, as cosign has written signatures since its third version: a statement of in-toto in an envelope (DSSE) that a
//! key signed. Keys of the rule decide; what else a bundle may have (certificates, entries of a transparency log) is not looked at.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ferry_oci::{Descriptor, Digest};
use serde::Deserialize;

/// Bundles are of this kind, in several versions.
const KIND: &str = "application/vnd.dev.sigstore.bundle";
/// What a bundle states, where the list of referrers has it.
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// What a signature states. Whoever signed an SBOM or a scan did not sign that the image is good.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
const STATEMENT: &str = "application/vnd.in-toto+json";
/// Signatures of one envelope that are compared.
const MAX_SIGNATURES: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Sums,
}

#[derive(Deserialize)]
struct Sums {
    sha256: Option<String>,
}

/// Whether something of this media type is a bundle.
pub(super) fn is_kind(media_type: &str) -> bool {
    media_type
        .strip_prefix(KIND)
        .is_some_and(|rest| rest.starts_with(".v") || rest.starts_with("+json"))
}

/// Whether a referrer may be a signature in a bundle: others state what they are.
pub(super) fn may_be_signature(referrer: &Descriptor) -> bool {
    referrer.artifact_type.as_deref().is_some_and(is_kind)
        && referrer.annotations.get(PREDICATE).is_none_or(|predicate| predicate == SIGNED)
}

/// Whether a bundle says that this image is signed, and `by_one` finds a signature of these bytes good.
pub(super) fn is_good(
    bundle: &[u8],
    digest: &Digest,
    by_one: impl Fn(&[u8], &[u8]) -> bool,
) -> bool {
    let Ok(Bundle { dsse_envelope: envelope }) = serde_json::from_slice(bundle) else {
        return false;
    };
    let Ok(payload) = STANDARD.decode(&envelope.payload) else { return false };
    let signed = encoded(&envelope.payload_type, &payload);
    let good = envelope.signatures.iter().take(MAX_SIGNATURES).any(|signature| {
        STANDARD.decode(&signature.sig).is_ok_and(|signature| by_one(&signed, &signature))
    });
    good && envelope.payload_type == STATEMENT && states(&payload, digest)
}

/// What an envelope's signature is of (PAE of DSSE).
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn states(statement: &[u8], digest: &Digest) -> bool {
    let Ok(statement) = serde_json::from_slice::<Statement>(statement) else { return false };
    let hex = digest.hex();
    statement.predicate_type == SIGNED
        && statement.subject.iter().any(|one| one.digest.sha256.as_deref() == Some(hex.as_str()))
}

#[cfg(test)]
mod tests {
    use super::{super::VerifyKey, *};

    /// What cosign 3.1 made of `cosign sign --key`, and the key.
    const BUNDLE: &str = include_str!("../../testdata/cosign-3-bundle.json");
    const KEY: &str = include_str!("../../testdata/cosign-3.pub");
    const IMAGE: &str = "sha256:4226ef1c1e9d177b754e2f90d9d7a05f6d1ac404a6262d6350541100ad8b1954";

    fn is_signed(bundle: &str, image: &str) -> bool {
        let key: VerifyKey = KEY.parse().unwrap();
        let by_one = |payload: &[u8], signature: &[u8]| key.signed(payload, signature);
        is_good(bundle.as_bytes(), &image.parse().unwrap(), by_one)
    }

    #[test]
    fn what_cosign_signs_is_signed() {
        assert!(is_signed(BUNDLE, IMAGE));
        assert!(!is_signed(BUNDLE, &IMAGE.replace("4226", "4227")), "another image");
        assert!(!is_signed("{}", IMAGE));
        // One letter of the statement, of its kind, and of the signature.
        for (from, to) in [
            ("\"payload\":\"eyJfd", "\"payload\":\"eyJgd"),
            ("vnd.in-toto+json", "vnd.in-tota+json"),
            ("MEQCIHG1", "MEQCIHG2"),
        ] {
            assert!(BUNDLE.contains(from));
            assert!(!is_signed(&BUNDLE.replace(from, to), IMAGE), "{to}");
        }
    }

    #[test]
    fn who_signed_something_else_did_not_sign_the_image() {
        let digest: Digest = IMAGE.parse().unwrap();
        let statement = |predicate: &str| {
            let hex = digest.hex();
            format!(
                "{{\"predicateType\":\"{predicate}\",\"subject\":[{{\"digest\":{{\"sha256\":\"{hex}\"}}}}]}}"
            )
        };
        assert!(states(statement(SIGNED).as_bytes(), &digest));
        assert!(!states(statement("https://spdx.dev/Document").as_bytes(), &digest));
    }

    #[test]
    fn kinds() {
        assert!(is_kind("application/vnd.dev.sigstore.bundle.v0.3+json"));
        assert!(is_kind("application/vnd.dev.sigstore.bundle+json;version=0.1"));
        assert!(!is_kind("application/vnd.dev.sigstore.bundles"));
        assert!(!is_kind("application/vnd.oci.image.manifest.v1+json"));
    }
}
