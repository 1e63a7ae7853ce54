//! Which user namespace a container is in.
//!
//! Nothing on the disk depends on it: layers, upper directories and volumes have the ids that containers see, and mounts
//! map them (`host/runtime/src/mapped.rs`). So the daemon may be told another range tomorrow.

use std::path::PathBuf;

use ferry_container::{IdMaps, Namespace, UserNamespace};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, ContainerSpec, IpcMode, NetworkMode, PidMode, UsernsMode};

use crate::{Shared, random};

/// Whether a container that is asked for so is in a user namespace other than the host's.
pub(crate) fn is_wanted(shared: &Shared, spec: &ContainerSpec) -> bool {
    match spec.host.userns_mode {
        _ if pod_maps(spec).is_some() => true,
        UsernsMode::Default => shared.config.userns_remap.is_some(),
        UsernsMode::Host => false,
        UsernsMode::Auto => true,
    }
}

/// Gives a new container with `--userns=auto` a range of ids that no other container has. It keeps it as long as it is
/// there.
pub(crate) fn assigned(shared: &Shared, mut container: Container) -> Result<Container, Failure> {
    if container.spec.host.userns_mode == UsernsMode::Auto {
        let taken: Vec<u32> = shared
            .containers
            .all()
            .iter()
            .filter_map(|handle| handle.container().first_id)
            .collect();
        // Two that are made at the same moment do not see each other: they begin to search at different places.
        let first =
            ferry_container::free_range(random::number()? as u32, &|first| taken.contains(&first));
        container.first_id = Some(first.ok_or_else(|| {
            let words = "all 4096 ranges of ids for --userns=auto are in use: remove containers, or use the daemon's --userns-remap";
            Failure::new(ErrorKind::Unavailable, words)
        })?);
    }
    Ok(container)
}

/// The ids of a container, if they are not the host's.
fn maps(shared: &Shared, container: &Container) -> Option<IdMaps> {
    match container.spec.host.userns_mode {
        _ if pod_maps(&container.spec).is_some() => pod_maps(&container.spec).cloned(),
        UsernsMode::Host => None,
        UsernsMode::Default => shared.config.userns_remap.clone(),
        UsernsMode::Auto => container.first_id.map(IdMaps::from_first),
    }
}

/// The ids of a pod that has ids of its own.
fn pod_maps(spec: &ContainerSpec) -> Option<&IdMaps> {
    spec.pod.as_ref()?.ids.as_ref()
}

/// Where a container that is about to start gets its user namespace.
///
/// # Errors
/// It is to share namespaces with a container that does not run, or that is in the host's user namespace.
pub(crate) fn of(shared: &Shared, container: &Container) -> Result<Option<UserNamespace>, Failure> {
    let Some(own) = maps(shared, container) else { return Ok(None) };
    let Some(name) = joined(container) else {
        return Ok(Some(UserNamespace { from: Namespace::New, maps: own }));
    };
    // As Docker: whose namespaces are joined owns them, so its user namespace is joined, too.
    let other = shared.containers.find(name)?.container();
    let Some(maps) = maps(shared, &other) else {
        let words = format!(
            "cannot join the namespaces of container {}, which is in the host's user namespace: use --userns=host here, too",
            other.name
        );
        return Err(Failure::new(ErrorKind::Conflict, words));
    };
    let pid = other.state.pid.ok_or_else(|| {
        let words = format!("cannot join namespace of a non running container: {}", other.id);
        Failure::new(ErrorKind::Conflict, words)
    })?;
    let from = Namespace::Join(PathBuf::from(format!("/proc/{pid}/ns/user")));
    Ok(Some(UserNamespace { from, maps }))
}

fn joined(container: &Container) -> Option<&str> {
    let host = &container.spec.host;
    if let NetworkMode::Container(name) = &host.network_mode {
        return Some(name);
    }
    if let Some(IpcMode::Container(name)) = &host.ipc_mode {
        return Some(name);
    }
    match &host.pid_mode {
        PidMode::Container(name) => Some(name),
        _ => None,
    }
}
