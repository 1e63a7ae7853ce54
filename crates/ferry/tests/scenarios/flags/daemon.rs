//! The daemon's flags: what they do, and that what cannot be done is refused by its name.

use std::{
    net::TcpStream,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{FerryRegistry, Sandbox, binary, eventually, programs, run};

use crate::with_busybox;

#[test]
fn what_containers_and_the_machine_get() {
    let directory = crate::scratch("flags-daemon");
    let pid_file = directory.join("daemon.pid");
    let sandbox = Sandbox::start_with(&[
        "--default-shm-size=32m",
        "--default-ulimit=nofile=100:200",
        "--dns-opt=ndots:3",
        "--mtu=1400",
        "--max-concurrent-downloads=2",
        "--max-concurrent-uploads=2",
        "--insecure-registry=registry.test:5000",
        "--group=daemon",
        "--raw-logs",
        "--pidfile",
        pid_file.to_str().unwrap(),
        // As it is anyway.
        "--live-restore",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        "--ip-forward",
        "--iptables",
        "--ip6tables",
        "--ip-masq",
        "--max-download-attempts=5",
        "--shutdown-timeout=15",
        "--userland-proxy=false",
        "--experimental=false",
        "--rootless=false",
        "--selinux-enabled",
    ]);
    sandbox.busybox();
    let look = "df -k /dev/shm | tail -n 1 | awk '{print $2}'; ulimit -Sn; ulimit -Hn; grep -c ndots:3 /etc/resolv.conf; \
        cat /sys/class/net/eth0/mtu";
    let seen = sandbox.ok(&["run", "--rm", "busybox", "sh", "-c", look]);
    assert_eq!(seen, "32768\n100\n200\n1\n1400");
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    assert_eq!(pid.trim(), sandbox.daemon_pid().to_string());
    assert_eq!(std::fs::metadata(sandbox.socket()).unwrap().gid(), 1, "Debian's group daemon");
    let (_, info) = sandbox.api().call("GET", "/info", None);
    let insecure = &info["RegistryConfig"]["IndexConfigs"]["registry.test:5000"]["Secure"];
    assert_eq!(insecure, false, "{info}");
    assert_eq!(info["LiveRestoreEnabled"], true);
    assert_eq!(info["CgroupDriver"], "cgroupfs");
}

/// Flags that are honoured or refused, but never taken and forgotten.
#[test]
fn what_cannot_be_is_refused_by_name() {
    let refused = [
        "--allow-direct-routing",
        "--authorization-plugin=x",
        "--containerd=/run/containerd.sock",
        "--containerd-namespace=x",
        "--containerd-plugins-namespace=x",
        "--cpu-rt-period=1000",
        "--cpu-rt-runtime=1000",
        "--cri-containerd",
        "--exec-opt=native.other=1",
        "--experimental",
        "--http-proxy=http://proxy.test",
        "--https-proxy=http://proxy.test",
        "--no-proxy=localhost",
        "--init-path=/sbin/tini",
        "--ip-forward-no-drop=false",
        "--iptables=false",
        "--ip6tables=false",
        "--live-restore=false",
        "--max-download-attempts=3",
        "--log-format=xml",
        "--network-control-plane-mtu=1400",
        "--node-generic-resource=gpu=1",
        "--rootless",
        "--shutdown-timeout=3",
        "--swarm-default-advertise-addr=192.0.2.1",
        "--userland-proxy-path=/usr/bin/docker-proxy",
    ];
    for flag in refused {
        let seen = run(Command::new(binary()).args(["daemon", "--validate", flag]));
        let name = flag.split('=').next().unwrap();
        assert_eq!(seen.code, 1, "{seen}");
        assert!(seen.stderr.contains(&format!("{name}=")), "{seen}");
        assert!(seen.stderr.contains("is not supported"), "{seen}");
    }
}

/// What the daemon gives to networks and ports that say nothing themselves.
#[test]
fn addresses_and_names() {
    let number = std::process::id() % 250;
    let sandbox = Sandbox::start_with(&[
        &format!("--default-address-pool=base=10.159.{number}.0/24,size=26"),
        "--default-network-opt=bridge=com.docker.network.driver.mtu=1380",
        "--dns-search=shop.test",
        "--ip=127.0.0.1",
    ]);
    sandbox.busybox();
    sandbox.ok(&["network", "create", "made"]);
    let subnet =
        sandbox.ok(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "made"]);
    assert_eq!(subnet, format!("10.159.{number}.0/26"));
    let look = "cat /sys/class/net/eth0/mtu; grep ^search /etc/resolv.conf";
    let seen = sandbox.ok(&["run", "--rm", "--network", "made", "busybox", "sh", "-c", look]);
    assert_eq!(seen, "1380\nsearch shop.test");
    let own = ["network", "create", "-o", "com.docker.network.driver.mtu=1370", "own"];
    sandbox.ok(&own);
    let mtu = ["run", "--rm", "--network", "own", "busybox", "cat", "/sys/class/net/eth0/mtu"];
    assert_eq!(sandbox.ok(&mtu), "1370");
    let (_, info) = sandbox.api().call("GET", "/info", None);
    let first = &info["DefaultAddressPools"][0];
    assert_eq!(first, &serde_json::json!({"Base": format!("10.159.{number}.0/24"), "Size": 26}));
    // A port that names no address is published on the daemon's, and on no other.
    let serve = "echo hello > /tmp/index.html; httpd -f -p 80 -h /tmp";
    sandbox.ok(&["run", "-d", "--name", "web", "-p", "80", "busybox", "sh", "-c", serve]);
    let published = sandbox.ok(&["port", "web", "80"]);
    let port = published.strip_prefix("127.0.0.1:").unwrap_or_else(|| panic!("{published}"));
    eventually("it answers there", || TcpStream::connect(&published).ok());
    let gateway = sandbox.inspect("web", "{{.NetworkSettings.Gateway}}");
    assert!(
        TcpStream::connect(format!("{gateway}:{port}")).is_err(),
        "published on {gateway}, too"
    );
}

/// Proxies of the daemon's environment are told, without who logs in to them.
#[test]
fn proxies_of_the_environment_are_told() {
    let sandbox = Sandbox::prepared(&[]);
    sandbox.set_env("HTTP_PROXY", "http://ann:secret@proxy.test:3128");
    sandbox.set_env("https_proxy", "http://proxy.test:3129");
    sandbox.set_env("NO_PROXY", "localhost,127.0.0.1");
    sandbox.start_daemon(None);
    let (_, info) = sandbox.api().call("GET", "/info", None);
    assert_eq!(info["HttpProxy"], "http://xxxxx:xxxxx@proxy.test:3128");
    assert_eq!(info["HttpsProxy"], "http://proxy.test:3129");
    assert_eq!(info["NoProxy"], "localhost,127.0.0.1");
}

/// The daemon's own log as objects, in dockerd's fields.
#[test]
fn a_log_for_programs() {
    let sandbox = Sandbox::start_with(&["--log-format=json"]);
    sandbox.busybox();
    sandbox.ok(&["run", "--rm", "busybox", "true"]);
    let log = sandbox.daemon_log();
    assert!(log.lines().count() > 1, "{log}");
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        // A busy machine may be worth a warning.
        let levels = ["debug", "info", "warning"];
        assert!(levels.contains(&line["level"].as_str().unwrap()), "{line}");
        assert!(line["msg"].is_string() && line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}

/// A certificate authority, and certificates for a server and a client.
fn certificates(directory: &Path) -> Option<()> {
    let openssl = programs::find("openssl")?;
    let call = |words: &str| {
        run(Command::new(&openssl).args(words.split(' ')).current_dir(directory)).ok();
    };
    call(
        "req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=authority",
    );
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(directory.join("client"), "extendedKeyUsage=clientAuth\n").unwrap();
    for (name, extra) in [("server", "names"), ("user", "client")] {
        call(&format!(
            "req -newkey rsa:2048 -nodes -keyout {name}-key.pem -out {name}.csr -subj /CN={name}"
        ));
        call(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out {name}-cert.pem -days 2 -extfile {extra}"
        ));
    }
    Some(())
}

#[test]
fn certificates_open_the_door() {
    let directory = crate::scratch("flags-tls");
    if certificates(&directory).is_none() {
        return;
    }
    let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let address = format!("127.0.0.1:{}", ferry_testkit::free_port());
    let place: PathBuf = directory.join("run");
    std::fs::create_dir(&place).unwrap();
    let host = format!("tcp://{address}");
    let log = std::fs::File::create(directory.join("log")).unwrap();
    let name = format!("ferry-tls-{}", std::process::id());
    let mut daemon = Command::new(binary())
        .args(["daemon", "--bridge=none", "--tlsverify", "--tls", "--host", &host])
        .args(["--tlscacert", &file("ca.pem")])
        .args(["--tlscert", &file("server-cert.pem"), "--tlskey", &file("server-key.pem")])
        .arg(format!("--data-root={}", directory.join("data").display()))
        .arg(format!("--exec-root={}", place.display()))
        .arg(format!("--cgroup-parent={name}"))
        .stderr(log)
        .spawn()
        .unwrap();
    let ask = |flags: &[&str]| {
        let mut command = Command::new(binary());
        command.env_remove("DOCKER_HOST").args(["-H", &host]).args(flags);
        run(command.args(["version", "--format", "{{.Server.Os}}"]))
    };
    let identity = [
        "--tlsverify",
        "--tlscacert",
        &file("ca.pem"),
        "--tlscert",
        &file("user-cert.pem"),
        "--tlskey",
        &file("user-key.pem"),
    ];
    ferry_testkit::eventually("it answers those whom it knows", || {
        (ask(&identity).stdout == "linux\n").then_some(())
    });
    assert_ne!(ask(&identity[..3]).code, 0, "nobody without a certificate");
    assert_ne!(ask(&[]).code, 0, "nothing without TLS");
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    daemon.wait().unwrap();
}

/// `login` with everything on its command line.
#[test]
fn a_login_in_one_line() {
    let sandbox = with_busybox(ferry_testkit::Client::Ferry);
    let root = sandbox.dir().join("registry");
    let add = ["user", "add", "ann", "--password-stdin"];
    let mut command = Command::new(binary());
    command.arg("registry").args(add).arg("--root").arg(&root);
    ferry_testkit::run_with_input(&mut command, b"secret").ok();
    let registry = FerryRegistry::start(&root, &[]);
    let login = |password: &str| {
        sandbox.run(&["login", "--username", "ann", "--password", password, registry.host()])
    };
    login("wrong").fails(1).says("unauthorized");
    let seen = login("secret").fails(0);
    assert!(seen.stdout.contains("Login Succeeded"), "{seen}");
    assert!(seen.stderr.contains("WARNING! Using --password via the CLI is insecure"), "{seen}");
}
