//! `/info`, `/version`, `/system/df`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{ContainerSummary, ImageSummary, Volume};

wire! {
    /// Answer to `/info`.
    pub struct SystemInfo {
        /// Unique id of the daemon.
        id: String = "ID",
        /// Containers.
        containers: i64 = "Containers",
        /// Running containers.
        containers_running: i64 = "ContainersRunning",
        /// Paused containers.
        containers_paused: i64 = "ContainersPaused",
        /// Other containers.
        containers_stopped: i64 = "ContainersStopped",
        /// Images.
        images: i64 = "Images",
        /// Storage driver.
        driver: String = "Driver",
        /// Storage driver's data.
        driver_status: Option<Vec<[String; 2]>> = "DriverStatus",
        /// Classic Swarm only.
        system_status: Vec<[String; 2]> = "SystemStatus" omitempty,
        /// Drivers by kind.
        plugins: PluginsInfo = "Plugins",
        /// The kernel can limit memory.
        memory_limit: bool = "MemoryLimit",
        /// The kernel can limit swap.
        swap_limit: bool = "SwapLimit",
        /// Gone.
        kernel_memory: bool = "KernelMemory" omitempty,
        /// The kernel can limit its TCP memory.
        kernel_memory_tcp: bool = "KernelMemoryTCP" omitempty,
        /// The kernel has CFS periods.
        cpu_cfs_period: bool = "CpuCfsPeriod",
        /// The kernel has CFS quotas.
        cpu_cfs_quota: bool = "CpuCfsQuota",
        /// The kernel has shares.
        cpu_shares: bool = "CPUShares",
        /// The kernel has cpusets.
        cpu_set: bool = "CPUSet",
        /// The kernel can limit processes.
        pids_limit: bool = "PidsLimit",
        /// Forwarding is on.
        ipv4_forwarding: bool = "IPv4Forwarding",
        /// Debug logging is on.
        debug: bool = "Debug",
        /// Open file descriptors of the daemon.
        n_fd: i64 = "NFd",
        /// The kernel can do without the OOM killer.
        oom_kill_disable: bool = "OomKillDisable",
        /// Goroutines; tasks here.
        n_goroutines: i64 = "NGoroutines",
        /// RFC 3339.
        system_time: String = "SystemTime",
        /// Default log driver.
        logging_driver: String = "LoggingDriver",
        /// `cgroupfs` or `systemd`.
        cgroup_driver: String = "CgroupDriver",
        /// `1` or `2`.
        cgroup_version: String = "CgroupVersion" omitempty,
        /// Listeners for events.
        n_events_listener: i64 = "NEventsListener",
        /// Kernel release.
        kernel_version: String = "KernelVersion",
        /// Distribution.
        operating_system: String = "OperatingSystem",
        /// Its version.
        os_version: String = "OSVersion",
        /// `linux`.
        os_type: String = "OSType",
        /// `x86_64`, …
        architecture: String = "Architecture",
        /// Docker Hub.
        index_server_address: String = "IndexServerAddress",
        /// Registries.
        registry_config: Option<RegistryServiceConfig> = "RegistryConfig",
        /// Processors.
        n_cpu: i64 = "NCPU",
        /// Bytes.
        mem_total: i64 = "MemTotal",
        /// Swarm only.
        generic_resources: Option<Vec<Value>> = "GenericResources",
        /// Data root.
        docker_root_dir: String = "DockerRootDir",
        /// Proxy.
        http_proxy: String = "HttpProxy",
        /// Proxy.
        https_proxy: String = "HttpsProxy",
        /// No proxy for these.
        no_proxy: String = "NoProxy",
        /// Host name.
        name: String = "Name",
        /// Labels of the daemon.
        labels: Option<Vec<String>> = "Labels",
        /// Experimental features are on.
        experimental_build: bool = "ExperimentalBuild",
        /// Version of the daemon.
        server_version: String = "ServerVersion",
        /// OCI runtimes by name.
        runtimes: Option<BTreeMap<String, RuntimeInfo>> = "Runtimes",
        /// Default OCI runtime.
        default_runtime: String = "DefaultRuntime",
        /// Swarm.
        swarm: SwarmInfo = "Swarm",
        /// Containers live on without the daemon.
        live_restore_enabled: bool = "LiveRestoreEnabled",
        /// Windows only.
        isolation: String = "Isolation",
        /// The program behind `--init`.
        init_binary: String = "InitBinary",
        /// containerd.
        containerd_commit: Commit = "ContainerdCommit",
        /// runc.
        runc_commit: Commit = "RuncCommit",
        /// docker-init.
        init_commit: Commit = "InitCommit",
        /// `name=seccomp,profile=builtin`, …
        security_options: Option<Vec<String>> = "SecurityOptions",
        /// Licence.
        product_license: String = "ProductLicense" omitempty,
        /// Pools for new networks.
        default_address_pools: Vec<NetworkAddressPool> = "DefaultAddressPools" omitempty,
        /// Firewall.
        firewall_backend: Option<FirewallInfo> = "FirewallBackend" omitempty,
        /// Directories with CDI specifications.
        cdi_spec_dirs: Option<Vec<String>> = "CDISpecDirs",
        /// CDI devices.
        discovered_devices: Vec<DeviceInfo> = "DiscoveredDevices" omitempty,
        /// containerd.
        containerd: Option<ContainerdInfo> = "Containerd" omitempty,
        /// What the user should know.
        warnings: Option<Vec<String>> = "Warnings",
    }

    /// Drivers by kind.
    pub struct PluginsInfo {
        /// Volume drivers.
        volume: Option<Vec<String>> = "Volume",
        /// Network drivers.
        network: Option<Vec<String>> = "Network",
        /// Authorisation plugins.
        authorization: Option<Vec<String>> = "Authorization",
        /// Log drivers.
        log: Option<Vec<String>> = "Log",
    }

    /// Registries, keys in alphabetical order as dockerd writes them.
    pub struct RegistryServiceConfig {
        /// By registry name.
        index_configs: Option<BTreeMap<String, IndexInfo>> = "IndexConfigs",
        /// Networks whose registries need no TLS.
        insecure_registry_cidrs: Option<Vec<String>> = "InsecureRegistryCIDRs",
        /// Mirrors of Docker Hub.
        mirrors: Option<Vec<String>> = "Mirrors",
    }

    /// One registry.
    pub struct IndexInfo {
        /// Mirrors.
        mirrors: Option<Vec<String>> = "Mirrors",
        /// Name.
        name: String = "Name",
        /// It is Docker Hub.
        official: bool = "Official",
        /// TLS is checked.
        secure: bool = "Secure",
    }

    /// An OCI runtime.
    pub struct RuntimeInfo {
        /// Program.
        path: String = "path" omitempty,
        /// Arguments.
        runtime_args: Vec<String> = "runtimeArgs" omitempty,
        /// containerd's shim.
        runtime_type: String = "runtimeType" omitempty,
        /// The shim's options.
        options: BTreeMap<String, Value> = "options" omitempty,
        /// What the runtime says of itself.
        status: BTreeMap<String, String> = "status" omitempty,
    }

    /// Swarm, which is always off here.
    pub struct SwarmInfo {
        /// Node id.
        node_id: String = "NodeID",
        /// Node address.
        node_addr: String = "NodeAddr",
        /// `inactive`.
        local_node_state: String = "LocalNodeState",
        /// A manager.
        control_available: bool = "ControlAvailable",
        /// Error.
        error: String = "Error",
        /// Managers.
        remote_managers: Option<Vec<Value>> = "RemoteManagers",
        /// Nodes.
        nodes: i64 = "Nodes" omitempty,
        /// Managers.
        managers: i64 = "Managers" omitempty,
        /// Cluster.
        cluster: Option<Value> = "Cluster" omitempty,
        /// Warnings.
        warnings: Vec<String> = "Warnings" omitempty,
    }

    /// A component's version control id.
    pub struct Commit {
        /// The id.
        id: String = "ID",
        /// Gone.
        expected: String = "Expected" omitempty,
    }

    /// A pool for new networks.
    pub struct NetworkAddressPool {
        /// CIDR.
        base: String = "Base",
        /// Prefix length of each network.
        size: i64 = "Size",
    }

    /// Firewall.
    pub struct FirewallInfo {
        /// `iptables`, `nftables`, …
        driver: String = "Driver",
        /// Further facts.
        info: Vec<[String; 2]> = "Info" omitempty,
    }

    /// A CDI device.
    pub struct DeviceInfo {
        /// `cdi`.
        source: String = "Source",
        /// Id.
        id: String = "ID",
    }

    /// containerd.
    pub struct ContainerdInfo {
        /// Socket.
        address: String = "Address" omitempty,
        /// Namespaces.
        namespaces: ContainerdNamespaces = "Namespaces",
    }

    /// containerd's namespaces.
    pub struct ContainerdNamespaces {
        /// Of containers.
        containers: String = "Containers",
        /// Of plugins.
        plugins: String = "Plugins",
    }

    /// Answer to `/version`.
    pub struct Version {
        /// Product.
        platform: VersionPlatform = "Platform",
        /// Parts.
        components: Vec<ComponentVersion> = "Components" omitempty,
        /// Version of the daemon.
        version: String = "Version",
        /// Newest API.
        api_version: String = "ApiVersion",
        /// Oldest API.
        min_api_version: String = "MinAPIVersion" omitempty,
        /// Version control id.
        git_commit: String = "GitCommit",
        /// Version of the compiler.
        go_version: String = "GoVersion",
        /// `linux`.
        os: String = "Os",
        /// `amd64`, …
        arch: String = "Arch",
        /// Kernel release.
        kernel_version: String = "KernelVersion" omitempty,
        /// Experimental features are on.
        experimental: bool = "Experimental" omitempty,
        /// RFC 3339.
        build_time: String = "BuildTime" omitempty,
    }

    /// Product.
    pub struct VersionPlatform {
        /// Its name.
        name: String = "Name",
    }

    /// A part.
    pub struct ComponentVersion {
        /// Its name.
        name: String = "Name",
        /// Its version.
        version: String = "Version",
        /// Further facts.
        details: BTreeMap<String, String> = "Details" omitempty,
    }

    /// Answer to `/system/df`.
    pub struct DiskUsage {
        /// Bytes of all image layers.
        layers_size: i64 = "LayersSize",
        /// Images.
        images: Option<Vec<ImageSummary>> = "Images",
        /// Containers.
        containers: Option<Vec<ContainerSummary>> = "Containers",
        /// Volumes.
        volumes: Option<Vec<Volume>> = "Volumes",
        /// Build cache records.
        build_cache: Option<Vec<BuildCacheRecord>> = "BuildCache",
        /// Until 1.37.
        builder_size: i64 = "BuilderSize" omitempty,
    }

    /// Answer to build prune.
    pub struct BuildPruneReport {
        /// Ids of records.
        caches_deleted: Option<Vec<String>> = "CachesDeleted",
        /// Bytes.
        space_reclaimed: u64 = "SpaceReclaimed",
    }

    /// A record of the build cache.
    pub struct BuildCacheRecord {
        /// Id.
        id: String = "ID",
        /// Parent, until 1.41.
        parent: String = "Parent" omitempty,
        /// Parents. The space is dockerd's.
        parents: Vec<String> = " Parents" omitempty,
        /// Kind of record.
        kind: String = "Type",
        /// Description.
        description: String = "Description",
        /// In use now.
        in_use: bool = "InUse",
        /// Shared.
        shared: bool = "Shared",
        /// Bytes.
        size: i64 = "Size",
        /// RFC 3339.
        created_at: String = "CreatedAt",
        /// RFC 3339.
        last_used_at: Option<String> = "LastUsedAt",
        /// Uses.
        usage_count: i64 = "UsageCount",
    }
}
