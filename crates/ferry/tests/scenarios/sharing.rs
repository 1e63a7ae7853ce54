//! What containers share: IPC, volumes with driver options, images as mounts. And logs that others keep.

use std::{net::UdpSocket, time::Duration};

use ferry_testkit::Client;

use crate::{volumes::Place, with_busybox};

through_all!(
    shared_memory,
    volumes_with_options,
    mounted_volumes_are_shared,
    images_as_mounts,
    tmpfs_options,
    logs_of_other_drivers,
    a_syslog_server,
);

fn shared_memory(client: Client) {
    let sandbox = with_busybox(client);
    let shell = "echo hello > /dev/shm/x; sleep 1000";
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "donor",
        "--ipc",
        "shareable",
        "busybox",
        "sh",
        "-c",
        shell,
    ]);
    let join = ["run", "--rm", "--ipc", "container:donor", "busybox"];
    let look = || sandbox.run(&[&join[..], &["cat", "/dev/shm/x"]].concat());
    ferry_testkit::eventually("the donor's file", || (look().stdout == "hello\n").then_some(()));
    sandbox.ok(&[&join[..], &["sh", "-c", "echo back > /dev/shm/y"]].concat());
    assert_eq!(sandbox.ok(&["exec", "donor", "cat", "/dev/shm/y"]), "back");
    sandbox.ok(&["run", "-d", "--name", "own", "busybox", "sleep", "1000"]);
    sandbox
        .run(&["run", "--rm", "--ipc", "container:own", "busybox", "true"])
        .fails(125)
        .says("non-shareable IPC (hint: use IpcMode:shareable for the donor container)");
}

fn volumes_with_options(client: Client) {
    let sandbox = with_busybox(client);
    let place = Place::new("elsewhere");
    let dir = std::path::Path::new(place.path());
    std::fs::write(dir.join("file"), "here").unwrap();
    let device = format!("device={}", dir.display());
    let make = ["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "bound"];
    sandbox.ok(&make);
    let run = |more: &[&str]| sandbox.ok(&[&["run", "--rm"], more].concat());
    assert_eq!(run(&["-v", "bound:/v", "busybox", "cat", "/v/file"]), "here");
    run(&["-v", "bound:/v", "busybox", "touch", "/v/new"]);
    assert!(dir.join("new").exists());
    sandbox.ok(&["volume", "rm", "bound"]);
    assert!(dir.join("file").exists(), "what is bound is not the volume's");
    let tmpfs =
        ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7"];
    sandbox.ok(&[&tmpfs[..], &["memory"]].concat());
    let mounts =
        run(&["-v", "memory:/v", "busybox", "sh", "-c", "grep ' /v ' /proc/mounts; stat -c %u /v"]);
    assert!(mounts.starts_with("tmpfs /v tmpfs rw") && mounts.contains("size=1024k"), "{mounts}");
    assert!(mounts.ends_with("\n7"), "{mounts}");
    let refused = |options: &[&str], words: &str| {
        sandbox.run(&[&["volume", "create"], options, &["xx"]].concat()).fails(1).says(words);
    };
    refused(&["-o", "foo=bar"], "create xx: invalid option: \"foo\"");
    refused(&["-o", "type=nfs"], "create xx: missing required option: \"device\"");
    refused(
        &["-d", "nosuch"],
        "create xx: error looking up volume plugin nosuch: plugin \"nosuch\" not found",
    );
    sandbox.ok(&["volume", "rm", "memory"]);
}

fn images_as_mounts(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "--name",
        "maker",
        "busybox",
        "sh",
        "-c",
        "mkdir /data; echo 1 > /data/a; rm /etc/group",
    ]);
    sandbox.ok(&["commit", "maker", "layered"]);
    let run = |mount: &str, shell: &str| {
        sandbox.ok(&["run", "--rm", "--mount", mount, "busybox", "sh", "-c", shell])
    };
    let all = "type=image,source=layered,target=/m";
    assert_eq!(
        run(all, "cat /m/data/a; ls /m/bin/busybox; ls /m/etc"),
        "1\n/m/bin/busybox\npasswd"
    );
    assert!(run(all, "touch /m/x 2>&1 || true").contains("Read-only file system"));
    let part = "type=image,source=layered,target=/m,image-subpath=data";
    assert_eq!(run(part, "ls /m"), "a");
    let wrong = "type=image,source=layered,target=/m,image-subpath=nosuch";
    sandbox
        .run(&["run", "--rm", "--mount", wrong, "busybox", "true"])
        .fails(127)
        .says("no such file or directory");
    sandbox.ok(&["create", "--name", "user", "--mount", all, "busybox"]);
    sandbox.ok(&["rm", "maker"]);
    sandbox.run(&["rmi", "layered"]).fails(1).says("conflict");
    sandbox.ok(&["rm", "user"]);
    sandbox.ok(&["rmi", "layered"]);
}

fn tmpfs_options(client: Client) {
    let sandbox = with_busybox(client);
    sandbox
        .run(&["run", "--rm", "--tmpfs", "/t:foo=1", "busybox"])
        .fails(125)
        .says("invalid tmpfs option \"foo\"");
    sandbox
        .run(&["run", "--rm", "--tmpfs", "t", "busybox"])
        .fails(125)
        .says("invalid mount path: 't' mount path must be absolute");
    let ok = [
        "run",
        "--rm",
        "--tmpfs",
        "/t:exec,size=64k,nr_inodes=9",
        "busybox",
        "grep",
        " /t ",
        "/proc/mounts",
    ];
    assert!(sandbox.ok(&ok).contains("size=64k,nr_inodes=9"));
}

fn logs_of_other_drivers(client: Client) {
    let sandbox = with_busybox(client);
    let run = |flags: &[&str]| {
        sandbox.run(&[&["run", "--name", "talk"], flags, &["busybox", "echo", "hi"]].concat())
    };
    run(&["--log-driver", "local", "--log-opt", "max-size=1m"]).ok();
    assert_eq!(sandbox.ok(&["logs", "talk"]), "hi");
    assert_eq!(sandbox.inspect("talk", "{{.HostConfig.LogConfig.Type}}"), "local");
    sandbox.ok(&["rm", "talk"]);
    run(&["--log-opt", "tag={{.Name}}", "--log-opt", "labels-regex=^a", "-l", "ab=1"]).ok();
    assert_eq!(sandbox.ok(&["logs", "--details", "talk"]), "ab=1,tag=talk hi");
    sandbox.ok(&["rm", "talk"]);
    if !std::path::Path::new("/run/systemd/journal/socket").exists() {
        run(&["--log-driver", "journald"]).fails(125).says(
            "failed to create task for container: failed to initialize logging driver: journald is not enabled on this host",
        );
        sandbox.ok(&["rm", "talk"]);
    }
    let refused = |flags: &[&str], words: &str| {
        sandbox.run(&[&["create"], flags, &["busybox"]].concat()).fails(1).says(words);
    };
    // Docker has it.
    if client != Client::FerryOnDocker {
        refused(&["--log-driver", "gelf"], "log driver \"gelf\" is not supported");
    }
    refused(
        &["--log-driver", "nosuch"],
        "error looking up logging plugin nosuch: plugin \"nosuch\" not found",
    );
    refused(
        &["--log-driver", "local", "--log-opt", "x=1"],
        "unknown log opt 'x' for log driver local",
    );
}

fn a_syslog_server(client: Client) {
    let sandbox = with_busybox(client);
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let address = format!("syslog-address=udp://{}", server.local_addr().unwrap());
    let options = ["--log-driver", "syslog", "--log-opt", &address, "--log-opt", "tag={{.Name}}"];
    let more = ["--log-opt", "syslog-format=rfc5424", "--log-opt", "syslog-facility=local0"];
    let shell = ["busybox", "sh", "-c", "echo one; echo two >&2; printf three"];
    sandbox.ok(&[&["run", "--name", "talker"], &options[..], &more, &shell].concat());
    let mut messages = Vec::new();
    for _ in 0..3 {
        let mut buffer = [0_u8; 1024];
        let length = server.recv(&mut buffer).unwrap();
        messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    let find = |words: &str| messages.iter().find(|message| message.ends_with(words)).unwrap();
    assert!(find(" talker - one\n").starts_with("<134>1 "), "{messages:?}");
    assert!(find(" talker - two\n").starts_with("<131>1 "), "{messages:?}");
    find(" talker - three\n");
    // As dockerd's dual logging: it can be read here, too.
    assert_eq!(sandbox.ok(&["logs", "talker"]).lines().count(), 2);
    let tcp = format!("syslog-address=tcp://127.0.0.1:{}", ferry_testkit::free_port());
    sandbox
        .run(&["run", "--rm", "--log-driver", "syslog", "--log-opt", &tcp, "busybox", "true"])
        .fails(125)
        .says("connect: connection refused");
}

/// What a volume's options name is mounted once, for as long as a container runs on it.
fn mounted_volumes_are_shared(client: Client) {
    let sandbox = with_busybox(client);
    let tmpfs = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=2m"];
    sandbox.ok(&[&tmpfs[..], &["memory"]].concat());
    sandbox.ok(&["run", "-d", "--name", "holds", "-v", "memory:/d", "busybox", "sleep", "100"]);
    sandbox.ok(&["run", "--rm", "-v", "memory:/d", "busybox", "sh", "-c", "echo x > /d/f"]);
    assert_eq!(sandbox.ok(&["exec", "holds", "cat", "/d/f"]), "x", "both have the same tmpfs");
    sandbox.run(&["volume", "rm", "memory"]).fails(1).says("volume is in use - [");
    sandbox.ok(&["rm", "-f", "holds"]);
    assert_eq!(
        sandbox.ok(&["run", "--rm", "-v", "memory:/d", "busybox", "ls", "/d"]),
        "",
        "memory goes with the last one"
    );
    sandbox.ok(&["volume", "rm", "memory"]);
    let nfs = ["volume", "create", "-o", "type=nfs", "-o", "device=:/x", "-o"];
    sandbox.ok(&[&nfs[..], &["o=addr=nowhere.invalid,rw", "far"]].concat());
    sandbox.run(&["run", "--rm", "-v", "far:/d", "busybox"]).fails(125).says(
        "far/_data': error resolving passed in network volume address: lookup nowhere.invalid",
    );
    sandbox.ok(&["volume", "rm", "far"]);
    sandbox.ok(&[&nfs[..], &["o=addr=localhost,ro,soft,timeo=1,retrans=1", "near"]].concat());
    let failed = sandbox.run(&["run", "--rm", "-v", "near:/d", "busybox"]).fails(125);
    failed
        .says("failed to mount local volume: mount :/x:")
        .says("near/_data, flags: 0x1, data: addr=127.0.0.1,soft,timeo=1,retrans=1: ");
    sandbox.ok(&["volume", "rm", "near"]);
    let cifs = ["volume", "create", "-o", "type=cifs", "-o", "device=//127.0.0.1/files", "-o"];
    sandbox.ok(&[&cifs[..], &["o=username=me,password=secret,vers=3.0,ro", "office"]].concat());
    let failed = sandbox.run(&["run", "--rm", "-v", "office:/d", "busybox"]).fails(125);
    let failed = failed
        .says("failed to mount local volume: mount //127.0.0.1/files:")
        .says("office/_data, flags: 0x1, data: username=me,password=********,vers=3.0: ");
    assert!(!failed.to_string().contains("secret"), "{failed}");
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    let is_known = known.lines().any(|line| line.ends_with("cifs"));
    let says = if is_known { ": connection refused" } else { ": no such device" };
    let failed = failed.says(says);
    if client == Client::Ferry && !is_known {
        failed
            .says("hint: this kernel knows no file systems of type \"cifs\"")
            .says("modprobe cifs");
    }
    sandbox.ok(&["volume", "rm", "office"]);
}

#[test]
fn a_daemon_that_dies_unmounts_nothing_that_is_used() {
    let sandbox = with_busybox(Client::Ferry);
    let tmpfs = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory"];
    sandbox.ok(&tmpfs);
    let place = sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "memory"]);
    let mounted = || {
        let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", sandbox.daemon_pid()));
        mounts.unwrap().lines().filter(|line| line.contains(&place)).count()
    };
    assert_eq!(mounted(), 0);
    for name in ["one", "two"] {
        let run = ["run", "-d", "--name", name, "-v", "memory:/d", "busybox", "sleep", "100"];
        sandbox.ok(&run);
    }
    assert_eq!(mounted(), 1);
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    assert_eq!(mounted(), 1);
    sandbox.ok(&["exec", "one", "touch", "/d/f"]);
    sandbox.ok(&["rm", "-f", "one"]);
    assert_eq!(sandbox.ok(&["exec", "two", "ls", "/d"]), "f");
    sandbox.ok(&["run", "--rm", "-v", "memory:/d", "busybox", "test", "-f", "/d/f"]);
    assert_eq!(mounted(), 1);
    // The last one ends while nobody is there.
    let pid: i32 = sandbox.inspect("two", "{{.State.Pid}}").parse().unwrap();
    sandbox.kill_daemon();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    sandbox.start_daemon(None);
    ferry_testkit::eventually("nobody has it any more", || (mounted() == 0).then_some(()));
}
