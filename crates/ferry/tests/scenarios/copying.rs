//! Files of containers: `diff`, `cp` in both directions, `export`.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{Client, Run, Sandbox, run, run_with_input};

use crate::with_busybox;

through_both!(
    changes_are_told_as_docker_tells_them,
    every_kind_at_every_kind,
    links_and_endings,
    archives_through_standard_streams,
    what_cannot_be_copied_is_told_in_dockers_words,
    a_running_container_with_volumes,
    owners_and_the_last_line,
    nothing_gets_out_of_a_container,
    an_exported_file_system
);

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_by_key(|line| line.get(2..).unwrap_or_default().replace('/', "\0"));
    lines
}

fn changes_are_told_as_docker_tells_them(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["create", "--name", "fresh", "busybox"]);
    assert_eq!(sandbox.ok(&["diff", "fresh"]), "");
    sandbox.ok(&["run", "--name", "idle", "busybox", "true"]);
    assert_eq!(sandbox.ok(&["diff", "idle"]), "", "what was only mounted on is no change");
    let script = "echo x > /etc/new; rm /etc/group; rm -r /root; mkdir /root; echo y > /root/y;
        rm -r /tmp; echo file > /tmp; mkdir -p /a/b; echo > /a/b/c; echo > /a-b; ln -s /a /link; chmod 700 /var;
        touch -r /bin/busybox /bin/sh; chmod 755 /bin/busybox; mkfifo /a/fifo";
    sandbox.ok(&["run", "--name", "busy", "-v", "/volume", "busybox", "sh", "-c", script]);
    let lines = sandbox.ok(&["diff", "busy"]);
    assert_eq!(
        sorted(&lines).join("\n"),
        "A /a\nA /a/b\nA /a/b/c\nA /a/fifo\nA /a-b\nC /etc\nD /etc/group\nA /etc/new\nA /link\nC /root\nA /root/y\nC /tmp\nC /var\nA /volume"
    );
    assert_eq!(sorted(&lines).join("\n"), lines, "they come sorted");
    sandbox.run(&["diff", "nobody"]).fails(1).says("No such container: nobody");
}

/// A container `c` with something in `/work`, and a local directory with something in it.
fn with_trees(client: Client) -> (Sandbox, PathBuf) {
    let sandbox = with_busybox(client);
    let script = "mkdir -p /work/dir/sub /work/target; echo file > /work/file; echo a > /work/dir/a;
        echo b > /work/dir/sub/b; ln -s file /work/link; ln -s dir /work/dirlink; ln -s /work/dir /work/abslink;
        ln -s nowhere /work/broken; echo keep > /work/target/keep";
    sandbox.ok(&["run", "--name", "cc", "busybox", "sh", "-c", script]);
    let local = sandbox.dir().join("local");
    std::fs::create_dir_all(local.join("src/sub")).unwrap();
    std::fs::create_dir(local.join("dst")).unwrap();
    for (name, text) in
        [("one", "one"), ("old", "old"), ("src/x", "x"), ("src/sub/y", "y"), ("a:b", "colon")]
    {
        std::fs::write(local.join(name), text).unwrap();
    }
    symlink("src", local.join("srclink")).unwrap();
    symlink("one", local.join("onelink")).unwrap();
    symlink("appears", local.join("newlink")).unwrap();
    (sandbox, local)
}

/// `cp`, typed in the local directory.
fn cp(sandbox: &Sandbox, local: &Path, words: &[&str]) -> Run {
    run(sandbox.command(&[&["cp"], words].concat()).current_dir(local))
}

fn tree(root: &Path) -> Vec<String> {
    let listing =
        run(Command::new("find").arg(root).args(["-mindepth", "1", "-printf", "%y %P\n"])).ok();
    let mut lines: Vec<String> = listing.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn every_kind_at_every_kind(client: Client) {
    let (sandbox, local) = with_trees(client);
    let copy = |words: &[&str]| cp(&sandbox, &local, words).ok();
    let read = |name: &str| std::fs::read_to_string(local.join(name)).unwrap();
    copy(&["cc:/work/file", "dst"]);
    copy(&["cc:/work/file", "old"]);
    copy(&["cc:work/file", "./new"]);
    assert_eq!([read("dst/file"), read("old"), read("new")], ["file\n"; 3]);
    copy(&["cc:/work/dir", "dst"]);
    copy(&["cc:/work/dir", "made"]);
    copy(&["cc:/work/dir/.", "content"]);
    let expected = ["d sub", "f a", "f sub/b"];
    for name in ["dst/dir", "made", "content"] {
        assert_eq!(tree(&local.join(name)), expected, "{name}");
    }
    copy(&["one", "cc:/work/target"]);
    copy(&["one", "cc:/work/file"]);
    copy(&["one", "cc:/work/new"]);
    copy(&["src", "cc:/work/target/"]);
    copy(&["src", "cc:/work/made"]);
    copy(&["src/.", "cc:/work/content"]);
    copy(&["./a:b", "cc:/work/colon"]);
    copy(&["cc:/work", "back"]);
    let back = local.join("back");
    assert_eq!(std::fs::read_to_string(back.join("target/one")).unwrap(), "one");
    assert_eq!(std::fs::read_to_string(back.join("file")).unwrap(), "one");
    assert_eq!(std::fs::read_to_string(back.join("colon")).unwrap(), "colon");
    for name in ["target/src", "made", "content"] {
        assert_eq!(tree(&back.join(name)), ["d sub", "f sub/y", "f x"], "{name}");
    }
}

fn links_and_endings(client: Client) {
    let (sandbox, local) = with_trees(client);
    let copy = |words: &[&str]| cp(&sandbox, &local, words).ok();
    let is_link = |name: &str| local.join(name).is_symlink();
    copy(&["cc:/work/link", "dst"]);
    copy(&["cc:/work/broken", "dst"]);
    assert!(is_link("dst/link") && is_link("dst/broken"));
    copy(&["-L", "cc:/work/link", "followed"]);
    assert_eq!(std::fs::read_to_string(local.join("followed")).unwrap(), "file\n");
    copy(&["cc:/work/dirlink/", "dst"]);
    copy(&["-L", "cc:/work/abslink", "dst"]);
    assert_eq!(tree(&local.join("dst/dirlink")), ["d sub", "f a", "f sub/b"]);
    assert_eq!(tree(&local.join("dst/abslink")), ["d sub", "f a", "f sub/b"]);
    copy(&["cc:/work/file", "newlink"]);
    assert!(local.join("appears").is_file(), "a link to nowhere gets its target made");
    // Into the container: the last component of a destination is followed, that of a source is not.
    copy(&["one", "cc:/work/dirlink"]);
    copy(&["one", "cc:/work/broken"]);
    copy(&["onelink", "cc:/work/target"]);
    copy(&["-L", "onelink", "cc:/work/target/two"]);
    copy(&["srclink/", "cc:/work/target"]);
    copy(&["cc:/work", "back"]);
    let back = local.join("back");
    assert!(back.join("dir/one").is_file() && back.join("nowhere").is_file());
    assert!(back.join("target/onelink").is_symlink());
    assert_eq!(std::fs::read_to_string(back.join("target/two")).unwrap(), "one");
    assert_eq!(tree(&back.join("target/srclink")), ["d sub", "f sub/y", "f x"]);
}

fn archives_through_standard_streams(client: Client) {
    let (sandbox, local) = with_trees(client);
    let tar = run(sandbox.command(&["cp", "cc:/work/dir", "-"]).arg("-q")).ok();
    assert!(tar.starts_with("dir/"), "names begin with what was asked for");
    let script = format!("tar -C {} -cf - src", local.display());
    let archive = Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
    let mut command = sandbox.command(&["cp", "-", "cc:/work/target"]);
    run_with_input(&mut command, &archive).ok();
    let zipped = Command::new("sh").args(["-c", &format!("{script} | gzip")]).output().unwrap();
    sandbox.with_input(&["cp", "-", "cc:/work/dirlink"], &zipped.stdout).ok();
    cp(&sandbox, &local, &["cc:/work", "back"]).ok();
    for name in ["target/src", "dir/src"] {
        assert_eq!(tree(&local.join("back").join(name)), ["d sub", "f sub/y", "f x"]);
    }
    sandbox
        .with_input(&["cp", "-", "cc:/work/file"], &archive)
        .fails(1)
        .says("destination \"cc:/work/file\" must be a directory");
    sandbox
        .with_input(&["cp", "-", "cc:/work/target"], &[b'x'; 4096])
        .fails(1)
        .says("invalid tar header");
}

fn what_cannot_be_copied_is_told_in_dockers_words(client: Client) {
    let (sandbox, local) = with_trees(client);
    let bind = format!("{}:/locked:ro", local.join("src").display());
    sandbox.ok(&["create", "--name", "ro", "--read-only", "-v", &bind, "busybox"]);
    std::fs::create_dir(local.join("dst/file")).unwrap();
    for (words, told) in [
        (["cc:/work/none", "."], "Could not find the file /work/none in container cc"),
        (["cc:/work/file/", "."], "lstat /work/file/: not a directory"),
        (["cc:/work/file", "dst"], "with non-directory"),
        (["cc:/work/file", "none/x"], "invalid output path: directory"),
        (["cc:/work/file", "made/"], "no such directory"),
        (["cc:/work/file", "/dev/null"], "must be a directory or a regular file: got a device"),
        (["cc:/work/dir", "old"], "cannot copy directory"),
        (["src", "cc:/work/file"], "cannot copy directory"),
        (["one", "cc:/work/made/"], "no such directory"),
        (["one", "cc:/none/x"], "Could not find the file /none in container cc"),
        (["missing", "cc:/work"], "missing: no such file or directory"),
        (["one", "ro:/"], "container rootfs is marked read-only"),
        (["one", "ro:/locked"], "mounted volume is marked read-only"),
        (["one", "nobody:/x"], "No such container: nobody"),
        (["cc:/x", "dd:/y"], "copying between containers is not supported"),
        (["one", "old"], "must specify at least one container source"),
        (["", "cc:/"], "source can not be empty"),
    ] {
        cp(&sandbox, &local, &words).fails(1).says(told);
    }
}

fn a_running_container_with_volumes(client: Client) {
    let (sandbox, local) = with_trees(client);
    let bound = local.join("bound");
    std::fs::create_dir(&bound).unwrap();
    std::fs::write(bound.join("seen"), "seen").unwrap();
    let bind = format!("{}:/bind", bound.display());
    let create =
        ["create", "--name", "vv", "-v", "vol:/vol", "-v", &bind, "busybox", "sleep", "1000"];
    sandbox.ok(&create);
    for state in ["stopped", "running"] {
        if state == "running" {
            sandbox.ok(&["start", "vv"]);
        }
        cp(&sandbox, &local, &["one", &format!("vv:/vol/{state}")]).ok();
        cp(&sandbox, &local, &["one", &format!("vv:/bind/{state}")]).ok();
        cp(&sandbox, &local, &["vv:/bind/seen", state]).ok();
        assert_eq!(std::fs::read_to_string(local.join(state)).unwrap(), "seen");
        assert_eq!(std::fs::read_to_string(bound.join(state)).unwrap(), "one");
    }
    assert_eq!(sandbox.ok(&["exec", "vv", "ls", "/vol"]), "running\nstopped");
    cp(&sandbox, &local, &["vv:/vol/.", "volume"]).ok();
    assert_eq!(tree(&local.join("volume")), ["f running", "f stopped"]);
    // The process's own files, not the machine's.
    cp(&sandbox, &local, &["vv:/etc/hostname", "hostname"]).ok();
    let id = sandbox.inspect("vv", "{{.Id}}");
    assert_eq!(std::fs::read_to_string(local.join("hostname")).unwrap().trim(), &id[..12]);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(&*sandbox.data().to_string_lossy()),
        "nothing is mounted for all to see"
    );
}

fn owners_and_the_last_line(client: Client) {
    let (sandbox, local) = with_trees(client);
    std::os::unix::fs::chown(local.join("one"), Some(1234), Some(1235)).unwrap();
    std::fs::set_permissions(local.join("one"), std::fs::Permissions::from_mode(0o640)).unwrap();
    sandbox.ok(&["create", "--name", "nn", "-u", "nobody", "busybox"]);
    cp(&sandbox, &local, &["one", "nn:/as-it-is"]).ok();
    cp(&sandbox, &local, &["-a", "one", "nn:/own"]).ok();
    let listing = run(sandbox.command(&["export", "-o"]).arg(local.join("n.tar")).arg("nn"));
    listing.ok();
    let listing =
        run(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(local.join("n.tar"))).ok();
    let owner = |name: &str| {
        let line = listing.lines().find(|line| line.ends_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (owner(" as-it-is"), owner(" own")),
        ("1234/1235".to_owned(), "65534/65534".to_owned())
    );
    cp(&sandbox, &local, &["nn:/as-it-is", "mine"]).ok();
    let mine = std::fs::metadata(local.join("mine")).unwrap();
    assert_eq!((mine.uid(), mine.gid(), mine.mode() & 0o7777), (0, 0, 0o640));
    let target = format!("Successfully copied 2.05kB to {}", local.join("told").display());
    let told = cp(&sandbox, &local, &["-q=false", "nn:/own", "told"]);
    assert!(told.stderr.contains(&target), "{told}");
    let told = cp(&sandbox, &local, &["--quiet=false", "src", "nn:/told"]);
    assert!(told.stderr.contains("Successfully copied 4.1kB to nn:/told"), "{told}");
    assert_eq!(cp(&sandbox, &local, &["nn:/own", "silent"]).stderr, "");
}

/// Links out of the container lead into it; names and links in archives stay where the archive goes.
fn nothing_gets_out_of_a_container(client: Client) {
    let (sandbox, local) = with_trees(client);
    let secret = local.join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let script = format!(
        "ln -s ../../../../../../../.. /up; ln -s {} /out; mkdir -p /etc; ln -s /proc/1/root /magic; sleep 1000",
        secret.display()
    );
    sandbox.ok(&["run", "-d", "--name", "hh", "busybox", "sh", "-c", &script]);
    sandbox.ok(&["exec", "hh", "sh", "-c", "until [ -L /magic ]; do sleep 0.1; done"]);
    for state in ["running", "stopped"] {
        let path = format!("hh:/up{}", secret.display());
        cp(&sandbox, &local, &[&path, "stolen"]).fails(1).says("Could not find the file");
        cp(&sandbox, &local, &["-L", "hh:/out", "stolen"]).fails(1).says("Could not find the file");
        cp(&sandbox, &local, &["hh:/magic/etc/passwd", "stolen"]).fails(1);
        cp(&sandbox, &local, &["one", "hh:/up/escaped"]).ok();
        assert!(!Path::new("/escaped").exists(), "{state}");
        // An archive with a link out of it, a name through that link, and one that climbs.
        let evil = local.join("evil");
        drop(std::fs::remove_dir_all(&evil));
        std::fs::create_dir_all(&evil).unwrap();
        symlink("/", evil.join("root")).unwrap();
        let tar = local.join("evil.tar");
        let tool = |args: &[&str]| {
            run(Command::new("tar").arg("-C").arg(&evil).arg(args[0]).arg(&tar).args(&args[1..]))
                .ok()
        };
        tool(&["-cf", "root"]);
        std::fs::remove_file(evil.join("root")).unwrap();
        std::fs::create_dir(evil.join("root")).unwrap();
        std::fs::write(evil.join("root/escaped-by-tar"), "x").unwrap();
        tool(&["-rf", "root/escaped-by-tar"]);
        let bytes = std::fs::read(&tar).unwrap();
        sandbox.with_input(&["cp", "-", "hh:/tmp"], &bytes).ok();
        assert!(!Path::new("/escaped-by-tar").exists());
        tool(&["-cf", "-P", "--transform=s,^,../../../,", "root/escaped-by-tar"]);
        let bytes = std::fs::read(&tar).unwrap();
        sandbox.with_input(&["cp", "-", "hh:/tmp"], &bytes).fails(1).says("invalid entry name");
        if state == "running" {
            sandbox.ok(&["kill", "hh"]);
            sandbox.ok(&["wait", "hh"]);
        }
    }
    assert!(!local.join("stolen").exists());
}

fn an_exported_file_system(client: Client) {
    let (sandbox, local) = with_trees(client);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "ee",
        "-v",
        "/vol",
        "busybox",
        "sh",
        "-c",
        "echo in > /vol/in; echo up > /up; rm /etc/group; ln /up /hard; sleep 1000",
    ]);
    sandbox.ok(&["exec", "ee", "sh", "-c", "until [ -e /hard ]; do sleep 0.1; done"]);
    let list = |name: &str| {
        sandbox.ok(&["export", "-o", local.join(name).to_str().unwrap(), "ee"]);
        run(Command::new("tar").arg("-tf").arg(local.join(name))).ok()
    };
    let running = list("running.tar");
    for name in ["bin/busybox", "up", "hard", "vol/", "etc/passwd"] {
        assert!(running.lines().any(|line| line == name), "{name} is in it");
    }
    for name in ["vol/in", "etc/group", "proc/self"] {
        assert!(!running.lines().any(|line| line == name), "{name} is not in it");
    }
    sandbox.ok(&["kill", "ee"]);
    sandbox.ok(&["wait", "ee"]);
    assert_eq!(list("stopped.tar"), running);
    sandbox.ok(&["import", local.join("stopped.tar").to_str().unwrap(), "again"]);
    assert_eq!(sandbox.ok(&["run", "--rm", "again", "/bin/busybox", "cat", "/hard"]), "up");
}
