//! `ferry registry serve` and the clients that people have: our own, docker's, skopeo, buildah; accounts, TLS, upkeep, crashes.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{
    Client, FerryRegistry, Http, Run, Sandbox, eventually, programs, run, run_with_input,
};

use crate::{scratch, with_busybox};

through_both!(push_and_pull, logins);

fn push_and_pull(client: Client) {
    let sandbox = with_busybox(client);
    let registry = FerryRegistry::start(&sandbox.dir().join("registry"), &[]);
    let name = format!("{}/team/busybox", registry.host());
    sandbox.ok(&["tag", "busybox", &format!("{name}:1")]);
    let pushed = sandbox.ok(&["push", &format!("{name}:1")]);
    assert!(pushed.contains("1: digest: sha256:"), "{pushed}");
    // Another repository gets the layer by a mount.
    let other = format!("{}/other/busybox:2", registry.host());
    sandbox.ok(&["tag", "busybox", &other]);
    let pushed = sandbox.ok(&["push", &other]);
    assert!(pushed.contains("Mounted from team/busybox"), "{pushed}");
    sandbox.ok(&["rmi", "-f", &format!("{name}:1"), &other, "busybox"]);
    let seen = sandbox.run(&["run", "--rm", &format!("{name}:1"), "echo", "from ours"]);
    assert_eq!(seen.stdout, "from ours\n", "{seen}");
    let missing = sandbox.run(&["pull", &format!("{name}:nothing")]).fails(1);
    assert!(missing.stderr.contains("manifest unknown"), "{missing}");
    let blobs = files(&registry.root().join("blobs"));
    assert_eq!(blobs.len(), 3, "a layer, a configuration, a manifest: each once: {blobs:?}");
    assert_eq!(registry.log(), "");
}

fn logins(client: Client) {
    let sandbox = with_busybox(client);
    let root = sandbox.dir().join("registry");
    add_user(&root, "ann", "secret", &[]);
    add_user(&root, "bob", "word", &["--grant", "bob=pull,push", "--grant", "public=pull"]);
    let registry = FerryRegistry::start(&root, &["--anonymous-pull", "public"]);
    let image = |path: &str| format!("{}/{path}", registry.host());
    for name in ["public/x", "bob/x", "ann/x"] {
        sandbox.ok(&["tag", "busybox", &image(name)]);
    }
    let refused = sandbox.run(&["push", &image("public/x")]).fails(1);
    assert!(
        refused.stderr.contains("denied") || refused.stderr.contains("unauthorized"),
        "{refused}"
    );
    let wrong =
        sandbox.with_input(&["login", "-u", "ann", "--password-stdin", registry.host()], b"no");
    assert!(wrong.fails(1).stderr.contains("unauthorized"));
    log_in(&sandbox, registry.host(), "ann", b"secret");
    sandbox.ok(&["push", &image("public/x")]);
    sandbox.ok(&["push", &image("ann/x")]);
    log_in(&sandbox, registry.host(), "bob", b"word");
    sandbox.ok(&["push", &image("bob/x")]);
    let denied = sandbox.run(&["push", &image("ann/x")]).fails(1);
    assert!(denied.stderr.contains("denied"), "{denied}");
    sandbox.run(&["pull", &image("ann/x")]).fails(1);
    sandbox.ok(&["pull", &image("public/x")]);
    sandbox.ok(&["logout", registry.host()]);
    // Nobody in particular.
    sandbox.ok(&["pull", &image("public/x")]);
    sandbox.run(&["pull", &image("bob/x")]).fails(1);
    // A robot's secret, and its end.
    let secret =
        FerryRegistry::command(&root, &["token", "create", "ci", "--grant", "ci=pull,push"]).ok();
    ferry_testkit::eventually("the server knows the robot", || {
        let seen = sandbox.with_input(
            &["login", "-u", "ci", "--password-stdin", registry.host()],
            secret.as_bytes(),
        );
        (seen.code == 0).then_some(())
    });
    sandbox.ok(&["tag", "busybox", &image("ci/x")]);
    sandbox.ok(&["push", &image("ci/x")]);
    FerryRegistry::command(&root, &["user", "rm", "ci"]).ok();
    eventually("the robot may nothing any more", || {
        (sandbox.run(&["push", &image("ci/x")]).code != 0).then_some(())
    });
    let audit = std::fs::read_to_string(root.join("audit.log")).unwrap();
    assert!(
        audit.contains("\"who\":\"bob\"") && audit.contains("\"repository\":\"bob/x\""),
        "{audit}"
    );
    for change in ["\"add user\",\"account\":\"ann\"", "\"make robot\"", "\"remove account\""] {
        assert!(audit.contains(change), "{change}: {audit}");
    }
    let access = std::fs::read_to_string(root.join("access.json")).unwrap();
    assert!(!access.contains("secret\"") && !access.contains(&secret), "only hashes are kept");
}

/// Without a helper program a password is encrypted, docker's own program gets it by ours, and plain text is for whoever asks.
#[test]
fn a_password_is_not_in_plain_text() {
    let sandbox = with_busybox(Client::Ferry);
    let root = sandbox.dir().join("registry");
    add_user(&root, "ann", "very-secret", &[]);
    let registry = FerryRegistry::start(&root, &[]);
    let (host, image) = (registry.host(), format!("{}/a/x:1", registry.host()));
    sandbox.ok(&["tag", "busybox", &image]);
    let config = sandbox.dir().join("config");
    // "ann:very-secret" and its parts, as docker would write them.
    let plain = ["very-secret", "YW5uOnZlcnktc2VjcmV0", "dmVyeS1zZWNyZXQ"];
    let is_plain = || {
        files(&config).iter().any(|file| {
            let bytes = std::fs::read(file).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            plain.iter().any(|secret| text.contains(secret))
        })
    };
    let login = |more: &[&str]| {
        let args = [&["login", "-u", "ann", "--password-stdin"], more, &[host]].concat();
        let seen = sandbox.with_input(&args, b"very-secret\n");
        assert!(seen.code == 0 && seen.stdout.contains("Login Succeeded"), "{seen}");
        seen.stderr
    };
    let said = login(&[]);
    assert!(said.contains("encrypted") && said.contains("docker-credential-ferry"), "{said}");
    assert!(!is_plain());
    sandbox.ok(&["push", &image]);
    // Docker's program, and whoever else speaks its protocol.
    let bin = sandbox.dir().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let helper = bin.join("docker-credential-ferry");
    std::os::unix::fs::symlink(ferry_testkit::binary(), &helper).unwrap();
    let ask = |verb: &str, input: &str| {
        let mut command = Command::new(&helper);
        command.arg(verb).env("DOCKER_CONFIG", &config).env("XDG_DATA_HOME", config.join("share"));
        run_with_input(&mut command, input.as_bytes())
    };
    let given: serde_json::Value = serde_json::from_str(&ask("get", host).ok()).unwrap();
    let expected =
        serde_json::json!({ "ServerURL": host, "Username": "ann", "Secret": "very-secret" });
    assert_eq!(given, expected);
    assert_eq!(ask("list", "").ok().trim(), format!("{{\"{host}\":\"ann\"}}"));
    let nothing = ask("get", "nowhere.example").fails(1).stdout;
    assert_eq!(nothing.trim(), "credentials not found in native keychain");
    if let Some(docker) = programs::find("docker") {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(docker);
        command.args(["push", &image]).env("DOCKER_HOST", sandbox.host()).env("PATH", path);
        command.env("DOCKER_CONFIG", &config).env("XDG_DATA_HOME", config.join("share"));
        run(&mut command).ok();
    }
    let said = login(&["--plain-text"]);
    assert!(said.contains("stored unencrypted") && is_plain(), "{said}");
    sandbox.ok(&["push", &image]);
    // The next one without the flag takes it away.
    login(&[]);
    assert!(!is_plain());
    ask("erase", host).ok();
    assert_ne!(sandbox.run(&["push", &image]).code, 0);
    let entry =
        format!("{{\"ServerURL\":\"{host}\",\"Username\":\"ann\",\"Secret\":\"very-secret\"}}");
    ask("store", &entry).ok();
    sandbox.ok(&["push", &image]);
    sandbox.ok(&["logout", host]);
    assert_ne!(sandbox.run(&["push", &image]).code, 0);
    let left = std::fs::read_to_string(config.join("config.json")).unwrap();
    assert!(!left.contains(host), "{left}");
    assert!(
        !std::fs::read_to_string(config.join("ferry-credentials.json")).unwrap().contains(host)
    );
}

fn log_in(sandbox: &Sandbox, host: &str, user: &str, password: &[u8]) {
    let seen = sandbox.with_input(&["login", "-u", user, "--password-stdin", host], password).ok();
    assert!(seen.contains("Login Succeeded"), "{seen}");
}

pub(crate) fn add_user(root: &Path, name: &str, password: &str, more: &[&str]) {
    let mut command = Command::new(ferry_testkit::binary());
    command
        .args(["registry", "user", "add", name, "--password-stdin", "--root"])
        .arg(root)
        .args(more);
    run_with_input(&mut command, password.as_bytes()).ok();
}

pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Copies an image within a registry by skopeo.
fn skopeo(args: &[&str]) -> Option<Run> {
    let skopeo = programs::find("skopeo")?;
    Some(run(Command::new(skopeo).arg("--insecure-policy").args(args)))
}

#[test]
fn other_peoples_clients() {
    let sandbox = with_busybox(Client::Ferry);
    let root = sandbox.dir().join("registry");
    add_user(&root, "ann", "secret", &[]);
    let registry = FerryRegistry::start(&root, &[]);
    let host = registry.host();
    let tar = sandbox.dir().join("busybox.tar");
    sandbox.ok(&["save", "-o", tar.to_str().unwrap(), "busybox"]);
    let from = format!("docker-archive:{}", tar.display());
    let (to, copy) =
        (format!("docker://{host}/a/busybox:1"), format!("docker://{host}/b/busybox:zstd"));
    let Some(seen) =
        skopeo(&["copy", "--dest-tls-verify=false", "--dest-creds", "ann:secret", &from, &to])
    else {
        return;
    };
    seen.ok();
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--src-creds",
        "ann:secret",
        "--dest-creds",
        "ann:secret",
        "--format",
        "oci",
        "--dest-compress-format",
        "zstd",
        &to,
        &copy,
    ])
    .unwrap()
    .ok();
    let wrong = skopeo(&["inspect", "--tls-verify=false", "--creds", "ann:no", &to]).unwrap();
    assert_ne!(wrong.code, 0);
    let inspected =
        skopeo(&["inspect", "--raw", "--tls-verify=false", "--creds", "ann:secret", &copy])
            .unwrap()
            .ok();
    assert!(inspected.contains("vnd.oci.image.manifest.v1+json"), "{inspected}");
    let tags = skopeo(&[
        "list-tags",
        "--tls-verify=false",
        "--creds",
        "ann:secret",
        &copy[..copy.len() - 5],
    ])
    .unwrap()
    .ok();
    assert!(tags.contains("\"zstd\""), "{tags}");
    skopeo(&["delete", "--tls-verify=false", "--creds", "ann:secret", &copy]).unwrap().ok();
    if let Some(buildah) = programs::find("buildah") {
        let storage = sandbox.dir().join("buildah");
        let args = |command: &str| {
            let mut buildah = Command::new(&buildah);
            buildah.args([
                "--root",
                storage.join("root").to_str().unwrap(),
                "--runroot",
                storage.join("run").to_str().unwrap(),
                "--storage-driver",
                "vfs",
                command,
                "--tls-verify=false",
                "--creds",
                "ann:secret",
            ]);
            buildah
        };
        run(args("pull").arg(format!("{host}/a/busybox:1"))).ok();
        run(args("push")
            .arg(format!("{host}/a/busybox:1"))
            .arg(format!("docker://{host}/c/busybox:1")))
        .ok();
        drop(run(Command::new("chmod").args(["-R", "u+w"]).arg(&storage)));
    }
    assert_eq!(
        registry.log().lines().filter(|line| !line.contains("wrong credentials")).count(),
        0,
        "{}",
        registry.log()
    );
}

#[test]
fn tls_of_our_own_making() {
    let dir = scratch("registry-tls");
    let registry = FerryRegistry::start(
        &dir.join("root"),
        &["--tls-self-signed", "localhost", "--tls-self-signed", "127.0.0.1"],
    );
    let print = registry.lines()[1].trim().rsplit_once(' ').unwrap().1.to_owned();
    assert_eq!(print.len(), 95, "32 bytes: {print}");
    if let Some([curl, openssl]) = programs::all(["curl", "openssl"]) {
        let certificate = dir.join("root/tls.crt");
        let url = format!("https://{}/v2/", registry.host());
        let seen =
            run(Command::new(&curl).args(["-fsS", "--cacert"]).arg(&certificate).arg(&url)).ok();
        assert_eq!(seen, "{}");
        assert_ne!(
            run(Command::new(&curl).args(["-fsS"]).arg(&url)).code,
            0,
            "nobody trusts it yet"
        );
        let shown = run(Command::new(&openssl)
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(&certificate))
        .ok();
        assert!(shown.ends_with(&print), "{shown}");
    }
    // It is the same one the next time.
    let root = registry.root().to_owned();
    registry.kill();
    let again = FerryRegistry::start(&root, &["--tls-self-signed", "localhost"]);
    assert!(again.lines()[1].trim().ends_with(&print));
    drop(again);
}

#[test]
fn what_others_reach_is_not_open_by_accident() {
    let dir = scratch("registry-exposed");
    let refused = |flags: &[&str]| {
        let mut args = vec!["serve", "--addr", "0.0.0.0:0"];
        args.extend(flags);
        FerryRegistry::command(&dir.join("root"), &args).fails(1).stderr
    };
    assert!(refused(&[]).contains("without TLS"));
    assert!(refused(&["--insecure-http"]).contains("without accounts"));
    assert!(refused(&["--tls-self-signed", "x"]).contains("without accounts"));
    assert!(refused(&["--tls-cert", "x"]).contains("--tls-key"));
}

#[test]
fn guessing_a_password_ends() {
    let dir = scratch("registry-guess");
    let htpasswd = dir.join("htpasswd");
    // bcrypt of "right", by htpasswd -nbB.
    let Some(program) = programs::find("htpasswd") else { return };
    let line = run(Command::new(program).args(["-nbB", "ann", "right"])).ok();
    std::fs::write(&htpasswd, line).unwrap();
    let registry =
        FerryRegistry::start(&dir.join("root"), &["--htpasswd", htpasswd.to_str().unwrap()]);
    let http = registry.http();
    let challenge = http.ask("GET", "/v2/").is(401);
    assert_eq!(challenge.code(), "UNAUTHORIZED");
    assert!(
        challenge
            .header("www-authenticate")
            .starts_with(&format!("Bearer realm=\"http://{}/token\"", registry.host()))
    );
    let right = http.clone().with("Authorization", "Basic YW5uOnJpZ2h0");
    right.ask("GET", "/v2/").is(200);
    let token = right.ask("GET", "/token?scope=repository:a:pull,push&service=x").is(200).json();
    let token = token["token"].as_str().unwrap().to_owned();
    let bearer = http.clone().with("Authorization", &format!("Bearer {token}"));
    bearer.ask("POST", "/v2/a/blobs/uploads/").is(202);
    let other = bearer.ask("POST", "/v2/b/blobs/uploads/").is(401);
    assert!(
        other.header("www-authenticate").contains("scope=\"repository:b:pull,push\""),
        "a token is for what it is for"
    );
    http.clone().with("Authorization", "Bearer x.y.z").ask("GET", "/v2/").is(401);
    let wrong = http.clone().with("Authorization", "Basic YW5uOndyb25n");
    for _ in 0..10 {
        wrong.ask("GET", "/v2/").is(401);
    }
    assert_eq!(wrong.ask("GET", "/v2/").is(429).code(), "TOOMANYREQUESTS");
    drop(registry);
}

#[test]
fn the_log_says_as_much_as_is_wanted() {
    let dir = scratch("registry-log-level");
    let log_of = |level: &str| {
        let root = dir.join(level);
        add_user(&root, "ann", "secret", &[]);
        let registry = FerryRegistry::start(&root, &["--log-level", level]);
        // A warning; and a client that speaks no HTTP, which only who looks for mistakes wants to know.
        registry.http().with("Authorization", "Basic YW5uOndyb25n").ask("GET", "/v2/").is(401);
        let mut stream = std::net::TcpStream::connect(registry.host()).unwrap();
        stream.write_all(b"no such protocol\r\n\r\n").unwrap();
        drop(std::io::Read::read_to_end(&mut stream, &mut Vec::new()));
        let log = eventually("the log is written", || {
            let log = registry.log();
            (level != "debug" || log.contains("connection:")).then_some(log)
        });
        (log.contains("wrong credentials"), log.contains("connection:"))
    };
    assert_eq!(log_of("error"), (false, false));
    assert_eq!(log_of("warn"), (true, false));
    assert_eq!(log_of("debug"), (true, true));
    let refused = FerryRegistry::command(&dir.join("no"), &["serve", "--log-level", "loud"]);
    assert!(refused.fails(1).stderr.contains("invalid logging level: loud"));
}

#[test]
fn upkeep_beside_clients() {
    let sandbox = with_busybox(Client::Ferry);
    let root = sandbox.dir().join("registry");
    let registry = FerryRegistry::start(&root, &["--immutable", "a/x:v*", "--gc-every", "0s"]);
    let image = |tag: &str| format!("{}/a/x:{tag}", registry.host());
    for tag in ["v1", "one", "two"] {
        sandbox.ok(&["tag", "busybox", &image(tag)]);
        sandbox.ok(&["push", &image(tag)]);
    }
    let http = registry.http();
    // An immutable tag stays as it is, and is not deleted.
    http.ask("DELETE", "/v2/a/x/manifests/v1").is(403);
    let gc = |args: &[&str]| {
        FerryRegistry::command(&root, &[&["gc", "--grace", "0s"], args].concat()).ok()
    };
    assert!(gc(&[]).contains("removed 0 tags, 0 manifests, 0 links, 0 blobs"));
    let gone = gc(&["--retain", "a/x,keep=1"]);
    assert!(gone.contains("removed 1 tags") && !gone.contains("a/x:v1"), "{gone}");
    let garbage = http.send(
        "POST",
        &format!(
            "/v2/a/x/blobs/uploads/?digest={}",
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        ),
        &[],
        b"abc",
    );
    garbage.is(201);
    assert!(
        FerryRegistry::command(&root, &["gc", "--grace", "1h"]).ok().contains("0 blobs"),
        "somebody may be pushing"
    );
    assert!(gc(&["--dry-run"]).contains("would remove 0 tags, 0 manifests, 1 links, 0 blobs"));
    assert!(gc(&[]).contains("1 links, 1 blobs with 3B"));
    assert!(FerryRegistry::command(&root, &["scrub"]).ok().ends_with("0 damaged"));
    // A flipped byte, and a file that is gone.
    let mut blobs = files(&root.join("blobs"));
    blobs.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
    let mut bytes = std::fs::read(&blobs[0]).unwrap();
    bytes[3] ^= 1;
    std::fs::write(&blobs[0], bytes).unwrap();
    std::fs::remove_file(&blobs[1]).unwrap();
    let damage = FerryRegistry::command(&root, &["scrub"]).fails(1).stdout;
    let name =
        |path: &Path| format!("sha256:{}  in a/x", path.file_name().unwrap().to_string_lossy());
    assert!(damage.contains(&format!("corrupt  {}", name(&blobs[0]))), "{damage}");
    assert!(damage.contains(&format!("missing  {}", name(&blobs[1]))), "{damage}");
    // The next push mends what is damaged, and what is missing.
    let pushed = sandbox.ok(&["push", &image("two")]);
    assert!(pushed.contains("two: digest: sha256:"), "{pushed}");
    let scrubbed = FerryRegistry::command(&root, &["scrub"]).ok();
    assert!(scrubbed.ends_with("0 damaged"), "{scrubbed}");
    sandbox.ok(&["rmi", &image("two")]);
    sandbox.ok(&["pull", &image("two")]);
    // Alone, it works without a server.
    registry.kill();
    FerryRegistry::command(&root, &["gc"]).ok();
    FerryRegistry::command(&root, &["scrub"]);
    let nothing = FerryRegistry::command(&sandbox.dir().join("nowhere"), &["gc"]).fails(1);
    assert!(nothing.stderr.contains("there is no registry in"), "{nothing}");
}

#[test]
fn uploads_that_are_begun_have_a_limit() {
    let dir = scratch("uploads");
    let registry = FerryRegistry::start(&dir.join("store"), &["--max-uploads", "2"]);
    let http = registry.http();
    let begin = || http.send("POST", "/v2/a/b/blobs/uploads/", &[], b"");
    let first = begin().is(202);
    begin().is(202);
    assert_eq!(begin().is(429).code(), "TOOMANYREQUESTS");
    // One that is given up makes room.
    http.send("DELETE", first.header("location"), &[], b"").is(204);
    begin().is(202);
}

#[test]
fn killed_in_an_upload_it_goes_on() {
    let dir = scratch("registry-crash");
    let root = dir.join("root");
    let registry = FerryRegistry::start(&root, &[]);
    let http = registry.http();
    let begun = http.ask("POST", "/v2/a/blobs/uploads/").is(202);
    let at = begun.header("location").to_owned();
    let mut stream = http.begin("PATCH", &at, &[], 3 << 20);
    stream.write_all(&vec![1; 2 << 20]).unwrap();
    // `GET` of the upload says what is written.
    eventually("most of it is written", || {
        let seen = http.ask("GET", &at);
        let last: u64 = seen.header("range").rsplit('-').next()?.parse().ok()?;
        (last > 1 << 20).then_some(())
    });
    registry.kill();
    let registry = FerryRegistry::start(&root, &[]);
    let http: Http = registry.http();
    let seen = http.ask("GET", &at).is(204);
    let written: usize = seen.header("range").rsplit('-').next().unwrap().parse().unwrap();
    let rest = vec![1; (3 << 20) - written - 1];
    let headers = [("Content-Range", format!("{}-{}", written + 1, (3 << 20) - 1))];
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    http.send("PATCH", &at, &headers, &rest).is(202);
    let whole = vec![1; 3 << 20];
    let sum = run_with_input(&mut Command::new("sha256sum"), &whole).ok();
    let digest = format!("sha256:{}", sum.split(' ').next().unwrap());
    http.ask("PUT", &format!("{at}?digest={digest}")).is(201);
    assert_eq!(http.ask("GET", &format!("/v2/a/blobs/{digest}")).is(200).body, whole);
    assert!(files(&root.join("uploads")).is_empty());
    drop(registry);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let dir = scratch("registry-full");
    let root = dir.join("small");
    std::fs::create_dir_all(&root).unwrap();
    let mount =
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(&root));
    if mount.code != 0 {
        eprintln!("SKIPPED: no tmpfs can be mounted here");
        return;
    }
    let registry = FerryRegistry::start(&root, &[]);
    let http = registry.http();
    let begun = http.ask("POST", "/v2/a/blobs/uploads/").is(202);
    let full = http.send("PATCH", begun.header("location"), &[], &vec![1; 16 << 20]);
    assert_eq!(full.is(503).code(), "UNAVAILABLE");
    http.ask("GET", "/v2/").is(200);
    http.ask("DELETE", begun.header("location")).is(204);
    let small = "/v2/a/blobs/uploads/?digest=sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    http.send("POST", small, &[], b"abc").is(201);
    drop(registry);
    run(Command::new("umount").arg("-l").arg(&root)).ok();
}
