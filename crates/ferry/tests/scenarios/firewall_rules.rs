//! Rules of the machine beside ours: those of others are never touched, and ours come back in both families when others take them away.
//! What `firewall = "respect"` means in IPv6 and for UDP, read from the configuration file.

use std::process::Command;

use ferry_testkit::{Client, Sandbox, eventually, free_port, free_range, free_range6, run};
use serde_json::Value;

use crate::{
    firewalls::Machine,
    lan::{self, Lan, ip},
    visitors::{self, By},
    with_busybox,
};

/// What somebody else has: tables of all families, with sets, counters, numbers of their own, and one that is called almost as ours.
const OTHERS: &str = "
table inet firewall {
  set good { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7 } }
  counter seen { }
  chain input { type filter hook input priority 0; policy accept; ip saddr @good accept; tcp dport 22 counter name seen accept; }
  chain forward { type filter hook forward priority 10; policy accept; ct state invalid drop; }
}
table ip nat { chain PREROUTING { type nat hook prerouting priority -100; tcp dport 4 redirect to :5; }; }
table ip filter { chain FORWARD { type filter hook forward priority 0; policy accept; ip daddr 203.0.113.9 drop; }; }
table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy accept; ip6 daddr 2001:db8::9 drop; }; }
table ip ferry { chain mine { type filter hook output priority 5; policy accept; ip daddr 203.0.113.10 counter drop; }; }
table bridge filter { chain forward { type filter hook forward priority 0; policy accept; ether type arp accept; }; }
";

/// All rules of the machine but those of the test's own tables, with their numbers and without what counters count.
fn of_others(own: &str) -> Vec<Value> {
    let listed = run(Command::new("nft").args(["-j", "-s", "list", "ruleset"])).ok();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let is_own = |object: &&Value| {
        let inner = object.as_object().and_then(|object| object.values().next());
        inner.is_some_and(|it| it["table"] == own || it["name"] == own)
    };
    let all = listed["nftables"].as_array().unwrap();
    all.iter().filter(|object| !is_own(object)).cloned().collect()
}

/// A network of both families.
fn network(sandbox: &Sandbox, name: &str) {
    let (subnet, subnet6) = (format!("{}.0/24", free_range()), format!("{}::/64", free_range6()));
    let subnets = ["--subnet", &subnet, "--ipv6", "--subnet", &subnet6];
    sandbox.ok(&[&["network", "create"], &subnets[..], &[name]].concat());
}

#[test]
fn rules_of_others_stay_as_they_are() {
    let _machine = Machine::enter();
    ferry_testkit::run_with_input(Command::new("nft").args(["-f", "-"]), OTHERS.as_bytes()).ok();
    let sandbox = Sandbox::prepared(&[]);
    let own = sandbox.table();
    let before = of_others(&own);
    assert!(before.len() > 20, "{before:#?}");
    let check = |when: &str| assert_eq!(of_others(&own), before, "{when}");
    sandbox.start_daemon(None);
    sandbox.busybox();
    check("the daemon has come");
    network(&sandbox, "both");
    network(&sandbox, "more");
    sandbox.ok(&["network", "create", "--internal", "cell"]);
    check("networks were made");
    let (port, other) = (free_port().to_string(), free_port().to_string());
    let (tcp, udp) = (format!("{port}:7"), format!("{port}:7/udp"));
    visitors::mirror(&sandbox, "web", &["--network", "both", "-p", &tcp, "-p", &udp], &["7"]);
    let here = |port: &str| format!("127.0.0.1:{port}").parse().unwrap();
    eventually("it answers", || visitors::asked(By::Tcp, here(&port)));
    check("ports were published");
    sandbox.ok(&["network", "connect", "more", "web"]);
    sandbox.ok(&["network", "disconnect", "both", "web"]);
    sandbox.ok(&["network", "connect", "both", "web"]);
    check("it has changed its networks");
    let add = format!("{other}:7");
    sandbox.ok(&["update", "--publish-add", &add, "--publish-rm", &port, "web"]);
    eventually("it answers elsewhere", || visitors::asked(By::Tcp, here(&other)));
    check("it has changed its ports");
    for family in ["ip", "ip6"] {
        run(Command::new("nft").args(["flush", "table", family, &own])).ok();
    }
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    eventually("it answers a new daemon's machine", || visitors::asked(By::Tcp, here(&other)));
    check("the daemon has mended its own");
    sandbox.ok(&["rm", "-f", "web"]);
    sandbox.ok(&["network", "rm", "both", "more", "cell"]);
    sandbox.stop_daemon();
    check("all is gone again");
}

/// A site of both families, whose rules of IPv6, of IPv4 or of both are taken away.
#[test]
fn rules_come_back_in_both_families() {
    let sandbox = with_busybox(Client::Ferry);
    let (outer, outer6) = (free_range(), free_range6());
    let lan = Lan::new(&format!("{outer}.2/24"));
    ip(&format!("-n {} addr add {outer6}::2/64 dev lan nodad", lan.host));
    ip(&format!("addr add {outer}.1/24 dev {}", lan.parent));
    ip(&format!("addr add {outer6}::1/64 dev {} nodad", lan.parent));
    network(&sandbox, "both");
    let port = free_port();
    let (tcp, udp) = (format!("{port}:7"), format!("{port}:7/udp"));
    visitors::mirror(&sandbox, "web", &["--network", "both", "-p", &tcp, "-p", &udp], &["7"]);
    let answers = |when: &str| {
        for host in [format!("{outer}.1"), format!("[{outer6}::1]")] {
            for by in [By::Tcp, By::Udp] {
                let to = format!("{host}:{port}").parse().unwrap();
                let asked = || lan::inside(lan.namespace(), move || visitors::asked(by, to));
                eventually(&format!("{when}: {by:?} at {to}"), asked);
            }
        }
    };
    answers("at first");
    let table = sandbox.table();
    let rules = || {
        ["ip", "ip6"].map(|family| {
            let text = run(Command::new("nft").args(["-s", "list", "table", family, &table]));
            let mut lines: Vec<String> = text.stdout.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        })
    };
    let before = rules();
    assert!(before.iter().all(|lines| lines.len() > 30), "{before:#?}");
    for words in [
        "flush table ip6",
        "delete table ip6",
        "flush chain ip6 TABLE forward",
        "flush set ip6 TABLE bridges",
        "flush table ip",
        "delete table ip",
    ] {
        let words = match words.contains("TABLE") {
            true => words.replace("TABLE", &table),
            false => format!("{words} {table}"),
        };
        run(Command::new("nft").args(words.split(' '))).ok();
        eventually(&format!("after {words} all is back"), || (rules() == before).then_some(()));
        answers(&words);
    }
    // Both at once, as `nft flush ruleset` of somebody's script would.
    let both = format!("delete table ip {table}; delete table ip6 {table}");
    run(Command::new("nft").arg(&both)).ok();
    eventually("after both went all is back", || (rules() == before).then_some(()));
    answers("both");
    // And while no daemon was there.
    sandbox.kill_daemon();
    run(Command::new("nft").arg(&both)).ok();
    sandbox.start_daemon(None);
    eventually("the next daemon puts all back", || (rules() == before).then_some(()));
    answers("the next daemon");
}

/// Both settings are the file's: published ports are under the host's firewall, in both families and by TCP and UDP, and names are served.
#[test]
fn the_file_says_that_the_firewall_is_respected() {
    let scratch = crate::scratch("firewall-file");
    let file = scratch.join("daemon.json");
    let http = free_port();
    let text = format!(
        r#"{{"firewall": "respect", "names": true, "names-http": ["127.0.0.1:{http}"], "names-https": ["none"], "names-dns": ["none"]}}"#
    );
    std::fs::write(&file, text).unwrap();
    let sandbox = Sandbox::start_with(&[&format!("--config-file={}", file.display())]);
    sandbox.busybox();
    let (outer, outer6) = (free_range(), free_range6());
    let lan = Lan::new(&format!("{outer}.2/24"));
    ip(&format!("-n {} addr add {outer6}::2/64 dev lan nodad", lan.host));
    ip(&format!("addr add {outer}.1/24 dev {}", lan.parent));
    ip(&format!("addr add {outer6}::1/64 dev {} nodad", lan.parent));
    network(&sandbox, "both");
    let port = free_port();
    let (tcp, udp) = (format!("{port}:7"), format!("{port}:7/udp"));
    visitors::mirror(&sandbox, "web", &["--network", "both", "-p", &tcp, "-p", &udp], &["7"]);
    let hosts = [format!("{outer}.1"), format!("[{outer6}::1]")];
    let from_there = |by: By, host: &str| {
        let to = format!("{host}:{port}").parse().unwrap();
        lan::inside(lan.namespace(), move || visitors::asked(by, to))
    };
    let cases = hosts.iter().flat_map(|host| [(By::Tcp, host), (By::Udp, host)]);
    let cases: Vec<(By, &String)> = cases.collect();
    for (by, host) in &cases {
        eventually(&format!("{by:?} at {host}"), || from_there(*by, host));
    }
    // A table of the test's own, and for nobody else's link.
    let own = format!("ferrytest{}", std::process::id());
    let rules = format!(
        "table inet {own} {{ chain incoming {{ type filter hook input priority 0; policy accept; \
         iifname {} meta l4proto {{ tcp, udp }} th dport {port} drop; }}; }}",
        lan.parent
    );
    ferry_testkit::run_with_input(Command::new("nft").args(["-f", "-"]), rules.as_bytes()).ok();
    let dropped: Vec<bool> =
        cases.iter().map(|(by, host)| from_there(*by, host).is_none()).collect();
    let here = ["127.0.0.1", "[::1]"].map(|host| {
        let to = format!("{host}:{port}").parse().unwrap();
        [By::Tcp, By::Udp].map(|by| visitors::asked(by, to).is_some())
    });
    run(Command::new("nft").args(["delete", "table", "inet", &own])).ok();
    assert_eq!(dropped, [true; 4], "{cases:?}");
    assert_eq!(here, [[true; 2]; 2], "the rule is for others");
    for (by, host) in &cases {
        eventually(&format!("{by:?} at {host} again"), || from_there(*by, host));
    }
    let names = sandbox.ok(&["names"]);
    assert!(names.contains(&format!("HTTP: 127.0.0.1:{http}")), "{names}");
}
