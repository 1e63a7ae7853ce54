//! What is said of an image that was built: SLSA and SPDX, in the archive and at the registry that it goes to.

use std::{path::Path, process::Command};

use ferry_testkit::{Client, FerryRegistry, run};
use serde_json::Value;

use super::{context, steps::modern};
use crate::with_busybox;

const STATUS: &str = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2-1\n\n\
    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";

/// A blob of an unpacked layout, which has the digest that it is called by.
pub(super) fn blob(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let path = layout.join("blobs/sha256").join(digest);
    let sum = run(Command::new("sha256sum").arg(&path)).ok();
    assert!(sum.starts_with(digest), "{sum}");
    assert_eq!(descriptor["size"], std::fs::metadata(&path).unwrap().len());
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A manifest or an index at a registry.
#[track_caller]
pub(crate) fn manifest(registry: &FerryRegistry, repository: &str, name: &str) -> Value {
    let kinds = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
        application/vnd.docker.distribution.manifest.v2+json";
    let path = format!("/v2/{repository}/manifests/{name}");
    registry.http().with("Accept", kinds).ask("GET", &path).is(200).json()
}

#[test]
fn an_archive_has_what_is_said_of_its_image() {
    let sandbox = with_busybox(Client::Ferry);
    let dockerfile = "FROM busybox\nARG WHO\nCOPY status /var/lib/dpkg/status\nRUN printf 'ID=debian\\nVERSION_ID=\"12\"\\n' > /etc/os-release\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile), ("status", STATUS)]);
    let layout = sandbox.dir().join("layout");
    let archive = sandbox.dir().join("app.tar");
    let build = |args: &[&str]| {
        let output = format!("type=oci,dest={}", archive.display());
        let fixed = ["-t", "app:1", "--build-arg", "WHO=somebody", "-o", &output];
        modern(&sandbox, &directory, &[&fixed, args].concat()).ok();
        std::fs::remove_dir_all(&layout).ok();
        std::fs::create_dir(&layout).unwrap();
        run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&layout)).ok();
        let index: Value =
            serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        index["manifests"][0].clone()
    };
    let top = build(&["--provenance", "mode=max", "--sbom=true"]);
    assert_eq!(top["mediaType"], "application/vnd.oci.image.index.v1+json");
    let index = blob(&layout, &top);
    let (image, said) = (&index["manifests"][0], &index["manifests"][1]);
    assert_eq!(image["platform"]["os"], "linux");
    assert_eq!(said["platform"]["architecture"], "unknown");
    let annotations = &said["annotations"];
    assert_eq!(annotations["vnd.docker.reference.type"], "attestation-manifest");
    assert_eq!(annotations["vnd.docker.reference.digest"], image["digest"]);
    let manifest = blob(&layout, said);
    let statements = blob(&layout, &manifest["config"])["rootfs"]["diff_ids"].clone();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    for (at, layer) in layers.iter().enumerate() {
        assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
        assert_eq!(layer["digest"], statements[at]);
        let statement = blob(&layout, layer);
        assert_eq!(layer["annotations"]["in-toto.io/predicate-type"], statement["predicateType"]);
        let subject = &statement["subject"][0];
        assert!(
            subject["name"].as_str().unwrap().starts_with("pkg:docker/app@1?platform=linux%2F")
        );
        let digest = image["digest"].as_str().unwrap();
        assert_eq!(format!("sha256:{}", subject["digest"]["sha256"].as_str().unwrap()), digest);
    }
    let provenance = blob(&layout, &layers[0]);
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v0.2");
    let predicate = &provenance["predicate"];
    let material = predicate["materials"][0]["uri"].as_str().unwrap();
    assert!(material.starts_with("pkg:docker/busybox@latest"), "{predicate}");
    let parameters = &predicate["invocation"]["parameters"];
    assert_eq!(parameters["args"]["build-arg:WHO"], "somebody");
    let spdx = &blob(&layout, &layers[1])["predicate"];
    let packages = spdx["packages"].as_array().unwrap();
    assert_eq!((packages.len(), &packages[0]["name"]), (1, &"bash".into()));
    assert_eq!(
        packages[0]["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-12"
    );
    // It loads as the image that it is.
    let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "app:1"]);
    sandbox.ok(&["rmi", "app:1"]);
    sandbox.ok(&["load", "-q", "-i", archive.to_str().unwrap()]);
    assert_eq!(sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "app:1"]), id);
    // Arguments are said only where all is; what was removed is not said any more.
    let index = blob(&layout, &build(&["--attest", "type=provenance,version=v1"]));
    let manifest = blob(&layout, &index["manifests"][1]);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    let statement = blob(&layout, &manifest["layers"][0]);
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["configSource"]["path"], "Dockerfile");
    assert_eq!(definition["externalParameters"]["request"]["args"]["build-arg:WHO"], Value::Null);
    assert_eq!(build(&[])["mediaType"], "application/vnd.oci.image.manifest.v1+json");
}

#[test]
fn it_goes_with_the_image_to_a_registry() {
    let sandbox = with_busybox(Client::Ferry);
    let registry = FerryRegistry::start(&sandbox.dir().join("registry"), &[]);
    let directory = context(&sandbox, "c", &[("Dockerfile", "FROM busybox\nRUN echo x > /x\n")]);
    let name = format!("{}/app:1", registry.host());
    modern(
        &sandbox,
        &directory,
        &["-t", &name, "--push", "--provenance", "true", "--sbom", "true"],
    )
    .ok();
    let index = manifest(&registry, "app", "1");
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let (image, said) = (&index["manifests"][0], &index["manifests"][1]);
    assert_eq!(said["annotations"]["vnd.docker.reference.digest"], image["digest"]);
    let image = manifest(&registry, "app", image["digest"].as_str().unwrap());
    let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", &name]);
    assert_eq!(image["config"]["digest"], id.as_str());
    assert_eq!(image["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let said = manifest(&registry, "app", said["digest"].as_str().unwrap());
    let kinds: Vec<&str> = said["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["annotations"]["in-toto.io/predicate-type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["https://slsa.dev/provenance/v0.2", "https://spdx.dev/Document"]);
    // Whoever pulls it gets the image.
    sandbox.ok(&["rmi", &name]);
    sandbox.ok(&["pull", "-q", &name]);
    assert_eq!(sandbox.ok(&["run", "--rm", &name, "cat", "/x"]), "x");
    // An image of which nothing is said goes alone.
    modern(&sandbox, &directory, &["-t", &name, "--push"]).ok();
    assert!(manifest(&registry, "app", "1")["layers"].is_array());
}

#[test]
fn what_nobody_can_say_is_refused() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = context(&sandbox, "c", &[("Dockerfile", "FROM busybox\n")]);
    let refused = |args: &[&str], words: &str| {
        modern(&sandbox, &directory, args).fails(1).says(words);
    };
    refused(&["--sbom", "generator=x"], "the attribute generator=x of an attestation");
    refused(&["--attest", "type=other"], "attestations of type \"other\"");
    modern(&sandbox, &directory, &["--provenance", "false", "--sbom=0"]).ok();
}
