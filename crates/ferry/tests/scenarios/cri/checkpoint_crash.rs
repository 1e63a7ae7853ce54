//! Checkpoints that do not come to their end: CRIU hangs, fails or is killed, or the daemon is. The container goes on, and nothing is left.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use ferry_testkit::eventually;
use tonic::Code;

use super::checkpoint::{criu, members, ours};

/// A directory with a `criu` that is this script, before the usual `PATH`.
fn with_script(name: &str, script: &str) -> (PathBuf, String) {
    let directory = std::env::temp_dir().join(format!("ferry-criu-{}-{name}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let program = directory.join("criu");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", directory.display());
    (directory, path)
}

#[test]
fn a_criu_that_hangs_or_fails_harms_nobody() {
    let (directory, path) = with_script(
        "stuck",
        "here=$(dirname \"$0\"); if [ -e \"$here/fail\" ]; then echo 'no such kernel' >&2; exit 3; fi; \
         sleep 1000 & echo $! > \"$here/pid\"; wait",
    );
    let bed = ours(&path);
    let (_, id) = bed.counting("stuck");
    let identity = bed.identity(&id);
    let archive = bed.directory.join("one.tar");
    let refused = bed.checkpoint(&id, &archive, 1).unwrap_err();
    assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused}");
    assert!(refused.message().contains("did not come to its end in 1 s"), "{refused}");
    let child = fs::read_to_string(directory.join("pid")).unwrap();
    let child = PathBuf::from("/proc").join(child.trim()).join("cmdline");
    eventually("what it started is gone, too", || {
        fs::read(&child).unwrap_or_default().is_empty().then_some(())
    });
    bed.goes_on(&id, &identity);

    fs::write(directory.join("fail"), "").unwrap();
    let refused = bed.checkpoint(&id, &archive, 0).unwrap_err();
    assert_eq!(refused.code(), Code::Unknown, "{refused}");
    assert!(refused.message().contains("no such kernel"), "{refused}");
    bed.goes_on(&id, &identity);
    assert!(!archive.exists());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_criu_that_is_killed_lets_the_container_go_on() {
    let Some((program, _)) = criu() else { return };
    let (directory, path) = with_script(
        "killed",
        &format!(
            "here=$(dirname \"$0\"); exec 3<&0; {} \"$@\" <&3 3<&- & it=$!; sleep $(cat \"$here/after\"); kill -9 $it; wait",
            program.display()
        ),
    );
    let bed = ours(&path);
    let (_, id) = bed.counting("killed");
    let identity = bed.identity(&id);
    let archive = bed.directory.join("one.tar");
    let mut failed = 0;
    for hundredths in 1..15 {
        let text = format!("0.{hundredths:02}");
        fs::write(directory.join("after"), text).unwrap();
        failed += u32::from(bed.checkpoint(&id, &archive, 0).is_err());
        bed.goes_on(&id, &identity);
    }
    assert!(failed > 0, "none was killed before its end");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_daemon_that_is_killed_leaves_nothing_of_a_checkpoint() {
    let Some((_, path)) = criu() else { return };
    for failpoint in ["checkpoint.held", "checkpoint.written"] {
        let bed = ours(&path);
        let (_, id) = bed.counting("crash");
        let identity = bed.identity(&id);
        let archive = bed.directory.join("one.tar");
        bed.ferry().kill_daemon();
        bed.ferry().start_daemon(Some(failpoint));
        assert!(bed.checkpoint(&id, &archive, 0).is_err(), "the daemon dies at {failpoint}");
        assert!(!archive.exists() && !bed.left().is_empty(), "{failpoint}: {:?}", bed.left());
        bed.ferry().kill_daemon();
        bed.ferry().start_daemon(None);
        bed.goes_on(&id, &identity);
        bed.checkpoint(&id, &archive, 0).unwrap();
        assert!(members(&archive).contains("checkpoint/pstree.img"));
        bed.goes_on(&id, &identity);
    }
}
