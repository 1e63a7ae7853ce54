//! Figures by name, as cAdvisor calls them: what a kubelet serves under `/metrics/cadvisor`.
//!
//! Start with [`Family`]: a name with its labels, and where its values are. A value that the kernel does not keep is left out; its
//! name is told all the same.

mod activity;
mod disk;
mod limits;
mod memory;
mod network;

use ferry_engine::{
    Engine,
    ops::pod::{self, ContainerFigures, PodFigures},
};
use tonic::Status;

use super::{Runtime, status_of};
use crate::{answer::refused, api, record::Sandbox};

/// What every figure says of whom it is about.
const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

/// What the label `container` says of a sandbox, since Kubernetes knew only one kind of those.
const SANDBOX: &str = "POD";

/// Values of one name: each with those of the name's own labels.
type Values = Vec<(Vec<String>, u64)>;

/// A name, and where its values are.
struct Family<T> {
    name: &'static str,
    help: &'static str,
    kind: api::MetricType,
    /// Labels besides those that all have.
    labels: &'static [&'static str],
    read: fn(&T) -> Values,
}

impl<T> Family<T> {
    const fn counter(name: &'static str, help: &'static str, read: fn(&T) -> Values) -> Self {
        Family { name, help, kind: api::MetricType::Counter, labels: &[], read }
    }

    const fn gauge(name: &'static str, help: &'static str, read: fn(&T) -> Values) -> Self {
        Family { name, help, kind: api::MetricType::Gauge, labels: &[], read }
    }

    const fn by(self, labels: &'static [&'static str]) -> Self {
        Family { labels, ..self }
    }

    fn descriptor(&self) -> api::MetricDescriptor {
        let keys = LABELS.iter().chain(self.labels);
        api::MetricDescriptor {
            name: self.name.to_owned(),
            help: self.help.to_owned(),
            label_keys: keys.map(|key| (*key).to_owned()).collect(),
        }
    }

    fn metrics(&self, of: &T, labels: &[String], timestamp: i64) -> Vec<api::Metric> {
        let metric = |(own, value): (Vec<String>, u64)| api::Metric {
            name: self.name.to_owned(),
            timestamp,
            metric_type: self.kind.into(),
            label_values: labels.iter().cloned().chain(own).collect(),
            value: Some(api::UInt64Value { value }),
        };
        (self.read)(of).into_iter().map(metric).collect()
    }
}

/// A value without labels of its own, if there is one.
fn one(value: impl Into<Option<u64>>) -> Values {
    value.into().map(|value| (Vec::new(), value)).into_iter().collect()
}

/// A limit, where zero stands for none.
fn limit(value: Option<u64>) -> Values {
    one(value.map(|value| if value == u64::MAX { 0 } else { value }))
}

/// Names of figures of containers.
fn of_containers() -> impl Iterator<Item = &'static Family<ContainerFigures>> {
    let tables: [&[_]; 4] =
        [&activity::FAMILIES, &memory::FAMILIES, &disk::FAMILIES, &limits::FAMILIES];
    tables.into_iter().flatten()
}

/// What there is.
pub(super) fn descriptors() -> Vec<api::MetricDescriptor> {
    let pods = network::FAMILIES.iter().map(Family::descriptor);
    of_containers().map(Family::descriptor).chain(pods).collect()
}

/// The figures of all pods that run.
pub(super) async fn pods(runtime: &Runtime) -> Result<Vec<api::PodSandboxMetrics>, Status> {
    let all = pod::figures(&runtime.engine).await.map_err(refused)?;
    let mut shown = Vec::with_capacity(all.len());
    for figures in &all {
        shown.extend(of_pod(&runtime.engine, figures).await);
    }
    Ok(shown)
}

async fn of_pod(engine: &Engine, figures: &PodFigures) -> Option<api::PodSandboxMetrics> {
    let it = &figures.pod;
    let pod = Sandbox::of(it)?.config.metadata.unwrap_or_default();
    let own = labels(SANDBOX, &it.id, "", &it.name, &pod);
    let timestamp = figures.read.nanos();
    let metrics = network::FAMILIES.iter().flat_map(|it| it.metrics(figures, &own, timestamp));
    let mut containers = Vec::with_capacity(figures.containers.len());
    for container in &figures.containers {
        containers.extend(of_container(engine, container, &pod).await);
    }
    Some(api::PodSandboxMetrics {
        pod_sandbox_id: it.id.clone(),
        metrics: metrics.collect(),
        container_metrics: containers,
    })
}

async fn of_container(
    engine: &Engine,
    figures: &ContainerFigures,
    pod: &api::PodSandboxMetadata,
) -> Option<api::ContainerMetrics> {
    let it = &figures.container;
    let status = status_of(engine, it).await?;
    let (metadata, image) = (status.metadata.unwrap_or_default(), status.image.unwrap_or_default());
    let own = labels(&metadata.name, &it.id, &image.image, &it.name, pod);
    let timestamp = figures.read.nanos();
    let metrics = of_containers().flat_map(|it| it.metrics(figures, &own, timestamp));
    Some(api::ContainerMetrics { container_id: it.id.clone(), metrics: metrics.collect() })
}

fn labels(
    container: &str,
    id: &str,
    image: &str,
    name: &str,
    pod: &api::PodSandboxMetadata,
) -> Vec<String> {
    [container, id, image, name, &pod.namespace, &pod.name].map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use ferry_engine::{
        CgroupBlkio, CgroupDetail, CgroupHugePages, CgroupPressure, CgroupStall,
        ops::pod::{Disk, Processes},
    };
    use ferry_model::container::{Container, ContainerSpec};
    use ferry_oci::Digest;
    use ferry_stdx::time::Timestamp;

    use super::*;

    /// A container whose kernel keeps nothing.
    fn bare() -> ContainerFigures {
        let image = Digest::sha256_of(b"image");
        ContainerFigures {
            container: Arc::new(Container::new("id".to_owned(), image, ContainerSpec::default())),
            read: Timestamp::from_seconds(1000),
            usage: CgroupDetail::default(),
            processes: Processes::default(),
            disk: Disk::default(),
            devices: BTreeMap::new(),
        }
    }

    /// The values of a name, each behind its own labels.
    fn values(of: &ContainerFigures, name: &str) -> Vec<String> {
        let family = of_containers().find(|it| it.name == name).unwrap();
        let values = (family.read)(of);
        assert!(values.iter().all(|(own, _)| own.len() == family.labels.len()), "{values:?}");
        values.into_iter().map(|(own, value)| format!("{} {value}", own.join(","))).collect()
    }

    #[test]
    fn what_a_kernel_does_not_keep_is_left_out() {
        let bare = bare();
        let told = of_containers().filter(|it| !(it.read)(&bare).is_empty());
        let told: Vec<&str> = told.map(|it| it.name).collect();
        let known = [
            "container_processes",
            "container_file_descriptors",
            "container_sockets",
            "container_last_seen",
            "container_fs_usage_bytes",
        ];
        assert_eq!(told, known);
    }

    #[test]
    fn names_are_said_once() {
        let all = descriptors();
        let names: std::collections::BTreeSet<_> = all.iter().map(|it| &it.name).collect();
        assert_eq!((all.len(), names.len()), (56, 56));
    }

    #[test]
    fn time_is_told_in_whole_seconds() {
        let mut it = bare();
        it.usage.stats.cpu_total = 2_999_999_999;
        it.usage.stats.cpu_user = 1_000_000_000;
        it.usage.limits.cpu_period = Some(100_000);
        it.usage.stats.throttled_time = 3_500_000_000;
        let stall = |total| CgroupStall { total, averages: [0.0; 3] };
        it.usage.io_pressure =
            Some(CgroupPressure { some: stall(5_999_999), full: Some(stall(1_000_000)) });
        it.usage.cpu_pressure = Some(CgroupPressure { some: stall(7_000_000), full: None });
        assert_eq!(values(&it, "container_cpu_usage_seconds_total"), ["total 2"]);
        assert_eq!(values(&it, "container_cpu_user_seconds_total"), [" 1"]);
        assert_eq!(values(&it, "container_cpu_system_seconds_total"), [" 0"]);
        assert_eq!(values(&it, "container_cpu_cfs_throttled_seconds_total"), [" 3"]);
        assert_eq!(values(&it, "container_pressure_io_waiting_seconds_total"), [" 5"]);
        assert_eq!(values(&it, "container_pressure_io_stalled_seconds_total"), [" 1"]);
        assert_eq!(values(&it, "container_pressure_cpu_waiting_seconds_total"), [" 7"]);
        assert!(values(&it, "container_pressure_cpu_stalled_seconds_total").is_empty());
    }

    #[test]
    fn memory_has_other_names_in_version_2() {
        let mut it = bare();
        let detail = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
        };
        it.usage.stats.memory_usage = 100;
        it.usage.stats.memory_detail = detail(&[
            ("rss", 1),
            ("total_rss", 2),
            ("cache", 3),
            ("total_cache", 4),
            ("pgfault", 5),
            ("total_pgfault", 6),
            ("total_inactive_file", 30),
        ]);
        assert_eq!(values(&it, "container_memory_rss"), [" 2"]);
        assert_eq!(values(&it, "container_memory_cache"), [" 4"]);
        assert_eq!(values(&it, "container_memory_working_set_bytes"), [" 70"]);
        let faults = ["pgfault,container 5", "pgfault,hierarchy 6"];
        assert_eq!(values(&it, "container_memory_failures_total"), faults);
        it.usage.stats.memory_detail = detail(&[
            ("anon", 1),
            ("file", 2),
            ("file_mapped", 3),
            ("pgfault", 4),
            ("pgmajfault", 5),
            ("inactive_file", 200),
        ]);
        assert_eq!(values(&it, "container_memory_rss"), [" 1"]);
        assert_eq!(values(&it, "container_memory_cache"), [" 2"]);
        assert_eq!(values(&it, "container_memory_mapped_file"), [" 3"]);
        assert_eq!(values(&it, "container_memory_working_set_bytes"), [" 0"]);
        let faults = [
            "pgfault,container 4",
            "pgfault,hierarchy 4",
            "pgmajfault,container 5",
            "pgmajfault,hierarchy 5",
        ];
        assert_eq!(values(&it, "container_memory_failures_total"), faults);
    }

    #[test]
    fn values_by_device_and_by_size() {
        let mut it = bare();
        let entry =
            |minor, op: &str, value| CgroupBlkio { major: 8, minor, op: op.to_owned(), value };
        it.usage.stats.io_bytes =
            vec![entry(0, "read", 1), entry(0, "write", 2), entry(1, "read", 4)];
        it.devices = [((8, 0), "/dev/sda".to_owned()), ((8, 1), "/dev/sdb".to_owned())].into();
        let all = ["/dev/sda,8,0,Read 1", "/dev/sda,8,0,Write 2", "/dev/sdb,8,1,Read 4"];
        assert_eq!(values(&it, "container_blkio_device_usage_total"), all);
        assert_eq!(values(&it, "container_fs_reads_bytes_total"), ["/dev/sda 1", "/dev/sdb 4"]);
        assert_eq!(values(&it, "container_fs_writes_bytes_total"), ["/dev/sda 2"]);
        let page = |size: &str, peak| CgroupHugePages { size: size.to_owned(), usage: 7, peak };
        it.usage.huge_pages = vec![page("1GB", None), page("2MB", Some(9))];
        assert_eq!(values(&it, "container_hugetlb_usage_bytes"), ["1GB 7", "2MB 7"]);
        assert_eq!(values(&it, "container_hugetlb_max_usage_bytes"), ["2MB 9"]);
        it.disk.device = "/dev/sda1".to_owned();
        it.disk.inodes = Some((10, 3));
        assert_eq!(values(&it, "container_fs_inodes_total"), ["/dev/sda1 10"]);
        assert_eq!(values(&it, "container_fs_inodes_free"), ["/dev/sda1 3"]);
    }

    #[test]
    fn no_limit_is_zero_or_nothing() {
        let mut it = bare();
        it.usage.limits.memory = Some(u64::MAX);
        it.usage.limits.cpu_quota = Some(u64::MAX);
        it.usage.stats.pids = 3;
        it.usage.stats.pids_limit = u64::MAX;
        assert_eq!(values(&it, "container_spec_memory_limit_bytes"), [" 0"]);
        assert_eq!(values(&it, "container_threads_max"), [" 0"]);
        assert!(values(&it, "container_spec_cpu_quota").is_empty());
        it.usage.limits.cpu_quota = Some(20_000);
        assert_eq!(values(&it, "container_spec_cpu_quota"), [" 20000"]);
    }
}
