//! What the API shows of networks, field by field as Docker's daemon does, and of containers on them. As in `shown.rs`,
//! `FERRY_TEST_DOCKER_HOST` names a daemon to compare with.

use ferry_testkit::{Client, Sandbox, eventually, free_range, free_range6};
use serde_json::{Map, Value, json};

use crate::{
    lan::ip,
    shown::{differences, normal},
    with_busybox,
};

/// Where the daemons may differ, and why.
const ALLOWED: &[(&str, &str)] = &[
    ("/SandboxKey", "network namespaces are in /proc, and not mounted anywhere"),
    ("cell/created/0/Networks/sn-cell/Aliases", "a list that was sent empty is none"),
    ("cell/running/0/Networks/sn-cell/Aliases", "a list that was sent empty is none"),
];

/// The ranges of one comparison, the same for both daemons: one after the other has them.
struct Ranges {
    four: String,
    six: String,
    link: String,
}

/// Networks, and how a container is on each.
fn networks(ranges: &Ranges) -> Vec<(&'static str, Value, Value)> {
    let Ranges { four, six, link } = ranges;
    vec![
        ("plain", json!({"IPAM": {"Config": [{"Subnet": format!("{four}.0/26")}]}}), json!({})),
        (
            "full",
            json!({
                "Driver": "bridge", "Attachable": true, "EnableIPv6": true, "Labels": {"l": "m", "a": ""},
                "Options": {
                    "com.docker.network.bridge.enable_icc": "false",
                    "com.docker.network.driver.mtu": "1400",
                    "com.docker.network.container_iface_prefix": "lan"
                },
                "IPAM": {"Driver": "default", "Options": {"x": "y"}, "Config": [
                    {"Subnet": format!("{four}.0/26"), "IPRange": format!("{four}.32/27"), "Gateway": format!("{four}.62"),
                        "AuxiliaryAddresses": {"printer": format!("{four}.33")}},
                    {"Subnet": format!("{six}::/64"), "Gateway": format!("{six}::fe")}
                ]}
            }),
            json!({
                "Aliases": ["www", "api"], "MacAddress": "02:42:ac:11:00:99", "GwPriority": 3,
                "DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"},
                "IPAMConfig": {"IPv4Address": format!("{four}.40"), "IPv6Address": format!("{six}::40"),
                    "LinkLocalIPs": ["169.254.7.7"]}
            }),
        ),
        (
            "cell",
            json!({"Internal": true, "Labels": {}, "Options": {}, "IPAM": {"Config": [{"Subnet": format!("{four}.0/26")}]}}),
            json!({"Aliases": []}),
        ),
        (
            "six",
            json!({"EnableIPv4": false, "EnableIPv6": true, "IPAM": {"Config": [{"Subnet": format!("{six}::/64")}]}}),
            json!({}),
        ),
        (
            "below",
            json!({"Driver": "macvlan", "Options": {"parent": link}, "IPAM": {"Config": [
                {"Subnet": format!("{four}.0/26"), "Gateway": format!("{four}.1")}]}}),
            json!({"Aliases": ["www"]}),
        ),
    ]
}

/// All that a daemon answers about a network, and about a container that is on it.
fn answers(sandbox: &Sandbox, name: &str, network: &Value, endpoint: &Value) -> Value {
    let api = sandbox.api();
    let mut body = network.clone();
    body["Name"] = format!("sn-{name}").into();
    let name = format!("sn-{name}");
    let (status, created) = api.call("POST", "/networks/create", Some(&body));
    assert_eq!(status, 201, "{name}: {created}");
    let path = format!("/networks/{name}");
    let shown = |path: &str| api.call("GET", path, None).1;
    let listed = || {
        let all = shown("/networks");
        all.as_array().unwrap().iter().find(|one| one["Name"] == *name).cloned()
    };
    let before = (shown(&path), listed());
    let on: Map<String, Value> = [(name.clone(), endpoint.clone())].into_iter().collect();
    let container = json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "Hostname": "hh",
        "HostConfig": {"NetworkMode": name}, "NetworkingConfig": {"EndpointsConfig": on}});
    let made = api.call("POST", &format!("/containers/create?name={name}-box"), Some(&container));
    let box_path = format!("/containers/{name}-box");
    let settings = || shown(&format!("{box_path}/json"))["NetworkSettings"].clone();
    let of_created = (settings(), shown(&path));
    let started = api.call("POST", &format!("{box_path}/start"), None);
    let running = (settings(), shown(&path), listed(), shown(&format!("{path}?verbose=true")));
    let again = api.call(
        "POST",
        &format!("{path}/connect"),
        Some(&json!({"Container": format!("{name}-box")})),
    );
    let in_use = api.call("DELETE", &path, None);
    let left = json!({"Container": format!("{name}-box")});
    let left = api.call("POST", &format!("{path}/disconnect"), Some(&left));
    let alone = (settings(), shown(&path));
    let removed = api.call("DELETE", &format!("{box_path}?force=1"), None).0;
    eventually("the network goes", || (api.call("DELETE", &path, None).0 == 204).then_some(()));
    let gone = api.call("GET", &path, None);
    json!({"create": [status, created["Warning"]], "inspect": before.0, "list": before.1, "box": made.0,
        "created": of_created, "start": started, "running": running, "again": again, "in use": in_use, "left": left,
        "alone": alone, "removed": removed, "gone": gone})
}

/// Ids are the keys of some objects.
fn without_ids(value: &Value) -> Value {
    let is_id = |key: &str| key.len() == 64 && key.chars().all(|c| c.is_ascii_hexdigit());
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| {
                    let key = if is_id(key) { "ID".to_owned() } else { key.clone() };
                    (key, without_ids(value))
                })
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(without_ids).collect()),
        other => other.clone(),
    }
}

#[test]
fn as_dockers_own_daemon() {
    let Some(docker) = Sandbox::on_docker() else { return };
    docker.busybox();
    let ferry = with_busybox(Client::Ferry);
    let link = format!("sn{}", std::process::id());
    ip(&format!("link add {link} type veth"));
    let ranges = Ranges { four: free_range(), six: free_range6(), link };
    let mut found = Vec::new();
    for (name, network, endpoint) in networks(&ranges) {
        let [dockers, ours] = [&docker, &ferry]
            .map(|sandbox| without_ids(&normal(&answers(sandbox, name, &network, &endpoint))));
        differences(name, &dockers, &ours, &mut found);
    }
    ip(&format!("link del {}", ranges.link));
    found.retain(|line| {
        !ALLOWED.iter().any(|(place, _)| line.split(':').next().unwrap().ends_with(place))
    });
    assert!(found.is_empty(), "{found:#?}");
}

/// The same without Docker: what is shown is what was said, and what the kernel has.
#[test]
fn what_was_said_is_shown() {
    let sandbox = with_busybox(Client::Ferry);
    let link = format!("so{}", std::process::id());
    let ranges = Ranges { four: free_range(), six: free_range6(), link };
    let all = networks(&ranges);
    let (_, network, endpoint) = all.iter().find(|(name, ..)| *name == "full").unwrap();
    let shown = answers(&sandbox, "full", network, endpoint);
    for field in ["Driver", "Attachable", "EnableIPv6", "Labels", "Options", "IPAM"] {
        assert_eq!(shown["inspect"][field], network[field], "{field}");
    }
    let attached =
        shown["running"][1]["Containers"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!(attached["IPv4Address"], format!("{}.40/26", ranges.four));
    assert_eq!(attached["IPv6Address"], format!("{}::40/64", ranges.six));
    assert_eq!(attached["MacAddress"], "02:42:ac:11:00:99");
    assert_eq!(shown["list"]["Containers"], json!({}), "lists have no containers");
    assert_eq!(shown["in use"][0], 403, "{}", shown["in use"]);
}
