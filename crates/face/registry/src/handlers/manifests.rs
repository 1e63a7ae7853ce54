//! Manifests: read, pushed, deleted.

use ferry_registry_store::{PutManifest, Target};
use http::{Method, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use crate::{
    body::Body,
    dispatch::{Answer, Call},
    fault::{Code, Fault},
    handlers::{bare, set},
    receive,
};

pub(crate) async fn get(call: &Call, name: String, target: Target) -> Answer {
    let head = call.method == Method::HEAD;
    let known = call.header(header::IF_NONE_MATCH).map(str::to_owned);
    let (manifest, bytes) = call
        .store(move |store| {
            let manifest = store.manifest(&name, &target)?;
            let same = known.is_some_and(|tags| tags.contains(&manifest.digest.to_string()));
            let bytes = match head || same {
                true => None,
                false => Some(store.manifest_bytes(&manifest.digest)?),
            };
            Ok((manifest, (same, bytes)))
        })
        .await?;
    let (same, bytes) = bytes;
    let mut response = bare(if same { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    set(&mut response, "docker-content-digest", &manifest.digest);
    set(&mut response, "etag", format!("\"{}\"", manifest.digest));
    if !same {
        set(&mut response, "content-type", &manifest.record.media_type);
        set(&mut response, "content-length", manifest.record.size);
    }
    if let Some(bytes) = bytes {
        *response.body_mut() = Body::from(bytes);
    }
    Ok(response)
}

pub(crate) async fn put(call: &Call, name: String, target: Target, body: Incoming) -> Answer {
    let media_type = call.header(header::CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
    if media_type.is_empty() {
        return Err(Fault::new(Code::ManifestInvalid, "manifest invalid: Content-Type missing"));
    }
    let bytes = receive::whole(body, call.limits().manifest).await?;
    let repository = name.clone();
    let put = call
        .change(move |store| {
            let put = store.put_manifest(&PutManifest {
                repository: &repository,
                target: &target,
                media_type: &media_type,
                bytes: &bytes,
                cached: false,
            })?;
            let entry = json!({
                "action": "push",
                "repository": repository,
                "reference": target.to_string(),
                "digest": put.digest.to_string(),
                "replaced": put.replaced.as_ref().map(ToString::to_string),
            });
            Ok((put, entry))
        })
        .await?;
    let mut response = bare(StatusCode::CREATED);
    set(&mut response, "location", format!("/v2/{name}/manifests/{}", put.digest));
    set(&mut response, "docker-content-digest", &put.digest);
    set(&mut response, "content-length", 0);
    if let Some(subject) = &put.subject {
        set(&mut response, "oci-subject", subject);
    }
    Ok(response)
}

pub(crate) async fn delete(call: &Call, name: String, target: Target) -> Answer {
    call.change(move |store| {
        let entry = match &target {
            Target::Tag(tag) => {
                let digest = store.delete_tag(&name, tag)?.to_string();
                json!({ "action": "delete tag", "repository": name, "tag": tag, "digest": digest })
            }
            Target::Digest(digest) => {
                let tags = store.delete_manifest(&name, digest)?;
                let digest = digest.to_string();
                json!({ "action": "delete manifest", "repository": name, "digest": digest, "tags": tags })
            }
        };
        Ok(((), entry))
    })
    .await?;
    let mut response = bare(StatusCode::ACCEPTED);
    set(&mut response, "content-length", 0);
    Ok(response)
}
