//! The flags of `run` and `create`.

use super::{devices, mounts, networks, values};
use crate::framework::{Flag, bytes_or_unlimited};

/// Of `run`.
pub(crate) const RUN_FLAGS: &[Flag] = &join::<103, 4, 107>(COMMON, RUN);

/// Of `create`.
pub(crate) const CREATE_FLAGS: &[Flag] = &join::<103, 1, 104>(COMMON, CREATE);

const RUN: [Flag; 4] = [
    Flag::bool("detach", "Run container in background and print container ID").short('d'),
    Flag::string("detach-keys", "Override the key sequence for detaching a container"),
    Flag::string("pull", "Pull image before running (\"always\", \"missing\", \"never\")")
        .default("missing"),
    Flag::bool("sig-proxy", "Proxy received signals to the process").default("true"),
];

const CREATE: [Flag; 1] =
    [Flag::string("pull", "Pull image before creating (\"always\", \"|missing\", \"never\")")
        .default("missing")];

const COMMON: [Flag; 103] = [
    Flag::list("add-host", "Add a custom host-to-IP mapping (host:ip)").check(values::check_extra_host),
    Flag::map("annotation", "Add an annotation to the container (passed through to the OCI runtime)").shown("map[]"),
    Flag::list("attach", "Attach to STDIN, STDOUT or STDERR").short('a').check(values::check_attach),
    Flag::uint16("blkio-weight", "Block IO (relative weight), between 10 and 1000, or 0 to disable").shown("0"),
    Flag::list("blkio-weight-device", "Block IO weight (relative device weight)").shown("[]").check(check_weight),
    Flag::list("cap-add", "Add Linux capabilities"),
    Flag::list("cap-drop", "Drop Linux capabilities"),
    Flag::string("cgroup-parent", "Optional parent cgroup for the container"),
    Flag::string("cgroupns", "Cgroup namespace to use (host|private)\n'host':    Run the container in the Docker host's cgroup namespace\n'private': Run the container in its own private cgroup namespace\n'':        Use the cgroup namespace as configured by the\n           default-cgroupns-mode option on the daemon (default)"),
    Flag::string("cidfile", "Write the container ID to the file"),
    Flag::int("cpu-count", "CPU count (Windows only)").hidden(),
    Flag::int("cpu-percent", "CPU percent (Windows only)").hidden(),
    Flag::int("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period"),
    Flag::int("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    Flag::int("cpu-rt-period", "Limit CPU real-time period in microseconds"),
    Flag::int("cpu-rt-runtime", "Limit CPU real-time runtime in microseconds"),
    Flag::int("cpu-shares", "CPU shares (relative weight)").short('c'),
    Flag::decimal("cpus", "Number of CPUs"),
    Flag::string("cpuset-cpus", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::string("cpuset-mems", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag::list("device", "Add a host device to the container"),
    Flag::list("device-cgroup-rule", "Add a rule to the cgroup allowed devices list").check(devices::check_rule),
    Flag::list("device-read-bps", "Limit read rate (bytes per second) from a device").shown("[]").check(check_bytes_rate),
    Flag::list("device-read-iops", "Limit read rate (IO per second) from a device").shown("[]").check(check_operations_rate),
    Flag::list("device-write-bps", "Limit write rate (bytes per second) to a device").shown("[]").check(check_bytes_rate),
    Flag::list("device-write-iops", "Limit write rate (IO per second) to a device").shown("[]").check(check_operations_rate),
    Flag::bool("disable-content-trust", "Skip image verification").default("true"),
    Flag::list("dns", "Set custom DNS servers").check(values::check_ip),
    Flag::list("dns-option", "Set DNS options"),
    Flag::list("dns-search", "Set custom DNS search domains").check(values::check_domain),
    Flag::string("domainname", "Container NIS domain name"),
    Flag::string("entrypoint", "Overwrite the default ENTRYPOINT of the image"),
    Flag::list("env", "Set environment variables").short('e').check(values::check_env),
    Flag::list("env-file", "Read in a file of environment variables"),
    Flag::list("expose", "Expose a port or a range of ports"),
    Flag::value("gpus", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)").check(check_gpus),
    Flag::list("group-add", "Add additional groups to join"),
    Flag::string("health-cmd", "Command to run to check health"),
    Flag::duration("health-interval", "Time between running the check (ms|s|m|h)").shown("0s"),
    Flag::string("health-on-failure", "Action to take when the container becomes unhealthy (none|restart|stop|kill)").beyond_docker(),
    Flag::int("health-retries", "Consecutive failures needed to report unhealthy"),
    Flag::duration("health-start-interval", "Time between running the check during the start period (ms|s|m|h)").shown("0s"),
    Flag::duration("health-start-period", "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)").shown("0s"),
    Flag::duration("health-timeout", "Maximum time to allow one check to run (ms|s|m|h)").shown("0s"),
    Flag::string("hostname", "Container host name").short('h'),
    Flag::bool("init", "Run an init inside the container that forwards signals and reaps processes"),
    Flag::bool("interactive", "Keep STDIN open even if not attached").short('i'),
    Flag::bytes("io-maxbandwidth", "Maximum IO bandwidth limit for the system drive (Windows only)").hidden(),
    Flag::uint("io-maxiops", "Maximum IOps limit for the system drive (Windows only)").hidden(),
    Flag::string("ip", "IPv4 address (e.g., 172.30.100.104)"),
    Flag::string("ip6", "IPv6 address (e.g., 2001:db8::33)"),
    Flag::string("ipc", "IPC mode to use"),
    Flag::string("isolation", "Container isolation technology"),
    Flag::bytes("kernel-memory", "Kernel memory limit"),
    Flag::list("label", "Set meta data on a container").short('l').check(values::check_label),
    Flag::list("label-file", "Read in a line delimited file of labels"),
    Flag::list("link", "Add link to another container").check(values::check_link),
    Flag::list("link-local-ip", "Container IPv4/IPv6 link-local addresses"),
    Flag::string("log-driver", "Logging driver for the container"),
    Flag::list("log-opt", "Log driver options"),
    Flag::string("mac-address", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Flag::bytes("memory", "Memory limit").short('m'),
    Flag::bytes("memory-reservation", "Memory soft limit"),
    Flag::bytes("memory-swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap").check(bytes_or_unlimited),
    Flag::int("memory-swappiness", "Tune container memory swappiness (0 to 100)").default("-1"),
    Flag::value("mount", "mount", "Attach a filesystem mount to the container").check(mounts::check),
    Flag::string("name", "Assign a name to the container"),
    Flag::value("network", "network", "Connect a container to a network").check(networks::check),
    Flag::list("network-alias", "Add network-scoped alias for the container"),
    Flag::bool("no-healthcheck", "Disable any container-specified HEALTHCHECK"),
    Flag::bool("oom-kill-disable", "Disable OOM Killer"),
    Flag::int("oom-score-adj", "Tune host's OOM preferences (-1000 to 1000)"),
    Flag::string("pid", "PID namespace to use"),
    Flag::int("pids-limit", "Tune container pids limit (set -1 for unlimited)"),
    Flag::string("platform", "Set platform if server is multi-platform capable"),
    Flag::bool("privileged", "Give extended privileges to this container"),
    Flag::list("publish", "Publish a container's port(s) to the host").short('p'),
    Flag::bool("publish-all", "Publish all exposed ports to random ports").short('P'),
    Flag::bool("quiet", "Suppress the pull output").short('q'),
    Flag::bool("read-only", "Mount the container's root filesystem as read only"),
    Flag::string("restart", "Restart policy to apply when a container exits").default("no"),
    Flag::bool("rm", "Automatically remove the container and its associated anonymous volumes when it exits"),
    Flag::string("runtime", "Runtime to use for this container"),
    Flag::list("security-opt", "Security Options"),
    Flag::bytes("shm-size", "Size of /dev/shm"),
    Flag::string("stop-signal", "Signal to stop the container"),
    Flag::int("stop-timeout", "Timeout (in seconds) to stop a container"),
    Flag::list("storage-opt", "Storage driver options for the container"),
    Flag::map("sysctl", "Sysctl options").shown("map[]").check(values::check_sysctl),
    Flag::list("tmpfs", "Mount a tmpfs directory"),
    Flag::bool("tty", "Allocate a pseudo-TTY").short('t'),
    Flag::value("ulimit", "ulimit", "Ulimit options").shown("[]").check(values::check_ulimit),
    Flag::bool("use-api-socket", "Bind mount Docker API socket and required auth"),
    Flag::string("user", "Username or UID (format: <name|uid>[:<group|gid>])").short('u'),
    Flag::string("userns", "User namespace to use"),
    Flag::string("uts", "UTS namespace to use"),
    Flag::list("volume", "Bind mount a volume").short('v'),
    Flag::string("volume-driver", "Optional volume driver for the container"),
    Flag::list("volumes-from", "Mount volumes from the specified container(s)"),
    Flag::string("workdir", "Working directory inside the container").short('w'),
    Flag::list("dns-opt", "Set DNS options").same_as("dns-option"),
    Flag::value("net", "network", "Connect a container to a network").check(networks::check).same_as("network"),
    Flag::list("net-alias", "Add network-scoped alias for the container").same_as("network-alias"),
];

/// One list from two. Help sorts them.
const fn join<const A: usize, const B: usize, const ALL: usize>(
    first: [Flag; A],
    second: [Flag; B],
) -> [Flag; ALL] {
    let mut all = [first[0]; ALL];
    let mut index = 0;
    while index < ALL {
        all[index] = if index < A { first[index] } else { second[index - A] };
        index += 1;
    }
    all
}

fn check_weight(text: &str) -> Result<(), String> {
    devices::weight(text).map(drop)
}

fn check_bytes_rate(text: &str) -> Result<(), String> {
    devices::bytes_rate(text).map(drop)
}

fn check_operations_rate(text: &str) -> Result<(), String> {
    devices::operations_rate(text).map(drop)
}

fn check_gpus(text: &str) -> Result<(), String> {
    devices::gpus(text).map(drop)
}
