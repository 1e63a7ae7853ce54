//! Who has a pod's network: its only container, or a keeper of its own, which also does what no container can do for itself.
//!
//! The keeper is this program in the built-in image (`keep/`). With it containers end and start again without the others losing their
//! network, and probes and hooks are those of Kubernetes.

use serde_json::{Value, json};

use crate::{
    common::Common,
    plan::{ContainerPlan, NETWORK, PodPlan},
    ports::Ports,
    probes::{self, Watch},
    service::IMAGE,
    volumes::PutFile,
};

/// Where a keeper finds what it is to do.
pub(crate) const RECORD: &str = "/keep.json";

/// What a container keeps: `pod`, `job`, `cron` or `service`.
pub(crate) const KEEPER: &str = "ferry.kube.keeper";
/// A container with a hook before its end.
pub(crate) const PRE_STOP: &str = "ferry.kube.pre-stop";
/// A container that ends after the others.
pub(crate) const SIDECAR: &str = "ferry.kube.sidecar";
/// The daemon's socket, as the machine has it, for a keeper that makes containers with it.
pub(crate) const SOCKET: &str = "FERRY_KUBE_SOCKET";

/// In the engine's unit of time.
const SECOND: u64 = 1_000_000_000;

/// The label by which the engine knows names that lead to a container while it is healthy only.
const HEALTHY_NAMES: &str = "ferry.names-while-healthy";

/// The label by which the engine knows names that are another one's, though the container is called so.
const OTHERS_NAMES: &str = "ferry.names-of-others";

/// Decides who has the network of `plan`, and lets the others join.
pub(crate) fn join(common: &Common<'_>, plan: &mut PodPlan, ports: Ports, watches: Vec<Watch>) {
    let stays = plan.init.iter().chain(&plan.containers).filter(|one| !one.ends).count();
    let asks = plan.late().iter().any(|field| field.starts_with("status."));
    for watch in watches.iter().filter(|watch| watch.pre_stop.is_some()) {
        if let Some(one) = watched(plan, watch) {
            one.body["Labels"][PRE_STOP] = json!("1");
        }
    }
    let needed = watches.iter().any(|watch| probes::health(watch).is_none())
        || common.shares_pids
        || !plan.work.memory.is_empty()
        || ((stays > 1 || asks) && !common.on_host);
    let watches = by_keeper(common, plan, watches, needed);
    for one in plan.init.iter_mut().filter(|one| !one.ends) {
        one.body["Labels"][SIDECAR] = json!("1");
    }
    if needed {
        let mut keeper = keeper(common, &plan.name, watches);
        keeper.body["HostConfig"]["Mounts"] = held(&plan.work.memory);
        if !common.on_host {
            holder(common, &mut keeper);
            common.publish(ports, &mut keeper.body);
        }
        for one in plan.init.iter_mut().chain(&mut plan.containers) {
            member(common, &keeper.name, &mut one.body);
        }
        plan.keeper = Some(keeper);
        return;
    }
    let mut ports = Some(ports);
    for one in plan.init.iter_mut().chain(&mut plan.containers) {
        if common.on_host {
            one.body["HostConfig"]["NetworkMode"] = json!("host");
            if common.host_ipc {
                one.body["HostConfig"]["IpcMode"] = json!("host");
            }
            continue;
        }
        holder(common, one);
        if let Some(ports) = ports.take_if(|_| !one.ends) {
            common.publish(ports, &mut one.body);
        }
    }
}

/// What is in memory lives as long as somebody has it mounted, and containers come and go.
fn held(memory: &[(String, String)]) -> Value {
    let mount = |(number, (name, _)): (usize, &(String, String))| json!({ "Type": "volume", "Source": name, "Target": format!("/memory-{number}"), "VolumeOptions": { "NoCopy": true } });
    memory.iter().enumerate().map(mount).collect()
}

/// What the keeper of a pod asks, if it has one; for the rest containers have health checks.
fn by_keeper(
    common: &Common<'_>,
    plan: &mut PodPlan,
    watches: Vec<Watch>,
    has_keeper: bool,
) -> Vec<Watch> {
    // A keeper has the pod's names, and leads nobody here before all of whom it knows are ready.
    let (mut asked, checked): (Vec<Watch>, Vec<Watch>) =
        watches.into_iter().partition(|watch| match probes::health(watch) {
            Some(_) => has_keeper && watch.says_when_ready(),
            None => true,
        });
    if has_keeper && probes::say_when_ready(common.values.pod) {
        let all = plan.init.iter().chain(&plan.containers).filter(|one| !one.ends);
        let others = all.filter(|one| asked.iter().all(|watch| watch.container != one.name));
        let others: Vec<Watch> = others.map(|one| Watch::of(&one.name)).collect();
        asked.extend(others);
    }
    for watch in checked {
        if let Some(one) = watched(plan, &watch) {
            check(&watch, &mut one.body);
        }
    }
    asked
}

/// The container of a watch.
fn watched<'p>(plan: &'p mut PodPlan, watch: &Watch) -> Option<&'p mut ContainerPlan> {
    plan.init.iter_mut().chain(&mut plan.containers).find(|one| one.name == watch.container)
}

/// A container whose health check says all that its probes would.
fn check(watch: &Watch, body: &mut Value) {
    if let Some(health) = probes::health(watch) {
        body["Healthcheck"] = health;
    }
    if watch.liveness.is_some() {
        // As a kubelet: what must not be started again is only ended.
        let verb = if watch.restarts { "restart" } else { "stop" };
        body["Labels"]["ferry.health-on-failure"] = json!(verb);
    }
}

/// A container with a network of its own.
fn holder(common: &Common<'_>, one: &mut ContainerPlan) {
    let ContainerPlan { name, ends, body, .. } = one;
    body["Hostname"] = json!(common.hostname);
    if let Some(domain) = common.domain() {
        body["Domainname"] = json!(domain);
    }
    let (mut names, when_ready) = (common.names(), common.names_when_ready());
    if *ends {
        // Services lead to nobody who only prepares.
        names.clear();
    } else {
        if !when_ready.is_empty() {
            body["Labels"][HEALTHY_NAMES] = json!(when_ready.join(","));
        }
        names.extend(when_ready);
    }
    let others = common.names_of_others(*ends);
    names.retain(|name| !others.contains(name));
    // It is called so inside still.
    let own = [&common.hostname, &*name].into_iter().filter(|name| others.contains(*name));
    let own: Vec<&str> = own.map(String::as_str).collect();
    if !own.is_empty() {
        body["Labels"][OTHERS_NAMES] = json!(own.join(","));
    }
    body["NetworkingConfig"] = json!({ "EndpointsConfig": { NETWORK: { "Aliases": names } } });
    let host = &mut body["HostConfig"];
    host["NetworkMode"] = json!(NETWORK);
    host["IpcMode"] = json!(if common.host_ipc { "host" } else { "shareable" });
    host["ExtraHosts"] = json!(common.hosts);
    for (key, value) in &common.around.network {
        host[*key] = value.clone();
    }
}

/// A container with its keeper's network.
fn member(common: &Common<'_>, keeper: &str, body: &mut Value) {
    let host = &mut body["HostConfig"];
    let joined = json!(format!("container:{keeper}"));
    host["NetworkMode"] = if common.on_host { json!("host") } else { joined.clone() };
    host["IpcMode"] = if common.host_ipc { json!("host") } else { joined.clone() };
    if common.shares_pids {
        host["PidMode"] = joined;
    }
}

/// The keeper of a pod.
fn keeper(common: &Common<'_>, pod: &str, watches: Vec<Watch>) -> ContainerPlan {
    let says_when_ready = probes::say_when_ready(common.values.pod);
    let asked = watches.iter().flat_map(|watch| [&watch.readiness, &watch.startup]).flatten();
    // Who is asked each second is ready in a moment, or not at all.
    let soon = asked.map(|probe| probe.period).min() == Some(1);
    let has_api = !watches.is_empty();
    let record = json!({ "pod": pod, "on_host": common.on_host, "watches": watches });
    let mut one = container(&format!("{pod}_pod"), "pod", &record);
    one.has_api = has_api;
    if common.on_host {
        one.body["HostConfig"]["NetworkMode"] = json!("host");
        one.body["HostConfig"]["IpcMode"] =
            json!(if common.host_ipc { "host" } else { "shareable" });
    }
    if says_when_ready {
        // So that `ps` shows whether the pod is ready, and services lead to it when it is. Each check waits until there is news.
        one.body["Healthcheck"] = json!({
            "Test": ["CMD", "/ferry", "kube", "keep", "ready"],
            "Interval": SECOND / 10,
            "Timeout": 30 * SECOND,
            "StartPeriod": if soon { 0 } else { 20 * SECOND },
            "StartInterval": SECOND / 10,
            "Retries": 1,
        });
    }
    one
}

/// A container with this program, that keeps something.
pub(crate) fn container(name: &str, what: &str, record: &Value) -> ContainerPlan {
    let body = json!({
        "Image": IMAGE,
        "Entrypoint": ["/ferry"],
        "Cmd": ["kube", "keep", what],
        // There is nothing to tidy up.
        "StopSignal": "SIGKILL",
        "Labels": { KEEPER: what },
        "HostConfig": { "RestartPolicy": { "Name": "always" } },
    });
    let file = PutFile { path: RECORD.to_owned(), content: record.to_string().into(), mode: 0o600 };
    let name = name.to_owned();
    ContainerPlan { name, body, files: vec![file], has_api: true, ..ContainerPlan::of(IMAGE) }
}
