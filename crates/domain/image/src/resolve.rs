//! What a name on the command line means.

use ferry_oci::{Digest, Reference, ReferenceError};

use crate::{ImageError, State};

/// Docker's order: a full id, a reference, the beginning of an id.
pub(crate) fn resolve(state: &State, name: &str) -> Result<Digest, ImageError> {
    if let Ok(digest) = name.parse::<Digest>()
        && state.images.contains_key(&digest)
    {
        return Ok(digest);
    }
    if let Some(id) = by_reference(state, name) {
        return Ok(id);
    }
    match by_id_prefix(state, name)?.or_else(|| by_digest_prefix(state, name)) {
        Some(id) => Ok(id),
        None => Err(not_found(name)),
    }
}

fn by_reference(state: &State, name: &str) -> Option<Digest> {
    state.names.get(&name_key(name)?).map(|name| name.image.clone())
}

/// What records about a name, or about an id where it is none, are kept by.
pub(crate) fn key(state: &State, name: &str, image: &Digest) -> String {
    let is_name = |key: &String| state.names.get(key).is_some_and(|name| name.image == *image);
    name_key(name).filter(is_name).unwrap_or_else(|| image.to_string())
}

fn name_key(name: &str) -> Option<String> {
    let reference = Reference::parse(name).ok()?;
    Some(if reference.digest().is_some() {
        reference.without_tag().canonical()
    } else {
        reference.with_default_tag().canonical()
    })
}

fn by_id_prefix(state: &State, name: &str) -> Result<Option<Digest>, ImageError> {
    let prefix = name.strip_prefix("sha256:").unwrap_or(name);
    if prefix.is_empty()
        || prefix.len() > 64
        || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Ok(None);
    }
    let mut matches = state.images.keys().filter(|id| id.hex().starts_with(prefix));
    match (matches.next(), matches.next()) {
        (Some(_), Some(_)) => Err(ImageError::Ambiguous(name.to_owned())),
        (found, _) => Ok(found.cloned()),
    }
}

/// `docker run sha256:<manifest digest>`, as users of the containerd store know it.
fn by_digest_prefix(state: &State, name: &str) -> Option<Digest> {
    let digest = name.parse::<Digest>().ok()?;
    state
        .images
        .values()
        .find(|entry| entry.image.manifest.as_ref().is_some_and(|m| m.descriptor.digest == digest))
        .map(|entry| entry.image.id.clone())
}

fn not_found(name: &str) -> ImageError {
    // Docker completes the name in this message when it is one.
    match Reference::parse(name) {
        Ok(reference) if reference.digest().is_none() && !name.contains("sha256:") => {
            ImageError::NotFound(reference.with_default_tag().familiar())
        }
        // Sixty-four digits are an id that is not here.
        Ok(_) | Err(ReferenceError::Id(_)) => ImageError::NotFound(name.to_owned()),
        Err(error) => ImageError::Name(error),
    }
}
