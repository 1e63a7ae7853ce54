//! `run`: create and start, and unless detached wait for the end and remove the container.

use ferry_errkind::Failure;
use ferry_runtime::{Gate, Running};
use ferry_sys::pidfd;

use super::{Command, create, delete, start};
use crate::{Ended, arguments::Arguments, foreground, options::Global, report::failed};

pub(super) const COMMAND: Command = Command {
    name: "run",
    usage: "[command options] <container-id>",
    flags: create::FLAGS,
    run,
    failure_code: 1,
};

fn run(global: &Global, arguments: &Arguments) -> Ended {
    let id = arguments.only_id("run")?;
    let detach = arguments.is_set("detach");
    let made = create::make(global, arguments, id, detach)
        .map_err(|failure| create::prefixed("run", &failure))?;
    let create::Made { record, dir, left } = made;
    let undo = |failure: Failure| {
        delete::destroy(global, &record, &dir);
        create::prefixed("run", &failure)
    };
    let pidfd = pidfd::open(left.pid).map_err(|errno| undo(failed("open the process", errno)))?;
    Gate::open(&dir).map_err(|error| undo(Failure::of(error)))?;
    start::after(global, &record);
    if detach {
        return Ok(0);
    }
    let running = Running {
        pid: left.pid,
        pidfd,
        master: left.master,
        mounts: None,
        user: None,
        warnings: Vec::new(),
    };
    let code = foreground::wait(running);
    if !arguments.is_set("keep") {
        delete::destroy(global, &record, &dir);
    }
    code
}
