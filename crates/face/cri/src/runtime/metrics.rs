//! Figures by name, as cAdvisor calls them: what a kubelet serves under `/metrics/cadvisor`.

use ferry_engine::ops::pod;
use tonic::Status;

use super::{Runtime, stats};
use crate::{
    api,
    record::{Member, Sandbox},
};

/// A figure of a container.
type Read = fn(&api::ContainerStats) -> Option<u64>;

/// What every figure says of whom it is about.
const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

/// Figures of containers: name, explanation, kind, and where the value is.
const OF_CONTAINERS: [(&str, &str, api::MetricType, Read); 7] = [
    (
        "container_cpu_usage_seconds_total",
        "Cumulative cpu time consumed in seconds.",
        api::MetricType::Counter,
        |it| Some(it.cpu.as_ref()?.usage_core_nano_seconds.as_ref()?.value / 1_000_000_000),
    ),
    (
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        api::MetricType::Gauge,
        |it| Some(it.memory.as_ref()?.usage_bytes.as_ref()?.value),
    ),
    (
        "container_memory_working_set_bytes",
        "Current working set in bytes.",
        api::MetricType::Gauge,
        |it| Some(it.memory.as_ref()?.working_set_bytes.as_ref()?.value),
    ),
    ("container_memory_rss", "Size of RSS in bytes.", api::MetricType::Gauge, |it| {
        Some(it.memory.as_ref()?.rss_bytes.as_ref()?.value)
    }),
    (
        "container_memory_failures_total",
        "Cumulative count of page faults.",
        api::MetricType::Counter,
        |it| Some(it.memory.as_ref()?.page_faults.as_ref()?.value),
    ),
    (
        "container_fs_usage_bytes",
        "Number of bytes that are consumed by the container on this filesystem.",
        api::MetricType::Gauge,
        |it| Some(it.writable_layer.as_ref()?.used_bytes.as_ref()?.value),
    ),
    (
        "container_fs_inodes_total",
        "Number of files that the container wrote.",
        api::MetricType::Gauge,
        |it| Some(it.writable_layer.as_ref()?.inodes_used.as_ref()?.value),
    ),
];

/// A figure of a pod's interface.
type ReadLink = fn(&api::NetworkInterfaceUsage) -> Option<u64>;

/// Figures of interfaces, all of them counters.
const OF_INTERFACES: [(&str, &str, ReadLink); 4] = [
    ("container_network_receive_bytes_total", "Cumulative count of bytes received", |link| {
        Some(link.rx_bytes.as_ref()?.value)
    }),
    (
        "container_network_receive_errors_total",
        "Cumulative count of errors encountered while receiving",
        |link| Some(link.rx_errors.as_ref()?.value),
    ),
    ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |link| {
        Some(link.tx_bytes.as_ref()?.value)
    }),
    (
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        |link| Some(link.tx_errors.as_ref()?.value),
    ),
];

/// What there is.
pub(super) fn descriptors() -> Vec<api::MetricDescriptor> {
    let labels = || LABELS.map(str::to_owned).to_vec();
    let containers = OF_CONTAINERS.iter().map(|(name, help, ..)| api::MetricDescriptor {
        name: (*name).to_owned(),
        help: (*help).to_owned(),
        label_keys: labels(),
    });
    let interfaces = OF_INTERFACES.iter().map(|(name, help, _)| api::MetricDescriptor {
        name: (*name).to_owned(),
        help: (*help).to_owned(),
        label_keys: labels().into_iter().chain(["interface".to_owned()]).collect(),
    });
    containers.chain(interfaces).collect()
}

/// The figures of all pods that run.
pub(super) async fn pods(runtime: &Runtime) -> Result<Vec<api::PodSandboxMetrics>, Status> {
    let mut all = Vec::new();
    for it in pod::list(&runtime.engine) {
        let Some(sandbox) = Sandbox::of(&it).filter(|it| it.it.state.phase.is_running()) else {
            continue;
        };
        let pod = sandbox.config.metadata.clone().unwrap_or_default();
        let figures = stats::pod(runtime, &it).await?.linux.unwrap_or_default();
        let mut metrics = Vec::new();
        if let Some(network) = &figures.network {
            let labels = labels("", &it.id, "", &it.name, &pod);
            let links = network.default_interface.iter().chain(&network.interfaces);
            metrics.extend(links.flat_map(|link| of_interface(link, &labels, network.timestamp)));
        }
        let mut container_metrics = Vec::new();
        for figures in &figures.containers {
            container_metrics.extend(of_container(runtime, figures, &pod));
        }
        let pod_sandbox_id = it.id.clone();
        all.push(api::PodSandboxMetrics { pod_sandbox_id, metrics, container_metrics });
    }
    Ok(all)
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

fn of_interface(
    link: &api::NetworkInterfaceUsage,
    labels: &[String],
    timestamp: i64,
) -> Vec<api::Metric> {
    let metric = |(name, _, read): &(&str, &str, ReadLink)| {
        Some(api::Metric {
            name: (*name).to_owned(),
            timestamp,
            metric_type: api::MetricType::Counter.into(),
            label_values: labels.iter().cloned().chain([link.name.clone()]).collect(),
            value: Some(api::UInt64Value { value: read(link)? }),
        })
    };
    OF_INTERFACES.iter().filter_map(metric).collect()
}

fn of_container(
    runtime: &Runtime,
    figures: &api::ContainerStats,
    pod: &api::PodSandboxMetadata,
) -> Option<api::ContainerMetrics> {
    let container_id = figures.attributes.as_ref()?.id.clone();
    let it = pod::find(&runtime.engine, &container_id).ok()?;
    let member = Member::of(&it)?;
    let metadata = member.config.metadata.clone().unwrap_or_default();
    let label_values = labels(&metadata.name, &it.id, &it.spec.image, &it.name, pod);
    let timestamp = figures.cpu.as_ref().map_or(0, |cpu| cpu.timestamp);
    let metric = |(name, _, kind, read): &(&str, &str, api::MetricType, Read)| {
        Some(api::Metric {
            name: (*name).to_owned(),
            timestamp,
            metric_type: (*kind).into(),
            label_values: label_values.clone(),
            value: Some(api::UInt64Value { value: read(figures)? }),
        })
    };
    let metrics = OF_CONTAINERS.iter().filter_map(metric).collect();
    Some(api::ContainerMetrics { container_id, metrics })
}
