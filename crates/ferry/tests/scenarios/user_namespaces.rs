//! `--userns`, `--userns-remap`: root of a container is nobody on the host, and files stay whose they are.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use ferry_testkit::{Client, Sandbox, eventually};

through_both!(a_remapped_daemon, what_cannot_be_remapped, namespaces_are_shared_in_whole);

/// The line of a process's map: inside, outside, count.
fn map(pid: &str) -> [u64; 3] {
    let text = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

fn pid(sandbox: &Sandbox, name: &str) -> String {
    sandbox.inspect(name, "{{.State.Pid}}")
}

fn user_namespace(pid: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/user")).unwrap().to_string_lossy().into_owned()
}

fn remapped(client: Client) -> Sandbox {
    let sandbox = Sandbox::start_with(&["--userns-remap", "default"]).through(client);
    sandbox.busybox();
    sandbox
}

fn a_remapped_daemon(client: Client) {
    let sandbox = remapped(client);
    let info = sandbox.ok(&["info", "--format", "{{json .SecurityOptions}}"]);
    assert!(info.contains("name=userns"), "{info}");
    sandbox.ok(&["run", "-d", "--name", "one", "-v", "data:/data", "busybox", "sleep", "1000"]);
    let pid = pid(&sandbox, "one");
    let [inside, outside, count] = map(&pid);
    assert_eq!((inside, count), (0, 65_536));
    assert!(outside >= 100_000, "{outside}");
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid() as u64, outside);

    // Inside it is root, and everything of the image is root's.
    let see = |script: &str| sandbox.ok(&["exec", "one", "sh", "-c", script]);
    assert_eq!(
        see("id -u; stat -c %u:%g / /bin/busybox /etc/hosts /data").trim(),
        "0\n0:0\n0:0\n0:0\n0:0"
    );
    // The kernel takes note of the state when it has time.
    eventually("its link is up", || {
        let look = "grep -c eth0 /proc/net/dev; cat /sys/class/net/eth0/operstate";
        (see(look).trim() == "1\nup").then_some(())
    });
    see(
        "echo 1.2.3.4 there >> /etc/hosts; touch /data/root /data/user; chown 1000:1000 /data/user; touch /new; chown 7 /new",
    );
    // On the disk a file has the id that the container sees, so that the next one sees it, too.
    let volume = sandbox.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "data"]);
    let owner = |name: &str| fs::metadata(format!("{}/{name}", volume.trim())).unwrap().uid();
    assert_eq!((owner("root"), owner("user")), (0, 1000));
    let other = ["run", "--rm", "--userns=host", "-v", "data:/data", "busybox", "stat", "-c", "%u"];
    assert_eq!(sandbox.ok(&[&other[..], &["/data/user"]].concat()).trim(), "1000");

    // Other ways to its files agree.
    assert!(sandbox.ok(&["diff", "one"]).contains("A /new"));
    let file = sandbox.dir().join("file");
    fs::write(&file, "x").unwrap();
    sandbox.ok(&["cp", file.to_str().unwrap(), "one:/copied"]);
    assert_eq!(see("stat -c %u /copied /new").trim(), "0\n7");
    sandbox.ok(&["commit", "one", "kept"]);
    let kept = ["run", "--rm", "--userns=host", "kept", "stat", "-c", "%u", "/copied", "/new"];
    assert_eq!(sandbox.ok(&kept).trim(), "0\n7");

    // Users other than root, and their standard files.
    let script = "echo out > /dev/stdout; id -u";
    let user = ["run", "--rm", "--user", "1000", "busybox", "sh", "-c", script];
    assert_eq!(sandbox.ok(&user).trim(), "out\n1000");
    assert_eq!(sandbox.ok(&["exec", "-u", "5", "one", "sh", "-c", script]).trim(), "out\n5");

    // The host's files are the host's.
    let secret = sandbox.dir().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700)).unwrap();
    let bind = format!("{}:/secret", secret.display());
    sandbox.run(&["run", "--rm", "-v", &bind, "busybox", "ls", "/secret"]).fails(1).says("denied");
}

fn what_cannot_be_remapped(client: Client) {
    let sandbox = remapped(client);
    for (flag, words) in [
        ("--privileged", "privileged mode is incompatible with user namespaces"),
        ("--network=host", "cannot share the host's network namespace"),
        ("--pid=host", "cannot share the host PID namespace"),
    ] {
        sandbox.run(&["run", "--rm", flag, "busybox", "true"]).fails(125).says(words);
        let map = sandbox.ok(&[
            "run",
            "--rm",
            flag,
            "--userns=host",
            "busybox",
            "cat",
            "/proc/self/uid_map",
        ]);
        assert!(map.contains("4294967295"), "{map}");
    }
}

fn namespaces_are_shared_in_whole(client: Client) {
    let sandbox = remapped(client);
    sandbox.ok(&["run", "-d", "--name", "one", "--ipc", "shareable", "busybox", "sleep", "1000"]);
    for flag in ["--network=container:one", "--ipc=container:one", "--pid=container:one"] {
        sandbox.ok(&["run", "-d", "--name", "two", flag, "busybox", "sleep", "1000"]);
        let (a, b) = (pid(&sandbox, "one"), pid(&sandbox, "two"));
        assert_eq!(user_namespace(&a), user_namespace(&b));
        assert_eq!(sandbox.ok(&["exec", "two", "stat", "-c", "%u", "/bin/busybox"]).trim(), "0");
        sandbox.ok(&["rm", "-f", "two"]);
    }
    sandbox.ok(&["run", "-d", "--name", "hosted", "--userns=host", "busybox", "sleep", "1000"]);
    sandbox
        .run(&["run", "--rm", "--network=container:hosted", "busybox", "true"])
        .fails(125)
        .says("which is in the host's user namespace");
}

/// Docker has no word for a container that asks for a user namespace by itself.
#[test]
fn containers_that_ask_have_ids_of_their_own() {
    let sandbox = Sandbox::start();
    sandbox.busybox();
    for name in ["one", "two"] {
        let run = ["run", "-d", "--name", name, "--userns=auto", "-v", "both:/both"];
        sandbox.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
    }
    let maps = ["one", "two"].map(|name| map(&pid(&sandbox, name)));
    assert!(maps[0][1].abs_diff(maps[1][1]) >= 65_536, "{maps:?}");
    assert_eq!(sandbox.inspect("one", "{{.HostConfig.UsernsMode}}"), "auto");
    sandbox.ok(&["exec", "one", "sh", "-c", "umask 077; echo mine > /both/file"]);
    assert_eq!(sandbox.ok(&["exec", "two", "cat", "/both/file"]).trim(), "mine");

    // It keeps them.
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    sandbox.ok(&["exec", "one", "cat", "/both/file"]);
    sandbox.ok(&["restart", "-t", "0", "one"]);
    assert_eq!(map(&pid(&sandbox, "one")), maps[0]);
}
