//! What a container writes to, and what it reads and writes.

use std::collections::BTreeMap;

use ferry_engine::{CgroupBlkio, ops::pod::ContainerFigures};

use super::{Family, Values};

pub(super) static FAMILIES: [Family<ContainerFigures>; 9] = [
    Family::gauge("container_fs_usage_bytes", "Bytes that the container has written.", |it| {
        of_disk(it, Some(it.disk.used.bytes))
    })
    .by(&["device"]),
    Family::gauge(
        "container_fs_limit_bytes",
        "Bytes that fit on the file system, or that the container's quota allows.",
        |it| of_disk(it, it.disk.bytes),
    )
    .by(&["device"]),
    Family::gauge("container_fs_inodes_total", "Inodes of the file system.", |it| {
        of_disk(it, it.disk.inodes.map(|(all, _)| all))
    })
    .by(&["device"]),
    Family::gauge("container_fs_inodes_free", "Free inodes of the file system.", |it| {
        of_disk(it, it.disk.inodes.map(|(_, free)| free))
    })
    .by(&["device"]),
    Family::counter("container_fs_reads_bytes_total", "Bytes read from the device.", |it| {
        of_devices(it, &it.usage.stats.io_bytes, "read")
    })
    .by(&["device"]),
    Family::counter("container_fs_writes_bytes_total", "Bytes written to the device.", |it| {
        of_devices(it, &it.usage.stats.io_bytes, "write")
    })
    .by(&["device"]),
    Family::counter("container_fs_reads_total", "Reads from the device.", |it| {
        of_devices(it, &it.usage.stats.io_operations, "read")
    })
    .by(&["device"]),
    Family::counter("container_fs_writes_total", "Writes to the device.", |it| {
        of_devices(it, &it.usage.stats.io_operations, "write")
    })
    .by(&["device"]),
    Family::counter(
        "container_blkio_device_usage_total",
        "Bytes carried by the device, by operation.",
        |it: &ContainerFigures| {
            it.usage.stats.io_bytes.iter().map(|entry| of_entry(it, entry)).collect()
        },
    )
    .by(&["device", "major", "minor", "operation"]),
];

fn of_disk(it: &ContainerFigures, value: Option<u64>) -> Values {
    value.map(|value| (vec![it.disk.device.clone()], value)).into_iter().collect()
}

fn device(it: &ContainerFigures, entry: &CgroupBlkio) -> String {
    it.devices.get(&(entry.major, entry.minor)).cloned().unwrap_or_default()
}

/// One kind of operation, by device. Two devices of one name would be the same series twice.
fn of_devices(it: &ContainerFigures, entries: &[CgroupBlkio], operation: &str) -> Values {
    let mut values = BTreeMap::<String, u64>::new();
    for entry in entries.iter().filter(|entry| entry.op == operation) {
        let sum = values.entry(device(it, entry)).or_default();
        *sum = sum.saturating_add(entry.value);
    }
    values.into_iter().map(|(device, value)| (vec![device], value)).collect()
}

/// Operations as the kernel writes them (`Read`), which is how cAdvisor has them.
fn of_entry(it: &ContainerFigures, entry: &CgroupBlkio) -> (Vec<String>, u64) {
    let mut operation = entry.op.clone();
    if let Some(first) = operation.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let (major, minor) = (entry.major.to_string(), entry.minor.to_string());
    (vec![device(it, entry), major, minor, operation], entry.value)
}
