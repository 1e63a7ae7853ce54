//! Playing manifests: what is there already and the same is left alone.

use std::collections::BTreeSet;

use ferry_cli::face::{Cli, CliError};
use ferry_client::{Client, ClientError, Endpoint, path_segment};
use ferry_docker_api::{ContainerSummary, Filters};
use serde_json::{Value, json};

use crate::{
    end, fill,
    infra::SOCKET,
    manifest::Manifests,
    plan::{ContainerPlan, HASH, NETWORK, OWNER, POD, PodPlan},
};

/// A command at work.
#[derive(Clone, Copy)]
pub(crate) struct Player<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) client: &'a Client,
}

/// Everything that is to run.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    pub(crate) pods: Vec<PodPlan>,
    /// What is only looked at for its images: pods of jobs, which their keepers start.
    pub(crate) later: Vec<PodPlan>,
}

/// What a pod learns of itself when it is there.
#[derive(Default)]
struct Late {
    pod: String,
    host: String,
    node: String,
}

impl Late {
    fn of(&self, field: &str) -> &str {
        match field {
            "status.podIP" | "status.podIPs" => &self.pod,
            "spec.nodeName" => &self.node,
            _ => &self.host,
        }
    }
}

impl Player<'_> {
    /// Brings volumes, the network and pods up.
    pub(crate) async fn play(&self, manifests: &Manifests, plans: &Plans) -> Result<(), CliError> {
        self.network().await?;
        for pod in &plans.later {
            for one in pod.all() {
                self.bring(&one.image, if one.pull == "Always" { "" } else { &one.pull }).await?;
            }
        }
        for owner in &manifests.owners {
            self.prune(owner, &plans.pods).await?;
        }
        for pod in &plans.pods {
            let what = self.pod(pod).await?;
            self.cli.println(&format!("{} {} {what}", pod.owner, pod.name))?;
        }
        // Those that pods mount were made with the rights that their pods want.
        let pods = || plans.pods.iter().chain(&plans.later);
        for claim in &manifests.claims {
            if !pods().any(|pod| pod.work.claims.contains(claim)) {
                fill::unused_claim(self, claim).await?;
            }
        }
        Ok(())
    }

    /// Takes pods of an object away that it does not want any more.
    async fn prune(&self, owner: &str, wanted: &[PodPlan]) -> Result<(), CliError> {
        let is_wanted = |pod: &str| wanted.iter().any(|one| one.owner == owner && one.name == pod);
        let mut gone: Vec<ContainerSummary> = self.having(OWNER, owner).await?;
        gone.retain(|one| !is_wanted(label(one, POD)));
        let names: BTreeSet<String> = gone.iter().map(|one| label(one, POD).to_owned()).collect();
        if gone.iter().any(end::makes_more) {
            end::everything(self, owner).await?;
        } else {
            end::remove(self, &gone).await?;
        }
        for name in names {
            fill::remove_own(self, owner, Some(&name)).await?;
            self.cli.println(&format!("{owner} {name} deleted"))?;
        }
        Ok(())
    }

    async fn network(&self) -> Result<(), CliError> {
        let path = format!("/networks/{NETWORK}");
        match self.client.get(path).json::<Value>().await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => {
                let body = json!({ "Name": NETWORK, "Driver": "bridge" });
                Ok(self.client.post("/networks/create").json_body(&body).done().await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Brings a pod up; what was done.
    pub(crate) async fn pod(&self, pod: &PodPlan) -> Result<&'static str, CliError> {
        let mut there = self.having(OWNER, &pod.owner).await?;
        there.retain(|one| label(one, POD) == pod.name);
        // What was made and never started is what an earlier attempt has left.
        let same = |one: &&ContainerSummary| label(one, HASH) == pod.hash && one.state != "created";
        let same = there.iter().filter(same).count();
        if same == there.len() && same == pod.all().count() {
            return Ok("unchanged");
        }
        // What cannot be had is told before anything goes.
        self.bring_all(pod).await?;
        if there.iter().any(end::makes_more) {
            end::everything(self, &pod.owner).await?;
        } else if !there.is_empty() {
            end::remove(self, &there).await?;
            fill::remove_own(self, &pod.owner, Some(&pod.name)).await?;
        }
        self.start(pod).await?;
        Ok(if there.is_empty() { "created" } else { "configured" })
    }

    /// Starts a pod of which nothing is there yet but its images.
    pub(crate) async fn start(&self, pod: &PodPlan) -> Result<(), CliError> {
        fill::places(self, &pod.work.places)?;
        fill::fill(self, pod).await?;
        let mut late = Late::default();
        if let Some(keeper) = &pod.keeper {
            let id = self.create(keeper, &late).await?;
            self.post(&id, "start").await?;
        }
        if pod.all().any(|one| !one.late.is_empty()) {
            late = self.late(pod).await?;
        }
        for one in &pod.init {
            let id = self.create(one, &late).await?;
            self.post(&id, "start").await?;
            if !one.ends {
                continue;
            }
            let path = format!("/containers/{}/wait", path_segment(&id));
            let ended: Value = self.client.post(path).json().await?;
            let code = ended["StatusCode"].as_i64().unwrap_or(-1);
            if code != 0 {
                let words = format!("init container {} ended with exit code {code}", one.name);
                return Err(CliError::new(words));
            }
        }
        for one in &pod.containers {
            let id = self.create(one, &late).await?;
            self.post(&id, "start").await?;
        }
        Ok(())
    }

    /// Addresses, and the machine's name.
    async fn late(&self, pod: &PodPlan) -> Result<Late, CliError> {
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let info: Value = self.client.get("/info").json().await?;
        let network: Value = self.client.get(format!("/networks/{NETWORK}")).json().await?;
        let host = text(&network, "/IPAM/Config/0/Gateway");
        let mut address = String::new();
        if let Some(keeper) = &pod.keeper {
            let path = format!("/containers/{}/json", path_segment(&keeper.name));
            let it: Value = self.client.get(path).json().await?;
            address = text(&it, &format!("/NetworkSettings/Networks/{NETWORK}/IPAddress"));
        }
        let pod = if address.is_empty() { host.clone() } else { address };
        Ok(Late { pod, host, node: text(&info, "/Name") })
    }

    async fn create(&self, one: &ContainerPlan, late: &Late) -> Result<String, CliError> {
        let mut body = one.body.clone();
        let add = |body: &mut Value, list: &str, line: String| match body.pointer_mut(list) {
            Some(Value::Array(lines)) => lines.push(json!(line)),
            Some(other) => *other = json!([line]),
            None => {}
        };
        for (name, field) in &one.late {
            add(&mut body, "/Env", format!("{name}={}", late.of(field)));
        }
        if one.has_api {
            let (directory, socket) = self.socket();
            // Mounts below it stay the daemon's. Root of a container is to be who may speak to it, whoever that is outside.
            let maps = body["HostConfig"]["UsernsMode"] == json!("auto") || self.remaps().await?;
            body["HostConfig"]["Mounts"] = json!([{
                "Type": "bind", "Source": directory, "Target": "/api",
                "BindOptions": { "NonRecursive": true, "IDMap": maps },
            }]);
            body["Env"] = json!([
                format!("FERRY_HOST=unix:///api/{socket}"),
                format!("{SOCKET}={directory}/{socket}"),
            ]);
        }
        let call = self.client.post("/containers/create").query("name", &one.name);
        let made: Value = call.json_body(&body).json().await?;
        let id = made["Id"].as_str().unwrap_or_default().to_owned();
        if one.non_root {
            self.refuse_root(&id, &one.name).await?;
        }
        if !one.files.is_empty() {
            let tar = fill::packed("", one.files.iter())?;
            fill::put(self, &id, tar).await?;
        }
        Ok(id)
    }

    /// Whether containers are in a user namespace anyway (`--userns-remap`).
    async fn remaps(&self) -> Result<bool, CliError> {
        let info: Value = self.client.get("/info").json().await?;
        let options = info["SecurityOptions"].as_array();
        Ok(options.into_iter().flatten().any(|one| one == "name=userns"))
    }

    /// The directory of the daemon's socket where it runs, and the socket's name. A directory, since a daemon that is started again makes
    /// another socket.
    fn socket(&self) -> (String, String) {
        let path = match std::env::var(SOCKET) {
            Ok(path) => path,
            Err(_) => match self.client.endpoint() {
                Endpoint::Unix(path) => path.to_string_lossy().into_owned(),
                _ => "/run/ferry/ferry.sock".to_owned(),
            },
        };
        let (directory, name) = path.rsplit_once('/').unwrap_or(("/run/ferry", "ferry.sock"));
        (directory.to_owned(), name.to_owned())
    }

    /// The image says who its program is, and that must not be root.
    async fn refuse_root(&self, id: &str, name: &str) -> Result<(), CliError> {
        let it: Value =
            self.client.get(format!("/containers/{}/json", path_segment(id))).json().await?;
        let user = it.pointer("/Config/User").and_then(Value::as_str).unwrap_or_default();
        let id_of = user.split(':').next().unwrap_or_default();
        let why = match id_of.parse::<u32>() {
            Ok(0) => "the image's user is root",
            Ok(_) => return Ok(()),
            Err(_) if id_of.is_empty() => "the image's user is root",
            Err(_) => "the image's user is a name, and names may be root's",
        };
        end::remove_one(self, id).await?;
        Err(CliError::new(format!("{name} has runAsNonRoot, and {why}: give runAsUser")))
    }

    pub(crate) async fn post(&self, id: &str, verb: &str) -> Result<(), CliError> {
        let path = format!("/containers/{}/{verb}", path_segment(id));
        Ok(self.client.post(path).done().await?)
    }

    /// The containers with this label, the newest first.
    pub(crate) async fn having(
        &self,
        key: &str,
        value: &str,
    ) -> Result<Vec<ContainerSummary>, CliError> {
        let mut filters = Filters::default();
        filters.add("label", &format!("{key}={value}"));
        let call = self.client.get("/containers/json").query("all", 1).filters(&filters);
        Ok(call.json().await?)
    }

    /// Takes objects down, and the volumes that are theirs alone. Claims stay.
    pub(crate) async fn down(&self, manifests: &Manifests, plans: &Plans) -> Result<(), CliError> {
        let mut owners: Vec<&String> = plans.pods.iter().map(|pod| &pod.owner).collect();
        owners.extend(&manifests.owners);
        let mut seen = BTreeSet::new();
        for owner in owners {
            if seen.insert(owner) {
                self.down_one(owner, &plans.pods).await?;
            }
        }
        Ok(())
    }

    async fn down_one(&self, owner: &str, planned: &[PodPlan]) -> Result<(), CliError> {
        let planned = planned.iter().filter(|pod| pod.owner == owner);
        let mut names: BTreeSet<String> = planned.map(|pod| pod.name.clone()).collect();
        let gone = end::everything(self, owner).await?;
        match owner.split_once("Job/") {
            // Pods of jobs come and go: it is the job that is told.
            Some((_, job)) if !gone.is_empty() => drop(names.insert(job.to_owned())),
            Some(_) => {}
            // It may have had more than this file says.
            None => names.extend(gone),
        }
        for name in &names {
            self.cli.println(&format!("{owner} {name} deleted"))?;
        }
        Ok(())
    }
}

/// A label of a container, empty when it has none of that name.
pub(crate) fn label<'c>(one: &'c ContainerSummary, key: &str) -> &'c str {
    let value = one.labels.as_ref().and_then(|labels| labels.get(key));
    value.map_or("", String::as_str)
}

pub(crate) fn is_missing(error: &ClientError) -> bool {
    error.status() == Some(404)
}
