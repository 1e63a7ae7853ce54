//! Figures by cAdvisor's names, compared with what the kernel says inside the container.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use ferry_cri::api::{self, NamespaceMode};
use ferry_testkit::eventually;

use super::{Bed, client::call, with_namespaces};

/// Names that Kubernetes' own checks of a runtime want, with the labels that cAdvisor gives them beside those of all.
const NAMES: [(&str, &[&str]); 56] = [
    ("container_blkio_device_usage_total", &["device", "major", "minor", "operation"]),
    ("container_cpu_cfs_periods_total", &[]),
    ("container_cpu_cfs_throttled_periods_total", &[]),
    ("container_cpu_cfs_throttled_seconds_total", &[]),
    ("container_cpu_system_seconds_total", &[]),
    ("container_cpu_usage_seconds_total", &["cpu"]),
    ("container_cpu_user_seconds_total", &[]),
    ("container_file_descriptors", &[]),
    ("container_fs_inodes_free", &["device"]),
    ("container_fs_inodes_total", &["device"]),
    ("container_fs_limit_bytes", &["device"]),
    ("container_fs_reads_bytes_total", &["device"]),
    ("container_fs_reads_total", &["device"]),
    ("container_fs_usage_bytes", &["device"]),
    ("container_fs_writes_bytes_total", &["device"]),
    ("container_fs_writes_total", &["device"]),
    ("container_hugetlb_max_usage_bytes", &["pagesize"]),
    ("container_hugetlb_usage_bytes", &["pagesize"]),
    ("container_last_seen", &[]),
    ("container_memory_cache", &[]),
    ("container_memory_failcnt", &[]),
    ("container_memory_failures_total", &["failure_type", "scope"]),
    ("container_memory_kernel_usage", &[]),
    ("container_memory_mapped_file", &[]),
    ("container_memory_max_usage_bytes", &[]),
    ("container_memory_rss", &[]),
    ("container_memory_swap", &[]),
    ("container_memory_usage_bytes", &[]),
    ("container_memory_working_set_bytes", &[]),
    ("container_network_receive_bytes_total", &["interface"]),
    ("container_network_receive_errors_total", &["interface"]),
    ("container_network_receive_packets_dropped_total", &["interface"]),
    ("container_network_receive_packets_total", &["interface"]),
    ("container_network_transmit_bytes_total", &["interface"]),
    ("container_network_transmit_errors_total", &["interface"]),
    ("container_network_transmit_packets_dropped_total", &["interface"]),
    ("container_network_transmit_packets_total", &["interface"]),
    ("container_oom_events_total", &[]),
    ("container_pressure_cpu_stalled_seconds_total", &[]),
    ("container_pressure_cpu_waiting_seconds_total", &[]),
    ("container_pressure_io_stalled_seconds_total", &[]),
    ("container_pressure_io_waiting_seconds_total", &[]),
    ("container_pressure_memory_stalled_seconds_total", &[]),
    ("container_pressure_memory_waiting_seconds_total", &[]),
    ("container_processes", &[]),
    ("container_sockets", &[]),
    ("container_spec_cpu_period", &[]),
    ("container_spec_cpu_quota", &[]),
    ("container_spec_cpu_shares", &[]),
    ("container_spec_memory_limit_bytes", &[]),
    ("container_spec_memory_reservation_limit_bytes", &[]),
    ("container_spec_memory_swap_limit_bytes", &[]),
    ("container_start_time_seconds", &[]),
    ("container_threads", &[]),
    ("container_threads_max", &[]),
    ("container_ulimits_soft", &["ulimit"]),
];

/// What all names have.
const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

/// A pod with one container, whose figures are asked for.
struct Told<'a> {
    bed: &'a Bed,
    pod: String,
    id: String,
    keys: BTreeMap<String, Vec<String>>,
}

/// A value with its labels.
type Value = (BTreeMap<String, String>, u64);

impl Told<'_> {
    /// Runs a script with these limits, in process ids of its own.
    fn start<'a>(bed: &'a Bed, script: &str, limits: api::LinuxContainerResources) -> Told<'a> {
        let config = bed.pod("metrics");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let mut container = bed.container("main", script);
        // As a kubelet does: by the image's id.
        let image = container.image.get_or_insert_default();
        let asked = api::ImageStatusRequest { image: Some(image.clone()), verbose: false };
        image.image = call!(bed.cri, image.image_status(asked)).unwrap().image.unwrap().id;
        let options =
            api::NamespaceOption { pid: NamespaceMode::Container.into(), ..Default::default() };
        with_namespaces(&mut container, options);
        container.linux.get_or_insert_default().resources = Some(limits);
        let id = bed.cri.create(&pod, container, &config).unwrap();
        bed.cri.start(&id).unwrap();
        let request = api::ListMetricDescriptorsRequest {};
        let all = call!(bed.cri, runtime.list_metric_descriptors(request)).unwrap().descriptors;
        assert!(all.iter().all(|it| !it.help.is_empty()), "{all:?}");
        let keys = all.into_iter().map(|it| (it.name, it.label_keys)).collect();
        Told { bed, pod, id, keys }
    }

    /// All values of the pod and its container, by name.
    fn all(&self) -> BTreeMap<String, Vec<Value>> {
        let request = api::ListPodSandboxMetricsRequest {};
        let pods = call!(self.bed.cri, runtime.list_pod_sandbox_metrics(request)).unwrap();
        let pod = pods.pod_metrics.into_iter().find(|it| it.pod_sandbox_id == self.pod).unwrap();
        let [own] = <[_; 1]>::try_from(pod.container_metrics).unwrap();
        assert_eq!(own.container_id, self.id);
        let mut all = BTreeMap::<String, Vec<Value>>::new();
        for metric in pod.metrics.into_iter().chain(own.metrics) {
            let keys = self.keys.get(&metric.name).expect(&metric.name);
            assert_eq!(keys.len(), metric.label_values.len(), "{metric:?}");
            let labels = keys.iter().cloned().zip(metric.label_values).collect();
            all.entry(metric.name).or_default().push((labels, metric.value.unwrap().value));
        }
        all
    }

    /// The value of a name that has one.
    fn value(&self, name: &str) -> u64 {
        let of = self.all().remove(&format!("container_{name}")).expect(name);
        assert_eq!(of.len(), 1, "{name}: {of:?}");
        of[0].1
    }

    /// What a script in the container says.
    fn says(&self, script: &str) -> u64 {
        let said = self.bed.cri.output(&self.id, script);
        said.parse().unwrap_or_else(|_| panic!("{script}: {said:?}"))
    }

    /// A value that only grows is between what the kernel says before and after.
    fn grows_as(&self, name: &str, script: &str, unit: u64) -> u64 {
        let before = self.says(script) / unit;
        let value = self.value(name);
        let after = self.says(script) / unit;
        assert!((before..=after).contains(&value), "{name}: {before} <= {value} <= {after}");
        value
    }
}

/// Some swap: with none of it version 1 counts no hit of the limit of memory, since that of both together is hit before.
fn limits() -> api::LinuxContainerResources {
    api::LinuxContainerResources {
        cpu_period: 50_000,
        cpu_quota: 20_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 64 << 20,
        memory_swap_limit_in_bytes: 96 << 20,
        ..Default::default()
    }
}

/// A file of the container's cgroup: its controller and name in version 1, its name in version 2.
fn file(v1: &str, v2: &str) -> String {
    let name = if has_v2() { v2 } else { v1 };
    format!("/sys/fs/cgroup/{name}")
}

fn has_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// A line's number in such a file.
fn line(v1: &str, v2: &str, key: &str) -> String {
    format!("grep '^{key} ' {} | cut -d' ' -f2", file(v1, v2))
}

fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn figures_by_name() {
    let bed = Bed::ours(&[]);
    let before = since_1970();
    let script = "exec 7</dev/null; nc -l -p 4000 & dd if=/dev/zero of=/root/x bs=1M count=3; exec sleep 1000";
    let told = Told::start(&bed, script, limits());
    let keys: Vec<(&str, Vec<&str>)> = NAMES
        .iter()
        .map(|(name, own)| (*name, LABELS.iter().chain(*own).copied().collect()))
        .collect();
    let known: Vec<(&str, Vec<&str>)> = told
        .keys
        .iter()
        .map(|(name, keys)| (name.as_str(), keys.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(known, keys);
    let all = told.all();
    let (labels, _) = &all["container_spec_cpu_period"][0];
    assert_eq!(labels["container"], "main");
    assert_eq!(
        (&labels["id"], labels["image"].as_str()),
        (&told.id, "docker.io/library/busybox:latest")
    );

    // Two processes with a descriptor more than the ordinary ones; one of them listens.
    eventually("both programs run", || {
        let said = bed.cri.output(&told.id, "cat /proc/1/comm; ls -l /proc/$(pidof nc)/fd");
        (said.starts_with("sleep") && said.contains("socket:")).then_some(())
    });
    let count = |kind: &str| {
        format!("for p in 1 $(pidof nc); do ls -l /proc/$p/fd; done | grep -c -e '-> {kind}'")
    };
    // Whoever has looked has gone.
    eventually("only they are left", || (told.value("processes") == 2).then_some(()));
    assert_eq!(told.value("threads"), 2);
    assert_eq!(told.value("file_descriptors"), told.says(&count("")));
    assert_eq!((told.value("sockets"), told.says(&count("socket:"))), (1, 1));
    let files = "grep 'Max open files' /proc/1/limits | tr -s ' ' | cut -d' ' -f4";
    assert_eq!(told.value("ulimits_soft"), told.says(files));
    let most = bed.cri.output(&told.id, &format!("cat {}", file("pids/pids.max", "pids.max")));
    assert_eq!(told.value("threads_max"), most.parse().unwrap_or(0), "{most}");

    // What was asked for.
    let value = |name: &str| told.value(&format!("spec_{name}"));
    assert_eq!(
        (value("cpu_period"), value("cpu_quota"), value("cpu_shares")),
        (50_000, 20_000, 512)
    );
    assert_eq!(value("memory_limit_bytes"), 64 << 20);
    assert_eq!(value("memory_reservation_limit_bytes"), 0);
    let swap = if has_v2() { 32 << 20 } else { 96 << 20 };
    assert_eq!(value("memory_swap_limit_bytes"), swap);

    // The file system is the whole one; what was written is the container's.
    let system = |format: &str| told.says(&format!("stat -f -c %{format} /"));
    assert_eq!(told.value("fs_limit_bytes"), system("b") * system("S"));
    match system("c") {
        0 => assert!(!told.all().contains_key("container_fs_inodes_total")),
        inodes => {
            assert_eq!(told.value("fs_inodes_total"), inodes);
            assert!((1..inodes).contains(&told.value("fs_inodes_free")));
        }
    }
    let used = told.value("fs_usage_bytes");
    assert!((3 << 20..4 << 20).contains(&used), "{used}");

    let all = told.all();
    let (of, start) = &all["container_start_time_seconds"][0];
    assert!((before..=all["container_last_seen"][0].1).contains(start));
    assert!((before..=since_1970()).contains(&all["container_last_seen"][0].1));
    assert_eq!((of["container"].as_str(), of["id"].as_str()), ("main", told.id.as_str()));
    assert_eq!((of["namespace"].as_str(), of["pod"].as_str()), ("default", "metrics"));
    assert_eq!(all["container_cpu_usage_seconds_total"][0].0["cpu"], "total");
    assert_eq!(all["container_network_receive_bytes_total"][0].0["container"], "POD");
}

#[test]
fn figures_grow_as_the_kernel_counts() {
    let bed = Bed::ours(&[]);
    let told = Told::start(&bed, "while :; do :; done", limits());
    let (stat, throttled) = ("cpu/cpu.stat", "cpu_cfs_throttled_periods_total");
    let usage = if has_v2() {
        (line("", "cpu.stat", "usage_usec"), 1_000_000)
    } else {
        (format!("cat {}", file("cpuacct/cpuacct.usage", "")), 1_000_000_000)
    };
    eventually("a second is used", || (told.value("cpu_usage_seconds_total") > 0).then_some(()));
    told.grows_as("cpu_usage_seconds_total", &usage.0, usage.1);
    told.grows_as("cpu_cfs_periods_total", &line(stat, "cpu.stat", "nr_periods"), 1);
    assert!(told.grows_as(throttled, &line(stat, "cpu.stat", "nr_throttled"), 1) > 0);
    let (key, unit) =
        if has_v2() { ("throttled_usec", 1_000_000) } else { ("throttled_time", 1_000_000_000) };
    told.grows_as("cpu_cfs_throttled_seconds_total", &line(stat, "cpu.stat", key), unit);
    pressure(&told);
    swap(&told);

    // Somebody wants more memory than there is.
    assert_eq!(told.value("oom_events_total"), 0);
    assert_eq!(bed.cri.exec(&told.id, "tail /dev/zero; exit $?").exit_code, 137);
    let killed = line("memory/memory.oom_control", "memory.events", "oom_kill");
    assert_eq!((told.value("oom_events_total"), told.says(&killed)), (1, 1));
    let hits = if has_v2() {
        line("", "memory.events", "max")
    } else {
        format!("cat {}", file("memory/memory.failcnt", ""))
    };
    assert!(told.grows_as("memory_failcnt", &hits, 1) > 0);
    let peak = format!("cat {}", file("memory/memory.max_usage_in_bytes", "memory.peak"));
    assert!(told.grows_as("memory_max_usage_bytes", &peak, 1) > 60 << 20);
    faults(&told);
    written(&told);
    packets(&told);
}

fn pressure(told: &Told<'_>) {
    if told.bed.cri.exec(&told.id, "cat /sys/fs/cgroup/cpu.pressure").exit_code != 0 {
        assert!(told.all().keys().all(|name| !name.contains("pressure")), "nobody counts it");
        return;
    }
    let waited = "grep some /sys/fs/cgroup/cpu.pressure | sed 's/.*total=//'";
    eventually("a second was waited for", || {
        (told.value("pressure_cpu_waiting_seconds_total") > 0).then_some(())
    });
    told.grows_as("pressure_cpu_waiting_seconds_total", waited, 1_000_000);
    for kind in ["io", "memory"] {
        let stalled = format!("grep full /sys/fs/cgroup/{kind}.pressure | sed 's/.*total=//'");
        told.grows_as(&format!("pressure_{kind}_stalled_seconds_total"), &stalled, 1_000_000);
    }
}

/// Also what `ContainerStats` says of that: its limits leave 32 megabytes.
fn swap(told: &Told<'_>) {
    let request = api::ContainerStatsRequest { container_id: told.id.clone() };
    let stats = call!(told.bed.cri, runtime.container_stats(request)).unwrap().stats.unwrap();
    let kernel = if has_v2() {
        format!("cat {}", file("", "memory.swap.current"))
    } else {
        line("memory/memory.stat", "", "total_swap")
    };
    let said = told.bed.cri.output(&told.id, &kernel);
    let swap = stats.swap.map(|it| (it.swap_usage_bytes, it.swap_available_bytes));
    let bytes = |value: u64| Some(api::UInt64Value { value });
    let used = said.parse().ok();
    assert_eq!(swap, used.map(|used| (bytes(used), bytes((32 << 20) - used))), "{said}");
    assert_eq!(told.all().contains_key("container_memory_swap"), swap.is_some());
    let waited = stats.cpu.unwrap().psi.map(|it| it.some.unwrap().total / 1_000_000_000);
    let told = told.all().remove("container_pressure_cpu_waiting_seconds_total");
    assert_eq!(waited.is_some(), told.is_some());
    if let (Some(before), Some(after)) = (waited, told) {
        assert!((1..=after[0].1).contains(&before), "{before} and then {after:?}");
    }
}

fn faults(told: &Told<'_>) {
    let with_below = if has_v2() { "pgfault" } else { "total_pgfault" };
    let script = line("memory/memory.stat", "memory.stat", with_below);
    let before = told.says(&script);
    let all = told.all().remove("container_memory_failures_total").unwrap();
    let after = told.says(&script);
    assert_eq!(all.len(), 4, "{all:?}");
    let wanted = |labels: &BTreeMap<String, String>| {
        (labels["failure_type"].as_str(), labels["scope"].as_str()) == ("pgfault", "hierarchy")
    };
    let (_, value) = all.iter().find(|(labels, _)| wanted(labels)).unwrap();
    assert!(before > 0 && (before..=after).contains(value), "{before} <= {value} <= {after}");
}

/// What goes to a device past the page cache is the container's own with both versions.
fn written(told: &Told<'_>) {
    let write = "dd if=/dev/zero of=/root/direct bs=1M count=2 oflag=direct 2>&1";
    if told.bed.cri.exec(&told.id, write).exit_code != 0 {
        eprintln!("this file system has no direct writes");
        return;
    }
    let all = told.all();
    let of = |name: &str| all.get(name).cloned().unwrap_or_default();
    let (bytes, operations) =
        (of("container_fs_writes_bytes_total"), of("container_fs_writes_total"));
    let kernel = file("blkio/blkio.throttle.io_service_bytes_recursive", "io.stat");
    if told.bed.cri.output(&told.id, &format!("cat {kernel}")).lines().count() < 2
        && bytes.is_empty()
    {
        eprintln!("there is no device below");
        return;
    }
    let device = bytes.iter().find(|(_, bytes)| *bytes >= 2 << 20).expect("two megabytes");
    let name = &device.0["device"];
    assert!(Path::new(name).exists(), "{name}");
    assert!(operations.iter().any(|(labels, count)| &labels["device"] == name && *count >= 2));
    let total = of("container_blkio_device_usage_total");
    let writes = total.iter().find(|(labels, value)| {
        (&labels["device"], labels["operation"].as_str(), *value) == (name, "Write", device.1)
    });
    let numbers = &writes.expect("the same by operation").0;
    let link = format!("/sys/dev/block/{}:{}", numbers["major"], numbers["minor"]);
    let target = std::fs::read_link(link).unwrap();
    assert_eq!(target.file_name(), Path::new(name).file_name());
}

/// The pod's interface, from the inside.
fn packets(told: &Told<'_>) {
    let read = || {
        let text = told.bed.cri.output(&told.id, "grep eth0: /proc/net/dev | cut -d: -f2");
        let fields: Vec<u64> =
            text.split_whitespace().map(|field| field.parse().unwrap()).collect();
        fields
    };
    told.bed.cri.exec(&told.id, "nc -w 1 $(ip route | grep default | cut -d' ' -f3) 1");
    let (before, all, after) = (read(), told.all(), read());
    let columns = [
        ("receive_bytes", 0),
        ("receive_packets", 1),
        ("receive_errors", 2),
        ("receive_packets_dropped", 3),
        ("transmit_bytes", 8),
        ("transmit_packets", 9),
        ("transmit_errors", 10),
        ("transmit_packets_dropped", 11),
    ];
    for (name, column) in columns {
        let [(labels, value)] = &all[&format!("container_network_{name}_total")][..] else {
            panic!("{name}: one interface");
        };
        assert_eq!(labels["interface"], "eth0");
        let range = before[column]..=after[column];
        assert!(range.contains(value), "{name}: {value} in {range:?}");
    }
    assert!(before[9] > 0, "something was sent");
}
