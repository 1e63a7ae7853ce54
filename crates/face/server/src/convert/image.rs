//! Images.

use ferry_docker_api::{
    DriverData, HealthConfig, HistoryItem, ImageDeleteItem, ImageInspect, ImageInspectConfig,
    ImageMetadata, ImageSummary, Nothing, PortSet, RootFs, ZERO_TIME,
};
use ferry_model::image::{HistoryEntry, Image, ImageRemoval, ImageView};
use ferry_oci::{ContainerDefaults, HealthDefaults, ImageConfig};
use ferry_stdx::time::Timestamp;

use super::nil_if_empty;

/// Writes a line of the image list.
pub(crate) fn summary(view: ImageView) -> ImageSummary {
    let ImageView {
        image: Image { id, config_json: _, manifest: _, stored: _, size },
        config,
        repo_tags,
        repo_digests,
        containers,
        shared_size,
        last_tagged: _,
        lower_dirs: _,
    } = view;
    let created = config.created.as_deref().and_then(Timestamp::parse_rfc3339);
    ImageSummary {
        containers,
        created: created.map_or(0, Timestamp::seconds),
        id: id.to_string(),
        labels: config.config.and_then(|defaults| defaults.labels),
        parent_id: String::new(),
        descriptor: None,
        manifests: None,
        repo_digests: Some(repo_digests),
        repo_tags: Some(repo_tags),
        shared_size,
        size: bytes(size),
        virtual_size: 0,
    }
}

/// Writes an image in full.
pub(crate) fn inspect(view: ImageView, storage_driver: &str) -> ImageInspect {
    let ImageView {
        image: Image { id, config_json: _, manifest: _, stored: _, size },
        config,
        repo_tags,
        repo_digests,
        containers: _,
        shared_size: _,
        last_tagged,
        lower_dirs,
    } = view;
    let ImageConfig {
        architecture,
        os,
        os_version,
        variant,
        created,
        author,
        config: defaults,
        rootfs,
        history,
        comment,
        docker_version,
    } = config;
    let last_comment = history.last().and_then(|step| step.comment.clone());
    let mut dirs = lower_dirs.into_iter();
    let upper = dirs.next().map(|dir| ("UpperDir".to_owned(), dir));
    let lower = dirs.collect::<Vec<_>>().join(":");
    let lower = (!lower.is_empty()).then(|| ("LowerDir".to_owned(), lower));
    ImageInspect {
        id: id.to_string(),
        repo_tags,
        repo_digests,
        parent: String::new(),
        comment: comment.filter(|words| !words.is_empty()).or(last_comment).unwrap_or_default(),
        created: created.unwrap_or_default(),
        container: String::new(),
        container_config: None,
        docker_version: docker_version.unwrap_or_default(),
        author: author.unwrap_or_default(),
        architecture,
        variant: variant.unwrap_or_default(),
        os,
        os_version: os_version.unwrap_or_default(),
        size: bytes(size),
        virtual_size: 0,
        graph_driver: DriverData {
            data: Some(upper.into_iter().chain(lower).collect()),
            name: storage_driver.to_owned(),
        },
        root_fs: RootFs {
            kind: rootfs.kind,
            layers: rootfs.diff_ids.iter().map(ToString::to_string).collect(),
        },
        metadata: ImageMetadata {
            last_tag_time: last_tagged
                .map_or_else(|| ZERO_TIME.to_owned(), Timestamp::format_rfc3339_nano),
        },
        descriptor: None,
        manifests: None,
        config: Some(defaults_to_wire(defaults.unwrap_or_default())),
    }
}

fn defaults_to_wire(defaults: ContainerDefaults) -> ImageInspectConfig {
    let ContainerDefaults {
        user,
        exposed_ports,
        env,
        entrypoint,
        cmd,
        volumes,
        working_dir,
        labels,
        stop_signal,
        args_escaped,
        healthcheck,
        on_build,
        shell,
    } = defaults;
    let set = |paths: std::collections::BTreeSet<String>| -> PortSet {
        paths.into_iter().map(|path| (path, Nothing)).collect()
    };
    ImageInspectConfig {
        args_escaped: args_escaped.unwrap_or_default(),
        cmd,
        entrypoint,
        env,
        exposed_ports: exposed_ports.map(set).unwrap_or_default(),
        healthcheck: healthcheck.map(health),
        labels,
        on_build,
        shell: shell.unwrap_or_default(),
        stop_signal: stop_signal.unwrap_or_default(),
        user: user.unwrap_or_default(),
        volumes: volumes.map(set),
        working_dir: working_dir.unwrap_or_default(),
    }
}

fn health(defaults: HealthDefaults) -> HealthConfig {
    let HealthDefaults { test, interval, timeout, start_period, start_interval, retries } =
        defaults;
    HealthConfig {
        test: test.unwrap_or_default(),
        interval: interval.unwrap_or_default(),
        timeout: timeout.unwrap_or_default(),
        start_period: start_period.unwrap_or_default(),
        start_interval: start_interval.unwrap_or_default(),
        retries: retries.unwrap_or_default(),
    }
}

/// Writes a line of image history.
pub(crate) fn history(entry: HistoryEntry) -> HistoryItem {
    let HistoryEntry { id, created, created_by, tags, size, comment } = entry;
    HistoryItem {
        comment,
        created: created.map_or(0, Timestamp::seconds),
        created_by,
        id,
        size,
        tags: nil_if_empty(tags),
    }
}

/// Writes what image remove did.
pub(crate) fn removal(removal: ImageRemoval) -> ImageDeleteItem {
    match removal {
        ImageRemoval::Untagged(untagged) => ImageDeleteItem { untagged, ..Default::default() },
        ImageRemoval::Deleted(deleted) => ImageDeleteItem { deleted, ..Default::default() },
    }
}

/// Go's API has sizes signed.
fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
