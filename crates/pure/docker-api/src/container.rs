//! Containers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    EndpointSettings, HostConfig, MountPoint, NetworkingConfig, PortMap, PortSet, StrSlice,
};

wire! {
    /// Body of container create.
    pub struct ContainerCreateRequest {
        ; embed
        /// The portable part; in the same JSON object.
        config: ContainerConfig;
        /// The part that concerns this host.
        host_config: Option<HostConfig> = "HostConfig" omitempty,
        /// Networks to join.
        networking_config: Option<NetworkingConfig> = "NetworkingConfig" omitempty,
    }

    /// What a container is made from: Docker's `Config`, 24 fields.
    pub struct ContainerConfig {
        /// Host name.
        hostname: String = "Hostname",
        /// NIS domain name.
        domainname: String = "Domainname",
        /// `user[:group]`.
        user: String = "User",
        /// `run` attached to it.
        attach_stdin: bool = "AttachStdin",
        /// `run` attached to it.
        attach_stdout: bool = "AttachStdout",
        /// `run` attached to it.
        attach_stderr: bool = "AttachStderr",
        /// Declared ports.
        exposed_ports: PortSet = "ExposedPorts" omitempty,
        /// A pseudo terminal.
        tty: bool = "Tty",
        /// Keep stdin open.
        open_stdin: bool = "OpenStdin",
        /// Close stdin when the first client leaves.
        stdin_once: bool = "StdinOnce",
        /// `NAME=value`.
        env: Option<Vec<String>> = "Env",
        /// Command.
        cmd: StrSlice = "Cmd",
        /// Health check.
        healthcheck: Option<HealthConfig> = "Healthcheck" omitempty,
        /// Windows only.
        args_escaped: bool = "ArgsEscaped" omitempty,
        /// Image as the user wrote it.
        image: String = "Image",
        /// Paths of anonymous volumes.
        volumes: Option<PortSet> = "Volumes",
        /// Working directory.
        working_dir: String = "WorkingDir",
        /// Entry point.
        entrypoint: StrSlice = "Entrypoint",
        /// No network.
        network_disabled: bool = "NetworkDisabled" omitempty,
        /// Until 1.43; later in the endpoint's settings.
        mac_address: String = "MacAddress" omitempty,
        /// Build triggers.
        on_build: Option<Vec<String>> = "OnBuild",
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// Signal name or number.
        stop_signal: String = "StopSignal" omitempty,
        /// Seconds.
        stop_timeout: Option<i64> = "StopTimeout" omitempty,
        /// Shell of the shell form.
        shell: StrSlice = "Shell" omitempty,
    }

    /// A health check; durations are nanoseconds, 0 inherits.
    pub struct HealthConfig {
        /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
        test: Vec<String> = "Test" omitempty,
        /// Between two probes.
        interval: i64 = "Interval" omitempty,
        /// For one probe.
        timeout: i64 = "Timeout" omitempty,
        /// Failures do not count so long.
        start_period: i64 = "StartPeriod" omitempty,
        /// Between two probes during the start period.
        start_interval: i64 = "StartInterval" omitempty,
        /// Failures until unhealthy.
        retries: i64 = "Retries" omitempty,
    }

    /// Answer to container create.
    pub struct ContainerCreated {
        /// The new container's id.
        id: String = "Id",
        /// What was not done as asked; `[]` when all was.
        warnings: Vec<String> = "Warnings",
    }

    /// A line of the container list.
    pub struct ContainerSummary {
        /// Id.
        id: String = "Id",
        /// Names with a leading slash.
        names: Option<Vec<String>> = "Names",
        /// Image as the user wrote it, or its id when that name now means another one.
        image: String = "Image",
        /// The image's id.
        image_id: String = "ImageID",
        /// The image's manifest, with a containerd image store.
        image_manifest_descriptor: Option<Value> = "ImageManifestDescriptor" omitempty,
        /// Command line.
        command: String = "Command",
        /// Seconds since 1970.
        created: i64 = "Created",
        /// Ports.
        ports: Option<Vec<Port>> = "Ports",
        /// Bytes of the writable layer.
        size_rw: i64 = "SizeRw" omitempty,
        /// Bytes of all layers.
        size_root_fs: i64 = "SizeRootFs" omitempty,
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// `running`, …
        state: String = "State",
        /// `Up 2 hours (healthy)`.
        status: String = "Status",
        /// Two of the host configuration's fields.
        host_config: SummaryHostConfig = "HostConfig",
        /// Networks.
        network_settings: Option<SummaryNetworkSettings> = "NetworkSettings",
        /// Mounts.
        mounts: Option<Vec<MountPoint>> = "Mounts",
    }

    /// The part of HostConfig that a list shows.
    pub struct SummaryHostConfig {
        /// Network mode.
        network_mode: String = "NetworkMode" omitempty,
        /// Annotations.
        annotations: BTreeMap<String, String> = "Annotations" omitempty,
    }

    /// The part of NetworkSettings that a list shows.
    pub struct SummaryNetworkSettings {
        /// Endpoints by network name.
        networks: Option<BTreeMap<String, EndpointSettings>> = "Networks",
    }

    /// A port in the container list.
    pub struct Port {
        /// Host address.
        ip: String = "IP" omitempty,
        /// In the container.
        private_port: u16 = "PrivatePort",
        /// On the host; 0 when not published.
        public_port: u16 = "PublicPort" omitempty,
        /// `tcp`, `udp`, `sctp`.
        kind: String = "Type",
    }

    /// Answer to container inspect.
    pub struct ContainerInspect {
        /// Id.
        id: String = "Id",
        /// RFC 3339.
        created: String = "Created",
        /// The program.
        path: String = "Path",
        /// Its arguments.
        args: Option<Vec<String>> = "Args",
        /// State.
        state: Option<ContainerState> = "State",
        /// The image's id.
        image: String = "Image",
        /// File on the host.
        resolv_conf_path: String = "ResolvConfPath",
        /// File on the host.
        hostname_path: String = "HostnamePath",
        /// File on the host.
        hosts_path: String = "HostsPath",
        /// File on the host.
        log_path: String = "LogPath",
        /// Name with a leading slash.
        name: String = "Name",
        /// Restarts by policy.
        restart_count: i64 = "RestartCount",
        /// Storage driver.
        driver: String = "Driver",
        /// Operating system.
        platform: String = "Platform",
        /// SELinux.
        mount_label: String = "MountLabel",
        /// SELinux.
        process_label: String = "ProcessLabel",
        /// AppArmor.
        app_armor_profile: String = "AppArmorProfile",
        /// Running execs; `null` when there are none.
        exec_ids: Option<Vec<String>> = "ExecIDs",
        /// Host configuration.
        host_config: Option<HostConfig> = "HostConfig",
        /// Storage driver's data.
        graph_driver: DriverData = "GraphDriver",
        /// Bytes, when asked for.
        size_rw: Option<i64> = "SizeRw" omitempty,
        /// Bytes, when asked for.
        size_root_fs: Option<i64> = "SizeRootFs" omitempty,
        /// Mounts.
        mounts: Option<Vec<MountPoint>> = "Mounts",
        /// Portable configuration.
        config: Option<ContainerConfig> = "Config",
        /// Network settings.
        network_settings: Option<NetworkSettings> = "NetworkSettings",
        /// The image's manifest, with a containerd image store.
        image_manifest_descriptor: Option<Value> = "ImageManifestDescriptor" omitempty,
    }

    /// Where a container stands.
    pub struct ContainerState {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
        status: String = "Status",
        /// It has a process (also when paused or restarting).
        running: bool = "Running",
        /// Frozen.
        paused: bool = "Paused",
        /// Waiting for its next start.
        restarting: bool = "Restarting",
        /// The memory limit killed it.
        oom_killed: bool = "OOMKilled",
        /// Could not be removed in whole.
        dead: bool = "Dead",
        /// Process id on the host.
        pid: i64 = "Pid",
        /// Exit code of the last run.
        exit_code: i64 = "ExitCode",
        /// Why the last start failed.
        error: String = "Error",
        /// RFC 3339.
        started_at: String = "StartedAt",
        /// RFC 3339.
        finished_at: String = "FinishedAt",
        /// Only with a health check.
        health: Option<Health> = "Health" omitempty,
    }

    /// How healthy a container is.
    pub struct Health {
        /// `starting`, `healthy`, `unhealthy`.
        status: String = "Status",
        /// Failures in a row.
        failing_streak: i64 = "FailingStreak",
        /// The last probes, oldest first.
        log: Option<Vec<HealthResult>> = "Log",
    }

    /// One probe.
    pub struct HealthResult {
        /// RFC 3339.
        start: String = "Start",
        /// RFC 3339.
        end: String = "End",
        /// 0 healthy.
        exit_code: i64 = "ExitCode",
        /// What it printed.
        output: String = "Output",
    }

    /// A storage driver's data.
    pub struct DriverData {
        /// Directories.
        data: Option<BTreeMap<String, String>> = "Data",
        /// Name.
        name: String = "Name",
    }

    /// A container's networks. From `endpoint_id` to `mac_address` it repeats the default bridge's endpoint.
    pub struct NetworkSettings {
        /// The default bridge's link.
        bridge: String = "Bridge",
        /// Id of the network namespace.
        sandbox_id: String = "SandboxID",
        /// Path of the network namespace.
        sandbox_key: String = "SandboxKey",
        /// Ports: `{}` when there are none or it does not run.
        ports: Option<PortMap> = "Ports",
        /// Always false.
        hairpin_mode: bool = "HairpinMode",
        /// Never set.
        link_local_ipv6_address: String = "LinkLocalIPv6Address",
        /// Never set.
        link_local_ipv6_prefix_len: u32 = "LinkLocalIPv6PrefixLen",
        /// Never set.
        secondary_ip_addresses: Option<Vec<Value>> = "SecondaryIPAddresses",
        /// Never set.
        secondary_ipv6_addresses: Option<Vec<Value>> = "SecondaryIPv6Addresses",
        /// Endpoint id.
        endpoint_id: String = "EndpointID",
        /// Gateway.
        gateway: String = "Gateway",
        /// IPv6 address.
        global_ipv6_address: String = "GlobalIPv6Address",
        /// IPv6 prefix length.
        global_ipv6_prefix_len: u32 = "GlobalIPv6PrefixLen",
        /// Address.
        ip_address: String = "IPAddress",
        /// Prefix length.
        ip_prefix_len: u32 = "IPPrefixLen",
        /// IPv6 gateway.
        ipv6_gateway: String = "IPv6Gateway",
        /// MAC address.
        mac_address: String = "MacAddress",
        /// Endpoints by network name.
        networks: Option<BTreeMap<String, EndpointSettings>> = "Networks",
    }

    /// Answer to container wait.
    pub struct WaitResponse {
        /// Why it never ran or could not be removed.
        error: Option<WaitError> = "Error" omitempty,
        /// Exit code.
        status_code: i64 = "StatusCode",
    }

    /// Part of [`WaitResponse`].
    pub struct WaitError {
        /// What happened.
        message: String = "Message" omitempty,
    }

    /// Answer to container top.
    pub struct TopResponse {
        /// A row a process.
        processes: Option<Vec<Vec<String>>> = "Processes",
        /// Column titles.
        titles: Option<Vec<String>> = "Titles",
    }

    /// Answer to container update.
    pub struct UpdateResponse {
        /// What was not done as asked.
        warnings: Option<Vec<String>> = "Warnings",
    }

    /// One changed path.
    pub struct FilesystemChange {
        /// Absolute path.
        path: String = "Path",
        /// 0 modified, 1 added, 2 deleted.
        kind: u32 = "Kind",
    }

    /// Answer to container prune.
    pub struct ContainerPruneReport {
        /// Ids.
        containers_deleted: Option<Vec<String>> = "ContainersDeleted",
        /// Bytes.
        space_reclaimed: u64 = "SpaceReclaimed",
    }

    /// The `X-Docker-Container-Path-Stat` header of the archive endpoints, base64 of this JSON.
    pub struct PathStat {
        /// Base name.
        name: String = "name",
        /// Bytes.
        size: i64 = "size",
        /// Go's `os.FileMode` bits.
        mode: u32 = "mode",
        /// RFC 3339.
        mtime: String = "mtime",
        /// Where a symbolic link points.
        link_target: String = "linkTarget",
    }

    /// Answer to commit.
    pub struct CommitResponse {
        /// The new image's id.
        id: String = "Id",
    }

    /// What is left of a container that nobody finds any more. Docker has no such thing.
    pub struct Connections {
        /// Connections to its servers that have not ended.
        left: usize = "Connections",
    }

    /// One of the reasons that `why` gives. Docker has no such thing.
    pub struct WhyFinding {
        /// A word for programs.
        cause: String = "Cause",
        /// What happened.
        what: String = "What",
        /// What can be done about it.
        hint: String = "Hint",
    }

    /// Ports that a container gets and loses. Docker has no such thing.
    pub struct PortsChange {
        /// Bindings to add.
        add: Option<PortMap> = "Add" omitempty,
        /// Host ports to take away, `[ip:]port[/protocol]`.
        remove: Vec<String> = "Remove" omitempty,
    }
}
