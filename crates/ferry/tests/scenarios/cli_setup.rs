//! What surrounds commands: contexts, plugins, completion, ssh.

use std::os::unix::fs::PermissionsExt;

use ferry_testkit::{Client, Sandbox, programs, run};

use crate::with_busybox;

through_both!(contexts);

/// The client without a word on where the daemon is.
fn plain(sandbox: &Sandbox, args: &[&str]) -> ferry_testkit::Run {
    let mut command = sandbox.command(args);
    command.env_remove("DOCKER_HOST");
    run(&mut command)
}

/// A script that says `docker` finds Docker's name in every text, and Docker's daemon under its name.
#[test]
fn by_the_name_of_docker() {
    let sandbox = with_busybox(Client::Ferry);
    let named = |name: &str, host: &str, args: &[&str]| {
        let link = sandbox.dir().join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(ferry_testkit::binary(), &link).unwrap();
        }
        run(std::process::Command::new(link).args(args).env("DOCKER_HOST", host))
    };
    let docker = |args: &[&str]| named("docker", &sandbox.host(), args);
    assert_eq!(docker(&["run", "--rm", "busybox", "echo", "hello"]).ok(), "hello");
    assert!(docker(&["--version"]).ok().starts_with("Docker version "));
    assert!(docker(&["--help"]).ok().starts_with("Usage:  docker [OPTIONS] COMMAND"));
    docker(&["ps", "--nope"]).fails(125).says("docker ps --help");
    docker(&["nope"]).fails(1).says("docker: unknown command: docker nope");
    named("docker", "unix:///nowhere", &["ps"]).fails(1).says("Is the docker daemon running?");
    let help = named("dockerd", "", &["--help"]).ok().trim().to_owned();
    assert!(help.starts_with("Usage:\tdockerd [OPTIONS]"), "{help}");
}

fn contexts(client: Client) {
    let sandbox = with_busybox(client);
    let host = format!("host={}", sandbox.host());
    let made = plain(
        &sandbox,
        &["context", "create", "here", "--docker", &host, "--description", "a test"],
    );
    assert_eq!(made.clone().ok(), "here");
    made.says("Successfully created context \"here\"");
    plain(&sandbox, &["context", "create", "here"])
        .fails(1)
        .says("context \"here\" already exists");
    plain(&sandbox, &["context", "create", "x y"])
        .fails(1)
        .says("is invalid, names are validated against regexp");
    let there = ["--context", "here", "images", "--format", "{{.Repository}}"];
    assert_eq!(plain(&sandbox, &there).ok(), "busybox");
    plain(&sandbox, &["context", "use", "here"]).says("Current context is now \"here\"");
    assert_eq!(plain(&sandbox, &["context", "show"]).ok(), "here");
    assert_eq!(plain(&sandbox, &["images", "--format", "{{.Repository}}"]).ok(), "busybox");
    let list =
        plain(&sandbox, &["context", "ls", "--format", "{{.Name}} {{.Current}} {{.Description}}"])
            .ok();
    assert_eq!(list, "default false Current DOCKER_HOST based configuration\nhere true a test");
    let inspect = ["context", "inspect", "here", "-f", "{{.Endpoints.docker.Host}}"];
    assert_eq!(plain(&sandbox, &inspect).ok(), sandbox.host());
    // A copy; then it is told another thing and another place, and keeps what it is not told.
    plain(&sandbox, &["context", "create", "copy", "--from", "here"]).says("Successfully created");
    let shown = || {
        let format = "{{.Name}} {{.DockerEndpoint}} {{.Description}}";
        let all = plain(&sandbox, &["context", "ls", "--format", format]).ok();
        let line = all.lines().find_map(|line| line.strip_prefix("copy ")).unwrap_or_default();
        line.to_owned()
    };
    assert_eq!(shown(), format!("{} a test", sandbox.host()));
    let described = plain(&sandbox, &["context", "update", "copy", "--description", "the copy"]);
    described.says("Successfully updated context \"copy\"");
    assert_eq!(shown(), format!("{} the copy", sandbox.host()));
    plain(&sandbox, &["context", "update", "copy", "--docker", "host=unix:///nowhere.sock"]).ok();
    assert_eq!(shown(), "unix:///nowhere.sock the copy");
    plain(&sandbox, &["--context", "copy", "images"]).fails(1).says("/nowhere.sock");
    plain(&sandbox, &["context", "rm", "copy"]).ok();
    let file = sandbox.dir().join("here.tar");
    let file = file.to_str().unwrap();
    plain(&sandbox, &["context", "export", "here", file])
        .fails(0)
        .says(&format!("Written file \"{file}\""));
    plain(&sandbox, &["context", "export", "here", file])
        .fails(1)
        .says(&format!("open {file}: file exists"));
    let imported = plain(&sandbox, &["context", "import", "there", file]);
    assert_eq!(imported.stdout, "there\n", "{imported}");
    imported.says("Successfully imported context \"there\"");
    plain(&sandbox, &["context", "import", "there", file])
        .fails(1)
        .says("context \"there\" already exists");
    let through = ["--context", "there", "images", "--format", "{{.Repository}}"];
    assert_eq!(plain(&sandbox, &through).ok(), "busybox");
    let piped = plain(&sandbox, &["context", "export", "there", "-"]).fails(0).stdout;
    let mut again = sandbox.command(&["context", "import", "again", "-"]);
    ferry_testkit::run_with_input(again.env_remove("DOCKER_HOST"), piped.as_bytes()).fails(0);
    let described = ["context", "inspect", "again", "-f", "{{.Name}}"];
    assert_eq!(plain(&sandbox, &described).ok(), "again");
    plain(&sandbox, &["context", "rm", "there", "again"]).ok();
    zipped(&sandbox, file);
    plain(&sandbox, &["context", "rm", "here"])
        .fails(1)
        .says("context \"here\" is in use, set -f flag to force remove");
    plain(&sandbox, &["context", "rm", "default"])
        .fails(1)
        .says("context \"default\" cannot be removed");
    plain(&sandbox, &["context", "rm", "-f", "here"]).ok();
    assert_eq!(plain(&sandbox, &["context", "show"]).ok(), "default");
    plain(&sandbox, &["--context", "here", "ps"])
        .fails(1)
        .says("context \"here\": context not found");
}

/// A context whose files somebody else has packed.
fn zipped(sandbox: &Sandbox, tar: &str) {
    let Some(python) = ferry_testkit::programs::find("python3") else { return };
    let zip = sandbox.dir().join("packed.zip");
    let zip = zip.to_str().unwrap();
    let script = "import sys, tarfile, zipfile
with tarfile.open(sys.argv[1]) as tar, zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED) as out:
    for member in tar.getmembers():
        if member.isfile():
            out.writestr(member.name, tar.extractfile(member).read())";
    let mut pack = std::process::Command::new(python);
    ferry_testkit::run(pack.args(["-c", script, tar, zip])).fails(0);
    plain(sandbox, &["context", "import", "packed", zip]).fails(0);
    let inspect = ["context", "inspect", "packed", "-f", "{{.Endpoints.docker.Host}}"];
    assert_eq!(plain(sandbox, &inspect).ok(), sandbox.host());
    plain(sandbox, &["context", "rm", "packed"]).ok();
}

/// A program in a directory of the test.
fn program(sandbox: &Sandbox, directory: &str, name: &str, text: &str) -> std::path::PathBuf {
    let directory = sandbox.dir().join(directory);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn plugins() {
    let sandbox = Sandbox::start();
    program(
        &sandbox,
        "config/cli-plugins",
        "docker-hello",
        "#!/bin/sh\necho \"$@ | $DOCKER_HOST | $DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND\" | sed 's/[^ ]*ferry$/us/'\nexit 3\n",
    );
    let ran = sandbox.run(&["hello", "--name", "x", "y"]).fails(3);
    assert_eq!(ran.stdout, format!("hello --name x y | {} | us\n", sandbox.host()));
    std::fs::write(
        sandbox.dir().join("config/config.json"),
        r#"{"aliases": {"builder": "hello"}}"#,
    )
    .unwrap();
    let ran = sandbox.run(&["builder", "prune"]).fails(3);
    assert!(ran.stdout.starts_with("hello prune |"), "{ran}");
    sandbox.run(&["nosuch"]).fails(1).says("unknown command: ferry nosuch");
    let describe =
        |words: &str| format!("#!/bin/sh\n[ $1 = docker-cli-plugin-metadata ] && {words}\n");
    for (name, words) in [
        (
            "good",
            r#"echo '{"SchemaVersion":"0.1.0","Vendor":"Test","ShortDescription":"Does good"}'"#,
        ),
        ("old", r#"echo '{"SchemaVersion":"9"}'"#),
        ("ps", "exit 9"),
        ("slow", "sleep 100"),
    ] {
        program(&sandbox, "config/cli-plugins", &format!("docker-{name}"), &describe(words));
    }
    let help = sandbox.ok(&["--help"]);
    assert!(help.contains("\n  good*       Does good\n"), "{help}");
    let invalid = help.split_once("\nInvalid Plugins:\n").unwrap().1;
    let lines: Vec<&str> = invalid.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(
        lines,
        [
            "  hello       failed to fetch metadata: exit status 3",
            "  old         plugin SchemaVersion \"9\" is not valid, must be 0.1.0",
            "  slow        failed to fetch metadata: it does not answer",
        ]
    );
}

#[test]
fn over_ssh() {
    let sandbox = with_busybox(Client::Ferry);
    // In the place of ssh: what it would do at the other end, and what it was called with.
    let calls = sandbox.dir().join("calls");
    let ssh = format!(
        "#!/bin/sh\necho \"$@\" >> {}\nwhile [ \"$1\" != -- ]; do shift; done; shift 3\nexec {} \"$@\"\n",
        calls.display(),
        ferry_testkit::binary().display()
    );
    let path = program(&sandbox, "bin", "ssh", &ssh);
    let with_path =
        format!("{}:{}", path.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let at = format!("ssh://me@there:2222{}", sandbox.socket().display());
    let over = |args: &[&str]| {
        let mut command = sandbox.command(&[&["-H", &at], args].concat());
        command.env_remove("DOCKER_HOST").env("PATH", &with_path);
        run(&mut command)
    };
    assert_eq!(over(&["images", "--format", "{{.Repository}}"]).ok(), "busybox");
    assert_eq!(over(&["run", "--rm", "busybox", "echo", "far"]).ok(), "far");
    over(&["run", "--rm", "busybox", "sh", "-c", "exit 9"]).fails(9);
    let called = std::fs::read_to_string(calls).unwrap();
    let first = called.lines().next().unwrap();
    assert!(
        first.starts_with("-o ConnectTimeout=30 -T -l me -p 2222 -- there ferry --host unix://"),
        "{first}"
    );
    assert!(first.ends_with("system dial-stdio"), "{first}");
    let mut command = sandbox.command(&["-H", "ssh://-oProxyCommand=x", "ps"]);
    run(command.env_remove("DOCKER_HOST")).fails(1).says("invalid SSH URL");
}

#[test]
fn completion() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "-d", "--name", "webserver", "busybox", "sleep", "1000"]);
    sandbox.ok(&["create", "--name", "website", "busybox"]);
    sandbox.ok(&["network", "create", "webnet"]);
    sandbox.ok(&["volume", "create", "webdata"]);
    let complete = |words: &[&str]| -> Vec<String> {
        let text = sandbox.ok(&[&["__complete"], words].concat());
        let lines = text.lines().filter(|line| !line.starts_with(':'));
        lines.map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    };
    assert_eq!(complete(&["stop", "web"]), ["webserver"]);
    assert_eq!(complete(&["rm", "web"]), ["webserver", "website"]);
    assert_eq!(complete(&["container", "sta"]), ["start", "stats"]);
    assert_eq!(complete(&["run", "--netw"]), ["--network", "--network-alias"]);
    assert_eq!(complete(&["run", "--network", "web"]), ["webnet"]);
    assert_eq!(complete(&["run", "-it", "busy"]), ["busybox", "busybox:latest"]);
    assert_eq!(complete(&["volume", "rm", "web"]), ["webdata"]);
    assert_eq!(complete(&["network", "connect", "webnet", "webser"]), ["webserver"]);
    assert!(complete(&["why"]).contains(&"why".to_owned()) || complete(&["wh"]) == ["why"]);
    assert!(complete(&["--context", "x", "contain"]) == ["container"]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(sandbox.ok(&["completion", shell]).contains("ferry __complete"));
    }
    let Some(bash) = programs::find("bash") else { return };
    let script = format!(
        "PATH={}:$PATH; source <(ferry completion bash); COMP_LINE='ferry stop webs' COMP_POINT=15; _ferry_complete; echo \"${{COMPREPLY[@]}}\"",
        ferry_testkit::binary().parent().unwrap().display()
    );
    let mut command = std::process::Command::new(bash);
    command.args(["-c", &script]).env("DOCKER_HOST", sandbox.host());
    assert_eq!(run(&mut command).ok(), "webserver");
}
