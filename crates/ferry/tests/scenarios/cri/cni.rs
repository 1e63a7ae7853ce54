//! Networks that Debian's CNI plugins make, and what is called when: each list is given to containerd first.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use ferry_cri::api;
use ferry_testkit::{CriOptions, eventually, free_port, free_range, free_range6, programs, run};
use serde_json::{Value, json};

use super::{
    Bed, IDLE,
    client::{Cri, call},
    conf::{Bridge, Conf, GOOD, LIST},
    on_both_given,
};

/// Runs a scenario with a list against containerd, where that is installed, and against ours.
fn on_both_with(conf: &Conf, plugins: &Path, scenario: impl Fn(&Bed)) {
    let options = CriOptions {
        cni: Some(conf.0.clone()),
        plugins: vec![conf.0.join("bin"), plugins.to_owned()],
        ..CriOptions::default()
    };
    on_both_given(&options, || conf.bed(Some(plugins)), scenario);
}

fn address(bed: &Bed, pod: &str) -> api::PodSandboxNetworkStatus {
    bed.cri.pod_status(pod).unwrap().status.unwrap().network.unwrap()
}

/// The verbose part of a pod's status.
fn info(bed: &Bed, pod: &str) -> Value {
    serde_json::from_str(&bed.cri.pod_status(pod).unwrap().info["info"]).unwrap()
}

/// The machine's end of a pod's link.
fn outer_link(bed: &Bed, id: &str) -> String {
    let index = bed.cri.output(id, "cat /sys/class/net/eth0/iflink");
    let links = fs::read_dir("/sys/class/net").unwrap().flatten();
    let mut names = links.filter(|link| {
        fs::read_to_string(link.path().join("ifindex")).is_ok_and(|own| own.trim() == index)
    });
    names.next().unwrap().file_name().to_string_lossy().into_owned()
}

fn ipam(conf: &Path, ranges: &[String]) -> Value {
    let ranges: Vec<Value> = ranges.iter().map(|range| json!([{"subnet": range}])).collect();
    json!({"type": "host-local", "dataDir": conf.join("ipam"), "ranges": ranges,
        "routes": [{"dst": "0.0.0.0/0"}]})
}

/// Bridge, both families of addresses, published ports, limits of bandwidth, settings of the kernel, firewall.
fn chain(version: &str, letter: char) {
    let Some(plugins) = programs::plugins() else { return };
    let (bridge, range, port) = (Bridge::new(letter), free_range(), free_port());
    let conf = Conf::new(&format!("chain-{letter}"), "");
    let six = free_range6();
    let ranges = [format!("{range}.0/24"), format!("{six}::/64")];
    let list = json!({"cniVersion": version, "name": bridge.0, "plugins": [
        {"type": "bridge", "bridge": bridge.0, "isGateway": true, "hairpinMode": true, "ipam": ipam(&conf.0, &ranges)},
        {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
        {"type": "bandwidth", "capabilities": {"bandwidth": true}},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}},
        {"type": "firewall"},
    ]});
    fs::write(conf.0.join(LIST), list.to_string()).unwrap();
    on_both_with(&conf, &plugins, |bed| {
        let mut config = bed.pod("chain");
        for way in ["ingress", "egress"] {
            config.annotations.insert(format!("kubernetes.io/{way}-bandwidth"), "10M".to_owned());
        }
        config.port_mappings = vec![api::PortMapping {
            protocol: api::Protocol::Tcp.into(),
            container_port: 80,
            host_port: i32::from(port),
            host_ip: String::new(),
        }];
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let serve = "nc -ll -p 80 -e echo hello";
        let id = bed.cri.create(&pod, bed.container("main", serve), &config).unwrap();
        bed.cri.start(&id).unwrap();
        let network = address(bed, &pod);
        assert!(network.ip.starts_with(&format!("{range}.")), "{network:?}");
        assert!(network.additional_ips[0].ip.starts_with(&format!("{six}:")), "{network:?}");
        let inside = bed.cri.output(&id, "ip addr show eth0");
        assert!(inside.contains(&network.ip) && inside.contains(&network.additional_ips[0].ip));
        assert_eq!(bed.cri.output(&id, "cat /proc/sys/net/core/somaxconn"), "500");
        let link = outer_link(bed, &id);
        let limits = run(Command::new("tc").args(["qdisc", "show", "dev", &link])).ok();
        assert!(limits.contains("tbf") && limits.contains("rate 10Mbit"), "{limits}");
        assert!(limits.contains("ingress"), "{limits}");
        let ask = || {
            let mut stream = TcpStream::connect((format!("{range}.1"), port)).ok()?;
            stream.write_all(b"\n").ok()?;
            let mut said = String::new();
            stream.read_to_string(&mut said).ok()?;
            (said == "hello\n").then_some(())
        };
        eventually("the published port answers", ask);
        assert_eq!(conf.leases().len(), 2);
        if bed.is_ours() {
            assert_eq!(info(bed, &pod)["cniCheck"], "ok");
        }
        bed.cri.stop_pod(&pod).unwrap();
        assert_eq!(conf.leases(), Vec::<String>::new(), "the addresses are given back");
        assert_eq!(ask(), None, "the port is free");
        assert!(!Path::new("/sys/class/net").join(link).exists());
    });
}

#[test]
fn a_chain_of_plugins() {
    chain("1.0.0", 'c');
}

#[test]
fn a_chain_of_plugins_of_the_newest_version() {
    chain("1.1.0", 'd');
}

#[test]
fn pods_without_a_bridge() {
    let Some(plugins) = programs::plugins() else { return };
    let range = free_range();
    let conf = Conf::new("ptp", "");
    let list = json!({"cniVersion": "1.0.0", "name": "ptp", "plugins": [
        {"type": "ptp", "ipam": ipam(&conf.0, &[format!("{range}.0/24")])},
    ]});
    fs::write(conf.0.join(LIST), list.to_string()).unwrap();
    on_both_with(&conf, &plugins, |bed| {
        let (first, one) = bed.running("one", IDLE);
        let (second, two) = bed.running("two", IDLE);
        assert_ne!(address(bed, &first).ip, address(bed, &second).ip);
        for (pod, id) in [(&first, &one), (&second, &two)] {
            let ip = address(bed, pod).ip;
            assert!(ip.starts_with(&format!("{range}.")), "{ip}");
            assert!(bed.cri.output(id, "ip -4 addr show eth0").contains(&ip));
            // The machine has a route to each of its own.
            assert!(run(Command::new("ip").args(["route", "get", &ip])).ok().contains("veth"));
        }
    });
}

/// A list's plugin, and one in the folder of the list's name beside it, which is told the pod's group of processes.
#[test]
fn a_plugin_in_a_folder_of_its_list_s_name() {
    let Some(plugins) = programs::plugins() else { return };
    let list =
        r#"{"cniVersion":"1.1.0","name":"folder","plugins":[{"type":"own","capabilities":{}}]}"#;
    let conf = Conf::new("folder", list);
    let log = conf.0.join("calls");
    let note = |name: &str| {
        let note = format!("input=$(cat); echo {name} $CNI_COMMAND $input >> {}", log.display());
        conf.plugin(name, &format!("{note}; {GOOD}"));
    };
    ["own", "further"].into_iter().for_each(note);
    let folder = conf.0.join("folder");
    let further = r#"{"type":"further","mtu":1400,"capabilities":{"cgroupPath":true}}"#;
    on_both_with(&conf, &plugins, |bed| {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("10-further.conf"), further).unwrap();
        // containerd reads a folder's files when the list itself changes.
        fs::write(conf.0.join(LIST), list).unwrap();
        drop(fs::remove_file(&log));
        let config = bed.pod("folder");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        if bed.is_ours() {
            // The pod is taken off its network by the plugins that put it there; containerd takes the list as it is then.
            fs::remove_dir_all(&folder).unwrap();
        }
        bed.cri.stop_pod(&pod).unwrap();
        let text = fs::read_to_string(&log).unwrap();
        let calls: Vec<(&str, &str, &str)> = text
            .lines()
            .map(|line| {
                let mut words = line.splitn(3, ' ');
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap())
            })
            .filter(|(_, command, _)| matches!(*command, "ADD" | "DEL"))
            .collect();
        let names: Vec<_> = calls.iter().map(|(name, command, _)| (*name, *command)).collect();
        let wanted = [("own", "ADD"), ("further", "ADD"), ("further", "DEL"), ("own", "DEL")];
        assert_eq!(names, wanted);
        let told: Value = serde_json::from_str(calls[1].2).unwrap();
        let group = config.linux.unwrap().cgroup_parent;
        assert_eq!(
            (&told["mtu"], &told["runtimeConfig"]),
            (&json!(1400), &json!({"cgroupPath": group}))
        );
        let first: Value = serde_json::from_str(calls[0].2).unwrap();
        assert_eq!(first["runtimeConfig"], Value::Null);
        bed.cri.remove_pod(&pod).unwrap();
    });
}

/// What a daemon of ours that comes up does. None of Debian's plugins does anything at GC yet.
#[test]
fn plugins_are_told_who_is_there_still() {
    let Some(plugins) = programs::plugins() else { return };
    let (bridge, range) = (Bridge::new('g'), free_range());
    let conf = Conf::new("gc", "");
    let told = conf.0.join("told");
    let notes = format!(
        "ADD) echo \"$input\" | jq .prevResult;; GC) echo \"$input\" > {};;",
        told.display()
    );
    conf.plugin("notes", &format!("input=$(cat); case $CNI_COMMAND in {notes} esac"));
    let list = json!({"cniVersion": "1.1.0", "name": "gc", "plugins": [
        {"type": "bridge", "bridge": bridge.0, "isGateway": true, "ipam": ipam(&conf.0, &[format!("{range}.0/24")])},
        {"type": "notes"},
    ]});
    fs::write(conf.0.join(LIST), list.to_string()).unwrap();
    let bed = conf.bed(Some(&plugins));
    let (pod, id) = bed.running("stays", IDLE);
    let gone = bed.cri.run_pod(bed.pod("goes")).unwrap();
    bed.cri.stop_pod(&gone).unwrap();
    let told_next = || {
        drop(fs::remove_file(&told));
        bed.ferry().start_daemon(None);
        let input: Value = eventually("the plugin is told", || {
            serde_json::from_str(&fs::read_to_string(&told).ok()?).ok()
        });
        let valid = input["cni.dev/valid-attachments"].as_array().unwrap().iter();
        let mut ids: Vec<String> =
            valid.map(|it| it["containerID"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    bed.ferry().kill_daemon();
    assert_eq!(told_next(), std::slice::from_ref(&pod));

    // A pod whose record does not read runs all the same, with its address.
    let aside = bed.cri.run_pod(bed.pod("aside")).unwrap();
    let record = bed.ferry().dir().join(format!("data/containers/{aside}/config.json"));
    bed.ferry().kill_daemon();
    let whole = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    let mut both = [pod.clone(), aside.clone()];
    both.sort();
    assert_eq!(told_next(), both);
    bed.ferry().kill_daemon();
    fs::write(&record, whole).unwrap();
    assert_eq!(told_next(), both);
    bed.cri.remove_pod(&aside).unwrap();
    assert_eq!(info(&bed, &pod)["cniCheck"], "ok");

    // Somebody takes a pod's address away: whoever asks for everything sees it, and so does the log of the next daemon.
    let pid = info(&bed, &pod)["pid"].to_string();
    let flush = ["-t", &pid, "-n", "ip", "addr", "flush", "dev", "eth0"];
    run(Command::new("nsenter").args(flush)).ok();
    let words = info(&bed, &pod)["cniCheck"].as_str().unwrap().to_owned();
    assert!(words.contains("failed (CHECK)"), "{words}");
    bed.ferry().kill_daemon();
    bed.ferry().start_daemon(None);
    eventually("the log says so", || {
        let log = bed.ferry().daemon_log();
        log.lines()
            .any(|line| line.contains("not on its network") && line.contains(&pod))
            .then_some(())
    });
    assert_eq!(bed.cri.output(&id, "echo on"), "on", "the pod goes on");
    bed.cri.remove_pod(&pod).unwrap();
    assert_eq!(conf.leases(), Vec::<String>::new());
}

/// While one pod's plugins take their time, everybody else is answered.
#[test]
fn a_slow_plugin_keeps_nobody_else_waiting() {
    let Some(plugins) = programs::plugins() else { return };
    let conf =
        Conf::new("slow", r#"{"cniVersion":"1.0.0","name":"slow","plugins":[{"type":"slow"}]}"#);
    let (gate, begun) = (conf.0.join("gate"), conf.0.join("begun"));
    let good = r#"echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"x"}],"ips":[{"address":"10.1.2.3/24","interface":0}]}'"#;
    let wait = format!(
        "case $input in *slow-pod*) touch {}; while [ ! -e {} ]; do sleep 0.05; done;; esac",
        begun.display(),
        gate.display()
    );
    conf.plugin(
        "slow",
        &format!(
            "input=$CNI_ARGS; cat > /dev/null; [ $CNI_COMMAND = ADD ] && {{ {wait}; }}; {good}"
        ),
    );
    on_both_with(&conf, &plugins, |bed| {
        for file in [&gate, &begun] {
            drop(fs::remove_file(file));
        }
        let (socket, config) = (bed.cri.socket().to_owned(), bed.pod("slow-pod"));
        let waiting = std::thread::spawn(move || Cri::new(&socket).run_pod(config));
        eventually("the plugin is called", || begun.exists().then_some(()));
        let (pod, id) = bed.running("quick", IDLE);
        assert_eq!(bed.cri.output(&id, "echo here"), "here");
        bed.cri.remove_pod(&pod).unwrap();
        assert!(!waiting.is_finished());
        fs::write(&gate, "").unwrap();
        let pod = waiting.join().unwrap().unwrap();
        assert_eq!(address(bed, &pod).ip, "10.1.2.3");
        bed.cri.remove_pod(&pod).unwrap();
    });
}

/// With the newest lists plugins say themselves whether they are ready.
#[test]
fn a_plugin_that_is_not_ready_yet() {
    let Some(plugins) = programs::plugins() else { return };
    let conf =
        Conf::new("ready", r#"{"cniVersion":"1.1.0","name":"ready","plugins":[{"type":"late"}]}"#);
    let gate = conf.0.join("gate");
    conf.plugin(
        "late",
        &format!(
            "cat > /dev/null; [ $CNI_COMMAND = STATUS ] || exit 0; [ -e {} ] || {{ echo '{{\"code\":50,\"msg\":\"not available yet\"}}'; exit 1; }}",
            gate.display()
        ),
    );
    on_both_with(&conf, &plugins, |bed| {
        drop(fs::remove_file(&gate));
        let network = || {
            let request = api::StatusRequest { verbose: false };
            let status = call!(bed.cri, runtime.status(request)).unwrap().status.unwrap();
            status.conditions.into_iter().find(|it| it.r#type == "NetworkReady").unwrap()
        };
        let before = network();
        assert!(!before.status && before.message.contains("not available yet"), "{before:?}");
        fs::write(&gate, "").unwrap();
        assert!(network().status);
    });
}
