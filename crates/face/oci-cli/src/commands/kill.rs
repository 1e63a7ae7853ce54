//! `kill`: a signal to the first process, or to all of them.

use std::os::fd::AsFd;

use ferry_errkind::{ErrorKind, Failure};
use ferry_sys::{Errno, pidfd, signals};

use super::Command;
use crate::{
    Ended,
    arguments::{Arguments, Flag},
    options::Global,
    record::{Locked, Record, Status},
    report::{failed, invalid},
    signal,
};

const SIGKILL: i32 = 9;

pub(super) const COMMAND: Command = Command {
    name: "kill",
    usage: "[command options] <container-id> [signal]",
    flags: &[Flag::switch("all").short('a'), Flag::value("regex").short('r')],
    run,
    failure_code: 1,
};

fn run(global: &Global, arguments: &Arguments) -> Ended {
    if arguments.one("regex").is_some() {
        return Err(invalid("--regex is not supported"));
    }
    let (id, word) = match arguments.rest.as_slice() {
        [id] => (id, "SIGTERM"),
        [id, word] => (id, word.as_str()),
        _ => {
            return Err(invalid(
                "\"kill\" requires a minimum of 1 argument and a maximum of 2 arguments",
            ));
        }
    };
    let number = signal::parse(word)?;
    let container = Locked::open(global, id)?;
    let record = &container.record;
    let status = container.status();
    if arguments.is_set("all") {
        everybody(record, number)?;
        return Ok(0);
    }
    let gone = || Failure::new(ErrorKind::Conflict, "container not running");
    if status == Status::Stopped && record.has_own_pids() {
        return Err(gone());
    }
    if number == SIGKILL && !record.has_own_pids() {
        // Those that are left would go on without it.
        everybody(record, number)?;
    } else {
        let process = record.process().ok_or_else(gone)?;
        match pidfd::send_signal(process.as_fd(), number) {
            Ok(()) => {}
            Err(Errno::SRCH) => return Err(gone()),
            Err(errno) => return Err(failed("error killing container", errno)),
        }
    }
    if number == SIGKILL && status == Status::Paused {
        // A frozen process of version 1 does not die.
        record.need_cgroup()?.thaw().map_err(Failure::of)?;
    }
    Ok(0)
}

fn everybody(record: &Record, number: i32) -> Result<(), Failure> {
    let Some(cgroup) = record.cgroup()? else { return Ok(()) };
    if number == SIGKILL {
        // One without a cgroup any more has no processes either.
        cgroup.kill_all().ok();
        return Ok(());
    }
    for pid in cgroup.pids().unwrap_or_default() {
        // It may have ended this moment.
        signals::kill(pid, number).ok();
    }
    Ok(())
}
