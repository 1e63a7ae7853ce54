//! Real containers on a busybox root file system. They run as root only, and say nothing where they cannot.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bed;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use bed::{Bed, bind, drain, finish, piped, run, spec, strings};
use ferry_oci::runtime::{
    Hook, Hooks, LinuxIdMapping, LinuxMemory, LinuxNamespace, LinuxPids, LinuxSeccomp,
    LinuxSyscall, PosixRlimit, Spec,
};
use ferry_runtime::{Bundle, Rootfs, StartError, StdioRequest, create, seccomp};

fn bed() -> Option<Bed> {
    Bed::new(&bed::resources())
}

/// Runs a shell script in a default container: its output.
fn script(bed: &Bed, text: &str) -> String {
    let spec = spec(&["sh", "-c", text]);
    let (code, output) = run(&bed.bundle(&spec));
    assert_eq!(code, 0, "{output}");
    output
}

fn start_error(bed: &Bed, change: impl Fn(&mut Spec), args: &[&str]) -> StartError {
    let mut spec = spec(args);
    change(&mut spec);
    let (stdio, _output) = piped();
    let created = create(&bed.bundle(&spec), stdio).unwrap();
    created.start().unwrap_err()
}

#[test]
fn a_container_is_alone() {
    let Some(bed) = bed() else { return };
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let text = script(
        &bed,
        "echo pid $$; hostname; for k in mnt pid net uts ipc cgroup; do readlink /proc/self/ns/$k; done; \
         ls /proc | grep -c '^[0-9]'; cat /proc/net/dev | wc -l; cat /proc/1/cmdline | head -c 2",
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "pid 1");
    assert_eq!(lines[1], "0123456789ab");
    for (index, kind) in ["mnt", "pid", "net", "uts", "ipc", "cgroup"].iter().enumerate() {
        assert!(lines[2 + index].starts_with(kind), "{text}");
        assert_ne!(Path::new(lines[2 + index]), own(kind));
    }
    assert_eq!(lines[9], "3", "two lines of heading and the loopback device");
    assert_eq!(lines[10], "sh");
}

#[test]
fn nothing_of_it_is_seen_outside() {
    let Some(bed) = bed() else { return };
    script(&bed, "touch /made");
    assert!(bed.upper().join("made").exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&bed.id), "{mounts}");
}

#[test]
fn paths_are_masked_and_read_only() {
    let Some(bed) = bed() else { return };
    let text = script(
        &bed,
        "cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l; \
         (echo 1 > /proc/sys/kernel/hostname) 2>&1; (echo 1 > /proc/sys/vm/swappiness) 2>&1; \
         (mkdir /sys/x) 2>&1; (mkdir /sys/fs/cgroup/memory/x) 2>&1; cat /proc/keys",
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..2], ["0", "0"]);
    for line in &lines[2..6] {
        assert!(line.contains("Read-only file system"), "{text}");
    }
    assert_eq!(lines.len(), 6);
}

#[test]
fn devices_are_there_and_others_are_refused() {
    let Some(bed) = bed() else { return };
    let text = script(
        &bed,
        "ls /dev | sort | tr '\\n' ' '; echo; head -c 3 /dev/zero | wc -c; echo x > /dev/null; \
         readlink /dev/ptmx; readlink /dev/stdin; mknod /tmp/kmsg c 1 11 && (cat /tmp/kmsg) 2>&1; \
         stat -c '%a %t,%T' /dev/null",
    );
    let lines: Vec<&str> = text.lines().collect();
    let expected = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    assert_eq!(lines[0].replace("core ", ""), expected);
    assert_eq!(&lines[1..4], ["3", "pts/ptmx", "/proc/self/fd/0"]);
    assert!(lines[4].contains("Operation not permitted"), "{text}");
    assert_eq!(lines[5], "666 1,3");
}

#[test]
fn capabilities_are_dockers_and_no_others() {
    let Some(bed) = bed() else { return };
    let text = script(&bed, "grep -E 'Cap|NoNewPrivs' /proc/self/status | tr -s '\\t ' ' '");
    let expected = "CapInh: 0000000000000000 CapPrm: 00000000a80425fb CapEff: 00000000a80425fb \
                    CapBnd: 00000000a80425fb CapAmb: 0000000000000000 NoNewPrivs: 0";
    assert_eq!(text.lines().collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn users_groups_umask_and_home_are_set() {
    let Some(bed) = bed() else { return };
    let run_as = |change: &dyn Fn(&mut ferry_oci::runtime::User)| {
        let mut spec = spec(&["sh", "-c", "id; echo $HOME; umask; grep CapEff /proc/self/status"]);
        change(&mut spec.process.as_mut().unwrap().user);
        run(&bed.bundle(&spec))
    };
    let (code, text) = run_as(&|user| {
        (user.uid, user.gid, user.umask) = (33, 33, Some(0o077));
        user.additional_gids = vec![4, 77];
    });
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("uid=33(web) gid=33(web) groups=4(adm),77"), "{text}");
    assert!(text.contains("/srv\n0077\nCapEff:\t0000000000000000"), "{text}");
    let (_, text) = run_as(&|user| user.username = Some("web".into()));
    assert!(text.contains("uid=33(web) gid=33(web) groups=4(adm),33(web)"), "{text}");
    let (_, text) = run_as(&|user| user.username = Some("999:adm".into()));
    assert!(text.contains("uid=999 gid=4(adm)") && text.contains("\n/\n"), "{text}");

    let unknown = |spec: &mut Spec| {
        spec.process.as_mut().unwrap().user.username = Some("ghost".into());
    };
    assert_eq!(
        start_error(&bed, unknown, &["true"]).reason(),
        "unable to find user ghost: no matching entries in passwd file"
    );
}

#[test]
fn programs_that_cannot_run_are_told_in_runcs_words() {
    let Some(bed) = bed() else { return };
    let cases = [
        ("foo", 127, r#"exec: "foo": executable file not found in $PATH"#),
        ("/no/foo", 127, r#"exec: "/no/foo": stat /no/foo: no such file or directory"#),
        ("/etc/passwd", 126, r#"exec: "/etc/passwd": permission denied"#),
        ("/etc", 126, r#"exec: "/etc": is a directory: permission denied"#),
    ];
    for (program, code, reason) in cases {
        let error = start_error(&bed, |_| {}, &[program]);
        assert_eq!((error.exit_code(), error.reason()), (code, reason));
        let text = error.to_string();
        let head = "unable to start container process: error during container init: ";
        assert!(text.starts_with(head), "{text}");
    }
    let in_file = |spec: &mut Spec| spec.process.as_mut().unwrap().cwd = "/etc/passwd".into();
    let error = start_error(&bed, in_file, &["true"]);
    assert!(error.reason().starts_with("mkdir /etc/passwd: not a directory: Are you"), "{error}");
    let onto =
        |spec: &mut Spec| spec.mounts.push(bind(Path::new("/etc/passwd"), "/etc", &["rbind"]));
    let error = start_error(&bed, onto, &["true"]);
    let words = "error mounting \"/etc/passwd\" to rootfs at \"/etc\": mount src=/etc/passwd, dst=/etc, flags=MS_BIND|MS_REC: not a directory: Are you";
    assert!(error.reason().starts_with(words), "{error}");
    assert_eq!(error.exit_code(), 127);
    // What the kernel refuses only when it looks inside counts as started, with Docker.
    for (program, why) in [("bad", "no such file or directory"), ("garbage", "exec format error")] {
        let path = format!("/bin/{program}");
        let (code, output) = run(&bed.bundle(&spec(&[&path])));
        assert_eq!((code, output), (255, format!("exec {path}: {why}\n")));
    }
}

#[test]
fn a_missing_working_directory_is_made() {
    let Some(bed) = bed() else { return };
    let mut spec = spec(&["sh", "-c", "pwd"]);
    spec.process.as_mut().unwrap().cwd = "/work/deep".into();
    assert_eq!(run(&bed.bundle(&spec)), (0, "/work/deep\n".into()));
}

#[test]
fn the_filter_is_in_force_for_root_and_others() {
    let Some(bed) = bed() else { return };
    let profile = LinuxSeccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![LinuxSyscall {
            names: strings(&["mkdir", "mkdirat"]),
            action: "SCMP_ACT_ERRNO".into(),
            errno_ret: Some(libc::EXDEV as u32),
            args: vec![],
        }],
        ..LinuxSeccomp::default()
    };
    let filter = seccomp::compile(&profile, seccomp::Arch::host()).unwrap();
    for (uid, no_new_privileges) in [(0, false), (33, false), (33, true)] {
        let text =
            "grep -E 'Seccomp:|CapEff|CapPrm' /proc/self/status | tr '\\n' ' '; mkdir /tmp/x";
        let mut spec = spec(&["sh", "-c", text]);
        let process = spec.process.as_mut().unwrap();
        process.user.uid = uid;
        process.no_new_privileges = no_new_privileges;
        let bundle = Bundle { filter: Some(&filter), ..bed.bundle(&spec) };
        let (code, output) = run(&bundle);
        assert_eq!(code, 1);
        assert!(output.contains("Seccomp:\t2"), "{output}");
        assert!(output.contains("cross-device link"), "{output}");
        let caps = if uid == 0 { "00000000a80425fb" } else { "0000000000000000" };
        assert!(output.contains(&format!("CapPrm:\t{caps} CapEff:\t{caps}")), "{output}");
    }
}

#[test]
fn limits_are_in_the_cgroup_and_the_process_is_in_it() {
    let mut resources = bed::resources();
    let limit = Some(64 << 20);
    resources.memory = Some(LinuxMemory { limit, swap: limit, ..LinuxMemory::default() });
    resources.pids = Some(LinuxPids { limit: 20 });
    let Some(bed) = Bed::new(&resources) else { return };
    if bed.cgroup.as_ref().unwrap().mount_points().len() == 1 {
        return; // version 2 has other files; `ferry-cgroup` tests them
    }
    let text = script(
        &bed,
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max; \
         cat /proc/self/cgroup | grep -vc ':/$'; head -c 3 /sys/fs/cgroup/memory/tasks",
    );
    assert!(text.starts_with("67108864\n20\n0\n1\n"), "{text}");
    let hungry = spec(&["dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"]);
    let (code, _) = run(&bed.bundle(&hungry));
    assert_eq!(code, 137);
    assert_eq!(bed.cgroup.as_ref().unwrap().events().unwrap().kills, 1);
}

#[test]
fn version_2_is_cloned_into_and_has_device_rules_too() {
    let Some(mut bed) = bed() else { return };
    // Any version 2 tree will do; the one beside version 1 has no controllers, but members, devices and kill.
    let unified = Path::new("/sys/fs/cgroup/unified");
    let tree = if unified.exists() { unified } else { Path::new("/sys/fs/cgroup") };
    let Ok(hierarchy) = ferry_cgroup::Hierarchy::detect_at(tree) else { return };
    if !hierarchy.is_v2() {
        return;
    }
    let path = format!("ferry-test-{}", bed.id);
    let group = ferry_cgroup::Cgroup::create(&hierarchy, &path, &bed::resources()).unwrap();
    let old = bed.cgroup.replace(group).unwrap();
    old.delete().unwrap();
    let text = script(
        &bed,
        "grep '^0:' /proc/self/cgroup; grep ' /sys/fs/cgroup ' /proc/self/mountinfo | grep -c cgroup2; \
         head -c 3 /dev/zero | wc -c; mknod /tmp/kmsg c 1 11 && (cat /tmp/kmsg) 2>&1; true",
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..3], ["0::/", "1", "3"]);
    assert!(lines[3].contains("Operation not permitted"), "{text}");

    let sleeper = spec(&["sh", "-c", "sleep 100 & sleep 100"]);
    let (stdio, _output) = piped();
    let running = create(&bed.bundle(&sleeper), stdio).unwrap().start().unwrap();
    assert!(bed.cgroup.as_ref().unwrap().pids().unwrap().contains(&running.pid));
    bed.cgroup.as_ref().unwrap().freeze().unwrap();
    let waiter = std::thread::spawn(move || finish(running));
    bed.cgroup.as_ref().unwrap().kill_all().unwrap();
    assert_eq!(waiter.join().unwrap(), 137);
}

#[test]
fn a_filter_that_forbids_waiting_still_works() {
    let Some(bed) = bed() else { return };
    let profile = LinuxSeccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![LinuxSyscall {
            names: strings(&["recvmsg", "sendmsg", "close_range"]),
            action: "SCMP_ACT_KILL_PROCESS".into(),
            ..LinuxSyscall::default()
        }],
        ..LinuxSeccomp::default()
    };
    let filter = seccomp::compile(&profile, seccomp::Arch::host()).unwrap();
    let spec = spec(&["echo", "alive"]);
    let bundle = Bundle { filter: Some(&filter), ..bed.bundle(&spec) };
    assert_eq!(run(&bundle), (0, "alive\n".into()));
}

#[test]
fn rlimits_are_set_and_unwanted_refusals_can_be_lived_with() {
    let Some(bed) = bed() else { return };
    let with = |soft, hard, lenient: bool| {
        let mut spec = spec(&["sh", "-c", "ulimit -n; ulimit -Hn"]);
        let kind = "RLIMIT_NOFILE".to_owned();
        spec.process.as_mut().unwrap().rlimits = vec![PosixRlimit { kind, hard, soft }];
        if lenient {
            let key = ferry_runtime::DEFAULT_RLIMITS_ANNOTATION.to_owned();
            spec.annotations.insert(key, "RLIMIT_CORE,RLIMIT_NOFILE".into());
        }
        spec
    };
    assert_eq!(run(&bed.bundle(&with(10, 20, false))), (0, "10\n20\n".into()));
    let (_, most) = ferry_sys::process::rlimit(7).unwrap();
    let (code, output) = run(&bed.bundle(&with(10, most + 1, true)));
    assert_eq!((code, output.lines().next()), (0, Some("10")));
}

#[test]
fn mounts_cannot_leave_through_links() {
    let Some(bed) = bed() else { return };
    let outside = bed.dir.join("outside");
    fs::create_dir_all(&outside).unwrap();
    // What a hostile image has where things are going to be mounted.
    symlink(&outside, bed.lower().join("data")).unwrap();
    symlink("/../../../../../../tmp/../etc", bed.lower().join("conf")).unwrap();
    let shared = bed.dir.join("shared");
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("f"), "shared").unwrap();
    fs::write(bed.dir.join("file"), "file").unwrap();
    let mut spec = spec(&["sh", "-c", "cat /data/f; cat /conf/new/file; ls /etc/new"]);
    spec.mounts.push(bind(&shared, "/data", &["rbind", "rprivate"]));
    spec.mounts.push(bind(&bed.dir.join("file"), "/conf/new/file", &["bind", "ro"]));
    let (code, output) = run(&bed.bundle(&spec));
    assert_eq!((code, output.as_str()), (0, "sharedfilefile\n"));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!Path::new("/etc/new").exists());
}

#[test]
fn proc_stays_proc() {
    let Some(bed) = bed() else { return };
    fs::remove_dir(bed.lower().join("proc")).unwrap();
    symlink("/tmp", bed.lower().join("proc")).unwrap();
    let error = start_error(&bed, |_| {}, &["true"]);
    assert!(error.reason().contains("must be mounted on ordinary directory"), "{error}");
    fs::remove_file(bed.lower().join("proc")).unwrap();
    let inside = |spec: &mut Spec| {
        spec.mounts.push(bind(Path::new("/tmp"), "/proc/self/attr", &["bind"]));
    };
    let error = start_error(&bed, inside, &["true"]);
    assert!(error.reason().contains("because it is inside /proc"), "{error}");
}

#[test]
fn bind_mounts_have_their_options() {
    let Some(bed) = bed() else { return };
    let source = bed.dir.join("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    let mut spec =
        spec(&["sh", "-c", "grep ' /b' /proc/self/mountinfo; (touch /b/ro/x) 2>&1; touch /b/rw/y"]);
    spec.mounts.push(bind(&source, "/b/ro", &["rbind", "ro", "nosuid", "noexec", "rprivate"]));
    spec.mounts.push(bind(&source, "/b/rw", &["bind", "nodev", "noatime"]));
    spec.mounts.push(bind(&source, "/b/rr", &["rbind", "rro", "rslave"]));
    let (code, output) = run(&bed.bundle(&spec));
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("/b/ro ro,nosuid,noexec"), "{output}");
    assert!(output.contains("/b/rw rw,nodev,noatime"), "{output}");
    assert!(output.contains("/b/rr ro"), "{output}");
    assert!(output.contains("Read-only file system"), "{output}");
    assert!(source.join("y").exists());

    let missing = |spec: &mut Spec| {
        spec.mounts.push(bind(Path::new("/no/such/dir"), "/x", &["rbind"]));
    };
    let error = start_error(&bed, missing, &["true"]);
    assert!(error.reason().contains("/no/such/dir"), "{error}");
}

/// Somebody has put a link where a directory was found.
#[test]
fn no_link_is_followed_below_what_others_write_to() {
    let Some(bed) = bed() else { return };
    let (volume, other) = (bed.dir.join("volume"), bed.dir.join("other"));
    fs::create_dir_all(volume.join("a/b")).unwrap();
    fs::create_dir_all(other.join("b")).unwrap();
    let part = || ferry_oci::runtime::Mount {
        ferry_below: Some("a/b".into()),
        ..bind(&volume.join("a/b"), "/part", &["rbind"])
    };
    let mut inside = spec(&["sh", "-c", "echo mine > /part/file"]);
    inside.mounts.push(part());
    assert_eq!(run(&bed.bundle(&inside)).0, 0);
    assert_eq!(fs::read_to_string(volume.join("a/b/file")).unwrap(), "mine\n");

    fs::rename(volume.join("a"), volume.join("aside")).unwrap();
    std::os::unix::fs::symlink(&other, volume.join("a")).unwrap();
    let error = create(&bed.bundle(&inside), piped().0).unwrap_err().to_string();
    assert!(error.contains("too many levels of symbolic links"), "{error}");
    assert!(!other.join("b/file").exists());
}

#[test]
fn the_root_can_be_read_only() {
    let Some(bed) = bed() else { return };
    let mut spec = spec(&["sh", "-c", "(touch /x) 2>&1; touch /dev/shm/y /tmp/z"]);
    spec.root.as_mut().unwrap().readonly = true;
    spec.mounts.push(ferry_oci::runtime::Mount {
        destination: "/tmp".into(),
        kind: Some("tmpfs".into()),
        source: Some("tmpfs".into()),
        options: strings(&["noexec", "nosuid", "size=1m"]),
        ..Default::default()
    });
    let (code, output) = run(&bed.bundle(&spec));
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("Read-only file system"), "{output}");
}

#[test]
fn a_directory_can_be_the_root() {
    let Some(bed) = bed() else { return };
    let rootfs = Rootfs::Dir(bed.lower());
    let spec = spec(&["sh", "-c", "touch /here && cat /proc/self/mountinfo | head -1"]);
    let (code, output) = run(&Bundle { rootfs: &rootfs, ..bed.bundle(&spec) });
    assert_eq!(code, 0, "{output}");
    assert!(bed.lower().join("here").exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&bed.id));
}

#[test]
fn a_volatile_root_can_be_used_again() {
    let Some(bed) = bed() else { return };
    let mut spec = spec(&[
        "sh",
        "-c",
        "grep -o volatile /proc/self/mountinfo; echo x >> /file; wc -l < /file",
    ]);
    spec.annotations.insert(ferry_runtime::VOLATILE_ANNOTATION.into(), "true".into());
    assert_eq!(run(&bed.bundle(&spec)), (0, "volatile\n1\n".into()));
    assert_eq!(run(&bed.bundle(&spec)), (0, "volatile\n2\n".into()));
}

#[test]
fn sysctls_are_the_containers_own() {
    let Some(bed) = bed() else { return };
    let mut spec =
        spec(&["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start", "/proc/sys/kernel/msgmax"]);
    let sysctl = &mut spec.linux.as_mut().unwrap().sysctl;
    sysctl.insert("net.ipv4.ip_unprivileged_port_start".into(), "80".into());
    sysctl.insert("kernel.msgmax".into(), "4096".into());
    assert_eq!(run(&bed.bundle(&spec)), (0, "80\n4096\n".into()));
    assert_ne!(fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), "4096\n");
}

#[test]
fn a_user_namespace_has_its_maps() {
    let Some(bed) = bed() else { return };
    let text = "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u:%g /bin; touch /new; stat -c %u /new; \
                echo y > /dev/stdout; touch /dev/shm/x; echo y > /dev/null; readlink /proc/self/ns/user";
    let mut spec = spec(&["sh", "-c", text]);
    let linux = spec.linux.as_mut().unwrap();
    linux.namespaces.push(LinuxNamespace { kind: "user".into(), path: None });
    let map = LinuxIdMapping { container_id: 0, host_id: 100_000, size: 65_536 };
    (linux.uid_mappings, linux.gid_mappings) = (vec![map], vec![map]);
    spec.mounts.retain(|mount| mount.kind.as_deref() != Some("cgroup"));
    let (code, output) = run(&bed.bundle(&spec));
    assert_eq!(code, 0, "{output}");
    assert!(output.starts_with("0\n 0 100000 65536\n0:0\n0\ny\nuser:["), "{output}");
    // What it wrote has the ids on the disk that it saw itself.
    let written = fs::metadata(bed.upper().join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&written), 0);

    // And a further process finds its way in.
    spec.process.as_mut().unwrap().args = strings(&["sleep", "100"]);
    let (stdio, _output) = piped();
    let running = create(&bed.bundle(&spec), stdio).unwrap().start().unwrap();
    let script = "id -u; readlink /proc/1/ns/user; readlink /proc/self/ns/user; grep CapEff /proc/self/status";
    let process = ferry_oci::runtime::Process {
        args: strings(&["sh", "-c", script]),
        ..spec.process.clone().unwrap()
    };
    let request = ferry_runtime::ExecRequest {
        target: running.pidfd.as_fd(),
        target_pid: running.pid,
        spec: &spec,
        process: &process,
        filter: None,
        cgroup: bed.cgroup.as_ref(),
        preserve_fds: 0,
    };
    let (stdio, output) = piped();
    let child = ferry_runtime::exec(&request, stdio).unwrap();
    let text = drain(output);
    assert_eq!(finish(child), 0, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[3]), ("0", "CapEff:\t00000000a80425fb"));
    assert_eq!(lines[1], lines[2]);
    ferry_sys::pidfd::send_signal(running.pidfd.as_fd(), libc::SIGKILL).unwrap();
    assert_eq!(finish(running), 137);
}

#[test]
fn namespaces_of_another_container_can_be_joined() {
    let Some(bed) = bed() else { return };
    let sleeper = spec(&["sleep", "100"]);
    let (stdio, _output) = piped();
    let first = create(&bed.bundle(&sleeper), stdio).unwrap().start().unwrap();
    let mut second =
        spec(&["sh", "-c", "readlink /proc/self/ns/net; cat /proc/1/cmdline | head -c 5"]);
    let linux = second.linux.as_mut().unwrap();
    for namespace in &mut linux.namespaces {
        let file = match namespace.kind.as_str() {
            "network" => "net",
            "pid" => "pid",
            _ => continue,
        };
        namespace.path = Some(format!("/proc/{}/ns/{file}", first.pid).into());
    }
    let other = Bed::new(&bed::resources()).unwrap();
    let (code, output) = run(&other.bundle(&second));
    let expected = fs::read_link(format!("/proc/{}/ns/net", first.pid)).unwrap();
    assert_eq!((code, output), (0, format!("{}\nsleep", expected.display())));
    ferry_sys::pidfd::send_signal(first.pidfd.as_fd(), libc::SIGKILL).unwrap();
    assert_eq!(finish(first), 137);
    // This process is where it was.
    let own = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(own, fs::read_link("/proc/self/ns/pid_for_children").unwrap());
}

#[test]
fn a_terminal_is_the_containers_own() {
    let Some(bed) = bed() else { return };
    let spec = spec(&[
        "sh",
        "-c",
        "tty; stty size; echo hello > /dev/console; echo > /dev/tty; ls /dev/pts",
    ]);
    let size = StdioRequest::Terminal { rows: 33, cols: 99 };
    let mut created = create(&bed.bundle(&spec), size).unwrap();
    created.ready().unwrap();
    let master = created.take_master().expect("a terminal");
    let running = created.start().unwrap();
    let output = drain(master);
    assert_eq!(finish(running), 0, "{output}");
    assert!(output.contains("/dev/pts/0\r\n33 99\r\nhello\r\n"), "{output:?}");
}

#[test]
fn hooks_run_where_and_when_they_should() {
    let Some(bed) = bed() else { return };
    let log = bed.dir.join("log");
    let hook = |name: &str, how: &str| Hook {
        path: "/bin/sh".into(),
        args: strings(&["sh", "-c", how, name]),
        env: strings(&["PATH=/bin:/usr/bin"]),
        timeout: Some(5),
    };
    let outside = format!("echo $0 $(cat | grep -o '\"status\":\"[a-z]*\"') >> {}", log.display());
    let mut spec = spec(&["cat", "/started"]);
    spec.hooks = Some(Hooks {
        prestart: vec![hook("prestart", &outside)],
        create_runtime: vec![hook("createRuntime", &outside)],
        create_container: vec![hook("createContainer", &outside)],
        start_container: vec![hook("startContainer", "cat > /started")],
        poststart: vec![hook("poststart", &outside)],
        poststop: vec![hook("poststop", &outside)],
    });
    let bundle = bed.bundle(&spec);
    let (code, output) = run(&bundle);
    assert_eq!(code, 0);
    assert!(output.contains(&format!(r#""id":"{}""#, bed.id)), "{output}");
    assert!(ferry_runtime::run_poststart(&bundle, 1).is_empty());
    assert!(ferry_runtime::run_poststop(&bundle).is_empty());
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "prestart \"status\":\"creating\"\ncreateRuntime \"status\":\"creating\"\n\
         createContainer \"status\":\"created\"\npoststart \"status\":\"running\"\n\
         poststop \"status\":\"stopped\"\n"
    );

    let failing = hook("bad", "echo oh >&2; exit 3");
    spec.hooks = Some(Hooks { create_runtime: vec![failing], ..Hooks::default() });
    let (stdio, _output) = piped();
    let error = create(&bed.bundle(&spec), stdio).unwrap_err().to_string();
    assert!(error.contains("error running createRuntime hook #0: exit status 3"), "{error}");
}

#[test]
fn what_is_never_started_leaves_nothing() {
    let Some(bed) = bed() else { return };
    let spec = spec(&["true"]);
    for wait in [false, true] {
        let (stdio, output) = piped();
        let mut created = create(&bed.bundle(&spec), stdio).unwrap();
        let pid = created.pid();
        if wait {
            created.ready().unwrap();
        }
        created.kill();
        assert_eq!(drain(output), "");
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let Some(bed) = bed() else { return };
    let refused = |change: &dyn Fn(&mut Spec)| {
        let mut spec = spec(&["true"]);
        change(&mut spec);
        let (stdio, _output) = piped();
        create(&bed.bundle(&spec), stdio).unwrap_err().to_string()
    };
    let words = refused(&|spec| {
        let linux = spec.linux.as_mut().unwrap();
        linux.namespaces.push(LinuxNamespace { kind: "space".into(), path: None });
    });
    assert_eq!(words, r#"namespace "space" is not supported"#);
    let words = refused(&|spec| {
        spec.linux.as_mut().unwrap().intel_rdt = Some(Default::default());
    });
    assert_eq!(words, "linux.intelRdt is not supported");
    let words = refused(&|spec| {
        spec.linux.as_mut().unwrap().sysctl.insert("vm.swappiness".into(), "1".into());
    });
    assert_eq!(words, r#"sysctl "vm.swappiness" is not in a separate kernel namespace"#);
}
