//! Pushing, to Debian's docker-registry on loopback, and what other tools read there.

use std::process::Command;

use ferry_testkit::{Client, Registry, RegistryOptions, Sandbox, programs, run};
use serde_json::Value;

use crate::with_busybox;

through_both!(
    pushed_and_read_by_skopeo,
    nothing_goes_twice,
    a_pulled_image_goes_back_as_it_came,
    all_tags_and_quiet,
    credentials_and_refusals,
    platforms
);

fn skopeo(arguments: &[&str]) -> Option<String> {
    let skopeo = programs::find("skopeo")?;
    Some(run(Command::new(skopeo).args(arguments)).ok())
}

fn inspect(name: &str, more: &[&str]) -> Option<Value> {
    let name = format!("docker://{name}");
    let mut arguments = vec!["inspect", "--tls-verify=false"];
    arguments.extend(more);
    arguments.push(&name);
    serde_json::from_str(&skopeo(&arguments)?).ok()
}

/// Two layers, the upper of a few megabytes that do not compress.
fn two_layers(sandbox: &Sandbox, name: &str) {
    let script = "head -c 3000000 /dev/urandom > /big; echo hello > /greeting";
    sandbox.ok(&["run", "--name", "maker", "busybox", "sh", "-c", script]);
    sandbox.ok(&["commit", "maker", name]);
    sandbox.ok(&["rm", "maker"]);
}

fn pushed_and_read_by_skopeo(client: Client) {
    let sandbox = with_busybox(client);
    let Some(registry) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else {
        return;
    };
    let name = format!("{}/some/where:1", registry.host());
    two_layers(&sandbox, &name);
    let seen = sandbox.ok(&["push", &name]);
    let repository = name.trim_end_matches(":1");
    assert!(seen.contains(&format!("The push refers to repository [{repository}]")), "{seen}");
    assert_eq!(seen.matches(": Preparing").count(), 2, "{seen}");
    assert_eq!(seen.matches(": Pushed").count(), 2, "{seen}");
    let Some(config) = inspect(&name, &["--config"]) else { return };
    let diff_ids = sandbox.ok(&["image", "inspect", "-f", "{{json .RootFS.Layers}}", &name]);
    let diff_ids: Value = serde_json::from_str(&diff_ids).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"], diff_ids);
    let digest = inspect(&name, &[]).unwrap()["Digest"].as_str().unwrap().to_owned();
    assert!(seen.contains(&format!("1: digest: {digest} size: ")), "{seen}");
    let known = sandbox.ok(&["image", "inspect", "-f", "{{json .RepoDigests}}", &name]);
    assert!(known.contains(&digest), "a push makes the digest known: {known}");
    // From nothing, by its digest.
    let id = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", &name]);
    sandbox.ok(&["rmi", "-f", &id]);
    let by_digest = format!("{repository}@{digest}");
    sandbox.ok(&["pull", &by_digest]);
    assert_eq!(sandbox.ok(&["run", "--rm", &by_digest, "cat", "/greeting"]), "hello");
    assert_eq!(sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", &by_digest]), id);
    let (status, answer) =
        sandbox.api().call("GET", &format!("/distribution/{by_digest}/json"), None);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["Descriptor"]["digest"].as_str(), Some(digest.as_str()));
    assert_eq!(answer["Platforms"][0]["os"], "linux");
}

fn nothing_goes_twice(client: Client) {
    let sandbox = with_busybox(client);
    let Some(registry) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else {
        return;
    };
    let host = registry.host();
    let (one, other) = (format!("{host}/one/a:1"), format!("{host}/two/b:1"));
    sandbox.ok(&["tag", "busybox", &one]);
    sandbox.ok(&["tag", "busybox", &other]);
    let first = sandbox.ok(&["push", &one]);
    assert!(first.contains(": Pushed"), "{first}");
    let again = sandbox.ok(&["push", &one]);
    assert!(again.contains(": Layer already exists") && !again.contains("Pushed"), "{again}");
    let last = |text: &str| text.lines().last().unwrap().to_owned();
    assert_eq!(last(&first), last(&again), "the same bytes each time");
    let mounted = sandbox.ok(&["push", &other]);
    assert!(mounted.contains(": Mounted from one/a"), "{mounted}");
    assert_eq!(last(&first), last(&mounted));
}

fn a_pulled_image_goes_back_as_it_came(client: Client) {
    let sandbox = with_busybox(client);
    let Some(registry) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else {
        return;
    };
    let tar = sandbox.dir().join("saved.tar");
    sandbox.ok(&["save", "-o", tar.to_str().unwrap(), "busybox"]);
    let origin = format!("{}/made/elsewhere:z", registry.host());
    let to = format!("docker://{origin}");
    let from = format!("docker-archive:{}", tar.display());
    let options = ["--dest-tls-verify=false", "--format=oci", "--dest-compress-format=zstd"];
    let mut arguments = vec!["copy", "--insecure-policy", "--quiet"];
    arguments.extend(options);
    arguments.extend([from.as_str(), to.as_str()]);
    if skopeo(&arguments).is_none() {
        return;
    }
    sandbox.ok(&["rmi", "-f", "busybox"]);
    sandbox.ok(&["pull", &origin]);
    let copy = format!("{}/copies/of:it", registry.host());
    sandbox.ok(&["tag", &origin, &copy]);
    let seen = sandbox.ok(&["push", &copy]);
    assert!(seen.contains("Mounted from made/elsewhere"), "{seen}");
    assert_eq!(inspect(&origin, &["--raw"]), inspect(&copy, &["--raw"]));
    assert_eq!(inspect(&origin, &[]).unwrap()["Digest"], inspect(&copy, &[]).unwrap()["Digest"]);
}

fn all_tags_and_quiet(client: Client) {
    let sandbox = with_busybox(client);
    let Some(registry) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else {
        return;
    };
    let repository = format!("{}/many", registry.host());
    for tag in ["1", "2"] {
        sandbox.ok(&["tag", "busybox", &format!("{repository}:{tag}")]);
    }
    let one = format!("{repository}:1");
    assert_eq!(sandbox.ok(&["push", "-q", &one]).trim(), one);
    let seen = sandbox.ok(&["push", "-a", &repository]);
    assert!(seen.contains("1: digest: ") && seen.contains("2: digest: "), "{seen}");
    let Some(all) = inspect(&one, &[]) else { return };
    // Debian's registry lists them in no order.
    let tags: Vec<&str> =
        all["RepoTags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(tags.len() == 2 && tags.contains(&"1") && tags.contains(&"2"), "{tags:?}");
    sandbox.run(&["push", "-a", &one]).fails(1).says("tag can't be used with --all-tags/-a");
    sandbox.run(&["push", &repository]).fails(1).says("tag does not exist: ");
    let nothing = format!("{}/nothing", registry.host());
    sandbox
        .run(&["push", &nothing])
        .fails(1)
        .says(&format!("An image does not exist locally with the tag: {nothing}"));
}

fn credentials_and_refusals(client: Client) {
    let sandbox = with_busybox(client);
    let login = Some(("joe".to_owned(), "secret".to_owned()));
    let options = RegistryOptions { login, ..RegistryOptions::default() };
    let Some(registry) = Registry::start(sandbox.dir(), &options) else { return };
    let host = registry.host();
    let name = format!("{host}/private:1");
    sandbox.ok(&["tag", "busybox", &name]);
    sandbox.run(&["push", &name]).fails(1).says("no basic auth credentials");
    sandbox.with_input(&["login", "-u", "joe", "--password-stdin", &host], b"secret\n").ok();
    assert!(sandbox.ok(&["push", &name]).contains("Pushed"));
    sandbox.ok(&["logout", &host]);
    sandbox.run(&["push", &name]).fails(1).says("no basic auth credentials");
    sandbox.ok(&["tag", "busybox", "127.0.0.1:1/x:1"]);
    sandbox.run(&["push", "127.0.0.1:1/x:1"]).fails(1).says("connection refused");
    sandbox.run(&["push", "UPPER"]).fails(1).says("must be lowercase");
    let digest = format!("x@sha256:{}", "0".repeat(64));
    sandbox.run(&["push", &digest]).fails(1).says("cannot push a digest reference");
}

fn platforms(client: Client) {
    let sandbox = with_busybox(client);
    let Some(registry) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else {
        return;
    };
    let name = format!("{}/for/whom:1", registry.host());
    sandbox.ok(&["tag", "busybox", &name]);
    let seen = sandbox.run(&["push", "--platform", "linux/s390x", &name]);
    seen.fails(1).says("does not match the specified platform (linux/s390x)");
    assert!(sandbox.ok(&["push", "--platform", "linux/amd64", &name]).contains("Pushed"));
    sandbox.run(&["push", "--platform", "x/y/z/w", &name]).fails(1);
}
