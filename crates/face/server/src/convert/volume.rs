//! Volumes.

use ferry_docker_api::{
    Volume as WireVolume, VolumeCreateRequest, VolumeSnapshot as WireSnapshot,
    VolumeUsage as WireUsage,
};
use ferry_engine::{VolumeSnapshot, ops::disk::VolumeUsage};
use ferry_errkind::Failure;
use ferry_model::volume::Volume;

use super::nil_map;
use crate::refuse::unsupported;

/// Reads volume create.
pub(crate) fn create(request: VolumeCreateRequest) -> Result<Volume, Failure> {
    let VolumeCreateRequest { cluster_volume_spec, driver, driver_opts, labels, name } = request;
    if cluster_volume_spec.is_some() {
        return Err(unsupported("ClusterVolumeSpec"));
    }
    Ok(Volume { name, driver, labels, options: driver_opts, ..Volume::default() })
}

/// Writes a volume with what it takes.
pub(crate) fn with_usage(VolumeUsage { volume, size, users }: VolumeUsage) -> WireVolume {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let usage = WireUsage { ref_count: number(users as u64), size: number(size) };
    WireVolume { usage_data: Some(usage), ..to_wire(volume) }
}

/// Writes a volume.
pub(crate) fn to_wire(volume: Volume) -> WireVolume {
    let Volume {
        name,
        created,
        driver,
        mountpoint,
        mut labels,
        options,
        anonymous,
        former_name: _,
        project: _,
    } = volume;
    if anonymous {
        labels.insert("com.docker.volume.anonymous".to_owned(), String::new());
    }
    let seconds = ferry_stdx::time::Timestamp::from_seconds(created.seconds());
    WireVolume {
        cluster_volume: None,
        created_at: seconds.format_rfc3339_nano(),
        driver,
        labels: nil_map(labels),
        mountpoint,
        name,
        options: nil_map(options),
        scope: "local".to_owned(),
        status: std::collections::BTreeMap::new(),
        usage_data: None,
    }
}

/// Writes a snapshot.
pub(crate) fn snapshot(snapshot: VolumeSnapshot) -> WireSnapshot {
    let VolumeSnapshot { name, volume, created, path } = snapshot;
    WireSnapshot {
        created_at: created.format_rfc3339_nano(),
        name,
        path: path.to_string_lossy().into_owned(),
        volume,
    }
}
