//! The page of an image: how to pull it, its platforms, or its layers with what made them, and what is about it.

use ferry_oci::Digest;
use ferry_registry_store::{ManifestContent, Referrer, Store, StoreError, Target};
use ferry_stdx::size::format_decimal;
use ferry_transfer::{COSIGN_SUFFIXES, fallback_tag};
use http::header;
use serde_json::Value;

use super::{
    html::{Text, document},
    time,
};
use crate::{dispatch::Call, fault::Fault, query::encode};

/// Larger configurations are not shown.
const MAX_CONFIG: u64 = 4 << 20;
/// So much of what is about an image is shown.
const REFERRERS: usize = 1000;

/// What the page shows.
struct Image {
    manifest: ManifestContent,
    /// What it is, where it is no image: Docker runs no artifacts.
    artifact: Option<String>,
    text: Value,
    config: Value,
    referrers: Vec<Referrer>,
    /// Manifests that cosign's older versions find by a tag: what they are, and the tag.
    tagged: Vec<(&'static str, String)>,
}

/// What cosign keeps by tags, in the order of their suffixes.
const TAGGED: [&str; COSIGN_SUFFIXES.len()] = ["Signature", "Attestation", "SBOM"];
/// Kinds of artifacts by a part of their name, as people call them; the first that fits.
const KINDS: [(&str, &str); 7] = [
    ("spdx", "SBOM"),
    ("cyclonedx", "SBOM"),
    ("syft", "SBOM"),
    ("sbom", "SBOM"),
    ("cosign.artifact.sig", "Signature"),
    ("signature", "Signature"),
    ("in-toto", "Attestation"),
];
/// What a Sigstore bundle states, and that of a signature.
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// `None` when `reference` is none.
pub(super) async fn page(
    call: &Call,
    name: &str,
    reference: &str,
) -> Result<Option<String>, Fault> {
    let target = match reference.parse::<Digest>() {
        Ok(digest) => Target::Digest(digest),
        Err(_) if ferry_oci::Reference::is_tag(reference) => Target::Tag(reference.to_owned()),
        Err(_) => return Ok(None),
    };
    let repository = name.to_owned();
    let image = call.store(move |store| read(store, &repository, &target)).await?;
    let mut text = Text::new();
    let host = call.header(header::HOST).unwrap_or("localhost");
    let sign = if reference.contains(':') { '@' } else { ':' };
    text.raw(match image.artifact {
        None => "<pre tabindex=0>docker pull ",
        Some(_) => "<pre tabindex=0>oras pull ",
    });
    text.text(&format!("{host}/{name}{sign}{reference}"));
    text.raw("</pre><dl><dt>Digest<dd><code>").text(&image.manifest.digest.to_string());
    text.raw("</code><dt>Type<dd>").text(&image.manifest.record.media_type);
    text.raw("<dt>Pushed<dd>").text(&time(image.manifest.record.at));
    match image.text["manifests"].as_array() {
        Some(manifests) => {
            text.raw("</dl><h2>Platforms</h2>");
            platforms(&mut text, manifests);
        }
        None => layers(&mut text, name, &image),
    }
    if !image.referrers.is_empty() || !image.tagged.is_empty() {
        text.raw("<h2>About this image</h2>");
        referrers(&mut text, &image);
    }
    let up = format!("/r/{name}");
    let title = format!("{name}{sign}{reference}");
    Ok(Some(document(&title, &[("Repositories", "/"), (name, &up)], &text)))
}

fn read(store: &Store, name: &str, target: &Target) -> Result<Image, StoreError> {
    let manifest = store.manifest(name, target)?;
    let text: Value =
        serde_json::from_slice(&store.manifest_bytes(&manifest.digest)?).unwrap_or_default();
    let config = text["config"]["digest"].as_str().and_then(|digest| digest.parse().ok());
    let config = match config {
        Some(digest) => configuration(store, name, &digest)?,
        None => Value::Null,
    };
    let referrers = store.referrers(name, &manifest.digest, "", REFERRERS)?;
    let mut tagged = Vec::new();
    for (suffix, kind) in COSIGN_SUFFIXES.into_iter().zip(TAGGED) {
        let tag = format!("{}.{suffix}", fallback_tag(&manifest.digest));
        if store.tag(name, &tag)?.is_some() {
            tagged.push((kind, tag));
        }
    }
    Ok(Image { artifact: artifact(&text, &config), manifest, text, config, referrers, tagged })
}

/// What the manifest of something else than an image says that it is.
fn artifact(manifest: &Value, config: &Value) -> Option<String> {
    let kind = string(manifest, "artifactType");
    // Before there were types of artifacts, and with Helm, the configuration has the type. It is for no system.
    let is_image = manifest["manifests"].is_array() || !string(config, "os").is_empty();
    match kind {
        "" if is_image => None,
        "" => Some(string(&manifest["config"], "mediaType").to_owned()),
        kind => Some(kind.to_owned()),
    }
}

/// What is no JSON, or too large, is nothing.
fn configuration(store: &Store, name: &str, digest: &Digest) -> Result<Value, StoreError> {
    let blob = store.blob(name, digest)?;
    if blob.size > MAX_CONFIG {
        return Ok(Value::Null);
    }
    let most = usize::try_from(MAX_CONFIG).unwrap_or(0);
    Ok(serde_json::from_slice(&store.blob_bytes(name, digest, most)?).unwrap_or_default())
}

fn string<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn link(text: &mut Text, digest: &str) {
    text.raw("<a href=\"?ref=").text(&encode(digest)).raw("\"><code>");
    text.text(digest.get(..19).unwrap_or(digest)).raw("</code></a>");
}

fn platforms(text: &mut Text, manifests: &[Value]) {
    text.raw("<table><thead><tr><th>Platform<th>Digest<th>Type</tr></thead><tbody>");
    for manifest in manifests {
        let platform = &manifest["platform"];
        let parts = ["os", "architecture", "variant"].map(|name| string(platform, name));
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        text.raw("<tr><td>").text(&parts.join("/")).raw("<td class=id>");
        link(text, string(manifest, "digest"));
        text.raw("<td>").text(string(manifest, "mediaType")).raw("</tr>");
    }
    text.raw("</tbody></table>");
}

fn layers(text: &mut Text, name: &str, image: &Image) {
    let layers = image.text["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let is_image = image.artifact.is_none();
    match image.artifact.as_deref() {
        None => {
            text.raw("<dt>Platform<dd>").text(string(&image.config, "os")).raw("/");
            text.text(string(&image.config, "architecture"));
        }
        Some("") => {}
        Some(kind) => drop(text.raw("<dt>Artifact<dd>").text(kind)),
    }
    text.raw("<dt>Size<dd>").text(&format_decimal(image.manifest.record.content_size));
    text.raw(match is_image {
        true => "</dl><h2>Layers</h2><table><thead><tr><th>Made by",
        false => "</dl><h2>Content</h2><table><thead><tr><th>Type",
    });
    text.raw("<th class=size>Size<th>Digest</tr></thead><tbody>");
    let empty = Vec::new();
    let history = image.config["history"].as_array().unwrap_or(&empty);
    let mut rest = layers.iter();
    for step in history {
        let layer = if step["empty_layer"] == true { None } else { rest.next() };
        row(text, string(step, "created_by"), layer, None);
    }
    // Images may have no history, or less of it.
    for layer in rest {
        let title = string(&layer["annotations"], "org.opencontainers.image.title");
        let made_by = format!("{} {title}", string(layer, "mediaType"));
        row(text, made_by.trim(), Some(layer), Some(name).filter(|_| !is_image));
    }
    text.raw("</tbody></table>");
}

/// With the name of a repository, the layer is a link to its content.
fn row(text: &mut Text, made_by: &str, layer: Option<&Value>, of: Option<&str>) {
    text.raw("<tr><td><code>").text(made_by).raw("</code><td class=size>");
    if let Some(layer) = layer {
        text.text(&format_decimal(layer["size"].as_u64().unwrap_or(0)));
        let digest = string(layer, "digest");
        text.raw("<td class=id>");
        if let Some(name) = of {
            text.raw("<a download href=\"/v2/").text(&format!("{name}/blobs/{digest}")).raw("\">");
        }
        text.raw("<code>").text(digest.get(..19).unwrap_or_default()).raw("</code>");
        if of.is_some() {
            text.raw("</a>");
        }
    } else {
        text.raw("<td>");
    }
    text.raw("</tr>");
}

/// What an artifact is, in a word if there is one.
fn kind(referrer: &Referrer) -> String {
    let kind = referrer.artifact_type.as_deref().unwrap_or(&referrer.media_type);
    let known = KINDS.iter().find(|(part, _)| kind.to_lowercase().contains(part));
    let word = match known {
        Some((_, word)) => word,
        None if kind.contains("sigstore.bundle") => match referrer.annotations.get(PREDICATE) {
            Some(predicate) if predicate == SIGNED => "Signature",
            _ => "Attestation",
        },
        None => return kind.to_owned(),
    };
    format!("{word} ({kind})")
}

fn referrers(text: &mut Text, image: &Image) {
    text.raw("<table><thead><tr><th>Kind<th>Digest<th>Notes</tr></thead><tbody>");
    for (kind, tag) in &image.tagged {
        text.raw("<tr><td>").text(kind).raw(" (cosign)<td class=id>");
        text.raw("<a href=\"?ref=").text(tag).raw("\"><code>");
        text.text(tag.get(..19).unwrap_or(tag)).raw("…</code></a><td></tr>");
    }
    for referrer in &image.referrers {
        text.raw("<tr><td>").text(&kind(referrer)).raw("<td class=id>");
        link(text, &referrer.digest.to_string());
        let notes: Vec<String> =
            referrer.annotations.iter().map(|(name, value)| format!("{name}={value}")).collect();
        text.raw("<td>").text(&notes.join(" ")).raw("</tr>");
    }
    text.raw("</tbody></table>");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_an_image() {
        let helm = "application/vnd.cncf.helm.config.v1+json";
        let chart = json!({"config": {"mediaType": helm}, "layers": []});
        assert_eq!(
            artifact(&chart, &json!({"name": "web", "version": "1.0"})).as_deref(),
            Some(helm)
        );
        let sbom = json!({"artifactType": "text/spdx", "config": {"mediaType": "application/x"}});
        assert_eq!(artifact(&sbom, &json!({})).as_deref(), Some("text/spdx"));
        let image = json!({"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}});
        assert_eq!(artifact(&image, &json!({"os": "linux"})), None);
        assert_eq!(artifact(&json!({"manifests": []}), &Value::Null), None);
    }
}
