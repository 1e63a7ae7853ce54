//! Several platforms in one build.

use std::{path::Path, process::Command};

use ferry_testkit::{Client, FerryRegistry, Sandbox, run};
use serde_json::Value;

use super::{
    attested::{blob, manifest},
    context,
    steps::modern,
};
use crate::with_busybox;

const DOCKERFILE: &str = "FROM --platform=$BUILDPLATFORM busybox AS make\n\
    RUN cat /proc/sys/kernel/random/uuid > /once\n\
    ARG TARGETPLATFORM TARGETARCH TARGETVARIANT BUILDPLATFORM\n\
    RUN echo \"$BUILDPLATFORM $TARGETPLATFORM $TARGETARCH $TARGETVARIANT\" > /said\n\
    FROM scratch\n\
    COPY --from=make /once /said /\n";

/// This machine's platform, as Docker calls it.
fn host() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "linux/arm64",
        _ => "linux/amd64",
    }
}

/// The descriptors of an archive's only image, which is an index, and the layout that it was unpacked to.
fn unpacked(sandbox: &Sandbox, archive: &Path) -> (std::path::PathBuf, Vec<Value>) {
    let layout = sandbox.dir().join("layout");
    std::fs::remove_dir_all(&layout).ok();
    std::fs::create_dir(&layout).unwrap();
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&layout)).ok();
    let top: Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let top = &top["manifests"][0];
    assert_eq!(top["mediaType"], "application/vnd.oci.image.index.v1+json");
    let mut manifests = blob(&layout, top)["manifests"].as_array().unwrap().clone();
    manifests.sort_by_key(|manifest| platforms(std::slice::from_ref(manifest)));
    (layout, manifests)
}

/// A file of the last layer of an image in a layout.
fn file(layout: &Path, image: &Value, name: &str) -> String {
    let manifest = blob(layout, image);
    let layer = manifest["layers"].as_array().unwrap().last().unwrap();
    let digest = layer["digest"].as_str().unwrap().trim_start_matches("sha256:");
    run(Command::new("tar").arg("-xOf").arg(layout.join("blobs/sha256").join(digest)).arg(name))
        .ok()
}

fn platforms(manifests: &[Value]) -> Vec<String> {
    let one = |manifest: &Value| {
        let platform = &manifest["platform"];
        let parts = ["os", "architecture", "variant"].map(|part| platform[part].as_str());
        parts.into_iter().flatten().collect::<Vec<_>>().join("/")
    };
    let mut all: Vec<String> = manifests.iter().map(one).collect();
    // That of this machine comes first.
    all.sort();
    all
}

#[test]
fn several_platforms_are_an_index() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = context(&sandbox, "c", &[("Dockerfile", DOCKERFILE)]);
    let archive = sandbox.dir().join("app.tar");
    let output = format!("type=oci,dest={}", archive.display());
    let asked = "linux/amd64,linux/arm64,linux/arm/v7,linux/amd64";
    // Without a cache the stage for this machine is done once all the same.
    for names in [&["-t", "app:1"][..], &[]] {
        let fixed = ["--platform", asked, "--no-cache", "-o", &output];
        modern(&sandbox, &directory, &[&fixed, names].concat()).ok();
        let (layout, manifests) = unpacked(&sandbox, &archive);
        assert_eq!(platforms(&manifests), ["linux/amd64", "linux/arm/v7", "linux/arm64"]);
        let all = |name: &str| -> Vec<String> {
            manifests.iter().map(|image| file(&layout, image, name).trim().to_owned()).collect()
        };
        let once = all("once");
        assert!(once.iter().all(|uuid| *uuid == once[0]), "{once:?}");
        let host = host();
        let said = [
            format!("{host} linux/amd64 amd64"),
            format!("{host} linux/arm/v7 arm v7"),
            format!("{host} linux/arm64 arm64"),
        ];
        assert_eq!(all("said"), said);
        for (manifest, architecture) in manifests.iter().zip(["amd64", "arm", "arm64"]) {
            let config = blob(&layout, &blob(&layout, manifest)["config"]);
            assert_eq!(config["architecture"], architecture);
        }
    }
}

#[test]
fn the_name_is_that_of_all_and_goes_with_all() {
    let sandbox = with_busybox(Client::Ferry);
    let registry = FerryRegistry::start(&sandbox.dir().join("registry"), &[]);
    let directory = context(&sandbox, "c", &[("Dockerfile", DOCKERFILE)]);
    let name = format!("{}/app:1", registry.host());
    let asked = ["--platform", "linux/arm64,linux/amd64,linux/riscv64", "-t", &name];
    modern(&sandbox, &directory, &[&asked[..], &["--push", "--provenance", "true"]].concat()).ok();
    let index = manifest(&registry, "app", "1");
    let manifests = index["manifests"].as_array().unwrap();
    let unknown = "unknown/unknown";
    assert_eq!(
        platforms(manifests),
        ["linux/amd64", "linux/arm64", "linux/riscv64", unknown, unknown, unknown]
    );
    // Here it is the image of this machine, and one line.
    let inspect = ["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", &name];
    assert_eq!(sandbox.ok(&inspect), host());
    assert_eq!(sandbox.ok(&["images", "-aq"]).lines().count(), 2);
    // Another name has all of it, too, and the last one takes all along.
    let other = format!("{}/other:2", registry.host());
    sandbox.ok(&["tag", &name, &other]);
    sandbox.ok(&["rmi", &name]);
    sandbox.ok(&["push", "-q", &other]);
    let again = manifest(&registry, "other", "2");
    assert_eq!(platforms(again["manifests"].as_array().unwrap()).len(), 6);
    assert_eq!(again["manifests"][0]["digest"], index["manifests"][0]["digest"]);
    sandbox.ok(&["push", "-q", "--platform", "linux/riscv64", &other]);
    assert!(manifest(&registry, "other", "2")["layers"].is_array());
    let gone = sandbox.ok(&["rmi", &other]);
    assert_eq!(gone.matches("Deleted: sha256:").count(), 4, "{gone}");
    assert_eq!(sandbox.ok(&["images", "-aq"]).lines().count(), 1);
    // Built for one platform it is that one alone.
    modern(&sandbox, &directory, &["-t", &name, "--push"]).ok();
    assert!(manifest(&registry, "app", "1")["layers"].is_array());
}

#[test]
fn programs_of_other_machines_need_an_emulator() {
    let sandbox = with_busybox(Client::Ferry);
    let dockerfile = "FROM scratch\nCOPY Dockerfile /\nRUN [\"/program\"]\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    if !Path::new("/proc/sys/fs/binfmt_misc/qemu-s390x").exists() {
        modern(&sandbox, &directory, &["--platform", "linux/s390x"])
            .fails(1)
            .says("linux/s390x")
            .says("install qemu-user-static (qemu-s390x-static)");
    }
    let verify = ["--platform", "linux/amd64,linux/arm64", "--verify", "busybox"];
    modern(&sandbox, &directory, &verify).fails(1).says("--verify");
    modern(&sandbox, &directory, &["--platform", "linux/amd64,x/y/z/w"]).fails(1);
}

#[test]
fn a_base_of_another_machine_is_fetched_once() {
    let sandbox = with_busybox(Client::Ferry);
    let registry = FerryRegistry::start(&sandbox.dir().join("registry"), &[]);
    let directory = context(&sandbox, "c", &[("Dockerfile", DOCKERFILE)]);
    let name = format!("{}/app:1", registry.host());
    let asked = ["--platform", "linux/arm64,linux/amd64", "-t", &name, "--push"];
    modern(&sandbox, &directory, &asked).ok();
    sandbox.ok(&["rmi", &name]);
    sandbox.ok(&["pull", "-q", &name]);
    let foreign = if host() == "linux/amd64" { "linux/arm64" } else { "linux/amd64" };
    let text = format!("FROM {name}\nCOPY f /f\n");
    let directory = context(&sandbox, "d", &[("Dockerfile", &text), ("f", "f")]);
    let again = ["--platform", foreign, "--no-cache", "-t", "made"];
    modern(&sandbox, &directory, &again).ok();
    // The name means what it meant, and nobody needs to be asked again.
    let inspect =
        |name: &str| sandbox.ok(&["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", name]);
    assert_eq!(inspect(&name), host());
    drop(registry);
    modern(&sandbox, &directory, &again).ok();
    assert_eq!((inspect(&name).as_str(), inspect("made").as_str()), (host(), foreign));
    // As long as the cache does.
    sandbox.ok(&["rmi", "made"]);
    sandbox.ok(&["builder", "prune", "-af"]);
    modern(&sandbox, &directory, &again).fails(1);
}

/// With `FERRY_TEST_FOREIGN`, a tar of a root file system with a shell for linux/arm64, where the kernel has an emulator for that.
#[test]
fn steps_of_another_machine_run_where_there_is_an_emulator() {
    let Some(tar) = std::env::var("FERRY_TEST_FOREIGN").ok() else {
        eprintln!("SKIPPED: FERRY_TEST_FOREIGN names no root file system of linux/arm64");
        return;
    };
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["import", "--platform", "linux/arm64", &tar, "foreign"]);
    let dockerfile = "ARG TARGETARCH\nFROM busybox AS amd64\nFROM --platform=linux/arm64 foreign AS arm64\n\
        FROM $TARGETARCH AS make\nRUN uname -m > /m\nFROM scratch\nCOPY --from=make /m /\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let out = sandbox.dir().join("out");
    let words = ["--platform", "linux/arm64,linux/amd64", "-o", out.to_str().unwrap()];
    modern(&sandbox, &directory, &words).ok();
    let said = |name: &str| std::fs::read_to_string(out.join(name).join("m")).unwrap();
    assert_eq!(
        (said("linux_arm64").as_str(), said("linux_amd64").as_str()),
        ("aarch64\n", "x86_64\n")
    );
}
