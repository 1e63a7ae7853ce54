//! Images of pods, brought before anything else is done for them.

use ferry_cli::face::{CliError, registry_auth};
use ferry_client::path_segment;
use ferry_docker_api::JsonMessage;
use ferry_oci::Reference;
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
        // One that moves is asked for anew, as in a cluster, when nothing else is said; but what is here and nowhere else is good enough.
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
}
