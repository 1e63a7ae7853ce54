//! Kubernetes' pods: a sandbox is a container without a program whose first process holds the namespaces, and the pod's
//! containers join them. Starting, stopping and looking at containers of pods is [`super::container`]'s, by id.
//!
//! Crash story: a sandbox that was not started when the engine died is removed at boot; one that was is adopted like any
//! container. What CNI plugins were called with is noted before they are called (`actor/pod.rs`).

mod figures;

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Entry;
use ferry_model::{
    container::{
        Container, ContainerSpec, CreateContainer, IpcMode, LogSettings, NetworkMode, Phase,
        PidMode, PodPart,
    },
    image::Image,
};
use ferry_network::NetNamespace;
use ferry_oci::{Digest, ImageConfig};
use ferry_shim::wire::{Command as ShimCommand, Event as ShimEvent};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::broadcast,
};

use super::container::{self, RemoveRequest, StopRequest, ask, create::create_of};
use crate::{
    Engine,
    actor::{Command, Live},
    events::PodEvent,
    failpoint, registry,
};

pub use figures::{ContainerFigures, Disk, PodFigures, Processes, Usage, figures, usage};

/// How long a shim may take to open a log anew.
const REOPEN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// What a name of a pod or of its container begins with: no name of Docker's has a colon.
const PREFIX: &str = "pod:";

/// Which namespaces a pod's containers share, besides those that all do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Process ids of the whole pod.
    pub pids: bool,
}

/// Makes and starts a sandbox. `name` is the pod's own among pods. Answers the id of one that is there already and runs, if
/// it was asked for in the same words.
///
/// # Errors
/// The name is taken, a setting is refused, or the network cannot be made: then nothing is left.
pub async fn run(engine: &Engine, name: &str, mut spec: ContainerSpec) -> Result<String, Failure> {
    let name = format!("{PREFIX}{name}");
    if let Some(id) = same(engine, &name, &spec, Phase::Running)? {
        return Ok(id);
    }
    spec.cmd = Some(vec!["pause".to_owned()]);
    spec.host.log = LogSettings { driver: "none".to_owned(), ..LogSettings::default() };
    let request = CreateContainer { name: Some(name), platform: None, spec };
    let shared = Arc::clone(&engine.shared);
    let made = crate::blocking(move || create_of(&shared, &nothing()?, request)).await?;
    failpoint::hit("pod.made");
    match container::start(engine, &made.id).await {
        Ok(_) => {
            failpoint::hit("pod.started");
            Ok(made.id)
        }
        Err(failure) => {
            if let Err(stays) = remove(engine, &made.id).await {
                tracing::warn!(id = %made.id, failure = %stays, "a sandbox that did not start stays");
            }
            Err(failure)
        }
    }
}

/// Makes a container in a sandbox. Answers the id of one that is there already and was not started, if it was asked for in
/// the same words.
///
/// # Errors
/// No such sandbox, or it does not run; the name is taken, no such image, a setting is refused.
pub async fn create(
    engine: &Engine,
    sandbox: &str,
    name: &str,
    sharing: Sharing,
    mut spec: ContainerSpec,
) -> Result<String, Failure> {
    let pod = find(engine, sandbox)?;
    if pod.state.phase != Phase::Running {
        let words = format!("sandbox container \"{}\" is not running", pod.id);
        return Err(Failure::new(ErrorKind::Conflict, words));
    }
    let name = format!("{PREFIX}{}/{name}", &pod.id);
    if let Some(id) = same(engine, &name, &spec, Phase::Created)? {
        return Ok(id);
    }
    join(&mut spec, &pod, sharing);
    let request = CreateContainer { name: Some(name), platform: None, spec };
    Ok(container::create(engine, request).await?.id)
}

/// Puts a container into its sandbox's namespaces.
fn join(spec: &mut ContainerSpec, pod: &Container, sharing: Sharing) {
    let id = pod.id.clone();
    spec.hostname = crate::launch::pod_hostname(pod);
    spec.host.network_mode = NetworkMode::Container(id.clone());
    spec.host.ipc_mode = match pod.spec.host.ipc_mode {
        Some(IpcMode::Host) => Some(IpcMode::Host),
        _ => Some(IpcMode::Container(id.clone())),
    };
    if sharing.pids {
        spec.host.pid_mode = PidMode::Container(id.clone());
    }
    spec.host.log = LogSettings { driver: "none".to_owned(), ..LogSettings::default() };
    if let Some(part) = &mut spec.pod {
        part.sandbox = Some(id);
    }
}

/// Ends a pod: its containers at once, its network, its sandbox. May be repeated.
///
/// # Errors
/// The network could not be taken apart: everything else is done, and the next call tries again. No such sandbox.
pub async fn stop(engine: &Engine, id: &str) -> Result<(), Failure> {
    let pod = find(engine, id)?;
    for member in members(engine, &pod.id) {
        if member.state.phase.is_running() {
            let at_once = StopRequest { timeout: Some(0), signal: Some("KILL".to_owned()) };
            gone_is_fine(container::stop(engine, &member.id, at_once).await.map(|_| ()))?;
        }
    }
    failpoint::hit("pod.members-stopped");
    // Plugins want to see the namespace that they take apart.
    let released = ask(engine, &pod.id, |reply| Command::ReleaseNetwork { reply }).await;
    failpoint::hit("pod.released");
    let stop = StopRequest { timeout: Some(2), signal: None };
    gone_is_fine(container::stop(engine, &pod.id, stop).await.map(|_| ()))?;
    failpoint::hit("pod.stopped");
    gone_is_fine(released)
}

/// Removes a pod with everything in it, also what runs. May be repeated until there is no such sandbox.
///
/// # Errors
/// As for [`stop`]; or files could not be removed.
pub async fn remove(engine: &Engine, id: &str) -> Result<(), Failure> {
    let pod = find(engine, id)?;
    stop(engine, &pod.id).await?;
    for member in members(engine, &pod.id) {
        remove_container(engine, &member.id).await?;
    }
    failpoint::hit("pod.members-removed");
    remove_container(engine, &pod.id).await
}

/// Removes a container of a pod, also one that runs.
///
/// # Errors
/// Its files could not be removed. That it is gone is no error.
pub async fn remove_container(engine: &Engine, id: &str) -> Result<(), Failure> {
    let all = RemoveRequest { force: true, volumes: true, link: false };
    gone_is_fine(container::remove(engine, id, all).await)
}

/// All sandboxes and containers of pods, newest first.
pub fn list(engine: &Engine) -> Vec<Arc<Container>> {
    let all = engine.shared.containers.all();
    let mut pods: Vec<Arc<Container>> =
        all.iter().map(registry::Handle::container).filter(|it| it.spec.pod.is_some()).collect();
    pods.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    pods
}

/// A number that is another one once [`list`] may answer something else: ask for it first.
pub fn version(engine: &Engine) -> u64 {
    engine.shared.containers.version()
}

/// A sandbox or container of a pod, by id or its beginning.
///
/// # Errors
/// There is none, or several.
pub fn find(engine: &Engine, id: &str) -> Result<Arc<Container>, Failure> {
    let handle = engine.shared.containers.find_pod(id)?;
    Ok(handle.container())
}

/// The containers of a sandbox.
pub fn members(engine: &Engine, sandbox: &str) -> Vec<Arc<Container>> {
    let mut all = list(engine);
    all.retain(|it| part(it).is_some_and(|part| part.sandbox.as_deref() == Some(sandbox)));
    all
}

/// What happens to pods from now on.
pub fn events(engine: &Engine) -> broadcast::Receiver<PodEvent> {
    engine.shared.events.subscribe_pods()
}

/// Lets a running container's log go on in a new file, because somebody renamed the old one.
///
/// # Errors
/// It does not run, or the file cannot be opened.
pub async fn reopen_log(engine: &Engine, id: &str) -> Result<(), Failure> {
    let it = find(engine, id)?;
    if !it.state.phase.is_running() {
        let words = format!("container \"{}\" is not running", it.id);
        return Err(Failure::new(ErrorKind::Conflict, words));
    }
    let run_dir = engine.shared.dirs.run(&it.id);
    let reopened = async {
        let (mut live, _) = Live::connect(&run_dir, false).await?;
        live.command(&ShimCommand::ReopenLog).await?;
        loop {
            if let ShimEvent::LogReopened { error } = live.receive().await? {
                return error.map_or(Ok(()), |words| Err(std::io::Error::other(words)));
            }
        }
    };
    let answer = tokio::time::timeout(REOPEN_PATIENCE, reopened).await;
    answer.unwrap_or_else(|late| Err(late.into())).map_err(|error| {
        let words = format!("cannot reopen the log of container \"{}\": {error}", it.id);
        Failure::new(ErrorKind::Internal, words)
    })
}

/// Why no pod could get a network now; `None` when all is well. Without any CNI configuration there is our own bridge.
pub async fn network_fault(engine: &Engine) -> Option<Failure> {
    let shared = Arc::clone(&engine.shared);
    let checked = crate::blocking(move || match shared.cni()? {
        Some(network) => Ok(network.status()?),
        None => Ok(()),
    });
    checked.await.err()
}

/// Whether pods can have ids of their own: the kernel must map those of an overlay's layers, and allow user namespaces.
pub fn has_user_namespaces(engine: &Engine) -> bool {
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    engine.shared.kernel >= (5, 19) && most.trim() != "0"
}

/// Whether a pod's plugins say that it is on its network still. Answers false where none of them made it, or it has no process.
///
/// # Errors
/// They say that it is not, or there is no such pod.
pub async fn check_network(engine: &Engine, id: &str) -> Result<bool, Failure> {
    ask(engine, id, |reply| Command::CheckNetwork { reply }).await
}

/// What an engine that comes up does about networks of plugins, while it answers already: it lets them give back what belongs to no pod, and
/// says which pods are not on their network any more.
pub async fn settle_networks(engine: &Engine) {
    let collecting = engine.shared.cni_gate.write().await;
    let pods = list(engine);
    let attached = pods.iter().filter(|pod| pod.cni.is_some());
    let attached: Vec<String> = attached.map(|pod| pod.id.clone()).collect();
    let (shared, mut valid) = (Arc::clone(&engine.shared), attached.clone());
    let collected = crate::blocking(move || {
        let Some(network) = shared.cni()? else { return Ok(()) };
        // What was left aside because its record does not read may be a pod that runs.
        let mut aside = shared.dirs.ids()?;
        let known = shared.containers.all();
        let known: HashSet<String> = known.iter().map(|it| it.container().id.clone()).collect();
        aside.retain(|id| !known.contains(id));
        valid.extend(aside);
        Ok(network.collect(&valid)?)
    });
    if let Err(failure) = collected.await {
        tracing::warn!(%failure, "CNI plugins did not give back what belongs to no pod");
    }
    drop(collecting);
    for id in attached {
        let checked = check_network(engine, &id).await;
        // One that has been removed meanwhile is on none.
        if let Err(failure) = checked
            && find(engine, &id).is_ok()
        {
            tracing::warn!(%id, %failure, "a pod is not on its network as it should be");
        }
    }
}

/// Whether pods get their networks from CNI plugins.
///
/// # Errors
/// There is a configuration, and it does not read.
pub async fn has_cni(engine: &Engine) -> Result<bool, Failure> {
    let shared = Arc::clone(&engine.shared);
    crate::blocking(move || shared.cni().map(|network| network.is_some())).await
}

/// A connection to a port on a pod's own loopback.
///
/// # Errors
/// The pod does not run, or nobody listens there.
pub async fn connect(engine: &Engine, id: &str, port: u16) -> Result<TcpStream, Failure> {
    let pod = find(engine, id)?;
    let Some(pid) = pod.state.pid.filter(|_| pod.state.phase == Phase::Running) else {
        let words = format!("sandbox container \"{}\" is not running", pod.id);
        return Err(Failure::new(ErrorKind::Conflict, words));
    };
    let mut refusal = None;
    for host in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        // A socket stays in the namespace that it was opened in.
        let socket = crate::blocking(move || {
            let entered = NetNamespace::of(pid).and_then(|inside| {
                inside.run(move || match host {
                    IpAddr::V4(_) => TcpSocket::new_v4(),
                    IpAddr::V6(_) => TcpSocket::new_v6(),
                })
            });
            let failed = |words: String| Failure::new(ErrorKind::Internal, words);
            let opened = entered.map_err(|error| failed(ferry_errkind::chain(&error)))?;
            opened.map_err(|error| failed(format!("cannot open a socket in the pod: {error}")))
        })
        .await?;
        match socket.connect(SocketAddr::new(host, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                refusal.get_or_insert(error);
            }
        }
    }
    let why = refusal.map(|error| error.to_string()).unwrap_or_default();
    let words = format!("cannot connect to port {port} of sandbox \"{}\": {why}", pod.id);
    Err(Failure::new(ErrorKind::Unavailable, words))
}

fn part(it: &Container) -> Option<&PodPart> {
    it.spec.pod.as_ref()
}

/// The one that has this name and was asked for in the same words.
fn same(
    engine: &Engine,
    name: &str,
    spec: &ContainerSpec,
    phase: Phase,
) -> Result<Option<String>, Failure> {
    let Some(handle) = engine.shared.containers.by_name(name) else { return Ok(None) };
    let other = handle.container();
    let words = |part: Option<&PodPart>| part.map(|part| part.request.clone());
    if other.state.phase == phase && words(part(&other)) == words(spec.pod.as_ref()) {
        return Ok(Some(other.id.clone()));
    }
    let words = format!("name \"{name}\" is reserved for \"{}\"", other.id);
    Err(Failure::new(ErrorKind::Conflict, words))
}

fn gone_is_fine(done: Result<(), Failure>) -> Result<(), Failure> {
    match done {
        Err(failure) if failure.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What a sandbox is made of: nothing.
fn nothing() -> Result<Entry, Failure> {
    let config_json = format!(
        "{{\"architecture\":\"{}\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[]}}}}",
        std::env::consts::ARCH
    );
    let config = ImageConfig::parse(config_json.as_bytes())
        .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
    let image = Image {
        id: Digest::sha256_of(config_json.as_bytes()),
        config_json,
        manifest: None,
        stored: ferry_stdx::time::Timestamp::default(),
        size: 0,
    };
    Ok(Entry { image, config })
}
