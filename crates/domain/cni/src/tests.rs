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
        let path = self.0.join(name);
        let log = self.0.join("log");
        let text = format!(
            "#!/bin/sh\ninput=$(cat)\nprintf '%s %s %s %s\\n' {name} \"$CNI_COMMAND\" \"$CNI_ARGS\" \"$input\" >> {}\n{script}\n",
            log.display()
        );
        fs::write(&path, text).unwrap();
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
