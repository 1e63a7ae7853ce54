//! Results as files: of several platforms, with what is said of them; and images whose layers are compressed on their way.

use std::{path::Path, process::Command};

use ferry_testkit::{Client, FerryRegistry, run};
use serde_json::Value;

use super::{
    attested::{blob, manifest},
    context,
    steps::modern,
};
use crate::with_busybox;

const DOCKERFILE: &str = "FROM --platform=$BUILDPLATFORM busybox AS make\n\
    ARG TARGETPLATFORM TARGETARCH\n\
    RUN mkdir -p /o/d && echo $TARGETPLATFORM > /o/said && echo x > /o/d/$TARGETARCH && ln -s said /o/link\n\
    FROM scratch AS one\nCOPY --from=make /o/d /d\n\
    FROM scratch\nCOPY --from=make /o /\n";
const BOTH: &str = "linux/amd64,linux/arm64";

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn listed(tar: &Path) -> Vec<String> {
    let text = run(Command::new("tar").arg("-tf").arg(tar)).ok();
    text.lines().map(|line| line.trim_end_matches('/').to_owned()).collect()
}

#[test]
fn several_platforms_are_directories() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = context(&sandbox, "c", &[("Dockerfile", DOCKERFILE)]);
    let (out, tar) = (sandbox.dir().join("out"), sandbox.dir().join("out.tar"));
    let (local, packed) =
        (format!("type=local,dest={}", out.display()), format!("type=tar,dest={}", tar.display()));
    modern(&sandbox, &directory, &["--platform", BOTH, "-o", &local, "-o", &packed]).ok();
    for (name, platform, own) in
        [("linux_amd64", "linux/amd64\n", "d/amd64"), ("linux_arm64", "linux/arm64\n", "d/arm64")]
    {
        assert_eq!(read(&out.join(name).join("said")), platform);
        assert_eq!(read(&out.join(name).join("link")), platform);
        assert_eq!(read(&out.join(name).join(own)), "x\n");
    }
    let wanted = ["", "/d", "/d/amd64", "/link", "/said"].map(|rest| format!("linux_amd64{rest}"));
    assert_eq!(listed(&tar)[..5], wanted);
    // All in one place, where they have no file in common.
    std::fs::remove_dir_all(&out).unwrap();
    let merged = format!("{local},platform-split=false");
    let refused = modern(&sandbox, &directory, &["--platform", BOTH, "-o", &merged]);
    refused.fails(1).says("when split option is disabled");
    modern(&sandbox, &directory, &["--platform", BOTH, "--target", "one", "-o", &merged]).ok();
    assert_eq!(read(&out.join("d/amd64")) + &read(&out.join("d/arm64")), "x\nx\n");
    // And one platform in a directory, where that is asked for.
    let split = format!("{local},platform-split=true");
    modern(&sandbox, &directory, &["--platform", "linux/arm64", "-o", &split]).ok();
    assert_eq!(read(&out.join("linux_arm64/said")), "linux/arm64\n");
    assert_eq!(sandbox.ok(&["images", "-aq"]).lines().count(), 1);
    let outputs = ["-o", &local, "-o", &format!("{packed},platform-split=false")];
    modern(&sandbox, &directory, &outputs).fails(1).says("must have the same platform-split");
    let image = ["-o", "type=image,platform-split=true"];
    modern(&sandbox, &directory, &image).fails(1).says("platform-split means nothing");
}

#[test]
fn what_is_said_of_files_is_beside_them() {
    let sandbox = with_busybox(Client::Ferry);
    let status = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5\n";
    let dockerfile = format!("{DOCKERFILE}COPY status /var/lib/dpkg/status\n");
    let directory = context(&sandbox, "c", &[("Dockerfile", &dockerfile), ("status", status)]);
    let out = sandbox.dir().join("out");
    let local = format!("type=local,dest={}", out.display());
    let said = ["--provenance", "mode=max", "--sbom", "true"];
    modern(&sandbox, &directory, &[&said[..], &["-o", &local]].concat()).ok();
    let json = |path: &Path| -> Value { serde_json::from_str(&read(path)).unwrap() };
    let provenance = json(&out.join("provenance.json"));
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v0.2");
    let subjects = provenance["subject"].as_array().unwrap();
    let sum = run(Command::new("sha256sum").arg(out.join("said"))).ok();
    let subject = subjects.iter().find(|subject| subject["name"] == "said").unwrap();
    assert_eq!(subject["digest"]["sha256"], sum.split_whitespace().next().unwrap());
    assert_eq!(subjects.len(), 3);
    assert_eq!(json(&out.join("sbom.spdx.json"))["predicate"]["packages"][0]["name"], "bash");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(out.join("provenance.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    // In a tar of several platforms, each has its own.
    let tar = sandbox.dir().join("out.tar");
    let packed = format!("type=tar,dest={},attestation-prefix=about-", tar.display());
    let several = ["--platform", BOTH, "-o", &packed];
    modern(&sandbox, &directory, &[&said[..], &several].concat()).ok();
    let all = listed(&tar);
    for name in ["linux_amd64/about-provenance.json", "linux_arm64/about-sbom.spdx.json"] {
        assert!(all.iter().any(|path| path == name), "{all:?}");
    }
    // Where they are all in one place, their names say which is whose.
    std::fs::remove_dir_all(&out).unwrap();
    let merged = format!("{local},platform-split=false");
    let words = ["--platform", BOTH, "--target", "one", "--provenance", "true", "-o", &merged];
    modern(&sandbox, &directory, &words).ok();
    let own = json(&out.join("provenance.linux_arm64.json"));
    assert_eq!(own["subject"][0]["name"], "d/arm64");
    assert!(out.join("provenance.linux_amd64.json").exists());
}

#[test]
fn layers_are_compressed_as_asked() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = context(&sandbox, "c", &[("Dockerfile", "FROM busybox\nRUN echo x > /x\n")]);
    let layout = sandbox.dir().join("layout");
    let archive = sandbox.dir().join("app.tar");
    let (gzip, zstd) = (&[0x1f, 0x8b][..], &[0x28, 0xb5, 0x2f, 0xfd][..]);
    for (kind, asked, media, magic) in [
        ("oci", "gzip", "tar+gzip", gzip),
        ("docker", "zstd,compression-level=9", "tar+zstd", zstd),
        ("oci", "uncompressed", "tar", &[][..]),
    ] {
        let output = format!("type={kind},dest={},compression={asked}", archive.display());
        modern(&sandbox, &directory, &["-t", "app:1", "-o", &output]).ok();
        std::fs::remove_dir_all(&layout).ok();
        std::fs::create_dir(&layout).unwrap();
        run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&layout)).ok();
        let index: Value = serde_json::from_str(&read(&layout.join("index.json"))).unwrap();
        let image = blob(&layout, &index["manifests"][0]);
        let old: Value = serde_json::from_str(&read(&layout.join("manifest.json"))).unwrap();
        for (at, layer) in image["layers"].as_array().unwrap().iter().enumerate() {
            let name = format!("application/vnd.oci.image.layer.v1.{media}");
            assert_eq!(layer["mediaType"], name.as_str());
            let path = layer["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
            assert_eq!(old[0]["Layers"][at], path.as_str());
            let bytes = std::fs::read(layout.join(&path)).unwrap();
            assert!(bytes.starts_with(magic) && layer["size"] == bytes.len());
        }
        // It loads as the image that it is.
        let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "app:1"]);
        sandbox.ok(&["rmi", "app:1"]);
        sandbox.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
        assert_eq!(sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "app:1"]), id);
        assert_eq!(sandbox.ok(&["run", "--rm", "app:1", "cat", "/x"]), "x");
    }
    for (asked, words) in [
        ("compression=estargz", "compression=estargz"),
        ("compression=gzip,compression-level=10", "10 is more than 9"),
    ] {
        let output = format!("type=oci,dest={},{asked}", archive.display());
        modern(&sandbox, &directory, &["-o", &output]).fails(1).says(words);
    }
}

#[test]
fn images_are_directories_where_no_tar_is_wanted() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = context(&sandbox, "c", &[("Dockerfile", "FROM busybox\nRUN echo x > /x\n")]);
    let layout = sandbox.dir().join("layout");
    let output = format!("type=oci,dest={},tar=false,compression=gzip", layout.display());
    for name in ["an/app:1", "an/app:2"] {
        modern(&sandbox, &directory, &["-t", name, "-o", &output]).ok();
    }
    // The same name again takes the place of what had it.
    let dockerfile = "FROM busybox\nRUN echo y > /x\n";
    std::fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    modern(&sandbox, &directory, &["-t", "an/app:1", "-o", &output]).ok();
    is_layout(&layout, &["docker.io/an/app:1", "docker.io/an/app:2"]);
    let archive = sandbox.dir().join("layout.tar");
    run(Command::new("tar").arg("-C").arg(&layout).arg("-cf").arg(&archive).arg(".")).ok();
    sandbox.ok(&["rmi", "-f", "an/app:1", "an/app:2"]);
    sandbox.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
    for (name, text) in [("an/app:1", "y"), ("an/app:2", "x")] {
        assert_eq!(sandbox.ok(&["run", "--rm", name, "cat", "/x"]), text);
    }
    // Without a name it is the latest one.
    let nameless = sandbox.dir().join("nameless");
    let output = format!("type=docker,dest={},tar=false", nameless.display());
    modern(&sandbox, &directory, &["-o", &output]).ok();
    let index: Value = serde_json::from_str(&read(&nameless.join("index.json"))).unwrap();
    let said = &index["manifests"][0]["annotations"];
    assert_eq!(said["org.opencontainers.image.ref.name"], "latest", "{index}");
    let file = format!("type=oci,dest={},tar=false", archive.display());
    modern(&sandbox, &directory, &["-o", &file]).fails(1).says("is a file");
    for (output, words) in [
        ("type=oci,tar=false", "dest is required for oci exporter"),
        ("type=oci,dest=-,tar=false", "dest cannot be stdout for oci exporter"),
        ("type=local,dest=x,tar=false", "tar means nothing for type=local"),
    ] {
        modern(&sandbox, &directory, &["-o", output]).fails(1).says(words);
    }
}

/// Whether a directory is an OCI layout with these images, whose blobs are what they are called.
pub(crate) fn is_layout(directory: &Path, names: &[&str]) {
    assert!(read(&directory.join("oci-layout")).contains("\"1.0.0\""));
    let sums = "cd \"$1\" && for f in *; do echo \"$f  $f\"; done | sha256sum -c --quiet";
    let blobs = directory.join("blobs/sha256");
    run(Command::new("sh").args(["-ec", sums, "sh"]).arg(&blobs)).ok();
    let index: Value = serde_json::from_str(&read(&directory.join("index.json"))).unwrap();
    let images = index["manifests"].as_array().unwrap();
    let mut listed: Vec<&str> = images
        .iter()
        .map(|image| image["annotations"]["io.containerd.image.name"].as_str().unwrap())
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, names);
    for image in images {
        let manifest = blob(directory, image);
        let config = std::iter::once(&manifest["config"]);
        for part in config.chain(manifest["layers"].as_array().unwrap()) {
            let path = blobs.join(part["digest"].as_str().unwrap().trim_start_matches("sha256:"));
            assert_eq!(part["size"], std::fs::metadata(path).unwrap().len());
        }
    }
}

#[test]
fn a_registry_gets_layers_as_asked() {
    let sandbox = with_busybox(Client::Ferry);
    let registry = FerryRegistry::start(&sandbox.dir().join("registry"), &[]);
    let directory = context(&sandbox, "c", &[("Dockerfile", "FROM busybox\nRUN echo x > /x\n")]);
    let name = format!("{}/app:1", registry.host());
    let push = |more: &str| {
        let output = format!("type=image,push=true{more}");
        modern(&sandbox, &directory, &["-t", &name, "-o", &output]).ok();
        manifest(&registry, "app", "1")
    };
    let kinds = |manifest: &Value| -> Vec<String> {
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect()
    };
    let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    assert_eq!(kinds(&push("")), [docker, docker]);
    // What is there already will do, unless it is not wanted in any form but one.
    assert_eq!(kinds(&push(",compression=zstd")), [docker, docker]);
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let forced = push(",compression=zstd,force-compression=true");
    assert_eq!(kinds(&forced), [zstd, zstd]);
    assert_eq!(forced["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    sandbox.ok(&["rmi", &name]);
    sandbox.ok(&["pull", "-q", &name]);
    assert_eq!(sandbox.ok(&["run", "--rm", &name, "cat", "/x"]), "x");
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let oci = push(",compression=gzip,force-compression=true,oci-mediatypes=true");
    assert_eq!(kinds(&oci), [gzip, gzip]);
}
