//! A pod to bodies of container create. Pure: what runs already is nobody's concern here.
//!
//! A pod of one container is that container. One of several has a keeper (`infra.rs`), which has the network and the ports of all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    common::common,
    env::Values,
    fields,
    images::{self, Login},
    infra,
    manifest::{Manifests, Pod},
    ports::Ports,
    probes,
    reader::Reader,
    volumes::{self, PutFile, Volume, Work},
};

/// The network of all pods; names of pods and services are names on it.
pub(crate) const NETWORK: &str = "kube";

/// The object that a container belongs to.
pub(crate) const OWNER: &str = "ferry.kube.owner";
/// The object that made that one.
pub(crate) const PARENT: &str = "ferry.kube.parent";
/// Its pod.
pub(crate) const POD: &str = "io.kubernetes.pod.name";
/// Its name in the pod.
pub(crate) const CONTAINER: &str = "io.kubernetes.container.name";
/// What its pod was made of.
pub(crate) const HASH: &str = "ferry.kube.hash";

/// A pod as it is to run.
#[derive(Debug, Default)]
pub(crate) struct PodPlan {
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) parent: String,
    /// Tells whether it is the same as one that runs.
    pub(crate) hash: String,
    /// Has the network, and looks after the others.
    pub(crate) keeper: Option<ContainerPlan>,
    /// In this order: each to its end, but sidecars.
    pub(crate) init: Vec<ContainerPlan>,
    pub(crate) containers: Vec<ContainerPlan>,
    pub(crate) work: Work,
    /// The group of its volumes.
    pub(crate) group: Option<i64>,
    /// Volumes of claims that are that group's already are left alone.
    pub(crate) group_on_mismatch: bool,
    /// How its images are pulled.
    pub(crate) logins: Vec<Login>,
    /// It starts when the one before it, of the same object, is ready.
    pub(crate) in_order: bool,
    /// The container whose health is whether the pod is ready, if it says that.
    pub(crate) says_when_ready: Option<String>,
    /// Init containers that fail are started again.
    pub(crate) prepares_again: bool,
}

impl PodPlan {
    pub(crate) fn all(&self) -> impl Iterator<Item = &ContainerPlan> {
        self.keeper.iter().chain(&self.init).chain(&self.containers)
    }

    /// Whose everything is that is made for it.
    pub(crate) fn labels(&self) -> Value {
        let mut labels = json!({ OWNER: self.owner, POD: self.name });
        if !self.parent.is_empty() {
            labels[PARENT] = json!(self.parent);
        }
        labels
    }

    /// The fields that are known when it is there only.
    pub(crate) fn late(&self) -> BTreeSet<String> {
        self.init.iter().chain(&self.containers).flat_map(|one| fields::late(&one.body)).collect()
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut ContainerPlan> {
        self.keeper.iter_mut().chain(&mut self.init).chain(&mut self.containers)
    }
}

/// A container.
#[derive(Debug, Default)]
pub(crate) struct ContainerPlan {
    pub(crate) name: String,
    /// It runs to its end before the next one starts.
    pub(crate) ends: bool,
    /// It has a startup probe.
    pub(crate) starts_up: bool,
    pub(crate) image: String,
    /// `Always`, `IfNotPresent`, `Never`.
    pub(crate) pull: String,
    pub(crate) body: Value,
    /// Put into it before it starts.
    pub(crate) files: Vec<PutFile>,
    /// It speaks to the engine.
    pub(crate) has_api: bool,
    /// It must not be root, and the image says who it is.
    pub(crate) non_root: bool,
}

impl ContainerPlan {
    pub(crate) fn of(image: &str) -> Self {
        ContainerPlan { image: image.to_owned(), ..ContainerPlan::default() }
    }
}

/// Gives a plan its hash, and the containers their labels.
pub(crate) fn finished(mut plan: PodPlan) -> PodPlan {
    let labels = plan.labels();
    for one in plan.all_mut() {
        for (key, value) in labels.as_object().into_iter().flatten() {
            one.body["Labels"][key] = value.clone();
        }
    }
    let mut hasher = Sha256::new();
    for one in plan.all() {
        hasher.update(format!("{}={}\n{:?}", one.name, one.body, one.files));
    }
    hasher.update(format!("{:?}{:?}{:?}", plan.work.fills, plan.work.memory, plan.group));
    let digest = hasher.finalize();
    plan.hash = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let hash = plan.hash.clone();
    for one in plan.all_mut() {
        one.body["Labels"][HASH] = json!(hash);
    }
    plan
}

/// Where a pod is written. Those of a Deployment have one text.
fn place(pod: &Pod) -> String {
    match pod.owner.starts_with("Pod/") {
        true => format!("{}.spec", pod.owner),
        false => format!("{}.spec.template.spec", pod.owner),
    }
}

/// A name that two of them have.
fn twice<'c>(all: impl Iterator<Item = &'c ContainerPlan>) -> Option<&'c str> {
    let mut seen = BTreeSet::new();
    all.map(|one| one.name.as_str()).find(|name| !seen.insert(*name))
}

/// Plans a pod.
pub(crate) fn plan(
    pod: &Pod,
    manifests: &Manifests,
    notices: &mut Vec<String>,
) -> Result<PodPlan, String> {
    let mut spec = Reader::new(place(pod), pod.spec.clone(), notices)?;
    let values = Values { pod, manifests };
    let mut work = Work::default();
    let volumes: BTreeMap<String, Volume> = spec
        .each("volumes", |volume| volumes::volume(volume, values, &mut work))?
        .into_iter()
        .collect();
    let common = common(values, &mut spec, &volumes)?;
    let logins = images::logins(&mut spec, values)?;
    let mut ports = Ports::default();
    let mut watches = Vec::new();
    let mut each = |reader: Reader<'_>, is_init: bool| {
        let made = common.container(reader, is_init)?;
        if !made.plan.ends {
            ports.add(made.ports);
        }
        watches.extend(made.watch);
        Ok(made.plan)
    };
    let init = spec.each("initContainers", |reader| each(reader, true))?;
    let containers = spec.each("containers", |reader| each(reader, false))?;
    if containers.is_empty() {
        return Err(format!("{}.containers is required", spec.path()));
    }
    if let Some(name) = twice(init.iter().chain(&containers)) {
        return Err(format!("{}: two containers are {name}", spec.path()));
    }
    spec.finish()?;
    let mut plan = PodPlan {
        name: pod.name.clone(),
        owner: pod.owner.clone(),
        parent: pod.parent.clone(),
        init,
        containers,
        work,
        group: common.around.group,
        group_on_mismatch: common.around.group_on_mismatch,
        logins,
        in_order: pod.in_order,
        prepares_again: common.starts_again() && !pod.is_job,
        ..PodPlan::default()
    };
    infra::join(&common, &mut plan, ports, watches);
    let speaker = plan.keeper.iter().chain(&plan.containers).next();
    plan.says_when_ready =
        speaker.map(|one| one.name.clone()).filter(|_| probes::say_when_ready(pod));
    if common.own_users {
        for one in plan.all_mut() {
            // Those who join another one's network are in its user namespace.
            one.body["HostConfig"]["UsernsMode"] = json!("auto");
        }
    }
    Ok(finished(plan))
}
