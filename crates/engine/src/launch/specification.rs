//! What is to run, as a specification: the container's record, and the namespaces that it joins now.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

use ferry_container::{Namespace, SpecInputs, UserNamespace};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, IpcMode, NetworkMode, PidMode};
use ferry_oci::runtime::Spec;

use crate::Shared;

/// A specification, and the host name in it.
pub(crate) struct Planned {
    pub(crate) spec: Spec,
    pub(crate) hostname: String,
}

/// Plans it; nothing of a launch is prepared.
pub(crate) fn specification(shared: &Shared, container: &Container) -> Result<Planned, Failure> {
    let dir = shared.dirs.data(&container.id);
    let namespaces = Namespaces::of(shared, container)?;
    let host = &container.spec.host;
    let etc: Vec<String> = ["hosts", "hostname", "resolv.conf"]
        .iter()
        .map(|name| dir.join(name).to_string_lossy().into_owned())
        .collect();
    let rootfs = dir.join("rootfs").to_string_lossy().into_owned();
    let cgroup_path = shared.config.cgroups_path(&container.id, &host.cgroup_parent);
    let inputs = SpecInputs {
        container,
        rootfs: &rootfs,
        unified_cgroup: shared.hierarchy.is_v2(),
        cgroup_path: &cgroup_path,
        etc_files: [&etc[0], &etc[1], &etc[2]],
        network: &namespaces.network,
        pid: &namespaces.pid,
        ipc: &namespaces.ipc,
        uts: &namespaces.uts,
        user: namespaces.user.as_ref(),
        joined_shm: namespaces.shm.as_deref(),
        host_name: &shared.host_name(),
        bounding: &|name| shared.may(name),
        arch: std::env::consts::ARCH,
        apparmor: shared.apparmor.default_profile(),
        kernel: shared.kernel,
        owner: &owner,
        device: &crate::devices::look_up,
        all_devices: &crate::devices::all,
    };
    let hostname = ferry_container::hostname(&inputs);
    let mut spec = ferry_container::plan_spec(&inputs)?;
    crate::cdi::inject(shared, &host.resources.device_requests, &mut spec)?;
    Ok(Planned { spec, hostname })
}

/// Whom a path on the host belongs to.
fn owner(path: &str) -> Option<(u32, u32)> {
    let status = fs::metadata(path).ok()?;
    Some((status.uid(), status.gid()))
}

/// Where a container's namespaces come from.
struct Namespaces {
    network: Namespace,
    pid: Namespace,
    ipc: Namespace,
    uts: Namespace,
    shm: Option<String>,
    user: Option<UserNamespace>,
}

impl Namespaces {
    fn of(shared: &Shared, container: &Container) -> Result<Self, Failure> {
        let host = &container.spec.host;
        let network = match &host.network_mode {
            NetworkMode::Host => Namespace::Host,
            NetworkMode::Container(name) => join(shared, name, "net")
                .map_err(|failure| failure.context("joining network namespace of container"))?,
            _ => Namespace::New,
        };
        let pid = match &host.pid_mode {
            PidMode::Private => Namespace::New,
            PidMode::Host => Namespace::Host,
            PidMode::Container(name) => join(shared, name, "pid")?,
        };
        let (ipc, shm) = match &host.ipc_mode {
            Some(IpcMode::Host) => (Namespace::Host, None),
            Some(IpcMode::Container(name)) => {
                let pid = shareable_pid(shared, name)?;
                (join(shared, name, "ipc")?, Some(format!("/proc/{pid}/root/dev/shm")))
            }
            _ => (Namespace::New, None),
        };
        let sandbox = container.spec.pod.as_ref().and_then(|part| part.sandbox.as_deref());
        let uts = match sandbox {
            Some(sandbox) => join(shared, sandbox, "uts")?,
            None if host.uts_host => Namespace::Host,
            None => Namespace::New,
        };
        let user = crate::userns::of(shared, container)?;
        Ok(Namespaces { network, pid, ipc, uts, shm, user })
    }
}

/// The process of a container that lets others into its IPC namespace.
fn shareable_pid(shared: &Shared, name: &str) -> Result<i32, Failure> {
    let pid = running_pid(shared, name)?;
    let donor = shared.containers.find(name)?.container();
    let shareable = match &donor.spec.host.ipc_mode {
        Some(mode) => *mode == IpcMode::Shareable,
        None => false,
    };
    if shareable {
        return Ok(pid);
    }
    let words = format!(
        "failed to join IPC namespace: container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
        donor.id
    );
    Err(Failure::new(ErrorKind::InvalidArgument, words))
}

fn join(shared: &Shared, name: &str, kind: &str) -> Result<Namespace, Failure> {
    let pid = running_pid(shared, name)?;
    Ok(Namespace::Join(PathBuf::from(format!("/proc/{pid}/ns/{kind}"))))
}

fn running_pid(shared: &Shared, name: &str) -> Result<i32, Failure> {
    let container = shared.containers.find(name)?.container();
    container.state.pid.ok_or_else(|| {
        let words = format!("cannot join namespace of a non running container: {}", container.id);
        Failure::new(ErrorKind::Conflict, words)
    })
}
