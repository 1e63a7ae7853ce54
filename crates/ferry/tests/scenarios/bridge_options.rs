//! Options of the bridge driver that say what the host has on a network, what it looks like from outside, and who reaches its containers
//! by their own addresses. Looked up in the kernel and tried from other hosts.

use std::{path::Path, process::Command};

use ferry_testkit::{Client, Sandbox, eventually, free_port, free_range, free_range6, run};

use crate::{
    lan::{Lan, Mirror, ip},
    with_busybox,
};

through_all!(
    hosts_without_an_address,
    addresses_outside,
    addresses_outside_in_ipv6,
    links_that_are_trusted,
    bridges_of_others,
    settings_of_links,
    options_that_are_refused
);

const BRIDGE: &str = "com.docker.network.bridge";

fn create(sandbox: &Sandbox, name: &str, flags: &[&str]) {
    sandbox.ok(&[&["network", "create"], flags, &[name]].concat());
}

/// Tells the daemons and clients of one machine apart in names of at most fifteen bytes.
fn letter(client: Client) -> char {
    match client {
        Client::Ferry => 'f',
        Client::Docker => 'd',
        Client::FerryOnDocker => 'e',
    }
}

fn address(sandbox: &Sandbox, name: &str, network: &str) -> String {
    let part = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    sandbox.inspect(name, &part)
}

/// `inhibit_ipv4`: containers are told of a gateway that the host is not; an internal network has none, and a container has its address.
fn hosts_without_an_address(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    let link = format!("bi{}{}", letter(client), std::process::id());
    let (name, inhibit) = (format!("{BRIDGE}.name={link}"), format!("{BRIDGE}.inhibit_ipv4=true"));
    let subnet = format!("{base}.0/25");
    create(&sandbox, "bo-none", &["--subnet", &subnet, "-o", &name, "-o", &inhibit]);
    let sleep = ["busybox", "sleep", "1000"];
    let on = ["run", "-d", "--name", "bo-in", "--network", "bo-none"];
    sandbox.ok(&[&on[..], &sleep].concat());
    let addresses = || ip(&format!("-4 addr show dev {link}"));
    assert_eq!(addresses().trim(), "", "the host has no address there");
    let routes = sandbox.ok(&["exec", "bo-in", "ip", "route"]);
    assert!(routes.contains(&format!("default via {base}.1 dev eth0")), "{routes}");
    let config = "{{(index .IPAM.Config 0).Subnet}}";
    assert_eq!(sandbox.ok(&["network", "inspect", "-f", config, "bo-none"]), subnet);
    assert_eq!(address(&sandbox, "bo-in", "bo-none"), format!("{base}.2"));

    // Whoever gives the link that address is the gateway, and keeps it.
    ip(&format!("addr add {base}.1/25 dev {link}"));
    sandbox.ok(&["exec", "bo-in", "ping", "-c1", "-W3", &format!("{base}.1")]);
    if client != Client::FerryOnDocker {
        sandbox.kill_daemon();
        sandbox.start_daemon(None);
        sandbox.ok(&["run", "--rm", "--network", "bo-none", "busybox", "true"]);
        assert!(addresses().contains(&format!("{base}.1/25")), "{}", addresses());
    }

    let subnet = format!("{base}.128/25");
    create(&sandbox, "bo-cell", &["--internal", "--subnet", &subnet, "-o", &inhibit]);
    sandbox
        .ok(&[&["run", "-d", "--name", "bo-first", "--network", "bo-cell"], &sleep[..]].concat());
    assert_eq!(address(&sandbox, "bo-first", "bo-cell"), format!("{base}.129"));
    assert!(!sandbox.ok(&["exec", "bo-first", "ip", "route"]).contains("default"));
    assert_eq!(ip(&format!("-4 route show {subnet}")).trim(), "", "the host has no route there");
    sandbox.run(&["rm", "-f", "bo-in", "bo-first"]);
    sandbox.ok(&["network", "rm", "bo-none", "bo-cell"]);
}

/// `host_ipv4`: what another host sees as the sender.
fn addresses_outside(client: Client) {
    let sandbox = with_busybox(client);
    let (base, outer) = (free_range(), free_range());
    let lan = Lan::new(&format!("{outer}.1/24"));
    for own in [2, 3] {
        ip(&format!("addr add {outer}.{own}/24 dev {}", lan.parent));
    }
    let mirror = Mirror::on(&lan, "TCP-LISTEN", 7007);
    let host = format!("com.docker.network.host_ipv4={outer}.3");
    let (plain, chosen) = (format!("{base}.0/25"), format!("{base}.128/25"));
    create(&sandbox, "bo-plain", &["--subnet", &plain]);
    create(&sandbox, "bo-chosen", &["--subnet", &chosen, "-o", &host]);
    let seen = |network: &str| {
        let there = format!("{outer}.1");
        let ask = ["busybox", "nc", "-w", "3", &there, "7007"];
        let asked = sandbox.run(&[&["run", "--rm", "--network", network], &ask[..]].concat());
        Some(asked.stdout.trim().to_owned()).filter(|seen| !seen.is_empty())
    };
    assert_eq!(eventually("the other host answers", || seen("bo-plain")), format!("{outer}.2"));
    assert_eq!(seen("bo-chosen").as_deref(), Some(&*format!("{outer}.3")));
    if client != Client::FerryOnDocker {
        sandbox.kill_daemon();
        run(Command::new("nft").args(["delete", "table", "ip", &sandbox.table()])).ok();
        sandbox.start_daemon(None);
        let after = eventually("after a crash and a flush", || seen("bo-chosen"));
        assert_eq!(after, format!("{outer}.3"));
    }
    drop(mirror);
    sandbox.ok(&["network", "rm", "bo-plain", "bo-chosen"]);
}

/// `host_ipv6`: the same in IPv6; and `container_iface_prefix`: what links are called inside.
fn addresses_outside_in_ipv6(client: Client) {
    let sandbox = with_busybox(client);
    let (inner, outer) = (free_range6(), free_range6());
    let lan = Lan::new(&format!("{outer}::9/64 nodad"));
    for own in [1, 3] {
        ip(&format!("addr add {outer}::{own}/64 dev {} nodad", lan.parent));
    }
    let mirror = Mirror::on(&lan, "TCP6-LISTEN", 7008);
    let host = format!("com.docker.network.host_ipv6={outer}::3");
    let prefix = "com.docker.network.container_iface_prefix=lan";
    let subnet = format!("{inner}::/64");
    let flags = ["--ipv6", "--ipv4=false", "--subnet", &subnet, "-o", &host, "-o", prefix];
    create(&sandbox, "bo-six", &flags);
    let other = format!("{}.0/24", free_range());
    create(
        &sandbox,
        "bo-more",
        &["--subnet", &other, "-o", "com.docker.network.container_iface_prefix=wan"],
    );
    let flags = ["run", "-d", "--name", "bo-in", "--network", "bo-six"];
    sandbox.ok(&[&flags[..], &["busybox", "sleep", "1000"]].concat());
    let links = || sandbox.ok(&["exec", "bo-in", "ls", "/sys/class/net"]);
    assert_eq!(links().split_whitespace().collect::<Vec<_>>(), ["lan0", "lo"]);
    sandbox.ok(&["network", "connect", "bo-more", "bo-in"]);
    let seen = links();
    assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["lan0", "lo", "wan0"]);
    sandbox.ok(&["network", "disconnect", "bo-more", "bo-in"]);
    let there = format!("{outer}::9");
    let seen = || {
        let asked = sandbox.run(&["exec", "bo-in", "nc", "-w", "3", &there, "7008"]);
        let seen = asked.stdout.trim().trim_matches(['[', ']']).to_owned();
        seen.parse::<std::net::Ipv6Addr>().ok()
    };
    let chosen: std::net::Ipv6Addr = format!("{outer}::3").parse().unwrap();
    assert_eq!(eventually("the other host answers", seen), chosen);
    if client != Client::FerryOnDocker {
        sandbox.kill_daemon();
        run(Command::new("nft").args(["delete", "table", "ip6", &sandbox.table()])).ok();
        sandbox.start_daemon(None);
        assert_eq!(eventually("after a crash and a flush", seen), chosen);
    }
    drop(mirror);
    sandbox.run(&["rm", "-f", "bo-in"]);
    sandbox.ok(&["network", "rm", "bo-six", "bo-more"]);
}

/// From another host.
fn asks(host: &str, at: &str) -> Option<String> {
    let url = format!("http://{at}/index.html");
    let asked =
        run(Command::new("ip").args(["netns", "exec", host, "curl", "-s", "-m", "2", &url]));
    (asked.code == 0).then(|| asked.stdout.trim().to_owned())
}

/// `trusted_host_interfaces`: by these links published ports are reached at the containers' own addresses, and by no others.
fn links_that_are_trusted(client: Client) {
    let sandbox = with_busybox(client);
    let (base, outer) = (free_range(), free_range());
    let near = Lan::new(&format!("{outer}.2/25"));
    let far = Lan::new(&format!("{outer}.130/25"));
    for (lan, own) in [(&near, 1), (&far, 129)] {
        ip(&format!("addr add {outer}.{own}/25 dev {}", lan.parent));
        ip(&format!("-n {} route add {base}.0/24 via {outer}.{own}", lan.host));
    }
    let trusted = format!("{BRIDGE}.trusted_host_interfaces=nosuch0:{}", near.parent);
    create(&sandbox, "bo-trusting", &["--subnet", &format!("{base}.0/25"), "-o", &trusted]);
    let script = "echo web > /tmp/index.html; httpd -p 81 -h /tmp; exec httpd -f -p 80 -h /tmp";
    let port = free_port();
    let published = format!("{port}:80");
    let flags = ["run", "-d", "--name", "bo-web", "--network", "bo-trusting", "-p", &published];
    sandbox.ok(&[&flags[..], &["busybox", "sh", "-c", script]].concat());
    let web = address(&sandbox, "bo-web", "bo-trusting");
    let at = |port: u16| format!("{web}:{port}");
    let check = |when: &str| {
        eventually(when, || asks(&near.host, &at(80)));
        assert_eq!(asks(&near.host, &at(81)), None, "{when}: it is not published");
        assert_eq!(asks(&far.host, &at(80)), None, "{when}: by a link that is not trusted");
        let by_host = format!("{outer}.129:{port}");
        assert_eq!(asks(&far.host, &by_host).as_deref(), Some("web"), "{when}: as always");
    };
    check("a link that is trusted");
    if client != Client::FerryOnDocker {
        if client == Client::Ferry {
            let audit = sandbox.ok(&["port", "audit"]);
            let line = audit.lines().find(|line| line.contains(&near.parent));
            assert!(line.is_some_and(|line| line.contains("bo-web")), "{audit}");
        }
        sandbox.kill_daemon();
        sandbox.start_daemon(None);
        check("after a crash");
        let direct = || {
            let table = sandbox.table();
            run(Command::new("nft").args(["list", "set", "ip", &table, "direct"])).ok()
        };
        assert!(direct().contains(&format!("{web} . tcp . 80")), "{}", direct());
        if client == Client::Ferry {
            sandbox.ok(&["update", "--publish-rm", &port.to_string(), "bo-web"]);
            assert_eq!(asks(&near.host, &at(80)), None, "closed with its port");
        }
        sandbox.ok(&["rm", "-f", "bo-web"]);
        assert!(!direct().contains(&web), "{}", direct());
    }
    sandbox.run(&["rm", "-f", "bo-web"]);
    sandbox.ok(&["network", "rm", "bo-trusting"]);
}

/// A bridge that was there before a network stays when it goes, and is one network's only.
fn bridges_of_others(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    let link = format!("bb{}{}", letter(client), std::process::id());
    ip(&format!("link add {link} type bridge"));
    let own = format!("{BRIDGE}.name={link}");
    create(&sandbox, "bo-own", &["--subnet", &format!("{base}.0/25"), "-o", &own]);
    let subnet = format!("{base}.128/25");
    let second = ["network", "create", "--subnet", &subnet, "-o", &own, "bo-second"];
    sandbox.run(&second).fails(1).says("networks have same bridge name");
    sandbox.ok(&["run", "--rm", "--network", "bo-own", "busybox", "true"]);
    sandbox.ok(&["network", "rm", "bo-own"]);
    assert!(Path::new("/sys/class/net").join(&link).exists(), "it is somebody else's");
    if client != Client::FerryOnDocker {
        let rules = run(Command::new("nft").args(["list", "table", "ip", &sandbox.table()]));
        assert!(!rules.stdout.contains(&link), "{}", rules.stdout);
    }
    ip(&format!("link del {link}"));
    create(&sandbox, "bo-own", &["--subnet", &format!("{base}.0/25"), "-o", &own]);
    sandbox.ok(&["network", "rm", "bo-own"]);
    let found = run(Command::new("ip").args(["link", "show", &link]));
    assert_ne!(found.code, 0, "this one was made for the network: {}", found.stdout);
}

/// `com.docker.network.endpoint.sysctls`: what a container's link on one network is set to.
fn settings_of_links(client: Client) {
    let sandbox = with_busybox(client);
    let base = free_range();
    for (name, last) in [("bo-one", 0), ("bo-two", 128)] {
        create(&sandbox, name, &["--subnet", &format!("{base}.{last}/25")]);
    }
    let sysctls = "com.docker.network.endpoint.sysctls";
    let settings = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.neigh.IFNAME.gc_stale_time=77";
    let flags = ["run", "-d", "--name", "bo-set", "--network", "bo-two"];
    sandbox.ok(&[&flags[..], &["busybox", "sleep", "1000"]].concat());
    let connect = |option: &str| {
        sandbox.run(&["network", "connect", "--driver-opt", option, "bo-one", "bo-set"])
    };
    connect(&format!("{sysctls}=net.ipv4.ip_forward=0"))
        .fails(1)
        .says("unrecognised network interface sysctl 'net.ipv4.ip_forward=0'");
    connect(&format!("\"{sysctls}={settings}\"")).ok();
    let value =
        |path: &str| sandbox.ok(&["exec", "bo-set", "cat", &format!("/proc/sys/net/{path}")]);
    assert_eq!(value("ipv4/conf/eth1/log_martians"), "1");
    assert_eq!(value("ipv4/neigh/eth1/gc_stale_time"), "77");
    assert_eq!(value("ipv4/conf/eth0/log_martians"), "0");
    // Docker's command line before 28 wrote all of it in small letters.
    if client != Client::Docker {
        let network = format!("name=bo-one,\"driver-opt={sysctls}={settings}\"");
        let show = ["busybox", "cat", "/proc/sys/net/ipv4/conf/eth0/log_martians"];
        assert_eq!(sandbox.ok(&[&["run", "--rm", "--network", &network], &show[..]].concat()), "1");
    }
    sandbox.run(&["rm", "-f", "bo-set"]);
    sandbox.ok(&["network", "rm", "bo-one", "bo-two"]);
}

fn options_that_are_refused(client: Client) {
    let sandbox = with_busybox(client);
    let host = "com.docker.network.host_ipv4";
    let inhibit = format!("{BRIDGE}.inhibit_ipv4");
    for (option, words) in [
        (format!("{host}=foo"), format!("failed to parse {host} value: foo (nil ip)")),
        (
            format!("{inhibit}=foo"),
            format!(
                "failed to parse {inhibit} value: foo (strconv.ParseBool: parsing \"foo\": invalid syntax)"
            ),
        ),
    ] {
        sandbox.run(&["network", "create", "-o", &option, "bo-bad"]).fails(1).says(&words);
    }
    // Docker takes it, and fails when a container is put there.
    if client != Client::FerryOnDocker {
        let long = format!("{BRIDGE}.trusted_host_interfaces=a-name-of-sixteen");
        sandbox.run(&["network", "create", "-o", &long, "bo-bad"]).fails(1);
    }
    sandbox.run(&["network", "inspect", "bo-bad"]).fails(1);
}
