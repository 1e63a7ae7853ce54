//! What the API shows of containers, field by field as Docker's daemon does. `FERRY_TEST_DOCKER_HOST` names one to compare with; what is
//! known to differ is in a table here, with its reason.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use ferry_testkit::{Client, Sandbox, eventually};
use serde_json::{Map, Value, json};

use crate::with_busybox;

/// Lists of `HostConfig` that are shown as `null` unless they were sent.
const LISTS: [&str; 19] = [
    "Binds",
    "VolumesFrom",
    "CapAdd",
    "CapDrop",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "SecurityOpt",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Ulimits",
];

/// The end of a field's place, and why it is another one here.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "/GraphDriver/Data",
        "nothing is mounted in the host's mount namespace: there is no merged directory",
    ),
    ("/HostConfig/Runtime", "the runtime that is built in has its own name"),
    ("/NetworkSettings/SandboxKey", "network namespaces are in /proc, and not mounted anywhere"),
    ("/NetworkSettings/Bridge", "each daemon has its own bridge"),
    ("/State/Pid", "a process id"),
    ("/IPPrefixLen", "each daemon has its own ranges of addresses"),
    ("/PublicPort", "a port that was free"),
    ("/Created", "a moment"),
    ("/HostsPath", "directories of the daemon's own"),
    ("/HostnamePath", "directories of the daemon's own"),
    ("/ResolvConfPath", "directories of the daemon's own"),
    ("/LogPath", "directories of the daemon's own"),
    ("/AppArmorProfile", "a daemon in a root of its own may not see AppArmor"),
];

/// One with a word about everything.
const FULL: &str = r#"{
                "Image": "busybox", "Cmd": ["sleep", "1000"], "Hostname": "hh", "Domainname": "dd.example", "User": "1:2",
                "AttachStdout": true, "ExposedPorts": {"80/tcp": {}, "90/udp": {}}, "Tty": true, "OpenStdin": true,
                "StdinOnce": true, "Env": ["A=b", "C"], "ArgsEscaped": true, "Volumes": {"/v": {}},
                "WorkingDir": "/tmp", "MacAddress": "02:42:ac:11:00:99", "OnBuild": ["RUN x"], "Labels": {"l": "m"},
                "StopSignal": "SIGINT", "StopTimeout": 3, "Shell": ["/bin/sh", "-c"],
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 100000000000, "Retries": 5},
                "HostConfig": {
                    "Binds": ["/tmp:/t:ro", "named:/n"], "ContainerIDFile": "/x",
                    "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
                    "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
                    "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}, "ConsoleSize": [10, 20],
                    "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "Dns": ["1.1.1.1"], "DnsOptions": ["ndots:2"],
                    "DnsSearch": ["x.y"], "ExtraHosts": ["a:1.2.3.4"], "GroupAdd": ["5"], "IpcMode": "shareable",
                    "OomScoreAdj": 100, "SecurityOpt": ["no-new-privileges"], "Tmpfs": {"/run": "size=1m"},
                    "ShmSize": 1048576, "Annotations": {"a": "b"}, "Init": true, "CpuShares": 512,
                    "Memory": 67108864, "MemorySwap": 134217728, "NanoCpus": 500000000, "CpusetCpus": "0",
                    "PidsLimit": 100, "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
                    "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "rwm"}],
                    "Mounts": [
                        {"Type": "tmpfs", "Target": "/mt", "TmpfsOptions": {"SizeBytes": 1048576, "Mode": 448}},
                        {"Type": "volume", "Target": "/mv"},
                        {"Type": "bind", "Source": "/tmp", "Target": "/mb", "ReadOnly": true}
                    ],
                    "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"]
                }
            }"#;

fn containers() -> Vec<(&'static str, Value)> {
    let mut empty: Map<String, Value> =
        LISTS.iter().map(|name| ((*name).to_owned(), json!([]))).collect();
    let null_lists: Map<String, Value> =
        LISTS.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    empty.insert("PortBindings".to_owned(), json!({}));
    let sleep = json!(["sleep", "1000"]);
    vec![
        ("absent", json!({"Image": "busybox", "Cmd": sleep})),
        (
            "null",
            json!({"Image": "busybox", "Cmd": sleep, "OnBuild": null, "HostConfig": null_lists}),
        ),
        (
            "empty",
            json!({"Image": "busybox", "Cmd": sleep, "OnBuild": [], "Env": [], "Labels": {}, "HostConfig": empty}),
        ),
        ("full", serde_json::from_str(FULL).unwrap()),
        (
            "privileged",
            json!({"Image": "busybox", "Cmd": sleep, "HostConfig": {"Privileged": true, "NetworkMode": "host",
                "PidMode": "host", "UTSMode": "host", "IpcMode": "host"}}),
        ),
        (
            "apart",
            json!({"Image": "busybox", "Cmd": sleep, "NetworkDisabled": true, "HostConfig": {"NetworkMode": "none",
                "AutoRemove": true, "PublishAllPorts": true}}),
        ),
        (
            "address",
            json!({"Image": "busybox", "Cmd": sleep, "Healthcheck": {"Test": ["NONE"]},
                "NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "02:42:ac:11:00:88"}}}}),
        ),
    ]
}

#[test]
fn what_was_not_sent_is_null() {
    let sandbox = with_busybox(Client::Ferry);
    let api = sandbox.api();
    let inspect = |name: &str| {
        let (_, body) = containers().into_iter().find(|(known, _)| *known == name).unwrap();
        let path = format!("/containers/create?name={name}");
        assert_eq!(api.call("POST", &path, Some(&body)).0, 201);
        api.call("GET", &format!("/containers/{name}/json"), None).1
    };
    for (name, list, map) in [
        ("absent", Value::Null, Value::Null),
        ("null", Value::Null, Value::Null),
        ("empty", json!([]), json!({})),
    ] {
        let shown = inspect(name);
        for field in LISTS {
            assert_eq!(shown["HostConfig"][field], list, "{field} of {name}");
        }
        assert_eq!(shown["HostConfig"]["PortBindings"], map);
        assert_eq!(shown["Config"]["OnBuild"], list);
    }
    let full = inspect("full");
    assert_eq!(full["Config"]["ArgsEscaped"], true);
    assert_eq!(full["Config"]["MacAddress"], "02:42:ac:11:00:99");
    assert_eq!(full["NetworkSettings"]["Networks"]["bridge"]["MacAddress"], "02:42:ac:11:00:99");
    let modes: Vec<(&str, &str)> = full["Mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| (mount["Destination"].as_str().unwrap(), mount["Mode"].as_str().unwrap()))
        .collect();
    for expected in [("/n", "z"), ("/mv", "z"), ("/v", ""), ("/t", "ro")] {
        assert!(modes.contains(&expected), "{modes:?}");
    }
    let privileged = inspect("privileged");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(privileged["Config"]["Hostname"], host.trim());
    assert_eq!(inspect("address")["Config"]["MacAddress"], "02:42:ac:11:00:88");
}

#[test]
fn an_answer_waits_for_a_body_that_comes_later() {
    let sandbox = Sandbox::start();
    for path in ["/containers/nobody/restart", "/containers/prune?filters=x", "/no/such/path"] {
        let mut stream = UnixStream::connect(sandbox.socket()).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"{}").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 40"), "{path}: {line:?}");
    }
}

#[test]
fn no_container_is_a_task() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["create", "--name", "one", "busybox"]);
    let names = |filter: &str| sandbox.ok(&["ps", "-a", "--format={{.Names}}", "--filter", filter]);
    assert_eq!(names("is-task=true"), "");
    assert_eq!(names("is-task=false"), "one");
    assert_eq!(names("isolation=default"), "one");
    sandbox
        .run(&["ps", "-a", "--filter", "is-task=perhaps"])
        .fails(1)
        .says("invalid filter 'is-task=[perhaps]'");
}

/// Takes out what is another one each time.
fn masked(text: &str) -> String {
    let is_id =
        |word: &str| matches!(word.len(), 12 | 64) && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let without_ids: String = words
        .map(|word| {
            let (name, end) = match word.chars().last() {
                Some(last) if !last.is_ascii_alphanumeric() => {
                    word.split_at(word.len() - last.len_utf8())
                }
                _ => (word, ""),
            };
            if is_id(name) { format!("ID{end}") } else { word.to_owned() }
        })
        .collect();
    let is_time = text.len() > 19 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_private());
    let is_port = text.parse::<u16>().is_ok_and(|port| port >= 32_768);
    // Addresses of their own begin so; those that were asked for do, too, and end with 99 or 88.
    let is_mac = text.split(':').count() == 6 && !text.ends_with(":99") && !text.ends_with(":88");
    match text {
        _ if text.starts_with("0001-01-01") => text.to_owned(),
        _ if is_time => "TIME".to_owned(),
        _ if is_address || is_port || is_mac => "OWN".to_owned(),
        _ => match without_ids.find("/volumes/") {
            Some(at) => without_ids[at..].to_owned(),
            None => without_ids,
        },
    }
}

pub(crate) fn normal(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(masked(text)),
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(normal).collect();
            // Docker's order of mounts and ports is none.
            if list.iter().all(Value::is_object) {
                list.sort_by_key(|one| one["Destination"].to_string() + &one.to_string());
            }
            Value::Array(list)
        }
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), normal(value))).collect())
        }
        other => other.clone(),
    }
}

/// Where two values differ.
pub(crate) fn differences(place: &str, dockers: &Value, ours: &Value, found: &mut Vec<String>) {
    if DIFFERENT.iter().any(|(end, _)| place.ends_with(end)) {
        return;
    }
    match (dockers, ours) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                let absent = Value::String("(absent)".to_owned());
                let of = |map: &Map<String, Value>| map.get(key).unwrap_or(&absent).clone();
                differences(&format!("{place}/{key}"), &of(one), &of(other), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{place}/{index}"), one, other, found);
            }
        }
        _ if dockers != ours => found.push(format!("{place}: {dockers} with Docker, {ours} here")),
        _ => {}
    }
}

/// All that a daemon answers about a container.
fn answers(sandbox: &Sandbox, name: &str, body: &Value) -> Value {
    let api = sandbox.api();
    let name = format!("shown-{name}");
    let (status, created) =
        api.call("POST", &format!("/containers/create?name={name}"), Some(body));
    let path = format!("/containers/{name}/json");
    let listed = || {
        let (_, all) = api.call("GET", "/containers/json?all=1", None);
        let own = json!([format!("/{name}")]);
        all.as_array().unwrap().iter().find(|one| one["Names"] == own).cloned()
    };
    let before = (api.call("GET", &path, None).1, listed());
    let started = api.call("POST", &format!("/containers/{name}/start"), None).0;
    let after = (api.call("GET", &path, None).1, listed());
    let missing = ["nothing", "after the end"]
        .map(|id| api.call("GET", &format!("/containers/{id}/json"), None).0);
    let removed = api.call("DELETE", &format!("/containers/{name}?force=1&v=1"), None).0;
    eventually("it is gone", || (api.call("GET", &path, None).0 == 404).then_some(()));
    json!({"create": [status, created["Warnings"]], "created": before.0, "listed": before.1, "start": started,
        "running": after.0, "listed running": after.1, "missing": missing, "remove": removed})
}

#[test]
fn as_dockers_own_daemon() {
    let Some(docker) = Sandbox::on_docker() else { return };
    docker.busybox();
    let ferry = with_busybox(Client::Ferry);
    let mut found = Vec::new();
    for (name, body) in containers() {
        let [dockers, ours] =
            [&docker, &ferry].map(|sandbox| normal(&answers(sandbox, name, &body)));
        differences(name, &dockers, &ours, &mut found);
    }
    for sandbox in [&docker, &ferry] {
        sandbox.api().call("DELETE", "/volumes/named", None);
    }
    assert!(found.is_empty(), "{found:#?}");
}
