//! `HostConfig`: what a container asks of the host.

use std::collections::BTreeMap;

use crate::{Mount, PortMap, StrSlice};

wire! {
    /// Docker's HostConfig: the 69 fields of the newest swagger and two that it dropped, 31 of them in [`Resources`].
    pub struct HostConfig {
        /// `-v source:destination[:options]`.
        binds: Option<Vec<String>> = "Binds",
        /// Where the client wrote the id; shown again only.
        container_id_file: String = "ContainerIDFile",
        /// Log driver.
        log_config: LogConfig = "LogConfig",
        /// `default`, `bridge`, `none`, `host`, `container:x`, or a network.
        network_mode: String = "NetworkMode",
        /// `-p`.
        port_bindings: Option<PortMap> = "PortBindings",
        /// `--restart`.
        restart_policy: RestartPolicy = "RestartPolicy",
        /// `--rm`.
        auto_remove: bool = "AutoRemove",
        /// Driver of volumes in `binds`.
        volume_driver: String = "VolumeDriver",
        /// `container[:ro|rw]`.
        volumes_from: Option<Vec<String>> = "VolumesFrom",
        /// Terminal height and width at start.
        console_size: [u32; 2] = "ConsoleSize",
        /// For the OCI runtime.
        annotations: BTreeMap<String, String> = "Annotations" omitempty,
        /// `--cap-add`.
        cap_add: StrSlice = "CapAdd",
        /// `--cap-drop`.
        cap_drop: StrSlice = "CapDrop",
        /// `host` or `private`.
        cgroupns_mode: String = "CgroupnsMode",
        /// `--dns`.
        dns: Option<Vec<String>> = "Dns",
        /// `--dns-option`.
        dns_options: Option<Vec<String>> = "DnsOptions",
        /// `--dns-search`.
        dns_search: Option<Vec<String>> = "DnsSearch",
        /// `name:address`.
        extra_hosts: Option<Vec<String>> = "ExtraHosts",
        /// `--group-add`.
        group_add: Option<Vec<String>> = "GroupAdd",
        /// `none`, `private`, `shareable`, `host`, `container:x`.
        ipc_mode: String = "IpcMode",
        /// `container:x`; always empty in practice.
        cgroup: String = "Cgroup",
        /// `--link`.
        links: Option<Vec<String>> = "Links",
        /// `--oom-score-adj`.
        oom_score_adj: i64 = "OomScoreAdj",
        /// `host`, `container:x`.
        pid_mode: String = "PidMode",
        /// `--privileged`.
        privileged: bool = "Privileged",
        /// `-P`.
        publish_all_ports: bool = "PublishAllPorts",
        /// `--read-only`.
        readonly_rootfs: bool = "ReadonlyRootfs",
        /// `--security-opt`.
        security_opt: Option<Vec<String>> = "SecurityOpt",
        /// `--storage-opt`.
        storage_opt: BTreeMap<String, String> = "StorageOpt" omitempty,
        /// `--tmpfs`: path to options.
        tmpfs: BTreeMap<String, String> = "Tmpfs" omitempty,
        /// `host`.
        uts_mode: String = "UTSMode",
        /// `host`.
        userns_mode: String = "UsernsMode",
        /// Bytes.
        shm_size: i64 = "ShmSize",
        /// `--sysctl`.
        sysctls: BTreeMap<String, String> = "Sysctls" omitempty,
        /// `--runtime`.
        runtime: String = "Runtime" omitempty,
        /// Windows only.
        isolation: String = "Isolation";
        embed
        /// Limits; in the same JSON object.
        resources: Resources;
        /// `--mount`.
        mounts: Vec<Mount> = "Mounts" omitempty,
        /// Paths that are hidden; `null` is Docker's default set.
        masked_paths: Option<Vec<String>> = "MaskedPaths",
        /// Paths that are read-only; `null` is Docker's default set.
        readonly_paths: Option<Vec<String>> = "ReadonlyPaths",
        /// `--init`; `null` is the daemon's default.
        init: Option<bool> = "Init" omitempty,
    }

    /// Limits: what `update` can change, and devices.
    pub struct Resources {
        /// Relative weight.
        cpu_shares: i64 = "CpuShares",
        /// Bytes.
        memory: i64 = "Memory",
        /// Billionths of a processor.
        nano_cpus: i64 = "NanoCpus",
        /// Parent cgroup.
        cgroup_parent: String = "CgroupParent",
        /// Relative weight.
        blkio_weight: u16 = "BlkioWeight",
        /// By device.
        blkio_weight_device: Option<Vec<WeightDevice>> = "BlkioWeightDevice",
        /// Bytes a second.
        blkio_device_read_bps: Option<Vec<ThrottleDevice>> = "BlkioDeviceReadBps",
        /// Bytes a second.
        blkio_device_write_bps: Option<Vec<ThrottleDevice>> = "BlkioDeviceWriteBps",
        /// Operations a second.
        blkio_device_read_iops: Option<Vec<ThrottleDevice>> = "BlkioDeviceReadIOps",
        /// Operations a second.
        blkio_device_write_iops: Option<Vec<ThrottleDevice>> = "BlkioDeviceWriteIOps",
        /// Microseconds.
        cpu_period: i64 = "CpuPeriod",
        /// Microseconds.
        cpu_quota: i64 = "CpuQuota",
        /// Microseconds.
        cpu_realtime_period: i64 = "CpuRealtimePeriod",
        /// Microseconds.
        cpu_realtime_runtime: i64 = "CpuRealtimeRuntime",
        /// `0-2,4`.
        cpuset_cpus: String = "CpusetCpus",
        /// `0-2,4`.
        cpuset_mems: String = "CpusetMems",
        /// `--device`.
        devices: Option<Vec<DeviceMapping>> = "Devices",
        /// `--device-cgroup-rule`.
        device_cgroup_rules: Option<Vec<String>> = "DeviceCgroupRules",
        /// `--gpus`.
        device_requests: Option<Vec<DeviceRequest>> = "DeviceRequests",
        /// Bytes; gone since 1.42.
        kernel_memory: i64 = "KernelMemory" omitempty,
        /// Bytes.
        kernel_memory_tcp: i64 = "KernelMemoryTCP" omitempty,
        /// Bytes.
        memory_reservation: i64 = "MemoryReservation",
        /// Memory plus swap, bytes; -1 unlimited.
        memory_swap: i64 = "MemorySwap",
        /// 0 to 100.
        memory_swappiness: Option<i64> = "MemorySwappiness",
        /// `--oom-kill-disable`.
        oom_kill_disable: Option<bool> = "OomKillDisable",
        /// 0 or -1 is unlimited.
        pids_limit: Option<i64> = "PidsLimit",
        /// `--ulimit`.
        ulimits: Option<Vec<Ulimit>> = "Ulimits",
        /// Windows only.
        cpu_count: i64 = "CpuCount",
        /// Windows only.
        cpu_percent: i64 = "CpuPercent",
        /// Windows only.
        io_maximum_iops: u64 = "IOMaximumIOps",
        /// Windows only.
        io_maximum_bandwidth: u64 = "IOMaximumBandwidth",
    }

    /// Body of container update.
    pub struct UpdateConfig {
        ; embed
        /// New limits; zero leaves one alone.
        resources: Resources;
        /// New restart policy; an empty name leaves it alone.
        restart_policy: RestartPolicy = "RestartPolicy",
    }

    /// Log driver with options.
    pub struct LogConfig {
        /// Driver; empty is the daemon's default.
        kind: String = "Type",
        /// Options.
        config: Option<BTreeMap<String, String>> = "Config",
    }

    /// `--restart`.
    pub struct RestartPolicy {
        /// `no`, `always`, `unless-stopped`, `on-failure`, or empty.
        name: String = "Name",
        /// For `on-failure`; 0 is without limit.
        maximum_retry_count: i64 = "MaximumRetryCount",
    }

    /// `--blkio-weight-device`.
    pub struct WeightDevice {
        /// Device path.
        path: String = "Path",
        /// Relative weight.
        weight: u16 = "Weight",
    }

    /// `--device-read-bps` and its siblings.
    pub struct ThrottleDevice {
        /// Device path.
        path: String = "Path",
        /// Bytes or operations a second.
        rate: u64 = "Rate",
    }

    /// `--device`.
    pub struct DeviceMapping {
        /// On the host.
        path_on_host: String = "PathOnHost",
        /// In the container.
        path_in_container: String = "PathInContainer",
        /// Some of `rwm`.
        cgroup_permissions: String = "CgroupPermissions",
    }

    /// `--gpus`.
    pub struct DeviceRequest {
        /// Driver.
        driver: String = "Driver",
        /// -1 is all.
        count: i64 = "Count",
        /// Ids.
        device_ids: Option<Vec<String>> = "DeviceIDs",
        /// Alternatives of capability sets.
        capabilities: Option<Vec<Vec<String>>> = "Capabilities",
        /// Driver options.
        options: Option<BTreeMap<String, String>> = "Options",
    }

    /// `--ulimit`.
    pub struct Ulimit {
        /// `nofile`, …
        name: String = "Name",
        /// -1 is unlimited.
        hard: i64 = "Hard",
        /// -1 is unlimited.
        soft: i64 = "Soft",
    }
}
