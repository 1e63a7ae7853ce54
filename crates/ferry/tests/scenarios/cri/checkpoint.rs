//! Checkpoints: what a container's memory and files were at one instant, in one archive, while the container goes on.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use ferry_cri::api;
use ferry_testkit::{CriOptions, eventually, programs, run};
use serde_json::Value;
use tonic::{Code, Status};

use super::{Bed, client::call, given::alone, on_both_given, userns};

/// Counts in its memory and in a file, and has changed its image.
const COUNTER: &str = "rm /etc/group; i=0; while :; do i=$((i+1)); echo $i > /next; mv /next /count; echo $i; sleep 0.05; done";

/// What every archive has.
const MEMBERS: [&str; 11] = [
    "checkpoint",
    "checkpoint/pstree.img",
    "checkpoint/core-1.img",
    "checkpoint/descriptors.json",
    "config.dump",
    "container.log",
    "dump.log",
    "rootfs-diff.tar",
    "spec.dump",
    "stats-dump",
    "status.dump",
];

/// CRIU itself, and a `PATH` in which it is found. `None` where it is not there, or the kernel does not let it work.
pub(super) fn criu() -> Option<(PathBuf, String)> {
    let program = programs::find("criu")?;
    let works = std::process::Command::new(&program).arg("check").output().unwrap();
    if !works.status.success() {
        programs::may_be_missing("criu");
        eprintln!(
            "SKIPPED: {} check: {}",
            program.display(),
            String::from_utf8_lossy(&works.stderr)
        );
        return None;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    Some((program, path))
}

impl Bed {
    pub(super) fn checkpoint(&self, id: &str, location: &Path, timeout: i64) -> Result<(), Status> {
        let request = api::CheckpointContainerRequest {
            container_id: id.to_owned(),
            location: location.to_string_lossy().into_owned(),
            timeout,
        };
        call!(self.cri, runtime.checkpoint_container(request)).map(drop)
    }

    /// A pod with a container that counts, in process ids of its own.
    pub(super) fn counting(&self, name: &str) -> (String, String) {
        let config = self.pod(name);
        let pod = self.cri.run_pod(config.clone()).unwrap();
        let mut container = self.container("main", COUNTER);
        alone(&mut container);
        let id = self.cri.create(&pod, container, &config).unwrap();
        self.cri.start(&id).unwrap();
        (pod, id)
    }

    /// Which process the program is: its number and when it was started.
    pub(super) fn identity(&self, id: &str) -> String {
        self.cri.output(id, "cut -d' ' -f1,22 /proc/1/stat")
    }

    fn count(&self, id: &str) -> u64 {
        eventually("a number is in the file", || self.cri.output(id, "cat /count").parse().ok())
    }

    #[track_caller]
    pub(super) fn goes_on(&self, id: &str, identity: &str) {
        let before = self.count(id);
        eventually("the container counts", || (self.count(id) > before + 2).then_some(()));
        assert_eq!(self.identity(id), identity, "it is the same process");
        assert!(self.left().is_empty(), "{:?}", self.left());
    }

    /// What is left of checkpoints, where they are made.
    pub(super) fn left(&self) -> BTreeSet<PathBuf> {
        let here = fs::read_dir(&self.directory).unwrap().flatten().map(|it| it.path());
        let hidden =
            |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes().starts_with(b".");
        let mut left: BTreeSet<PathBuf> = here.filter(hidden).collect();
        if let super::Side::Ferry(ferry) = &self.side {
            let places = fs::read_dir(ferry.dir().join("data/checkpoints"));
            left.extend(places.into_iter().flatten().flatten().map(|it| it.path()));
        }
        left
    }
}

/// A daemon of ours that finds programs in this `PATH`.
pub(super) fn ours(path: &str) -> Bed {
    let bed = Bed::prepared(&[]);
    bed.ferry().set_env("PATH", path);
    bed.ferry().start_daemon(None);
    bed.ferry().busybox();
    bed
}

pub(super) fn members(archive: &Path) -> BTreeSet<String> {
    let list = run(std::process::Command::new("tar").arg("-tf").arg(archive)).ok();
    list.lines().map(|line| line.trim_end_matches('/').to_owned()).collect()
}

fn unpack(archive: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    run(std::process::Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(to)).ok();
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Runs a scenario on both where there is a CRIU that works.
fn with_criu(scenario: impl Fn(&Bed)) {
    let Some((_, path)) = criu() else { return };
    let options = CriOptions { path: Some(path.clone()), ..CriOptions::default() };
    on_both_given(&options, || ours(&path), scenario);
}

#[test]
fn a_container_is_written_down_and_goes_on() {
    with_criu(|bed| {
        let (pod, id) = bed.counting("written");
        let (identity, before) = (bed.identity(&id), bed.count(&id));
        let archive = bed.directory.join("one.tar");
        bed.checkpoint(&id, &archive, 0).unwrap();
        bed.goes_on(&id, &identity);

        let mode = fs::metadata(&archive).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "it has the memory of a program");
        let names = members(&archive);
        for name in MEMBERS {
            assert!(names.contains(name), "{name}: {names:?}");
        }
        let tree = bed.directory.join("tree");
        unpack(&archive, &tree);
        described(&tree, &pod, &id, bed);
        let files = bed.directory.join("files");
        unpack(&tree.join("rootfs-diff.tar"), &files);
        let count: u64 = fs::read_to_string(files.join("count")).unwrap().trim().parse().unwrap();
        assert!(count >= before, "{count} {before}");
        assert!(files.join("etc/.wh.group").exists(), "what is removed is in the difference");
        let log = fs::read_to_string(tree.join("container.log")).unwrap();
        assert!(log.contains(&format!(" stdout F {before}\n")), "{log}");
        if bed.is_ours() {
            assert_eq!(json(&tree.join("deleted.files")), serde_json::json!(["/etc/group"]));
        }
        // Again, over what is there.
        bed.checkpoint(&id, &archive, 60).unwrap();
        let again = members(&archive);
        assert!(MEMBERS.iter().all(|name| again.contains(*name)), "{again:?}");
        bed.goes_on(&id, &identity);
    });
}

/// What says whose archive it is.
fn described(tree: &Path, pod: &str, id: &str, bed: &Bed) {
    let config = json(&tree.join("config.dump"));
    assert_eq!(config["id"].as_str(), Some(id));
    assert_eq!(config["rootfsImageName"].as_str(), Some(bed.image.as_str()));
    for time in ["createdTime", "checkpointedTime"] {
        assert!(config[time].as_str().unwrap().starts_with("20"), "{config}");
    }
    let spec = json(&tree.join("spec.dump"));
    assert_eq!(spec["annotations"]["io.kubernetes.cri.sandbox-id"].as_str(), Some(pod));
    assert_eq!(spec["annotations"]["io.kubernetes.cri.container-name"].as_str(), Some("main"));
    assert_eq!(spec["process"]["args"][2].as_str(), Some(COUNTER));
    let status = json(&tree.join("status.dump"));
    assert_eq!(status["metadata"]["name"].as_str(), Some("main"));
    assert_eq!((status["id"].as_str(), status["state"].as_i64()), (Some(id), Some(1)));
    assert_eq!(status["labels"]["role"].as_str(), Some("main"));
    assert!(status["log_path"].as_str().unwrap().ends_with("main.log"), "{status}");
}

#[test]
fn what_cannot_be_written_down_is_refused_in_words() {
    // Nothing there but the shell's own programs, and no CRIU.
    let bed = ours("/nowhere");
    let (_, id) = bed.counting("refused");
    let refused = |id: &str, location: &Path, timeout: i64| {
        let refused = bed.checkpoint(id, location, timeout).unwrap_err();
        (refused.code(), refused.message().to_owned())
    };
    let good = bed.directory.join("one.tar");
    let cases = [
        ("", Code::InvalidArgument, "location is required"),
        ("one.tar", Code::InvalidArgument, "must be an absolute path"),
        ("/tmp", Code::InvalidArgument, "is a directory"),
        ("/nowhere/one.tar", Code::InvalidArgument, "in no directory that exists"),
    ];
    for (location, code, words) in cases {
        let (seen, said) = refused(&id, Path::new(location), 0);
        assert!(seen == code && said.contains(words), "{location}: {seen:?} {said}");
    }
    assert_eq!(refused(&id, &good, -1).0, Code::InvalidArgument);
    assert_eq!(refused("nobody", &good, 0).0, Code::NotFound);
    if !["/sbin", "/usr/sbin", "/usr/local/sbin"]
        .iter()
        .any(|it| Path::new(it).join("criu").exists())
    {
        let (code, said) = refused(&id, &good, 0);
        assert!(
            code == Code::FailedPrecondition && said.contains("install criu"),
            "{code:?} {said}"
        );
    }
    bed.cri.stop(&id, 0).unwrap();
    let (code, said) = refused(&id, &good, 0);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(said.contains("only running containers can be checkpointed"), "{said}");
    assert!(!good.exists() && bed.left().is_empty());
}

/// runc's bundle of an archive: the image with what the container has changed, and its specification with places that exist still.
fn bundle(tree: &Path, to: &Path) {
    let root = to.join("rootfs");
    unpack(&ferry_testkit::images::busybox_tar(), &root);
    unpack(&tree.join("rootfs-diff.tar"), &root);
    for directory in ["dev", "proc", "sys"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in ["hosts", "hostname", "resolv.conf"] {
        fs::write(root.join("etc").join(file), "").unwrap();
    }
    // Whoever counts from the beginning writes a small number.
    fs::remove_file(root.join("count")).unwrap();
    let mut spec = json(&tree.join("spec.dump"));
    spec["root"]["path"] = root.to_string_lossy().into();
    let name = to.file_name().unwrap().to_string_lossy().into_owned();
    spec["linux"]["cgroupsPath"] = format!("/ferry-{name}-{}", std::process::id()).into();
    for mount in spec["mounts"].as_array_mut().unwrap() {
        if mount["destination"] == "/dev/shm" {
            let shm = to.join("shm");
            fs::create_dir_all(&shm).unwrap();
            mount["source"] = shm.to_string_lossy().into();
        }
    }
    fs::write(to.join("config.json"), spec.to_string()).unwrap();
}

#[test]
fn what_was_written_down_goes_on_elsewhere() {
    let Some((_, path)) = criu() else { return };
    let Some([runc, _mount]) = programs::all(["runc", "mount"]) else { return };
    let bed = ours(&path);
    let (_, id) = bed.counting("again");
    eventually("it has counted for a while", || (bed.count(&id) > 20).then_some(()));
    let archive = bed.directory.join("one.tar");
    bed.checkpoint(&id, &archive, 0).unwrap();
    let tree = bed.directory.join("tree");
    unpack(&archive, &tree);
    let files = bed.directory.join("files");
    unpack(&tree.join("rootfs-diff.tar"), &files);
    let written: u64 = fs::read_to_string(files.join("count")).unwrap().trim().parse().unwrap();
    let again = bed.directory.join("again");
    bundle(&tree, &again);

    // Debian's runc brings the memory back, in the namespaces of the pod; its root must be a mount.
    let call = |words: &[&str]| {
        // What is restored has these files, too: nobody waits for the end of a pipe.
        let said = fs::File::create(bed.directory.join("runc.log")).unwrap();
        let mut command = std::process::Command::new(&runc);
        command.env("PATH", &path).arg("--root").arg(bed.directory.join("state")).args(words);
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        command.status().unwrap().success()
    };
    let (root, images) = (again.join("rootfs"), tree.join("checkpoint"));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    run(std::process::Command::new("mount").arg("--bind").arg(&root).arg(&root)).ok();
    let restored = call(&[
        "restore",
        "--detach",
        "--bundle",
        &text(&again),
        "--image-path",
        &text(&images),
        "--work-path",
        &text(&bed.directory.join("work")),
        "again",
    ]);
    let log = fs::read_to_string(bed.directory.join("work/restore.log")).unwrap_or_default();
    let count = restored.then(|| {
        eventually("it counts again", || {
            fs::read_to_string(root.join("count")).ok()?.trim().parse::<u64>().ok()
        })
    });
    let said = fs::read_to_string(bed.directory.join("runc.log")).unwrap();
    call(&["delete", "--force", "again"]);
    run(std::process::Command::new("umount").arg("--lazy").arg(&root)).ok();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("Error")).collect();
    let count = count.unwrap_or_else(|| panic!("{said} {errors:?}"));
    assert!(count > written, "{count} follows {written}");
}

#[test]
fn what_containers_of_a_pod_have_is_written_down_with_them() {
    with_criu(|bed| {
        let volume = bed.directory.join("volume");
        fs::create_dir_all(&volume).unwrap();
        fs::write(volume.join("here"), "mine\n").unwrap();
        let config = bed.pod("rich");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        // Process ids of the whole pod, a volume, an open file in it and one without a name.
        let script = "exec 5</volume/here; echo gone > /tmp/gone; exec 6<>/tmp/gone; rm /tmp/gone; \
            i=0; while :; do i=$((i+1)); echo $i > /next; mv /next /count; sleep 0.05; done";
        let mut container = bed.container("main", script);
        container.mounts = vec![api::Mount {
            container_path: "/volume".to_owned(),
            host_path: volume.to_string_lossy().into_owned(),
            ..api::Mount::default()
        }];
        let id = bed.cri.create(&pod, container, &config).unwrap();
        bed.cri.start(&id).unwrap();
        bed.count(&id);
        let archive = bed.directory.join("one.tar");
        bed.checkpoint(&id, &archive, 0).unwrap();
        let names = members(&archive);
        let ghost = |name: &String| name.contains("ghost-file");
        assert!(names.iter().any(ghost), "{names:?}");
        let before = bed.count(&id);
        eventually("the container counts", || (bed.count(&id) > before).then_some(()));
    });
}

#[test]
fn terminals_connections_and_ids_of_their_own() {
    let Some((_, path)) = criu() else { return };
    let bed = ours(&path);
    let written = |name: &str, config: &api::PodSandboxConfig, container: api::ContainerConfig| {
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let id = bed.cri.create(&pod, container, config).unwrap();
        bed.cri.start(&id).unwrap();
        bed.count(&id);
        let archive = bed.directory.join(format!("{name}.tar"));
        bed.checkpoint(&id, &archive, 0).unwrap_or_else(|refused| panic!("{name}: {refused}"));
        let before = bed.count(&id);
        eventually("the container counts", || (bed.count(&id) > before).then_some(()));
        assert!(members(&archive).contains("checkpoint/pstree.img"), "{name}");
        (id, archive)
    };
    let count = "i=0; while :; do i=$((i+1)); echo $i > /next; mv /next /count; sleep 0.05; done";

    let mut terminal = bed.container("main", count);
    (terminal.tty, terminal.stdin) = (true, true);
    written("terminal", &bed.pod("terminal"), terminal);

    let script = "nc -l -p 99 -e sleep 1000 & sleep 0.2; sleep 1000 | nc 127.0.0.1 99 & \
        until cat /proc/net/tcp /proc/net/tcp6 | grep -q ' 01 '; do sleep 0.05; done";
    let connected = bed.container("main", &format!("{script}; {count}"));
    let (id, _) = written("connected", &bed.pod("connected"), connected);
    let ends = bed.cri.output(&id, "cat /proc/net/tcp /proc/net/tcp6 | grep -c ' 01 '");
    assert_eq!(ends, "2", "both ends are connected still");

    let config = userns::pod(&bed, "ids");
    let mut mapped = userns::container(&bed, "main");
    mapped.command = bed.container("main", count).command;
    written("ids", &config, mapped);
}
