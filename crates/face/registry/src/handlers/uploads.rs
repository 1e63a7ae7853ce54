//! Uploads: begun (or made needless by a mount), sent in one or many pieces, asked for, finished, given up.

use std::{sync::Arc, time::Duration};

use ferry_access::Action;
use ferry_oci::Reference;
use ferry_registry_store::{Claim, Refusal, StoreError, Upload};
use http::{Response, StatusCode, header};
use hyper::body::Incoming;

use crate::{
    body::Body,
    dispatch::{Answer, Call},
    fault::{Code, Fault},
    handlers::{bare, set},
    range::piece,
    receive::into_upload,
    route,
};

/// How often and after what pause an upload is tried for that another request still sends to: a client whose connection broke is
/// back before we know that the old one is gone.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn begin(call: &Call, name: String, body: Incoming) -> Answer {
    if let Some(text) = call.query.get("mount") {
        let digest = route::digest(text)?;
        let from = call.query.get("from").filter(|from| Reference::is_repository(from));
        // Nobody gets by a mount what they may not pull.
        if let Some(from) = from.filter(|from| call.may(Action::Pull, from)) {
            let (from, to, wanted) = (from.to_owned(), name.clone(), digest.clone());
            match call.store(move |store| Ok(store.mount(&wanted, &from, &to))).await? {
                Ok(()) => return Ok(created(&name, &digest.to_string())),
                // What cannot be mounted is sent.
                Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let repository = name.clone();
    let upload = call.store(move |store| store.begin_upload(&repository)).await?;
    if call.query.get("digest").is_none() {
        return Ok(under_way(&upload, StatusCode::ACCEPTED));
    }
    let claim = claimed(&upload).await?;
    let sent = complete(call, &name, claim.clone(), body).await;
    if sent.is_err() {
        // Nobody was told its name, so nobody can go on with it.
        call.store(move |store| store.forget(&claim)).await?;
    }
    sent
}

pub(crate) async fn status(call: &Call, name: String, id: String) -> Answer {
    let upload = call.store(move |store| store.upload(&name, &id)).await?;
    Ok(under_way(&upload, StatusCode::NO_CONTENT))
}

pub(crate) async fn append(call: &Call, name: String, id: String, body: Incoming) -> Answer {
    let upload = call.store(move |store| store.upload(&name, &id)).await?;
    let claim = claimed(&upload).await?;
    check_piece(call, &upload)?;
    into_upload(body, &claim, call.limits().blob).await?;
    Ok(under_way(&upload, StatusCode::ACCEPTED))
}

pub(crate) async fn finish(call: &Call, name: String, id: String, body: Incoming) -> Answer {
    let repository = name.clone();
    let upload = call.store(move |store| store.upload(&repository, &id)).await?;
    let claim = claimed(&upload).await?;
    check_piece(call, &upload)?;
    complete(call, &name, claim, body).await
}

/// Takes the last bytes and makes a blob of it all.
async fn complete(call: &Call, name: &str, claim: Arc<Claim>, body: Incoming) -> Answer {
    let Some(text) = call.query.get("digest") else {
        return Err(Fault::new(Code::DigestInvalid, "digest missing"));
    };
    let digest = route::digest(text)?;
    into_upload(body, &claim, call.limits().blob).await?;
    let wanted = digest.clone();
    call.store(move |store| store.commit(&claim, &wanted)).await?;
    Ok(created(name, &digest.to_string()))
}

pub(crate) async fn cancel(call: &Call, name: String, id: String) -> Answer {
    let upload = call.store(move |store| store.upload(&name, &id)).await?;
    let claim = claimed(&upload).await?;
    call.store(move |store| store.forget(&claim)).await?;
    Ok(bare(StatusCode::NO_CONTENT))
}

async fn claimed(upload: &Arc<Upload>) -> Result<Arc<Claim>, Fault> {
    for _ in 0..TRIES {
        if let Some(claim) = upload.claim() {
            return Ok(Arc::new(claim));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(StoreError::from(Refusal::UploadBusy(upload.id().to_owned())).into())
}

/// A piece must begin where the last one ended and be as long as it says.
fn check_piece(call: &Call, upload: &Upload) -> Result<(), Fault> {
    let Some(text) = call.header(header::CONTENT_RANGE) else { return Ok(()) };
    let Some((first, last)) = piece(text) else {
        return Err(Fault::new(Code::BlobUploadInvalid, "invalid content range"));
    };
    if first != upload.size() {
        return Err(Fault::new(Code::RangeInvalid, "invalid content range")
            .header(header::LOCATION, location(upload))
            .header(header::RANGE, received(upload)));
    }
    let length = call.header(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length != last - first + 1) {
        return Err(Fault::new(Code::SizeInvalid, "content length and content range differ"));
    }
    Ok(())
}

fn location(upload: &Upload) -> String {
    format!("/v2/{}/blobs/uploads/{}", upload.repository(), upload.id())
}

/// As distribution says it: `0-0` for nothing and for one byte.
fn received(upload: &Upload) -> String {
    format!("0-{}", upload.size().saturating_sub(1))
}

fn under_way(upload: &Upload, status: StatusCode) -> Response<Body> {
    let mut response = bare(status);
    set(&mut response, "location", location(upload));
    set(&mut response, "range", received(upload));
    set(&mut response, "docker-upload-uuid", upload.id());
    if status != StatusCode::NO_CONTENT {
        set(&mut response, "content-length", 0);
    }
    response
}

fn created(name: &str, digest: &str) -> Response<Body> {
    let mut response = bare(StatusCode::CREATED);
    set(&mut response, "location", format!("/v2/{name}/blobs/{digest}"));
    set(&mut response, "docker-content-digest", digest);
    set(&mut response, "content-length", 0);
    response
}
