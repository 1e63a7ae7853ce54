//! Images of pods, brought before anything else is done for them.

use ferry_cli::face::{CliError, hide_progress, name_and_tag, registry_auth};
use ferry_client::path_segment;
use ferry_docker_api::JsonMessage;
use serde_json::Value;

use crate::{
    plan::PodPlan,
    play::{Player, is_missing},
};

impl Player<'_> {
    /// Brings all images of a pod.
    pub(crate) async fn bring_all(&self, pod: &PodPlan) -> Result<(), CliError> {
        let mounted = pod.work.images.iter().map(|(image, pull)| (image, pull));
        let mut all: Vec<(&String, &String)> =
            mounted.chain(pod.all().map(|one| (&one.image, &one.pull))).collect();
        all.sort_unstable();
        all.dedup();
        for (image, pull) in all {
            self.bring(image, pull).await?;
        }
        Ok(())
    }

    /// Brings an image, as its policy says.
    pub(crate) async fn bring(&self, image: &str, policy: &str) -> Result<(), CliError> {
        // What is here is good enough, unless `Always` is said: also under `latest`, which a cluster would ask for anew. It may be here alone.
        if policy != "Always" {
            let path = format!("/images/{}/json", path_segment(image));
            match self.client.get(path).json::<Value>().await {
                Ok(_) => return Ok(()),
                Err(error) if !is_missing(&error) || policy == "Never" => return Err(error.into()),
                Err(_) => {}
            }
        }
        self.pull(image).await
    }

    async fn pull(&self, image: &str) -> Result<(), CliError> {
        let (name, tag) = name_and_tag(image)?;
        let auth = registry_auth(self.cli, image)?;
        let call = self.client.post("/images/create");
        let mut call = call.query("fromImage", name).query("tag", tag);
        if !auth.is_empty() {
            call = call.header("X-Registry-Auth", auth);
        }
        hide_progress(call.lines::<JsonMessage>().await?).await
    }
}
