//! Requests that are wrong get Docker's status code and a message, and leave nothing half made.

use ferry_testkit::Client;
use serde_json::{Value, json};

use crate::with_busybox;

#[test]
fn wrong_bodies_and_names() {
    let sandbox = with_busybox(Client::Ferry);
    let api = sandbox.api();
    let create = "/containers/create";
    let with = |extra: Value| {
        let mut body = json!({"Image": "busybox", "Cmd": ["true"]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    for (path, body, status, words) in [
        (create.to_owned(), json!({"Image": ""}), 400, ""),
        (create.to_owned(), json!({"Image": "nope"}), 404, "No such image: nope:latest"),
        (create.to_owned(), json!({"Image": "UPPER"}), 400, "must be lowercase"),
        (format!("{create}?name=-"), with(json!({})), 400, "Invalid container name"),
        (format!("{create}?platform=x/y/z/w"), with(json!({})), 400, "platform"),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"Memory": 1}})),
            400,
            "Minimum memory limit",
        ),
        (create.to_owned(), with(json!({"HostConfig": {"NanoCpus": -1}})), 400, ""),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"Binds": ["relative:/x:zz"]}})),
            400,
            "invalid mode",
        ),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"Binds": ["/a:b"]}})),
            400,
            "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
        ),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"Binds": ["v:/x"]}})),
            400,
            "create v: volume name is too short, names should be at least two alphanumeric characters",
        ),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"PidMode": "container:nope"}})),
            400,
            "No such container: nope",
        ),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"IpcMode": "container:nope"}})),
            400,
            "No such container: nope",
        ),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"Mounts": [{"Type": "what", "Target": "/x"}]}})),
            400,
            "mount type unknown",
        ),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"CapAdd": ["NOPE"]}})),
            400,
            "unknown capability",
        ),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"RestartPolicy": {"Name": "sometimes"}}})),
            400,
            "restart policy",
        ),
        (create.to_owned(), with(json!({"HostConfig": {"NetworkMode": "container:"}})), 400, ""),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"PortBindings": {"80/xyz": [{"HostPort": "1"}]}}})),
            400,
            "",
        ),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"Sysctls": {"kernel.panic": "1"}}})),
            400,
            "kernel.panic",
        ),
        (create.to_owned(), with(json!({"HostConfig": {"Runtime": "nope"}})), 400, "nope"),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"SecurityOpt": ["what"]}})),
            400,
            "invalid --security-opt 1: \"what\"",
        ),
        (
            create.to_owned(),
            with(json!({"HostConfig": {"SecurityOpt": ["what=1"]}})),
            400,
            "invalid --security-opt 2: \"what=1\"",
        ),
    ] {
        let (got, answer) = api.call("POST", &path, Some(&body));
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(got, status, "{path} {body}: {message}");
        assert!(message.contains(words) && !message.is_empty(), "{path} {body}: {message}");
    }
    for (method, path, status) in [
        ("POST", "/containers/nope/start", 404),
        ("POST", "/containers/nope/kill?signal=TERM", 404),
        ("GET", "/containers/json?filters=%7Bbroken", 400),
        ("GET", "/containers/json?filters=%7B%22what%22%3A%5B%22x%22%5D%7D", 400),
        ("GET", "/images/nope/json", 404),
        ("DELETE", "/volumes/nope", 404),
        ("GET", "/networks/nope", 404),
        ("POST", "/exec/nope/start", 404),
        ("GET", "/v9.99/version", 400),
        ("GET", "/nothing/here", 404),
        ("POST", "/build/cancel", 501),
        ("GET", "/images/search?term=x&limit=101", 400),
        ("GET", "/images/search?term=https://x", 400),
        ("GET", "/swarm", 503),
    ] {
        let (got, answer) = api.call(method, path, None);
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(got, status, "{method} {path}: {message}");
        assert!(!message.is_empty(), "{method} {path}");
    }
    // Clients as old as that are told in plain text, as Docker does: they read no JSON.
    let (got, answer) = api.raw("GET", "/v1.10/version", "application/json", None);
    let text = String::from_utf8_lossy(&answer);
    assert!(got == 400 && text.starts_with("client version 1.10 is too old"), "{got} {text}");
    for body in [&b"{"[..], b"[]", b"\xff\xfe", b"{\"Image\": 5}", b""] {
        let (got, _) = api.raw("POST", create, "application/json", Some(body));
        assert_eq!(got, 400, "{}", String::from_utf8_lossy(body));
    }
    let deep = "[".repeat(100_000);
    assert_eq!(api.raw("POST", create, "application/json", Some(deep.as_bytes())).0, 400);
    assert!(api.answers());
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
    assert_eq!(
        std::fs::read_dir(sandbox.data().join("containers"))
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().len() == 64)
            .count(),
        0
    );
}

/// What programs ask for through the API is shown as they wrote it, with what Docker adds.
#[test]
fn settings_are_shown_as_docker_shows_them() {
    let sandbox = with_busybox(Client::Ferry);
    let api = sandbox.api();
    for (host, pointer, shown) in [
        (
            json!({"CapAdd": ["NET_ADMIN", "cap_chown"]}),
            "/HostConfig/CapAdd",
            json!(["NET_ADMIN", "cap_chown"]),
        ),
        (json!({"CapDrop": ["all"]}), "/HostConfig/CapDrop", json!(["all"])),
        (json!({"Privileged": true}), "/HostConfig/SecurityOpt", json!(["label=disable"])),
        (json!({"PidMode": "host"}), "/HostConfig/SecurityOpt", json!(["label=disable"])),
        (json!({"IpcMode": "host"}), "/HostConfig/SecurityOpt", json!(["label=disable"])),
        (
            json!({"Privileged": true, "SecurityOpt": ["label=type:x_t"]}),
            "/HostConfig/SecurityOpt",
            json!(["label=type:x_t"]),
        ),
        (json!({"Tmpfs": {"/t": "size=1m"}}), "/Mounts", json!([])),
        (
            json!({"Mounts": [{"Type": "tmpfs", "Target": "/m"}]}),
            "/Mounts/0/Destination",
            json!("/m"),
        ),
    ] {
        let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": host});
        let (status, made) = api.call("POST", "/containers/create", Some(&body));
        assert_eq!(status, 201, "{body}: {made}");
        let id = made["Id"].as_str().unwrap();
        let (_, inspected) = api.call("GET", &format!("/containers/{id}/json"), None);
        assert_eq!(inspected.pointer(pointer), Some(&shown), "{body}");
    }
}
