//! Limits and what they become in the container's cgroup, and Docker's words for those that cannot be.

use std::path::{Path, PathBuf};

use ferry_testkit::{Client, Sandbox};

use crate::with_busybox;

through_both!(processor_and_memory, block_devices, real_time_and_windows, limits_that_change);

/// Whether the host has cgroup v2 only.
fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The directory of a container's cgroup, for a controller.
fn cgroup(sandbox: &Sandbox, name: &str, controller: &str) -> PathBuf {
    let root = Path::new("/sys/fs/cgroup");
    let root = if unified() { root.to_owned() } else { root.join(controller) };
    root.join(sandbox.cgroup_parent()).join(sandbox.inspect(name, "{{.Id}}"))
}

/// A file of it, by its names in version 1 and 2.
fn limit(sandbox: &Sandbox, name: &str, v1: &str, v2: &str) -> String {
    let directory = cgroup(sandbox, name, v1.split('.').next().unwrap());
    let path = directory.join(if unified() { v2 } else { v1 });
    let text = std::fs::read_to_string(&path);
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

/// Runs a sleeping container with these flags.
fn sleeper(sandbox: &Sandbox, name: &str, flags: &[&str]) -> ferry_testkit::Run {
    let words = [&["run", "--detach", "--name", name], flags, &["busybox", "sleep", "1000"]];
    sandbox.run(&words.concat())
}

/// What cannot be run, and the words for it.
#[track_caller]
fn refused(sandbox: &Sandbox, flags: &[&str], words: &str) {
    let line = [&["run", "--rm"], flags, &["busybox", "true"]].concat();
    sandbox.run(&line).fails(125).says(words);
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "", "nothing stays of what was refused");
}

fn processor_and_memory(client: Client) {
    let sandbox = with_busybox(client);
    refused(
        &sandbox,
        &["--cpu-period", "5"],
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    );
    refused(
        &sandbox,
        &["--cpuset-mems", "9"],
        "Requested memory nodes are not available - requested 9, available: 0",
    );
    refused(
        &sandbox,
        &["--memory-swappiness", "130"],
        "invalid value: 130. Valid memory swappiness range is 0-100",
    );
    refused(
        &sandbox,
        &["--oom-score-adj", "5000"],
        "Invalid value 5000, range for oom score adj is [-1000, 1000]",
    );
    sleeper(
        &sandbox,
        "box",
        &[
            "--cpu-period",
            "50000",
            "--cpu-quota",
            "25000",
            "--cpuset-mems",
            "0",
            "--oom-score-adj",
            "500",
        ],
    )
    .ok();
    let period = limit(&sandbox, "box", "cpu.cfs_period_us", "cpu.max");
    assert_eq!(period.split(' ').next_back(), Some("50000"));
    assert_eq!(limit(&sandbox, "box", "cpuset.mems", "cpuset.mems"), "0");
    let pid = sandbox.inspect("box", "{{.State.Pid}}");
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "500\n");
    let swappy = sleeper(
        &sandbox,
        "swappy",
        &["--memory", "64m", "--memory-swappiness", "30", "--oom-kill-disable"],
    );
    if unified() {
        swappy.says("Your kernel does not support memory swappiness capabilities").fails(0);
        return;
    }
    swappy.ok();
    assert_eq!(limit(&sandbox, "swappy", "memory.swappiness", ""), "30");
    let control = limit(&sandbox, "swappy", "memory.oom_control", "");
    assert!(control.starts_with("oom_kill_disable 1"), "{control}");
    sandbox.ok(&["rm", "-f", "swappy"]);
    sleeper(&sandbox, "bold", &["--oom-kill-disable"]).fails(0).says(
        "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
    );
    sandbox.ok(&["rm", "-f", "box", "bold"]);
    // The kernel's own memory has no limit of its own any more.
    sandbox.ok(&["run", "--rm", "--kernel-memory", "64m", "busybox", "true"]);
}

/// A block device of this machine, and its numbers.
fn block_device() -> Option<(String, String)> {
    let mut names: Vec<_> =
        std::fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names.into_iter().rev().find_map(|name| {
        let name = name.into_string().ok()?;
        let numbers = std::fs::read_to_string(format!("/sys/block/{name}/dev")).ok()?;
        let path = format!("/dev/{name}");
        let is_disk = !name.starts_with("zram") && !name.starts_with("loop");
        (is_disk && Path::new(&path).exists()).then(|| (path, numbers.trim().to_owned()))
    })
}

fn block_devices(client: Client) {
    let sandbox = with_busybox(client);
    for (flag, value, words) in [
        ("--device-read-bps", "/dev/null", "bad format: /dev/null"),
        (
            "--device-write-bps",
            "/dev/null:fast",
            "invalid rate for device: /dev/null:fast. The correct format is <device-path>:<number>[<unit>]",
        ),
        ("--device-read-iops", "/dev/null:x", "Number must be a positive integer"),
        ("--device-write-iops", "null:5", "bad format for device path: null:5"),
        ("--blkio-weight-device", "/dev/null:5", "invalid weight for device: /dev/null:5"),
    ] {
        refused(&sandbox, &[flag, value], words);
    }
    let missing = ["run", "--rm", "--device-read-bps", "/dev/nope:1mb", "busybox"];
    sandbox.run(&missing).says("stat /dev/nope: no such file or directory");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    let Some((device, numbers)) = block_device() else { return };
    let rate = |number: &str| format!("{device}:{number}");
    let (bytes, operations) = (rate("1mb"), rate("77"));
    sleeper(
        &sandbox,
        "slow",
        &[
            "--device-read-bps",
            &bytes,
            "--device-write-bps",
            &bytes,
            "--device-read-iops",
            &operations,
            "--device-write-iops",
            &operations,
        ],
    )
    .ok();
    if unified() {
        let all = limit(&sandbox, "slow", "blkio", "io.max");
        assert_eq!(all, format!("{numbers} rbps=1048576 wbps=1048576 riops=77 wiops=77"));
    } else {
        for (name, value) in [
            ("read_bps", "1048576"),
            ("write_bps", "1048576"),
            ("read_iops", "77"),
            ("write_iops", "77"),
        ] {
            let now = limit(&sandbox, "slow", &format!("blkio.throttle.{name}_device"), "");
            assert_eq!(now, format!("{numbers} {value}"));
        }
    }
    // Weights need a scheduler that knows them; without one they are discarded, and that is said.
    let weighed = sleeper(
        &sandbox,
        "weighed",
        &["--blkio-weight", "300", "--blkio-weight-device", &rate("200")],
    )
    .fails(0);
    if weighed.stderr.contains("Weight discarded") {
        let words = "WARNING: Your kernel does not support Block I/O";
        let weighed = weighed
            .says(&format!("{words} weight or the cgroup is not mounted. Weight discarded."));
        weighed.says(&format!(
            "{words} weight_device or the cgroup is not mounted. Weight-device discarded."
        ));
    } else {
        let weight = if unified() { "io.bfq.weight" } else { "blkio.weight" };
        let text = std::fs::read_to_string(cgroup(&sandbox, "weighed", "blkio").join(weight));
        assert!(text.unwrap().contains("300"));
    }
}

fn real_time_and_windows(client: Client) {
    let sandbox = with_busybox(client);
    if !unified() && Path::new("/sys/fs/cgroup/cpu/cpu.rt_period_us").exists() {
        refused(
            &sandbox,
            &["--cpu-rt-period", "1000", "--cpu-rt-runtime", "5000"],
            "cpu real-time runtime cannot be higher than cpu real-time period",
        );
        sleeper(&sandbox, "timely", &["--cpu-rt-period", "500000"]).ok();
        assert_eq!(limit(&sandbox, "timely", "cpu.rt_period_us", ""), "500000");
        sandbox.ok(&["rm", "--force", "timely"]);
    }
    refused(
        &sandbox,
        &["--isolation", "hyperv"],
        "invalid isolation (hyperv): linux only supports 'default'",
    );
    sandbox.ok(&["run", "--rm", "--isolation", "default", "busybox", "true"]);
}

fn limits_that_change(client: Client) {
    let sandbox = with_busybox(client);
    sleeper(&sandbox, "box", &[]).ok();
    let refused = |flags: &[&str], words: &str| {
        sandbox.run(&[&["update"], flags, &["box"]].concat()).fails(1).says(words);
    };
    refused(
        &["--cpu-period", "5"],
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    );
    refused(
        &["--cpuset-mems", "7"],
        "Requested memory nodes are not available - requested 7, available: 0",
    );
    let more = ["update", "--cpu-period", "40000", "--cpuset-mems", "0", "--blkio-weight", "300"];
    let said = sandbox.run(&[&more[..], &["box"]].concat()).fails(0);
    let period = limit(&sandbox, "box", "cpu.cfs_period_us", "cpu.max");
    assert_eq!(period.split(' ').next_back(), Some("40000"));
    assert_eq!(limit(&sandbox, "box", "cpuset.mems", "cpuset.mems"), "0");
    if sandbox.inspect("box", "{{.HostConfig.BlkioWeight}}") == "0" {
        let words = format!("{}{}", said.stdout, said.stderr);
        assert!(words.contains("Your kernel does not support Block I/O weight"), "{said}");
    }
    if !unified() && Path::new("/sys/fs/cgroup/cpu/cpu.rt_period_us").exists() {
        sandbox.ok(&["update", "--cpu-rt-period", "400000", "--cpu-rt-runtime", "0", "box"]);
        assert_eq!(limit(&sandbox, "box", "cpu.rt_period_us", ""), "400000");
    }
}
