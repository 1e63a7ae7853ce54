//! `/containers/{id}/stats`.

use std::collections::BTreeMap;

wire! {
    /// One sample.
    pub struct StatsResponse {
        /// Container name with a leading slash.
        name: String = "name" omitempty,
        /// Container id.
        id: String = "id" omitempty,
        /// RFC 3339.
        read: String = "read",
        /// RFC 3339 of the sample before.
        preread: String = "preread",
        /// Processes.
        pids_stats: PidsStats = "pids_stats",
        /// Block devices.
        blkio_stats: BlkioStats = "blkio_stats",
        /// Windows only.
        num_procs: u32 = "num_procs",
        /// Windows only.
        storage_stats: StorageStats = "storage_stats",
        /// Processors.
        cpu_stats: CpuStats = "cpu_stats",
        /// Processors at the sample before.
        precpu_stats: CpuStats = "precpu_stats",
        /// Memory.
        memory_stats: MemoryStats = "memory_stats",
        /// By interface name.
        networks: BTreeMap<String, NetworkStats> = "networks" omitempty,
    }

    /// Processes.
    pub struct PidsStats {
        /// Now.
        current: u64 = "current" omitempty,
        /// At most.
        limit: u64 = "limit" omitempty,
    }

    /// Block devices.
    pub struct BlkioStats {
        /// Bytes.
        io_service_bytes_recursive: Option<Vec<BlkioEntry>> = "io_service_bytes_recursive",
        /// Operations.
        io_serviced_recursive: Option<Vec<BlkioEntry>> = "io_serviced_recursive",
        /// Queued operations.
        io_queue_recursive: Option<Vec<BlkioEntry>> = "io_queue_recursive",
        /// Nanoseconds.
        io_service_time_recursive: Option<Vec<BlkioEntry>> = "io_service_time_recursive",
        /// Nanoseconds.
        io_wait_time_recursive: Option<Vec<BlkioEntry>> = "io_wait_time_recursive",
        /// Merged operations.
        io_merged_recursive: Option<Vec<BlkioEntry>> = "io_merged_recursive",
        /// Milliseconds.
        io_time_recursive: Option<Vec<BlkioEntry>> = "io_time_recursive",
        /// Sectors.
        sectors_recursive: Option<Vec<BlkioEntry>> = "sectors_recursive",
    }

    /// A counter of a block device.
    pub struct BlkioEntry {
        /// Device number.
        major: u64 = "major",
        /// Device number.
        minor: u64 = "minor",
        /// `read`, `write`, …
        op: String = "op",
        /// Counter.
        value: u64 = "value",
    }

    /// Windows only.
    pub struct StorageStats {
        /// Reads.
        read_count_normalized: u64 = "read_count_normalized" omitempty,
        /// Bytes read.
        read_size_bytes: u64 = "read_size_bytes" omitempty,
        /// Writes.
        write_count_normalized: u64 = "write_count_normalized" omitempty,
        /// Bytes written.
        write_size_bytes: u64 = "write_size_bytes" omitempty,
    }

    /// Processors.
    pub struct CpuStats {
        /// The container's use.
        cpu_usage: CpuUsage = "cpu_usage",
        /// The machine's use, nanoseconds.
        system_cpu_usage: u64 = "system_cpu_usage" omitempty,
        /// Processors.
        online_cpus: u32 = "online_cpus" omitempty,
        /// Throttling.
        throttling_data: ThrottlingData = "throttling_data",
    }

    /// A container's processor use, nanoseconds.
    pub struct CpuUsage {
        /// In all.
        total_usage: u64 = "total_usage",
        /// By processor, cgroup v1 only.
        percpu_usage: Vec<u64> = "percpu_usage" omitempty,
        /// In the kernel.
        usage_in_kernelmode: u64 = "usage_in_kernelmode",
        /// Outside the kernel.
        usage_in_usermode: u64 = "usage_in_usermode",
    }

    /// Throttling by quota.
    pub struct ThrottlingData {
        /// Periods.
        periods: u64 = "periods",
        /// Periods with throttling.
        throttled_periods: u64 = "throttled_periods",
        /// Nanoseconds.
        throttled_time: u64 = "throttled_time",
    }

    /// Memory.
    pub struct MemoryStats {
        /// Bytes now.
        usage: u64 = "usage" omitempty,
        /// Bytes at most so far, cgroup v1 only.
        max_usage: u64 = "max_usage" omitempty,
        /// `memory.stat`.
        stats: BTreeMap<String, u64> = "stats" omitempty,
        /// Times that the limit was hit, cgroup v1 only.
        failcnt: u64 = "failcnt" omitempty,
        /// Limit in bytes.
        limit: u64 = "limit" omitempty,
        /// Windows only.
        commit: u64 = "commitbytes" omitempty,
        /// Windows only.
        commit_peak: u64 = "commitpeakbytes" omitempty,
        /// Windows only.
        private_working_set: u64 = "privateworkingset" omitempty,
    }

    /// Counters of an interface.
    pub struct NetworkStats {
        /// Received.
        rx_bytes: u64 = "rx_bytes",
        /// Received.
        rx_packets: u64 = "rx_packets",
        /// Received.
        rx_errors: u64 = "rx_errors",
        /// Received.
        rx_dropped: u64 = "rx_dropped",
        /// Sent.
        tx_bytes: u64 = "tx_bytes",
        /// Sent.
        tx_packets: u64 = "tx_packets",
        /// Sent.
        tx_errors: u64 = "tx_errors",
        /// Sent.
        tx_dropped: u64 = "tx_dropped",
        /// Windows only.
        endpoint_id: String = "endpoint_id" omitempty,
        /// Windows only.
        instance_id: String = "instance_id" omitempty,
    }
}
