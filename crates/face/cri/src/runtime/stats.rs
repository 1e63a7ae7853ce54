//! What containers and pods use.

use ferry_engine::ops::{
    container::{Sample, StatsRequest, stats},
    disk, pod,
};
use ferry_model::container::Container;
use tonic::Status;

use super::{Runtime, matches, sandbox::no_sandbox};
use crate::{
    answer::refused,
    api,
    record::{Member, Sandbox},
};

fn count(value: u64) -> Option<api::UInt64Value> {
    Some(api::UInt64Value { value })
}

/// One container's figures.
pub(super) async fn container(
    runtime: &Runtime,
    member: &Member<'_>,
) -> Result<api::ContainerStats, Status> {
    let sample = sample(runtime, &member.it.id).await?;
    let used = disk::writable(&runtime.engine, &member.it.id).await.map_err(refused)?;
    let now = super::now().nanos();
    let data_root = runtime.engine.config().data_root.to_string_lossy().into_owned();
    let attributes = api::ContainerAttributes {
        id: member.it.id.clone(),
        metadata: member.config.metadata.clone(),
        labels: member.config.labels.clone(),
        annotations: member.config.annotations.clone(),
    };
    Ok(api::ContainerStats {
        attributes: Some(attributes),
        cpu: cpu(&sample),
        memory: memory(&sample),
        writable_layer: Some(api::FilesystemUsage {
            timestamp: now,
            fs_id: Some(api::FilesystemIdentifier { mountpoint: data_root }),
            used_bytes: count(used.bytes),
            inodes_used: count(used.files),
        }),
        swap: None,
        io: None,
    })
}

async fn sample(runtime: &Runtime, id: &str) -> Result<Sample, Status> {
    let once = StatsRequest { stream: false, one_shot: true };
    let mut samples = stats(&runtime.engine, id, once).await.map_err(refused)?;
    Ok(samples.recv().await.unwrap_or_default())
}

fn cpu(sample: &Sample) -> Option<api::CpuUsage> {
    let figures = sample.figures.as_ref()?;
    Some(api::CpuUsage {
        timestamp: figures.read.nanos(),
        usage_core_nano_seconds: count(figures.usage.cpu_total),
        // The kubelet computes it from two samples.
        usage_nano_cores: None,
        psi: None,
    })
}

fn memory(sample: &Sample) -> Option<api::MemoryUsage> {
    let figures = sample.figures.as_ref()?;
    let usage = &figures.usage;
    let detail =
        |names: &[&str]| names.iter().find_map(|name| usage.memory_detail.get(*name)).copied();
    let inactive = detail(&["total_inactive_file", "inactive_file"]).unwrap_or(0);
    let working_set = usage.memory_usage.saturating_sub(inactive);
    Some(api::MemoryUsage {
        timestamp: figures.read.nanos(),
        working_set_bytes: count(working_set),
        available_bytes: count(usage.memory_limit.saturating_sub(working_set)),
        usage_bytes: count(usage.memory_usage),
        rss_bytes: count(detail(&["total_rss", "anon"]).unwrap_or(0)),
        page_faults: count(detail(&["total_pgfault", "pgfault"]).unwrap_or(0)),
        major_page_faults: count(detail(&["total_pgmajfault", "pgmajfault"]).unwrap_or(0)),
        psi: None,
    })
}

/// The figures of all wanted containers.
pub(super) async fn containers(
    runtime: &Runtime,
    filter: Option<api::ContainerStatsFilter>,
) -> Result<Vec<api::ContainerStats>, Status> {
    let filter = filter.unwrap_or_default();
    let mut all = Vec::new();
    for it in pod::list(&runtime.engine) {
        let Some(member) = Member::of(&it) else { continue };
        let wanted = it.state.phase.is_running()
            && it.id.starts_with(&filter.id)
            && member.sandbox.starts_with(&filter.pod_sandbox_id)
            && matches(&filter.label_selector, &member.config.labels);
        if wanted {
            all.push(container(runtime, &member).await?);
        }
    }
    Ok(all)
}

/// One pod's figures: its network, and the sum of its containers.
pub(super) async fn pod(runtime: &Runtime, it: &Container) -> Result<api::PodSandboxStats, Status> {
    let sandbox = Sandbox::of(it).ok_or_else(|| no_sandbox(&it.id))?;
    let own = sample(runtime, &it.id).await?;
    let mut containers = Vec::new();
    for member in pod::members(&runtime.engine, &it.id) {
        if let Some(member) = Member::of(&member).filter(|it| it.it.state.phase.is_running()) {
            containers.push(container(runtime, &member).await?);
        }
    }
    let (cpu, memory) = (cpu(&own), memory(&own));
    Ok(api::PodSandboxStats {
        attributes: Some(api::PodSandboxAttributes {
            id: it.id.clone(),
            metadata: sandbox.config.metadata.clone(),
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
        }),
        linux: Some(api::LinuxPodSandboxStats {
            cpu: cpu.map(|cpu| sum_cpu(cpu, &containers)),
            memory: memory.map(|memory| sum_memory(memory, &containers)),
            network: network(&own),
            process: processes(&own),
            containers,
            io: None,
        }),
        windows: None,
    })
}

fn sum(
    own: Option<api::UInt64Value>,
    others: impl Iterator<Item = u64>,
) -> Option<api::UInt64Value> {
    count(own.map_or(0, |own| own.value) + others.sum::<u64>())
}

fn sum_cpu(mut cpu: api::CpuUsage, containers: &[api::ContainerStats]) -> api::CpuUsage {
    let others = containers.iter().filter_map(|it| it.cpu.as_ref());
    let used = others.filter_map(|cpu| cpu.usage_core_nano_seconds.as_ref()).map(|it| it.value);
    cpu.usage_core_nano_seconds = sum(cpu.usage_core_nano_seconds, used);
    cpu
}

fn sum_memory(
    mut memory: api::MemoryUsage,
    containers: &[api::ContainerStats],
) -> api::MemoryUsage {
    let of = |read: fn(&api::MemoryUsage) -> Option<api::UInt64Value>| {
        containers.iter().filter_map(move |it| it.memory.as_ref().and_then(read)).map(|it| it.value)
    };
    memory.working_set_bytes = sum(memory.working_set_bytes, of(|it| it.working_set_bytes));
    memory.usage_bytes = sum(memory.usage_bytes, of(|it| it.usage_bytes));
    memory.rss_bytes = sum(memory.rss_bytes, of(|it| it.rss_bytes));
    memory.page_faults = sum(memory.page_faults, of(|it| it.page_faults));
    memory.major_page_faults = sum(memory.major_page_faults, of(|it| it.major_page_faults));
    memory
}

fn network(sample: &Sample) -> Option<api::NetworkUsage> {
    let figures = sample.figures.as_ref()?;
    let mut interfaces: Vec<_> = figures
        .networks
        .iter()
        .map(|(name, counters)| api::NetworkInterfaceUsage {
            name: name.clone(),
            rx_bytes: count(counters.rx.bytes),
            rx_errors: count(counters.rx.errors),
            tx_bytes: count(counters.tx.bytes),
            tx_errors: count(counters.tx.errors),
        })
        .collect();
    let main =
        interfaces.iter().position(|link| link.name == "eth0").map(|at| interfaces.remove(at));
    Some(api::NetworkUsage { timestamp: figures.read.nanos(), default_interface: main, interfaces })
}

fn processes(sample: &Sample) -> Option<api::ProcessUsage> {
    let figures = sample.figures.as_ref()?;
    let process_count = count(figures.usage.pids);
    Some(api::ProcessUsage { timestamp: figures.read.nanos(), process_count })
}

/// The figures of all wanted pods.
pub(super) async fn pods(
    runtime: &Runtime,
    filter: Option<api::PodSandboxStatsFilter>,
) -> Result<Vec<api::PodSandboxStats>, Status> {
    let filter = filter.unwrap_or_default();
    let mut all = Vec::new();
    for it in pod::list(&runtime.engine) {
        let Some(sandbox) = Sandbox::of(&it) else { continue };
        let wanted = it.state.phase.is_running()
            && it.id.starts_with(&filter.id)
            && matches(&filter.label_selector, &sandbox.config.labels);
        if wanted {
            all.push(pod(runtime, &it).await?);
        }
    }
    Ok(all)
}
