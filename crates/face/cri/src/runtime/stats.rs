//! What containers and pods use.

use ferry_engine::{
    CgroupDetail, CgroupPressure, CgroupStall, CgroupStats,
    ops::{
        disk,
        pod::{self, Usage},
    },
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
    let usage = pod::usage(&runtime.engine, &member.it.id).await.map_err(refused)?;
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
        cpu: usage.as_ref().map(cpu),
        memory: usage.as_ref().map(memory),
        writable_layer: Some(api::FilesystemUsage {
            timestamp: now,
            fs_id: Some(api::FilesystemIdentifier { mountpoint: data_root }),
            used_bytes: count(used.bytes),
            inodes_used: count(used.files),
        }),
        swap: usage.as_ref().and_then(swap),
        io: usage.as_ref().and_then(io),
    })
}

fn cpu(usage: &Usage) -> api::CpuUsage {
    api::CpuUsage {
        timestamp: usage.read.nanos(),
        usage_core_nano_seconds: count(usage.detail.stats.cpu_total),
        // The kubelet computes it from two samples.
        usage_nano_cores: None,
        psi: usage.detail.cpu_pressure.map(psi),
    }
}

fn io(usage: &Usage) -> Option<api::IoUsage> {
    let psi = usage.detail.io_pressure.map(psi)?;
    Some(api::IoUsage { timestamp: usage.read.nanos(), psi: Some(psi) })
}

fn psi(pressure: CgroupPressure) -> api::PsiStats {
    let data = |it: CgroupStall| {
        let [avg10, avg60, avg300] = it.averages;
        api::PsiData { total: it.total.saturating_mul(1000), avg10, avg60, avg300 }
    };
    api::PsiStats { full: pressure.full.map(data), some: Some(data(pressure.some)) }
}

fn swap(usage: &Usage) -> Option<api::SwapUsage> {
    let used = usage.detail.swap?;
    let available = swap_limit(&usage.detail).map(|limit| limit.saturating_sub(used));
    Some(api::SwapUsage {
        timestamp: usage.read.nanos(),
        swap_available_bytes: available.and_then(count),
        swap_usage_bytes: count(used),
    })
}

/// The limit of swap alone; `None` without one. Version 1 has limits of memory, and of both together.
fn swap_limit(detail: &CgroupDetail) -> Option<u64> {
    let limit = detail.limits.memory_swap.filter(|&limit| limit != u64::MAX)?;
    let is_v1 = detail.stats.memory_detail.contains_key("total_swap");
    if is_v1 { Some(limit.saturating_sub(detail.limits.memory?)) } else { Some(limit) }
}

/// Memory in use that could not be had at once: `memory.stat` tells the rest, cgroup v1's name first.
pub(super) fn working_set(usage: &CgroupStats) -> u64 {
    let detail = &usage.memory_detail;
    let inactive = detail.get("total_inactive_file").or_else(|| detail.get("inactive_file"));
    usage.memory_usage.saturating_sub(inactive.copied().unwrap_or(0))
}

fn memory(of: &Usage) -> api::MemoryUsage {
    let usage = &of.detail.stats;
    let detail =
        |names: &[&str]| names.iter().find_map(|name| usage.memory_detail.get(*name)).copied();
    let working_set = working_set(usage);
    api::MemoryUsage {
        timestamp: of.read.nanos(),
        working_set_bytes: count(working_set),
        available_bytes: count(usage.memory_limit.saturating_sub(working_set)),
        usage_bytes: count(usage.memory_usage),
        rss_bytes: count(detail(&["total_rss", "anon"]).unwrap_or(0)),
        page_faults: count(detail(&["total_pgfault", "pgfault"]).unwrap_or(0)),
        major_page_faults: count(detail(&["total_pgmajfault", "pgmajfault"]).unwrap_or(0)),
        psi: of.detail.memory_pressure.map(psi),
    }
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
    let own = pod::usage(&runtime.engine, &it.id).await.map_err(refused)?;
    let mut containers = Vec::new();
    for member in pod::members(&runtime.engine, &it.id) {
        if let Some(member) = Member::of(&member).filter(|it| it.it.state.phase.is_running()) {
            containers.push(container(runtime, &member).await?);
        }
    }
    let (cpu, memory) = (own.as_ref().map(cpu), own.as_ref().map(memory));
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
            network: own.as_ref().map(network),
            process: own.as_ref().map(processes),
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
    // That of the sandbox alone; the pod's own group is the kubelet's.
    cpu.psi = None;
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
    memory.psi = None;
    memory
}

fn network(usage: &Usage) -> api::NetworkUsage {
    let mut interfaces: Vec<_> = usage
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
    api::NetworkUsage { timestamp: usage.read.nanos(), default_interface: main, interfaces }
}

fn processes(usage: &Usage) -> api::ProcessUsage {
    let process_count = count(usage.detail.stats.pids);
    api::ProcessUsage { timestamp: usage.read.nanos(), process_count }
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
