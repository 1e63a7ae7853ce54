//! `exec`: a further process in a container that runs.

use std::{fs, os::fd::AsFd, path::Path};

use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::runtime::{LinuxCapabilities, Process, Spec};
use ferry_runtime::ExecRequest;

use super::{Command, create};
use crate::{
    Ended,
    arguments::{Arguments, Flag},
    foreground,
    options::Global,
    record::{Locked, Status},
    report::{self, failed, invalid},
    stdio,
};

/// Largest description of a process that is read.
const MAX_PROCESS: u64 = 16 << 20;

pub(super) const COMMAND: Command = Command {
    name: "exec",
    usage: "[command options] <container-id> <command> [command options]  || --process process.json <container-id>",
    flags: &[
        Flag::value("console-socket"),
        Flag::value("cwd"),
        Flag::value("env").short('e'),
        Flag::switch("tty").short('t'),
        Flag::value("user").short('u'),
        Flag::value("additional-gids").short('g'),
        Flag::value("process").short('p'),
        Flag::switch("detach").short('d'),
        Flag::value("pid-file"),
        Flag::value("process-label"),
        Flag::value("apparmor"),
        Flag::switch("no-new-privs"),
        Flag::value("cap").short('c'),
        Flag::value("preserve-fds"),
        Flag::value("cgroup"),
        Flag::switch("ignore-paused"),
    ],
    run,
    // So that it is none of the exit codes that programs are wont to have.
    failure_code: 255,
};

fn run(global: &Global, arguments: &Arguments) -> Ended {
    exec(global, arguments)
        .map_err(|failure| Failure::new(failure.kind(), format!("exec failed: {failure}")))
}

fn exec(global: &Global, arguments: &Arguments) -> Ended {
    let Some((id, words)) = arguments.rest.split_first() else {
        return Err(invalid("\"exec\" requires a minimum of 1 argument"));
    };
    if arguments.one("cgroup").is_some() {
        return Err(invalid("--cgroup is not supported"));
    }
    let container = Locked::open(global, id)?;
    let conflict = |words: &str| Err(Failure::new(ErrorKind::Conflict, words));
    match container.status() {
        Status::Stopped => return conflict("cannot exec in a stopped container"),
        Status::Paused if !arguments.is_set("ignore-paused") => {
            return conflict("cannot exec in a paused container (use --ignore-paused to override)");
        }
        _ => {}
    }
    let record = container.record.clone();
    let process = process(arguments, &record.spec, words)?;
    let detach = arguments.is_set("detach");
    let socket = arguments.one("console-socket").filter(|path| !path.is_empty());
    stdio::check(process.terminal, detach, socket)?;
    let target = record
        .process()
        .ok_or_else(|| Failure::new(ErrorKind::Conflict, "cannot exec in a stopped container"))?;
    let (filter, cgroup) = (create::filter(&record.spec)?, record.cgroup()?);
    let request = ExecRequest {
        target: target.as_fd(),
        target_pid: record.pid,
        spec: &record.spec,
        process: &process,
        filter: filter.as_deref(),
        cgroup: cgroup.as_ref(),
        preserve_fds: arguments.number("preserve-fds")?.unwrap_or(0),
    };
    let running = ferry_runtime::exec(&request, stdio::request(&process)?).map_err(Failure::of)?;
    // Others may go on with the container while this process runs.
    drop(container);
    for warning in &running.warnings {
        report::warning(global, warning);
    }
    if let (Some(master), Some(socket)) = (&running.master, socket) {
        stdio::hand_over(master, socket)?;
    }
    stdio::write_pid(arguments.one("pid-file").filter(|path| !path.is_empty()), running.pid)?;
    if detach { Ok(0) } else { foreground::wait(running) }
}

/// What is to run: a file, or the container's own process with other words.
fn process(arguments: &Arguments, spec: &Spec, words: &[String]) -> Result<Process, Failure> {
    if let Some(file) = arguments.one("process") {
        return read(Path::new(file));
    }
    let mut process = spec.process.clone().unwrap_or_default();
    if words.is_empty() {
        return Err(invalid("exec args cannot be empty"));
    }
    process.args = words.to_vec();
    process.terminal = arguments.is_set("tty");
    process.console_size = None;
    process.env.extend_from_slice(arguments.all("env"));
    if let Some(cwd) = arguments.one("cwd") {
        cwd.clone_into(&mut process.cwd);
    }
    if let Some(profile) = arguments.one("apparmor") {
        process.apparmor_profile = Some(profile.to_owned());
    }
    if let Some(label) = arguments.one("process-label") {
        process.selinux_label = Some(label.to_owned());
    }
    process.no_new_privileges |= arguments.is_set("no-new-privs");
    let number = |text: &str| {
        text.parse::<u32>().map_err(|_| invalid(format!("parsing {text} as int: invalid syntax")))
    };
    if let Some(user) = arguments.one("user") {
        let (uid, gid) = user.split_once(':').unwrap_or((user, ""));
        process.user.uid = number(uid)?;
        if !gid.is_empty() {
            process.user.gid = number(gid)?;
        }
    }
    for gid in arguments.all("additional-gids") {
        process.user.additional_gids.push(number(gid)?);
    }
    add_capabilities(&mut process, arguments.all("cap"));
    Ok(process)
}

/// As runc: into every set but the ambient one, inheritable ones only where there are some.
fn add_capabilities(process: &mut Process, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let sets = process.capabilities.get_or_insert_with(LinuxCapabilities::default);
    for name in names {
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            if !set.contains(name) {
                set.push(name.clone());
            }
        }
        if !sets.inheritable.is_empty() && !sets.inheritable.contains(name) {
            sets.inheritable.push(name.clone());
        }
    }
}

fn read(file: &Path) -> Result<Process, Failure> {
    let wrong = |why: &dyn std::fmt::Display| failed(file.display(), why);
    let size = fs::metadata(file).map_err(|error| wrong(&error))?.len();
    if size > MAX_PROCESS {
        return Err(wrong(&"larger than 16 MiB"));
    }
    let bytes = fs::read(file).map_err(|error| wrong(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| wrong(&error))
}
