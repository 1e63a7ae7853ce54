//! `push`, and what a registry has under a name.

use std::sync::Arc;

use ferry_errkind::{ErrorKind, Failure};
use ferry_image::{Attestation, Entry};
use ferry_oci::{Descriptor, Digest, Manifest, Platform, Reference, media};
use ferry_transfer::{
    KeptManifest, KnownBlob, Packing, Progress, Push, PushLayer, Pushed, RawManifest, RegistryAuth,
    Wanted,
};
use tokio::sync::mpsc;

pub use ferry_transfer::Described as DistributionView;

use super::{
    PullProgress, bad_reference, event,
    index::{self, Part},
    save::descriptor,
};
use crate::{Engine, Shared};

/// What `push` is asked for.
#[derive(Debug, Clone, Default)]
pub struct PushRequest {
    /// The repository as the user wrote it.
    pub image: String,
    /// The tag; without one, all tags of the repository go.
    pub tag: Option<String>,
    /// The platform that the image must have.
    pub platform: Option<Platform>,
    /// Who asks.
    pub auth: Option<RegistryAuth>,
    /// How layers are compressed.
    pub packing: Packing,
}

/// One message about a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushProgress {
    /// As in a pull.
    Step(PullProgress),
    /// A tag is at the registry.
    Done {
        /// The tag.
        tag: String,
        /// The manifest's digest.
        digest: Digest,
        /// The manifest's size.
        size: u64,
    },
}

/// Sends an image, or all of a repository, to its registry.
///
/// # Errors
/// In Docker's words: no such tag, no access, no connection.
pub async fn push(
    engine: &Engine,
    request: PushRequest,
    progress: mpsc::Sender<PushProgress>,
) -> Result<(), Failure> {
    let shared = &engine.shared;
    let repository = Reference::parse(&request.image).map_err(bad_reference)?;
    let wanted = match request.tag.as_deref().filter(|tag| !tag.is_empty()) {
        Some(tag) => Some(repository.clone().with_tag(tag).map_err(bad_reference)?),
        None => repository.tag().map(|_| repository.clone()),
    };
    let images = chosen(shared, &repository, wanted.as_ref());
    let images = match (&request.platform, images) {
        (Some(platform), Ok(images)) => {
            let of_platform = |(reference, entry)| {
                let entry = of_platform(shared, platform, &reference, entry)?;
                Ok((reference, entry))
            };
            Ok(images.into_iter().map(of_platform).collect::<Result<Vec<_>, Failure>>()?)
        }
        (_, images) => images,
    };
    let status = format!("The push refers to repository [{}]", repository.familiar_name());
    progress.send(PushProgress::Step(PullProgress::status(status))).await.ok();
    for (reference, entry) in images? {
        let (auth, packing) = (request.auth.as_ref(), request.packing);
        let sending = Sending { shared, reference: &reference, auth, packing };
        let others = shared.images.variants(&reference.canonical());
        let all: Vec<_> = std::iter::once(Arc::clone(&entry)).chain(others).collect();
        let said: Vec<_> = all
            .iter()
            .map(|entry| shared.images.attestations(&entry.image.id))
            .collect::<Result<_, _>>()?;
        // Whoever asks for one platform gets its manifest and nothing around it, as from Docker.
        let whole =
            request.platform.is_none() && (all.len() > 1 || said.iter().any(|one| !one.is_empty()));
        let (digest, size) = match whole {
            true => sending.all(all.into_iter().zip(said).collect(), &progress).await?,
            false => {
                let pushed = sending.one(&entry, false, &progress).await?;
                (pushed.digest, pushed.size)
            }
        };
        sending.done(&entry, digest, size, &progress).await?;
    }
    Ok(())
}

/// What is here under a repository, or under one tag of it.
fn chosen(
    shared: &Shared,
    repository: &Reference,
    wanted: Option<&Reference>,
) -> Result<Vec<(Reference, Arc<Entry>)>, Failure> {
    let not_found = |words: String| Failure::new(ErrorKind::NotFound, words);
    let mut tags = super::save::tags_of(shared, repository);
    if tags.is_empty() {
        let name = repository.familiar_name();
        let words = format!("An image does not exist locally with the tag: {name}");
        return Err(not_found(words));
    }
    if let Some(wanted) = wanted {
        tags.retain(|(reference, _)| reference.tag() == wanted.tag());
        if tags.is_empty() {
            return Err(not_found(format!("tag does not exist: {}", wanted.familiar())));
        }
    }
    Ok(tags)
}

/// The image of a name that is for a platform.
fn of_platform(
    shared: &Shared,
    wanted: &Platform,
    reference: &Reference,
    entry: Arc<Entry>,
) -> Result<Arc<Entry>, Failure> {
    let others = shared.images.variants(&reference.canonical());
    let own = platform_of(&entry);
    let mut all = std::iter::once(entry).chain(others);
    if let Some(found) = all.find(|entry| platform_of(entry).fitness(wanted) > 0) {
        return Ok(found);
    }
    let name = reference.familiar();
    let words = format!(
        "image with reference {name} was found but its platform ({own}) does not match the specified platform ({wanted})"
    );
    Err(Failure::new(ErrorKind::NotFound, words))
}

fn platform_of(entry: &Entry) -> Platform {
    Platform {
        architecture: entry.config.architecture.clone(),
        os: entry.config.os.clone(),
        variant: entry.config.variant.clone(),
        ..Platform::default()
    }
    .normalized()
}

/// A name on its way to its registry.
struct Sending<'a> {
    shared: &'a Arc<Shared>,
    reference: &'a Reference,
    auth: Option<&'a RegistryAuth>,
    packing: Packing,
}

impl Sending<'_> {
    /// Sends an image; one `beside` others gets no tag.
    async fn one(
        &self,
        entry: &Arc<Entry>,
        beside: bool,
        progress: &mpsc::Sender<PushProgress>,
    ) -> Result<Pushed, Failure> {
        let Sending { shared, reference, auth, packing } = *self;
        let _lease = shared.lease(entry.layers());
        let sender = progress.clone();
        // As in a pull: a slow reader misses steps.
        let tell = move |message: Progress| {
            let Progress { id, status, current, total } = message;
            let step = PullProgress { id, status, current, total };
            drop(sender.try_send(PushProgress::Step(step)));
        };
        let layers = known(shared, reference, entry);
        let stored = entry.image.manifest.as_ref();
        let push = Push {
            reference,
            config_json: entry.image.config_json.as_bytes(),
            layers: &layers,
            manifest: stored.map(|stored| KeptManifest {
                media_type: &stored.descriptor.media_type,
                json: stored.json.as_bytes(),
            }),
            beside,
            auth,
            packing,
        };
        let pushed = shared.live().registries.push(&push, &shared.layers, &tell).await?;
        note(shared, reference, entry, &pushed).await?;
        Ok(pushed)
    }

    /// Sends images of several platforms and what is said of them, and an index of all that under the tag.
    async fn all(
        &self,
        images: Vec<(Arc<Entry>, Vec<Attestation>)>,
        progress: &mpsc::Sender<PushProgress>,
    ) -> Result<(Digest, u64), Failure> {
        let mut parts = Vec::new();
        for (entry, said) in &images {
            let Pushed { media_type, digest, size, .. } = self.one(entry, true, progress).await?;
            let manifest = descriptor(&media_type, digest, size);
            parts.push(Part { entry, manifest, said: said.clone() });
        }
        let documents = index::documents(parts, std::slice::from_ref(self.reference))?;
        let of_index = documents.described();
        let registries = &self.shared.live().registries;
        let opened = registries.repository(self.reference, self.auth, Wanted::Write(&[])).await;
        let repository = opened.map_err(Failure::of)?;
        for blob in documents.blobs {
            let digest = Digest::sha256_of(&blob);
            let there = repository.blob_size(&digest).await.map_err(Failure::of)?;
            if there != Some(blob.len() as u64) {
                repository.put_bytes(blob.into()).await.map_err(Failure::of)?;
            }
        }
        let statements = documents.manifests.into_iter().map(|json| (media::OCI_MANIFEST, json));
        for (media_type, json) in statements.chain([(media::OCI_INDEX, documents.index)]) {
            let digest = Digest::sha256_of(&json);
            let name = match media_type {
                media::OCI_INDEX => self.tag(),
                _ => digest.to_string(),
            };
            let manifest =
                RawManifest { media_type: media_type.to_owned(), json: json.into(), digest };
            repository.put_manifest(&name, &manifest).await.map_err(Failure::of)?;
        }
        Ok((of_index.digest, of_index.size))
    }

    fn tag(&self) -> String {
        self.reference.tag().unwrap_or("latest").to_owned()
    }

    /// Says that a tag is there, and remembers by which digest.
    async fn done(
        &self,
        entry: &Arc<Entry>,
        digest: Digest,
        size: u64,
        progress: &mpsc::Sender<PushProgress>,
    ) -> Result<(), Failure> {
        let tag = self.reference.tag().unwrap_or_default().to_owned();
        let (shared, id) = (Arc::clone(self.shared), entry.image.id.clone());
        let (name, by_digest) = (self.reference.canonical(), self.reference.clone().without_tag());
        let by_digest = by_digest.with_digest(digest.clone());
        crate::blocking(move || {
            // Somebody may have removed the image meanwhile: then it has no names. One that only stands beside the name gets none.
            if shared.images.get(&name).is_ok_and(|named| named.entry.image.id == id) {
                drop(shared.images.tag(&id.to_string(), &by_digest, shared.now()));
            }
            Ok(())
        })
        .await?;
        let status = format!("{tag}: digest: {digest} size: {size}");
        progress.send(PushProgress::Step(PullProgress::status(status))).await.ok();
        progress.send(PushProgress::Done { tag, digest, size }).await.ok();
        event(self.shared, "push", &entry.image.id, &self.reference.familiar());
        Ok(())
    }
}

/// The layers with every blob that they are known to be: those of the image's own manifest first.
fn known(shared: &Shared, reference: &Reference, entry: &Entry) -> Vec<PushLayer> {
    let manifest = entry.image.manifest.as_ref();
    let manifest: Option<Manifest> =
        manifest.and_then(|stored| serde_json::from_str(&stored.json).ok());
    let own = manifest.map(|manifest| manifest.layers).unwrap_or_default();
    let own = if own.len() == entry.layers().len() { own } else { Vec::new() };
    let mut layers = Vec::new();
    for (at, diff_id) in entry.layers().iter().enumerate() {
        let noted = shared.images.blobs(diff_id).unwrap_or_default();
        let mut known: Vec<KnownBlob> = noted
            .into_iter()
            .map(|blob| KnownBlob {
                descriptor: blob.descriptor,
                repository: at_registry(&blob.places, reference),
            })
            .collect();
        if let Some(blob) = own.get(at) {
            let (mut first, rest): (Vec<_>, Vec<_>) =
                known.into_iter().partition(|known| known.descriptor.digest == blob.digest);
            if first.is_empty() {
                first.push(KnownBlob { descriptor: blob.clone(), repository: None });
            }
            first.extend(rest);
            known = first;
        }
        layers.push(PushLayer { diff_id: diff_id.clone(), known });
    }
    layers
}

/// The latest other repository of the same registry.
fn at_registry(places: &[String], reference: &Reference) -> Option<String> {
    let paths = places.iter().filter_map(|place| {
        place.strip_prefix(reference.domain()).and_then(|rest| rest.strip_prefix('/'))
    });
    paths.filter(|path| *path != reference.path()).map(str::to_owned).next()
}

/// Remembers where the layers are now.
async fn note(
    shared: &Arc<Shared>,
    reference: &Reference,
    entry: &Arc<Entry>,
    pushed: &Pushed,
) -> Result<(), Failure> {
    let (shared, entry) = (Arc::clone(shared), Arc::clone(entry));
    let place = format!("{}/{}", reference.domain(), reference.path());
    let blobs: Vec<Descriptor> = pushed.layers.clone();
    crate::blocking(move || {
        shared.images.note_blobs(&place, entry.layers().iter().zip(blobs))?;
        Ok(())
    })
    .await
}

/// What a registry has under a name, and for which platforms.
///
/// # Errors
/// In Docker's words: no such image, no access, no connection.
pub async fn distribution(
    engine: &Engine,
    name: &str,
    auth: Option<RegistryAuth>,
) -> Result<DistributionView, Failure> {
    let reference = Reference::parse(name).map_err(bad_reference)?.with_default_tag();
    Ok(engine.shared.live().registries.describe(&reference, auth.as_ref()).await?)
}

/// The tags that a registry has of a repository.
///
/// # Errors
/// In the registry's words: no such repository, no access, no connection.
pub async fn remote_tags(
    engine: &Engine,
    name: &str,
    auth: Option<RegistryAuth>,
) -> Result<Vec<String>, Failure> {
    let reference = Reference::parse(name).map_err(bad_reference)?;
    Ok(engine.shared.live().registries.tags(&reference, auth.as_ref()).await?)
}

/// The repositories that a registry tells of.
///
/// # Errors
/// In the registry's words: many do not tell.
pub async fn remote_catalog(
    engine: &Engine,
    domain: &str,
    auth: Option<RegistryAuth>,
) -> Result<Vec<String>, Failure> {
    Ok(engine.shared.live().registries.catalog(domain, auth.as_ref()).await?)
}
