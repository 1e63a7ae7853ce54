//! The start of a pod of which nothing is there yet: volumes, its keeper, init containers one after the other, the others.

use std::{pin::pin, time::Duration};

use ferry_cli::face::CliError;
use ferry_client::{Endpoint, path_segment};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    end, exec, fields, fill,
    infra::SOCKET,
    plan::{ContainerPlan, NETWORK, PodPlan},
    play::Player,
    together::Others,
};

/// After so long it is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most seconds between two attempts of an init container.
const LONGEST_REST: u64 = 300;

/// What a pod learns of itself when it is there.
#[derive(Default)]
struct Late {
    pod: String,
    host: String,
    node: String,
    cpus: i64,
    memory: i64,
}

impl Late {
    fn of(&self, field: &str) -> String {
        match field {
            "status.podIP" | "status.podIPs" => self.pod.clone(),
            "spec.nodeName" => self.node.clone(),
            "status.hostIP" | "status.hostIPs" => self.host.clone(),
            other => fields::of_machine(other, self.cpus, self.memory).unwrap_or_default(),
        }
    }
}

impl Player<'_> {
    /// Starts a pod of which nothing is there yet but its images; false if it was given up while an init container ran.
    pub(crate) async fn start(&self, pod: &PodPlan, others: &Others) -> Result<bool, CliError> {
        fill::places(self, &pod.work.places)?;
        let turn = others.volumes().await;
        fill::fill(self, pod).await?;
        drop(turn);
        let mut late = Late::default();
        if let Some(keeper) = &pod.keeper {
            let id = self.create(keeper, &late).await?;
            self.post(&id, "start").await?;
        }
        if !pod.late().is_empty() {
            late = self.late(pod).await?;
        }
        for one in &pod.init {
            let id = self.create(one, &late).await?;
            self.post(&id, "start").await?;
            let words = || format!("{}: waits for the init container {}", pod.owner, one.name);
            let done = async {
                match (one.ends, &pod.keeper) {
                    (true, _) => self.prepare(pod, one, &id).await,
                    (false, Some(keeper)) if one.starts_up => self.started(keeper, one).await,
                    (false, _) => Ok(()),
                }
            };
            tokio::select! {
                done = self.slowly(words, done) => done?,
                () = others.given_up() => return Ok(false),
            }
        }
        for one in &pod.containers {
            let id = self.create(one, &late).await?;
            self.post(&id, "start").await?;
        }
        Ok(true)
    }

    /// Waits for the success of an init container that was started. As a kubelet: it is tried again, at longer and longer intervals,
    /// unless nothing of its pod is ever started again.
    async fn prepare(&self, pod: &PodPlan, one: &ContainerPlan, id: &str) -> Result<(), CliError> {
        let mut rest = 1;
        loop {
            let path = format!("/containers/{}/wait", path_segment(id));
            let ended: Value = self.client.post(path).json().await?;
            let code = ended["StatusCode"].as_i64().unwrap_or(-1);
            let words = format!("init container {} ended with exit code {code}", one.name);
            match code {
                0 => return Ok(()),
                _ if !pod.prepares_again => return Err(CliError::new(words)),
                _ => {}
            }
            self.cli.warn(&format!("{}: {words}, and is started again in {rest} s", pod.owner));
            sleep(Duration::from_secs(rest)).await;
            rest = if rest == 1 { 10 } else { (rest * 2).min(LONGEST_REST) };
            self.post(id, "start").await?;
        }
    }

    /// Waits until the startup probe of a sidecar has succeeded: what comes after it needs it.
    async fn started(&self, keeper: &ContainerPlan, one: &ContainerPlan) -> Result<(), CliError> {
        let words = ["/ferry", "kube", "keep", "started", &one.name].map(str::to_owned);
        match exec::run(self.client, &keeper.name, &words).await? {
            Some(0) => Ok(()),
            _ => Err(CliError::new(format!("nobody knows whether {} has started", one.name))),
        }
    }

    /// Waits for something, and tells in `words` what for if that takes long.
    pub(crate) async fn slowly<T>(
        &self,
        words: impl FnOnce() -> String,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        if let Ok(done) = timeout(PATIENCE, &mut work).await {
            return done;
        }
        self.cli.warn(&words());
        work.await
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
        let number = |key: &str| info[key].as_i64().unwrap_or(0);
        let (cpus, memory) = (number("NCPU"), number("MemTotal"));
        Ok(Late { pod, host, node: text(&info, "/Name"), cpus, memory })
    }

    async fn create(&self, one: &ContainerPlan, late: &Late) -> Result<String, CliError> {
        let mut body = one.body.clone();
        fields::put_late(&mut body, &|field| late.of(field));
        if one.has_api {
            let (directory, socket) = self.socket();
            // Mounts below it stay the daemon's. Root of a container is to be who may speak to it, whoever that is outside.
            let maps = body["HostConfig"]["UsernsMode"] == json!("auto") || self.remaps().await?;
            let socket_mount = json!({
                "Type": "bind", "Source": directory, "Target": "/api",
                "BindOptions": { "NonRecursive": true, "IDMap": maps },
            });
            match &mut body["HostConfig"]["Mounts"] {
                Value::Array(mounts) => mounts.push(socket_mount),
                other => *other = json!([socket_mount]),
            }
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
}
