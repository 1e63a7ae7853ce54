//! What a registry has under a name: the manifest's descriptor and the platforms behind it. Nothing is fetched but documents.

use ferry_oci::{Descriptor, Digest, Document, ImageConfig, Platform, Reference};

use crate::{
    auth::RegistryAuth,
    client::Client,
    error::PullError,
    resolve::{Resolver, descriptor_of},
    source::SourceError,
};

/// An image at a registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// What the name leads to: an index if there is one, else a manifest.
    pub descriptor: Descriptor,
    /// What it runs on.
    pub platforms: Vec<Platform>,
}

impl Client {
    /// Looks a name up.
    ///
    /// # Errors
    /// [`PullError`], in the registry's own words.
    pub async fn describe(
        &self,
        reference: &Reference,
        auth: Option<&RegistryAuth>,
    ) -> Result<Described, PullError> {
        let shared = &*self.shared;
        let sources = shared.sources(reference, auth).await?;
        let tell = |_| {};
        let resolver =
            Resolver { shared, sources: &sources, reference, platform: None, tell: &tell };
        let named = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let fetched = resolver.manifest(&named, reference.digest(), 0).await.map_err(plain)?;
        let digest = Digest::sha256_of(&fetched.bytes);
        match resolver.parse(&fetched)? {
            Document::Index(index) => {
                let descriptor = descriptor_of(&fetched, &index.media_type, digest);
                let listed = index.manifests.into_iter().filter_map(|image| image.platform);
                Ok(Described { descriptor, platforms: listed.collect() })
            }
            Document::Manifest(manifest) => {
                let descriptor = descriptor_of(&fetched, &manifest.media_type, digest);
                let (_, json) = resolver.config(&manifest.config, fetched.from).await?;
                let platforms = ImageConfig::parse(&json).ok().map(|config| Platform {
                    architecture: config.architecture,
                    os: config.os,
                    variant: config.variant,
                    ..Platform::default()
                });
                Ok(Described { descriptor, platforms: platforms.into_iter().collect() })
            }
        }
    }
}

/// Docker adds words of its own to a pull only.
fn plain(error: PullError) -> PullError {
    match error {
        PullError::Denied { refusal, .. }
        | PullError::UnknownManifest { refusal, .. }
        | PullError::UnknownRepository { refusal, .. } => {
            PullError::Source(SourceError::Refused(refusal))
        }
        other => other,
    }
}
