//! Playing manifests: what is there already and the same is left alone.

use ferry_archive::{Entry, TarWriter};
use ferry_cli::face::{Cli, CliError, registry_auth};
use ferry_client::{Client, ClientError, path_segment};
use ferry_docker_api::{ContainerSummary, Filters, JsonMessage};
use ferry_oci::Reference;
use serde_json::{Value, json};

use crate::{
    manifest::Manifests,
    plan::{ContainerPlan, HASH, NETWORK, OWNER, POD, PodPlan},
    volumes::PutFile,
};

/// A command at work.
pub(crate) struct Player<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) client: &'a Client,
}

impl Player<'_> {
    /// Brings volumes, the network and pods up.
    pub(crate) async fn play(
        &self,
        manifests: &Manifests,
        pods: &[PodPlan],
    ) -> Result<(), CliError> {
        for claim in &manifests.claims {
            let body = json!({ "Name": claim, "Labels": { OWNER: format!("PersistentVolumeClaim/{claim}") } });
            self.client.post("/volumes/create").json_body(&body).done().await?;
        }
        self.network().await?;
        for pod in pods {
            self.pod(pod).await?;
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

    async fn pod(&self, pod: &PodPlan) -> Result<(), CliError> {
        let there = self.of_pod(&pod.name).await?;
        let label = |one: &ContainerSummary| {
            one.labels.as_ref().and_then(|labels| labels.get(HASH)).cloned().unwrap_or_default()
        };
        let same = there.iter().filter(|one| label(one) == pod.hash).count();
        if same == there.len() && same == pod.init.len() + pod.containers.len() {
            self.cli.println(&format!("{} {} unchanged", pod.owner, pod.name))?;
            return Ok(());
        }
        for one in &there {
            self.remove(&one.id).await?;
        }
        for one in &pod.init {
            let id = self.create(one).await?;
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
            let id = self.create(one).await?;
            self.post(&id, "start").await?;
        }
        let what = if there.is_empty() { "created" } else { "configured" };
        self.cli.println(&format!("{} {} {what}", pod.owner, pod.name))?;
        Ok(())
    }

    async fn create(&self, one: &ContainerPlan) -> Result<String, CliError> {
        if one.pull == "Always" {
            self.pull(&one.image).await?;
        }
        let create = || {
            let call = self.client.post("/containers/create").query("name", &one.name);
            call.json_body(&one.body).json::<Value>()
        };
        let made = match create().await {
            Err(error) if is_missing(&error) && one.pull != "Never" => {
                self.pull(&one.image).await?;
                create().await?
            }
            made => made?,
        };
        let id = made["Id"].as_str().unwrap_or_default().to_owned();
        if !one.files.is_empty() {
            let tar = packed(&one.files)?;
            let length = tar.len() as u64;
            let path = format!("/containers/{}/archive", path_segment(&id));
            let call = self.client.put(path).query("path", "/");
            call.upload("application/x-tar", std::io::Cursor::new(tar), Some(length))
                .done()
                .await?;
        }
        Ok(id)
    }

    async fn pull(&self, image: &str) -> Result<(), CliError> {
        let reference =
            Reference::parse(image).map_err(|error| CliError::new(error.to_string()))?;
        let tag = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_owned(),
            (None, None) => "latest".to_owned(),
        };
        let auth = registry_auth(self.cli, image)?;
        let call = self.client.post("/images/create");
        let mut call = call.query("fromImage", reference.familiar_name()).query("tag", tag);
        if !auth.is_empty() {
            call = call.header("X-Registry-Auth", auth);
        }
        let mut lines = call.lines::<JsonMessage>().await?;
        while let Some(message) = lines.next().await? {
            let value = serde_json::to_value(&message).unwrap_or(Value::Null);
            if let Some(words) = value.pointer("/errorDetail/message").and_then(Value::as_str) {
                return Err(CliError::new(words));
            }
        }
        Ok(())
    }

    async fn post(&self, id: &str, verb: &str) -> Result<(), CliError> {
        let path = format!("/containers/{}/{verb}", path_segment(id));
        Ok(self.client.post(path).done().await?)
    }

    async fn remove(&self, id: &str) -> Result<(), CliError> {
        let path = format!("/containers/{}", path_segment(id));
        match self.client.delete(path).query("force", 1).query("v", 1).done().await {
            Err(error) if !is_missing(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The containers of a pod, the newest first: those that join others go before these.
    async fn of_pod(&self, pod: &str) -> Result<Vec<ContainerSummary>, CliError> {
        let mut filters = Filters::default();
        filters.add("label", &format!("{POD}={pod}"));
        filters.add("label", OWNER);
        let call = self.client.get("/containers/json").query("all", 1).filters(&filters);
        Ok(call.json().await?)
    }

    /// Takes pods down, and the volumes that are theirs alone. Claims stay.
    pub(crate) async fn down(&self, pods: &[PodPlan]) -> Result<(), CliError> {
        for pod in pods {
            for one in self.of_pod(&pod.name).await? {
                let path = format!("/containers/{}/stop", path_segment(&one.id));
                match self.client.post(path).done().await {
                    Err(error) if !is_missing(&error) => return Err(error.into()),
                    _ => {}
                }
                self.remove(&one.id).await?;
            }
            for volume in &pod.volumes {
                let path = format!("/volumes/{}", path_segment(volume));
                match self.client.delete(path).done().await {
                    Err(error) if !is_missing(&error) => return Err(error.into()),
                    _ => {}
                }
            }
            self.cli.println(&format!("{} {} deleted", pod.owner, pod.name))?;
        }
        Ok(())
    }
}

/// Files of ConfigMaps and Secrets as a tar. They are root's, as in a cluster.
fn packed(files: &[PutFile]) -> Result<Vec<u8>, CliError> {
    let mut tar = TarWriter::new(Vec::new());
    for file in files {
        let size = file.content.len() as u64;
        let entry = Entry {
            path: file.path.trim_start_matches('/').as_bytes().to_vec(),
            mode: file.mode,
            size,
            stored: size,
            ..Entry::default()
        };
        let written = tar.append_file(&entry, file.content.as_slice());
        written.map_err(|error| CliError::new(format!("cannot pack {}: {error}", file.path)))?;
    }
    tar.finish().map_err(|error| CliError::new(format!("cannot pack files: {error}")))
}

fn is_missing(error: &ClientError) -> bool {
    error.status() == Some(404)
}
