//! SELinux on this machine: the labels of new containers, and those of the files that a container is about to use.
//!
//! As with Docker it is off unless the daemon is told (`selinux-enabled`). Where the machine has no SELinux, labels are taken
//! and mean nothing; where it has, and the daemon was not told, they are refused instead of forgotten.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ferry_container::{
    is_host_directory, security_options, selinux_labels, selinux_level, selinux_level_of,
    selinux_options_of, selinux_relabel, selinux_shared,
};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{
    Container, ContainerSpec, IpcMode, MountKind, PidMode, SelinuxLabels,
};
use ferry_sys::{
    Errno,
    selinux::{ContainerContexts, Selinux as Host},
};

use crate::{Shared, random};

/// How often a pair of categories is drawn that somebody has, before there seem to be none left.
const DRAWS: usize = 1000;

/// What this machine has, and whether it is used.
#[derive(Debug)]
pub(crate) struct Selinux {
    /// The machine has labels.
    is_there: bool,
    enabled: bool,
    contexts: Option<ContainerContexts>,
}

impl Selinux {
    pub(crate) fn detect(wanted: bool) -> Selinux {
        let selinux = Selinux::on(&Host::of_host(), wanted);
        if wanted && !selinux.enabled {
            // Docker's words.
            tracing::warn!("Docker could not enable SELinux on the host system");
        }
        selinux
    }

    fn on(host: &Host, wanted: bool) -> Selinux {
        let is_there = host.is_enabled();
        let enabled = wanted && is_there;
        let contexts = enabled.then(|| host.container_contexts()).flatten();
        Selinux { is_there, enabled, contexts }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// A label that would be forgotten is refused.
    pub(crate) fn check(&self, spec: &ContainerSpec) -> Result<(), Failure> {
        let options = security_options(&spec.host.security_opt, spec.host.privileged)?;
        match options.label.iter().find(|label| *label != "disable") {
            Some(label) if self.is_there && !self.enabled => {
                let words = format!(
                    "--security-opt label={label} needs a daemon with --selinux-enabled on this host"
                );
                Err(Failure::new(ErrorKind::InvalidArgument, words))
            }
            _ => Ok(()),
        }
    }

    /// The labels of a new container, apart from all `taken` levels.
    fn labels(
        &self,
        options: &[String],
        taken: &BTreeSet<&str>,
        draw: &mut dyn FnMut() -> Result<u64, Failure>,
    ) -> Result<Option<SelinuxLabels>, Failure> {
        let Some(ContainerContexts { process, file }) = &self.contexts else { return Ok(None) };
        for _ in 0..DRAWS {
            let level = selinux_level(draw()?);
            if !taken.contains(level.as_str()) {
                return Ok(Some(selinux_labels((process, file), &level, options)?));
            }
        }
        let words = "no pair of SELinux categories is left: remove containers";
        Err(Failure::new(ErrorKind::Unavailable, words))
    }
}

/// Adds what Docker adds to a new container's options: nothing confines what shares the host's processes or memory, and
/// whoever shares a container's, which must be there, has that one's label.
pub(crate) fn add_options(shared: &Shared, spec: &mut ContainerSpec) -> Result<(), Failure> {
    let sandbox = spec.pod.as_ref().and_then(|part| part.sandbox.clone());
    if let Some(sandbox) = sandbox.filter(|_| !spec.host.privileged) {
        return add_options_of_pod(shared, &sandbox, &mut spec.host.security_opt);
    }
    let host = &mut spec.host;
    if host.security_opt.iter().any(|option| option.split('=').next() == Some("label")) {
        return Ok(());
    }
    let ipc_host = host.ipc_mode == Some(IpcMode::Host);
    if ipc_host || host.pid_mode == PidMode::Host || host.privileged {
        host.security_opt.push("label=disable".to_owned());
        return Ok(());
    }
    let of = |name: &str| -> Result<Vec<String>, Failure> {
        let other = shared.containers.find(name).map_err(|missing| {
            // What was asked for is the new container: with Docker this is no 404 either.
            Failure::new(ErrorKind::InvalidArgument, missing.message())
        })?;
        let other = other.container();
        let process = other.selinux.as_ref().map_or("", |labels| labels.process.as_str());
        Ok(selinux_options_of(process))
    };
    let ipc = match &host.ipc_mode {
        Some(IpcMode::Container(name)) => Some(of(name)?),
        _ => None,
    };
    let pid = match &host.pid_mode {
        PidMode::Container(name) => Some(of(name)?),
        _ => None,
    };
    let options = match (ipc, pid) {
        (Some(ipc), Some(pid)) if ipc != pid => {
            return Err(ferry_container::SelinuxError::Conflict.into());
        }
        (one, other) => one.or(other).unwrap_or_default(),
    };
    host.security_opt.extend(options.iter().map(|option| format!("label={option}")));
    Ok(())
}

/// Containers of a pod share files: one that says nothing has the label of the pod, and one that says something has at least its level.
fn add_options_of_pod(
    shared: &Shared,
    sandbox: &str,
    options: &mut Vec<String>,
) -> Result<(), Failure> {
    let sandbox = shared.containers.find(sandbox)?.container();
    let process = sandbox.selinux.as_ref().map_or("", |labels| labels.process.as_str());
    let own: Vec<&str> =
        options.iter().filter_map(|option| option.strip_prefix("label=")).collect();
    let has_level = own.iter().any(|label| *label == "disable" || label.starts_with("level:"));
    let wanted = match own.is_empty() {
        true => selinux_options_of(process),
        false if has_level => Vec::new(),
        false => {
            selinux_level_of(process).map(|level| format!("level:{level}")).into_iter().collect()
        }
    };
    options.extend(wanted.iter().map(|option| format!("label={option}")));
    Ok(())
}

/// The labels of a container that is being made.
pub(crate) fn assign(
    shared: &Shared,
    spec: &ContainerSpec,
) -> Result<Option<SelinuxLabels>, Failure> {
    if shared.selinux.contexts.is_none() {
        return Ok(None);
    }
    let options = security_options(&spec.host.security_opt, spec.host.privileged)?;
    let others: Vec<_> = shared.containers.all().iter().map(|handle| handle.container()).collect();
    let taken = others
        .iter()
        .filter_map(|other| selinux_level_of(&other.selinux.as_ref()?.process))
        .collect();
    shared.selinux.labels(&options.label, &taken, &mut random::number)
}

/// A file or tree of the host, and the label that it is to have.
pub(crate) type Wish = (PathBuf, String);

/// What is to be labelled before a container starts: its own files, and the mounts that ask for it.
pub(crate) fn wishes(shared: &Shared, container: &Container) -> Vec<Wish> {
    if !shared.selinux.enabled {
        return Vec::new();
    }
    let Some(labels) = &container.selinux else { return Vec::new() };
    let dir = shared.dirs.data(&container.id);
    let own = ["hosts", "hostname", "resolv.conf"].iter().map(|name| dir.join(name));
    let mut wishes: Vec<Wish> = selinux_shared(&labels.mount)
        .into_iter()
        .flat_map(|label| own.clone().map(move |path| (path, label.clone())))
        .collect();
    for mount in &container.mounts {
        let label = match mount.kind {
            MountKind::Bind => selinux_relabel(&mount.mode, &labels.mount),
            // Docker's volumes are all mounted with `z`, unless they say `Z`.
            MountKind::Volume => selinux_relabel(&mount.mode, &labels.mount)
                .or_else(|| selinux_shared(&labels.mount)),
            _ => None,
        };
        wishes.extend(label.map(|label| (PathBuf::from(&mount.source), label)));
    }
    wishes
}

/// Labels it. Blocks for as long as the trees need.
pub(crate) fn relabel(wishes: &[Wish]) -> Result<(), Failure> {
    wishes.iter().try_for_each(|(path, label)| relabel_one(path, label))
}

fn relabel_one(path: &Path, label: &str) -> Result<(), Failure> {
    let shown = path.display();
    let told = |why: String| {
        let words = format!("error setting label on mount source '{shown}': {why}");
        Failure::new(ErrorKind::Internal, words)
    };
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        // Not every mount has a source yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(told(error.to_string())),
    };
    if real.to_str().is_some_and(is_host_directory) {
        let why = format!("SELinux relabeling of {} is not allowed", real.display());
        return Err(told(why));
    }
    match ferry_sys::selinux::relabel(&real, label) {
        // As with Docker: a file system without labels (NFS) has one for all its files.
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(told(format!("lsetxattr({label:?}) {}: {errno}", real.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, current: &str) -> (PathBuf, Host) {
        let base = std::env::temp_dir().join(format!("ferry-engine-selinux-{name}"));
        let base = base.with_extension(std::process::id().to_string());
        for dir in ["fs", "etc/targeted/contexts", "attr"] {
            fs::create_dir_all(base.join(dir)).unwrap();
        }
        fs::write(base.join("fs/enforce"), "1").unwrap();
        fs::write(base.join("attr/current"), current).unwrap();
        let contexts = "process = \"u:r:container_t:s0\"\nfile = \"u:object_r:file_t:s0\"\n";
        fs::write(base.join("etc/targeted/contexts/lxc_contexts"), contexts).unwrap();
        let host = Host::at(base.join("fs"), base.join("etc"), base.join("attr"));
        (base, host)
    }

    fn spec(options: &[&str]) -> ContainerSpec {
        let mut spec = ContainerSpec::default();
        spec.host.security_opt = options.iter().map(|option| (*option).to_owned()).collect();
        spec
    }

    #[test]
    fn containers_get_labels_that_no_other_has() {
        let (base, host) = machine("labels", "u:r:init_t:s0\0");
        let selinux = Selinux::on(&host, true);
        assert!(selinux.is_enabled());
        // The first draw is somebody's.
        let level = selinux_level(5);
        let mut next = 4;
        let mut draw = || {
            next += 1;
            Ok(next)
        };
        let taken = BTreeSet::from([level.as_str()]);
        let labels = selinux.labels(&[], &taken, &mut draw).unwrap().unwrap();
        assert_eq!(labels.process, format!("u:r:container_t:{}", selinux_level(6)));
        assert_eq!(labels.mount, format!("u:object_r:file_t:{}", selinux_level(6)));
        let mut always = || Ok(5);
        assert!(selinux.labels(&[], &taken, &mut always).is_err(), "it does not look for ever");
        selinux.check(&spec(&["label=type:x_t"])).unwrap();
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn a_label_is_refused_where_it_would_be_forgotten_and_taken_where_there_are_none() {
        let (base, host) = machine("off", "u:r:init_t:s0\0");
        let off = Selinux::on(&host, false);
        assert!(!off.is_enabled());
        let words = off.check(&spec(&["label=type:x_t"])).unwrap_err().to_string();
        assert!(words.contains("label=type:x_t") && words.contains("--selinux-enabled"), "{words}");
        off.check(&spec(&["label=disable"])).unwrap();
        off.check(&spec(&["no-new-privileges"])).unwrap();
        // No policy: as if there were no SELinux.
        fs::write(base.join("attr/current"), "kernel\0").unwrap();
        for wanted in [false, true] {
            let none = Selinux::on(&host, wanted);
            assert!(!none.is_enabled());
            none.check(&spec(&["label=bogus"])).unwrap();
            assert_eq!(none.labels(&[], &BTreeSet::new(), &mut || Ok(1)).unwrap(), None);
        }
        fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn the_hosts_own_directories_keep_their_labels() {
        let words = relabel_one(Path::new("/etc"), "u:object_r:f_t:s0").unwrap_err().to_string();
        assert_eq!(
            words,
            "error setting label on mount source '/etc': SELinux relabeling of /etc is not allowed"
        );
        relabel_one(Path::new("/nowhere/at/all"), "u:object_r:f_t:s0").unwrap();
    }
}
