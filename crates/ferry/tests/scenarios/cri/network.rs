//! Pods' networks: our own bridge, and CNI plugins of Debian.

use std::fs;

use ferry_cri::api;
use ferry_testkit::{eventually, programs};

use super::{
    Bed, IDLE,
    client::call,
    conf::{Conf, GOOD},
    on_both,
};

#[test]
fn pods_reach_each_other_on_our_own_bridge() {
    let bed = Bed::ours(&[]);
    let (pod, _) = bed.running("server", "while :; do echo hi | nc -l -p 80; done");
    let ip = bed.cri.pod_status(&pod).unwrap().status.unwrap().network.unwrap().ip;
    let (_, client) = bed.running("client", IDLE);
    eventually("the server answers", || {
        (bed.cri.output(&client, &format!("nc -w 1 {ip} 80 < /dev/null")) == "hi").then_some(())
    });
    let own = bed.cri.output(&client, "grep client /etc/hosts");
    assert!(own.starts_with("10."), "{own}");
}

#[test]
fn a_pod_on_the_machine_s_network() {
    on_both(|bed| {
        let mut config = bed.pod("host");
        config.hostname.clear();
        let options = api::NamespaceOption {
            network: api::NamespaceMode::Node.into(),
            ..api::NamespaceOption::default()
        };
        let linux = config.linux.as_mut().unwrap();
        linux.security_context = Some(api::LinuxSandboxSecurityContext {
            namespace_options: Some(options),
            ..api::LinuxSandboxSecurityContext::default()
        });
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let id = bed.cri.create(&pod, bed.container("main", IDLE), &config).unwrap();
        bed.cri.start(&id).unwrap();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(bed.cri.output(&id, "readlink /proc/self/ns/net"), own.to_string_lossy());
        assert_eq!(bed.cri.pod_status(&pod).unwrap().status.unwrap().network.unwrap().ip, "");
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(bed.cri.output(&id, "hostname"), name.trim());
    });
}

#[test]
fn debian_s_plugins_make_the_network() {
    let Some(plugins) = programs::plugins() else { return };
    let (conf, _bridge) = Conf::bridged("debian");
    let bed = conf.bed(Some(&plugins));
    let (pod, id) = bed.running("debian", IDLE);
    let ip = bed.cri.pod_status(&pod).unwrap().status.unwrap().network.unwrap().ip;
    assert!(bed.cri.output(&id, "ip -4 addr show eth0").contains(&ip));
    assert!(bed.cri.output(&id, "cat /etc/hosts").contains(&format!("{ip}\tdebian")));
    assert_eq!(conf.leases(), std::slice::from_ref(&ip));
    bed.ferry().kill_daemon();
    bed.ferry().start_daemon(None);
    assert_eq!(bed.cri.pod_status(&pod).unwrap().status.unwrap().network.unwrap().ip, ip);
    bed.cri.stop_pod(&pod).unwrap();
    assert_eq!(conf.leases(), Vec::<String>::new(), "the address is given back");
    bed.cri.remove_pod(&pod).unwrap();
}

#[test]
fn plugins_that_fail_or_lie_leave_no_pod() {
    let conf =
        Conf::new("bad", r#"{"cniVersion":"1.0.0","name":"bad","plugins":[{"type":"bad"}]}"#);
    let log = conf.0.join("calls");
    let note = format!("cat > /dev/null; echo $CNI_COMMAND >> {}", log.display());
    conf.plugin("bad", &format!("{note}; [ $CNI_COMMAND = DEL ] && exit 0; echo '{{\"code\":11,\"msg\":\"no more addresses\"}}'; exit 1"));
    let bed = conf.bed(None);
    let error = bed.cri.run_pod(bed.pod("bad")).unwrap_err();
    assert!(error.message().contains("no more addresses"), "{error}");
    assert!(bed.cri.pods().is_empty());
    assert_eq!(fs::read_to_string(&log).unwrap(), "ADD\nDEL\n");

    conf.plugin("bad", &format!("{note}; echo lies"));
    let error = bed.cri.run_pod(bed.pod("bad")).unwrap_err();
    assert!(error.message().contains("no valid result"), "{error}");
    assert!(bed.cri.pods().is_empty());

    // One that cannot take apart what it made is asked again.
    let gate = conf.0.join("gate");
    conf.plugin(
        "bad",
        &format!("{note}; [ $CNI_COMMAND = DEL ] && [ ! -e {} ] && exit 1; {GOOD}", gate.display()),
    );
    let pod = bed.cri.run_pod(bed.pod("bad")).unwrap();
    assert!(bed.cri.stop_pod(&pod).is_err());
    assert!(bed.cri.remove_pod(&pod).is_err(), "it would never be asked again");
    fs::write(&gate, "").unwrap();
    bed.cri.stop_pod(&pod).unwrap();
    bed.cri.remove_pod(&pod).unwrap();

    // Without its plugin the network is not ready.
    fs::remove_file(conf.0.join("bin/bad")).unwrap();
    let status = call!(bed.cri, runtime.status(api::StatusRequest { verbose: false })).unwrap();
    let conditions = status.status.unwrap().conditions;
    assert!(!conditions[1].status && conditions[1].message.contains("failed to find plugin"));
}

#[test]
fn a_daemon_that_dies_while_plugins_work_undoes_it() {
    let (conf, log) = Conf::noting("die");
    let bed = conf.bed(None);
    // And whether the pod runs then, so that it is its kubelet's to stop.
    let points = [
        ("pod.cni-noted", false),
        ("pod.cni-added", false),
        ("pod.cni-leaving", true),
        ("pod.cni-deleted", true),
    ];
    for (failpoint, runs) in points {
        fs::write(&log, "").unwrap();
        bed.ferry().stop_daemon();
        bed.ferry().start_daemon(Some(failpoint));
        let done = bed.cri.run_pod(bed.pod("die")).and_then(|pod| bed.cri.stop_pod(&pod));
        done.expect_err(failpoint);
        bed.ferry().wait_for_death();
        bed.ferry().start_daemon(None);
        let calls = || {
            let text = fs::read_to_string(&log).unwrap();
            text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        if runs {
            let left = bed.cri.pods().remove(0);
            // This asks plugins about a pod that is on a network.
            bed.cri.pod_status(&left.id).unwrap();
            bed.cri.stop_pod(&left.id).unwrap();
        }
        eventually("plugins are asked to take it apart", || {
            calls().last().is_some_and(|last| last == "DEL").then_some(())
        });
        // Nobody asks whether a pod is on its network that is leaving it.
        assert!(!calls().contains(&"CHECK".to_owned()), "{failpoint}: {:?}", calls());
        let pod = bed.cri.run_pod(bed.pod("die"));
        let pod = match pod {
            Ok(pod) => pod,
            // One that ran and was stopped keeps its name until it is removed, as with containerd.
            Err(_) => bed.cri.pods()[0].id.clone(),
        };
        bed.cri.stop_pod(&pod).unwrap();
        bed.cri.remove_pod(&pod).unwrap();
        assert!(bed.cri.pods().is_empty(), "{failpoint}");
    }
}
