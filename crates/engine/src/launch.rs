//! From a container's record to what a shim is told.

mod specification;

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::Engine as _;
use ferry_container::DnsOverrides;
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, ContainerSpec, MountKind, NetworkMode, PodPart};
use ferry_oci::runtime::{LinuxSeccomp, Mount, Spec};
use ferry_shim::{Launch, LogSpec, OciRuntime, RootfsSpec, wire};

use crate::{
    Shared,
    config::{CgroupDriver, RuntimeConfig},
    net, propagation,
    records::failed,
};

pub(crate) use specification::{Planned, specification};

/// Plans a launch and prepares the files that it refers to.
pub(crate) fn plan(
    shared: &Shared,
    container: &Container,
    network: &net::Plan,
) -> Result<Launch, Failure> {
    let links = net::links::of(shared, container)?;
    let with_links = (!links.is_empty()).then(|| net::links::with_environment(container, &links));
    let resolved = crate::rootfs::with_subpaths(with_links.as_ref().unwrap_or(container))?;
    let container = &*resolved;
    let dir = shared.dirs.data(&container.id);
    let run_dir = fresh_run_dir(shared, &container.id)?;
    make_bind_sources(container)?;
    propagation::check(&shared.config.data_root, container)?;
    let Planned { mut spec, hostname } = specification(shared, container)?;
    write_etc(shared, container, &dir, &hostname, network, &links)?;
    let host = &container.spec.host;
    let is_sandbox = container.spec.pod.as_ref().is_some_and(|part| part.sandbox.is_none());
    if is_sandbox {
        hold_only(&mut spec);
    }
    if host.auto_remove || is_sandbox || shared.builds.is_step(&container.name) {
        spec.annotations.insert(ferry_runtime::VOLATILE_ANNOTATION.to_owned(), "true".to_owned());
    }
    // A handler is for programs, and a sandbox has none.
    let runtime = if is_sandbox { OciRuntime::Own } else { runtime(shared, &host.runtime) };
    // Kubernetes has no word for an init: what is in the image is the first process, or the sandbox's holder is.
    let init = host.init.unwrap_or(shared.config.init && container.spec.pod.is_none());
    let filter = match runtime {
        OciRuntime::Own => take_filter(shared, &mut spec)?,
        OciRuntime::External { .. } => {
            if init {
                put_init_first(shared, &mut spec);
            }
            None
        }
    };
    Ok(Launch {
        version: wire::VERSION,
        id: container.id.clone(),
        run_dir,
        spec,
        rootfs: RootfsSpec::Overlay {
            lower: shared.lower_dirs(&container.layers)?,
            upper: dir.join("upper"),
            work: dir.join("work"),
        },
        filter,
        init,
        open_stdin: container.spec.open_stdin,
        stdin_once: container.spec.stdin_once,
        log: log(shared, container)?,
        runtime,
    })
}

/// A sandbox: no program, and nothing mounted but what its containers share.
fn hold_only(spec: &mut Spec) {
    spec.annotations.insert(ferry_runtime::HOLDER_ANNOTATION.to_owned(), "true".to_owned());
    spec.mounts.retain(|mount| mount.destination == "/dev/shm");
    if let Some(linux) = &mut spec.linux {
        linux.masked_paths.clear();
        linux.readonly_paths.clear();
        linux.devices.clear();
    }
}

fn log(shared: &Shared, container: &Container) -> Result<LogSpec, Failure> {
    if let Some(PodPart { log_path, .. }) = &container.spec.pod {
        return Ok(match log_path.as_str() {
            "" => LogSpec::None,
            path => LogSpec::Cri(PathBuf::from(path)),
        });
    }
    let log = shared.log_settings(&container.spec.host.log);
    let path = shared.dirs.log(&container.id);
    let context = log_context(shared, container);
    Ok(ferry_logs::plan(&log.driver, &log.options, &path, &context)?)
}

/// What a log's records may say.
fn log_context(shared: &Shared, container: &Container) -> ferry_logs::LogContext {
    let spec = &container.spec;
    let command = spec.entrypoint.iter().flatten().chain(spec.cmd.iter().flatten());
    ferry_logs::LogContext {
        id: container.id.clone(),
        name: container.name.clone(),
        image_id: container.image_id.to_string(),
        image: spec.image.clone(),
        command: command.cloned().collect::<Vec<_>>().join(" "),
        labels: spec.labels.clone(),
        env: spec.env.clone(),
        host: shared.host_name(),
    }
}

/// The compiled filter of a profile. Nearly all containers have the same one, so it is compiled once.
pub(crate) fn filter(shared: &Shared, profile: &LinuxSeccomp) -> Result<Arc<str>, Failure> {
    let mut filters = shared.filters.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, filter)) = filters.iter().find(|(known, _)| known == profile) {
        return Ok(Arc::clone(filter));
    }
    let program = ferry_runtime::seccomp::compile(profile, ferry_runtime::seccomp::Arch::host())?;
    let text: Arc<str> = base64::engine::general_purpose::STANDARD.encode(program).into();
    // A handful of profiles is in use on any machine; forgetting all of them now and then costs nothing.
    if filters.len() >= 32 {
        filters.clear();
    }
    filters.push((profile.clone(), Arc::clone(&text)));
    Ok(text)
}

fn take_filter(shared: &Shared, spec: &mut Spec) -> Result<Option<String>, Failure> {
    let profile = spec.linux.as_mut().and_then(|linux| linux.seccomp.take());
    profile.map(|profile| filter(shared, &profile).map(|text| text.to_string())).transpose()
}

fn runtime(shared: &Shared, name: &str) -> OciRuntime {
    let live = shared.live();
    let name = if name.is_empty() { live.default_runtime.as_str() } else { name };
    match live.runtimes.get(name) {
        Some(RuntimeConfig { path, args }) => {
            let mut args = args.clone();
            if shared.config.cgroup_driver == CgroupDriver::Systemd {
                // runc's flag, which all have that know systemd: else they take the path for another form.
                args.push("--systemd-cgroup".to_owned());
            }
            OciRuntime::External { path: path.clone(), args }
        }
        None => OciRuntime::Own,
    }
}

/// The program of another runtime that makes containers of this name; `None` where Ferry does itself.
pub(crate) fn other_runtime(shared: &Shared, name: &str) -> Option<PathBuf> {
    match runtime(shared, name) {
        OciRuntime::Own => None,
        OciRuntime::External { path, .. } => Some(path),
    }
}

/// Where Docker puts its init in a container.
const INIT: &str = "/sbin/docker-init";

/// `--init` where another runtime makes the container: this program, under a name that makes it an init, runs the other.
fn put_init_first(shared: &Shared, spec: &mut Spec) {
    let own = shared.config.executable.to_string_lossy().into_owned();
    spec.mounts.push(Mount {
        destination: INIT.to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(own),
        options: ["bind", "ro"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        process.args.splice(0..0, [INIT.to_owned(), "--".to_owned()]);
    }
}

fn fresh_run_dir(shared: &Shared, id: &str) -> Result<PathBuf, Failure> {
    let run_dir = shared.dirs.run(id);
    match fs::remove_dir_all(&run_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed("remove directory", &run_dir, error));
        }
        _ => {}
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&run_dir)
        .map_err(|error| failed("make directory", &run_dir, error))?;
    Ok(run_dir)
}

/// `-v` makes a directory where there is nothing, as Docker does.
pub(crate) fn make_bind_sources(container: &Container) -> Result<(), Failure> {
    for mount in container.mounts.iter().filter(|mount| mount.kind == MountKind::Bind) {
        let source = Path::new(&mount.source);
        if source.exists() {
            continue;
        }
        if !mount.create_source {
            let words = format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                mount.source
            );
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
        fs::create_dir_all(source)
            .map_err(|error| failed("make the source of a bind mount", source, error))?;
    }
    Ok(())
}

/// What a container's `resolv.conf` is made of: its own settings, else the daemon's.
#[derive(Debug, Clone)]
pub(crate) struct DnsSettings {
    /// `--dns`; empty for the host's.
    pub(crate) servers: Vec<String>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

impl DnsSettings {
    pub(crate) fn of(shared: &Shared, spec: &ContainerSpec) -> Self {
        let bridge = &shared.config.bridge;
        let or = |own: &[String], default: &[String]| {
            if own.is_empty() { default.to_vec() } else { own.to_vec() }
        };
        DnsSettings {
            servers: or(&spec.host.dns, &bridge.dns),
            search: or(&spec.host.dns_search, &bridge.dns_search),
            options: or(&spec.host.dns_options, &bridge.dns_options),
        }
    }

    fn overrides(&self) -> DnsOverrides<'_> {
        DnsOverrides { servers: &self.servers, search: &self.search, options: &self.options }
    }

    /// The file for containers whose networks have no names.
    fn plain(&self, on_host: bool) -> String {
        ferry_container::resolv_conf(&host_file(), self.overrides(), on_host)
    }

    /// The file for containers with a name server of ours.
    fn embedded(&self) -> String {
        let resolver = IpAddr::V4(ferry_network::RESOLVER);
        ferry_container::embedded_resolv_conf(&host_file(), self.overrides(), resolver)
    }
}

fn host_file() -> String {
    fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

/// Lets a running container that had no name server ask ours, unless somebody changed its file.
pub(crate) fn point_to_resolver(
    shared: &Shared,
    container: &Container,
    path: &Path,
) -> Result<(), Failure> {
    let settings = DnsSettings::of(shared, &container.spec);
    let text = fs::read_to_string(path).map_err(|error| failed("read", path, error))?;
    if text != settings.plain(false) {
        return Ok(());
    }
    fs::write(path, settings.embedded()).map_err(|error| failed("write", path, error))
}

/// What the container's own addresses resolve to in its `/etc/hosts`.
pub(crate) fn own_names(spec: &ContainerSpec, hostname: &str) -> Vec<String> {
    let mut names = vec![hostname.to_owned()];
    if !spec.domainname.is_empty() {
        names.insert(0, format!("{hostname}.{}", spec.domainname));
    }
    names
}

/// The host name of a container with a network of its own.
pub(crate) fn host_name(container: &Container) -> String {
    match container.spec.hostname.as_str() {
        "" => ferry_stdx::id::short(&container.id).to_owned(),
        name => name.to_owned(),
    }
}

/// The host name that a pod's containers see.
pub(crate) fn pod_hostname(sandbox: &Container) -> String {
    if sandbox.spec.host.uts_host {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    host_name(sandbox)
}

/// Writes the names of a pod whose addresses came later than its files.
pub(crate) fn write_pod_hosts(shared: &Shared, sandbox: &Container) -> Result<(), Failure> {
    let addresses = sandbox.cni.as_ref().map(|cni| cni.addresses.clone()).unwrap_or_default();
    let names = own_names(&sandbox.spec, &host_name(sandbox));
    let path = shared.dirs.data(&sandbox.id).join("hosts");
    fs::write(&path, ferry_container::hosts(&addresses, &names, &[]))
        .map_err(|error| failed("write", &path, error))
}

fn write_etc(
    shared: &Shared,
    container: &Container,
    dir: &Path,
    hostname: &str,
    network: &net::Plan,
    links: &[net::links::Linked],
) -> Result<(), Failure> {
    let spec = &container.spec;
    // A container that joins another's network has that one's names.
    if let NetworkMode::Container(name) = &spec.host.network_mode {
        let other = shared.dirs.data(&shared.containers.find(name)?.id);
        for file in ["hosts", "hostname", "resolv.conf"] {
            let (from, to) = (other.join(file), dir.join(file));
            fs::copy(&from, &to).map_err(|error| failed("copy", &from, error))?;
        }
        return Ok(());
    }
    let names = own_names(spec, hostname);
    let extra: Vec<(String, String)> = spec
        .host
        .extra_hosts
        .iter()
        .filter_map(|pair| pair.split_once(':').or_else(|| pair.split_once('=')))
        .map(|(name, address)| {
            let address = match address {
                "host-gateway" => shared
                    .config
                    .host_gateway
                    .first()
                    .copied()
                    .or_else(|| network.gateway().map(IpAddr::from))
                    .map(|ip| ip.to_string())
                    .unwrap_or_default(),
                address => address.to_owned(),
            };
            (name.to_owned(), address)
        })
        .chain(links.iter().map(net::links::Linked::host))
        .collect();
    let on_host = spec.host.network_mode == NetworkMode::Host;
    let hosts = if on_host {
        let mut text = fs::read_to_string("/etc/hosts").unwrap_or_default();
        for (name, address) in &extra {
            text.push_str(&format!("{address}\t{name}\n"));
        }
        text
    } else {
        ferry_container::hosts(&network.addresses(), &names, &extra)
    };
    let has_names = !on_host && crate::net::names_are_wanted(shared, container);
    let settings = DnsSettings::of(shared, spec);
    let resolv_conf = if has_names { settings.embedded() } else { settings.plain(on_host) };
    for (file, text) in
        [("hosts", hosts), ("hostname", format!("{hostname}\n")), ("resolv.conf", resolv_conf)]
    {
        let path = dir.join(file);
        fs::write(&path, text).map_err(|error| failed("write", &path, error))?;
    }
    Ok(())
}
