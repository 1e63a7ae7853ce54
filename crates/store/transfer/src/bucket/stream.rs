//! An object as it comes; where it breaks off, it is asked for the rest.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};
use rusty_s3::{Credentials, S3Action, actions};

use super::{Asked, Bucket, BucketError, SIGNED_FOR, length, missing};
use crate::http::{Answer, Body, RequestError};

/// How often it is asked for the rest without a byte between.
const RESUMES: u32 = 3;

/// Some bytes of an object.
#[derive(Debug)]
pub struct ObjectStream<'a> {
    bucket: &'a Bucket,
    object: String,
    at: u64,
    left: u64,
    body: Body,
    resumes: u32,
}

impl<'a> ObjectStream<'a> {
    pub(super) async fn open(
        bucket: &'a Bucket,
        object: &str,
        at: u64,
        length: u64,
    ) -> Result<Option<ObjectStream<'a>>, BucketError> {
        let Some(answer) = part(bucket, object, at, length).await? else { return Ok(None) };
        let (object, body) = (object.to_owned(), answer.body);
        Ok(Some(ObjectStream { bucket, object, at, left: length, body, resumes: 0 }))
    }

    /// The next piece; `None` when all have come.
    ///
    /// # Errors
    /// [`BucketError`]: it broke off again and again, or more came than was asked for.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BucketError> {
        loop {
            let asked = asked(&self.object);
            let fault = match self.body.next().await {
                Ok(None) if self.left == 0 => return Ok(None),
                Ok(Some(piece)) if piece.len() as u64 > self.left => {
                    return Err(asked.wrong("more came than was asked for"));
                }
                Ok(Some(piece)) => {
                    self.left -= piece.len() as u64;
                    self.at += piece.len() as u64;
                    self.resumes = 0;
                    return Ok(Some(piece));
                }
                Ok(None) => None,
                Err(fault) => Some(fault),
            };
            if self.resumes == RESUMES {
                return Err(match fault {
                    None => asked.wrong("less came than was asked for"),
                    Some(fault) => {
                        let url = self.object.clone();
                        RequestError { method: "Get", url, fault }.into()
                    }
                });
            }
            self.resumes += 1;
            tokio::time::sleep(self.bucket.pause * self.resumes).await;
            let rest = part(self.bucket, &self.object, self.at, self.left).await?;
            self.body = rest.ok_or_else(|| asked.wrong("it is gone"))?.body;
        }
    }
}

fn asked(object: &str) -> Asked<'_> {
    Asked { method: Method::GET, doing: "get", object, body: Bytes::new() }
}

/// Asks for a part. What says that it is another one, or of another length, is not read.
async fn part(
    bucket: &Bucket,
    object: &str,
    at: u64,
    wanted: u64,
) -> Result<Option<Answer>, BucketError> {
    let asked = asked(object);
    let name = bucket.name(object);
    let mut headers = HeaderMap::new();
    // Nothing has no last byte.
    let range = format!("bytes={at}-{}", at + wanted.max(1) - 1);
    if wanted > 0
        && let Ok(range) = HeaderValue::try_from(range)
    {
        headers.insert(RANGE, range);
    }
    let sign = |keys: &Credentials| {
        actions::GetObject::new(&bucket.bucket, Some(keys), &name).sign(SIGNED_FOR).to_string()
    };
    let Some(answer) = missing(bucket.ask(&asked, sign, headers).await)? else { return Ok(None) };
    let from = match answer.status {
        StatusCode::PARTIAL_CONTENT => {
            let range = answer.header(CONTENT_RANGE).unwrap_or_default();
            let range =
                range.trim().strip_prefix("bytes ").and_then(|range| range.split('-').next());
            range.and_then(|from| from.parse().ok())
        }
        // A server may give all of it; then it must be all that is wanted.
        _ => Some(0),
    };
    if from != Some(at) || length(&answer).is_some_and(|length| length != wanted) {
        return Err(asked.wrong("it is another part than was asked for"));
    }
    Ok(Some(answer))
}
