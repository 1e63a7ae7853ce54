//! Objects in a bucket of S3 or of whatever speaks its protocol: put whole or in parts, read from any byte on, listed, deleted.
//!
//! Requests are signed by `rusty-s3` and sent as all others here. Each of them may be sent twice without harm, so what fails in
//! passing (nobody there, silence, 500, 503) is tried again a few times.

mod address;
mod error;
mod keys;
mod send;
mod stream;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, header::CONTENT_LENGTH};
use rusty_s3::{Credentials, S3Action, UrlStyle, actions};
use tokio::sync::Semaphore;

use self::keys::Keys;
pub use self::{
    address::{BucketAddress, InvalidAddress},
    error::BucketError,
    stream::ObjectStream,
};
use crate::{
    Tuning,
    http::{Answer, Call, Http, Insecure, Location, Proxies},
};

/// How long a signature is good.
const SIGNED_FOR: Duration = Duration::from_secs(900);
/// How often a request is sent.
const TRIES: u32 = 4;
/// Largest answer that is read: a page of a list with a thousand names.
const MAX_ANSWER: usize = 4 << 20;
/// Of all documents that are answers.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// Parts of objects that are in memory at once.
const PARTS: usize = 4;

/// A bucket, or the part of it below a prefix.
#[derive(Debug)]
pub struct Bucket {
    http: Http,
    bucket: rusty_s3::Bucket,
    keys: Keys,
    prefix: String,
    pause: Duration,
    parts: Semaphore,
}

/// A page of a list.
#[derive(Debug, Default)]
pub struct Objects {
    /// Names, without the prefix, and sizes.
    pub objects: Vec<(String, u64)>,
    /// With what the list goes on.
    pub next: Option<String>,
}

impl Bucket {
    /// Makes nothing and asks nobody.
    ///
    /// # Errors
    /// When the address is of no use or nobody says who we are.
    pub fn new(address: &BucketAddress, tuning: &Tuning) -> Result<Bucket, BucketError> {
        let (endpoint, in_path) = address.endpoint()?;
        let invalid =
            |why: String| BucketError::Answer { doing: "find", object: address.place(), why };
        let url = endpoint.parse().map_err(|_| invalid(format!("{endpoint} is no URL")))?;
        let style = if in_path { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let (name, region) = (address.bucket.clone(), address.region().to_owned());
        let bucket = rusty_s3::Bucket::new(url, style, name, region)
            .map_err(|error| invalid(error.to_string()))?;
        let agent = format!("Ferry-Registry/{} (linux)", env!("CARGO_PKG_VERSION"));
        Ok(Bucket {
            http: Http::new(&agent, Insecure::new(&[]), Proxies::from_env(), tuning),
            bucket,
            keys: Keys::find(address.credentials.as_deref(), |name| std::env::var(name).ok())?,
            prefix: address.prefix.clone(),
            pause: tuning.pause,
            parts: Semaphore::new(PARTS),
        })
    }

    fn name(&self, object: &str) -> String {
        format!("{}{object}", self.prefix)
    }

    /// Puts an object that is in memory, in place of one that is there.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn put(&self, object: &str, bytes: Bytes) -> Result<(), BucketError> {
        let name = self.name(object);
        let asked = Asked { method: Method::PUT, doing: "put", object, body: bytes };
        let sign = |keys: &Credentials| {
            actions::PutObject::new(&self.bucket, Some(keys), &name).sign(SIGNED_FOR).to_string()
        };
        let answer = self.ask(&asked, sign, HeaderMap::new()).await?;
        answer.body.skip().await;
        Ok(())
    }

    /// How large an object is; `None` when it is not there.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn size(&self, object: &str) -> Result<Option<u64>, BucketError> {
        let name = self.name(object);
        let asked = Asked { method: Method::HEAD, doing: "look at", object, body: Bytes::new() };
        let sign = |keys: &Credentials| {
            actions::HeadObject::new(&self.bucket, Some(keys), &name).sign(SIGNED_FOR).to_string()
        };
        let Some(answer) = missing(self.ask(&asked, sign, HeaderMap::new()).await)? else {
            return Ok(None);
        };
        let size = length(&answer).ok_or_else(|| asked.wrong("it has no length"))?;
        answer.body.skip().await;
        Ok(Some(size))
    }

    /// Takes an object away; it need not be there.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn delete(&self, object: &str) -> Result<(), BucketError> {
        let name = self.name(object);
        let asked = Asked { method: Method::DELETE, doing: "delete", object, body: Bytes::new() };
        let sign = |keys: &Credentials| {
            actions::DeleteObject::new(&self.bucket, Some(keys), &name).sign(SIGNED_FOR).to_string()
        };
        if let Some(answer) = missing(self.ask(&asked, sign, HeaderMap::new()).await)? {
            answer.body.skip().await;
        }
        Ok(())
    }

    /// A page of the names below `below`, from `next` of the page before on.
    ///
    /// # Errors
    /// [`BucketError`].
    pub async fn list(&self, below: &str, next: Option<&str>) -> Result<Objects, BucketError> {
        let prefix = self.name(below);
        let asked = Asked { method: Method::GET, doing: "list", object: below, body: Bytes::new() };
        let sign = |keys: &Credentials| {
            let mut list = actions::ListObjectsV2::new(&self.bucket, Some(keys));
            list.with_prefix(prefix.as_str());
            if let Some(next) = next {
                list.with_continuation_token(next);
            }
            list.sign(SIGNED_FOR).to_string()
        };
        let answer = self.ask(&asked, sign, HeaderMap::new()).await?;
        let text = self.text(&asked, answer).await?;
        let page = actions::ListObjectsV2::parse_response(&text)
            .map_err(|error| asked.wrong(&error.to_string()))?;
        let own = |key: String| key.strip_prefix(&self.prefix).map(str::to_owned);
        let objects = page.contents.into_iter();
        Ok(Objects {
            objects: objects
                .filter_map(|object| Some((own(object.key)?, object.size.unwrap_or(0))))
                .collect(),
            next: page.next_continuation_token.filter(|token| Some(token.as_str()) != next),
        })
    }

    /// An object's bytes from `at` on, so many; `None` when it is not there.
    ///
    /// # Errors
    /// [`BucketError`], also when it is shorter.
    pub async fn get(
        &self,
        object: &str,
        at: u64,
        length: u64,
    ) -> Result<Option<ObjectStream<'_>>, BucketError> {
        ObjectStream::open(self, object, at, length).await
    }

    async fn text(&self, asked: &Asked<'_>, answer: Answer) -> Result<String, BucketError> {
        let bytes = answer.body.read(MAX_ANSWER).await;
        let bytes = bytes.map_err(|fault| asked.wrong(&fault.to_string()))?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| asked.wrong("it is no text"))?;
        Ok(in_namespace(&text))
    }

    /// Sends a request until it is answered, or was tried often enough.
    async fn ask(
        &self,
        asked: &Asked<'_>,
        sign: impl Fn(&Credentials) -> String,
        headers: HeaderMap,
    ) -> Result<Answer, BucketError> {
        let mut tried = 1;
        loop {
            let location = Location::parse(&sign(&self.keys.now()?))
                .ok_or_else(|| asked.wrong("its address is too long"))?;
            let mut call = Call::new(asked.method.clone(), location);
            call.headers = headers.clone();
            call.body = asked.body.clone();
            let error = match self.http.send(call).await {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) => asked.refused(answer).await,
                Err(error) => error.into(),
            };
            if tried == TRIES || !error.is_passing() {
                return Err(error);
            }
            tracing::debug!(tried, "the bucket: {error}");
            tokio::time::sleep(self.pause * (1 << (tried - 1))).await;
            tried += 1;
        }
    }
}

/// A request, but for its signature.
#[derive(Debug, Clone)]
struct Asked<'a> {
    method: Method,
    doing: &'static str,
    object: &'a str,
    body: Bytes,
}

impl Asked<'_> {
    fn wrong(&self, why: &str) -> BucketError {
        let object = self.object.to_owned();
        BucketError::Answer { doing: self.doing, object, why: why.to_owned() }
    }

    async fn refused(&self, answer: Answer) -> BucketError {
        let status = answer.status.as_u16();
        let body = answer.body.read(64 << 10).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        BucketError::Refused {
            doing: self.doing,
            object: self.object.to_owned(),
            status,
            code: element(&text, "Code"),
            message: element(&text, "Message"),
        }
    }
}

/// The document with its root in S3's namespace: small servers have it in none, or in one that they made up.
fn in_namespace(text: &str) -> String {
    let start = text.find("?>").map_or(0, |at| at + 2);
    let Some(root) = text[start..].find('<').map(|at| start + at) else { return text.to_owned() };
    let Some(end) = text[root..].find('>').map(|at| root + at) else { return text.to_owned() };
    let head = &text[root..end];
    let Some(at) = head.find(" xmlns=\"").map(|at| root + at + 8) else {
        let name = head.find(|c: char| c.is_whitespace() || c == '/').map_or(end, |at| root + at);
        return format!("{} xmlns=\"{NAMESPACE}\"{}", &text[..name], &text[name..]);
    };
    let close = text[at..].find('"').map_or(text.len(), |length| at + length);
    format!("{}{NAMESPACE}{}", &text[..at], &text[close..])
}

/// The text of the first element of this name: errors have no others inside.
fn element(text: &str, name: &str) -> String {
    let inside = text.split_once(&format!("<{name}>")).map_or("", |(_, rest)| rest);
    inside.split('<').next().unwrap_or_default().chars().take(500).collect()
}

fn length(answer: &Answer) -> Option<u64> {
    answer.header(CONTENT_LENGTH).and_then(|text| text.trim().parse().ok())
}

/// `None` for what is not there. A bucket that is not there is a mistake.
fn missing(answer: Result<Answer, BucketError>) -> Result<Option<Answer>, BucketError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(BucketError::Refused { status: 404, code, .. }) if code != "NoSuchBucket" => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_servers_are_read() {
        let inside = "<Contents><Key>a%2Fb</Key><Size>3</Size></Contents><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken><EncodingType>url</EncodingType>";
        for root in [
            "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
            "<ListBucketResult xmlns=\"http://doc.s3.amazonaws.com/2006-03-01/\">",
            "<ListBucketResult>",
        ] {
            let text = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{root}{inside}</ListBucketResult>"
            );
            let page = actions::ListObjectsV2::parse_response(&in_namespace(&text)).unwrap();
            assert_eq!(
                (page.contents[0].key.as_str(), page.contents[0].size),
                ("a/b", Some(3)),
                "{root}"
            );
            assert_eq!(page.next_continuation_token.as_deref(), Some("t"));
        }
        for odd in ["", "no XML", "<a", "<a/>", "<?xml?>", "<a xmlns=\"x"] {
            in_namespace(odd);
        }
        assert_eq!(
            element("<Error><Code>X</Code><Message>it is so</Message></Error>", "Message"),
            "it is so"
        );
    }
}
