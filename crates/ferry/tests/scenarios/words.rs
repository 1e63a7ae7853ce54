//! What commands print, word for word: ours and the real docker's are typed against the same daemon and compared, and ours with
//! `tests/words.txt`, after ids, times and sizes are masked. `FERRY_UPDATE=1` writes that file anew.

use std::fmt::Write;

use ferry_testkit::{Client, Run, Sandbox, programs, run};
use regex_automata::nfa::thompson::pikevm::PikeVM;

use crate::with_busybox;

/// A command line, or one that only prepares: then it starts with `+`.
const COMMANDS: &str = "
+network create office
+volume create --label team=blue data
+create --name made --label a=b --network office --volume data:/data --publish 127.0.0.1:8999:80 busybox sleep 1000
+run -d --name up --hostname up --env A=b --health-cmd true --health-interval 1h busybox sh -c 'echo one; echo two >&2; exec sleep 1000'
+run --name done --restart no busybox sh -c 'exit 3'
ps
ps -a
ps -aq
ps --all --no-trunc --format json
ps -a --format 'table {{.Names}}\t{{.Image}}\t{{.Command}}\t{{.Ports}}\t{{.Networks}}\t{{.Mounts}}\t{{.LocalVolumes}}'
ps -a --filter name=made --filter status=created --format {{.Names}}
ps --filter nonsense=1
ps --format {{.Nonsense}}
ps --no-such-flag
images
images --digests --no-trunc
images --format json
image ls --filter dangling=true
history busybox
history --no-trunc --format json busybox
inspect nothing
inspect --type volume nothing
inspect up --format '{{.Name}} {{.State.Status}} {{.Config.Env}} {{.HostConfig.NetworkMode}} {{json .Config.Cmd}}'
inspect up --format {{.Nonsense}}
inspect up --format {{
container inspect made --format '{{json .HostConfig.PortBindings}} {{json .Mounts}}'
port made
port up 80
port nothing
top up
top up -o pid,comm
top made
logs up
logs --tail x up
logs nothing
diff made
diff nothing
exec made true
exec up sh -c 'exit 7'
exec up nonexistent
exec nothing true
exec up
start nothing
stop nothing
kill nothing
kill made
kill --signal NOPE up
pause made
unpause up
rename up done
rename made -x
rename nothing x
restart nothing
rm up
rm nothing
rmi nothing
rmi busybox
tag nothing x
tag busybox UPPER
wait nothing
update nothing -m 64m
attach made
cp made:/nothing -
cp made:/etc/passwd
cp a b
commit nothing
export nothing
create
create --pull never nothing:1
run --rm --pull never nothing:1
run --rm --volume relative/path:/x busybox
run --rm --mount type=bind,source=/nonexistent,target=/x busybox
run --rm --publish 80:x busybox
run --rm --publish 99999:80 busybox
run --rm --env-file /nonexistent busybox
run --rm --memory 1 busybox
run --rm --memory nonsense busybox
run --rm --network nothing busybox
run --rm --network container:nothing busybox
run --rm --ulimit nofile busybox
run --rm --restart always busybox
run --rm --restart sometimes busybox
run --rm --device /dev/nothing busybox
run --rm --cap-add NOPE busybox
run --rm --security-opt nonsense busybox
run --rm --user nobodyknows busybox
run --rm --workdir relative busybox
run --rm --log-driver nothing busybox
run --rm --log-opt nonsense=1 busybox
run --rm --tmpfs relative busybox
run --rm --link nothing:x busybox
run --rm --ip 1.2.3.4 busybox
run --rm --name up busybox
run --rm --entrypoint /nothing busybox
run --rm busybox nonexistent
run --rm busybox /etc
run --rm -d --attach stdout busybox
run --rm --detach-keys x --sysctl nonsense busybox
network ls
network ls -q --no-trunc
network ls --format json
network inspect nothing
network inspect office --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{json .Options}}'
network create office
network create bridge
network create --driver nothing x
network create --subnet nonsense x
network rm nothing
network rm bridge
network connect office nothing
network connect nothing up
network connect office up --ip 1.2.3.4
network disconnect office up
network disconnect nothing up
volume ls
volume ls --format json
volume ls -q --filter label=team
volume inspect nothing
volume inspect data --format '{{.Name}} {{.Driver}} {{json .Labels}} {{.Scope}}'
volume create data
volume create -d nothing x
volume create /x
volume rm nothing
volume rm data
system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'
container prune --filter nonsense=1 --force
volume prune --filter nonsense=1 --force
events --since 1 --until 2
events --filter nonsense
version --format {{.Nonsense}}
info --format {{.Nonsense}}
context ls --format {{.Name}}
context inspect nothing
context use nothing
context rm nothing
login --username x
login --password-stdin
logout nothing.example
save nothing
save
load --input /nonexistent
import /nonexistent
pull UPPER
pull --all-tags busybox:1
push nothing
nonsense
container nonsense
container
ps extra
rename one
unpause
volume prune --force --format x
builder prune --force --filter nonsense
stats nothing --no-stream
";

/// Words of a line, with quotes as a shell has them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut started) = (String::new(), false, false);
    for character in line.chars() {
        match character {
            '\'' => (quoted, started) = (!quoted, true),
            ' ' if !quoted => {
                if started || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            character => word.push(character),
        }
    }
    if started || !word.is_empty() {
        words.push(word);
    }
    words
}

/// What differs from run to run, and the name of the program.
fn masked(sandbox: &Sandbox, text: &str) -> String {
    let mut text = text.replace(&*sandbox.dir().to_string_lossy(), "ROOT");
    for (pattern, mask) in [
        (r"\bferry\b", "docker"),
        (r"sha256:[0-9a-f]{64}", "DIGEST"),
        (r"\b[0-9a-f]{64}\b", "LONG-ID"),
        (r"\b[0-9a-f]{12}\b", "SHORT-ID"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d)?( UTC|Z)?( UTC)?", "TIME"),
        (r"(Less than a second|About a minute|\d+ (second|minute)s?)( ago)?", "SPAN"),
        (r"\(health: starting\)|\(healthy\)", "(HEALTH)"),
        (r"\b\d+(\.\d+)?(B|kB|MB)\b", "SIZE"),
        (r"\b\d+\.\d+\.\d+\.\d+(:\d+)?(/\d+)?\b", "ADDRESS"),
        (r"ft\d+x\d+", "BRIDGE"),
        (r"\b\d\d:\d\d(:\d\d)?\b", "CLOCK"),
        (r"\b\d{3,7}\b", "NUMBER"),
        (r"/run/docker/docker\.sock|/var/run/docker\.sock", "SOCKET"),
    ] {
        let regex = PikeVM::new(pattern).unwrap();
        let mut cache = regex.create_cache();
        let mut out = String::new();
        let mut last = 0;
        for found in regex.find_iter(&mut cache, text.as_bytes()) {
            out.push_str(&text[last..found.start()]);
            out.push_str(mask);
            last = found.end();
        }
        out.push_str(&text[last..]);
        text = out;
    }
    // Columns are as wide as what was masked.
    let lines = text.lines().map(|line| {
        let mut line = line.trim_end().to_owned();
        while line.contains("   ") {
            line = line.replace("   ", "  ");
        }
        line
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn told(sandbox: &Sandbox, line: &str, ran: &Run) -> String {
    let mut text = format!("$ {line}\n");
    for (mark, stream) in [("", &ran.stdout), ("! ", &ran.stderr)] {
        for line in masked(sandbox, stream).lines() {
            let _ = writeln!(text, "{mark}{line}");
        }
    }
    let _ = writeln!(text, "= {}", ran.code);
    text
}

#[test]
fn words_are_dockers() {
    let sandbox = with_busybox(Client::Ferry);
    let docker = programs::find("docker");
    let (mut all, mut different) = (String::new(), String::new());
    for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let (prepares, line) = match line.strip_prefix('+') {
            Some(line) => (true, line),
            None => (false, line),
        };
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if prepares {
            sandbox.run(&words);
            continue;
        }
        let ours = told(&sandbox, line, &sandbox.run(&words));
        all.push_str(&ours);
        all.push('\n');
        let Some(docker) = &docker else { continue };
        let mut command = std::process::Command::new(docker);
        command
            .env("DOCKER_HOST", sandbox.host())
            .env("DOCKER_CONFIG", sandbox.dir().join("config"))
            .env_remove("DOCKER_CONTEXT");
        let theirs = told(&sandbox, line, &run(command.args(&words)));
        if ours != theirs && !DIFFERENT.contains(&line) {
            let _ = writeln!(different, "--- ours\n{ours}--- docker's\n{theirs}");
        }
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/words.txt");
    if std::env::var_os("FERRY_UPDATE").is_some() {
        std::fs::write(file, &all).unwrap();
    }
    assert!(different.is_empty(), "{different}");
    let known = std::fs::read_to_string(file).unwrap_or_default();
    for (now, before) in all.split("\n\n").zip(known.split("\n\n")) {
        assert_eq!(now, before);
    }
    assert_eq!(all.len(), known.len());
}

/// Where ours has other words on purpose.
const DIFFERENT: &[&str] = &[
    // `why` is among its commands.
    "container",
    // BuildKit's, not the old builder's.
    "builder prune --force --filter nonsense",
    // Ours says which containers have it.
    "volume rm data",
];
