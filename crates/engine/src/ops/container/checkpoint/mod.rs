//! A checkpoint: the memory of a container's processes and what they have written, in one archive. The container goes on.
//!
//! CRIU does it, where it is installed. While all processes are held and their memory is on the disk, what the container has written to its
//! root is put beside it, so that both are of the same instant.
//!
//! Crash story: everything is made in `<data root>/checkpoints/<id>`, and the archive beside its destination, whose name it gets when it
//! is whole. When the engine dies, CRIU finds nobody who answers and lets the container go on; the next engine removes both ([`sweep`]).

mod archive;
mod criu;
mod limit;
mod mounts;
mod place;
mod rpc;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, NetworkMode, Phase, PidMode};
use ferry_oci::runtime::Spec;

use crate::{Engine, Shared, launch, records::failed};

use self::{limit::Limit, place::Place};

pub(crate) use place::sweep;

/// Files of an archive by name.
pub type CheckpointFiles = Vec<(&'static str, Vec<u8>)>;

/// What a checkpoint is asked for.
pub struct CheckpointRequest {
    /// Where the archive goes; its directory is there.
    pub location: PathBuf,
    /// How long it may take.
    pub limit: Duration,
    /// Makes the files that describe the container, from its specification as a launch now would have it.
    pub describe: Box<dyn FnOnce(&Spec) -> CheckpointFiles + Send>,
}

impl fmt::Debug for CheckpointRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointRequest")
            .field("location", &self.location)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// The log of a checkpoint that failed, in the container's run directory.
const KEPT_LOG: &str = "checkpoint.log";

/// What CRIU and whoever restores a container call its namespaces that are somebody else's (runc's words).
const NETWORK: &str = "extRootNetNS";
const PIDS: &str = "extRootPidNS";

/// Writes the archive. When the caller goes away meanwhile, nothing is left of it.
///
/// # Errors
/// There is no CRIU, the container does not run or is another runtime's, CRIU cannot write it down, the archive cannot be written, or time
/// is over (kind `Unavailable`).
pub async fn checkpoint(
    engine: &Engine,
    id: &str,
    request: CheckpointRequest,
) -> Result<(), Failure> {
    let shared = Arc::clone(&engine.shared);
    let container = shared.containers.find(id)?.container();
    check_location(&request.location)?;
    let pid = running(&container)?;
    if let Some(runtime) = launch::other_runtime(&shared, &container.spec.host.runtime) {
        let words = format!(
            "container {} is made by the runtime {}, whose containers Ferry writes no checkpoint of",
            container.id,
            runtime.display()
        );
        return Err(Failure::new(ErrorKind::NotImplemented, words));
    }
    let program = crate::programs::find("criu").ok_or_else(|| {
        let words = "CRIU, which writes checkpoints, is not installed on this machine";
        let hint = "install criu (4.1 or newer for Linux 6.13 and later) and see that \"criu check\" is content";
        Failure::new(ErrorKind::Conflict, words).with_hint(hint)
    })?;
    let (limit, _waiting) = Limit::new(request.limit);
    crate::blocking(move || {
        let own = Checkpoint { shared: &shared, container: &container, pid, limit: &limit };
        own.write(&program, request).map_err(|failure| {
            failure.context(format_args!("cannot write a checkpoint of container {}", container.id))
        })
    })
    .await
}

fn check_location(location: &Path) -> Result<(), Failure> {
    let shown = location.display();
    let words = if location.as_os_str().is_empty() {
        "location is required: the path of the archive to write".to_owned()
    } else if !location.is_absolute() {
        format!("location \"{shown}\" must be an absolute path")
    } else if location.file_name().is_none() || location.is_dir() {
        format!("location \"{shown}\" is a directory: name the archive to write")
    } else if !location.parent().is_some_and(Path::is_dir) {
        format!("location \"{shown}\" is in no directory that exists")
    } else {
        return Ok(());
    };
    Err(Failure::new(ErrorKind::InvalidArgument, words))
}

/// The first process of a container that can be written down.
fn running(container: &Container) -> Result<i32, Failure> {
    let state = match (container.state.phase, container.state.pid) {
        (Phase::Running, Some(pid)) => return Ok(pid),
        (Phase::Paused, _) => "paused",
        (Phase::Created, _) => "created",
        _ => "not running",
    };
    let words = format!(
        "container \"{}\" is {state}. only running containers can be checkpointed",
        container.id
    );
    Err(Failure::new(ErrorKind::Conflict, words))
}

/// One that is being written.
struct Checkpoint<'a> {
    shared: &'a Shared,
    container: &'a Container,
    pid: i32,
    limit: &'a Limit,
}

impl Checkpoint<'_> {
    fn write(&self, program: &Path, request: CheckpointRequest) -> Result<(), Failure> {
        let _below = self.shared.lease(&self.container.layers);
        let place = Place::make(self.shared, &self.container.id)?;
        let spec = launch::specification(self.shared, self.container)?.spec;
        for (name, text) in (request.describe)(&spec) {
            place.write(name, &text)?;
        }
        let images = place.directory("checkpoint")?;
        let descriptors = serde_json::to_vec(&self.descriptors())
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
        place.write("checkpoint/descriptors.json", &descriptors)?;
        let wish = criu::Wish {
            program,
            pid: self.pid,
            images: &images,
            work: place.work(),
            external: self.external()?,
        };
        let dumped = criu::dump(&wish, self.limit, || {
            ferry_sys::failpoint::hit("checkpoint.held");
            archive::add_changes(self.shared, self.container, &place, self.limit)?;
            archive::add_log(self.container, &place)
        });
        if let Err(failure) = dumped {
            let log = self.shared.dirs.run(&self.container.id).join(KEPT_LOG);
            let kept = criu::keep_log(place.work(), &log);
            let hint = format!("CRIU's whole log is {}", log.display());
            return Err(if kept { failure.with_hint(hint) } else { failure });
        }
        for name in [criu::LOG, "stats-dump"] {
            place.take_from_work(name)?;
        }
        archive::write(&place, &request.location, self.limit)
    }

    /// Where the program's standard files lead, for who restores it (runc's form).
    fn descriptors(&self) -> Vec<String> {
        let of = |number: i32| fs::read_link(format!("/proc/{}/fd/{number}", self.pid));
        (0..3)
            .map(|number| of(number).map(|it| it.to_string_lossy().into_owned()))
            .map(Result::unwrap_or_default)
            .collect()
    }

    /// What CRIU must not make anew: namespaces that others have, too, and mounts of what is not the container's own.
    fn external(&self) -> Result<Vec<String>, Failure> {
        let host = &self.container.spec.host;
        let mut all = Vec::new();
        let shared_ones = [
            ("net", NETWORK, matches!(host.network_mode, NetworkMode::Container(_))),
            ("pid", PIDS, matches!(host.pid_mode, PidMode::Container(_))),
        ];
        for (kind, name, _) in shared_ones.iter().filter(|(_, _, is_shared)| *is_shared) {
            let path = PathBuf::from(format!("/proc/{}/ns/{kind}", self.pid));
            let inode = fs::metadata(&path).map_err(|error| failed("look at", &path, error))?;
            let inode = std::os::unix::fs::MetadataExt::ino(&inode);
            all.push(format!("{kind}[{inode}]:{name}"));
        }
        let mounts = |process: &str| {
            let path = PathBuf::from(format!("/proc/{process}/mountinfo"));
            fs::read_to_string(&path).map_err(|error| failed("read", &path, error))
        };
        let mut others = vec![mounts("self")?];
        if let Some(sandbox) = self.sandbox()? {
            others.push(mounts(&sandbox.to_string())?);
        }
        let places = mounts::external(&mounts(&self.pid.to_string())?, &others);
        all.extend(places.iter().map(|place| format!("mnt[{place}]:{place}")));
        Ok(all)
    }

    /// The process that holds its pod's namespaces.
    fn sandbox(&self) -> Result<Option<i32>, Failure> {
        let part = self.container.spec.pod.as_ref();
        let Some(id) = part.and_then(|part| part.sandbox.as_deref()) else { return Ok(None) };
        Ok(self.shared.containers.find(id)?.container().state.pid)
    }
}
