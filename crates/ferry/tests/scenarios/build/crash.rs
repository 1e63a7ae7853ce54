//! The daemon is killed in the middle of builds: nothing half is ever used, and nothing is left.

use std::{fs, path::Path, process::Stdio, time::Duration};

use ferry_testkit::{Client, Sandbox, eventually};

use super::{context, steps::modern};
use crate::with_busybox;

const DOCKERFILE: &str = "FROM busybox AS one\nCOPY many /many\nRUN for i in $(seq 300); do echo $i > /many/made$i; done\n\
    FROM busybox\nCOPY many /copied\nRUN cp -r /copied /twice && rm /copied/f1\nCOPY --from=one /many /many\n";

/// All files of an image with what is in them.
fn contents(sandbox: &Sandbox, image: &str) -> String {
    let list =
        "find /many /copied /twice | sort; find /many /copied /twice -type f | sort | xargs md5sum";
    sandbox.ok(&["run", "--rm", image, "sh", "-c", list])
}

fn entries(path: &Path) -> Vec<String> {
    let found = fs::read_dir(path).into_iter().flatten();
    found.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_daemon_that_is_killed_leaves_no_half_layer() {
    let sandbox = with_busybox(Client::Ferry);
    let names: Vec<String> = (0..400).map(|at| format!("many/f{at}")).collect();
    let mut files: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), "content\n")).collect();
    files.push(("Dockerfile", DOCKERFILE));
    let directory = context(&sandbox, "c", &files);
    let path = directory.to_str().unwrap();
    for pause in [20, 60, 120, 250, 400, 700, 1000, 1500] {
        let mut build = sandbox.command(&["build", "-q", "-t", "killed", path]);
        let mut build = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        sandbox.kill_daemon();
        build.wait().unwrap();
        sandbox.start_daemon(None);
        // Removed beside whatever else is done.
        let left = || {
            let layers = entries(&sandbox.data().join("layers"));
            let mut left: Vec<String> =
                layers.into_iter().filter(|name| name.starts_with("tmp-")).collect();
            left.extend(entries(&sandbox.data().join("build")));
            left.extend(sandbox.ok(&["ps", "-aq"]).lines().map(str::to_owned));
            left
        };
        eventually(&format!("nothing is left after {pause} ms"), || {
            left().is_empty().then_some(())
        });
    }
    // What it goes on from is what it would be anew.
    modern(&sandbox, &directory, &["-t", "resumed"]).ok();
    modern(&sandbox, &directory, &["-t", "anew", "--no-cache"]).ok();
    assert_eq!(contents(&sandbox, "resumed"), contents(&sandbox, "anew"));
}
