//! From a name to a manifest and a configuration.

use std::time::Duration;

use bytes::Bytes;
use ferry_oci::{
    Descriptor, Digest, Document, ImageConfig, MAX_MANIFEST, Manifest, Platform, Reference, media,
};
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE},
};

use crate::{
    client::Shared,
    error::PullError,
    http::{Fault, Location, RequestError},
    progress::{Progress, Tell},
    source::{Source, SourceError},
};

/// Largest configuration that is read.
const MAX_CONFIG: u64 = 8 << 20;
/// Attempts for a document: people wait for the first sign of life.
const ATTEMPTS: u32 = 3;
/// What overlayfs takes, and so Docker.
const MAX_LAYERS: usize = 127;

/// An image that was found, before its layers.
#[derive(Debug)]
pub(crate) struct Found {
    /// The first source that works; those before it do not.
    pub(crate) from: usize,
    /// What the name leads to: the index if there is one.
    pub(crate) digest: Digest,
    pub(crate) descriptor: Descriptor,
    pub(crate) json: Bytes,
    pub(crate) manifest: Manifest,
    pub(crate) config_json: Bytes,
    pub(crate) config: ImageConfig,
}

/// A document as it came.
pub(crate) struct Fetched {
    pub(crate) from: usize,
    pub(crate) media_type: String,
    pub(crate) bytes: Bytes,
}

/// The manifest of one image.
struct Chosen {
    from: usize,
    descriptor: Descriptor,
    json: Bytes,
    manifest: Manifest,
    /// An index said what it runs on.
    listed: bool,
}

/// Looks an image up.
pub(crate) struct Resolver<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) sources: &'a [Source],
    pub(crate) reference: &'a Reference,
    pub(crate) platform: Option<&'a Platform>,
    pub(crate) tell: Tell<'a>,
}

impl Resolver<'_> {
    /// The image for the platform that is asked for, or for this machine.
    pub(crate) async fn resolve(&self) -> Result<Found, PullError> {
        let named = match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let fetched = self.manifest(&named, self.reference.digest(), 0).await?;
        (self.tell)(Progress {
            id: Some(named),
            status: format!("Pulling from {}", self.reference.path()),
            ..Progress::default()
        });
        let digest = Digest::sha256_of(&fetched.bytes);
        let Chosen { from, descriptor, json, manifest, listed } =
            self.choose(fetched, digest.clone()).await?;
        check(&manifest)?;
        let (from, config_json) = self.config(&manifest.config, from).await?;
        let config = ImageConfig::parse(&config_json).map_err(PullError::ParseConfig)?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(PullError::RootFs);
        }
        if !config.os.is_empty() && config.os != "linux" {
            return Err(PullError::OperatingSystem(config.os));
        }
        if !listed {
            self.warn_of_platform(&config);
        }
        Ok(Found { from, digest, descriptor, json, manifest, config_json, config })
    }

    /// The image itself, or the one of an index that fits.
    async fn choose(&self, fetched: Fetched, digest: Digest) -> Result<Chosen, PullError> {
        let index = match self.parse(&fetched)? {
            Document::Index(index) => index,
            Document::Manifest(manifest) => {
                let descriptor = descriptor_of(&fetched, &manifest.media_type, digest);
                let Fetched { from, bytes: json, .. } = fetched;
                return Ok(Chosen { from, descriptor, json, manifest, listed: false });
            }
        };
        let wanted = self.platform.cloned().unwrap_or_else(Platform::host);
        let Some(best) = index.best(&wanted).cloned() else {
            let (wanted, available) = (wanted.to_string(), index.platforms());
            return Err(PullError::NoPlatform { wanted, available });
        };
        let named = best.digest.to_string();
        let fetched = self.manifest(&named, Some(&best.digest), fetched.from).await?;
        match self.parse(&fetched)? {
            Document::Manifest(manifest) => {
                let Fetched { from, bytes: json, .. } = fetched;
                Ok(Chosen { from, descriptor: best, json, manifest, listed: true })
            }
            Document::Index(_) => Err(PullError::Nested(self.reference.familiar())),
        }
    }

    pub(crate) fn parse(&self, fetched: &Fetched) -> Result<Document, PullError> {
        let parsed = Document::parse(&fetched.bytes, &fetched.media_type);
        parsed
            .map_err(|source| PullError::Manifest { reference: self.reference.familiar(), source })
    }

    /// An image without an index says in its configuration what it runs on. Docker warns and goes on.
    fn warn_of_platform(&self, config: &ImageConfig) {
        let Some(wanted) = self.platform else { return };
        let own = Platform {
            architecture: config.architecture.clone(),
            os: config.os.clone(),
            variant: config.variant.clone(),
            ..Platform::default()
        }
        .normalized();
        if own.fitness(wanted) == 0 {
            let name = self.reference.familiar();
            let status = format!(
                "WARNING: image with reference {name} was found but its platform ({own}) does not match the specified platform ({wanted})"
            );
            (self.tell)(Progress { status, ..Progress::default() });
        }
    }

    pub(crate) async fn manifest(
        &self,
        named: &str,
        expected: Option<&Digest>,
        from: usize,
    ) -> Result<Fetched, PullError> {
        let mut headers = HeaderMap::new();
        for kind in
            [media::OCI_INDEX, media::DOCKER_INDEX, media::OCI_MANIFEST, media::DOCKER_MANIFEST]
        {
            headers.append(ACCEPT, HeaderValue::from_static(kind));
        }
        let path = format!("manifests/{named}");
        let fetch = Fetch { path: &path, headers, limit: MAX_MANIFEST, expected };
        match fetch.run(self.shared, self.sources, from).await {
            Ok(fetched) => Ok(fetched),
            Err(Failed::Source(error)) => Err(self.in_dockers_words(error)),
            Err(Failed::Digest(digest)) => Err(PullError::ManifestDigest(digest)),
        }
    }

    /// Any small document of the repository.
    pub(crate) async fn document(&self, path: &str, from: usize) -> Result<Bytes, PullError> {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, HeaderValue::from_static(media::OCI_INDEX));
        let fetch = Fetch { path, headers, limit: MAX_MANIFEST, expected: None };
        match fetch.run(self.shared, self.sources, from).await {
            Ok(fetched) => Ok(fetched.bytes),
            Err(Failed::Source(error)) => Err(PullError::Source(error)),
            Err(Failed::Digest(digest)) => Err(PullError::ManifestDigest(digest)),
        }
    }

    pub(crate) async fn config(
        &self,
        config: &Descriptor,
        from: usize,
    ) -> Result<(usize, Bytes), PullError> {
        let digest = &config.digest;
        let path = format!("blobs/{digest}");
        let limit = usize::try_from(config.size.min(MAX_CONFIG)).unwrap_or(0);
        let fetch = Fetch { path: &path, headers: HeaderMap::new(), limit, expected: Some(digest) };
        match fetch.run(self.shared, self.sources, from).await {
            Ok(fetched) => Ok((fetched.from, fetched.bytes)),
            Err(Failed::Source(error)) => Err(PullError::Config(error)),
            Err(Failed::Digest(digest)) => Err(PullError::ConfigDigest(digest)),
        }
    }

    fn in_dockers_words(&self, error: SourceError) -> PullError {
        let SourceError::Refused(refusal) = error else { return error.into() };
        let repository = self.reference.clone().without_tag_and_digest().familiar();
        if refusal.is("DENIED") {
            return PullError::Denied { repository, refusal };
        }
        if refusal.is("NAME_UNKNOWN") {
            return PullError::UnknownRepository { repository, refusal };
        }
        if refusal.is("MANIFEST_UNKNOWN") || refusal.status == 404 {
            let mut refusal = refusal;
            if refusal.code.is_empty() {
                "MANIFEST_UNKNOWN".clone_into(&mut refusal.code);
                "manifest unknown".clone_into(&mut refusal.message);
            }
            let reference = self.reference.familiar();
            return PullError::UnknownManifest { reference, refusal };
        }
        SourceError::Refused(refusal).into()
    }
}

/// Refuses what is no container image.
fn check(manifest: &Manifest) -> Result<(), PullError> {
    let kind = manifest.config.media_type.as_str();
    // Old registries and tools say octet-stream where they mean a configuration, and Docker lets them.
    if !matches!(kind, media::OCI_CONFIG | media::DOCKER_CONFIG | "" | "application/octet-stream") {
        return Err(PullError::MediaType(kind.to_owned()));
    }
    if manifest.layers.len() > MAX_LAYERS {
        return Err(PullError::TooManyLayers(manifest.layers.len()));
    }
    Ok(())
}

/// `own` is what a document says of itself.
pub(crate) fn descriptor_of(fetched: &Fetched, own: &str, digest: Digest) -> Descriptor {
    let own = Some(own).filter(|own| !own.is_empty());
    let media_type = own.unwrap_or(&fetched.media_type).to_owned();
    Descriptor {
        media_type,
        digest,
        size: fetched.bytes.len() as u64,
        urls: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
        platform: None,
        artifact_type: None,
    }
}

/// A document to fetch whole.
struct Fetch<'a> {
    path: &'a str,
    headers: HeaderMap,
    limit: usize,
    expected: Option<&'a Digest>,
}

enum Failed {
    Source(SourceError),
    Digest(Digest),
}

impl Fetch<'_> {
    /// Tries one source after the other, from the first that may work.
    async fn run(
        &self,
        shared: &Shared,
        sources: &[Source],
        from: usize,
    ) -> Result<Fetched, Failed> {
        let mut at = from;
        let mut attempt = 1;
        loop {
            let Some(source) = sources.get(at) else { return Err(nowhere()) };
            let failed = match self.once(shared, source, at).await {
                Ok(fetched) => return Ok(fetched),
                Err(failed) => failed,
            };
            let (unreachable, passing, after) = match &failed {
                Failed::Source(error) => {
                    let after = error.refusal().and_then(|refusal| refusal.retry_after);
                    (error.is_unreachable(), error.is_passing(), after)
                }
                Failed::Digest(_) => (false, false, None),
            };
            let more = at + 1 < sources.len();
            if more && (source.mirror || unreachable) {
                tracing::debug!(source = source.name(), "trying the next source of an image");
                at += 1;
                continue;
            }
            // Who is asked to wait for minutes wants to know why.
            let pause = after.unwrap_or(shared.tuning.pause * attempt);
            let waits =
                passing && !unreachable && pause <= shared.tuning.longest_pause.min(PATIENCE);
            if !waits || attempt == ATTEMPTS {
                return Err(failed);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn once(&self, shared: &Shared, source: &Source, from: usize) -> Result<Fetched, Failed> {
        let answer = source.get(shared, self.path, &self.headers).await.map_err(Failed::Source)?;
        let media_type = answer.header(CONTENT_TYPE).unwrap_or_default().to_owned();
        let origin = answer.origin.clone();
        let bytes = answer.body.read(self.limit).await;
        let bytes = bytes.map_err(|fault| Failed::Source(body_error(&origin, self.path, fault)))?;
        match self.expected {
            Some(expected) if Digest::sha256_of(&bytes) != *expected => {
                Err(Failed::Digest(expected.clone()))
            }
            _ => Ok(Fetched { from, media_type, bytes }),
        }
    }
}

/// How long the first sign of life may be put off because a registry asks for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// There is always a source: the registry itself comes last.
fn nowhere() -> Failed {
    let fault = Fault::Lookup { host: String::new() };
    let error = RequestError { method: "Get", url: String::new(), fault };
    Failed::Source(SourceError::Request(error))
}

/// Where a request for a blob or manifest went, for an error.
pub(crate) fn body_error(origin: &crate::http::Origin, path: &str, fault: Fault) -> SourceError {
    let location: Location = origin.at(format!("/v2/{path}"));
    SourceError::Request(RequestError::new("Get", &location, fault))
}
