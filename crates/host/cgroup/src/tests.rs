use super::*;
use ferry_oci::runtime::{
    LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
};
use std::fs;

/// A made-up version 2 tree. cgroupfs makes the files of a group with it; here they are made before.
struct FakeV2(PathBuf);

const FILES: [&str; 12] = [
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.kill",
    "cpu.weight",
    "cpu.max",
    "memory.max",
    "memory.swap.max",
    "memory.low",
    "pids.max",
    "io.max",
    "cpuset.cpus",
    "memory.events",
];

impl FakeV2 {
    fn new(name: &str) -> FakeV2 {
        let root = std::env::temp_dir().join(format!("ferry-cg2-{name}-{}", std::process::id()));
        for dir in ["", "ferry", "ferry/abc"] {
            fs::create_dir_all(root.join(dir)).unwrap();
            for file in FILES {
                fs::write(root.join(dir).join(file), "").unwrap();
            }
        }
        fs::write(root.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        FakeV2(root)
    }
    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }
}

impl Drop for FakeV2 {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn limits() -> LinuxResources {
    LinuxResources {
        memory: Some(LinuxMemory {
            limit: Some(64 << 20),
            swap: Some(96 << 20),
            reservation: Some(32 << 20),
            ..LinuxMemory::default()
        }),
        cpu: Some(LinuxCpu {
            shares: Some(512),
            quota: Some(50_000),
            period: Some(100_000),
            cpus: Some("0".into()),
            ..LinuxCpu::default()
        }),
        pids: Some(LinuxPids { limit: 77 }),
        ..LinuxResources::default()
    }
}

#[test]
fn version_2_gets_its_own_units() {
    let fake = FakeV2::new("units");
    let hierarchy = Hierarchy::detect_at(&fake.0).unwrap();
    assert!(hierarchy.is_v2());
    let mut resources = limits();
    resources.block_io = Some(ferry_oci::runtime::LinuxBlockIo {
        throttle_read_bps_device: vec![LinuxThrottleDevice { major: 8, minor: 0, rate: 1 << 20 }],
        ..Default::default()
    });
    let group = Cgroup::create(&hierarchy, "ferry/abc", &resources).unwrap();
    assert_eq!(group.warnings(), [] as [String; 0]);
    assert_eq!(fake.read("ferry/abc/memory.max"), (64 << 20).to_string());
    assert_eq!(fake.read("ferry/abc/memory.swap.max"), (32 << 20).to_string());
    assert_eq!(fake.read("ferry/abc/memory.low"), (32 << 20).to_string());
    assert_eq!(fake.read("ferry/abc/cpu.max"), "50000 100000");
    assert_eq!(fake.read("ferry/abc/cpu.weight"), "59");
    assert_eq!(fake.read("ferry/abc/pids.max"), "77");
    assert_eq!(fake.read("ferry/abc/cpuset.cpus"), "0");
    assert_eq!(fake.read("ferry/abc/io.max"), "8:0 rbps=1048576");
    assert_eq!(fake.read("cgroup.subtree_control"), "+cpuset +cpu +io +memory +pids");
    assert_eq!(fake.read("ferry/cgroup.subtree_control"), "+cpuset +cpu +io +memory +pids");
}

#[test]
fn what_version_2_lacks_is_said_in_dockers_words() {
    let fake = FakeV2::new("warn");
    fs::remove_file(fake.0.join("ferry/abc/memory.swap.max")).unwrap();
    let hierarchy = Hierarchy::detect_at(&fake.0).unwrap();
    let mut resources = limits();
    resources.memory.as_mut().unwrap().swappiness = Some(10);
    let group = Cgroup::create(&hierarchy, "ferry/abc", &resources).unwrap();
    assert_eq!(
        group.warnings(),
        [setting::words::SWAP.to_owned(), setting::words::SWAPPINESS.to_owned()]
    );
}

#[test]
fn version_2_events_and_statistics_are_read() {
    let fake = FakeV2::new("stats");
    let hierarchy = Hierarchy::detect_at(&fake.0).unwrap();
    let group = Cgroup::open(&hierarchy, "ferry/abc").unwrap();
    let dir = fake.0.join("ferry/abc");
    fs::write(dir.join("memory.events"), "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n").unwrap();
    fs::write(dir.join("cpu.stat"), "usage_usec 5\nuser_usec 3\nsystem_usec 2\n").unwrap();
    fs::write(dir.join("io.stat"), "8:0 rbytes=4096 wbytes=1 rios=2 wios=1 dbytes=0\n").unwrap();
    fs::write(dir.join("pids.max"), "max\n").unwrap();
    assert_eq!(group.events().unwrap(), OomCount { ooms: 2, kills: 1 });
    let stats = group.stats();
    assert_eq!((stats.cpu_total, stats.cpu_user, stats.memory_failures), (5000, 3000, 2));
    assert_eq!(stats.pids_limit, u64::MAX);
    assert_eq!(stats.io_bytes[0].value, 4096);
}

#[test]
fn paths_that_climb_are_refused() {
    let fake = FakeV2::new("paths");
    let hierarchy = Hierarchy::detect_at(&fake.0).unwrap();
    for path in ["", "/", "../x", "a/../../b", "a/./b/.."] {
        let refused = Cgroup::create(&hierarchy, path, &LinuxResources::default());
        assert!(matches!(refused, Err(CreateError::Path(_))), "{path}");
    }
}

/// The machine's own hierarchy, if it is version 1 and we may write to it.
fn real_v1() -> Option<Hierarchy> {
    let hierarchy = Hierarchy::detect().ok()?;
    let writable = rustix::process::geteuid().is_root() && !hierarchy.is_v2();
    writable.then_some(hierarchy)
}

#[test]
fn version_1_limits_arrive_in_the_kernel() {
    let Some(hierarchy) = real_v1() else { return };
    let path = format!("ferry-test-{}/limits", std::process::id());
    let mut resources = limits();
    resources.devices =
        vec![LinuxDeviceCgroup { allow: false, access: Some("rwm".into()), ..Default::default() }];
    let group = Cgroup::create(&hierarchy, &path, &resources).unwrap();
    let read = |controller: &str, file: &str| {
        fs::read_to_string(Path::new(DEFAULT_ROOT).join(controller).join(&path).join(file))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(read("memory", "memory.limit_in_bytes"), (64 << 20).to_string());
    assert_eq!(read("memory", "memory.memsw.limit_in_bytes"), (96 << 20).to_string());
    assert_eq!(read("cpu", "cpu.cfs_quota_us"), "50000");
    assert_eq!(read("cpu", "cpu.shares"), "512");
    assert_eq!(read("pids", "pids.max"), "77");
    assert_eq!(read("cpuset", "cpuset.cpus"), "0");
    assert!(!read("cpuset", "cpuset.mems").is_empty());
    assert_eq!(read("devices", "devices.list"), "");

    // Raising and lowering a live group, in both directions, whatever the order has to be.
    for (limit, swap) in [(512i64 << 20, 768i64 << 20), (32 << 20, 48 << 20), (32 << 20, -1)] {
        let memory = LinuxMemory { limit: Some(limit), swap: Some(swap), ..Default::default() };
        let update = LinuxResources { memory: Some(memory), ..Default::default() };
        assert_eq!(group.apply(&update).unwrap(), [] as [String; 0]);
        assert_eq!(read("memory", "memory.limit_in_bytes"), limit.to_string());
    }
    group.delete().unwrap();
    Cgroup::open(&hierarchy, path.split_once('/').unwrap().0).unwrap().delete().unwrap();
    assert!(!Path::new(DEFAULT_ROOT).join("memory").join(&path).exists());
}

/// The first containers of a daemon may all start at once: each of them finds a parent that another one has not finished.
#[test]
fn the_first_groups_of_version_1_take_processes() {
    let Some(hierarchy) = real_v1() else { return };
    for round in 0..50 {
        let parent = format!("ferry-test-first-{}-{round}", std::process::id());
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (hierarchy, path) = (&hierarchy, format!("{parent}/{number}"));
                scope.spawn(move || {
                    let group = Cgroup::create(hierarchy, &path, &LinuxResources::default());
                    let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
                    let joined = group.as_ref().map(|group| group.join(child.id() as i32));
                    child.kill().unwrap();
                    child.wait().unwrap();
                    joined.unwrap().unwrap();
                    group.unwrap().delete().unwrap();
                });
            }
        });
        Cgroup::open(&hierarchy, &parent).unwrap().delete().unwrap();
    }
}

#[test]
fn members_of_version_1_are_frozen_listed_and_killed() {
    let Some(hierarchy) = real_v1() else { return };
    let path = format!("ferry-test-kill-{}", std::process::id());
    let group = Cgroup::create(&hierarchy, &path, &LinuxResources::default()).unwrap();
    let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    group.join(child.id() as i32).unwrap();
    assert_eq!(group.pids().unwrap(), [child.id() as i32]);
    group.freeze().unwrap();
    group.thaw().unwrap();
    group.freeze().unwrap();
    // Frozen processes die, too.
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    group.kill_all().unwrap();
    assert!(!reaper.join().unwrap().success());
    assert_eq!(group.events().unwrap().kills, 0);
    group.delete().unwrap();
}

#[test]
fn the_kernel_takes_the_device_program() {
    // Any version 2 tree will do, also the one beside version 1.
    let unified = Path::new(DEFAULT_ROOT).join("unified");
    if !unified.join("cgroup.procs").exists() || !rustix::process::geteuid().is_root() {
        return;
    }
    let hierarchy = Hierarchy::detect_at(&unified).unwrap();
    let path = format!("ferry-test-bpf-{}", std::process::id());
    let allow = |major, minor| LinuxDeviceCgroup {
        allow: true,
        kind: Some("c".into()),
        major: Some(major),
        minor: Some(minor),
        access: Some("rwm".into()),
    };
    let resources = LinuxResources {
        devices: vec![LinuxDeviceCgroup::default(), allow(1, 3)],
        ..LinuxResources::default()
    };
    let group = Cgroup::create(&hierarchy, &path, &resources).unwrap();
    let script = "echo $$ > $1/cgroup.procs; true < /dev/null && ! true < /dev/zero";
    let status = std::process::Command::new("sh")
        .args(["-c", script, "sh", &unified.join(&path).to_string_lossy()])
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    group.delete().unwrap();
    assert!(status.success());
}
