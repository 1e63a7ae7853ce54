//! Volumes.

use std::collections::BTreeMap;

use serde_json::Value;

wire! {
    /// A volume.
    pub struct Volume {
        /// Swarm only; never written by this engine.
        cluster_volume: Option<Value> = "ClusterVolume" omitempty,
        /// RFC 3339.
        created_at: String = "CreatedAt" omitempty,
        /// `local`.
        driver: String = "Driver",
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// Path on the host.
        mountpoint: String = "Mountpoint",
        /// Name.
        name: String = "Name",
        /// Driver options.
        options: Option<BTreeMap<String, String>> = "Options",
        /// `local` or `global`.
        scope: String = "Scope",
        /// What the driver tells.
        status: BTreeMap<String, Value> = "Status" omitempty,
        /// Only in `/system/df`.
        usage_data: Option<VolumeUsage> = "UsageData" omitempty,
    }

    /// How much a volume holds and who uses it; -1 is unknown.
    pub struct VolumeUsage {
        /// Containers that use it.
        ref_count: i64 = "RefCount",
        /// Bytes.
        size: i64 = "Size",
    }

    /// Body of volume create.
    pub struct VolumeCreateRequest {
        /// Swarm only.
        cluster_volume_spec: Option<Value> = "ClusterVolumeSpec" omitempty,
        /// Driver; empty is `local`.
        driver: String = "Driver" omitempty,
        /// Driver options.
        driver_opts: BTreeMap<String, String> = "DriverOpts" omitempty,
        /// Labels.
        labels: BTreeMap<String, String> = "Labels" omitempty,
        /// Name; empty makes one up.
        name: String = "Name" omitempty,
    }

    /// Answer to volume list.
    pub struct VolumeList {
        /// The volumes.
        volumes: Option<Vec<Volume>> = "Volumes",
        /// What could not be listed.
        warnings: Option<Vec<String>> = "Warnings",
    }

    /// Answer to volume prune.
    pub struct VolumePruneReport {
        /// Names.
        volumes_deleted: Option<Vec<String>> = "VolumesDeleted",
        /// Bytes.
        space_reclaimed: u64 = "SpaceReclaimed",
    }

    /// A volume's content as it was at a moment: beyond Docker.
    pub struct VolumeSnapshot {
        /// RFC 3339.
        created_at: String = "CreatedAt",
        /// Name.
        name: String = "Name",
        /// Path on the host.
        path: String = "Path",
        /// The volume.
        volume: String = "Volume",
    }
}
