//! `images`, `inspect`, `history`.

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Named;
use ferry_model::image::{HistoryEntry, ImageView, ListImages};
use ferry_oci::{Digest, Reference};
use ferry_stdx::time::Timestamp;

use crate::{Engine, Shared, filter};

/// The images that fulfil all filters, newest first.
///
/// # Errors
/// A filter's value does not read, or names what is not there.
pub async fn list(engine: &Engine, request: ListImages) -> Result<Vec<ImageView>, Failure> {
    let shared = engine.shared.clone();
    crate::blocking(move || list_blocking(&shared, &request)).await
}

/// One image.
///
/// # Errors
/// There is none of that name.
pub async fn inspect(engine: &Engine, name: &str) -> Result<ImageView, Failure> {
    let named = engine.shared.images.get(name)?;
    Ok(view(&engine.shared, named))
}

/// What an image was made of, newest first.
///
/// # Errors
/// There is none of that name.
pub async fn history(engine: &Engine, name: &str) -> Result<Vec<HistoryEntry>, Failure> {
    let named = engine.shared.images.get(name)?;
    let config = &named.entry.config;
    let mut layers = named.entry.layers().iter();
    let mut entries: Vec<HistoryEntry> = config
        .history
        .iter()
        .map(|step| {
            let empty = step.empty_layer.unwrap_or(false);
            let layer = if empty { None } else { layers.next() };
            let size = layer.and_then(|layer| engine.shared.layers.size(layer)).unwrap_or(0);
            HistoryEntry {
                id: "<missing>".to_owned(),
                created: step.created.as_deref().and_then(Timestamp::parse_rfc3339),
                created_by: step.created_by.clone().unwrap_or_default(),
                tags: Vec::new(),
                size: i64::try_from(size).unwrap_or(i64::MAX),
                comment: step.comment.clone().unwrap_or_default(),
            }
        })
        .collect();
    entries.reverse();
    if let Some(newest) = entries.first_mut() {
        newest.id = named.entry.image.id.to_string();
        newest.tags = named.tags;
    }
    Ok(entries)
}

fn list_blocking(shared: &Shared, request: &ListImages) -> Result<Vec<ImageView>, Failure> {
    let filters = &request.filters;
    let created = |name: &String| -> Result<Option<Timestamp>, Failure> {
        Ok(shared.images.get(name).map(|named| created(&named))?)
    };
    let first = |key: &str| filters.get(key).and_then(|values| values.first());
    let before = first("before").map(created).transpose()?.flatten();
    let since = first("since").map(created).transpose()?.flatten();
    let until = match first("until") {
        Some(text) => Some(
            Timestamp::parse_user(text, shared.now())
                .map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))?,
        ),
        None => None,
    };
    let dangling = first("dangling").map(|text| filter::flag("dangling", text)).transpose()?;
    let mut images = shared.images.list();
    images.retain(|named| {
        let when = self::created(named).unwrap_or_default();
        before.is_none_or(|time| when < time)
            && since.is_none_or(|time| when > time)
            && until.is_none_or(|time| when < time)
            && dangling.is_none_or(|wanted| wanted == named.tags.is_empty())
            && has_labels(named, filters)
    });
    if let Some(patterns) = filters.get("reference") {
        for named in &mut images {
            named.tags.retain(|tag| patterns.iter().any(|pattern| matches_reference(pattern, tag)));
            named
                .digests
                .retain(|name| patterns.iter().any(|pattern| matches_reference(pattern, name)));
        }
        images.retain(|named| !named.tags.is_empty() || !named.digests.is_empty());
    }
    images.sort_by_key(|named| std::cmp::Reverse(self::created(named)));
    let shared_layers = request.shared_size.then(|| layer_uses(&images));
    Ok(images
        .into_iter()
        .map(|named| {
            let mut view = view(shared, named);
            if let Some(uses) = &shared_layers {
                view.shared_size = shared_size(shared, &view, uses);
                view.containers = container_count(shared, &view.image.id);
            }
            view
        })
        .collect())
}

pub(crate) fn view(shared: &Shared, named: Named) -> ImageView {
    let lower = shared.lower_dirs(named.entry.layers()).unwrap_or_default();
    ImageView {
        image: named.entry.image.clone(),
        config: named.entry.config.clone(),
        repo_tags: named.tags,
        repo_digests: named.digests,
        containers: -1,
        shared_size: -1,
        last_tagged: named.last_tagged,
        lower_dirs: lower.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
    }
}

fn created(named: &Named) -> Option<Timestamp> {
    named.entry.config.created.as_deref().and_then(Timestamp::parse_rfc3339)
}

fn has_labels(named: &Named, filters: &BTreeMap<String, Vec<String>>) -> bool {
    let empty = BTreeMap::new();
    let labels = named.entry.config.config.as_ref().and_then(|config| config.labels.as_ref());
    let labels = labels.unwrap_or(&empty);
    let all = |key: &str| filters.get(key).into_iter().flatten();
    all("label").all(|wanted| filter::has_label(labels, wanted))
        && !all("label!").any(|unwanted| filter::has_label(labels, unwanted))
}

/// Go's `path.Match` of a pattern against the name, with and without its tag.
fn matches_reference(pattern: &str, name: &str) -> bool {
    let bare =
        Reference::parse(name).map(|reference| reference.familiar_name()).unwrap_or_default();
    glob(pattern.as_bytes(), name.as_bytes()) || glob(pattern.as_bytes(), bare.as_bytes())
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            glob(&pattern[1..], text)
                || text.first().is_some_and(|byte| *byte != b'/') && glob(pattern, &text[1..])
        }
        (Some(b'?'), Some(byte)) if *byte != b'/' => glob(&pattern[1..], &text[1..]),
        (Some(wanted), Some(byte)) if wanted == byte => glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}

fn layer_uses(images: &[Named]) -> BTreeMap<Digest, usize> {
    let mut uses = BTreeMap::new();
    for layer in images.iter().flat_map(|named| named.entry.layers()) {
        *uses.entry(layer.clone()).or_insert(0) += 1;
    }
    uses
}

fn shared_size(shared: &Shared, view: &ImageView, uses: &BTreeMap<Digest, usize>) -> i64 {
    let layers = view.config.rootfs.diff_ids.iter();
    let sum: u64 = layers
        .filter(|layer| uses.get(layer).is_some_and(|count| *count > 1))
        .filter_map(|layer| shared.layers.size(layer))
        .sum();
    i64::try_from(sum).unwrap_or(i64::MAX)
}

fn container_count(shared: &Shared, id: &Digest) -> i64 {
    let count =
        shared.containers.all().iter().filter(|handle| handle.container().image_id == *id).count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::matches_reference;

    #[test]
    fn patterns_stay_within_a_path_component() {
        assert!(matches_reference("busy*", "busybox:latest"));
        assert!(matches_reference("busybox", "busybox:latest"));
        assert!(matches_reference("*/app:1?", "org/app:12"));
        assert!(!matches_reference("*", "org/app:12"));
        assert!(!matches_reference("busybox:1", "busybox:latest"));
    }
}
