//! Images.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{ContainerConfig, DriverData, HealthConfig, PortSet};

wire! {
    /// A line of the image list.
    pub struct ImageSummary {
        /// Containers made from it; -1 unknown.
        containers: i64 = "Containers",
        /// Seconds since 1970.
        created: i64 = "Created",
        /// Id.
        id: String = "Id",
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// The classic builder's parent.
        parent_id: String = "ParentId",
        /// With a containerd image store.
        descriptor: Option<Value> = "Descriptor" omitempty,
        /// With a containerd image store.
        manifests: Option<Vec<Value>> = "Manifests" omitempty,
        /// `name@sha256:…`.
        repo_digests: Option<Vec<String>> = "RepoDigests",
        /// `name:tag`.
        repo_tags: Option<Vec<String>> = "RepoTags",
        /// Bytes shared with other images; -1 unknown.
        shared_size: i64 = "SharedSize",
        /// Bytes.
        size: i64 = "Size",
        /// Same as `size`, until 1.43.
        virtual_size: i64 = "VirtualSize" omitempty,
    }

    /// Answer to image inspect.
    pub struct ImageInspect {
        /// Id.
        id: String = "Id",
        /// `name:tag`.
        repo_tags: Vec<String> = "RepoTags",
        /// `name@sha256:…`.
        repo_digests: Vec<String> = "RepoDigests",
        /// The classic builder's parent.
        parent: String = "Parent",
        /// Comment.
        comment: String = "Comment",
        /// RFC 3339; empty when the image does not tell.
        created: String = "Created" omitempty,
        /// Until 1.44.
        container: String = "Container" omitempty,
        /// Until 1.44.
        container_config: Option<ContainerConfig> = "ContainerConfig" omitempty,
        /// Version of the engine that built it.
        docker_version: String = "DockerVersion",
        /// Author.
        author: String = "Author",
        /// Architecture.
        architecture: String = "Architecture",
        /// Variant of the architecture.
        variant: String = "Variant" omitempty,
        /// Operating system.
        os: String = "Os",
        /// Its version.
        os_version: String = "OsVersion" omitempty,
        /// Bytes.
        size: i64 = "Size",
        /// Same as `size`, until 1.43.
        virtual_size: i64 = "VirtualSize" omitempty,
        /// Storage driver's data.
        graph_driver: DriverData = "GraphDriver",
        /// Layers.
        root_fs: RootFs = "RootFS",
        /// What this engine knows.
        metadata: ImageMetadata = "Metadata",
        /// With a containerd image store.
        descriptor: Option<Value> = "Descriptor" omitempty,
        /// With a containerd image store.
        manifests: Option<Vec<Value>> = "Manifests" omitempty,
        /// Defaults for containers.
        config: Option<ImageInspectConfig> = "Config",
    }

    /// Defaults for containers, as image inspect shows them: in alphabetical order, and without what only containers have.
    pub struct ImageInspectConfig {
        /// Windows only.
        args_escaped: bool = "ArgsEscaped" omitempty,
        /// Command.
        cmd: Option<Vec<String>> = "Cmd",
        /// Entry point.
        entrypoint: Option<Vec<String>> = "Entrypoint",
        /// `NAME=value`.
        env: Option<Vec<String>> = "Env",
        /// Declared ports.
        exposed_ports: PortSet = "ExposedPorts" omitempty,
        /// Health check.
        healthcheck: Option<HealthConfig> = "Healthcheck" omitempty,
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// Build triggers.
        on_build: Option<Vec<String>> = "OnBuild",
        /// Shell of the shell form.
        shell: Vec<String> = "Shell" omitempty,
        /// Stop signal.
        stop_signal: String = "StopSignal" omitempty,
        /// User.
        user: String = "User",
        /// Paths of anonymous volumes.
        volumes: Option<PortSet> = "Volumes",
        /// Working directory.
        working_dir: String = "WorkingDir",
    }

    /// An image's layers.
    pub struct RootFs {
        /// `layers`.
        kind: String = "Type" omitempty,
        /// Diff ids, bottom first.
        layers: Vec<String> = "Layers" omitempty,
    }

    /// What this engine knows of an image.
    pub struct ImageMetadata {
        /// RFC 3339.
        last_tag_time: String = "LastTagTime",
    }

    /// A line of image history, newest first.
    pub struct HistoryItem {
        /// Comment.
        comment: String = "Comment",
        /// Seconds since 1970.
        created: i64 = "Created",
        /// Command.
        created_by: String = "CreatedBy",
        /// Id or `<missing>`.
        id: String = "Id",
        /// Bytes.
        size: i64 = "Size",
        /// `name:tag`.
        tags: Option<Vec<String>> = "Tags",
    }

    /// One thing that image remove did.
    pub struct ImageDeleteItem {
        /// Id of an image or layer that is gone.
        deleted: String = "Deleted" omitempty,
        /// Reference that is gone.
        untagged: String = "Untagged" omitempty,
    }

    /// Answer to image prune.
    pub struct ImagePruneReport {
        /// What is gone.
        images_deleted: Option<Vec<ImageDeleteItem>> = "ImagesDeleted",
        /// Bytes.
        space_reclaimed: u64 = "SpaceReclaimed",
    }

    /// A result of image search.
    pub struct SearchResult {
        /// Stars.
        star_count: i64 = "star_count",
        /// An official image.
        is_official: bool = "is_official",
        /// Name.
        name: String = "name",
        /// Always false.
        is_automated: bool = "is_automated",
        /// Description.
        description: String = "description",
    }

    /// Answer to distribution inspect.
    pub struct DistributionInspect {
        /// OCI descriptor.
        descriptor: Value = "Descriptor",
        /// OCI platforms.
        platforms: Option<Vec<Value>> = "Platforms",
    }
}
