//! Bridges and what is on them, as `ip` and `nft` see them. Needs root.

mod machine;

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, TcpStream},
    process::Command,
    time::Instant,
};

use ferry_network::{
    Attach, Bridge, BridgeError, choose_subnet, default_pools, detach, forward_blocked,
    loopback_up, mac_for, reconcile, used_ranges,
};
use machine::{Machine, container, gateway, is_root, json, run, settings, uplink};

#[test]
fn a_container_gets_link_address_and_route() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let (inside, ip) = container(&bridge, "ftnv0", 2);
    let link = &inside.json("ip -j addr show eth0")[0];
    assert_eq!(link["address"], "02:42:0a:e7:01:02");
    assert_eq!(link["operstate"], "UP");
    let addresses = link["addr_info"].as_array().expect("addresses");
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    assert_eq!(addresses[0]["local"], ip.to_string());
    assert_eq!(addresses[0]["prefixlen"], 24);
    assert_eq!(addresses[0]["broadcast"], "10.231.1.255");
    assert_eq!(inside.json("ip -j route show default")[0]["gateway"], "10.231.1.1");
    assert_eq!(inside.json("ip -j link show lo")[0]["flags"][1], "UP");
    let ours = &json("ip -j -d link show ftnv0")[0];
    assert_eq!(ours["master"], "ftnb0");
    assert_eq!(ours["linkinfo"]["info_slave_data"]["state"], "forwarding");
    let bridge_link = &json("ip -j -d addr show ftnb0")[0];
    assert_eq!(bridge_link["linkinfo"]["info_data"]["stp_state"], 0);
    assert_eq!(bridge_link["address"], "02:42:0a:e7:01:01");
    // The first packet passes: nothing had to be sent once more.
    let refused = inside.within(|| TcpStream::connect("10.231.1.1:9")).expect_err("nobody there");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let counters = inside.within(|| std::fs::read_to_string("/proc/thread-self/net/snmp"));
    let counters = counters.expect("counters");
    let mut tcp = counters.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (tcp.next().expect("names"), tcp.next().expect("values"));
    let again = names.split(' ').zip(values.split(' ')).find(|(name, _)| *name == "RetransSegs");
    assert_eq!(again, Some(("RetransSegs", "0")));
    detach("ftnv0").expect("detached");
    detach("ftnv0").expect("nothing to do");
    assert!(inside.json("ip -j link show eth0").is_null());
}

#[test]
fn removing_the_last_bridge_leaves_nothing() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let first = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let second = Bridge::ensure(&settings("ftnb1", 2)).expect("a bridge");
    let rules = |text: &str| {
        let output = Command::new("nft").args(["list", "table", "ip", "ferrytest"]).output();
        String::from_utf8_lossy(&output.expect("nft").stdout).contains(text)
    };
    assert!(rules("{ \"ftnb0\" comment \"ftnb0\","));
    assert!(rules("10.231.1.0/24 comment \"ftnb0\"") && rules("10.231.2.0/24"));
    first.remove().expect("removed");
    assert!(!rules("10.231.1.0/24") && !rules("ftnb0") && rules("10.231.2.0/24"));
    second.remove().expect("removed");
    assert!(!rules("table"));
    assert!(json("ip -j link show ftnb0").is_null() && json("ip -j link show ftnb1").is_null());
    second.remove().expect("nothing to do");
}

#[test]
fn a_bridge_that_is_there_is_adopted() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let one = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let again = Bridge::ensure(&settings("ftnb0", 1)).expect("the same");
    assert_eq!(one, again);
    let mut other = settings("ftnb0", 7);
    let moved = Bridge::ensure(&other).expect("another address");
    assert_eq!(moved.addresses(), [(Ipv4Addr::new(10, 231, 7, 1).into(), 24)]);
    let addresses = json("ip -j -4 addr show ftnb0");
    assert_eq!(addresses[0]["addr_info"].as_array().map(Vec::len), Some(1));
    let subnets = json("nft -j list set ip ferrytest subnets").to_string();
    assert!(subnets.contains("10.231.7.0") && !subnets.contains("10.231.1.0"), "{subnets}");
    other.addresses.clear();
    assert_eq!(Bridge::ensure(&other).expect("as it is").addresses(), moved.addresses());
    uplink("192.0.2.1/24", "192.0.2.9");
    let error = Bridge::ensure(&settings("ftnd0", 3)).expect_err("not a bridge");
    assert!(matches!(error, BridgeError::NotABridge(_)), "{error:?}");
}

#[test]
fn a_free_range_is_chosen_and_a_taken_one_refused() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    uplink("172.29.3.1/24", "172.29.3.9");
    run("ip route add 172.30.128.0/24 via 172.29.3.9");
    let used = used_ranges().expect("known");
    let chosen = choose_subnet(&default_pools(), false, &used);
    assert_eq!(chosen, Some((Ipv4Addr::new(172, 31, 0, 0).into(), 16)));
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let mtu = || json("ip -j link show ftnb0")[0]["mtu"].as_u64();
    assert_eq!(mtu(), Some(1400));
    let (inside, _) = container(&bridge, "ftnv0", 2);
    assert_eq!(inside.json("ip -j link show eth0")[0]["mtu"], 1400);
    detach("ftnv0").expect("detached");
    assert_eq!(mtu(), Some(1400));
    let mut taken = settings("ftnb1", 1);
    taken.addresses = vec![(Ipv4Addr::new(172, 29, 0, 1).into(), 16)];
    let error = Bridge::ensure(&taken).expect_err("taken");
    assert!(matches!(&error, BridgeError::Overlap { link, .. } if link == "ftnd0"), "{error:?}");
    assert!(json("ip -j link show ftnb1").is_null());
    // Forwarding was off on this machine.
    let forward = Command::new("sysctl").args(["-n", "net.ipv4.ip_forward"]).output();
    assert_eq!(forward.expect("sysctl").stdout, b"1\n");
}

#[test]
fn what_is_removed_is_found_by_nobody() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    for round in 0..20 {
        let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
        let (inside, _) = container(&bridge, "ftnv0", 2);
        ferry_network::detach("ftnv0").expect("removed");
        assert!(json("ip -j link show ftnv0").is_null(), "round {round}");
        // Its name is free, and so is that of the end inside.
        drop(inside);
        ferry_network::remove_bridge("ftnb0", "ferrytest").expect("removed");
        assert!(json("ip -j link show ftnb0").is_null(), "round {round}");
        ferry_network::detach("ftnv0").expect("nothing to remove");
    }
}

#[test]
fn reconciling_removes_only_links_of_ours_that_nobody_claims() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let (_kept, _) = container(&bridge, "ftnkept", 2);
    let (_left, _) = container(&bridge, "ftnleft", 3);
    run("ip link add ftnuser type veth peer name ftnuser0");
    run("ip link set ftnuser master ftnb0");
    reconcile("ferrytest", "ftnb0", &["ftnkept".to_owned()], &[]).expect("reconciled");
    let ports = json("ip -j link show master ftnb0");
    let mut names: Vec<_> = ports
        .as_array()
        .expect("links")
        .iter()
        .filter_map(|link| link["ifname"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["ftnkept", "ftnuser"]);
    reconcile("ferrynone", "ftnnone", &[], &[]).expect("nothing to do");
}

#[test]
fn failures_leave_nothing_and_tell_why() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let (inside, ip) = container(&bridge, "ftnv0", 2);
    let attach = Attach {
        pid: inside.pid(),
        host_link: "ftnv1",
        addresses: &[(ip.into(), 24)],
        mac: mac_for(ip.into()),
        inside: "eth0",
        gateways: &[gateway(&bridge).into()],
        direct: &[],
        sysctls: &[],
    };
    let error = bridge.attach(&attach).expect_err("eth0 is there");
    let text = ferry_errkind::chain(&error);
    assert!(text.contains("File exists"), "{text}");
    assert!(json("ip -j link show ftnv1").is_null());
    // A link that was left by a killed engine is replaced.
    let other = Machine::new();
    bridge
        .attach(&Attach { pid: other.pid(), host_link: "ftnv0", ..attach })
        .expect("in place of the other");
    assert!(inside.json("ip -j link show eth0").is_null());
    let error = loopback_up(0x3f_ffff).expect_err("no such process");
    assert_eq!(
        ferry_errkind::chain(&error),
        "cannot reach the network of process 4194303: cannot enter the network namespace of process 4194303: \
         No such file or directory (os error 2)"
    );
}

#[test]
fn a_firewall_that_drops_is_noticed() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    assert_eq!(forward_blocked(), None);
    run("nft add table ip filter");
    run("nft add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }");
    let warning = forward_blocked().expect("a warning");
    assert!(warning.contains("\"ip filter FORWARD\""), "{warning}");
}

#[test]
fn attaching_is_fast() {
    if !is_root() {
        return;
    }
    let _host = Machine::host();
    let bridge = Bridge::ensure(&settings("ftnb0", 1)).expect("a bridge");
    let machines: Vec<_> = (2..22).map(|last| (last, Machine::new())).collect();
    let mut times: Vec<_> = machines
        .iter()
        .map(|(last, machine)| {
            let (ip, host_link) = (Ipv4Addr::new(10, 231, 1, *last), format!("ftnv{last}"));
            let mac = mac_for(ip.into());
            let started = Instant::now();
            let attach = Attach {
                pid: machine.pid(),
                host_link: &host_link,
                addresses: &[(ip.into(), 24)],
                mac,
                inside: "eth0",
                gateways: &[gateway(&bridge).into()],
                direct: &[],
                sysctls: &[],
            };
            bridge.attach(&attach).expect("attached");
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("attach: median {:?}, all {times:?}", times[10]);
    // Ten times what it takes on a machine that does nothing else: for whoever has one.
    let quiet = std::env::var_os("FERRY_TEST_SPEED").is_some();
    assert!(!quiet || times[10].as_millis() < 15, "{times:?}");
}
