use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use ferry_model::{
    container::{CniPort, CniRequest},
    network::PortBinding,
};

use super::*;

/// Plugins of a test's own, in a directory of its own.
struct Bed(PathBuf);

impl Bed {
    fn new(name: &str) -> Bed {
        let path = std::env::temp_dir().join(format!("ferry-cni-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).unwrap();
        Bed(path)
    }

    /// A plugin that notes what it was called with, then does this.
    fn plugin(&self, name: &str, script: &str) {
        let log = self.0.join("log");
        let text = format!(
            "input=$(cat)\nprintf '%s %s %s %s\\n' {name} \"$CNI_COMMAND\" \"$CNI_ARGS\" \"$input\" >> {}\n{script}",
            log.display()
        );
        self.deaf_plugin(name, &text);
    }

    /// A plugin that does just this, and reads nothing by itself.
    fn deaf_plugin(&self, name: &str, script: &str) {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn network(&self, list: &str) -> Network {
        Network { list: ConfList::parse(list).unwrap(), plugins: vec![self.0.clone()] }
    }

    fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

const GOOD: &str =
    r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.5/24"},{"address":"fd00::5/64"}]}'"#;

const LIST: &str = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"first"},{"type":"second","capabilities":{"portMappings":true}}]}"#;

fn pod(request: &CniRequest) -> Pod<'_> {
    Pod { id: "0123", netns: "/proc/1/ns/net", request }
}

#[test]
fn plugins_are_called_in_order_and_undone_in_reverse() {
    let bed = Bed::new("order");
    bed.plugin("first", GOOD);
    bed.plugin("second", GOOD);
    let network = bed.network(LIST);
    let request = CniRequest {
        args: vec![("K8S_POD_NAME".into(), "web".into())],
        ports: vec![CniPort {
            container_port: 80,
            host: PortBinding { host_port: 8080, ..PortBinding::default() },
            protocol: "tcp".into(),
        }],
        ..CniRequest::default()
    };
    let attached = network.add(pod(&request)).unwrap();
    let addresses: Vec<String> = attached.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.9.0.5", "fd00::5"]);
    network.check(pod(&request), &attached.result).unwrap();
    network.del(pod(&request), &attached.result).unwrap();
    let log = bed.log();
    let calls: Vec<String> =
        log.iter().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    let word = |plugin: &str, command: &str| format!("{plugin} {command} K8S_POD_NAME=web");
    assert_eq!(
        calls,
        [
            word("first", "ADD"),
            word("second", "ADD"),
            word("first", "CHECK"),
            word("second", "CHECK"),
            word("second", "DEL"),
            word("first", "DEL"),
        ]
    );
    assert!(!log[0].contains("runtimeConfig") && !log[0].contains("prevResult"), "{}", log[0]);
    assert!(log[1].contains(r#""hostPort":8080"#) && log[1].contains("prevResult"), "{}", log[1]);
}

#[test]
fn a_plugin_that_fails_is_quoted_and_the_others_are_undone() {
    let bed = Bed::new("fail");
    bed.plugin("first", GOOD);
    bed.plugin("second", r#"echo '{"code":7,"msg":"no room","details":"all taken"}'; exit 1"#);
    let network = bed.network(LIST);
    let request = CniRequest::default();
    let error = network.add(pod(&request)).unwrap_err();
    assert_eq!(error.to_string(), "plugin type=\"second\" failed (ADD): no room: all taken");
    assert!(network.del(pod(&request), "").is_err());
    assert!(bed.log().last().unwrap().starts_with("first DEL"), "the others are called, too");
}

#[test]
fn a_plugin_that_lies_is_not_believed() {
    let bed = Bed::new("lie");
    let request = CniRequest::default();
    for (script, words) in [
        ("echo hello", "printed no valid result"),
        ("echo '[]'", "no JSON object"),
        ("echo '{}'", "no address"),
        (r#"echo '{"ips":[{"address":"10.0.0.300/24"}]}'"#, "\"10.0.0.300/24\" is no address"),
        (r#"echo '{"ips":7}'"#, "\"ips\" is no list"),
        ("exit 3", "exit status: 3"),
    ] {
        bed.plugin("first", script);
        let network = bed.network(r#"{"cniVersion":"1.0.0","name":"n","type":"first"}"#);
        let error = network.add(pod(&request)).unwrap_err().to_string();
        assert!(error.contains(words), "{script}: {error}");
    }
    let network = bed.network(r#"{"cniVersion":"1.0.0","name":"n","type":"missing"}"#);
    assert!(network.status().unwrap_err().to_string().contains("failed to find plugin"));
}

#[test]
fn what_is_no_list() {
    for (text, words) in [
        ("", "EOF"),
        ("[]", "no JSON object"),
        ("{}", "no valid \"name\""),
        (r#"{"name":"../x","type":"a"}"#, "no valid \"name\""),
        (r#"{"name":"x"}"#, "no \"type\""),
        (r#"{"name":"x","type":"../../bin/sh"}"#, "invalid plugin type"),
        (r#"{"name":"x","plugins":[]}"#, "0 plugins"),
        (r#"{"name":"x","type":"a","cniVersion":"7.0.0"}"#, "unknown \"cniVersion\""),
    ] {
        let error = ConfList::parse(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn the_first_file_by_name_counts() {
    let bed = Bed::new("files");
    assert_eq!(load(&bed.0.join("none")).unwrap(), None);
    assert_eq!(load(&bed.0).unwrap(), None);
    fs::write(bed.0.join("20-b.conf"), r#"{"name":"b","type":"x"}"#).unwrap();
    fs::write(bed.0.join("10-a.conflist"), LIST).unwrap();
    fs::write(bed.0.join("05.txt"), "no").unwrap();
    assert_eq!(load(&bed.0).unwrap().unwrap().name, "net");
    fs::write(bed.0.join("00-broken.conf"), "{").unwrap();
    assert!(load(&bed.0).is_err());
}

#[test]
fn a_list_may_have_plugins_in_a_folder_of_its_name() {
    let bed = Bed::new("folder");
    let kinds = |list: &ConfList| -> Vec<String> {
        list.plugins().iter().map(|it| plugin_kind(it).to_owned()).collect()
    };
    let write = |path: &str, text: &str| fs::write(bed.0.join(path), text).unwrap();
    let read = || load(&bed.0).map(Option::unwrap);
    fs::create_dir(bed.0.join("net")).unwrap();
    write("10-a.conflist", LIST);
    assert_eq!(kinds(&read().unwrap()), ["first", "second"]);
    write("net/20.conf", r#"{"type":"fourth"}"#);
    write("net/10.conf", r#"{"type":"third","mtu":1400}"#);
    write("net/30.json", "no");
    let list = read().unwrap();
    assert_eq!(kinds(&list), ["first", "second", "third", "fourth"]);
    assert_eq!(list.plugins()[2]["mtu"], 1400);
    // What a pod is taken off its network with is what it was put on it with.
    assert_eq!(kinds(&ConfList::parse(list.text()).unwrap()), kinds(&list));

    // A list may have no other plugins than these.
    write("10-a.conflist", r#"{"name":"net","cniVersion":"1.1.0"}"#);
    assert_eq!(kinds(&read().unwrap()), ["third", "fourth"]);
    write(
        "10-a.conflist",
        r#"{"name":"net","plugins":[{"type":"a"}],"loadOnlyInlinedPlugins":true}"#,
    );
    assert_eq!(kinds(&read().unwrap()), ["a"]);
    write("10-a.conflist", r#"{"name":"net","type":"single"}"#);
    assert_eq!(kinds(&read().unwrap()), ["single"]);
    write("10-a.conflist", LIST);
    write("net/10.conf", r#"{"mtu":1400}"#);
    assert!(read().unwrap_err().to_string().contains("a plugin has no \"type\""));
    for at in 0..80 {
        write(&format!("net/{at}.conf"), r#"{"type":"many"}"#);
    }
    assert!(read().unwrap_err().to_string().contains("1 to 64 can be"));
}

#[test]
fn what_belongs_to_no_pod_is_collected() {
    let bed = Bed::new("gc");
    bed.plugin("first", "exit 1");
    bed.plugin("second", "");
    let list = |version: &str, more: &str| {
        let text = format!(
            r#"{{"cniVersion":"{version}","name":"net","plugins":[{{"type":"first"}},{{"type":"second"}}]{more}}}"#
        );
        bed.network(&text)
    };
    let valid = ["one".to_owned(), "two".to_owned()];
    list("1.0.0", "").collect(&valid).unwrap();
    list("1.1.0", r#","disableGC":true"#).collect(&valid).unwrap();
    assert!(bed.log().is_empty(), "older lists have no GC");
    let failed = list("1.1.0", "").collect(&valid).unwrap_err();
    assert!(failed.to_string().contains("first"), "{failed}");
    let log = bed.log();
    assert_eq!(log.len(), 2, "the second is called all the same");
    let input: Value = serde_json::from_str(&log[1]["second GC  ".len()..]).unwrap();
    let attached =
        json!([{"containerID":"one","ifname":"eth0"},{"containerID":"two","ifname":"eth0"}]);
    assert_eq!(input["cni.dev/valid-attachments"], attached);
    assert_eq!((&input["name"], &input["cniVersion"]), (&json!("net"), &json!("1.1.0")));
}

#[test]
fn the_newest_known_version_is_spoken() {
    let version = |text: &str| {
        let plugins = r#""name":"net","plugins":[{"type":"x"}]"#;
        ConfList::parse(&format!("{{{text},{plugins}}}")).map(|list| list.version)
    };
    assert_eq!(version(r#""cniVersions":["0.3.1","1.1.0","1.0.0","2.0.0"]"#).unwrap(), "1.1.0");
    assert_eq!(version(r#""cniVersion":"1.0.0","cniVersions":["0.4.0"]"#).unwrap(), "1.0.0");
    assert!(version(r#""cniVersions":["7.0.0"]"#).is_err());
    assert!(version(r#""cniVersions":"1.0.0""#).is_err());
}

fn call_within(bed: &Bed, config: &Value, limit: std::time::Duration) -> Result<Vec<u8>, CniError> {
    let request = CniRequest::default();
    invoke::run(&invoke::Call {
        command: "ADD",
        kind: "slow",
        directories: std::slice::from_ref(&bed.0),
        config,
        pod: pod(&request),
        limit,
    })
}

#[test]
fn a_plugin_that_takes_too_long_is_killed_with_what_it_started() {
    let bed = Bed::new("slow");
    let pid = bed.0.join("pid");
    bed.plugin("slow", &format!("sleep 300 & echo $! > {}; wait", pid.display()));
    let late = call_within(&bed, &json!({}), std::time::Duration::from_millis(500)).unwrap_err();
    assert!(matches!(late, CniError::TimedOut { command: "ADD", .. }), "{late}");
    let pid: u32 = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    let state = || fs::read_to_string(format!("/proc/{pid}/stat"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while state().is_ok_and(|text| !text.contains(") Z ")) {
        assert!(std::time::Instant::now() < deadline, "what it started goes on");
        std::thread::yield_now();
    }
}

/// The process whose number a plugin has told.
struct Left(rustix::process::Pid);

impl Left {
    fn of(output: &[u8]) -> Left {
        let output = std::str::from_utf8(output).unwrap();
        let pid = output.rsplit_once("done ").unwrap().1.trim().parse::<i32>().unwrap();
        Left(rustix::process::Pid::from_raw(pid).unwrap())
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        // It may have ended when nobody read it any more.
        rustix::process::kill_process(self.0, rustix::process::Signal::KILL).ok();
    }
}

/// Most that a plugin may print.
const MOST: usize = 4 << 20;

const AGES: std::time::Duration = std::time::Duration::from_secs(90);

#[test]
fn a_plugin_may_leave_something_that_keeps_its_output_open() {
    let bed = Bed::new("daemon");
    bed.plugin("slow", "sleep 100 & echo done $!");
    Left::of(&call_within(&bed, &json!({}), AGES).unwrap());
}

#[test]
fn a_plugin_may_leave_something_that_never_stops_to_complain() {
    let bed = Bed::new("complain");
    bed.plugin("slow", "while :; do echo x >&2; done & echo done $!");
    Left::of(&call_within(&bed, &json!({}), AGES).unwrap());

    // It goes on where the result should be, too: what there is at the plugin's end is taken, up to the limit.
    let pid = bed.0.join("pid");
    bed.plugin("slow", &format!("yes & echo done $! > {}", pid.display()));
    let much = call_within(&bed, &json!({}), AGES).map(|output| output.len());
    drop(Left::of(&fs::read(pid).unwrap()));
    assert!(matches!(much, Ok(..=MOST) | Err(CniError::TooMuch { .. })), "{much:?}");
}

#[test]
fn a_plugin_may_leave_something_that_never_reads() {
    let bed = Bed::new("deaf");
    // More than a pipe holds.
    let config = json!({ "long": "x".repeat(1 << 20) });
    bed.deaf_plugin("slow", "exec 3<&0; sleep 100 <&3 & echo done $!");
    Left::of(&call_within(&bed, &config, AGES).unwrap());
}

#[test]
fn a_long_configuration_arrives_whole() {
    let bed = Bed::new("long");
    let config = json!({ "long": "x".repeat(1 << 20) });
    bed.deaf_plugin("slow", "sleep 0.2; wc -c");
    let count = call_within(&bed, &config, AGES).unwrap();
    let count: usize = String::from_utf8(count).unwrap().trim().parse().unwrap();
    assert_eq!(count, config.to_string().len());
}

#[test]
fn what_others_wait_for_has_less_time() {
    for command in ["CHECK", "GC", "STATUS"] {
        assert!(invoke::limit(command) * 3 < invoke::limit("ADD"), "{command}");
    }
    assert_eq!(invoke::limit("ADD"), invoke::limit("DEL"));
}
