//! What steps are given and where files come from, through our own command line.

use std::{
    io::{Read, Write},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::Path,
    process::Stdio,
};

use ferry_testkit::{Client, Run, Sandbox, eventually, run};

use super::context;
use crate::with_busybox;

#[track_caller]
pub(super) fn modern(sandbox: &Sandbox, directory: &Path, args: &[&str]) -> Run {
    let words = [&["build", "--progress", "plain"], args, &[directory.to_str().unwrap()]].concat();
    run(&mut sandbox.command(&words))
}

#[track_caller]
fn builds(sandbox: &Sandbox, dockerfile: &str, args: &[&str]) -> String {
    let directory = context(
        sandbox,
        "c",
        &[("Dockerfile", dockerfile), ("a.txt", "a\n"), ("d/b.txt", "b\n"), ("d/e/c.md", "c\n")],
    );
    modern(sandbox, &directory, &[&["-t", "built"], args].concat()).ok();
    sandbox.ok(&["run", "--rm", "built", "cat", "/out"])
}

#[test]
fn binds_show_files_and_forget_what_is_written() {
    let sandbox = with_busybox(Client::Ferry);
    let out = builds(
        &sandbox,
        "FROM busybox AS other\nRUN mkdir /x && echo from stage > /x/f\n\
         FROM busybox\nRUN --mount=type=bind,target=/src --mount=type=bind,from=other,source=/x,target=/x,rw \
         cat /src/a.txt /src/d/b.txt /x/f > /out; echo new > /x/g; touch /src/no 2>/dev/null || echo read-only >> /out\n\
         RUN --mount=target=/one,source=a.txt cat /one >> /out\nRUN ls -d /x /src /one 2>/dev/null >> /out || true\n",
        &[],
    );
    assert_eq!(out, "a\nb\nfrom stage\nread-only\na");
}

#[test]
fn caches_stay_and_are_pruned() {
    let sandbox = with_busybox(Client::Ferry);
    let dockerfile = |text: &str| {
        format!(
            "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked echo {text} >> /c/log; cp /c/log /out\n"
        )
    };
    assert_eq!(builds(&sandbox, &dockerfile("one"), &[]), "one");
    assert_eq!(builds(&sandbox, &dockerfile("two"), &[]), "one\ntwo");
    let listed = sandbox.ok(&["builder", "du", "--format", "{{.CacheType}} {{.Description}}"]);
    assert!(listed.contains("exec.cachemount cached mount /c"), "{listed}");
    let df = sandbox.ok(&["system", "df", "--format", "{{.Type}} {{.TotalCount}}"]);
    assert!(!df.contains("Build Cache 0"), "{df}");
    sandbox.ok(&["builder", "prune", "-f", "--all"]);
    assert_eq!(builds(&sandbox, &dockerfile("three"), &[]), "three");
}

#[test]
fn steps_that_want_the_same_caches_for_themselves_never_wait_for_each_other_for_ever() {
    let sandbox = with_busybox(Client::Ferry);
    let mount = |id: &str, target: &str| {
        format!("--mount=type=cache,sharing=locked,id={id},target={target}")
    };
    let (a, b, again) = (mount("a", "/a"), mount("b", "/b"), mount("a", "/again"));
    let dockerfile = format!(
        "FROM busybox AS one\nRUN {a} {b} echo one >> /a/log; touch /one\n\
         FROM busybox AS two\nRUN {b} {a} echo two >> /a/log; touch /two\n\
         FROM busybox\nCOPY --from=one /one /\nCOPY --from=two /two /\n\
         RUN {a} {again} sort /again/log > /out\n"
    );
    assert_eq!(builds(&sandbox, &dockerfile, &[]), "one\ntwo");
}

#[test]
fn secrets_are_seen_and_stay_nowhere() {
    let sandbox = with_busybox(Client::Ferry);
    let file = sandbox.dir().join("secret");
    std::fs::write(&file, "hidden").unwrap();
    let from_file = format!("id=s,src={}", file.display());
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=s --mount=type=secret,id=e,env=TOKEN \
        stat -c '%a %u' /run/secrets/s > /out; wc -c < /run/secrets/s >> /out; echo ${#TOKEN} >> /out\n\
        RUN --mount=type=secret,id=none test ! -e /run/secrets/none; ls /run/secrets >> /out 2>&1 || true\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let words = ["build", "-t", "built", "--secret", &from_file, "--secret", "id=e,env=MINE"];
    run(sandbox
        .command(&[&words[..], &[directory.to_str().unwrap()]].concat())
        .env("MINE", "12345"))
    .ok();
    let out = sandbox.ok(&["run", "--rm", "built", "cat", "/out"]);
    assert!(out.starts_with("400 0\n6\n5"), "{out}");
    let all = sandbox.ok(&["history", "--no-trunc", "built"]);
    assert!(!all.contains("hidden") && !all.contains("12345"), "{all}");
    let required = "FROM busybox\nRUN --mount=type=secret,id=s,required true\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", required)]);
    modern(&sandbox, &directory, &[]).fails(1).says("secret s: not found");
}

#[test]
fn agents_are_reached() {
    let sandbox = with_busybox(Client::Ferry);
    let socket = sandbox.dir().join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let out = builds(
        &sandbox,
        "FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK > /out\nRUN --mount=type=ssh,id=other ls /run/buildkit >> /out 2>&1 || echo none >> /out\n",
        &["--ssh", &format!("default={}", socket.display())],
    );
    assert!(out.starts_with("/run/buildkit/ssh_agent.0\n") && out.ends_with("none"), "{out}");
    let directory = context(
        &sandbox,
        "c",
        &[("Dockerfile", "FROM busybox\nRUN --mount=type=ssh,required true\n")],
    );
    modern(&sandbox, &directory, &[]).fails(1).says("no SSH key \"default\" forwarded");
}

#[test]
fn keys_are_in_an_agent_as_long_as_it_takes() {
    let sandbox = with_busybox(Client::Ferry);
    if ferry_testkit::programs::find("ssh-add").is_none() {
        eprintln!("SKIPPED: OpenSSH's client is not here");
        return;
    }
    let place = sandbox.dir().join("keys");
    std::fs::create_dir(&place).unwrap();
    let key = |name: &str, phrase: &str| {
        let path = place.join(name);
        let mut make = std::process::Command::new("ssh-keygen");
        run(make.args(["-q", "-t", "ed25519", "-C", name, "-N", phrase, "-f"]).arg(&path)).ok();
        path.to_str().unwrap().to_owned()
    };
    let (one, two, locked) = (key("one", ""), key("two", ""), key("locked", "secret"));
    // Docker does not ask who else may read it.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&one, open).unwrap();
    let dockerfile = "FROM busybox\nRUN --mount=type=ssh,id=k exec sleep 1000\n";
    let directory = context(&sandbox, "c", &[("Dockerfile", dockerfile)]);
    let words = ["build", "--ssh", &format!("k={one},{two}"), directory.to_str().unwrap()];
    let begin = || {
        let mut build = sandbox.command(&words);
        build.env("TMPDIR", sandbox.dir()).process_group(0).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut build = begin();
    let step = || {
        eventually("the step runs", || {
            let id = sandbox.ok(&["ps", "-q"]);
            let pid = (id.lines().count() == 1).then(|| sandbox.inspect(&id, "{{.State.Pid}}"));
            pid.filter(|pid| pid != "0").map(|pid| (id, pid))
        })
    };
    let (id, pid) = step();
    let socket = format!("/proc/{pid}/root/run/buildkit/ssh_agent.0");
    let mut list = std::process::Command::new("ssh-add");
    let listed = run(list.arg("-l").env("SSH_AUTH_SOCK", socket)).ok();
    assert!(listed.contains(" one (ED25519)") && listed.contains(" two (ED25519)"), "{listed}");
    sandbox.ok(&["kill", &id]);
    assert!(!build.wait().unwrap().success());
    let own = format!("{}/ferry-ssh-", sandbox.dir().display());
    let left = || {
        let left = std::fs::read_dir(sandbox.dir()).unwrap().flatten();
        let left = left.filter(|entry| entry.path().to_str().unwrap().starts_with(&own)).count();
        let running = run(std::process::Command::new("pgrep").args(["-f", &own])).stdout;
        (left, running)
    };
    assert_eq!(left(), (0, String::new()), "nothing of the agent stays");
    // As a terminal does it: Ctrl-C is for all that run before it.
    let mut build = begin();
    step();
    let group = rustix::process::Pid::from_child(&build);
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    assert!(!build.wait().unwrap().success());
    eventually("nothing of the agent stays", || (left() == (0, String::new())).then_some(()));
    eventually("the step has ended", || sandbox.ok(&["ps", "-q"]).is_empty().then_some(()));
    let long = sandbox.dir().join("l".repeat(120));
    std::fs::create_dir(&long).unwrap();
    run(sandbox.command(&words).env("TMPDIR", &long)).fails(1).says("ssh-agent has failed");
    let refused = |ssh: &str, words: &str| {
        modern(&sandbox, &directory, &["--ssh", ssh]).fails(1).says(words);
    };
    refused(&format!("k={locked}"), "locked as a key");
    refused(&format!("k={}", directory.join("Dockerfile").display()), "Dockerfile as a key");
    let socket = sandbox.dir().join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    refused(&format!("k={one},{}", socket.display()), "invalid combination of keys and sockets");
}

#[test]
fn what_is_not_allowed_is_refused() {
    let sandbox = with_busybox(Client::Ferry);
    for (line, name) in
        [("--network=host", "network.host"), ("--security=insecure", "security.insecure")]
    {
        let text = format!("FROM busybox\nRUN {line} true\n");
        let directory = context(&sandbox, "c", &[("Dockerfile", &text)]);
        modern(&sandbox, &directory, &[]).fails(1).says(name);
        modern(&sandbox, &directory, &["--allow", name]).ok();
    }
}

#[test]
fn parents_links_modes_and_exceptions() {
    let sandbox = with_busybox(Client::Ferry);
    let out = builds(
        &sandbox,
        "FROM busybox\nWORKDIR /w\nCOPY --parents d/e/c.md a.txt /p/\nCOPY --parents ./d/./e /q/\nCOPY --parents **/*.md /r/\n\
         COPY --chmod=u=rwX,go= d /m/\nCOPY --exclude=** --exclude=!b.txt d /x/\nCOPY --link --chown=7:8 a.txt /l/\n\
         RUN cd / && find p q r m x l -type f | sort > /out; stat -c '%a %u %g' /m/b.txt /m/e /l/a.txt >> /out\n",
        &[],
    );
    assert_eq!(
        out,
        "l/a.txt\nm/b.txt\nm/e/c.md\np/a.txt\np/d/e/c.md\nq/e/c.md\nr/d/e/c.md\nx/b.txt\n600 0 0\n700 0 0\n644 7 8"
    );
}

/// Serves files on this machine until the test ends.
fn serve(root: std::path::PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).unwrap_or_default();
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = text.split_whitespace().nth(1).unwrap_or("/").split('?').next().unwrap();
            let answer = match std::fs::read(root.join(path.trim_start_matches('/'))) {
                Ok(bytes) => [
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nLast-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\nConnection: close\r\n\r\n", bytes.len()).as_bytes(),
                    &bytes,
                ]
                .concat(),
                Err(_) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
            };
            drop(stream.write_all(&answer));
        }
    });
    format!("http://{address}")
}

#[test]
fn files_and_repositories_from_elsewhere() {
    let sandbox = with_busybox(Client::Ferry);
    let root = sandbox.dir().join("www");
    std::fs::create_dir_all(root.join("t")).unwrap();
    std::fs::write(root.join("f.txt"), "fetched\n").unwrap();
    std::fs::write(root.join("t/in"), "in\n").unwrap();
    let sh = |script: &str| {
        run(std::process::Command::new("sh").arg("-ec").arg(script).current_dir(&root)).ok()
    };
    sh("tar -cf t.tar t");
    let sum = sh("sha256sum f.txt | cut -d' ' -f1").trim().to_owned();
    sh(
        "git init -q -b main r && cd r && mkdir sub && echo repo > sub/f && printf 'FROM busybox\\nCOPY f /out\\n' > sub/Dockerfile \
        && git add . && git -c user.name=a -c user.email=a@b commit -qm x && git tag v1 && cd .. && git clone -q --bare r r.git && cd r.git && git update-server-info",
    );
    let url = serve(root);
    let out = builds(
        &sandbox,
        &format!(
            "FROM busybox\nADD --checksum=sha256:{sum} {url}/f.txt /a/\nADD --unpack=true {url}/t.tar /t\nADD {url}/t.tar /packed\nADD {url}/r.git#v1 /r\n\
             RUN cat /a/f.txt /t/t/in /r/sub/f > /out; stat -c '%a %Y' /a/f.txt >> /out; test -f /packed; test ! -e /r/.git\n"
        ),
        &[],
    );
    assert_eq!(out, "fetched\nin\nrepo\n600 784903526");
    let wrong = format!("FROM busybox\nADD --checksum=sha256:{} {url}/f.txt /a/\n", "0".repeat(64));
    let directory = context(&sandbox, "c", &[("Dockerfile", &wrong)]);
    modern(&sandbox, &directory, &[]).fails(1).says("digest mismatch");
    // The context itself from elsewhere.
    sandbox.ok(&["build", "-q", "-t", "remote", &format!("{url}/r.git#v1:sub")]);
    assert_eq!(sandbox.ok(&["run", "--rm", "remote", "cat", "/out"]), "repo");
}

#[test]
fn names_mean_what_the_command_line_says() {
    let sandbox = with_busybox(Client::Ferry);
    let other = context(
        &sandbox,
        "other",
        &[("f", "named\n"), ("secret", "x"), (".dockerignore", "secret\n")],
    );
    let out = builds(
        &sandbox,
        "FROM base\nCOPY --from=files f /out\nRUN --mount=from=files,target=/n ls /n >> /out\nFROM base\nCOPY --from=0 /out /out\n",
        &[
            "--build-context",
            "base=docker-image://busybox",
            "--build-context",
            &format!("files={}", other.display()),
        ],
    );
    assert_eq!(out, "named\nf");
}
