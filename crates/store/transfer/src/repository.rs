//! One repository at one registry, document by document and blob by blob: for whoever copies between registries and other places.

mod about;
mod error;
mod quota;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ferry_oci::{Descriptor, Digest, Hasher, Index, MAX_MANIFEST, Reference, media};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LINK, RANGE},
};
use tokio::sync::mpsc;

pub use self::{error::RepositoryError, quota::Quota};
use crate::{
    Client, RegistryAuth,
    browse::next,
    client::Shared,
    http::{Answer, Body, Call, Cut, Fault, RequestError},
    push::{answering, blob, put_manifest, upload::Upload},
    source::{Source, SourceError},
};

/// Answers of searches and referrers are never larger.
const MAX_LIST: usize = 4 << 20;
/// Pages of referrers that are asked for.
const MAX_PAGES: usize = 32;
/// Pieces of a blob that may wait for the network.
const DEPTH: usize = 8;

/// What is wanted of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// To read it.
    Read,
    /// To write to it, and to have blobs of these repositories of the same registry mounted.
    Write(&'a [&'a str]),
    /// To write to it and to delete from it.
    Change,
}

/// One repository at one registry.
#[derive(Debug)]
pub struct Repository {
    shared: Arc<Shared>,
    source: Source,
    quota: Mutex<Option<Quota>>,
}

/// A manifest, an index, or an artifact's manifest, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// What the registry calls it.
    pub media_type: String,
    /// Its bytes.
    pub json: Bytes,
    /// Their digest.
    pub digest: Digest,
}

/// A blob on its way. Its digest is compared when its end is read.
#[derive(Debug)]
pub struct BlobStream {
    body: Body,
    /// `None` for a part, which has no digest.
    hasher: Option<Hasher>,
    size: Option<u64>,
    digest: Digest,
    name: String,
}

impl Client {
    /// A repository, by the way that its registry answers: TLS, and without only where that is allowed.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn repository(
        &self,
        name: &Reference,
        auth: Option<&RegistryAuth>,
        wanted: Wanted<'_>,
    ) -> Result<Repository, RepositoryError> {
        let with = |source: Source| match wanted {
            Wanted::Read => source,
            Wanted::Write(others) => source.for_push(others.iter().copied()),
            Wanted::Change => source.for_change(),
        };
        let source = answering(&self.shared, name, auth, with).await?;
        Ok(Repository { shared: Arc::clone(&self.shared), source, quota: Mutex::default() })
    }
}

impl Repository {
    /// A manifest by its tag or digest; `None` when it is not there.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn manifest(&self, name: &str) -> Result<Option<RawManifest>, RepositoryError> {
        let call = self.about_manifest(Method::GET, name);
        let location = call.location.clone();
        let Some(answer) = missing(self.source.call(&self.shared, call).await)? else {
            return Ok(None);
        };
        self.note_quota(&answer.headers);
        let media_type = answer.header(CONTENT_TYPE).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let broken = |fault| broken_off(&location, fault);
        let json = answer.body.read(MAX_MANIFEST).await.map_err(broken)?;
        let digest = Digest::sha256_of(&json);
        match name.parse::<Digest>() {
            Ok(wanted) if wanted != digest => Err(RepositoryError::Digest(wanted)),
            _ => Ok(Some(RawManifest { media_type, json, digest })),
        }
    }

    /// The digest of a manifest, without the manifest: `None` when it is not there, and `Some(None)` from a registry that does not
    /// say.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn manifest_digest(
        &self,
        name: &str,
    ) -> Result<Option<Option<Digest>>, RepositoryError> {
        let call = self.about_manifest(Method::HEAD, name);
        let Some(answer) = missing(self.source.call(&self.shared, call).await)? else {
            return Ok(None);
        };
        self.note_quota(&answer.headers);
        let digest = answer.header("docker-content-digest").and_then(|text| text.parse().ok());
        answer.body.skip().await;
        Ok(Some(digest))
    }

    fn about_manifest(&self, method: Method, name: &str) -> Call {
        let mut call = Call::new(method, self.source.location(&format!("manifests/{name}")));
        for kind in
            [media::OCI_INDEX, media::DOCKER_INDEX, media::OCI_MANIFEST, media::DOCKER_MANIFEST]
        {
            call.headers.append(ACCEPT, HeaderValue::from_static(kind));
        }
        call
    }

    /// What the registry last said of how much it still gives.
    pub fn quota(&self) -> Option<Quota> {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_quota(&self, headers: &HeaderMap) {
        if let Some(quota) = Quota::of(headers) {
            *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
        }
    }

    /// Sends a manifest under a tag or its digest. Whether the registry says that it lists it with what it is about.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn put_manifest(
        &self,
        name: &str,
        manifest: &RawManifest,
    ) -> Result<bool, RepositoryError> {
        let content = (manifest.media_type.as_str(), manifest.json.clone());
        Ok(put_manifest(&self.shared, &self.source, name, content).await?)
    }

    /// As [`Repository::put_manifest`]; where the registry does not list what is about another manifest, the tag that stands for
    /// that list is kept up.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn put_listed(
        &self,
        name: &str,
        manifest: &RawManifest,
    ) -> Result<(), RepositoryError> {
        let listed = self.put_manifest(name, manifest).await?;
        match about::subject(manifest).filter(|_| !listed) {
            Some(subject) => about::list(self, &subject, manifest).await,
            None => Ok(()),
        }
    }

    /// Takes a tag, or a manifest with all of its tags, away. Whether it was there.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn delete_manifest(&self, name: &str) -> Result<bool, RepositoryError> {
        let call = Call::new(Method::DELETE, self.source.location(&format!("manifests/{name}")));
        let Some(answer) = missing(self.source.call(&self.shared, call).await)? else {
            return Ok(false);
        };
        answer.body.skip().await;
        Ok(true)
    }

    /// The size of a blob that is there.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, RepositoryError> {
        Ok(blob::exists(&self.shared, &self.source, digest).await?)
    }

    /// Has the registry give this repository a blob of another one; whether it did.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn mount(&self, digest: &Digest, from: &str) -> Result<bool, RepositoryError> {
        Ok(blob::mount(&self.shared, &self.source, digest, from).await?)
    }

    /// A blob; `None` when it is not there.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn blob(&self, digest: &Digest) -> Result<Option<BlobStream>, RepositoryError> {
        let location = self.source.location(&format!("blobs/{digest}"));
        let name = location.to_string();
        let answer = missing(self.source.call(&self.shared, Call::get(location)).await)?;
        Ok(answer.map(|answer| BlobStream {
            size: length(&answer),
            body: answer.body,
            hasher: Some(Hasher::new()),
            digest: digest.clone(),
            name,
        }))
    }

    /// A blob from its `at`th byte on, whose digest is for the caller to compare. `None` when the registry does not give parts.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn blob_from(
        &self,
        digest: &Digest,
        at: u64,
    ) -> Result<Option<BlobStream>, RepositoryError> {
        let location = self.source.location(&format!("blobs/{digest}"));
        let name = location.to_string();
        let mut call = Call::get(location);
        if let Ok(range) = HeaderValue::try_from(format!("bytes={at}-")) {
            call.headers.insert(RANGE, range);
        }
        let Some(answer) = missing(self.source.call(&self.shared, call).await)? else {
            return Ok(None);
        };
        let part = answer.header(CONTENT_RANGE).unwrap_or_default();
        let from = part.trim().strip_prefix("bytes ").and_then(|part| part.split('-').next());
        if answer.status != StatusCode::PARTIAL_CONTENT
            || from.and_then(|from| from.parse().ok()) != Some(at)
        {
            return Ok(None);
        }
        let size = length(&answer);
        Ok(Some(BlobStream { body: answer.body, hasher: None, size, digest: digest.clone(), name }))
    }

    /// Sends a blob that is in memory.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<(), RepositoryError> {
        let digest = Digest::sha256_of(&bytes);
        let upload = Upload { shared: &self.shared, source: &self.source };
        Ok(upload.whole(bytes, &digest).await?)
    }

    /// Sends a blob as it comes; `None` from `next` is its end. The registry compares the digest.
    ///
    /// # Errors
    /// [`RepositoryError`], or what `next` fails with.
    pub async fn put_blob<E: From<RepositoryError>>(
        &self,
        digest: &Digest,
        mut next: impl AsyncFnMut() -> Result<Option<Bytes>, E>,
    ) -> Result<(), E> {
        let upload = Upload { shared: &self.shared, source: &self.source };
        let (sender, flow) = mpsc::channel(DEPTH);
        // It has the sender: the body ends when it does.
        let feed = async move {
            loop {
                let (piece, end) = match next().await {
                    Ok(Some(piece)) => (Ok(piece), None),
                    Ok(None) => return Ok(()),
                    // Without it the request would look whole.
                    Err(error) => (Err(Cut), Some(error)),
                };
                let left = sender.send(piece).await.is_err();
                match end {
                    Some(error) => return Err(error),
                    // The registry does not want more, and says why.
                    None if left => return Ok(()),
                    None => {}
                }
            }
        };
        let (fed, sent) = tokio::join!(feed, upload.flow(flow, digest));
        fed?;
        sent.map_err(|error| E::from(error.into()))
    }

    /// What is about a manifest: by the API of OCI 1.1, or by the tag that stands for it where a registry has none.
    ///
    /// # Errors
    /// [`RepositoryError`].
    pub async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>, RepositoryError> {
        let read = |json: &[u8]| {
            let index: Result<Index, _> = serde_json::from_slice(json);
            index.map(|index| index.manifests).map_err(|_| RepositoryError::Answer("referrers"))
        };
        let mut location = self.source.location(&format!("referrers/{digest}"));
        let mut all = Vec::new();
        for page in 0..MAX_PAGES {
            let call = Call::get(location.clone());
            let Some(answer) = missing(self.source.call(&self.shared, call).await)? else {
                let old = match page {
                    0 => self.manifest(&fallback_tag(digest)).await?,
                    _ => None,
                };
                return old.map_or(Ok(all), |manifest| read(&manifest.json));
            };
            let next = answer.header(LINK).and_then(next).and_then(|next| location.join(next));
            let broken = |fault| broken_off(&location, fault);
            let found = read(&answer.body.read(MAX_LIST).await.map_err(broken)?)?;
            let ends = found.is_empty();
            all.extend(found);
            match next.filter(|next| next.origin == location.origin && !ends) {
                Some(next) => location = next,
                None => break,
            }
        }
        Ok(all)
    }
}

/// The tag under which what is about a manifest is listed at a registry that has no referrers of its own.
pub fn fallback_tag(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// What cosign puts behind [`fallback_tag`] for what is about a manifest: signatures, attestations, lists of what is inside.
pub const COSIGN_SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];

impl BlobStream {
    /// How much it is, if the registry says so.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next piece; `None` at the end, when it is known to be the right one.
    ///
    /// # Errors
    /// It broke off, or is another one.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RepositoryError> {
        let broken = |fault| {
            let url = self.name.clone();
            RepositoryError::Request(RequestError { method: "Get", url, fault })
        };
        match self.body.next().await.map_err(broken)? {
            Some(piece) => {
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&piece);
                }
                Ok(Some(piece))
            }
            None => match self.hasher.take().map(Hasher::finish) {
                Some(found) if found != self.digest => {
                    Err(RepositoryError::Digest(self.digest.clone()))
                }
                _ => Ok(None),
            },
        }
    }
}

fn length(answer: &Answer) -> Option<u64> {
    answer.header(CONTENT_LENGTH).and_then(|text| text.trim().parse().ok())
}

/// What a registry says it has not, or never had.
fn missing<T>(answer: Result<T, SourceError>) -> Result<Option<T>, RepositoryError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(SourceError::Refused(refusal)) if refusal.status == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn broken_off(location: &crate::http::Location, fault: Fault) -> RepositoryError {
    RepositoryError::Request(RequestError::new("Get", location, fault))
}
