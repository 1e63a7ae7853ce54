//! What is here as a registry has it: repositories, tags, manifests, blobs. Nothing is copied or compressed for it: a layer's blob is
//! its exact tar, made of its recipe and its files while it is read.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Entry;
use ferry_layers::Layer;
use ferry_oci::{Digest, Reference};
use tokio::sync::mpsc;

use super::save::{manifest_of, tags_of};
use crate::{Engine, Shared};

/// The manifest of an image as it can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedManifest {
    /// Its media type.
    pub media_type: &'static str,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub json: Vec<u8>,
}

/// A blob on its way.
#[derive(Debug)]
pub struct ServedBlob {
    /// All of its bytes, also those that are left out at the beginning.
    pub size: u64,
    /// What comes of it; it ends with an error when it is not whole.
    pub pieces: mpsc::Receiver<Result<Bytes, Failure>>,
}

/// The repositories that a registry can have under their names here, with their tags.
pub fn served(engine: &Engine) -> BTreeMap<String, Vec<String>> {
    let mut repositories: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for named in engine.shared.images.list() {
        for name in &named.tags {
            let Ok(reference) = Reference::parse(name) else { continue };
            let repository = reference.familiar_name();
            // Those of a registry with a port have no name at another one.
            if let Some(tag) = reference.tag().filter(|_| Reference::is_repository(&repository)) {
                repositories.entry(repository).or_default().push(tag.to_owned());
            }
        }
    }
    repositories.values_mut().for_each(|tags| tags.sort());
    repositories
}

/// Those of some layers that are here: an archive that is loaded need not have them.
pub fn served_layers(engine: &Engine, mut wanted: Vec<Digest>) -> Vec<Digest> {
    wanted.retain(|layer| engine.shared.layers.contains(layer));
    wanted
}

/// The manifest that a tag, or a digest, of a repository means here.
///
/// # Errors
/// There is none.
pub async fn served_manifest(
    engine: &Engine,
    repository: &str,
    wanted: &str,
) -> Result<ServedManifest, Failure> {
    let (shared, repository, wanted) =
        (engine.shared.clone(), repository.to_owned(), wanted.to_owned());
    crate::blocking(move || {
        for (reference, entry) in images(&shared, &repository)? {
            let is_tag = reference.tag() == Some(wanted.as_str());
            if !is_tag && !wanted.contains(':') {
                continue;
            }
            let (manifest, json) = manifest_of(&shared, &entry)?;
            if is_tag || manifest.digest.to_string() == wanted {
                let media_type = ferry_oci::media::OCI_MANIFEST;
                return Ok(ServedManifest { media_type, digest: manifest.digest, json });
            }
        }
        Err(unknown(&format!("no manifest {wanted} in {repository}")))
    })
    .await
}

/// A blob of a repository from some byte on: a layer, a configuration, a manifest.
///
/// # Errors
/// No image of the repository has it.
pub async fn served_blob(
    engine: &Engine,
    repository: &str,
    digest: &Digest,
    from: u64,
) -> Result<ServedBlob, Failure> {
    let (shared, repository, digest) =
        (engine.shared.clone(), repository.to_owned(), digest.clone());
    crate::blocking(move || {
        for (_, entry) in images(&shared, &repository)? {
            if entry.layers().contains(&digest) {
                // For as long as it is read, it stays.
                let pin = shared.layers.get(&digest);
                let tar = shared.layers.tar(&digest).map_err(Failure::of)?;
                return Ok(flow(pin, tar.length(), tar, from));
            }
            let document = if entry.image.id == digest {
                Some(entry.image.config_json.clone().into_bytes())
            } else {
                let (manifest, json) = manifest_of(&shared, &entry)?;
                (manifest.digest == digest).then_some(json)
            };
            if let Some(bytes) = document {
                let size = bytes.len() as u64;
                return Ok(flow(None, size, io::Cursor::new(bytes), from));
            }
        }
        Err(unknown(&format!("no blob {digest} in {repository}")))
    })
    .await
}

fn unknown(words: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, words)
}

/// The images of a repository, by its name as people write it.
fn images(shared: &Shared, repository: &str) -> Result<Vec<(Reference, Arc<Entry>)>, Failure> {
    let name = Reference::parse(repository).map_err(super::bad_reference)?;
    let found = tags_of(shared, &name);
    if found.is_empty() { Err(unknown(&format!("no repository {repository}"))) } else { Ok(found) }
}

/// Read at once.
const PIECE: usize = 256 << 10;
/// Pieces that wait for whoever reads them.
const AHEAD: usize = 2;

/// Bytes for somebody who reads them on the loop, as fast as they like: a thread is used for as long as a piece takes to be read, and
/// none while it waits to be taken.
fn flow(
    pin: Option<Layer>,
    size: u64,
    content: impl Read + Send + 'static,
    from: u64,
) -> ServedBlob {
    let (sender, pieces) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let (mut content, mut skip) = (content, from);
        loop {
            let step = tokio::task::spawn_blocking(move || {
                let read = piece(&mut content, skip);
                (content, read)
            });
            let read = match step.await {
                Ok((back, read)) => {
                    content = back;
                    skip = 0;
                    read
                }
                Err(_) => return,
            };
            let last = match read {
                Ok(piece) if piece.is_empty() => break,
                Ok(piece) => sender.send(Ok(piece)).await.is_err(),
                Err(error) => {
                    let words = format!("cannot read it: {error}");
                    // Where the client has left there is nobody to tell.
                    drop(sender.send(Err(Failure::new(ErrorKind::Internal, words))).await);
                    true
                }
            };
            if last {
                break;
            }
        }
        drop(pin);
    });
    ServedBlob { size, pieces }
}

/// The next bytes behind some that nobody wants.
fn piece(content: &mut impl Read, skip: u64) -> io::Result<Bytes> {
    io::copy(&mut content.by_ref().take(skip), &mut io::sink())?;
    let mut bytes = Vec::with_capacity(PIECE);
    content.by_ref().take(PIECE as u64).read_to_end(&mut bytes)?;
    Ok(Bytes::from(bytes))
}
