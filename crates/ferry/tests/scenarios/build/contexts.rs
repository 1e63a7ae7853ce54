//! What is read of a context, and that nothing that has changed in it is missed.

use std::{fs, path::Path, process::Command, time::Duration};

use ferry_testkit::{Client, Sandbox};

use super::{context, steps::modern};
use crate::with_busybox;

/// How long a file must have been left alone before its digest is kept.
const SETTLED: Duration = Duration::from_millis(2200);

/// How many files the daemon remembers of contexts.
fn remembered(sandbox: &Sandbox) -> u64 {
    let Ok(found) = fs::read_dir(sandbox.data().join("contexts")) else { return 0 };
    found.map(|file| (file.unwrap().metadata().unwrap().len() - 12) / 80).sum()
}

fn shown(sandbox: &Sandbox, directory: &Path) -> String {
    modern(sandbox, directory, &["-t", "it"]).ok();
    sandbox.ok(&["run", "--rm", "it", "sh", "-c", "find /app -type f | sort | xargs cat"])
}

#[track_caller]
fn has_nothing_to_do(sandbox: &Sandbox, directory: &Path) {
    let built = modern(sandbox, directory, &["-t", "it"]);
    assert_eq!(built.code, 0, "{built}");
    assert!(
        built.stderr.contains("[2/2] COPY . /app\n") && built.stderr.contains("CACHED"),
        "{built}"
    );
}

#[test]
fn a_changed_file_is_found_whatever_its_times_say() {
    let sandbox = with_busybox(Client::Ferry);
    let files = [
        ("Dockerfile", "FROM busybox\nCOPY . /app\n"),
        ("a", "one\n"),
        ("d/b", "two\n"),
        ("d/c", "3\n"),
    ];
    let directory = context(&sandbox, "c", &files);
    std::thread::sleep(SETTLED);
    let first = shown(&sandbox, &directory);
    assert!(first.contains("one") && first.contains("two"), "{first}");
    assert_eq!(remembered(&sandbox), 4);
    has_nothing_to_do(&sandbox, &directory);
    // The same length and the same time of modification: only the time of change tells.
    let file = directory.join("a");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "ONE\n").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    assert!(shown(&sandbox, &directory).contains("ONE"));
    // And at once once more: what was read just now is not trusted.
    fs::write(&file, "EIN\n").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    assert!(shown(&sandbox, &directory).contains("EIN"));
    // Another file in its place, with the times of the old one.
    let other = sandbox.dir().join("other");
    fs::write(&other, "uno\n").unwrap();
    Command::new("touch").arg("-r").arg(&file).arg(&other).status().unwrap();
    fs::rename(&other, &file).unwrap();
    assert!(shown(&sandbox, &directory).contains("uno"));
}

#[test]
fn what_is_remembered_outlives_the_daemon_and_its_loss_costs_nothing() {
    let sandbox = with_busybox(Client::Ferry);
    let files = [("Dockerfile", "FROM busybox\nCOPY . /app\n"), ("a", "one\n"), ("d/b", "two\n")];
    let directory = context(&sandbox, "c", &files);
    std::thread::sleep(SETTLED);
    let first = shown(&sandbox, &directory);
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    assert_eq!(remembered(&sandbox), 3);
    has_nothing_to_do(&sandbox, &directory);
    for file in fs::read_dir(sandbox.data().join("contexts")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes[70] ^= 0xff;
        fs::write(path, bytes).unwrap();
    }
    fs::write(directory.join("a"), "1ne\n").unwrap();
    assert_eq!(shown(&sandbox, &directory), first.replace("one", "1ne"));
}
