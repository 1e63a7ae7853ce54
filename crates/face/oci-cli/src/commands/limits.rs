//! `pause` and `resume`.

use ferry_errkind::{ErrorKind, Failure};

use super::Command;
use crate::{
    Ended,
    arguments::Arguments,
    options::Global,
    record::{Locked, Status},
};

pub(super) const PAUSE: Command =
    Command { name: "pause", usage: "<container-id>", flags: &[], run: pause, failure_code: 1 };

pub(super) const RESUME: Command =
    Command { name: "resume", usage: "<container-id>", flags: &[], run: resume, failure_code: 1 };

fn pause(global: &Global, arguments: &Arguments) -> Ended {
    let container = Locked::open(global, arguments.only_id("pause")?)?;
    match container.status() {
        Status::Running | Status::Created => {
            container.record.need_cgroup()?.freeze().map_err(Failure::of)?;
            Ok(0)
        }
        Status::Paused | Status::Stopped => {
            Err(Failure::new(ErrorKind::Conflict, "container not running"))
        }
    }
}

fn resume(global: &Global, arguments: &Arguments) -> Ended {
    let container = Locked::open(global, arguments.only_id("resume")?)?;
    if container.status() != Status::Paused {
        return Err(Failure::new(ErrorKind::Conflict, "container not paused"));
    }
    container.record.need_cgroup()?.thaw().map_err(Failure::of)?;
    Ok(0)
}
