//! The images of a published project, beside it in its repository: `publish --app`. An index lists them, which says of itself that it is
//! about the project's manifest.

use std::{collections::BTreeSet, time::Duration};

use ferry_oci::{Descriptor, Digest, Reference};
use ferry_transfer::{RawManifest, Repository, RepositoryError, Wanted};
use serde_json::{Value, json};

use crate::{
    remote::{Manifest, PROJECT_TYPE, Registries, RemoteError, apart, client, tag},
    run::labels::COMPOSE_VERSION,
};

/// Nobody waits longer for all images of a project.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Manifests of one image: its platforms and what is attested of them.
const MAX_MANIFESTS: usize = 512;
/// Of one manifest.
const MAX_BLOBS: usize = 512;

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// A repository with one of the images.
struct Image<'a> {
    reference: &'a Reference,
    from: Repository,
    /// Its repository, if it is of the same registry.
    beside: Option<&'a str>,
}

impl Registries<'_> {
    /// Copies images into the repository of a project, and lists them there as the project's.
    pub(crate) fn push_images(
        &self,
        reference: &Reference,
        images: &BTreeSet<String>,
        project: &RawManifest,
    ) -> Result<(), RemoteError> {
        let auth = self.auth(reference)?;
        let mut sources = Vec::new();
        for image in images {
            let image = crate::remote::parse(image)?;
            let auth = self.auth(&image)?;
            sources.push((image, auth));
        }
        apart(reference, PATIENCE, async || {
            let client = client();
            let failed = |source| RemoteError::Push {
                reference: reference.familiar(),
                source: Box::new(source),
            };
            let beside = |image: &Reference| image.domain() == reference.domain();
            let others: Vec<&str> = sources
                .iter()
                .map(|(image, _)| image)
                .filter(|one| beside(one))
                .map(Reference::path)
                .collect();
            let wanted = Wanted::Write(&others);
            let to = client.repository(reference, auth.as_ref(), wanted).await.map_err(failed)?;
            let mut tops = Vec::new();
            for (image, auth) in &sources {
                let from = client.repository(image, auth.as_ref(), Wanted::Read).await;
                let from = from.map_err(|source| pull_error(image, source))?;
                let beside = beside(image).then(|| image.path());
                tops.push(Image { reference: image, from, beside }.copy(&to, reference).await?);
            }
            let index = index(&tops, project);
            let name = index.digest.to_string();
            to.put_manifest(&name, &index).await.map(drop).map_err(failed)
        })
    }
}

fn pull_error(image: &Reference, source: RepositoryError) -> RemoteError {
    RemoteError::Pull { reference: image.familiar(), source: Box::new(source) }
}

impl Image<'_> {
    fn missing(&self) -> RemoteError {
        RemoteError::Missing { reference: self.reference.familiar() }
    }

    async fn manifest(&self, name: &str) -> Result<(RawManifest, Manifest), RemoteError> {
        let found = self.from.manifest(name).await;
        let found = found.map_err(|source| pull_error(self.reference, source))?;
        let found = found.ok_or_else(|| self.missing())?;
        let read = serde_json::from_slice(&found.json).map_err(|source| RemoteError::Manifest {
            reference: self.reference.familiar(),
            source,
        })?;
        Ok((found, read))
    }

    /// Copies the image, what it is made of first; the descriptor of its manifest.
    async fn copy(&self, to: &Repository, target: &Reference) -> Result<Value, RemoteError> {
        let named = match self.reference.digest() {
            Some(digest) => digest.to_string(),
            None => tag(self.reference).to_owned(),
        };
        let (top, parts) = self.manifest(&named).await?;
        let too_many = || RemoteError::TooLarge { reference: self.reference.familiar() };
        if parts.manifests.len() > MAX_MANIFESTS {
            return Err(too_many());
        }
        let put = async |manifest: &RawManifest| {
            let sent = to.put_manifest(&manifest.digest.to_string(), manifest).await;
            sent.map(drop).map_err(|source| RemoteError::Push {
                reference: target.familiar(),
                source: Box::new(source),
            })
        };
        for child in &parts.manifests {
            let (child, parts) = self.manifest(&child.digest.to_string()).await?;
            self.blobs(to, target, &parts).await?;
            put(&child).await?;
        }
        self.blobs(to, target, &parts).await?;
        put(&top).await?;
        Ok(json!({
            "mediaType": top.media_type,
            "digest": top.digest.to_string(),
            "size": top.json.len(),
        }))
    }

    async fn blobs(
        &self,
        to: &Repository,
        target: &Reference,
        parts: &Manifest,
    ) -> Result<(), RemoteError> {
        if parts.layers.len() > MAX_BLOBS {
            return Err(RemoteError::TooLarge { reference: self.reference.familiar() });
        }
        let all = parts.config.iter().chain(&parts.layers);
        // What only its maker may hand out stays there.
        for blob in all.filter(|blob| blob.urls.is_empty()) {
            self.blob(to, target, blob).await?;
        }
        Ok(())
    }

    async fn blob(
        &self,
        to: &Repository,
        target: &Reference,
        blob: &Descriptor,
    ) -> Result<(), RemoteError> {
        let push =
            |source| RemoteError::Push { reference: target.familiar(), source: Box::new(source) };
        if to.blob_size(&blob.digest).await.map_err(push)?.is_some() {
            return Ok(());
        }
        if let Some(beside) = self.beside
            && to.mount(&blob.digest, beside).await.map_err(push)?
        {
            return Ok(());
        }
        let found = self.from.blob(&blob.digest).await;
        let found = found.map_err(|source| pull_error(self.reference, source))?;
        let mut stream = found.ok_or_else(|| self.missing())?;
        to.put_blob(&blob.digest, async || stream.next().await).await.map_err(push)
    }
}

/// The list of the images, which is about the project.
fn index(images: &[Value], project: &RawManifest) -> RawManifest {
    let version = json!({"com.docker.compose.version": COMPOSE_VERSION});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": images,
        "subject": {
            "mediaType": project.media_type,
            "digest": project.digest.to_string(),
            "size": project.json.len(),
            "annotations": version,
            "artifactType": PROJECT_TYPE,
        },
        "annotations": version,
    });
    let json = bytes::Bytes::from(index.to_string());
    let digest = Digest::sha256_of(&json);
    RawManifest { media_type: INDEX_TYPE.to_owned(), json, digest }
}
