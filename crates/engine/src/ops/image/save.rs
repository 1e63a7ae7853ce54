//! `save`: images as one tar, a docker-archive and an OCI layout at the same time, as Docker writes it since 25.
//!
//! The same images give the same bytes: layers come back exactly as they were read, members are sorted by what needs them,
//! and no clock is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use ferry_archive::{Entry as TarEntry, Kind, Mtime, TarWriter, compress::Compression};
use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Entry;
use ferry_oci::{Descriptor, Digest, Index, Manifest, Reference, media};
use ferry_stdx::time::Timestamp;
use ferry_transfer::Packing;
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    event,
    index::{self, Part},
    packing::{self, Packed},
};
use crate::{Engine, Shared, bridge};

/// An image to be saved and the names that go with it.
struct Saved {
    entry: Arc<Entry>,
    names: Vec<Reference>,
    /// The same for other platforms.
    others: Vec<Arc<Entry>>,
}

impl Saved {
    /// Every image, the one with the names first.
    fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        std::iter::once(&self.entry).chain(&self.others)
    }
}

/// Writes images into a tar. The pieces end with an error when it is not whole.
///
/// # Errors
/// One of the names means no image.
pub async fn save(
    engine: &Engine,
    names: &[String],
) -> Result<mpsc::Receiver<Result<Bytes, Failure>>, Failure> {
    save_packed(engine, names, Packing::default()).await
}

/// The same, with layers that are compressed.
///
/// # Errors
/// As for [`save`].
pub async fn save_packed(
    engine: &Engine,
    names: &[String],
    packing: Packing,
) -> Result<mpsc::Receiver<Result<Bytes, Failure>>, Failure> {
    let shared = engine.shared.clone();
    let images = choose(&shared, names)?;
    Ok(written(shared, images, packing))
}

/// One image with names that it need not have here.
pub(super) fn save_images(
    engine: &Engine,
    entry: Arc<Entry>,
    names: Vec<Reference>,
    others: Vec<Arc<Entry>>,
    packing: Packing,
) -> mpsc::Receiver<Result<Bytes, Failure>> {
    written(engine.shared.clone(), vec![Saved { entry, names, others }], packing)
}

fn written(
    shared: Arc<Shared>,
    images: Vec<Saved>,
    packing: Packing,
) -> mpsc::Receiver<Result<Bytes, Failure>> {
    let (mut writer, pieces) = bridge::pipe();
    tokio::task::spawn_blocking(move || {
        let layers: Vec<Digest> = images
            .iter()
            .flat_map(Saved::all)
            .flat_map(|entry| entry.layers().iter().cloned())
            .collect();
        let _lease = shared.lease(&layers);
        match write(&shared, &images, packing, &mut writer) {
            Ok(()) => {}
            // The client has left; there is nobody to tell.
            Err(failure) => writer.fail(failure),
        }
        for image in &images {
            let id = &image.entry.image.id;
            event(&shared, "save", id, &id.to_string());
        }
    });
    pieces
}

/// Docker's rule: a name with a tag saves that name, a name without saves all tags of the repository, an id saves no name.
fn choose(shared: &Shared, names: &[String]) -> Result<Vec<Saved>, Failure> {
    let mut images: Vec<Saved> = Vec::new();
    for name in names {
        let parsed = Reference::parse(name).ok();
        let bare = parsed.as_ref().filter(|name| name.tag().is_none() && name.digest().is_none());
        let tags = bare.map(|name| tags_of(shared, name)).unwrap_or_default();
        if tags.is_empty() {
            let named = shared.images.get(name)?;
            let is_tag = |reference: &Reference| named.tags.contains(&reference.familiar());
            let reference = parsed.filter(|name| name.tag().is_some()).filter(is_tag);
            add(shared, &mut images, named.entry, reference);
        }
        for (reference, entry) in tags {
            add(shared, &mut images, entry, Some(reference));
        }
    }
    Ok(images)
}

pub(super) fn tags_of(shared: &Shared, repository: &Reference) -> Vec<(Reference, Arc<Entry>)> {
    let mut tags = Vec::new();
    for named in shared.images.list() {
        for tag in &named.tags {
            let Ok(reference) = Reference::parse(tag) else { continue };
            if reference.familiar_name() == repository.familiar_name() {
                tags.push((reference, Arc::clone(&named.entry)));
            }
        }
    }
    tags.sort_by_key(|(reference, _)| reference.familiar());
    tags
}

fn add(shared: &Shared, images: &mut Vec<Saved>, entry: Arc<Entry>, name: Option<Reference>) {
    let id = &entry.image.id;
    let key = name.as_ref().map_or_else(|| id.to_string(), Reference::canonical);
    let others = shared.images.variants(&key);
    let ids = |all: &[Arc<Entry>]| -> Vec<Digest> {
        all.iter().map(|entry| entry.image.id.clone()).collect()
    };
    let wanted = ids(&others);
    let same = |saved: &&mut Saved| saved.entry.image.id == *id && ids(&saved.others) == wanted;
    match images.iter_mut().find(same) {
        Some(saved) => saved.names.extend(name),
        None => images.push(Saved { entry, names: name.into_iter().collect(), others }),
    }
}

fn write(
    shared: &Shared,
    images: &[Saved],
    packing: Packing,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let broken = |error: io::Error| {
        Failure::new(ErrorKind::Internal, format!("cannot write the archive: {error}"))
    };
    let tar = TarWriter::new(out);
    let compression = packing.compression.filter(|one| *one != Compression::Plain);
    let mut archive =
        Archive { tar, compression, written: BTreeSet::new(), layers: BTreeMap::new() };
    let mut index = Vec::new();
    let mut items = Vec::new();
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    archive.directory("blobs/").map_err(broken)?;
    archive.directory("blobs/sha256/").map_err(broken)?;
    for image in images {
        let manifest = archive.image(shared, image).map_err(|error| {
            let id = &image.entry.image.id;
            error.context(format!("image {id}"))
        })?;
        index.extend(described(&manifest, &image.names));
        items.push(archive.item(image));
        for name in &image.names {
            let top = image.entry.layers().last().map(Digest::hex).unwrap_or_default();
            let tag = name.tag().unwrap_or_default().to_owned();
            repositories.entry(name.familiar_name()).or_default().insert(tag, top);
        }
    }
    let index = Index {
        schema_version: 2,
        media_type: media::OCI_INDEX.to_owned(),
        manifests: index,
        annotations: BTreeMap::new(),
    };
    archive.document("index.json", &json(&index)?).map_err(broken)?;
    archive.document("manifest.json", &json(&items)?).map_err(broken)?;
    archive.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(broken)?;
    if !repositories.is_empty() {
        archive.document("repositories", &json(&repositories)?).map_err(broken)?;
    }
    archive.tar.finish().and_then(|out| out.flush()).map_err(broken)
}

/// A manifest in the index: once for each name.
fn described(manifest: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![manifest.clone()];
    }
    let named = |name: &Reference| {
        let annotations = BTreeMap::from([
            ("io.containerd.image.name".to_owned(), name.canonical()),
            (
                "org.opencontainers.image.ref.name".to_owned(),
                name.tag().unwrap_or_default().to_owned(),
            ),
        ]);
        Descriptor { annotations, ..manifest.clone() }
    };
    names.iter().map(named).collect()
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

struct Archive<W> {
    tar: TarWriter<W>,
    /// How layers are compressed.
    compression: Option<Compression>,
    /// What layers are in the archive.
    layers: BTreeMap<Digest, Descriptor>,
    /// Several images may share blobs.
    written: BTreeSet<Digest>,
}

impl<W: Write> Archive<W> {
    /// An image's line in `manifest.json`.
    fn item(&self, image: &Saved) -> serde_json::Value {
        let tags: Vec<String> = image.names.iter().map(Reference::familiar).collect();
        let layers = image.entry.layers().iter();
        let layers = layers.filter_map(|layer| Some(blob(&self.layers.get(layer)?.digest)));
        let layers: Vec<String> = layers.collect();
        json!({
            "Config": blob(&image.entry.image.id),
            "RepoTags": if tags.is_empty() { serde_json::Value::Null } else { json!(tags) },
            "Layers": layers,
        })
    }

    /// Writes an image, and those of other platforms; answers what describes it: its manifest, or an index where there is more to say.
    fn image(&mut self, shared: &Shared, image: &Saved) -> Result<Descriptor, Failure> {
        let mut parts = Vec::new();
        for entry in image.all() {
            let manifest = self.part(shared, entry)?;
            let said = shared.images.attestations(&entry.image.id).map_err(Failure::from)?;
            parts.push(Part { entry, manifest, said });
        }
        if let [only] = parts.as_slice()
            && only.said.is_empty()
        {
            return Ok(only.manifest.clone());
        }
        let documents = index::documents(parts, &image.names)?;
        let all = documents.blobs.iter().chain(&documents.manifests).chain([&documents.index]);
        for document in all {
            let digest = Digest::sha256_of(document);
            let size = document.len() as u64;
            self.blob(&digest, size, Mtime::default(), document.as_slice()).map_err(broken)?;
        }
        Ok(documents.described())
    }

    /// Writes the blobs of an image; answers its manifest. Layers are not as they came, so it is not the one it came with.
    fn part(&mut self, shared: &Shared, entry: &Entry) -> Result<Descriptor, Failure> {
        let created = entry.config.created.as_deref().and_then(Timestamp::parse_rfc3339);
        let mtime = mtime(created.unwrap_or_default());
        let mut layers = Vec::new();
        for diff_id in entry.layers() {
            layers.push(self.layer(shared, diff_id, mtime)?);
        }
        let config_json = entry.image.config_json.as_bytes();
        let id = &entry.image.id;
        self.blob(id, config_json.len() as u64, mtime, config_json).map_err(broken)?;
        let (described, manifest) = manifest(entry, layers)?;
        let Descriptor { digest, size, .. } = &described;
        self.blob(digest, *size, Mtime::default(), manifest.as_slice()).map_err(broken)?;
        Ok(described)
    }

    fn layer(
        &mut self,
        shared: &Shared,
        diff_id: &Digest,
        mtime: Mtime,
    ) -> Result<Descriptor, Failure> {
        if let Some(known) = self.layers.get(diff_id) {
            return Ok(known.clone());
        }
        let tar = shared.layers.tar(diff_id).map_err(Failure::of)?;
        let made = match self.compression {
            None => {
                let length = tar.length();
                self.blob(diff_id, length, mtime, tar).map_err(broken)?;
                packing::plain(diff_id, length)
            }
            Some(compression) => {
                let packed = packing::pack(tar, compression, &shared.config.data_root);
                let Packed { descriptor, file } = packed.map_err(broken)?;
                self.blob(&descriptor.digest, descriptor.size, mtime, file).map_err(broken)?;
                descriptor
            }
        };
        self.layers.insert(diff_id.clone(), made.clone());
        Ok(made)
    }

    fn blob(
        &mut self,
        digest: &Digest,
        size: u64,
        mtime: Mtime,
        content: impl Read,
    ) -> io::Result<()> {
        if !self.written.insert(digest.clone()) {
            return Ok(());
        }
        let path = blob(digest).into_bytes();
        let entry =
            TarEntry { path, mode: 0o644, mtime, size, stored: size, ..TarEntry::default() };
        self.tar.append_file(&entry, content)
    }

    fn document(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        let path = path.as_bytes().to_vec();
        let entry = TarEntry { path, mode: 0o644, size, stored: size, ..TarEntry::default() };
        self.tar.append_file(&entry, content)
    }

    fn directory(&mut self, path: &str) -> io::Result<()> {
        let path = path.as_bytes().to_vec();
        self.tar.append(&TarEntry {
            path,
            mode: 0o755,
            kind: Kind::Directory,
            ..TarEntry::default()
        })
    }
}

/// The manifest of an image whose layers are not compressed, which is how they are here; what describes it, and its bytes.
pub(super) fn manifest_of(
    shared: &Shared,
    entry: &Entry,
) -> Result<(Descriptor, Vec<u8>), Failure> {
    let mut layers = Vec::new();
    for diff_id in entry.layers() {
        let layer = shared.layers.get(diff_id);
        let layer = layer.ok_or_else(|| {
            let words = format!("layer {diff_id} of image {} is not here", entry.image.id);
            Failure::new(ErrorKind::Internal, words)
        })?;
        layers.push(packing::plain(diff_id, layer.tar_size));
    }
    manifest(entry, layers)
}

fn manifest(entry: &Entry, layers: Vec<Descriptor>) -> Result<(Descriptor, Vec<u8>), Failure> {
    let (id, size) = (entry.image.id.clone(), entry.image.config_json.len() as u64);
    let manifest = json(&Manifest {
        schema_version: 2,
        media_type: media::OCI_MANIFEST.to_owned(),
        config: descriptor(media::OCI_CONFIG, id, size),
        layers,
        annotations: BTreeMap::new(),
    })?;
    let digest = Digest::sha256_of(&manifest);
    Ok((descriptor(media::OCI_MANIFEST, digest, manifest.len() as u64), manifest))
}

fn mtime(time: Timestamp) -> Mtime {
    Mtime { seconds: time.seconds(), nanos: 0 }
}

fn broken(error: io::Error) -> Failure {
    Failure::new(ErrorKind::Internal, error.to_string())
}

pub(super) fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
        artifact_type: None,
    }
}
