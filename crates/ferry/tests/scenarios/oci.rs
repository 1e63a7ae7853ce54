//! `ferry oci`, used as podman, containerd and a person would: bundles, terminals, hooks, errors, and a crash in the middle.

use std::{
    cell::Cell,
    io::{IoSliceMut, Read},
    os::{
        fd::OwnedFd,
        unix::{fs::symlink, net::UnixListener},
    },
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{Run, binary, eventually, images, programs, run};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

/// A bundle, and a directory of containers that is its own.
struct Bed {
    dir: PathBuf,
    cgroup: String,
    count: Cell<u32>,
}

impl Bed {
    fn new(name: &str) -> Bed {
        let cgroup = format!("ferry-oci-{}-{name}", std::process::id());
        let dir = PathBuf::from(format!("/var/tmp/{cgroup}"));
        std::fs::create_dir_all(dir.join("rootfs")).unwrap();
        let tar = images::busybox_tar();
        run(Command::new("tar").arg("xf").arg(tar).arg("-C").arg(dir.join("rootfs"))).ok();
        let bed = Bed { dir, cgroup, count: Cell::new(0) };
        bed.oci(&["spec"]).ok();
        bed
    }

    /// Writes the configuration with a shell script to run and whatever `change` does to it.
    fn configure(&self, script: &str, change: impl FnOnce(&mut Value)) {
        let file = self.dir.join("config.json");
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(self.dir.join("config.json")).unwrap()).unwrap();
        config["process"]["args"] = json!(["sh", "-c", script]);
        config["process"]["terminal"] = json!(false);
        config["root"]["readonly"] = json!(false);
        let number = self.count.replace(self.count.get() + 1);
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{number}", self.cgroup));
        change(&mut config);
        std::fs::write(file, config.to_string()).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .current_dir(&self.dir)
            .arg("oci")
            .arg("--root")
            .arg(self.dir.join("state"))
            .args(args);
        command
    }

    fn oci(&self, args: &[&str]) -> Run {
        run(&mut self.command(args))
    }

    /// For what must not keep a pipe of the test's open.
    fn quietly(&self, args: &[&str]) {
        let output = std::fs::File::create(self.dir.join("output")).unwrap();
        let status =
            self.command(args).stdout(output.try_clone().unwrap()).stderr(output).status().unwrap();
        assert!(status.success(), "{args:?}: {}", self.output());
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.dir.join("output")).unwrap()
    }

    fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.oci(&["state", id]).ok()).unwrap()
    }

    fn group(&self, controller: &str, file: &str) -> String {
        let number = self.count.get() - 1;
        let path = format!("/sys/fs/cgroup/{controller}/{}/{number}/{file}", self.cgroup);
        std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    }

    /// Nothing of any container may be left.
    fn is_clean(&self) {
        let left = std::fs::read_dir(self.dir.join("state")).into_iter().flatten().count();
        assert_eq!(left, 0, "containers are left");
        for controller in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let parent = controller.path().join(&self.cgroup);
            let groups = std::fs::read_dir(&parent).into_iter().flatten().flatten();
            let groups: Vec<_> =
                groups.filter(|entry| entry.path().is_dir()).map(|entry| entry.path()).collect();
            assert!(groups.is_empty(), "{groups:?}");
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for id in self.oci(&["list", "-q"]).stdout.lines() {
            self.oci(&["delete", "--force", id]);
        }
        for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            // podman leaves that of its own helper.
            std::fs::remove_dir(controller.path().join(&self.cgroup).join("conmon")).ok();
            std::fs::remove_dir(controller.path().join(&self.cgroup)).ok();
        }
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

#[test]
fn a_container_lives_from_create_to_delete() {
    let bed = Bed::new("life");
    bed.configure("echo began > /began; exec sleep 1000", |_| {});
    bed.quietly(&["create", "--pid-file", "pid", "one"]);
    let state = bed.state("one");
    let pid = std::fs::read_to_string(bed.dir.join("pid")).unwrap();
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"].to_string(), pid);
    assert_eq!(state["bundle"], bed.dir.to_str().unwrap());
    assert!(!bed.dir.join("rootfs/began").exists(), "nothing runs yet");
    bed.oci(&["create", "one"]).fails(1).says("container with given ID already exists");
    bed.oci(&["start", "one"]).ok();
    eventually("it runs", || bed.dir.join("rootfs/began").exists().then_some(()));
    assert_eq!(bed.state("one")["status"], "running");
    bed.oci(&["start", "one"]).fails(1).says("cannot start an already running container");
    bed.oci(&["delete", "one"])
        .fails(1)
        .says("cannot delete container one that is not stopped: running");
    assert_eq!(bed.oci(&["list", "-q"]).ok(), "one");
    assert!(bed.oci(&["list"]).ok().contains(&format!("one         {pid}")));
    assert_eq!(bed.oci(&["ps", "--format", "json", "one"]).ok(), format!("[{pid}]"));
    assert!(bed.oci(&["ps", "one"]).ok().contains("sleep 1000"));
    processes(&bed);
    limits(&bed);
    bed.oci(&["kill", "one", "FOO"]).fails(1).says("unknown signal");
    bed.oci(&["kill", "one", "KILL"]).ok();
    eventually("it ends", || (bed.state("one")["status"] == "stopped").then_some(()));
    assert_eq!(bed.state("one")["pid"], 0);
    bed.oci(&["kill", "one"]).fails(1).says("container not running");
    bed.oci(&["exec", "one", "true"]).fails(255).says("cannot exec in a stopped container");
    bed.oci(&["start", "one"]).fails(1).says("cannot start a container that has stopped");
    bed.oci(&["delete", "one"]).ok();
    bed.oci(&["state", "one"]).fails(1).says("container does not exist");
    bed.oci(&["delete", "--force", "one"]).ok();
    bed.is_clean();
}

fn processes(bed: &Bed) {
    let script = "id -u; id -g; pwd; echo $A; exit 4";
    let seen = bed
        .oci(&["exec", "-u", "50:60", "--cwd", "/tmp", "--env", "A=b", "one", "sh", "-c", script]);
    assert_eq!(seen.fails(4).stdout, "50\n60\n/tmp\nb\n");
    bed.oci(&["exec", "one", "nope"]).fails(255).says(
        r#"exec failed: unable to start container process: exec: \"nope\": executable file not found in $PATH"#,
    );
    let process = json!({"args": ["sh", "-c", "echo $0 > /executed; exec sleep 1000"], "cwd": "/",
        "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    std::fs::write(bed.dir.join("process.json"), process.to_string()).unwrap();
    bed.quietly(&[
        "exec",
        "--detach",
        "--process",
        "process.json",
        "--pid-file",
        "exec.pid",
        "one",
    ]);
    let pid = std::fs::read_to_string(bed.dir.join("exec.pid")).unwrap();
    eventually("it executes", || bed.dir.join("rootfs/executed").exists().then_some(()));
    assert!(bed.oci(&["ps", "--format", "json", "one"]).ok().contains(&pid));
    bed.oci(&["kill", "--all", "one", "0"]).ok();
}

fn limits(bed: &Bed) {
    bed.oci(&["pause", "one"]).ok();
    assert_eq!(bed.state("one")["status"], "paused");
    bed.oci(&["exec", "one", "true"]).fails(255).says("cannot exec in a paused container");
    bed.oci(&["resume", "one"]).ok();
    bed.oci(&["resume", "one"]).fails(1).says("container not paused");
    bed.oci(&["update", "--memory", "20M", "--memory-swap", "20M", "--pids-limit", "30", "one"])
        .ok();
    std::fs::write(bed.dir.join("more.json"), r#"{"cpu": {"quota": 50000, "period": 100000}}"#)
        .unwrap();
    bed.oci(&["update", "-r", "more.json", "one"]).ok();
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        assert_eq!(bed.group("", "memory.max"), "20971520");
    } else {
        assert_eq!(bed.group("memory", "memory.limit_in_bytes"), "20971520");
        assert_eq!(bed.group("pids", "pids.max"), "30");
        assert_eq!(bed.group("cpu", "cpu.cfs_quota_us"), "50000");
    }
    let stats: Value = serde_json::from_str(&bed.oci(&["events", "--stats", "one"]).ok()).unwrap();
    assert_eq!(stats["type"], "stats");
    assert_eq!(stats["data"]["memory"]["usage"]["limit"], 20_971_520);
    assert_eq!(stats["data"]["pids"]["limit"], 30);
}

#[test]
fn run_waits_and_cleans_up() {
    let bed = Bed::new("run");
    bed.configure("echo out; echo err >&2; exit 7", |_| {});
    let seen = bed.oci(&["run", "one"]).fails(7).says("err");
    assert_eq!(seen.stdout, "out\n");
    bed.is_clean();
    bed.quietly(&["run", "--detach", "two"]);
    eventually("it ends", || (bed.state("two")["status"] == "stopped").then_some(()));
    bed.oci(&["delete", "two"]).ok();
    bed.configure("x", |config| config["process"]["args"] = json!(["/nope"]));
    let words = r#"unable to start container process: error during container init: exec: \"/nope\": stat /nope: no such file or directory"#;
    bed.oci(&["run", "three"]).fails(1).says(words);
    bed.oci(&["create", "three"]).fails(1).says(words);
    let log = bed.dir.join("log");
    run(bed.command(&[]).args([
        "--log",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "run",
        "four",
    ]))
    .fails(1);
    let line: Value = serde_json::from_str(&std::fs::read_to_string(log).unwrap()).unwrap();
    assert_eq!(line["level"], "error");
    bed.is_clean();
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    let bed = Bed::new("console");
    bed.configure("tty; stty size; cat", |config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({"height": 33, "width": 77});
    });
    bed.oci(&["create", "one"]).fails(1).says("without setting console socket");
    let socket = bed.dir.join("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    bed.quietly(&["create", "--console-socket", socket.to_str().unwrap(), "one"]);
    let master = receive(&listener);
    bed.oci(&["start", "one"]).ok();
    let mut terminal = std::fs::File::from(master);
    let mut seen = String::new();
    eventually("the terminal shows where it is", || {
        let mut buffer = [0; 1024];
        let count = terminal.read(&mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        (seen.contains("/dev/pts/0") && seen.contains("33 77")).then_some(())
    });
    bed.quietly(&["exec", "-t", "-d", "--console-socket", socket.to_str().unwrap(), "one", "tty"]);
    let mut said = String::new();
    // The end of a terminal without processes is an error.
    std::fs::File::from(receive(&listener)).read_to_string(&mut said).ok();
    assert!(said.starts_with("/dev/pts/"), "{said:?}");
    bed.oci(&["delete", "--force", "one"]).ok();
    bed.is_clean();
    let Some(script) = programs::find("script") else { return };
    let line = format!(
        "stty rows 40 cols 90; {} oci --root {} run two",
        binary().display(),
        bed.dir.join("state").display()
    );
    bed.configure("tty; stty size; exit 3", |config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = Value::Null;
    });
    let seen =
        run(Command::new(script).current_dir(&bed.dir).args(["-qec", &line, "/dev/null"])).fails(3);
    assert!(seen.stdout.contains("/dev/pts/0"), "{seen}");
    bed.is_clean();
}

/// The descriptor that somebody sends there.
fn receive(listener: &UnixListener) -> OwnedFd {
    let (stream, _) = listener.accept().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 64];
    recvmsg(&stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .unwrap();
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fd.unwrap()
}

#[test]
fn hooks_run_in_their_order() {
    let bed = Bed::new("hooks");
    std::fs::create_dir_all(bed.dir.join("rootfs/hooks")).unwrap();
    let log = bed.dir.join("rootfs/hooks/log");
    let outside = |name: &str| {
        let script =
            format!("grep -o '\"status\":\"[a-z]*\"' | sed 's/^/{name} /' >> {}", log.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let inside = json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null; echo startContainer >> /hooks/log"]}]);
    bed.configure("echo program >> /hooks/log", |config| {
        config["hooks"] = json!({
            "prestart": outside("prestart"),
            "createRuntime": outside("createRuntime"),
            "createContainer": outside("createContainer"),
            "startContainer": inside,
            "poststart": outside("poststart"),
            "poststop": outside("poststop"),
        });
    });
    bed.quietly(&["create", "one"]);
    let lines =
        || std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let created = [
        "prestart \"status\":\"creating\"",
        "createRuntime \"status\":\"creating\"",
        "createContainer \"status\":\"created\"",
    ];
    assert_eq!(lines(), created);
    bed.oci(&["start", "one"]).ok();
    eventually("it ends", || (bed.state("one")["status"] == "stopped").then_some(()));
    bed.oci(&["delete", "one"]).ok();
    let all = lines();
    assert_eq!(all[3], "startContainer");
    let mut last: Vec<&str> = all[4..].iter().map(String::as_str).collect();
    assert_eq!(last.pop(), Some("poststop \"status\":\"stopped\""));
    last.sort_unstable();
    assert_eq!(last, ["poststart \"status\":\"running\"", "program"]);
    bed.configure("true", |config| {
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo because >&2; exit 5"]}]});
    });
    bed.oci(&["create", "two"])
        .fails(1)
        .says("error running createRuntime hook #0: exit status 5")
        .says("because");
    bed.is_clean();
}

#[test]
fn descriptors_are_kept_or_closed() {
    let bed = Bed::new("fds");
    std::fs::write(bed.dir.join("text"), "kept\n").unwrap();
    let with_file = |options: &str| {
        let line = format!(
            "exec {} oci --root {} run {options} one 3<text 4<text",
            binary().display(),
            bed.dir.join("state").display()
        );
        run(Command::new("sh").current_dir(&bed.dir).args(["-c", &line]))
    };
    bed.configure("cat <&3; ls /proc/self/fd | tr '\\n' ' '", |_| {});
    assert!(with_file("--preserve-fds 1").ok().starts_with("kept\n0 1 2 3 "), "4 is closed");
    bed.configure("ls /proc/self/fd | tr '\\n' ' '", |_| {});
    // The last is the directory that is listed.
    assert_eq!(with_file("").ok(), "0 1 2 3");
    bed.is_clean();
}

#[test]
fn parts_of_the_specification() {
    let bed = Bed::new("parts");
    std::fs::create_dir_all(bed.dir.join("rootfs/seed/below")).unwrap();
    std::fs::write(bed.dir.join("rootfs/seed/below/file"), "copied").unwrap();
    let script = "readlink /proc/self/ns/time; cat /seed/below/file; rm -r /seed/below; ls /seed | wc -l; cat /proc/1/oom_score_adj; umask; cat /etc/hello";
    std::fs::write(bed.dir.join("hello"), "from the bundle").unwrap();
    bed.configure(script, |config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
        config["process"]["oomScoreAdj"] = json!(77);
        config["process"]["user"]["umask"] = json!(0o27);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/seed", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
        mounts.push(json!({"destination": "/etc/hello", "type": "bind", "source": "hello", "options": ["bind", "ro"]}));
    });
    let seen = bed.oci(&["run", "one"]).ok();
    let (time, rest) = seen.split_once('\n').unwrap();
    assert_ne!(time, std::fs::read_link("/proc/self/ns/time").unwrap().to_str().unwrap());
    assert_eq!(rest, "copied0\n77\n0027\nfrom the bundle");
    assert!(bed.dir.join("rootfs/seed/below/file").exists(), "the bundle is as it was");
    for (words, change) in [
        ("linux.intelRdt is not supported", json!({"linux": {"intelRdt": {}}})),
        (
            "linux.seccomp.listenerPath is not supported",
            json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}}}),
        ),
        (
            "namespace \\\"space\\\" is not supported",
            json!({"linux": {"namespaces": [{"type": "mount"}, {"type": "space"}]}}),
        ),
        (
            "time namespace isn't enabled",
            json!({"linux": {"namespaces": [{"type": "mount"}], "timeOffsets": {"boottime": {"secs": 1}}}}),
        ),
        ("unsupported spec version", json!({"ociVersion": "3.0.0"})),
        ("Cwd must be an absolute path", json!({"process": {"cwd": "x"}})),
    ] {
        let file = bed.dir.join("config.json");
        let before = std::fs::read(&file).unwrap();
        bed.configure("true", |config| {
            for (part, value) in change.as_object().unwrap() {
                match value.as_object() {
                    Some(members) => {
                        for (name, value) in members {
                            config[part][name] = value.clone();
                        }
                    }
                    None => config[part] = value.clone(),
                }
            }
        });
        bed.oci(&["create", "two"]).fails(1).says(words);
        std::fs::write(&file, before).unwrap();
    }
    if !Path::new("/run/systemd/system").exists() {
        bed.oci(&["--systemd-cgroup", "list"])
            .fails(1)
            .says("systemd support for managing cgroups is not available");
    }
    bed.oci(&["checkpoint", "one"]).fails(3).says("checkpoint is not supported");
    bed.oci(&["frob"]).fails(3).says("No help topic for 'frob'");
    bed.oci(&["create", "a/b"]).fails(1).says("invalid container ID format");
    let features: Value = serde_json::from_str(&bed.oci(&["features"]).ok()).unwrap();
    assert_eq!(features["ociVersionMax"], "1.2.1");
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert!(bed.oci(&["--version"]).ok().starts_with("ferry-oci version "));
    bed.is_clean();
}

#[test]
fn a_mount_may_show_other_ids() {
    let bed = Bed::new("idmap");
    let volume = bed.dir.join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::os::unix::fs::chown(&volume, Some(5000), Some(6000)).unwrap();
    bed.configure("stat -c %u:%g /volume; touch /volume/new", |config| {
        let map = |on_disk: u32| json!([{"containerID": on_disk, "hostID": 0, "size": 1}]);
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/volume", "type": "bind", "source": "volume", "options": ["bind"],
            "uidMappings": map(5000), "gidMappings": map(6000),
        }));
    });
    assert_eq!(bed.oci(&["run", "one"]).ok(), "0:0");
    let new = std::fs::metadata(volume.join("new")).unwrap();
    let owner =
        (std::os::unix::fs::MetadataExt::uid(&new), std::os::unix::fs::MetadataExt::gid(&new));
    assert_eq!(owner, (5000, 6000));
    bed.is_clean();
}

#[test]
fn a_killed_create_can_be_deleted() {
    let bed = Bed::new("crash");
    // The hook ends the runtime while its container is half made.
    bed.configure("sleep 1000", |config| {
        config["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID; sleep 1"]}]});
    });
    let status = bed.command(&["create", "one"]).status().unwrap();
    assert!(!status.success());
    eventually("what was half made has died with its maker", || {
        let is_empty = bed.group("memory", "cgroup.procs").is_empty();
        (is_empty && bed.state("one")["status"] == "stopped").then_some(())
    });
    bed.oci(&["delete", "one"]).ok();
    bed.is_clean();
    bed.configure("sleep 1000", |config| config["hooks"] = Value::Null);
    bed.quietly(&["create", "--pid-file", "pid", "two"]);
    let pid: i32 = std::fs::read_to_string(bed.dir.join("pid")).unwrap().parse().unwrap();
    bed.oci(&["delete", "two"]).ok();
    let gone = || {
        !Path::new(&format!("/proc/{pid}/cmdline")).exists()
            || std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
    };
    eventually("it waits no more", || gone().then_some(()));
    bed.is_clean();
}

#[test]
fn podman_uses_it() {
    let Some([podman, conmon]) = programs::all(["podman", "conmon"]) else { return };
    let bed = Bed::new("podman");
    let (program, parent) = (bed.dir.join("ferry-oci"), format!("--cgroup-parent=/{}", bed.cgroup));
    symlink(binary(), &program).unwrap();
    let podman = |args: &[&str]| {
        let mut command = Command::new(&podman);
        for (option, name) in [("--root", "storage"), ("--runroot", "runroot"), ("--tmpdir", "tmp")]
        {
            command.arg(option).arg(bed.dir.join(name));
        }
        command.args([
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
        ]);
        command.arg("--conmon").arg(&conmon).arg("--runtime").arg(&program);
        run(command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1").args(args))
    };
    // Limits that any root may set.
    let options =
        ["--network=none", "--ulimit=nofile=1000:1000", "--ulimit=nproc=1000:1000", &parent];
    let start = |words: &[&str], args: &[&str]| podman(&[words, &options, args].concat());
    podman(&["import", images::busybox_tar().to_str().unwrap(), "busybox"]).ok();
    // Debian's podman of 2022 takes twenty seconds to attach or wait to the end of a container, whatever the runtime.
    let script = "hostname; touch /etc/x && cat /etc/group; exit 7";
    let options = ["run", "-d", "--name=brief", "-h", "box", "--read-only", "--tmpfs=/etc"];
    start(&options, &["busybox", "sh", "-c", script]).ok();
    // Listing looks at what the runtime says.
    let list = ["ps", "-a", "--format", "{{.Status}}"];
    eventually("it ends", || podman(&list).ok().starts_with("Exited (7)").then_some(()));
    let said = podman(&["logs", "brief"]).ok();
    assert!(
        said.starts_with("box\nroot:x:0:"),
        "{said:?}: a tmpfs of podman begins with what it covers"
    );
    podman(&["rm", "brief"]).ok();
    start(&["run", "--rm"], &["busybox", "nope"]).fails(127).says("executable file not found");
    start(&["run", "--rm"], &["busybox", "/etc/passwd"]).fails(126).says("permission denied");
    start(&["run", "-d", "--name=life"], &["busybox", "sh", "-c", "echo up; sleep 1000"]).ok();
    assert_eq!(podman(&["exec", "-u", "nobody", "life", "id", "-un"]).ok(), "nobody");
    podman(&["exec", "life", "sh", "-c", "exit 9"]).fails(9);
    eventually("it has said so", || (podman(&["logs", "life"]).ok() == "up").then_some(()));
    podman(&["pause", "life"]).ok();
    podman(&["unpause", "life"]).ok();
    podman(&["stop", "-t", "1", "life"]).ok();
    assert_eq!(podman(&["inspect", "-f", "{{.State.ExitCode}}", "life"]).ok(), "137");
    podman(&["start", "life"]).ok();
    podman(&["rm", "-f", "-t", "0", "life"]).ok();
    // podman leaves its own mounts of its storage.
    for mount in ["storage/vfs", "storage", "runroot"] {
        run(Command::new("umount").arg("-l").arg(bed.dir.join(mount)));
    }
}
