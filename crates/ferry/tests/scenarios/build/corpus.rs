//! Dockerfiles of the kinds that projects have. With `FERRY_TEST_BUILDX` (a command line that is docker with buildx, such as `chroot
//! /tmp/peers/root docker -H unix:///tmp/peers/docker.sock`), each is built by both, and what comes of it is the same. `FERRY_TEST_CORPUS=N`
//! leaves out the first N, `N-M` also those from M on: a run of all takes some minutes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use ferry_testkit::{Client, Sandbox, run};

use super::context;
use crate::with_busybox;

const CORPUS: &str = include_str!("corpus.txt");

/// What a frontend of that time does not know yet: there is nothing to compare with.
const NEWER: [&str; 2] = ["copy-parents", "copy-parents-pivot"];

/// Paths that the two make differently, or that nobody makes on purpose.
const OTHER: [&str; 7] =
    [".", "etc/hosts", "etc/resolv.conf", "etc/hostname", "proc", "sys", "dev"];

#[test]
fn what_projects_write_builds() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = project(&sandbox);
    let docker = std::env::var("FERRY_TEST_BUILDX").ok();
    let docker: Option<Vec<String>> =
        docker.map(|line| line.split_whitespace().map(str::to_owned).collect());
    if let Some(docker) = &docker {
        let saved = sandbox.dir().join("busybox.tar");
        sandbox.ok(&["save", "-o", saved.to_str().unwrap(), "busybox"]);
        let input = std::fs::File::open(&saved).unwrap();
        let loaded = theirs(docker).arg("load").stdin(input).status().unwrap();
        assert!(loaded.success());
    }
    let mut wrong = Vec::new();
    let (first, end) = slice();
    for (at, part) in CORPUS.split("=== ").skip(1).enumerate().take(end).skip(first) {
        let (name, text) = part.split_once('\n').unwrap();
        // Whoever ends a long run early sees how far it came.
        eprintln!("{at} {name}");
        std::fs::write(directory.join("Dockerfile"), text).unwrap();
        let path = directory.to_str().unwrap();
        let own = run(&mut sandbox.command(&["build", "-q", "-t", "corpus", path]));
        if own.code != 0 {
            wrong.push(format!("{name}: {own}"));
            continue;
        }
        if let Some(docker) = docker.as_ref().filter(|_| !NEWER.contains(&name)) {
            let differences = differences(&sandbox, docker, path);
            if !differences.is_empty() {
                eprintln!("{}", differences.join("\n"));
                wrong.push(format!("{name}:\n{}", differences.join("\n")));
            }
        }
    }
    if let Some(docker) = &docker {
        run(theirs(docker).args(["rmi", "-f", "ferry-corpus"]));
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Which of them are wanted.
fn slice() -> (usize, usize) {
    let wanted = std::env::var("FERRY_TEST_CORPUS").unwrap_or_default();
    let (first, end) = wanted.split_once('-').unwrap_or((&wanted, ""));
    (first.parse().unwrap_or(0), end.parse().unwrap_or(usize::MAX))
}

fn differences(sandbox: &Sandbox, docker: &[String], path: &str) -> Vec<String> {
    let own_tar = sandbox.dir().join("own.tar");
    let output = format!("type=tar,dest={}", own_tar.display());
    run(&mut sandbox.command(&["build", "-q", "-o", &output, path])).ok();
    let built = run(theirs(docker).args(["buildx", "build", "-q", "-t", "ferry-corpus", path]));
    if built.code != 0 {
        return vec![format!("docker cannot: {built}")];
    }
    // Its command line may see other directories than we do: standard output is the same for both.
    let their_tar = sandbox.dir().join("theirs.tar");
    let out = std::fs::File::create(&their_tar).unwrap();
    let mut command = theirs(docker);
    let command =
        command.args(["buildx", "build", "-q", "-o", "type=tar,dest=-", path]).stdout(out);
    assert!(command.stderr(std::process::Stdio::null()).status().unwrap().success());
    let config = "{{json .Config}}";
    let own = sandbox.ok(&["image", "inspect", "-f", config, "corpus"]);
    let other = run(theirs(docker).args(["image", "inspect", "-f", config, "ferry-corpus"])).ok();
    let mut differences = compare(&listed(&own_tar), &listed(&their_tar));
    if values(&own) != values(&other) {
        differences.push(format!("  configuration\n    ours   {own}\n    theirs {other}"));
    }
    differences
}

fn theirs(docker: &[String]) -> Command {
    let mut command = Command::new(&docker[0]);
    command.args(&docker[1..]);
    command
}

fn project(sandbox: &Sandbox) -> std::path::PathBuf {
    let files = [
        ("a.txt", "a\n"),
        ("b.txt", "b\n"),
        ("d/b.txt", "deep b\n"),
        ("d/e/c.md", "c\n"),
        ("d/.hidden", "h\n"),
        ("run.sh", "#!/bin/sh\necho run\n"),
        ("node_modules/x.js", "x"),
        ("links/target", "t"),
        (".dockerignore", "node_modules\n*.log\n"),
        ("a.log", "log"),
    ];
    let directory = context(sandbox, "corpus", &files);
    let script =
        "chmod 755 run.sh; chmod 750 d/e; ln -s target links/soft; ln links/target links/hard
        mkdir t; echo in > t/in; chown 3:4 t/in; tar -cf t.tar t; tar -czf t.tgz t; rm -r t";
    run(Command::new("sh").args(["-ec", script]).current_dir(&directory)).ok();
    directory
}

/// What is in a tar: each path with its kind, mode, owner, link and content.
fn listed(tar: &Path) -> BTreeMap<String, String> {
    let script = "
import sys, tarfile, hashlib
tar = tarfile.open(sys.argv[1])
seen = {}
for member in tar:
    name = member.name.strip('/') or '.'
    if member.islnk():
        first = seen.get(member.linkname.strip('/'), '')
        seen[name] = first
    elif member.isreg():
        digest = hashlib.md5(tar.extractfile(member).read()).hexdigest()
        seen[name] = 'file %o %d %d %s' % (member.mode, member.uid, member.gid, digest)
    elif member.issym():
        seen[name] = 'link %d %d %s' % (member.uid, member.gid, member.linkname)
    else:
        seen[name] = '%s %o %d %d' % (member.type.decode(), member.mode, member.uid, member.gid)
for name in sorted(seen):
    print(name + '\\t' + seen[name])
";
    let text = run(Command::new("python3").args(["-c", script]).arg(tar)).ok();
    let rows = text.lines().filter_map(|line| line.split_once('\t'));
    rows.map(|(path, rest)| (path.to_owned(), rest.to_owned())).collect()
}

fn compare(own: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let paths: BTreeSet<&String> = own.keys().chain(other.keys()).collect();
    paths
        .into_iter()
        .filter(|path| own.get(*path) != other.get(*path) && !OTHER.contains(&path.as_str()))
        .map(|path| format!("  {path}: ours {:?}, theirs {:?}", own.get(path), other.get(path)))
        .collect()
}

/// A configuration, without what is empty.
fn values(text: &str) -> BTreeMap<String, String> {
    let fields = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let (mut depth, mut quoted) = (0, false);
    let mut parts = vec![String::new()];
    for char in fields.chars() {
        match char {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            ',' if depth == 0 && !quoted => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(char);
    }
    parts
        .iter()
        .filter_map(|part| part.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .filter(|(_, value)| !matches!(value.as_str(), "null" | "\"\"" | "false" | "{}" | "[]"))
        .collect()
}
