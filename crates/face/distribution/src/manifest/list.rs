//! What a registry has of a list, and how one is pushed.

use bytes::Bytes;
use ferry_cli::{
    face::{Cli, CliError},
    flags::Matches,
};
use ferry_oci::{Descriptor, Digest, Document, Manifest, Platform, Reference, media};
use ferry_transfer::{Client, RawManifest, RegistryAuth, Repository, RepositoryError, Wanted};
use serde_json::{Value, json};

use super::store::Kept;
use crate::registry::{self, failed, wanted};

/// Largest configuration that is read.
const MAX_CONFIG: usize = 8 << 20;

/// A name at its registry.
#[derive(Debug)]
pub(super) struct Remote {
    client: Client,
    auth: Option<RegistryAuth>,
    name: Reference,
}

/// The document that a list is pushed as, in docker's order of fields. It is of the kind that its first manifest is.
pub(super) fn index_of(list: &[Kept]) -> Value {
    let oci = list.first().is_some_and(|kept| kept.descriptor.media_type == media::OCI_MANIFEST);
    let manifests: Vec<Value> = list
        .iter()
        .map(|kept| {
            let Descriptor { media_type, digest, size, platform, .. } = &kept.descriptor;
            let platform = platform.clone().unwrap_or_default();
            json!({ "mediaType": media_type, "size": size, "digest": digest, "platform": platform })
        })
        .collect();
    let media_type = if oci { media::OCI_INDEX } else { media::DOCKER_INDEX };
    json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests })
}

impl Remote {
    pub(super) fn new(cli: &Cli, matches: &Matches, name: &Reference) -> Result<Remote, CliError> {
        let insecure: &[&Reference] = if matches.flag("insecure") { &[name] } else { &[] };
        let (client, auth) = (registry::client(insecure), registry::auth(cli, name)?);
        Ok(Remote { client, auth, name: name.clone() })
    }

    async fn open(&self, wanted: Wanted<'_>) -> Result<Repository, CliError> {
        let opened = registry::open(&self.client, self.auth.as_ref(), &self.name, wanted).await;
        opened.map_err(|error| failed(&error))
    }

    /// The image of that name; `None` when there is none, or when it is a list.
    pub(super) async fn manifest(&self) -> Result<Option<Kept>, CliError> {
        let repository = self.open(Wanted::Read).await?;
        let found =
            repository.manifest(&wanted(&self.name)).await.map_err(|error| failed(&error))?;
        let Some(found) = found else { return Ok(None) };
        match self.document(&found)? {
            Document::Manifest(manifest) => {
                let platform = platform_of(&repository, &manifest).await?;
                Ok(Some(kept(&self.name, &found, &manifest, Some(platform))))
            }
            Document::Index(_) => Ok(None),
        }
    }

    /// The manifests of the list of that name.
    pub(super) async fn list(&self) -> Result<Option<Vec<Kept>>, CliError> {
        let repository = self.open(Wanted::Read).await?;
        let found =
            repository.manifest(&wanted(&self.name)).await.map_err(|error| failed(&error))?;
        let Some(found) = found else { return Ok(None) };
        let Document::Index(index) = self.document(&found)? else { return Ok(None) };
        let mut list = Vec::new();
        for entry in index.manifests {
            let digest = entry.digest.to_string();
            let found = repository.manifest(&digest).await.map_err(|error| failed(&error))?;
            let found =
                found.ok_or_else(|| CliError::new(format!("no such manifest: {digest}")))?;
            let Document::Manifest(manifest) = self.document(&found)? else {
                return Err(CliError::new(format!("{digest} is a list in a list")));
            };
            let name = format!("{}@{digest}", tagged(&self.name));
            list.push(Kept { name, ..kept(&self.name, &found, &manifest, entry.platform) });
        }
        Ok(Some(list))
    }

    fn document(&self, found: &RawManifest) -> Result<Document, CliError> {
        let parsed = Document::parse(&found.json, &found.media_type);
        parsed.map_err(|error| CliError::new(format!("{}: {error}", self.name.canonical())))
    }

    /// Pushes a list, and before it the manifests that are in other repositories of the registry.
    pub(super) async fn push(
        &self,
        cli: &Cli,
        list: &[Kept],
        text: Bytes,
    ) -> Result<Digest, CliError> {
        let mut others = Vec::new();
        for kept in list {
            let from = kept.reference()?;
            if from.path() != self.name.path() {
                others.push((kept, from));
            }
        }
        let paths: Vec<&str> = others.iter().map(|(_, from)| from.path()).collect();
        let target = self.open(Wanted::Write(&paths)).await?;
        for (kept, from) in &others {
            self.bring(&target, kept, from).await?;
            let name = self.name.clone().with_digest(kept.descriptor.digest.clone()).canonical();
            let digest = &kept.descriptor.digest;
            cli.println(&format!("Pushed ref {name} with digest: {digest}"))?;
        }
        let digest = Digest::sha256_of(&text);
        let value: Value = serde_json::from_slice(&text).unwrap_or_default();
        let media_type = value["mediaType"].as_str().unwrap_or(media::DOCKER_INDEX).to_owned();
        let list = RawManifest { media_type, json: text, digest: digest.clone() };
        let name = wanted(&self.name);
        target.put_manifest(&name, &list).await.map_err(|error| failed(&error))?;
        Ok(digest)
    }

    /// Has a manifest of another repository in this one: its blobs are mounted, or copied where the registry does not do that.
    async fn bring(
        &self,
        target: &Repository,
        kept: &Kept,
        from: &Reference,
    ) -> Result<(), CliError> {
        let done = async {
            let mut source = None;
            for blob in kept.blobs().map_err(Broken::Cli)? {
                if !blob.urls.is_empty() || target.mount(&blob.digest, from.path()).await? {
                    continue;
                }
                if source.is_none() {
                    let opened =
                        registry::open(&self.client, self.auth.as_ref(), from, Wanted::Read);
                    source = Some(opened.await?);
                }
                let stream = match &source {
                    Some(source) => source.blob(&blob.digest).await?,
                    None => None,
                };
                let Some(mut stream) = stream else {
                    let words = format!("{} has no blob {}", from.canonical(), blob.digest);
                    return Err(Broken::Cli(CliError::new(words)));
                };
                let next = async || stream.next().await.map_err(Broken::from);
                target.put_blob(&blob.digest, next).await?;
            }
            let Descriptor { media_type, digest, .. } = kept.descriptor.clone();
            let json = kept.json().map_err(Broken::Cli)?;
            let name = digest.to_string();
            target.put_manifest(&name, &RawManifest { media_type, json, digest }).await?;
            Ok(())
        };
        done.await.map_err(|error: Broken| match error {
            Broken::Cli(error) => error,
            Broken::Registry(error) => failed(&error),
        })
    }
}

/// Something went wrong here, or at a registry.
enum Broken {
    Cli(CliError),
    Registry(RepositoryError),
}

impl From<RepositoryError> for Broken {
    fn from(error: RepositoryError) -> Broken {
        Broken::Registry(error)
    }
}

fn kept(
    name: &Reference,
    found: &RawManifest,
    manifest: &Manifest,
    platform: Option<Platform>,
) -> Kept {
    let own = Some(&manifest.media_type).filter(|own| !own.is_empty());
    let descriptor = Descriptor {
        media_type: own.unwrap_or(&found.media_type).clone(),
        digest: found.digest.clone(),
        size: found.json.len() as u64,
        urls: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
        platform,
        artifact_type: None,
    };
    Kept::new(name, descriptor, &found.json)
}

/// What an image runs on, as its configuration says.
async fn platform_of(repository: &Repository, manifest: &Manifest) -> Result<Platform, CliError> {
    let digest = &manifest.config.digest;
    let missing = || CliError::new(format!("the image's configuration {digest} is not there"));
    let stream = repository.blob(digest).await.map_err(|error| failed(&error))?;
    let mut stream = stream.ok_or_else(missing)?;
    let mut json = Vec::new();
    while let Some(piece) = stream.next().await.map_err(|error| failed(&error))? {
        if json.len() + piece.len() > MAX_CONFIG {
            return Err(CliError::new(format!("the image's configuration {digest} is too large")));
        }
        json.extend_from_slice(&piece);
    }
    serde_json::from_slice(&json)
        .map_err(|error| CliError::new(format!("the image's configuration does not read: {error}")))
}

/// The name without its digest.
fn tagged(name: &Reference) -> String {
    let text = name.canonical();
    text.split('@').next().unwrap_or(&text).to_owned()
}
