//! Which images must be signed, and whether one is: cosign's signatures by keys, as they lie beside an image at its registry.
//!
//! A signature is a layer of a manifest that is found by the tag `sha256-<hex>.sig` or among the referrers: the layer is the payload
//! (`simplesigning`), which names the digest of the image, and an annotation has the signature of exactly these bytes (ECDSA on
//! P-256 with SHA-256). Since cosign 3 it is a Sigstore bundle among the referrers (`bundle.rs`), signed by the same key.

mod bundle;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use ferry_oci::{Descriptor, Digest, Index, Manifest, Reference};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;

use crate::{
    auth::domain_of,
    error::PullError,
    repository::fallback_tag,
    resolve::{Found, Resolver},
    source::SourceError,
};

/// Layers of this kind are payloads.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Referrers of this kind have them.
const ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The annotation with the signature.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Most of each that is looked at: whoever may write beside an image could add without end.
const MAX_REFERRERS: usize = 16;
const MAX_SIGNATURES: usize = 32;
/// Largest payload.
const MAX_PAYLOAD: usize = 64 << 10;
/// Largest signature of P-256 in DER.
const MAX_SIGNATURE: usize = 128;

/// Whose images must be signed, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureRule {
    /// `registry.example.com`, or further parts of a name: `registry.example.com/team`.
    pub prefix: String,
    /// One of these is enough.
    pub keys: Vec<VerifyKey>,
}

/// A public key of P-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyKey([u8; 65]);

/// A text is no key that signatures can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no PEM file with a public key of ECDSA P-256, as cosign makes it")]
pub struct InvalidKey;

/// What comes before the point in a key of this kind (RFC 5480): the algorithm, the curve, the length.
const SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl std::str::FromStr for VerifyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<VerifyKey, InvalidKey> {
        let body = text
            .split_once("-----BEGIN PUBLIC KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PUBLIC KEY-----"));
        let body: String = body.ok_or(InvalidKey)?.0.split_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| InvalidKey)?;
        let point = der.strip_prefix(&SPKI).ok_or(InvalidKey)?;
        // The only form that ring takes: both coordinates.
        match <[u8; 65]>::try_from(point) {
            Ok(point) if point[0] == 4 => Ok(VerifyKey(point)),
            _ => Err(InvalidKey),
        }
    }
}

impl VerifyKey {
    fn signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0);
        key.verify(payload, signature).is_ok()
    }
}

impl SignatureRule {
    /// Whether names of images can begin like this: with a registry, and whole parts of a path.
    pub fn is_prefix(text: &str) -> bool {
        let text = text.trim_end_matches('/');
        let named = Reference::parse(&format!("{text}/a/b"));
        named.is_ok_and(|name| domain_of(name.domain()) == domain_of(text))
    }

    /// How much of a name's path the rule says, if it is about the name. A registry has several names: a host's letters have no
    /// case, and port 443 goes without saying. None of them leads around a rule.
    fn fitness(&self, name: &Reference) -> Option<usize> {
        let (domain, path) = self.prefix.split_once('/').unwrap_or((&self.prefix, ""));
        let path = path.trim_end_matches('/');
        let rest = name.path().strip_prefix(path)?;
        let within = path.is_empty() || rest.is_empty() || rest.starts_with('/');
        (within && domain_of(domain) == domain_of(name.domain())).then_some(path.len())
    }
}

/// The rule for a name: the one that says most of it.
pub(crate) fn rule<'a>(rules: &'a [SignatureRule], name: &Reference) -> Option<&'a SignatureRule> {
    let about = rules.iter().filter_map(|rule| Some((rule.fitness(name)?, rule)));
    about.max_by_key(|(fitness, _)| *fitness).map(|(_, rule)| rule)
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    r#type: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

/// Whether a payload says that this is the image.
fn names(payload: &[u8], digest: &Digest) -> bool {
    serde_json::from_slice::<Payload>(payload).is_ok_and(|payload| {
        let Critical { image, r#type } = payload.critical;
        image.digest == *digest
            && matches!(
                r#type.as_str(),
                "cosign container image signature" | "atomic container signature"
            )
    })
}

/// Refuses an image that nobody signed who is trusted.
pub(crate) async fn check(
    resolver: &Resolver<'_>,
    rules: &[SignatureRule],
    found: &Found,
) -> Result<(), PullError> {
    let Some(rule) = rule(rules, resolver.reference) else { return Ok(()) };
    let mut seen = 0;
    // What the name leads to is what people sign; who signs each platform's image does not sign less.
    let mut digests = vec![&found.digest];
    if found.descriptor.digest != found.digest {
        digests.push(&found.descriptor.digest);
    }
    for digest in digests {
        let mut layers = Vec::new();
        for manifest in beside(resolver, found.from, digest).await? {
            let known = |layer: &Descriptor| {
                layer.media_type == PAYLOAD || bundle::is_kind(&layer.media_type)
            };
            layers.extend(manifest.layers.into_iter().filter(known));
        }
        for layer in layers.iter().take(MAX_SIGNATURES) {
            seen += 1;
            if is_good(resolver, found.from, rule, layer, digest).await? {
                tracing::info!(image = resolver.reference.familiar(), %digest, "its signature is good");
                return Ok(());
            }
        }
    }
    Err(PullError::Unsigned {
        reference: resolver.reference.familiar(),
        digest: found.digest.clone(),
        prefix: rule.prefix.clone(),
        seen,
    })
}

async fn is_good(
    resolver: &Resolver<'_>,
    from: usize,
    rule: &SignatureRule,
    layer: &Descriptor,
    digest: &Digest,
) -> Result<bool, PullError> {
    let bundled = bundle::is_kind(&layer.media_type);
    let signature = layer.annotations.get(SIGNATURE).and_then(|text| STANDARD.decode(text).ok());
    let signature = signature.filter(|signature| signature.len() <= MAX_SIGNATURE);
    if signature.is_none() && !bundled {
        return Ok(false);
    }
    if layer.size > MAX_PAYLOAD as u64 {
        return Ok(false);
    }
    let payload = match resolver.config(layer, from).await {
        Ok((_, payload)) => payload,
        // Somebody else's broken signature is not a reason to refuse a good one.
        Err(PullError::Config(SourceError::Refused(_)) | PullError::ConfigDigest(_)) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let by_one = |payload: &[u8], signature: &[u8]| {
        signature.len() <= MAX_SIGNATURE
            && rule.keys.iter().any(|key| key.signed(payload, signature))
    };
    Ok(match signature {
        _ if bundled => bundle::is_good(&payload, digest, by_one),
        Some(signature) => by_one(&payload, &signature) && names(&payload, digest),
        None => false,
    })
}

/// Manifests with signatures of an image.
async fn beside(
    resolver: &Resolver<'_>,
    from: usize,
    digest: &Digest,
) -> Result<Vec<Manifest>, PullError> {
    let mut all = Vec::new();
    all.extend(manifest(resolver, from, &format!("{}.sig", fallback_tag(digest)), None).await?);
    let listed = match resolver.document(&format!("referrers/{digest}"), from).await {
        Ok(listed) => Some(listed),
        Err(PullError::Source(SourceError::Refused(_))) => {
            resolver.document(&format!("manifests/{}", fallback_tag(digest)), from).await.ok()
        }
        Err(error) => return Err(error),
    };
    let index = listed.and_then(|json: Bytes| serde_json::from_slice::<Index>(&json).ok());
    let referrers = index.map(|index| index.manifests).unwrap_or_default();
    let wanted = referrers.into_iter().filter(|one| {
        one.artifact_type.as_deref() == Some(ARTIFACT) || bundle::may_be_signature(one)
    });
    for one in wanted.take(MAX_REFERRERS) {
        let named = one.digest.to_string();
        all.extend(manifest(resolver, from, &named, Some(&one.digest)).await?);
    }
    Ok(all)
}

/// A manifest, if it is there and is one.
async fn manifest(
    resolver: &Resolver<'_>,
    from: usize,
    named: &str,
    expected: Option<&Digest>,
) -> Result<Option<Manifest>, PullError> {
    match resolver.manifest(named, expected, from).await {
        Ok(fetched) => Ok(serde_json::from_slice(&fetched.bytes).ok()),
        Err(
            PullError::UnknownManifest { .. }
            | PullError::UnknownRepository { .. }
            | PullError::ManifestDigest(_),
        ) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule_of(prefix: &str) -> SignatureRule {
        SignatureRule { prefix: prefix.to_owned(), keys: Vec::new() }
    }

    #[test]
    fn the_rule_that_says_most_decides() {
        let rules = [rule_of("r.example"), rule_of("r.example/team"), rule_of("docker.io/library")];
        let of = |name: &str| {
            let name = Reference::parse(name).unwrap();
            rule(&rules, &name).map(|rule| rule.prefix.clone()).unwrap_or_default()
        };
        assert_eq!(of("r.example/a"), "r.example");
        assert_eq!(of("r.example/team/a:1"), "r.example/team");
        assert_eq!(of("r.example/teams"), "r.example", "a prefix ends at a slash");
        assert_eq!(of("nginx"), "docker.io/library");
        assert_eq!(of("some/nginx"), "");
        assert_eq!(of("r.example.com/a"), "");
        // Other names of the same registries.
        assert_eq!(of("R.Example/team/a"), "r.example/team");
        assert_eq!(of("r.example:443/team/a"), "r.example/team");
        assert_eq!(of("r.example:5000/team/a"), "");
        assert_eq!(of("registry-1.docker.io/library/nginx"), "docker.io/library");
    }

    #[test]
    fn a_prefix_is_one_that_names_can_have() {
        for prefix in ["docker.io", "index.docker.io/library/", "localhost/a", "r.example:5000/a/b"]
        {
            assert!(SignatureRule::is_prefix(prefix), "{prefix}");
        }
        for wrong in
            ["", "/", "team", "https://r.example", "r.example/Team", "r.example/a:1", "r. "]
        {
            assert!(!SignatureRule::is_prefix(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_openssl_signs_is_signed() {
        let key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEefjmdxGGNTQ09KMWx37SVjWL18ld\n+i5jKb+O/MStyY1AeNUk97doBFrCmElO3NrbZDWJwCJ6y9hgTdTb6UyDMg==\n-----END PUBLIC KEY-----\n";
        let key: VerifyKey = key.parse().unwrap();
        let signature = "MEUCIQDMYMcBrrkkKAbSoHhiibrYI5kldAKFLLgPtB1D7X+DRwIgL4GSLp589YdxNehwBsrgS7qvniPZF34Zj2+agrFQgOo=";
        let signature = STANDARD.decode(signature).unwrap();
        assert!(key.signed(b"signed by openssl", &signature));
        assert!(!key.signed(b"signed by openssk", &signature));
        assert!(!key.signed(b"signed by openssl", &signature[1..]));
    }

    #[test]
    fn keys_are_read_or_refused() {
        for wrong in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "key"] {
            assert_eq!(wrong.parse::<VerifyKey>(), Err(InvalidKey), "{wrong}");
        }
    }

    #[test]
    fn a_payload_names_its_image() {
        let digest = Digest::sha256_of(b"x");
        let text = |kind: &str, digest: &Digest| {
            format!(
                "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"\"}},\"image\":{{\"docker-manifest-digest\":\"{digest}\"}},\"type\":\"{kind}\"}},\"optional\":null}}"
            )
        };
        let kind = "cosign container image signature";
        assert!(names(text(kind, &digest).as_bytes(), &digest));
        assert!(!names(text(kind, &Digest::sha256_of(b"y")).as_bytes(), &digest));
        assert!(!names(text("anything", &digest).as_bytes(), &digest));
        assert!(!names(b"{}", &digest));
    }
}
