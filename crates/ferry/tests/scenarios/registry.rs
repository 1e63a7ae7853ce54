//! Pulling, from Debian's docker-registry on loopback: FEATURES A30, A41's half.

use std::{path::Path, process::Command};

use ferry_testkit::{Client, Registry, RegistryOptions, Sandbox, eventually, programs, run};

use crate::with_busybox;

through_both!(
    pull_by_tag_and_digest,
    compressions_and_formats,
    credentials,
    platforms,
    mirrors,
    tls,
    what_is_not_there
);

/// Puts the sandbox's busybox into a registry with skopeo.
pub(crate) fn push(
    sandbox: &Sandbox,
    registry: &Registry,
    name: &str,
    more: &[&str],
) -> Option<()> {
    let skopeo = programs::find("skopeo")?;
    let tar = sandbox.dir().join("push.tar");
    drop(std::fs::remove_file(&tar));
    sandbox.ok(&["save", "-o", tar.to_str().unwrap(), "busybox"]);
    run(Command::new(skopeo)
        .args(["copy", "--insecure-policy", "--quiet", "--dest-tls-verify=false"])
        .args(more)
        .arg(format!("docker-archive:{}", tar.display()))
        .arg(format!("docker://{}/{name}", registry.host())))
    .ok();
    Some(())
}

fn started(sandbox: &Sandbox, options: &RegistryOptions) -> Option<Registry> {
    Registry::start(sandbox.dir(), options)
}

fn layers_on_disk(sandbox: &Sandbox) -> usize {
    let entries = std::fs::read_dir(sandbox.data().join("layers")).unwrap().flatten();
    entries.filter(|entry| entry.file_name().len() == 64).count()
}

fn pull_by_tag_and_digest(client: Client) {
    let sandbox = with_busybox(client);
    let Some(registry) = started(&sandbox, &RegistryOptions::default()) else { return };
    if push(&sandbox, &registry, "some/where:1", &[]).is_none() {
        return;
    }
    let name = format!("{}/some/where", registry.host());
    let pulled = sandbox.ok(&["pull", &format!("{name}:1")]);
    assert!(pulled.contains("1: Pulling from some/where"), "{pulled}");
    assert!(pulled.contains("Already exists"), "a layer that is there is not fetched: {pulled}");
    assert!(pulled.contains(&format!("Status: Downloaded newer image for {name}:1")), "{pulled}");
    assert!(sandbox.ok(&["pull", &format!("{name}:1")]).contains("Status: Image is up to date"));
    assert_eq!(layers_on_disk(&sandbox), 1);
    let digest =
        sandbox.ok(&["image", "inspect", "-f", "{{index .RepoDigests 0}}", &format!("{name}:1")]);
    sandbox.ok(&["rmi", &format!("{name}:1"), "busybox"]);
    sandbox.run(&["rmi", &digest]);
    eventually("its layer goes", || (layers_on_disk(&sandbox) == 0).then_some(()));
    // `run` pulls what is missing, and says so on standard error.
    let seen = sandbox.run(&["run", "--rm", &digest, "echo", "by digest"]);
    assert_eq!(seen.stdout, "by digest\n", "{seen}");
    assert!(seen.stderr.contains("Unable to find image"), "{seen}");
    assert!(sandbox.ok(&["images", "--digests"]).contains("<none>"));
    let wrong = format!("{name}@sha256:{}", "0".repeat(64));
    sandbox.run(&["pull", &wrong]).fails(1).says("manifest unknown");
}

fn compressions_and_formats(client: Client) {
    let sandbox = with_busybox(client);
    let Some(registry) = started(&sandbox, &RegistryOptions::default()) else { return };
    for (tag, options) in [
        ("schema2", ["--format=v2s2", "--dest-compress-format=gzip"]),
        ("oci-gzip", ["--format=oci", "--dest-compress-format=gzip"]),
        ("oci-zstd", ["--format=oci", "--dest-compress-format=zstd"]),
        ("plain", ["--format=oci", "--dest-decompress"]),
    ] {
        let name = format!("formats:{tag}");
        let options: Vec<&str> =
            options.into_iter().filter(|option| *option != "--dest-decompress").collect();
        if push(&sandbox, &registry, &name, &options).is_none() {
            return;
        }
        sandbox.ok(&["rmi", "-f", "busybox"]);
        let name = format!("{}/{name}", registry.host());
        sandbox.ok(&["pull", &name]);
        assert_eq!(sandbox.ok(&["run", "--rm", &name, "echo", tag]), tag);
        sandbox.ok(&["tag", &name, "busybox"]);
    }
}

fn credentials(client: Client) {
    let sandbox = with_busybox(client);
    let login = Some(("joe".to_owned(), "secret".to_owned()));
    let Some(registry) =
        started(&sandbox, &RegistryOptions { login, ..RegistryOptions::default() })
    else {
        return;
    };
    if push(&sandbox, &registry, "private:1", &["--dest-creds=joe:secret"]).is_none() {
        return;
    }
    let name = format!("{}/private:1", registry.host());
    sandbox.run(&["pull", &name]).fails(1).says("no basic auth credentials");
    let host = registry.host();
    let try_with = |password: &[u8]| {
        sandbox.with_input(&["login", "-u", "joe", "--password-stdin", &host], password)
    };
    try_with(b"wrong").fails(1).says("401 Unauthorized");
    assert!(try_with(b"secret\n").ok().contains("Login Succeeded"));
    sandbox.ok(&["pull", &name]);
    sandbox.ok(&["logout", &host]);
    sandbox.ok(&["rmi", &name]);
    sandbox.run(&["pull", &name]).fails(1);
    // A credential helper, as docker's protocol has it.
    let helper = sandbox.dir().join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = get ] && server=$(cat) && [ \"$server\" = {host} ] && echo '{{\"ServerURL\":\"{host}\",\"Username\":\"joe\",\"Secret\":\"secret\"}}'\n"
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = sandbox.dir().join("config/config.json");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, format!("{{\"credHelpers\": {{\"{host}\": \"test\"}}}}")).unwrap();
    let path = format!("{}:{}", sandbox.dir().display(), std::env::var("PATH").unwrap());
    run(sandbox.command(&["pull", &name]).env("PATH", path)).ok();
}

fn platforms(client: Client) {
    let sandbox = with_busybox(client);
    let Some(registry) = started(&sandbox, &RegistryOptions::default()) else { return };
    let Some(buildah) = programs::find("buildah") else { return };
    let store = sandbox.dir().join("buildah");
    let call = |args: &[&str]| {
        let dirs = ["--root", store.to_str().unwrap(), "--storage-driver", "vfs"];
        run(Command::new(&buildah).args(dirs).args(args)).ok()
    };
    let list = format!("{}/many:1", registry.host());
    call(&["manifest", "create", "many"]);
    for arch in ["arm64", "s390x"] {
        let container = call(&["from", "--arch", arch, "scratch"]);
        call(&["config", "--arch", arch, "--cmd", "x", &container]);
        let image = call(&["commit", "--quiet", &container, &format!("one:{arch}")]);
        call(&["manifest", "add", "--arch", arch, "many", &image]);
    }
    call(&[
        "manifest",
        "push",
        "--all",
        "--quiet",
        "--tls-verify=false",
        "many",
        &format!("docker://{list}"),
    ]);
    sandbox.run(&["pull", &list]).fails(1).says("no matching manifest for linux/amd64");
    sandbox.ok(&["pull", "--platform", "linux/arm64", &list]);
    assert_eq!(
        sandbox.ok(&["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", &list]),
        "linux/arm64"
    );
}

fn mirrors(client: Client) {
    let prepared = Sandbox::prepared(&[]).through(client);
    let Some(registry) = started(&prepared, &RegistryOptions::default()) else {
        prepared.start_daemon(None);
        return;
    };
    let down = "http://127.0.0.1:1";
    let sandbox = Sandbox::start_with(&[
        "--registry-mirror",
        down,
        "--registry-mirror",
        &format!("http://{}", registry.host()),
    ])
    .through(client);
    sandbox.busybox();
    prepared.start_daemon(None);
    if push(&sandbox, &registry, "library/mirrored:1", &[]).is_none() {
        return;
    }
    assert!(sandbox.ok(&["pull", "mirrored:1"]).contains("docker.io/library/mirrored:1"));
}

fn tls(client: Client) {
    let sandbox = with_busybox(client);
    let Some(openssl) = programs::find("openssl") else { return };
    let (certificate, key) = (sandbox.dir().join("cert.pem"), sandbox.dir().join("key.pem"));
    run(Command::new(openssl)
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate))
    .ok();
    let options =
        RegistryOptions { tls: Some((certificate.clone(), key)), ..RegistryOptions::default() };
    let Some(registry) = started(&sandbox, &options) else { return };
    if push(&sandbox, &registry, "safe:1", &[]).is_none() {
        return;
    }
    // Loopback registries are trusted whatever their certificate, as Docker has it.
    sandbox.ok(&["pull", &format!("{}/safe:1", registry.host())]);
}

fn what_is_not_there(client: Client) {
    let sandbox = with_busybox(client);
    let Some(registry) = started(&sandbox, &RegistryOptions::default()) else { return };
    let host = registry.host();
    sandbox.run(&["pull", &format!("{host}/nothing:1")]).fails(1).says("manifest unknown");
    sandbox.run(&["pull", "127.0.0.1:1/x"]).fails(1).says("connection refused");
    sandbox.run(&["pull", "some/UPPER"]).fails(1).says("must be lowercase");
    sandbox.run(&["pull", "a:b:c"]).fails(1).says("invalid reference format");
    let ingest = sandbox.data().join("ingest");
    eventually("nothing half fetched stays", || {
        (std::fs::read_dir(Path::new(&ingest)).unwrap().count() == 0).then_some(())
    });
}
