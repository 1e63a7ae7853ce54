//! Images, made from Debian's packages.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{command::run, programs, sandbox::target_dir};

/// A root file system with a static busybox, as a tar. Made once.
#[track_caller]
pub fn busybox_tar() -> PathBuf {
    made_once("busybox.tar", |root| {
        let busybox =
            programs::find("busybox").expect("Debian's busybox-static is needed by every test");
        for directory in ["bin", "etc", "tmp", "root", "var"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::fs::copy(&busybox, root.join("bin/busybox")).unwrap();
        let applets = run(Command::new(&busybox).arg("--list")).ok();
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
        )
        .unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\nstaff:x:50:nobody\n")
            .unwrap();
    })
}

/// An image of busybox as `docker load` and `ctr images import` take it, with a configuration of the test's own.
#[track_caller]
pub fn archive(dir: &Path, tag: &str, config: &Value) -> PathBuf {
    let layer = busybox_tar();
    let sum = run(Command::new("sha256sum").arg(&layer)).ok();
    let sum = sum.split(' ').next().unwrap();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
    });
    let manifest =
        json!([{"Config": "config.json", "RepoTags": [tag], "Layers": [format!("{sum}.tar")]}]);
    let parts = dir.join("image");
    std::fs::create_dir_all(&parts).unwrap();
    std::fs::write(parts.join("config.json"), config.to_string()).unwrap();
    std::fs::write(parts.join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::copy(&layer, parts.join(format!("{sum}.tar"))).unwrap();
    let tar = dir.join("image.tar");
    let layer = format!("{sum}.tar");
    let mut command = Command::new("tar");
    command.arg("-C").arg(&parts).arg("-cf").arg(&tar);
    run(command.args(["manifest.json", "config.json", &layer])).ok();
    std::fs::remove_dir_all(&parts).unwrap();
    tar
}

/// A small Debian with nginx, PostgreSQL, redis, vim and top installed from its packages, as a tar. Takes a minute or two the first time.
/// `None` where `mmdebstrap` is missing.
#[track_caller]
pub fn debian_tar() -> Option<PathBuf> {
    debian("debian-programs.tar", "nginx-light,postgresql,redis-server,vim-tiny,procps")
}

/// A small Debian with Python, Flask, Django, and what they need for redis and PostgreSQL.
#[track_caller]
pub fn python_tar() -> Option<PathBuf> {
    let packages = "python3,python3-flask,python3-redis,python3-django,python3-psycopg2,gunicorn";
    debian("debian-python.tar", packages)
}

#[track_caller]
fn debian(name: &str, packages: &str) -> Option<PathBuf> {
    let mmdebstrap = programs::find("mmdebstrap")?;
    Some(made_once(name, |root| {
        // The packages' services must not start on the machine that makes the image; mmdebstrap sees to that.
        run(Command::new(mmdebstrap).args([
            "--quiet",
            "--variant=minbase",
            &format!("--include={packages}"),
            "--aptopt=Acquire::Languages \"none\"",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            // The machine's own release, whose keys and mirrors it has.
            &codename(),
            root.to_str().unwrap(),
        ]))
        .ok();
    }))
}

/// `bookworm`, `noble`, …
fn codename() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap();
    let line = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    line.expect("/etc/os-release names the release").to_owned()
}

/// Makes a tar of what `fill` puts into a directory, unless it is there already. Two tests may want it at once: the file
/// appears whole or not at all, under a lock.
fn made_once(name: &str, fill: impl FnOnce(&Path)) -> PathBuf {
    let directory = target_dir().join("test-images");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    let lock = std::fs::File::create(directory.join(format!("{name}.lock"))).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    if path.exists() {
        return path;
    }
    let root = PathBuf::from(format!("/var/tmp/ferry-test-image-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&root));
    std::fs::create_dir_all(&root).unwrap();
    fill(&root);
    let part = directory.join(format!("{name}.part"));
    run(Command::new("tar").arg("-C").arg(&root).arg("--sort=name").arg("-cf").arg(&part).arg("."))
        .ok();
    std::fs::rename(&part, &path).unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    path
}
