//! docker's Go structures, as far as templates can tell them from the JSON that they come from.

use serde_json::{Map, Value};

use super::{inspect::Go, units::go_time_of};

/// The names that nearly all have.
const ID: &[(&str, &str)] = &[("Id", "ID")];
const NETWORK_NAMES: &[(&str, &str)] = &[("Id", "ID"), ("AuxiliaryAddresses", "AuxAddress")];
const CONTAINER_NAMES: &[(&str, &str)] = &[
    ("Id", "ID"),
    ("NanoCpus", "NanoCPUs"),
    ("CpuShares", "CPUShares"),
    ("CpuPeriod", "CPUPeriod"),
    ("CpuQuota", "CPUQuota"),
    ("CpuRealtimePeriod", "CPURealtimePeriod"),
    ("CpuRealtimeRuntime", "CPURealtimeRuntime"),
    ("CpuCount", "CPUCount"),
    ("CpuPercent", "CPUPercent"),
    ("Dns", "DNS"),
    ("DnsOptions", "DNSOptions"),
    ("DnsSearch", "DNSSearch"),
    ("HostIp", "HostIP"),
];

/// A container.
pub(crate) const CONTAINER: Go =
    Go { names: CONTAINER_NAMES, absent: of_container, shown, only: None };
/// An image.
pub(crate) const IMAGE: Go = Go { names: ID, absent: of_image, shown: image_shown, only: None };
/// A network.
pub(crate) const NETWORK: Go =
    Go { names: NETWORK_NAMES, absent: of_network, shown: network_shown, only: None };
/// A volume.
pub(crate) const VOLUME: Go = Go { names: &[], absent: of_volume, shown, only: None };
/// A volume, from `docker volume inspect`.
pub(crate) const TYPED_VOLUME: Go =
    Go { names: &[], absent: of_volume, shown, only: Some("volume.Volume") };
/// Anything else.
pub(crate) const OTHER: Go = Go { names: &[], absent: of_others, shown, only: None };

/// What a key that is not there stands for.
type Answer = Option<Option<Value>>;

const NIL: Answer = Some(Some(Value::Null));

fn empty() -> Answer {
    Some(Some(Value::String(String::new())))
}

fn no() -> Answer {
    Some(Some(Value::Bool(false)))
}

/// A map answers for every key.
fn of_maps(parent: &str) -> Answer {
    matches!(
        parent,
        "Labels"
            | "Networks"
            | "Ports"
            | "PortBindings"
            | "ExposedPorts"
            | "Volumes"
            | "Options"
            | "Sysctls"
            | "Tmpfs"
            | "Containers"
            | "DriverOpts"
            | "Annotations"
            | "StorageOpt"
            | "Data"
    )
    .then_some(None)
}

fn of_container(_: &Map<String, Value>, parent: &str, name: &str) -> Answer {
    match (parent, name) {
        ("", "SizeRw" | "SizeRootFs" | "ImageManifestDescriptor") | ("State", "Health") => NIL,
        ("Config", "ExposedPorts" | "Healthcheck" | "StopTimeout" | "Shell") => NIL,
        ("Config", "MacAddress" | "StopSignal") => empty(),
        ("Config", "ArgsEscaped" | "NetworkDisabled") => no(),
        ("HostConfig", "Annotations" | "Mounts" | "Init" | "StorageOpt" | "Tmpfs" | "Sysctls") => {
            NIL
        }
        ("Mounts[]", "Type" | "Name" | "Driver" | "Source" | "Target" | "Consistency") => empty(),
        ("Mounts[]", "ReadOnly") => no(),
        ("IPAMConfig", "IPv4Address" | "IPv6Address") => empty(),
        ("IPAMConfig", "LinkLocalIPs") => NIL,
        _ => of_maps(parent),
    }
}

fn of_image(_: &Map<String, Value>, parent: &str, name: &str) -> Answer {
    match (parent, name) {
        ("", "Created" | "Variant" | "OsVersion" | "Container") => empty(),
        ("", "ContainerConfig" | "Descriptor" | "Manifests") => NIL,
        ("", "VirtualSize") => Some(Some(Value::from(0))),
        (
            "Config",
            "ExposedPorts" | "Env" | "Entrypoint" | "Cmd" | "Volumes" | "Labels" | "Healthcheck"
            | "OnBuild" | "Shell",
        )
        | ("RootFS", "Layers") => NIL,
        ("Config", "User" | "WorkingDir" | "StopSignal") | ("RootFS", "Type") => empty(),
        ("Config", "ArgsEscaped") => no(),
        _ => of_maps(parent),
    }
}

fn of_network(_: &Map<String, Value>, parent: &str, name: &str) -> Answer {
    match (parent, name) {
        ("", "Peers" | "Services") => NIL,
        ("Config[]", "Subnet" | "IPRange" | "Gateway") => empty(),
        ("Config[]", "AuxAddress") => NIL,
        _ => of_maps(parent),
    }
}

fn of_volume(_: &Map<String, Value>, parent: &str, name: &str) -> Answer {
    match (parent, name) {
        ("", "ClusterVolume" | "Status" | "UsageData") => NIL,
        ("", "CreatedAt") => empty(),
        _ => of_maps(parent),
    }
}

fn of_others(_: &Map<String, Value>, parent: &str, _: &str) -> Answer {
    of_maps(parent)
}

/// How Go prints nothing below these keys of docker's structures: lists and maps are empty, pointers are nil.
fn shown(key: &str, value: &Value) -> Option<String> {
    let words = match (value, key) {
        (
            Value::Null,
            "Labels" | "Volumes" | "ExposedPorts" | "PortBindings" | "Ports" | "StorageOpt"
            | "Tmpfs" | "Sysctls" | "Annotations" | "Options" | "DriverOpts" | "Networks"
            | "Config" | "Containers" | "Data" | "Status" | "Services" | "AuxAddress",
        ) => "map[]",
        (
            Value::Null,
            "Init"
            | "PidsLimit"
            | "StopTimeout"
            | "Healthcheck"
            | "Health"
            | "IPAMConfig"
            | "OomKillDisable"
            | "MemorySwappiness"
            | "NetworkMode"
            | "UsageData"
            | "SizeRw"
            | "SizeRootFs"
            | "ImageManifestDescriptor"
            | "Descriptor"
            | "ClusterVolume",
        ) => "<nil>",
        // An item of a list, and what nobody knows anything about.
        (Value::Null, "[]" | "") => "<nil>",
        (Value::Null, _) => "[]",
        _ => return None,
    };
    Some(words.to_owned())
}

fn image_shown(key: &str, value: &Value) -> Option<String> {
    match (key, value) {
        ("LastTagTime", Value::String(time)) => Some(go_time_of(time)),
        _ => shown(key, value),
    }
}

fn network_shown(key: &str, value: &Value) -> Option<String> {
    match (key, value) {
        ("Created", Value::String(time)) => Some(go_time_of(time)),
        _ => shown(key, value),
    }
}
