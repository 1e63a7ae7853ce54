//! What a container sees and may do: FEATURES A7 to A10.

use std::collections::BTreeSet;

use ferry_testkit::{Client, eventually};

use crate::with_busybox;

through_both!(
    namespaces_are_its_own,
    limits_are_the_kernels,
    too_much_memory_kills,
    capabilities_are_dockers,
    paths_are_masked,
    seccomp_is_on,
    etc_files_are_its_own,
    init_reaps,
    options_of_hardening
);

fn namespaces_are_its_own(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "-d", "--name", "own", "busybox", "sleep", "1000"]);
    let pid = sandbox.inspect("own", "{{.State.Pid}}");
    for namespace in ["mnt", "pid", "uts", "ipc", "net"] {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        assert_ne!(of(&pid), of("self"), "{namespace}");
    }
    // Nor has it a file of the host's mounts: nobody typed anything, so its input is its own /dev/null.
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let info = read("fdinfo/0");
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap().trim();
    let mounts = read("mountinfo");
    assert!(mounts.lines().any(|line| line.split(' ').next() == Some(mount)), "{mount}: {mounts}");
    assert_eq!(
        sandbox.ok(&["exec", "own", "uname", "-r"]),
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim()
    );
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "guest",
        "--pid",
        "container:own",
        "--ipc",
        "host",
        "--uts",
        "host",
        "busybox",
        "sleep",
        "1000",
    ]);
    let guest = sandbox.inspect("guest", "{{.State.Pid}}");
    let same = |a: &str, b: &str, namespace: &str| {
        std::fs::read_link(format!("/proc/{a}/ns/{namespace}")).unwrap()
            == std::fs::read_link(format!("/proc/{b}/ns/{namespace}")).unwrap()
    };
    assert!(same(&guest, &pid, "pid"));
    assert!(same(&guest, "self", "ipc") && same(&guest, "self", "uts"));
}

fn limits_are_the_kernels(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "small",
        "-m",
        "64m",
        "--pids-limit",
        "20",
        "--cpus",
        "0.5",
        "--cpuset-cpus",
        "0",
        "busybox",
        "sleep",
        "1000",
    ]);
    let id = sandbox.inspect("small", "{{.Id}}");
    let pid = sandbox.inspect("small", "{{.State.Pid}}");
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroups.contains(&format!("/{}/{id}", sandbox.cgroup_parent())), "{cgroups}");
    let read = |v2: &str, v1: &str| {
        let base = format!("{}/{id}", sandbox.cgroup_parent());
        std::fs::read_to_string(format!("/sys/fs/cgroup/{base}/{v2}"))
            .or_else(|_| {
                let (controller, file) = v1.split_once('/').unwrap();
                std::fs::read_to_string(format!("/sys/fs/cgroup/{controller}/{base}/{file}"))
            })
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(read("memory.max", "memory/memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(read("pids.max", "pids/pids.max"), "20");
    assert_eq!(read("cpuset.cpus", "cpuset/cpuset.cpus"), "0");
    let quota = read("cpu.max", "cpu/cpu.cfs_quota_us");
    assert!(quota == "50000" || quota == "50000 100000", "{quota}");
    // A fork bomb that is contained: it ends with a shell that cannot fork.
    let bomb =
        sandbox.run(&["exec", "small", "sh", "-c", "for i in $(seq 40); do sleep 5 & done; wait"]);
    assert!(bomb.stderr.contains("can't fork"), "{bomb}");
}

fn too_much_memory_kills(client: Client) {
    let sandbox = with_busybox(client);
    sandbox
        .run(&[
            "run",
            "--name",
            "greedy",
            "-m",
            "16m",
            "--memory-swap",
            "16m",
            "busybox",
            "tail",
            "/dev/zero",
        ])
        .fails(137);
    assert_eq!(sandbox.inspect("greedy", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
}

/// The bounding set of whoever runs the test: nobody can give more.
fn own_bounding_set() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    u64::from_str_radix(line, 16).unwrap()
}

fn capabilities_are_dockers(client: Client) {
    let sandbox = with_busybox(client);
    let effective = |args: &[&str]| {
        let words =
            [&["run", "--rm"], args, &["busybox", "sh", "-c", "grep CapEff /proc/self/status"]]
                .concat();
        let line = sandbox.ok(&words);
        u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap()
    };
    // Docker's fourteen.
    assert_eq!(effective(&[]), 0xa804_25fb);
    assert_eq!(effective(&["--cap-drop", "ALL"]), 0);
    assert_eq!(effective(&["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"]), 1 << 10);
    assert_eq!(effective(&["--privileged"]), own_bounding_set());
    assert_eq!(effective(&["-u", "1000"]), 0);
    sandbox
        .run(&["run", "--rm", "--cap-add", "FOO", "busybox"])
        .fails(125)
        .says("invalid CapAdd: unknown capability: \"CAP_FOO\"");
}

fn paths_are_masked(client: Client) {
    let sandbox = with_busybox(client);
    sandbox
        .run(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "echo 1 > /proc/sys/kernel/randomize_va_space",
        ])
        .fails(1)
        .says("Read-only file system");
    assert_eq!(
        sandbox.ok(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "cat /proc/keys /proc/timer_list | wc -c"
        ]),
        "0"
    );
    let devices = sandbox.ok(&["run", "--rm", "busybox", "ls", "/dev"]);
    let devices: BTreeSet<&str> = devices.lines().collect();
    let mut docker = BTreeSet::from([
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ]);
    if std::path::Path::new("/proc/kcore").exists() {
        docker.insert("core");
    }
    assert_eq!(devices, docker);
    sandbox
        .run(&[
            "run",
            "--rm",
            "--cap-add",
            "MKNOD",
            "busybox",
            "sh",
            "-c",
            "mknod /tmp/sda b 8 0 && head -c1 /tmp/sda",
        ])
        .fails(1)
        .says("Operation not permitted");
}

fn seccomp_is_on(client: Client) {
    let sandbox = with_busybox(client);
    let mode = |args: &[&str]| {
        let words =
            [&["run", "--rm"], args, &["busybox", "sh", "-c", "grep Seccomp: /proc/self/status"]]
                .concat();
        sandbox.ok(&words)
    };
    assert_eq!(mode(&[]), "Seccomp:\t2");
    assert_eq!(mode(&["--security-opt", "seccomp=unconfined"]), "Seccomp:\t0");
    assert_eq!(mode(&["--privileged"]), "Seccomp:\t0");
    // clone of a user namespace is what the profile forbids to those without CAP_SYS_ADMIN.
    sandbox
        .run(&["run", "--rm", "busybox", "unshare", "-U", "true"])
        .fails(1)
        .says("Operation not permitted");
    let profile = sandbox.dir().join("profile.json");
    std::fs::write(
        &profile,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#,
    )
    .unwrap();
    let option = format!("seccomp={}", profile.display());
    sandbox
        .run(&["run", "--rm", "--security-opt", &option, "busybox", "mkdir", "/x"])
        .fails(1)
        .says("Operation not permitted");
}

fn etc_files_are_its_own(client: Client) {
    let sandbox = with_busybox(client);
    let seen = sandbox.ok(&[
        "run",
        "--rm",
        "-h",
        "box",
        "--add-host",
        "db:192.0.2.7",
        "--dns",
        "192.0.2.1",
        "--dns-search",
        "example.org",
        "busybox",
        "sh",
        "-c",
        "cat /etc/hostname /etc/hosts /etc/resolv.conf; hostname",
    ]);
    for expected in
        ["box\n", "192.0.2.7\tdb", "\tbox\n", "nameserver 192.0.2.1", "search example.org"]
    {
        assert!(seen.contains(expected), "{expected:?} in {seen}");
    }
}

fn init_reaps(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "tidy",
        "--init",
        "busybox",
        "sh",
        "-c",
        "while :; do (sleep 0.01 &); echo orphan; sleep 0.05; done",
    ]);
    eventually("there are orphans", || {
        (sandbox.ok(&["logs", "tidy"]).lines().count() > 20).then_some(())
    });
    // At one moment there may be some; those that nobody reaps are there at every moment.
    let count = ["exec", "tidy", "sh", "-c", "cat /proc/[0-9]*/stat | grep -c ') Z ' || true"];
    eventually("they were reaped", || {
        (sandbox.ok(&count).trim().parse::<u32>().unwrap() < 3).then_some(())
    });
    sandbox.ok(&["stop", "-t", "60", "tidy"]);
    assert_eq!(sandbox.inspect("tidy", "{{.State.ExitCode}}"), "143", "init passes signals on");
}

fn options_of_hardening(client: Client) {
    let sandbox = with_busybox(client);
    let run = |args: &[&str]| sandbox.run(&[&["run", "--rm"], args].concat());
    run(&["--security-opt", "apparmor=unconfined", "busybox", "true"]).fails(0);
    // What AppArmor does is looked at in the virtual machine, whose kernel has it.
    if !std::path::Path::new("/sys/kernel/security/apparmor").exists() {
        run(&["--security-opt", "apparmor=mine", "busybox", "true"])
            .fails(125)
            .says("\"apparmor=mine\": AppArmor is not enabled on this host");
    }
    run(&["--read-only", "busybox", "touch", "/x"]).fails(1).says("Read-only file system");
    run(&["--read-only", "--tmpfs", "/t:size=1m", "busybox", "touch", "/t/x"]).fails(0);
    assert_eq!(
        run(&[
            "--security-opt",
            "no-new-privileges",
            "busybox",
            "grep",
            "NoNewPrivs",
            "/proc/self/status"
        ])
        .ok(),
        "NoNewPrivs:\t1"
    );
    assert_eq!(
        run(&["--ulimit", "nofile=64:128", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn"]).ok(),
        "64\n128"
    );
    assert_eq!(
        run(&[
            "--sysctl",
            "net.ipv4.ip_unprivileged_port_start=77",
            "busybox",
            "cat",
            "/proc/sys/net/ipv4/ip_unprivileged_port_start"
        ])
        .ok(),
        "77"
    );
    assert_eq!(
        run(&[
            "--shm-size",
            "1m",
            "busybox",
            "sh",
            "-c",
            "df -k /dev/shm | tail -1 | awk '{print $2}'"
        ])
        .ok(),
        "1024"
    );
    assert_eq!(
        run(&["-u", "nobody", "--group-add", "staff", "busybox", "id", "-G"]).ok(),
        "65534 50"
    );
    assert_eq!(
        run(&["--device", "/dev/fuse:/dev/x:r", "busybox", "stat", "-c", "%F", "/dev/x"]).ok(),
        "character special file"
    );
    assert_eq!(run(&["-w", "/made/for/it", "busybox", "pwd"]).ok(), "/made/for/it");
    eventually("nothing stays of --rm", || sandbox.ok(&["ps", "-aq"]).is_empty().then_some(()));
}
