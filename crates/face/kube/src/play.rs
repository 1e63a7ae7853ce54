//! Playing manifests: what is there already and the same is left alone.

use std::collections::BTreeSet;

use ferry_cli::face::{Cli, CliError};
use ferry_client::{Client, ClientError, path_segment};
use ferry_docker_api::{ContainerSummary, Filters};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    end, fill,
    manifest::Manifests,
    plan::{HASH, NETWORK, OWNER, POD, PodPlan},
    together,
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

impl Player<'_> {
    /// Brings volumes, the network and pods up.
    pub(crate) async fn play(&self, manifests: &Manifests, plans: &Plans) -> Result<(), CliError> {
        self.network().await?;
        for pod in &plans.later {
            for one in pod.all() {
                let policy = if one.pull == "Always" { "" } else { &one.pull };
                self.bring(&one.image, policy, &pod.logins).await?;
            }
        }
        let mut outdated = Vec::new();
        for pod in &plans.pods {
            outdated.push(self.outdated(pod).await?);
        }
        // What cannot be had is told before anything goes.
        for (pod, _) in plans.pods.iter().zip(&outdated).filter(|(_, there)| there.is_some()) {
            self.bring_all(pod).await?;
        }
        for owner in &manifests.owners {
            self.prune(owner, &plans.pods).await?;
        }
        // All of it goes before anything comes: what was one pod's, a port of this machine, may be another one's now.
        let pairs = plans.pods.iter().zip(&outdated);
        let old = pairs.filter_map(|(pod, there)| Some(self.clear(pod, there.as_ref()?)));
        try_join_all(old).await?;
        together::start(self, &plans.pods, &outdated).await?;
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

    /// What is there of a pod that is to be made anew; nothing when it is as it should be.
    async fn outdated(&self, pod: &PodPlan) -> Result<Option<Vec<ContainerSummary>>, CliError> {
        let mut there = self.having(OWNER, &pod.owner).await?;
        there.retain(|one| label(one, POD) == pod.name);
        // What was made and never started is what an earlier attempt has left.
        let same = |one: &&ContainerSummary| label(one, HASH) == pod.hash && one.state != "created";
        let same = there.iter().filter(same).count();
        let is_whole = same == there.len() && same == pod.all().count();
        Ok((!is_whole).then_some(there))
    }

    /// Removes what is there of a pod.
    async fn clear(&self, pod: &PodPlan, there: &[ContainerSummary]) -> Result<(), CliError> {
        if there.iter().any(end::makes_more) {
            return end::everything(self, &pod.owner).await.map(drop);
        }
        if there.is_empty() {
            return Ok(());
        }
        end::remove(self, there).await?;
        fill::remove_own(self, &pod.owner, Some(&pod.name)).await
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
