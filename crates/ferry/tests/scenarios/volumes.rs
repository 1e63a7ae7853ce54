//! Volumes and bind mounts: FEATURES A29, A37, A38.

use std::os::unix::{
    fs::{MetadataExt, PermissionsExt},
    process::CommandExt,
};

use ferry_testkit::{Client, run};

use crate::with_busybox;

through_all!(
    named_volumes_keep_data,
    copy_up,
    bind_mounts,
    anonymous_volumes,
    read_only_and_refusals,
    parts_of_volumes
);

/// `volume-subpath`: what it leads to when the container starts. Links are followed inside the volume alone.
fn parts_of_volumes(client: Client) {
    let sandbox = with_busybox(client);
    let mount = |part: &str| format!("type=volume,source=parted,target=/m,volume-subpath={part}");
    let inside = |script: &str| {
        let flags = ["run", "--rm", "-v", "parted:/v", "busybox", "sh", "-c", script];
        sandbox.ok(&flags)
    };
    inside("mkdir -p /v/a/b && echo deep > /v/a/b/f && echo top > /v/f");
    let list = |part: &str| {
        sandbox.run(&["run", "--rm", "--mount", &mount(part), "busybox", "cat", "/m/f"])
    };
    assert_eq!(list("a/b").ok().trim(), "deep");
    inside("ln -s a/b /v/inner; ln -s ../../../../../../etc /v/outer; ln -s /etc /v/absolute");
    assert_eq!(list("inner").ok().trim(), "deep");
    for part in ["outer", "absolute"] {
        list(part).fails(125).says("path concatenation escapes the base directory");
    }
    list("../parted").fails(125).says("subpath must be a relative path within the volume");

    let late = ["create", "--name", "late", "--mount", &mount("later"), "busybox", "cat", "/m/f"];
    sandbox.ok(&late);
    sandbox.run(&["start", "-a", "late"]).fails(1).says("later: no such file or directory");
    assert_eq!(sandbox.inspect("late", "{{.State.Status}}"), "created");
    let whole = sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "parted"]);
    assert_eq!(sandbox.inspect("late", "{{(index .Mounts 0).Source}}"), whole);
    inside("mkdir /v/later && echo come > /v/later/f");
    assert_eq!(sandbox.ok(&["start", "-a", "late"]).trim(), "come");
    inside("rm -r /v/later && ln -s /etc /v/later");
    sandbox.run(&["start", "-a", "late"]).fails(1).says("escapes the base directory");
    sandbox.ok(&["rm", "late"]);
    sandbox.ok(&["volume", "rm", "parted"]);
}

fn named_volumes_keep_data(client: Client) {
    let sandbox = with_busybox(client);
    assert_eq!(sandbox.ok(&["volume", "create", "my-volume"]), "my-volume");
    sandbox.ok(&[
        "run",
        "--rm",
        "-v",
        "my-volume:/data",
        "busybox",
        "sh",
        "-c",
        "echo kept > /data/f",
    ]);
    assert_eq!(
        sandbox.ok(&[
            "run",
            "--rm",
            "--mount",
            "source=my-volume,target=/d",
            "busybox",
            "cat",
            "/d/f"
        ]),
        "kept"
    );
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "my-volume");
    let place = sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "my-volume"]);
    // Docker's daemon may have another root directory.
    let is_here = client != Client::FerryOnDocker;
    if is_here {
        assert_eq!(std::fs::read_to_string(format!("{place}/f")).unwrap(), "kept\n");
    }
    sandbox.ok(&["create", "--name", "user", "-v", "my-volume:/data", "busybox"]);
    sandbox.ok(&["run", "-d", "--name", "runs", "-v", "my-volume:/d", "busybox", "sleep", "1000"]);
    let users = ["user", "runs"].map(|name| sandbox.inspect(name, "{{.Id}}"));
    let refused = sandbox.run(&["volume", "rm", "my-volume"]).fails(1);
    let refused = refused.says("remove my-volume: volume is in use - [");
    // In any order.
    let refused = users.iter().fold(refused, |refused, id| refused.says(id));
    // Docker's command line prints no hints.
    if client == Client::Ferry {
        refused.says("hint: these containers have it: runs, user");
    }
    sandbox.ok(&["rm", "-f", "user", "runs"]);
    assert_eq!(sandbox.ok(&["volume", "rm", "my-volume"]), "my-volume");
    assert!(!std::path::Path::new(&place).exists());
}

fn copy_up(client: Client) {
    let sandbox = with_busybox(client);
    let list = "cd /etc; stat -c '%n %a %u' group passwd";
    let image = sandbox.ok(&["run", "--rm", "busybox", "sh", "-c", list]);
    assert_eq!(sandbox.ok(&["run", "--rm", "-v", "etc:/etc", "busybox", "sh", "-c", list]), image);
    sandbox.ok(&["run", "--rm", "-v", "etc:/etc", "busybox", "rm", "/etc/group"]);
    sandbox.run(&["run", "--rm", "-v", "etc:/etc", "busybox", "test", "-f", "/etc/group"]).fails(1);
    sandbox
        .run(&["run", "--rm", "-v", "empty:/etc:nocopy", "busybox", "test", "-f", "/etc/passwd"])
        .fails(1);
    let mount = |volume: &str, more: &str| {
        let mount = format!("type=volume,source={volume},target=/etc{more}");
        sandbox.run(&["run", "--rm", "--mount", &mount, "busybox", "test", "-f", "/etc/passwd"])
    };
    mount("bare", ",volume-nocopy").fails(1);
    mount("filled", ",volume-nocopy=false").ok();
    mount("filled", ",volume-nocopy").ok();
}

fn bind_mounts(client: Client) {
    let sandbox = with_busybox(client);
    let place = Place::new("shared");
    let dir = place.path();
    sandbox.ok(&[
        "run",
        "--rm",
        "-v",
        &format!("{dir}:/data"),
        "-u",
        "1234",
        "-w",
        "/",
        "busybox",
        "true",
    ]);
    std::os::unix::fs::chown(dir, Some(1234), None).unwrap();
    sandbox.ok(&[
        "run",
        "--rm",
        "-u",
        "1234",
        "-v",
        &format!("{dir}:/data"),
        "busybox",
        "touch",
        "/data/mine",
    ]);
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("{dir}/mine")).unwrap());
    assert_eq!(owner, 1234, "the file belongs to whoever the container ran as");
    let fresh = format!("{dir}/made");
    sandbox.ok(&["run", "--rm", "-v", &format!("{fresh}:/data"), "busybox", "true"]);
    assert!(std::path::Path::new(&fresh).is_dir(), "-v makes what is not there");
    sandbox
        .run(&[
            "run",
            "--rm",
            "--mount",
            &format!("type=bind,source={dir}/nope,target=/d"),
            "busybox",
        ])
        .fails(125)
        .says("bind source path does not exist");
}

/// A directory that Docker's own daemon sees, too, if it has a root of its own; it goes with this.
pub(crate) struct Place(std::path::PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Place {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = format!("/tmp/ferry-{name}-{}x{number}", std::process::id());
        std::fs::create_dir(&path).unwrap();
        Place(path.into())
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn anonymous_volumes(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "--rm", "-v", "/data", "busybox", "touch", "/data/x"]);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "", "--rm removes anonymous volumes");
    sandbox.ok(&["run", "--name", "keeps", "-v", "/data", "busybox", "touch", "/data/x"]);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]).len(), 64);
    assert_eq!(
        sandbox.ok(&["run", "--rm", "--volumes-from", "keeps", "busybox", "ls", "/data"]),
        "x"
    );
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]).len(), 64, "another's volume stays");
    sandbox.ok(&["rm", "-v", "keeps"]);
    assert_eq!(sandbox.ok(&["volume", "ls", "-q"]), "");
}

fn read_only_and_refusals(client: Client) {
    let sandbox = with_busybox(client);
    sandbox
        .run(&["run", "--rm", "-v", "vol:/data:ro", "busybox", "touch", "/data/x"])
        .fails(1)
        .says("Read-only file system");
    sandbox
        .run(&["run", "--rm", "-v", "vol:relative", "busybox"])
        .fails(125)
        .says("mount path must be absolute");
    sandbox
        .run(&["run", "--rm", "-v", "vol:/d:wrong", "busybox"])
        .fails(125)
        .says("invalid mode: wrong");
    sandbox
        .run(&["run", "--rm", "-v", "vol:/", "busybox"])
        .fails(125)
        .says("destination can't be '/'");
    sandbox
        .run(&["volume", "create", "no/slash"])
        .fails(1)
        .says("includes invalid characters for a local volume name");
}

/// Beyond Docker: what root writes into a bind belongs to whoever asked for the container. It is the one who is at the other end of the
/// socket.
#[test]
fn binds_with_the_caller_as_root() {
    let sandbox = with_busybox(Client::Ferry);
    let dir = sandbox.dir().join("team");
    std::fs::create_dir(&dir).unwrap();
    // Somebody else's, for a group of many.
    std::os::unix::fs::chown(&dir, Some(4000), Some(5000)).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(sandbox.socket(), std::fs::Permissions::from_mode(0o666)).unwrap();
    for directory in [sandbox.dir().to_owned(), sandbox.dir().join("run")] {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let body = format!(
        r#"{{"Image":"busybox","Cmd":["sh","-c","touch /m/made && stat -c %u:%g /m /m/made"],"HostConfig":{{"Mounts":[
            {{"Type":"bind","Source":"{}","Target":"/m","BindOptions":{{"IDMap":true}}}}]}}}}"#,
        dir.display()
    );
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--fail", "-H", "Content-Type: application/json", "--unix-socket"])
        .arg(sandbox.socket())
        .args(["-d", &body, "http://ferry/containers/create?name=of-caller"])
        .uid(1234)
        .gid(4321);
    run(&mut curl).ok();
    // Whoever starts it, and whenever.
    assert_eq!(sandbox.ok(&["start", "-a", "of-caller"]), "4000:5000\n0:0");
    let made = std::fs::symlink_metadata(dir.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1234, 4321));
    // What is put in while it does not run is the caller's, too.
    let file = sandbox.dir().join("file");
    std::fs::write(&file, "x").unwrap();
    sandbox.ok(&["cp", file.to_str().unwrap(), "of-caller:/m/copied"]);
    let copied = std::fs::symlink_metadata(dir.join("copied")).unwrap();
    assert_eq!((copied.uid(), copied.gid()), (1234, 4321));
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    std::fs::remove_file(dir.join("made")).unwrap();
    sandbox.ok(&["start", "-a", "of-caller"]);
    assert_eq!(std::fs::symlink_metadata(dir.join("made")).unwrap().uid(), 1234);
    sandbox.ok(&["rm", "of-caller"]);
}

/// What the host's root asks for belongs to whoever owns the directory.
#[test]
fn binds_with_the_owner_as_root() {
    let sandbox = with_busybox(Client::Ferry);
    let dir = sandbox.dir().join("mine");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("of-root"), "").unwrap();
    std::os::unix::fs::chown(&dir, Some(1234), Some(4321)).unwrap();
    let mount = format!("type=bind,src={},dst=/m,idmap", dir.display());
    let owners = |name: &str| {
        let status = std::fs::symlink_metadata(dir.join(name)).unwrap();
        let (user, group) = (status.uid(), status.gid());
        (user, group)
    };
    let inside = sandbox.ok(&[
        "run",
        "--rm",
        "--mount",
        &mount,
        "busybox",
        "sh",
        "-c",
        "touch /m/made && mkdir /m/folder && chown 77:77 /m/folder && stat -c %u:%g /m /m/made /m/of-root",
    ]);
    assert_eq!(inside, "0:0\n0:0\n65534:65534", "the owner is root, the host's root nobody");
    assert_eq!(owners("made"), (1234, 4321));
    assert_eq!(owners("folder"), (77, 77), "everybody else is who he is");
    // Nobody in the container writes as the host's root.
    let other = format!("{mount}=true");
    sandbox.ok(&["run", "--rm", "--mount", &other, "busybox", "chmod", "777", "/m"]);
    sandbox
        .run(&["run", "--rm", "-u", "1234", "--mount", &mount, "busybox", "touch", "/m/x"])
        .fails(1);
    assert_eq!(
        sandbox.ok(&[
            "run",
            "--rm",
            "-u",
            "55",
            "--mount",
            &mount,
            "busybox",
            "sh",
            "-c",
            "touch /m/y; stat -c %u /m/y"
        ]),
        "55"
    );
    sandbox.ok(&["create", "--name", "kept", "--mount", &mount, "busybox"]);
    let shown = sandbox.inspect("kept", "{{json .HostConfig.Mounts}}");
    assert!(shown.contains(r#""BindOptions":{"IDMap":true}"#), "{shown}");
    sandbox
        .run(&["run", "--rm", "--mount", "type=volume,src=v,dst=/m,idmap", "busybox"])
        .fails(125)
        .says("cannot mix 'bind-*' options with mount type 'volume'");
}
