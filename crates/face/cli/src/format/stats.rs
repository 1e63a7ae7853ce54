//! What a container uses, in docker's figures and columns.

use ferry_docker_api::{BlkioEntry, MemoryStats, StatsResponse};
use ferry_stdx::size::{format_binary, format_decimal_short};

use super::{Kind, Row};

pub(crate) const KIND: Kind = Kind {
    name: "*container.statsContext",
    titles: &[
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
};

/// The columns that are shown when nobody asks for others.
pub(crate) const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// A row. `container` is what the user calls it; without a sample there is nothing to show.
pub(crate) fn row(container: &str, sample: Option<&StatsResponse>, trunc: bool) -> Row {
    let row = Row::default().with("Container", container);
    let Some(sample) = sample else {
        let row = row.with("Name", "--").with("ID", "").with("CPUPerc", "--");
        let row = row.with("MemUsage", "-- / --").with("MemPerc", "--").with("NetIO", "--");
        return row.with("BlockIO", "--").with("PIDs", "--");
    };
    let id = sample.id.get(..12).filter(|_| trunc).unwrap_or(&sample.id);
    let (used, limit) = (memory_used(&sample.memory_stats), sample.memory_stats.limit);
    let share = if limit == 0 { 0.0 } else { used as f64 / limit as f64 * 100.0 };
    let networks = sample.networks.values();
    let (received, sent) = networks.fold((0, 0), |(received, sent), network| {
        (network.rx_bytes.saturating_add(received), network.tx_bytes.saturating_add(sent))
    });
    let (read, written) = block(sample.blkio_stats.io_service_bytes_recursive.as_deref());
    let pair =
        |a: u64, b: u64| format!("{} / {}", format_decimal_short(a), format_decimal_short(b));
    row.with("Name", sample.name.strip_prefix('/').unwrap_or(&sample.name))
        .with("ID", id)
        .with("CPUPerc", format!("{:.2}%", processor_share(sample)))
        .with("MemUsage", format!("{} / {}", format_binary(used), format_binary(limit)))
        .with("MemPerc", format!("{share:.2}%"))
        .with("NetIO", pair(received, sent))
        .with("BlockIO", pair(read, written))
        .with("PIDs", sample.pids_stats.current.to_string())
}

/// The container's part of the machine's processor time since the sample before, 100 for each processor.
fn processor_share(sample: &StatsResponse) -> f64 {
    let (now, before) = (&sample.cpu_stats, &sample.precpu_stats);
    let own = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
    let machine = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
    let processors = match now.online_cpus {
        0 => now.cpu_usage.percpu_usage.len() as f64,
        count => f64::from(count),
    };
    if own > 0.0 && machine > 0.0 { own / machine * processors * 100.0 } else { 0.0 }
}

/// Page cache that nobody uses does not count. Its name tells the versions of cgroups apart.
fn memory_used(memory: &MemoryStats) -> u64 {
    let cache = memory.stats.get("total_inactive_file").or(memory.stats.get("inactive_file"));
    match cache {
        Some(cache) if *cache < memory.usage => memory.usage - cache,
        _ => memory.usage,
    }
}

/// Bytes read and written.
fn block(entries: Option<&[BlkioEntry]>) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for entry in entries.unwrap_or_default() {
        match entry.op.as_bytes().first() {
            Some(b'r' | b'R') => read = read.saturating_add(entry.value),
            Some(b'w' | b'W') => written = written.saturating_add(entry.value),
            _ => {}
        }
    }
    (read, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StatsResponse {
        let mut sample = StatsResponse { name: "/web".into(), ..StatsResponse::default() };
        sample.id = "0123456789abcdef".into();
        sample.cpu_stats.online_cpus = 2;
        sample.cpu_stats.system_cpu_usage = 3_000_000_000;
        sample.precpu_stats.system_cpu_usage = 1_000_000_000;
        sample.cpu_stats.cpu_usage.total_usage = 750_000_000;
        sample.precpu_stats.cpu_usage.total_usage = 250_000_000;
        sample.memory_stats.usage = 3 << 20;
        sample.memory_stats.limit = 64 << 20;
        sample
    }

    fn field(sample: &StatsResponse, name: &str) -> String {
        row("web", Some(sample), true).fields[name].as_str().unwrap().to_owned()
    }

    #[test]
    fn processors() {
        let mut one = sample();
        assert_eq!(field(&one, "CPUPerc"), "50.00%");
        one.cpu_stats.online_cpus = 0;
        one.cpu_stats.cpu_usage.percpu_usage = vec![1, 2, 3, 4];
        assert_eq!(field(&one, "CPUPerc"), "100.00%");
        one.precpu_stats.cpu_usage.total_usage = u64::MAX;
        assert_eq!(field(&one, "CPUPerc"), "0.00%", "counters that went back");
    }

    #[test]
    fn memory_without_cache_in_both_versions() {
        let mut one = sample();
        assert_eq!(field(&one, "MemUsage"), "3MiB / 64MiB");
        one.memory_stats.stats.insert("inactive_file".into(), 1 << 20);
        assert_eq!(
            (field(&one, "MemUsage"), field(&one, "MemPerc")),
            ("2MiB / 64MiB".into(), "3.12%".into())
        );
        one.memory_stats.stats.insert("total_inactive_file".into(), 2 << 20);
        assert_eq!(field(&one, "MemUsage"), "1MiB / 64MiB");
    }

    #[test]
    fn devices_and_names() {
        let mut one = sample();
        let entry = |op: &str, value| BlkioEntry { op: op.into(), value, ..BlkioEntry::default() };
        one.blkio_stats.io_service_bytes_recursive = Some(vec![
            entry("Read", 1000),
            entry("write", 2),
            entry("read", 500),
            entry("Sync", 9),
        ]);
        assert_eq!(field(&one, "BlockIO"), "1.5kB / 2B");
        assert_eq!((field(&one, "ID"), field(&one, "Name")), ("0123456789ab".into(), "web".into()));
        assert_eq!(row("x", None, true).fields["MemUsage"], "-- / --");
    }
}
