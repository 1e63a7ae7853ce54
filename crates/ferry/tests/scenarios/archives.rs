//! `load`, `save`, `import`, `history`: images of more than one origin, and archives that mean harm.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{Client, eventually, programs, run};

use crate::with_busybox;

through_both!(
    save_and_load_give_the_same_image,
    an_imported_root_file_system,
    an_image_of_buildah,
    an_image_copied_by_skopeo,
    layers_come_back_bit_for_bit,
    history_and_tags,
    hostile_archives_change_nothing
);

fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn save_and_load_give_the_same_image(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["tag", "busybox", "second/name:1"]);
    let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "busybox"]);
    let (first, again) = (sandbox.dir().join("first.tar"), sandbox.dir().join("again.tar"));
    sandbox.ok(&["save", "-o", &path(&first), "busybox", "second/name:1"]);
    sandbox.ok(&["rmi", "second/name:1", "busybox"]);
    assert_eq!(sandbox.ok(&["images", "-q"]), "");
    let loaded = sandbox.ok(&["load", "-i", &path(&first)]);
    assert!(
        loaded.contains("Loaded image: busybox:latest")
            && loaded.contains("Loaded image: second/name:1"),
        "{loaded}"
    );
    assert_eq!(sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "second/name:1"]), id);
    sandbox.ok(&["save", "-o", &path(&again), "busybox", "second/name:1"]);
    assert_eq!(
        std::fs::read(&first).unwrap(),
        std::fs::read(&again).unwrap(),
        "the same images are the same bytes"
    );
    // From standard input, compressed.
    let compressed = run(Command::new("gzip").args(["-1", "-k"]).arg(&first));
    compressed.ok();
    let bytes = std::fs::read(first.with_extension("tar.gz")).unwrap();
    sandbox.ok(&["rmi", "-f", "second/name:1", "busybox"]);
    assert!(sandbox.with_input(&["load"], &bytes).ok().contains("Loaded image: busybox:latest"));
    assert_eq!(sandbox.ok(&["run", "--rm", "busybox", "echo", "runs"]), "runs");
}

fn an_imported_root_file_system(client: Client) {
    let sandbox = with_busybox(client);
    let tar = ferry_testkit::images::busybox_tar();
    let changes = [
        "-c",
        "ENV A=1 B=\"two words\"",
        "-c",
        "CMD [\"sh\", \"-c\", \"echo $A $B\"]",
        "-c",
        "WORKDIR /srv",
        "-c",
        "EXPOSE 80",
    ];
    let tar = path(&tar);
    let words =
        [&["import", "-m", "by hand"], changes.as_slice(), &[&tar, "made:by-hand"]].concat();
    let id = sandbox.ok(&words);
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(sandbox.ok(&["run", "--rm", "made:by-hand"]), "1 two words");
    assert_eq!(
        sandbox.ok(&[
            "image",
            "inspect",
            "-f",
            "{{.Config.WorkingDir}} {{.Config.ExposedPorts}} {{.Comment}}",
            "made:by-hand"
        ]),
        "/srv map[80/tcp:{}] by hand"
    );
    sandbox
        .run(&["import", "-c", "RUN true", &tar])
        .fails(1)
        .says("run is not a valid change command");
    sandbox.run(&["import", "/nonexistent.tar"]).fails(1).says("no such file or directory");
}

/// What buildah makes of busybox, as an OCI archive.
fn an_image_of_buildah(client: Client) {
    let Some(buildah) = programs::find("buildah") else { return };
    let sandbox = with_busybox(client);
    let archive = sandbox.dir().join("buildah.tar");
    let store = sandbox.dir().join("buildah");
    let call = |args: &[&str]| {
        run(Command::new(&buildah)
            .args([
                "--root",
                &path(&store),
                "--runroot",
                &path(&sandbox.dir().join("buildah-run")),
                "--storage-driver",
                "vfs",
            ])
            .args(args))
        .ok()
    };
    let container = call(&["from", "scratch"]);
    call(&["add", &container, &path(&ferry_testkit::images::busybox_tar()), "/"]);
    call(&[
        "config",
        "--cmd",
        "echo from buildah",
        "--env",
        "B=uildah",
        "--label",
        "made.by=buildah",
        &container,
    ]);
    call(&[
        "commit",
        "--format",
        "oci",
        &container,
        &format!("oci-archive:{}:by-buildah:1", path(&archive)),
    ]);
    let loaded = sandbox.ok(&["load", "-i", &path(&archive)]);
    assert_eq!(loaded, "Loaded image: by-buildah:1");
    assert_eq!(sandbox.ok(&["run", "--rm", "by-buildah:1"]), "from buildah");
    assert_eq!(
        sandbox.ok(&[
            "image",
            "inspect",
            "-f",
            "{{index .Config.Labels \"made.by\"}}",
            "by-buildah:1"
        ]),
        "buildah"
    );
}

fn an_image_copied_by_skopeo(client: Client) {
    let Some(skopeo) = programs::find("skopeo") else { return };
    let sandbox = with_busybox(client);
    let ours = sandbox.dir().join("ours.tar");
    sandbox.ok(&["save", "-o", &path(&ours), "busybox"]);
    for (kind, name) in [("oci-archive", "copied:oci"), ("docker-archive", "copied:docker")] {
        let theirs = sandbox.dir().join(format!("{kind}.tar"));
        let copy = run(Command::new(&skopeo).args([
            "copy",
            "--insecure-policy",
            "--quiet",
            &format!("docker-archive:{}", path(&ours)),
            &format!("{kind}:{}:{name}", path(&theirs)),
        ]));
        copy.ok();
        assert_eq!(sandbox.ok(&["load", "-i", &path(&theirs)]), format!("Loaded image: {name}"));
        assert_eq!(sandbox.ok(&["run", "--rm", name, "echo", "copied"]), "copied");
    }
}

/// A tree with everything odd that a file system can hold comes back as it was.
fn layers_come_back_bit_for_bit(client: Client) {
    let sandbox = with_busybox(client);
    let root = sandbox.dir().join("odd");
    let script = r#"
        set -e; mkdir -p "$1" && cd "$1"
        mkdir -p deep/"$(printf 'x%.0s' $(seq 120))"/"$(printf 'y%.0s' $(seq 120))"
        echo text > deep/file; ln deep/file hard; ln -s ../outside soft; ln -s /etc/passwd absolute
        mkfifo pipe; mknod null c 1 3; mknod disk b 7 7
        cp /bin/true suid; chmod 4755 suid; mkdir sticky; chmod 1777 sticky; chmod 0000 hard
        truncate -s 10M sparse; printf data | dd of=sparse bs=1 seek=5000000 conv=notrunc 2>/dev/null
        touch -d '1969-07-20 20:17:40.123456789 UTC' moon; touch -d '2106-02-07 UTC' later
        echo > "$(printf 'wei\303\237 \360\237\232\242')"
        chown 1234:4321 deep
    "#;
    run(Command::new("sh").args(["-c", script, "sh"]).arg(&root)).ok();
    run(Command::new("setfattr")
        .args(["-n", "user.note", "-v", "kept"])
        .arg(root.join("deep/file")))
    .ok();
    run(Command::new("setcap").arg("cap_net_raw+ep").arg(root.join("suid"))).ok();
    let tar = sandbox.dir().join("odd.tar");
    run(Command::new("tar")
        .arg("-C")
        .arg(&root)
        .args(["--xattrs", "--xattrs-include=*", "--sparse", "--format=posix", "-cf"])
        .arg(&tar)
        .arg("."))
    .ok();
    sandbox.ok(&["import", &path(&tar), "odd:1"]);
    let saved = sandbox.dir().join("saved.tar");
    sandbox.ok(&["save", "-o", &path(&saved), "odd:1"]);
    let layer = sandbox.ok(&["image", "inspect", "-f", "{{index .RootFS.Layers 0}}", "odd:1"]);
    let layer = layer.trim_start_matches("sha256:");
    let member = format!("blobs/sha256/{layer}");
    run(Command::new("tar").arg("-C").arg(sandbox.dir()).arg("-xf").arg(&saved).arg(&member)).ok();
    assert!(
        std::fs::read(sandbox.dir().join(member)).unwrap() == std::fs::read(&tar).unwrap(),
        "a layer is the very bytes that came"
    );
}

fn history_and_tags(client: Client) {
    let sandbox = with_busybox(client);
    let history = sandbox.ok(&["history", "--format", "{{.Comment}}|{{.CreatedBy}}", "busybox"]);
    assert_eq!(history, "Imported from -|");
    sandbox.ok(&["tag", "busybox", "localhost:5000/a/b:c"]);
    assert_eq!(
        sandbox.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}", "localhost:5000/a/b"]),
        "localhost:5000/a/b:c"
    );
    assert_eq!(sandbox.ok(&["rmi", "localhost:5000/a/b:c"]), "Untagged: localhost:5000/a/b:c");
    sandbox.run(&["tag", "busybox", "UPPER"]).fails(1).says("must be lowercase");
    sandbox.run(&["tag", "nothing", "x"]).fails(1).says("No such image: nothing:latest");
}

/// Archives that climb out, break off or lie.
fn hostile_archives_change_nothing(client: Client) {
    let sandbox = with_busybox(client);
    let outside = sandbox.dir().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let before = layers(&sandbox.data());
    let make = |name: &str, script: &str| -> PathBuf {
        let tar = sandbox.dir().join(name);
        run(Command::new("python3").args(["-c", script]).arg(&tar).arg(&outside)).ok();
        tar
    };
    let head = "import sys, tarfile, io\nt = tarfile.open(sys.argv[1], 'w')\ndef add(n, d=b'x', **k):\n    i = tarfile.TarInfo(n); i.size = len(d)\n    for a, v in k.items(): setattr(i, a, v)\n    t.addfile(i, io.BytesIO(d) if i.isfile() else None)\n";
    for (name, body) in [
        ("dotdot.tar", "add('../../../../../../../../../../../../'+sys.argv[2]+'/dotdot')\n"),
        ("absolute.tar", "add(sys.argv[2]+'/absolute')\n"),
        (
            "symlink.tar",
            "add('l', b'', type=tarfile.SYMTYPE, linkname=sys.argv[2])\nadd('l/symlink')\n",
        ),
        (
            "hardlink.tar",
            "add('h', b'', type=tarfile.LNKTYPE, linkname='../../../../../../../../etc/passwd')\n",
        ),
    ] {
        let tar = make(name, &format!("{head}{body}t.close()\n"));
        // Refused or kept inside: either is fine, as long as nothing outside changes.
        sandbox.run(&["import", &path(&tar)]);
        assert_eq!(
            std::fs::read_dir(&outside).unwrap().count(),
            0,
            "{name} wrote outside of its layer"
        );
    }
    sandbox.run(&["image", "prune", "-f"]);
    let whole = std::fs::read(ferry_testkit::images::busybox_tar()).unwrap();
    let cut = sandbox.dir().join("cut.tar");
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    sandbox.run(&["import", &path(&cut), "cut:1"]).fails(1);
    let lie = sandbox.dir().join("lie.tar");
    sandbox.ok(&["save", "-o", &path(&lie), "busybox"]);
    let mut bytes = std::fs::read(&lie).unwrap();
    let at = bytes.windows(5).position(|window| window == b"root:").unwrap();
    bytes[at] = b'R';
    std::fs::write(&lie, &bytes).unwrap();
    sandbox.ok(&["rmi", "busybox"]);
    sandbox.run(&["load", "-i", &path(&lie)]).fails(1).says("invalid diffID for layer");
    sandbox.with_input(&["load"], b"no tar at all, and not short either").fails(1);
    assert_eq!(sandbox.ok(&["images", "-q"]), "");
    sandbox.run(&["image", "prune", "-af"]);
    eventually("nothing half made stays", || (layers(&sandbox.data()) <= before).then_some(()));
}

fn layers(data: &Path) -> usize {
    std::fs::read_dir(data.join("layers"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().len() == 64)
        .count()
}
