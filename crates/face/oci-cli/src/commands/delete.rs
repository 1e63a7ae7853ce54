//! `delete`: a container that has ended goes, with its cgroup and its state.

use std::{
    fs,
    os::fd::AsFd,
    path::Path,
    time::{Duration, Instant},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_sys::pidfd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Command, start};
use crate::{
    Ended,
    arguments::{Arguments, Flag},
    options::Global,
    record::{self, Locked, Record, Status},
    report::{self, failed},
};

/// How long a killed container may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const COMMAND: Command = Command {
    name: "delete",
    usage: "[command options] <container-id>",
    flags: &[Flag::switch("force").short('f')],
    run,
    failure_code: 1,
};

fn run(global: &Global, arguments: &Arguments) -> Ended {
    let id = arguments.only_id("delete")?;
    let force = arguments.is_set("force");
    let container = match Locked::open(global, id) {
        Ok(container) => container,
        Err(failure) if failure.kind() == ErrorKind::NotFound => {
            // What a killed `create` left before it had written anything.
            record::check_id(id)?;
            fs::remove_dir_all(global.root.join(id)).ok();
            return if force { Ok(0) } else { Err(failure) };
        }
        Err(failure) => return Err(failure),
    };
    let status = container.status();
    if !force && matches!(status, Status::Running | Status::Paused) {
        let words = format!("cannot delete container {id} that is not stopped: {}", status.name());
        return Err(Failure::new(ErrorKind::Conflict, words));
    }
    kill(&container.record)?;
    destroy(global, &container.record, &container.dir);
    Ok(0)
}

/// Ends the first process, and waits until it has ended.
fn kill(record: &Record) -> Result<(), Failure> {
    let Some(process) = record.process() else { return Ok(()) };
    pidfd::send_signal(process.as_fd(), 9).map_err(|errno| failed("kill the container", errno))?;
    if let Some(cgroup) = record.cgroup()?
        && cgroup.is_frozen()
    {
        // Of version 1 only: a frozen process does not die.
        cgroup.thaw().map_err(Failure::of)?;
    }
    let deadline = Instant::now() + PATIENCE;
    while record::start_time(record.pid) == Some(record.start_time) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::new(ErrorKind::Internal, "container init still running"));
        }
        let pause = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        // A signal between: look again.
        poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&pause)).ok();
    }
    Ok(())
}

/// Takes away whatever there is of a container. What cannot be is told; the rest goes all the same.
pub(super) fn destroy(global: &Global, record: &Record, dir: &Path) {
    let told = |failure: &dyn std::fmt::Display| report::warning(global, &failure.to_string());
    if let Err(failure) = kill(record) {
        told(&failure);
    }
    match record.cgroup() {
        Ok(Some(cgroup)) => {
            // Without a pid namespace of its own, others may still be there. One that is gone has nobody to kill.
            cgroup.kill_all().ok();
            if let Err(error) = cgroup.delete() {
                told(&ferry_errkind::chain(&error));
            }
        }
        Ok(None) => {}
        Err(failure) => told(&failure),
    }
    if let Err(error) = fs::remove_dir_all(dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        told(&failed(dir.display(), error));
    }
    if record.pid > 0 {
        start::with_bundle(record, |bundle| {
            for warning in ferry_runtime::run_poststop(bundle) {
                told(&warning);
            }
        });
    }
}
