//! A container's whole life in every version of the Engine API, as old clients live it.

use ferry_testkit::{Api, Client, Sandbox, eventually};
use serde_json::{Value, json};

use crate::with_busybox;

against_docker!(every_version);

const OLDEST: u32 = 24;

/// Calls of one version.
struct Version<'a> {
    api: &'a Api,
    minor: u32,
}

impl Version<'_> {
    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let path = format!("/v1.{}{path}", self.minor);
        let (got, answer) = self.api.call(method, &path, body.as_ref());
        assert_eq!(got, status, "{method} {path}: {answer}");
        answer
    }

    #[track_caller]
    fn bytes(&self, method: &str, path: &str, body: Option<Value>) -> Vec<u8> {
        let path = format!("/v1.{}{path}", self.minor);
        let body = body.map(|body| body.to_string());
        let body = body.as_deref().map(str::as_bytes);
        let (got, answer) = self.api.raw(method, &path, "application/json", body);
        assert_eq!(got, 200, "{method} {path}: {}", String::from_utf8_lossy(&answer));
        answer
    }
}

#[test]
fn through_ferry() {
    every_version(Client::Ferry);
}

fn every_version(client: Client) {
    let sandbox = with_busybox(client);
    let api = sandbox.api();
    let newest: u32 = api.call("GET", "/version", None).1["ApiVersion"]
        .as_str()
        .and_then(|version| version.strip_prefix("1."))
        .and_then(|minor| minor.parse().ok())
        .unwrap();
    assert!(newest >= 51, "{newest}");
    for minor in OLDEST..=newest {
        life(&sandbox, &Version { api: &api, minor });
    }
    for beyond in [OLDEST - 1, newest + 1] {
        // The oldest clients read errors as text.
        let path = format!("/v1.{beyond}/info");
        let (status, answer) = api.raw("GET", &path, "application/json", None);
        let message = String::from_utf8(answer).unwrap();
        assert_eq!(status, 400, "{message}");
        assert!(message.contains(&format!("client version 1.{beyond} is too ")), "{message}");
    }
}

fn life(sandbox: &Sandbox, version: &Version<'_>) {
    let name = format!("old{}", version.minor);
    let at = |rest: &str| format!("/containers/{name}{rest}");
    let script = "echo out; echo err >&2; read line; echo $line; exit 3";
    let config = json!({
        "Image": "busybox", "Cmd": ["sh", "-c", script], "OpenStdin": true, "StdinOnce": true,
        "Labels": {"minor": version.minor.to_string()},
        "HostConfig": {"Memory": 64 << 20, "Binds": [format!("{name}:/data")]},
    });
    let made = version.call("POST", &format!("/containers/create?name={name}"), Some(config), 201);
    let id = made["Id"].as_str().unwrap();
    version.call("POST", &at("/start"), None, 204);
    version.call("POST", &at("/start"), None, 304);
    let shown = version.call("GET", &at("/json"), None, 200);
    assert_eq!(shown["Id"], id);
    assert_eq!(shown["State"]["Status"], "running");
    assert_eq!(shown["HostConfig"]["Memory"], 64 << 20);
    let filters = format!("%7B%22label%22%3A%5B%22minor%3D{}%22%5D%7D", version.minor);
    let listed = version.call("GET", &format!("/containers/json?filters={filters}"), None, 200);
    assert_eq!((&listed[0]["Id"], listed.as_array().unwrap().len()), (&json!(id), 1));
    eventually("its process is shown", || {
        // Docker shows its runtime until that has become the process.
        let shown = version.call("GET", &at("/top"), None, 200);
        shown["Processes"].to_string().contains("sh -c").then_some(())
    });
    let wish = json!({"Cmd": ["sh", "-c", "echo within; exit 4"], "AttachStdout": true});
    let exec = version.call("POST", &at("/exec"), Some(wish), 201);
    let exec = exec["Id"].as_str().unwrap();
    let answer =
        version.bytes("POST", &format!("/exec/{exec}/start"), Some(json!({"Detach": false})));
    assert!(answer.ends_with(b"\x01\0\0\0\0\0\0\x07within\n"), "{answer:?}");
    let again =
        version.bytes("POST", &format!("/exec/{exec}/start"), Some(json!({"Detach": false})));
    assert!(String::from_utf8_lossy(&again).contains("has already run"), "{again:?}");
    let ended = version.call("GET", &format!("/exec/{exec}/json"), None, 200);
    assert_eq!((&ended["Running"], &ended["ExitCode"]), (&json!(false), &json!(4)));
    version.call("POST", &at("/pause"), None, 204);
    version.call("POST", &at("/unpause"), None, 204);
    let (out, err) = (&b"\x01\0\0\0\0\0\0\x04out\n"[..], &b"\x02\0\0\0\0\0\0\x04err\n"[..]);
    eventually("both lines are in the log", || {
        let log = version.bytes("GET", &at("/logs?stdout=1&stderr=1&tail=2"), None);
        let mut records: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
        records.sort_unstable();
        (records == [out, err]).then_some(())
    });
    version.call("POST", &at("/stop?t=0"), None, 204);
    assert_eq!(version.call("POST", &at("/wait"), None, 200)["StatusCode"], 137);
    version.call("POST", &at("/restart?t=0"), None, 204);
    version.call("POST", &at("/kill?signal=KILL"), None, 204);
    version.call("POST", &at("/wait"), None, 200);
    version.call("POST", &at(&format!("/rename?name={name}b")), None, 204);
    version.call("GET", &at("/json"), None, 404);
    let image = version.call("GET", "/images/busybox/json", None, 200);
    // Fields that newer versions gave up are still what an old client reads.
    assert_eq!(image.get("VirtualSize").is_some(), version.minor < 44, "{image}");
    assert_eq!(image.get("ContainerConfig").is_some(), version.minor < 45, "{image}");
    let tag = format!("/images/busybox/tag?repo=copy&tag={name}");
    version.call("POST", &tag, None, 201);
    version.call("DELETE", &format!("/images/copy:{name}"), None, 200);
    version.call("DELETE", &format!("/containers/{name}b?force=1"), None, 204);
    let volume = version.call("GET", &format!("/volumes/{name}"), None, 200);
    assert_eq!(volume["Name"], name.as_str());
    version.call("DELETE", &format!("/volumes/{name}"), None, 204);
    for path in ["/info", "/version", "/networks", "/volumes", "/images/json", "/_ping"] {
        version.bytes("GET", path, None);
    }
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}
