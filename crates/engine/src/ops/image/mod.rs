//! Images.

pub(crate) mod changes;
mod import;
mod index;
pub(crate) mod keep;
mod list;
mod load;
mod packing;
mod pull;
mod push;
mod remove;
mod save;
mod search;
mod served;
mod tree;

use std::collections::BTreeSet;

use ferry_errkind::Failure;
use ferry_layers::{Detached, RemoveError};
use ferry_oci::{Digest, Reference};

use crate::{Engine, Shared};

pub use ferry_transfer::Packing;
pub use import::{ImportRequest, import};
pub use list::{history, inspect, list};
pub use load::{LoadSource, load};
pub use packing::packing;
pub use pull::{PullProgress, PullRequest, pull};
pub use push::{
    DistributionView, PushProgress, PushRequest, distribution, push, remote_catalog, remote_tags,
};
pub use remove::{prune, remove};
pub use save::{save, save_packed};
pub use search::{SearchRequest, SearchResult, search};
pub use served::{ServedBlob, ServedManifest, served, served_blob, served_layers, served_manifest};
pub use tree::{ImageTree, TreeEntry, save_as};

pub(crate) use index::STATEMENT;

/// Lets `repo:tag` mean the image that `name` means.
///
/// # Errors
/// There is no such image, or the new name is none.
pub async fn tag(engine: &Engine, name: &str, repo: &str, tag: &str) -> Result<(), Failure> {
    let reference = named(repo, tag)?;
    let shared = engine.shared.clone();
    let name = name.to_owned();
    crate::blocking(move || {
        let id = shared.images.tag(&name, &reference, shared.now())?;
        event(&shared, "tag", &id, &reference.familiar());
        Ok(())
    })
    .await
}

/// An image as attestations name it, by a package URL.
pub(crate) fn package_url(name: &Reference, platform: &str) -> String {
    let version = name.tag().map(|tag| format!("@{tag}")).unwrap_or_default();
    let digest = name.digest().map(|digest| format!("digest={digest}&")).unwrap_or_default();
    let (name, platform) = (name.familiar_name(), ferry_stdx::percent::encode(platform, b":"));
    format!("pkg:docker/{name}{version}?{digest}platform={platform}")
}

/// `repo` and `tag` as one reference; `latest` when there is no tag.
pub(crate) fn named(repo: &str, tag: &str) -> Result<Reference, Failure> {
    let parse = |text: &str| Reference::parse(text).map_err(bad_reference);
    let reference = parse(repo)?;
    match tag {
        "" => Ok(reference.with_default_tag()),
        digest if digest.contains(':') => parse(&format!("{repo}@{digest}")),
        tag => reference.with_tag(tag).map_err(bad_reference),
    }
}

pub(crate) fn bad_reference(error: ferry_oci::ReferenceError) -> Failure {
    Failure::new(ferry_errkind::ErrorKind::InvalidArgument, error.to_string())
}

pub(crate) fn event(shared: &Shared, action: &str, id: &Digest, name: &str) {
    let attributes = [("name", name.to_owned())];
    shared.events.plain(
        ferry_model::event::Subject::Image,
        action,
        &id.to_string(),
        &attributes,
        shared.now(),
    );
}

/// The layers of images and containers.
pub(crate) fn layers_in_use(shared: &Shared) -> BTreeSet<Digest> {
    let mut used: BTreeSet<Digest> = shared.images.layers();
    for handle in shared.containers.all() {
        used.extend(handle.container().layers.iter().cloned());
    }
    used
}

/// Removes the layers that no image, no container and nobody who is at work needs. Blocks.
pub(crate) fn sweep_layers(shared: &Shared) -> u64 {
    let _sweeping = shared.sweep_lock();
    let mut needed = layers_in_use(shared);
    needed.extend(shared.leased());
    needed.extend(shared.builds.layers());
    let mut freed = 0;
    let mut gone = Vec::new();
    for layer in shared.layers.list() {
        if needed.contains(&layer.diff_id) {
            continue;
        }
        // What was not needed a moment ago may be now.
        let detached =
            shared.unless_leased(&layer.diff_id, || shared.layers.detach(&layer.diff_id));
        let removed = match detached {
            None | Some(Err(RemoveError::InUse { .. })) => continue,
            Some(detached) => detached.and_then(Detached::remove),
        };
        match removed {
            Ok(()) => {
                freed += layer.size;
                gone.push(layer.diff_id);
            }
            Err(error) => {
                let error = ferry_errkind::chain(&error);
                tracing::warn!(layer = %layer.diff_id, error, "layer not removed");
            }
        }
    }
    if !gone.is_empty()
        && let Err(error) = shared.images.forget_blobs(&gone)
    {
        // They are of no use, and of no harm.
        tracing::debug!(
            error = ferry_errkind::chain(&error),
            "blobs of removed layers not forgotten"
        );
    }
    freed
}
