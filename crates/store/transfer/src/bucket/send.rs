//! A file into an object: at once if it is small, else in parts, a few of which are in memory at a time.

use std::{fs::File, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::{HeaderMap, Method, header::ETAG};
use rusty_s3::{
    Credentials, S3Action,
    actions::{self, CompleteMultipartUploadResponse, CreateMultipartUpload},
};

use super::{Asked, Bucket, BucketError, PARTS, SIGNED_FOR, missing};

/// A part, of objects that are not larger than [`MOST_PARTS`] of them.
const PART: u64 = 8 << 20;
/// S3 takes 10,000.
const MOST_PARTS: u64 = 9_000;

impl Bucket {
    /// Puts a file's first `size` bytes. `begun` is told the id of an upload in parts before the first of them is sent: whoever
    /// remembers it can [`Bucket::abort`] what is left of it after a crash.
    ///
    /// # Errors
    /// [`BucketError`], or what `begun` fails with. Parts that were sent are given up then, if the bucket can be reached.
    pub async fn put_file<E: From<BucketError>>(
        &self,
        object: &str,
        file: Arc<File>,
        size: u64,
        begun: impl FnOnce(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        if size <= PART {
            let bytes = self.piece(file, 0, size).await?;
            self.put(object, bytes).await?;
        } else {
            let id = self.begin(object).await?;
            begun(&id)?;
            let sent = self.in_parts(object, &id, file, size).await;
            if let Err(error) = sent {
                // Whoever knows the id does it later.
                drop(self.abort(object, &id).await);
                return Err(error.into());
            }
        }
        match self.size(object).await? {
            Some(there) if there == size => Ok(()),
            there => {
                let why = format!("it has {there:?} bytes of {size}");
                Err(BucketError::Answer { doing: "put", object: object.to_owned(), why }.into())
            }
        }
    }

    /// Gives up an upload in parts; it need not be there.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn abort(&self, object: &str, id: &str) -> Result<(), BucketError> {
        let name = self.name(object);
        let asked = asked(Method::DELETE, "give up", object, Bytes::new());
        let sign = |keys: &Credentials| {
            actions::AbortMultipartUpload::new(&self.bucket, Some(keys), &name, id)
                .sign(SIGNED_FOR)
                .to_string()
        };
        match missing(self.ask(&asked, sign, HeaderMap::new()).await) {
            // Small servers keep no parts that could be given up, or cannot give them up.
            Err(BucketError::Refused { status: 405 | 501, .. }) | Ok(None) => Ok(()),
            Ok(Some(answer)) => {
                answer.body.skip().await;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn begin(&self, object: &str) -> Result<String, BucketError> {
        let name = self.name(object);
        let asked = asked(Method::POST, "begin", object, Bytes::new());
        let sign = |keys: &Credentials| {
            CreateMultipartUpload::new(&self.bucket, Some(keys), &name).sign(SIGNED_FOR).to_string()
        };
        let answer = self.ask(&asked, sign, HeaderMap::new()).await?;
        let text = self.text(&asked, answer).await?;
        let begun = CreateMultipartUpload::parse_response(&text)
            .map_err(|error| asked.wrong(&error.to_string()))?;
        Ok(begun.upload_id().to_owned())
    }

    async fn in_parts(
        &self,
        object: &str,
        id: &str,
        file: Arc<File>,
        size: u64,
    ) -> Result<(), BucketError> {
        let length = PART.max(size.div_ceil(MOST_PARTS).next_multiple_of(1 << 20));
        let parts = (0..size.div_ceil(length)).map(|number| {
            let file = Arc::clone(&file);
            async move {
                let at = number * length;
                // However many objects are sent at once.
                let _place = self.parts.acquire().await;
                let bytes = self.piece(file, at, length.min(size - at)).await?;
                self.part(object, id, u16::try_from(number + 1).unwrap_or(u16::MAX), bytes).await
            }
        });
        let tags: Vec<String> = stream::iter(parts).buffered(PARTS).try_collect().await?;
        self.complete(object, id, &tags).await
    }

    async fn piece(&self, file: Arc<File>, at: u64, length: u64) -> Result<Bytes, BucketError> {
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut buffer, at).map(|()| Bytes::from(buffer))
        });
        let read = read.await.map_err(std::io::Error::other);
        read.and_then(|read| read).map_err(BucketError::Read)
    }

    async fn part(
        &self,
        object: &str,
        id: &str,
        number: u16,
        bytes: Bytes,
    ) -> Result<String, BucketError> {
        let name = self.name(object);
        let asked = asked(Method::PUT, "put a part of", object, bytes);
        let sign = |keys: &Credentials| {
            actions::UploadPart::new(&self.bucket, Some(keys), &name, number, id)
                .sign(SIGNED_FOR)
                .to_string()
        };
        let answer = self.ask(&asked, sign, HeaderMap::new()).await?;
        let tag = answer.header(ETAG).map(|tag| tag.trim_matches('"').to_owned());
        answer.body.skip().await;
        tag.ok_or_else(|| asked.wrong("it has no tag"))
    }

    /// Makes an object of the parts. Asked twice because the first answer was lost, S3 says that there is no such upload; whether
    /// the object is there is then seen by its size.
    async fn complete(&self, object: &str, id: &str, tags: &[String]) -> Result<(), BucketError> {
        let name = self.name(object);
        let tags = || tags.iter().map(String::as_str);
        let all = actions::CompleteMultipartUpload::new(&self.bucket, None, &name, id, tags());
        let asked = asked(Method::POST, "complete", object, all.body().into());
        let sign = |keys: &Credentials| {
            let keys = Some(keys);
            actions::CompleteMultipartUpload::new(&self.bucket, keys, &name, id, tags())
                .sign(SIGNED_FOR)
                .to_string()
        };
        let answer = match self.ask(&asked, sign, HeaderMap::new()).await {
            Err(BucketError::Refused { status: 404, code, .. }) if code == "NoSuchUpload" => {
                return Ok(());
            }
            answer => answer?,
        };
        let text = self.text(&asked, answer).await?;
        // 200 may come before it is known whether it succeeds.
        CompleteMultipartUploadResponse::parse(&text).map(drop).map_err(|_| {
            asked.wrong(&format!(
                "{} {}",
                super::element(&text, "Code"),
                super::element(&text, "Message")
            ))
        })
    }
}

fn asked<'a>(method: Method, doing: &'static str, object: &'a str, body: Bytes) -> Asked<'a> {
    Asked { method, doing, object, body }
}
