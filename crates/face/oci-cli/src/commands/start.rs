//! `start`: a knock at the gate.

use ferry_errkind::{ErrorKind, Failure};
use ferry_runtime::{Bundle, Gate, Rootfs};

use super::Command;
use crate::{
    Ended,
    arguments::Arguments,
    options::Global,
    record::{Locked, Record, Status},
    report,
};

pub(super) const COMMAND: Command =
    Command { name: "start", usage: "<container-id>", flags: &[], run, failure_code: 1 };

fn run(global: &Global, arguments: &Arguments) -> Ended {
    let container = Locked::open(global, arguments.only_id("start")?)?;
    let conflict = |words: &str| Err(Failure::new(ErrorKind::Conflict, words));
    match container.status() {
        Status::Created => {}
        Status::Stopped => return conflict("cannot start a container that has stopped"),
        Status::Running | Status::Paused => {
            return conflict("cannot start an already running container");
        }
    }
    Gate::open(&container.dir).map_err(Failure::of)?;
    after(global, &container.record);
    Ok(0)
}

/// What comes when the program runs: hooks, which cannot undo that.
pub(super) fn after(global: &Global, record: &Record) {
    with_bundle(record, |bundle| {
        for warning in ferry_runtime::run_poststart(bundle, record.pid) {
            report::warning(global, &warning);
        }
    });
}

/// Calls `act` with what the hooks of a container are told.
pub(super) fn with_bundle(record: &Record, act: impl FnOnce(&Bundle<'_>)) {
    let rootfs = Rootfs::Dir(record.rootfs.clone());
    act(&Bundle {
        id: &record.id,
        spec: &record.spec,
        rootfs: &rootfs,
        filter: None,
        cgroup: None,
        init: false,
        bundle_dir: &record.bundle,
        gate: None,
        preserve_fds: 0,
    });
}
