//! Images as rows: `images` and `system df -v`.

use std::collections::BTreeMap;

use ferry_docker_api::ImageSummary;
use ferry_oci::Reference;

use super::{Kind, Row, units};

/// A list of images.
pub(crate) const KIND: Kind = Kind {
    name: "*formatter.imageContext",
    titles: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
};

const NONE: &str = "<none>";
const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const TABLE_DIGESTS: &str = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const RAW: &str = "repository: {{ .Repository }}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
const RAW_DIGESTS: &str = "repository: {{ .Repository }}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";

/// What a format means.
pub(crate) fn format(source: &str, quiet: bool, digests: bool) -> String {
    let format = match (source, quiet, digests) {
        ("table", true, _) => "{{.ID}}",
        ("table", false, true) => TABLE_DIGESTS,
        ("table", false, false) => TABLE,
        ("raw", true, _) => "image_id: {{.ID}}",
        ("raw", false, true) => RAW_DIGESTS,
        ("raw", false, false) => RAW,
        (own, _, true) if own.starts_with("table") && !own.contains("{{.Digest}}") => {
            return format!("{own}\t{{{{.Digest}}}}");
        }
        (own, _, _) => own,
    };
    format.to_owned()
}

/// Images as rows: one for each name.
pub(crate) fn rows(images: &[ImageSummary], format: &str, digests: bool, trunc: bool) -> Vec<Row> {
    let shown = digests || format.contains("{{.Digest}}");
    let mut rows = Vec::new();
    for image in images {
        for (repository, tag, digest) in names(image, digests, shown) {
            rows.push(row(image, &repository, &tag, &digest, trunc));
        }
    }
    rows
}

/// Whether an image has no name.
pub(crate) fn is_dangling(image: &ImageSummary) -> bool {
    let one = |names: &Option<Vec<String>>, none: &str| match names.as_deref() {
        None | Some([]) => (true, false),
        Some([name]) if name == none => (false, true),
        Some(_) => (false, false),
    };
    let (tags, digests) =
        (one(&image.repo_tags, "<none>:<none>"), one(&image.repo_digests, "<none>@<none>"));
    (tags.0 && digests.0) || (tags.1 && digests.1)
}

/// Repository, tag and digest of each row; `digests` if there is a row for each digest that has no tag, `shown` if tags stand beside
/// their digests.
fn names(image: &ImageSummary, digests: bool, shown: bool) -> Vec<(String, String, String)> {
    let none = || NONE.to_owned();
    if is_dangling(image) {
        return vec![(none(), none(), none())];
    }
    let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut by_digest: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in image.repo_tags.iter().flatten() {
        if let Ok(reference) = Reference::parse(name)
            && let Some(tag) = reference.tag()
        {
            tags.entry(reference.familiar_name()).or_default().push(tag.to_owned());
        }
    }
    for name in image.repo_digests.iter().flatten() {
        if let Ok(reference) = Reference::parse(name)
            && let Some(digest) = reference.digest()
        {
            by_digest.entry(reference.familiar_name()).or_default().push(digest.to_string());
        }
    }
    let mut names = Vec::new();
    for (repository, tags) in tags {
        let own = by_digest.remove(&repository).filter(|_| shown).unwrap_or_default();
        for tag in tags {
            if own.is_empty() {
                names.push((repository.clone(), tag.clone(), none()));
            }
            names
                .extend(own.iter().map(|digest| (repository.clone(), tag.clone(), digest.clone())));
        }
    }
    for (repository, own) in by_digest {
        match digests {
            true => {
                names.extend(own.into_iter().map(|digest| (repository.clone(), none(), digest)))
            }
            false => names.push((repository, none(), String::new())),
        }
    }
    names
}

/// An image under one of its names.
pub(crate) fn row(
    image: &ImageSummary,
    repository: &str,
    tag: &str,
    digest: &str,
    trunc: bool,
) -> Row {
    let or_unknown = |unknown: bool, text: String| if unknown { "N/A".to_owned() } else { text };
    let unshared = image.size.saturating_sub(image.shared_size);
    let since = match units::is_zero_time(image.created) {
        true => String::new(),
        false => units::ago(image.created),
    };
    Row::default()
        .with("ID", if trunc { units::short(&image.id) } else { &image.id })
        .with("Repository", repository)
        .with("Tag", tag)
        .with("Digest", digest)
        .with("CreatedSince", since)
        .with("CreatedAt", units::go_time(image.created))
        .with("Size", units::short_size(image.size))
        .with("Containers", or_unknown(image.containers == -1, image.containers.to_string()))
        .with("VirtualSize", units::long_size(image.size))
        .with(
            "SharedSize",
            or_unknown(image.shared_size == -1, units::long_size(image.shared_size)),
        )
        .with(
            "UniqueSize",
            or_unknown(image.size == -1 || image.shared_size == -1, units::long_size(unshared)),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::render;

    fn shown(format: &str, digests: bool, json: &str) -> String {
        let image: ImageSummary = serde_json::from_str(json).unwrap();
        render(&KIND, format, &rows(&[image], format, digests, true)).unwrap()
    }

    #[test]
    fn a_row_for_each_name() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let json = format!(
            r#"{{"Id":"sha256:0123456789abcdef","RepoTags":["busybox:1","busybox:2","host.com/a/b:x"],
            "RepoDigests":["busybox@{digest}","other@{digest}"],"Size":1980000,"SharedSize":-1,"Containers":-1}}"#
        );
        assert_eq!(
            shown("{{.Repository}}:{{.Tag}} {{.ID}}", false, &json),
            "busybox:1 0123456789ab\nbusybox:2 0123456789ab\nhost.com/a/b:x 0123456789ab\nother:<none> 0123456789ab\n"
        );
        assert_eq!(
            shown("{{.Repository}}:{{.Tag}}@{{.Digest}}", true, &json),
            format!(
                "busybox:1@{digest}\nbusybox:2@{digest}\nhost.com/a/b:x@<none>\nother:<none>@{digest}\n"
            )
        );
        let bare = r#"{"Id":"sha256:0123456789abcdef","RepoTags":[],"RepoDigests":[],"Created":-62135596800}"#;
        assert_eq!(
            shown("{{.Repository}} {{.Tag}} {{.CreatedAt}}{{.CreatedSince}}", false, bare),
            "<none> <none> 0001-01-01 00:00:00 +0000 UTC\n"
        );
    }
}
