//! Mounts: what `--mount` asks for, and what a container has.

use std::collections::BTreeMap;

use crate::Nothing;

wire! {
    /// A `--mount`.
    pub struct Mount {
        /// `bind`, `volume`, `tmpfs`, `image`, `npipe`, `cluster`.
        kind: String = "Type" omitempty,
        /// Path on the host, or a volume's or image's name.
        source: String = "Source" omitempty,
        /// Path in the container.
        target: String = "Target" omitempty,
        /// No writing.
        read_only: bool = "ReadOnly" omitempty,
        /// `default`, `consistent`, `cached`, `delegated`; no effect on Linux.
        consistency: String = "Consistency" omitempty,
        /// For binds.
        bind_options: Option<BindOptions> = "BindOptions" omitempty,
        /// For volumes.
        volume_options: Option<VolumeOptions> = "VolumeOptions" omitempty,
        /// For images.
        image_options: Option<ImageOptions> = "ImageOptions" omitempty,
        /// For tmpfs.
        tmpfs_options: Option<TmpfsOptions> = "TmpfsOptions" omitempty,
        /// For cluster volumes.
        cluster_options: Option<Nothing> = "ClusterOptions" omitempty,
    }

    /// Options of a bind mount.
    pub struct BindOptions {
        /// `rprivate`, `shared`, …
        propagation: String = "Propagation" omitempty,
        /// Leave submounts behind.
        non_recursive: bool = "NonRecursive" omitempty,
        /// Make the source directory.
        create_mountpoint: bool = "CreateMountpoint" omitempty,
        /// Leave submounts writable.
        read_only_non_recursive: bool = "ReadOnlyNonRecursive" omitempty,
        /// Fail unless submounts become read-only too.
        read_only_force_recursive: bool = "ReadOnlyForceRecursive" omitempty,
        /// The source's owner is root in the container: beyond Docker.
        id_map: bool = "IDMap" omitempty,
    }

    /// Options of a volume mount.
    pub struct VolumeOptions {
        /// Do not copy the image's content into an empty volume.
        no_copy: bool = "NoCopy" omitempty,
        /// Labels for a new volume.
        labels: BTreeMap<String, String> = "Labels" omitempty,
        /// Directory inside the volume.
        subpath: String = "Subpath" omitempty,
        /// Driver for a new volume.
        driver_config: Option<MountDriver> = "DriverConfig" omitempty,
    }

    /// A volume driver with options.
    pub struct MountDriver {
        /// Its name.
        name: String = "Name" omitempty,
        /// Its options.
        options: BTreeMap<String, String> = "Options" omitempty,
    }

    /// Options of an image mount.
    pub struct ImageOptions {
        /// Directory inside the image.
        subpath: String = "Subpath" omitempty,
    }

    /// Options of a tmpfs mount.
    pub struct TmpfsOptions {
        /// Bytes; 0 is the kernel's default.
        size_bytes: i64 = "SizeBytes" omitempty,
        /// Mode bits.
        mode: u32 = "Mode" omitempty,
        /// `["key"]` or `["key", "value"]`.
        options: Vec<Vec<String>> = "Options" omitempty,
    }

    /// A mount that a container has.
    pub struct MountPoint {
        /// `bind`, `volume`, `tmpfs`.
        kind: String = "Type" omitempty,
        /// The volume's name.
        name: String = "Name" omitempty,
        /// Path on the host; empty for tmpfs.
        source: String = "Source",
        /// Path in the container.
        destination: String = "Destination",
        /// The volume's driver.
        driver: String = "Driver" omitempty,
        /// Options as given.
        mode: String = "Mode",
        /// Writable.
        rw: bool = "RW",
        /// Propagation.
        propagation: String = "Propagation",
    }
}
