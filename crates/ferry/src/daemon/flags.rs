//! dockerd's flags, every one: honoured, or already so, or refused by name.

use ferry_cli::flags::{Flag, Matches, ParseError};

use super::settings::Settings;

/// How a setting is met.
#[derive(Debug, Clone, Copy)]
pub(super) enum Support {
    /// It does what it says.
    Honoured,
    /// The engine always is as the values say; anything else is refused with these words.
    Always(&'static [&'static str], &'static str),
    /// Refused, with what to do instead, if there is anything.
    Refused(&'static str),
}

use Support::{Always, Honoured, Refused};

/// A setting: its flag, its key in `daemon.json` where that differs, and how it is met.
pub(super) struct Row {
    pub(super) flag: Flag,
    pub(super) key: &'static str,
    pub(super) support: Support,
}

const fn row(flag: Flag, key: &'static str, support: Support) -> Row {
    Row { flag, key, support }
}

const LATER: Support = Refused("");
const NO_CONTAINERD: Support = Refused("ferry runs containers itself, there is no containerd");

/// All settings, sorted by flag.
pub(super) const ROWS: &[Row] = &[
    row(
        Flag::value("add-runtime", "runtime", "Register an additional OCI compatible runtime"),
        "runtimes",
        Honoured,
    ),
    row(
        Flag::bool(
            "allow-direct-routing",
            "Allow remote access to published ports on container IP addresses",
        ),
        "",
        Always(&["false"], ""),
    ),
    row(
        Flag::list("authorization-plugin", "Authorization plugins to load"),
        "authorization-plugins",
        LATER,
    ),
    row(Flag::string("bip", "IPv4 address for the default bridge"), "", Honoured),
    row(Flag::string("bip6", "IPv6 address for the default bridge"), "", Honoured),
    row(Flag::string("bridge", "Attach containers to a network bridge").short('b'), "", Honoured),
    row(
        Flag::value("builder", "json", "Budget of the build cache: \"builder\" of daemon.json"),
        "",
        Honoured,
    ),
    row(
        Flag::list("cdi-spec-dir", "CDI specification directories to use"),
        "cdi-spec-dirs",
        Honoured,
    ),
    row(
        Flag::string(
            "cgroup-driver",
            "Who makes the containers' cgroups: \"cgroupfs\" (Ferry itself) or \"systemd\" (beyond Docker, which has it as --exec-opt native.cgroupdriver=…)",
        ),
        "",
        Honoured,
    ),
    row(Flag::string("cgroup-parent", "Set parent cgroup for all containers"), "", Honoured),
    row(
        Flag::string("config-file", "Daemon configuration file").default("/etc/ferry/daemon.json"),
        "",
        Honoured,
    ),
    row(
        Flag::list("cni-bin-dir", "Directories with CNI plugins for Kubernetes' pods"),
        "",
        Honoured,
    ),
    row(
        Flag::string("cni-conf-dir", "Directory with the CNI configuration for Kubernetes' pods")
            .default("/etc/cni/net.d"),
        "",
        Honoured,
    ),
    row(Flag::string("containerd", "containerd grpc address"), "", NO_CONTAINERD),
    row(Flag::string("containerd-namespace", "Containerd namespace to use"), "", NO_CONTAINERD),
    row(
        Flag::string("containerd-plugins-namespace", "Containerd namespace to use for plugins"),
        "containerd-plugin-namespace",
        NO_CONTAINERD,
    ),
    row(
        Flag::int(
            "cpu-rt-period",
            "Limit the CPU real-time period in microseconds for the parent cgroup for all containers (not supported with cgroups v2)",
        ),
        "",
        LATER,
    ),
    row(
        Flag::int(
            "cpu-rt-runtime",
            "Limit the CPU real-time runtime in microseconds for the parent cgroup for all containers (not supported with cgroups v2)",
        ),
        "",
        LATER,
    ),
    row(
        Flag::string(
            "cri",
            "Serve Kubernetes' runtime interface at this address (unix:///run/ferry/cri.sock)",
        ),
        "",
        Honoured,
    ),
    row(Flag::bool("cri-containerd", "start containerd with cri"), "", NO_CONTAINERD),
    row(
        Flag::list(
            "cri-pinned-image",
            "Images that Kubernetes must not collect: a reference, or its beginning and *",
        ),
        "",
        Honoured,
    ),
    row(
        Flag::int(
            "cri-pull-timeout",
            "Seconds without progress after which a pull for Kubernetes is given up",
        )
        .default("300"),
        "",
        Honoured,
    ),
    row(
        Flag::string("data-root", "Root directory of persistent state").default("/var/lib/ferry"),
        "",
        Honoured,
    ),
    row(Flag::bool("debug", "Enable debug mode").short('D'), "", Honoured),
    row(
        Flag::value(
            "default-address-pool",
            "pool-options",
            "Default address pools for node specific local networks",
        ),
        "default-address-pools",
        Honoured,
    ),
    row(
        Flag::string(
            "default-cgroupns-mode",
            "Default mode for containers cgroup namespace (\"host\" | \"private\")",
        ),
        "",
        Honoured,
    ),
    row(
        Flag::string(
            "default-gateway",
            "Default gateway IPv4 address for the default bridge network",
        ),
        "",
        Honoured,
    ),
    row(
        Flag::string(
            "default-gateway-v6",
            "Default gateway IPv6 address for the default bridge network",
        ),
        "",
        Honoured,
    ),
    row(
        Flag::string(
            "default-ipc-mode",
            "Default mode for containers ipc (\"shareable\" | \"private\")",
        ),
        "",
        Honoured,
    ),
    row(
        Flag::value("default-network-opt", "mapmap", "Default network options"),
        "default-network-opts",
        Honoured,
    ),
    row(Flag::string("default-runtime", "Default OCI runtime for containers"), "", Honoured),
    row(
        Flag::bytes("default-shm-size", "Default shm size for containers").shown("64MiB"),
        "",
        Honoured,
    ),
    row(
        Flag::value("default-ulimit", "ulimit", "Default ulimits for containers"),
        "default-ulimits",
        Honoured,
    ),
    row(Flag::value("dns", "ipSlice", "DNS server to use"), "", Honoured),
    row(Flag::list("dns-opt", "DNS options to use"), "dns-opts", Honoured),
    row(Flag::list("dns-search", "DNS search domains to use"), "", Honoured),
    row(Flag::list("exec-opt", "Runtime execution options"), "exec-opts", Honoured),
    row(
        Flag::string("exec-root", "Root directory for execution state files").default("/run/ferry"),
        "",
        Honoured,
    ),
    row(Flag::bool("experimental", "Enable experimental features"), "", Always(&["false"], "")),
    row(Flag::map("feature", "Enable feature in the daemon"), "features", Honoured),
    row(
        Flag::string(
            "firewall",
            "Who decides about published ports: \"own\" rules, or \"respect\" the host's for its services (beyond Docker)",
        ),
        "",
        Honoured,
    ),
    row(Flag::string("fixed-cidr", "IPv4 subnet for the default bridge network"), "", Honoured),
    row(Flag::string("fixed-cidr-v6", "IPv6 subnet for the default bridge network"), "", Honoured),
    row(
        Flag::string("group", "Group for the unix socket")
            .short('G')
            .shown("\"ferry\" or \"docker\""),
        "",
        Honoured,
    ),
    row(Flag::list("host", "Daemon socket(s) to connect to").short('H'), "hosts", Honoured),
    row(
        Flag::list(
            "host-gateway-ip",
            "IP addresses that the special 'host-gateway' string in --add-host resolves to. Defaults to the IP addresses of the default bridge",
        ),
        "host-gateway-ips",
        Honoured,
    ),
    row(
        Flag::string("http-proxy", "HTTP proxy URL to use for outgoing traffic"),
        "",
        Refused("set HTTP_PROXY in the daemon's environment"),
    ),
    row(
        Flag::string("https-proxy", "HTTPS proxy URL to use for outgoing traffic"),
        "",
        Refused("set HTTPS_PROXY in the daemon's environment"),
    ),
    row(
        Flag::bool("icc", "Enable inter-container communication for the default bridge network")
            .default("true"),
        "",
        Honoured,
    ),
    row(
        Flag::bool("init", "Run an init in the container to forward signals and reap processes"),
        "",
        Honoured,
    ),
    row(
        Flag::string("init-path", "Path to the docker-init binary"),
        "",
        Refused("ferry has its own init"),
    ),
    row(
        Flag::list("insecure-registry", "Enable insecure registry communication"),
        "insecure-registries",
        Honoured,
    ),
    row(
        Flag::value("ip", "ip", "Host IP for port publishing from the default bridge network")
            .shown("0.0.0.0"),
        "",
        Honoured,
    ),
    row(
        Flag::bool("ip-forward", "Enable IP forwarding in system configuration").default("true"),
        "",
        Always(&["true"], ""),
    ),
    row(
        Flag::bool(
            "ip-forward-no-drop",
            "Do not set the filter-FORWARD policy to DROP when enabling IP forwarding",
        ),
        "",
        Always(&["true"], "ferry never changes that policy"),
    ),
    row(
        Flag::bool("ip-masq", "Enable IP masquerading for the default bridge network")
            .default("true"),
        "",
        Always(&["true"], ""),
    ),
    row(
        Flag::bool("ip6tables", "Enable addition of ip6tables rules").default("true"),
        "",
        Always(&["true"], "ferry has one nftables table that is its own"),
    ),
    row(
        Flag::bool("iptables", "Enable addition of iptables rules").default("true"),
        "",
        Always(&["true"], "ferry has one nftables table that is its own"),
    ),
    row(Flag::bool("ipv6", "Enable IPv6 networking for the default bridge network"), "", Honoured),
    row(Flag::list("label", "Set key=value labels to the daemon"), "labels", Honoured),
    row(
        Flag::bool("live-restore", "Containers go on when the daemon ends: always so"),
        "",
        Always(&["true"], "containers always outlive the daemon"),
    ),
    row(
        Flag::string("log-driver", "Default driver for container logs").default("json-file"),
        "",
        Honoured,
    ),
    row(
        Flag::string("log-format", "Set the logging format (\"text\"|\"json\")").shown("\"text\""),
        "",
        Always(&["text", "json"], ""),
    ),
    row(
        Flag::string(
            "log-level",
            "Set the logging level (\"debug\"|\"info\"|\"warn\"|\"error\"|\"fatal\")",
        )
        .short('l')
        .default("info"),
        "",
        Honoured,
    ),
    row(
        Flag::map("log-opt", "Default log driver options for containers").shown("map[]"),
        "log-opts",
        Honoured,
    ),
    row(
        Flag::int("max-concurrent-downloads", "Set the max concurrent downloads").default("3"),
        "",
        Honoured,
    ),
    row(
        Flag::int("max-concurrent-uploads", "Set the max concurrent uploads").default("5"),
        "",
        Honoured,
    ),
    row(
        Flag::int("max-download-attempts", "Set the max download attempts for each pull")
            .default("5"),
        "",
        Always(&["5"], ""),
    ),
    row(
        Flag::string("metrics-addr", "Set default address and port to serve the metrics api on"),
        "",
        Honoured,
    ),
    row(
        Flag::int("mtu", "Set the MTU for the default \"bridge\" network").shown("1500"),
        "",
        Honoured,
    ),
    row(
        Flag::bool(
            "names",
            "Containers answer as NAME.localhost, and services as SERVICE.PROJECT.localhost, on this machine (beyond Docker)",
        ),
        "",
        Honoured,
    ),
    row(
        Flag::list("names-dns", "Where names are looked up, or \"none\" (127.0.0.1:1053)"),
        "",
        Honoured,
    ),
    row(
        Flag::list(
            "names-http",
            "Where names answer by HTTP, or \"none\" (127.0.0.1:80 and [::1]:80)",
        ),
        "",
        Honoured,
    ),
    row(
        Flag::list(
            "names-https",
            "Where names answer by HTTPS, or \"none\" (127.0.0.1:443 and [::1]:443)",
        ),
        "",
        Honoured,
    ),
    row(
        Flag::int("network-control-plane-mtu", "Network Control plane MTU").default("1500"),
        "",
        Refused("there is no Swarm in ferry"),
    ),
    row(
        Flag::bool("no-new-privileges", "Set no-new-privileges by default for new containers"),
        "",
        Honoured,
    ),
    row(
        Flag::string(
            "no-proxy",
            "Comma-separated list of hosts or IP addresses for which the proxy is skipped",
        ),
        "",
        Refused("set NO_PROXY in the daemon's environment"),
    ),
    row(
        Flag::list("node-generic-resource", "Advertise user-defined resource"),
        "node-generic-resources",
        Refused("there is no Swarm in ferry"),
    ),
    row(
        Flag::string("pidfile", "Path to use for daemon PID file")
            .short('p')
            .shown("ferry.pid in the exec root"),
        "",
        Honoured,
    ),
    row(Flag::bool("raw-logs", "Full timestamps without ANSI coloring"), "", Honoured),
    row(
        Flag::list("registry-mirror", "Preferred Docker registry mirror"),
        "registry-mirrors",
        Honoured,
    ),
    row(
        Flag::bool("rootless", "Enable rootless mode; typically used with RootlessKit"),
        "",
        Always(&["false"], ""),
    ),
    row(
        Flag::string(
            "seccomp-profile",
            "Path to seccomp profile. Set to \"unconfined\" to disable the default seccomp profile",
        )
        .default("builtin"),
        "",
        Honoured,
    ),
    row(Flag::bool("selinux-enabled", "Enable selinux support"), "", Honoured),
    row(
        Flag::int("shutdown-timeout", "Set the default shutdown timeout").default("15"),
        "",
        Always(&["15"], "containers are not stopped when the daemon ends"),
    ),
    row(
        Flag::string("storage-driver", "Storage driver to use").short('s'),
        "",
        Always(&["overlay2", "overlay"], "layers are mounted with overlayfs"),
    ),
    row(Flag::list("storage-opt", "Storage driver options"), "storage-opts", LATER),
    row(
        Flag::string(
            "swarm-default-advertise-addr",
            "Set default address or interface for swarm advertised address",
        ),
        "",
        Refused("there is no Swarm in ferry"),
    ),
    row(Flag::bool("tls", "Use TLS; implied by --tlsverify"), "", Honoured),
    row(
        Flag::string("tlscacert", "Trust certs signed only by this CA")
            .default("/etc/ferry/tls/ca.pem"),
        "",
        Honoured,
    ),
    row(
        Flag::string("tlscert", "Path to TLS certificate file").default("/etc/ferry/tls/cert.pem"),
        "",
        Honoured,
    ),
    row(
        Flag::string("tlskey", "Path to TLS key file").default("/etc/ferry/tls/key.pem"),
        "",
        Honoured,
    ),
    row(Flag::bool("tlsverify", "Use TLS and verify the remote"), "", Honoured),
    row(
        Flag::bool("userland-proxy", "Use userland proxy for loopback traffic").shown("false"),
        "",
        Always(&["false"], "published ports answer on localhost without one"),
    ),
    row(
        Flag::string("userland-proxy-path", "Path to the userland proxy binary"),
        "",
        Refused("published ports answer on localhost without one"),
    ),
    row(Flag::string("userns-remap", "User/Group setting for user namespaces"), "", Honoured),
    row(Flag::bool("validate", "Validate daemon configuration and exit"), "", Honoured),
    row(Flag::bool("version", "Print version information and quit").short('v'), "", Honoured),
];

/// The same as flags alone, for the parser.
const FLAGS: [Flag; ROWS.len()] = {
    let mut flags = [ROWS[0].flag; ROWS.len()];
    let mut index = 0;
    while index < ROWS.len() {
        flags[index] = ROWS[index].flag;
        index += 1;
    }
    flags
};

/// What the command line asks for.
pub(super) enum Invocation {
    /// This text on standard output.
    Help(String),
    /// The version.
    Version,
    /// The daemon.
    Settings(Box<Settings>),
}

/// Reads the command line.
pub(super) fn read(name: &str, args: &[String]) -> Result<Invocation, String> {
    static TABLE: [Flag; ROWS.len()] = FLAGS;
    let (matches, notices) = match Matches::parse(&TABLE, args, true) {
        Ok(parsed) => parsed,
        Err(ParseError::Help { .. }) => return Ok(Invocation::Help(help(name, &TABLE))),
        Err(ParseError::Invalid(words)) => {
            return Err(format!("{words}\nSee '{name} --help'."));
        }
    };
    for notice in notices {
        eprintln!("{notice}");
    }
    if let Some(argument) = matches.args().first() {
        return Err(format!(
            "accepts no arguments: {argument:?} is not a flag\nSee '{name} --help'."
        ));
    }
    if matches.flag("version") {
        return Ok(Invocation::Version);
    }
    let mut settings = Settings::default();
    for row in ROWS {
        let name = row.flag.name();
        if matches.is_set(name) {
            let values = matches.texts(name);
            for value in values {
                check(row, &format!("--{name}"), value)?;
            }
            settings.set(name, values.to_vec());
        }
    }
    Ok(Invocation::Settings(Box::new(settings)))
}

/// Refuses a value that cannot be honoured; `said` is how the user said it.
pub(super) fn check(row: &Row, said: &str, value: &str) -> Result<(), String> {
    match row.support {
        Honoured => Ok(()),
        Always(values, _) if values.contains(&value) => Ok(()),
        // `--rootless=false` asks for nothing.
        Refused(_) if value == "false" => Ok(()),
        Always(_, why) | Refused(why) => {
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            Err(format!("{said}={value} is not supported{why}"))
        }
    }
}

fn help(name: &str, flags: &[Flag]) -> String {
    let width = ferry_cli::flags::terminal_width();
    format!(
        "\nUsage:\t{name} [OPTIONS]\n\nThe engine: keeps images, containers, networks and volumes, and serves the Docker API.\n\nOptions:\n{}\n",
        ferry_cli::flags::flag_usages(flags, width)
    )
}
