//! `create`: everything up to the start of the program. When it ends, the container's first process waits at its gate and
//! belongs to the nearest subreaper.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use ferry_cgroup::{Cgroup, Hierarchy, Holder, Place};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::runtime::Spec;
use ferry_runtime::{Gate, Left, Rootfs, seccomp};
use ferry_stdx::time::Timestamp;

use super::{Command, delete};
use crate::{
    Ended,
    arguments::{Arguments, Flag},
    bundle::{self, Bundle},
    options::Global,
    record::{self, Record},
    report::{self, failed, invalid},
    stdio,
};

pub(super) const COMMAND: Command = Command {
    name: "create",
    usage: "[command options] <container-id>",
    flags: FLAGS,
    run,
    failure_code: 1,
};

pub(super) const FLAGS: &[Flag] = &[
    Flag::value("bundle").short('b'),
    Flag::value("console-socket"),
    Flag::value("pid-file"),
    Flag::switch("no-pivot"),
    Flag::switch("no-new-keyring"),
    Flag::value("preserve-fds"),
    // Of `run`.
    Flag::switch("detach").short('d'),
    Flag::switch("keep"),
    Flag::switch("no-subreaper"),
];

/// A container that was made and waits.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) record: Record,
    pub(super) dir: PathBuf,
    pub(super) left: Left,
}

fn run(global: &Global, arguments: &Arguments) -> Ended {
    for flag in ["detach", "keep", "no-subreaper"] {
        if arguments.is_set(flag) {
            return Err(invalid(format!("flag provided but not defined: -{flag}")));
        }
    }
    let id = arguments.only_id("create")?;
    let made = make(global, arguments, id, true).map_err(|failure| prefixed("create", &failure))?;
    drop(made);
    Ok(0)
}

/// Which command failed, before why, as runc has it.
pub(super) fn prefixed(command: &str, failure: &Failure) -> Failure {
    Failure::new(failure.kind(), format!("ferry {command} failed: {failure}"))
}

/// Makes a container, and undoes what it did if it cannot.
pub(super) fn make(
    global: &Global,
    arguments: &Arguments,
    id: &str,
    detach: bool,
) -> Result<Made, Failure> {
    record::check_id(id)?;
    if arguments.is_set("no-pivot") {
        return Err(invalid("--no-pivot is not supported"));
    }
    if arguments.is_set("no-new-keyring") {
        report::warning(global, "--no-new-keyring: the container has a session keyring of its own");
    }
    let bundle = Bundle::read(Path::new(arguments.one("bundle").unwrap_or(".")))?;
    let terminal = bundle.spec.process.as_ref().is_some_and(|process| process.terminal);
    let socket = arguments.one("console-socket").filter(|path| !path.is_empty());
    stdio::check(terminal, detach, socket)?;
    let dir = new_dir(global, id)?;
    let mut record = Record {
        id: id.to_owned(),
        bundle: bundle.dir.clone(),
        rootfs: bundle.rootfs.clone(),
        created: Timestamp::from_system(SystemTime::now()).format_rfc3339_nano(),
        cgroup: Some(bundle::cgroup_path(&bundle.spec, id, global.systemd)?),
        spec: bundle.spec.clone(),
        ..Record::default()
    };
    let made = begin(global, arguments, &bundle, &mut record, &dir).and_then(|left| {
        if let (Some(master), Some(socket)) = (&left.master, socket) {
            stdio::hand_over(master, socket)?;
        }
        stdio::write_pid(arguments.one("pid-file").filter(|path| !path.is_empty()), left.pid)?;
        Ok(left)
    });
    match made {
        Ok(left) => Ok(Made { record, dir, left }),
        Err(failure) => {
            delete::destroy(global, &record, &dir);
            Err(failure)
        }
    }
}

fn new_dir(global: &Global, id: &str) -> Result<PathBuf, Failure> {
    fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&global.root)
        .map_err(|error| failed(format!("make {}", global.root.display()), error))?;
    let dir = global.root.join(id);
    match fs::DirBuilder::new().mode(0o700).create(&dir) {
        Ok(()) => Ok(dir),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::new(ErrorKind::Conflict, "container with given ID already exists"))
        }
        Err(error) => Err(failed(format!("make {}", dir.display()), error)),
    }
}

fn begin(
    global: &Global,
    arguments: &Arguments,
    bundle: &Bundle,
    record: &mut Record,
    dir: &Path,
) -> Result<Left, Failure> {
    let spec = &bundle.spec;
    // Before there is anything: whoever has to clean up after a crash finds here what there may be.
    record.save(dir)?;
    // The holder keeps its cgroup until the container's process is there.
    let (cgroup, _holder) = make_cgroup(global, record, spec)?.unzip();
    let filter = filter(spec)?;
    let gate = Gate::make(dir).map_err(|errno| failed(format!("make {}", dir.display()), errno))?;
    let process = spec.process.as_ref().ok_or_else(|| invalid("no process to run"))?;
    let rootfs = Rootfs::Dir(bundle.rootfs.clone());
    let request = ferry_runtime::Bundle {
        id: &record.id,
        spec,
        rootfs: &rootfs,
        filter: filter.as_deref(),
        cgroup: cgroup.as_ref(),
        init: false,
        bundle_dir: &bundle.dir,
        gate: Some(&gate),
        preserve_fds: arguments.number("preserve-fds")?.unwrap_or(0),
    };
    let created = ferry_runtime::create(&request, stdio::request(process)?).map_err(Failure::of)?;
    record.pid = created.pid();
    record.start_time = record::start_time(record.pid).unwrap_or(0);
    // Before it stands on its own.
    record.save(dir)?;
    let left = created.leave().map_err(Failure::of)?;
    for warning in &left.warnings {
        report::warning(global, warning);
    }
    Ok(left)
}

fn make_cgroup(
    global: &Global,
    record: &Record,
    spec: &Spec,
) -> Result<Option<(Cgroup, Option<Holder>)>, Failure> {
    let Some(path) = &record.cgroup else { return Ok(None) };
    let hierarchy = Hierarchy::detect().map_err(Failure::of)?;
    let place = Place::read(path).map_err(Failure::of)?;
    let made = place.create(&hierarchy, &bundle::resources(spec)).map_err(Failure::of)?;
    for warning in made.0.warnings() {
        report::warning(global, warning);
    }
    Ok(Some(made))
}

/// The system call filter of a configuration.
pub(super) fn filter(spec: &Spec) -> Result<Option<Vec<u8>>, Failure> {
    let profile = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    profile
        .map(|profile| seccomp::compile(profile, seccomp::Arch::host()).map_err(Failure::of))
        .transpose()
}
