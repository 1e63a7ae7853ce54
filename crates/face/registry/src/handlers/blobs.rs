//! Blobs: read, whole or in part; asked for; deleted.

use ferry_oci::Digest;
use ferry_registry_store::BlobContent;
use http::{Method, StatusCode, header};
use serde_json::json;

use crate::{
    body::Body,
    dispatch::{Answer, Call},
    fault::{Code, Fault},
    handlers::{bare, set},
    range::{Wanted, wanted},
};

pub(crate) async fn get(call: &Call, name: String, digest: Digest) -> Answer {
    let wanted_digest = digest.clone();
    let head = call.method == Method::HEAD;
    if head {
        // A push asks so what it need not send.
        let size = call.store(move |store| store.want_blob(&name, &wanted_digest)).await?;
        let mut response = bare(StatusCode::OK);
        describe(&mut response, &digest);
        set(&mut response, "content-length", size);
        return Ok(response);
    }
    let blob = call.store(move |store| store.blob(&name, &wanted_digest)).await?;
    if call.header(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&digest.to_string())) {
        let mut response = bare(StatusCode::NOT_MODIFIED);
        set(&mut response, "etag", format!("\"{digest}\""));
        return Ok(response);
    }
    let (mut response, at, length) = portion(call, &digest, blob.size)?;
    *response.body_mut() = match blob.content {
        BlobContent::File(file) => Body::part(file, at, length),
        BlobContent::Object(object) => Body::pieces(object.read(at, length).await?, length),
    };
    Ok(response)
}

/// The head of an answer with what is asked for of a blob of this size: from where, and how much.
pub(crate) fn portion(
    call: &Call,
    digest: &Digest,
    size: u64,
) -> Result<(http::Response<Body>, u64, u64), Fault> {
    let mut response = bare(StatusCode::OK);
    let (at, length) = match wanted(call.header(header::RANGE), size) {
        Wanted::All => (0, size),
        Wanted::Part(at, length) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut response, "content-range", format!("bytes {at}-{}/{size}", at + length - 1));
            (at, length)
        }
        Wanted::Beyond => return Err(beyond(size)),
    };
    describe(&mut response, digest);
    set(&mut response, "content-length", length);
    Ok((response, at, length))
}

/// Nothing of a blob of this size is where it was asked for.
fn beyond(size: u64) -> Fault {
    Fault::new(Code::RangeInvalid, "invalid content range")
        .header(header::CONTENT_RANGE, format!("bytes */{size}"))
}

/// The headers that go with a blob, and with a part of one.
pub(crate) fn describe(response: &mut http::Response<Body>, digest: &Digest) {
    set(response, "content-type", "application/octet-stream");
    set(response, "docker-content-digest", digest);
    set(response, "etag", format!("\"{digest}\""));
    set(response, "accept-ranges", "bytes");
    // A digest's content never changes.
    set(response, "cache-control", "max-age=31536000");
}

pub(crate) async fn delete(call: &Call, name: String, digest: Digest) -> Answer {
    let gone = digest.clone();
    call.change(move |store| {
        store.delete_blob(&name, &gone)?;
        let digest = gone.to_string();
        Ok(((), json!({ "action": "delete blob", "repository": name, "digest": digest })))
    })
    .await?;
    let mut response = bare(StatusCode::ACCEPTED);
    set(&mut response, "docker-content-digest", digest);
    set(&mut response, "content-length", 0);
    Ok(response)
}
