//! Pods that are started together: an init container of one may wait for the service of another.

use std::{cell::RefCell, sync::Arc};

use ferry_cli::face::CliError;
use ferry_client::path_segment;
use ferry_docker_api::ContainerSummary;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, MutexGuard, watch},
    time::{Duration, sleep},
};

use crate::{plan::PodPlan, play::Player};

/// Time between two looks whether a pod is ready.
const LOOK: Duration = Duration::from_millis(200);

/// What those who start at the same time have of each other.
#[derive(Debug, Clone)]
pub(crate) struct Others {
    /// Tells those who wait for others that nobody will come.
    given_up: watch::Receiver<bool>,
    /// Two may want the same volume, which one of them makes.
    volumes: Arc<Mutex<()>>,
}

impl Others {
    fn of(given_up: watch::Receiver<bool>) -> Self {
        Others { given_up, volumes: Arc::default() }
    }

    /// For those who start alone.
    pub(crate) fn none() -> Self {
        Others::of(watch::channel(false).1)
    }

    /// Waits until nobody else makes volumes.
    pub(crate) async fn volumes(&self) -> MutexGuard<'_, ()> {
        self.volumes.lock().await
    }

    /// Waits until all is given up, for ever if it is not.
    pub(crate) async fn given_up(&self) {
        if self.given_up.clone().wait_for(|given_up| *given_up).await.is_err() {
            std::future::pending().await
        }
    }
}

/// What has become of pods, told in their order.
struct Told {
    words: Vec<Option<&'static str>>,
    next: usize,
}

/// Starts those pods of which `outdated` says what was there, and tells about all.
pub(crate) async fn start(
    player: &Player<'_>,
    pods: &[PodPlan],
    outdated: &[Option<Vec<ContainerSummary>>],
) -> Result<(), CliError> {
    let (give_up, given_up) = watch::channel(false);
    let others = Others::of(given_up);
    let told = RefCell::new(Told { words: vec![None; pods.len()], next: 0 });
    let tell = |index: usize, words| {
        let mut told = told.borrow_mut();
        told.words[index] = Some(words);
        while let Some(Some(words)) = told.words.get(told.next) {
            let PodPlan { owner, name, .. } = &pods[told.next];
            player.cli.println(&format!("{owner} {name} {words}"))?;
            told.next += 1;
        }
        Ok::<(), CliError>(())
    };
    let one = async |index: usize| {
        let (pod, there) = (&pods[index], &outdated[index]);
        let words = match there {
            None => "unchanged",
            Some(_) if !player.start(pod, &others).await? => return Ok(()),
            Some(there) if there.is_empty() => "created",
            Some(_) => "configured",
        };
        tell(index, words)
    };
    let lane = async |lane: Vec<usize>| {
        let last = lane.last().copied();
        for index in lane {
            let mut done = one(index).await;
            if done.is_ok() && Some(index) != last {
                tokio::select! {
                    ready = until_ready(player, &pods[index]) => done = ready,
                    () = others.given_up() => return Ok(()),
                }
            }
            if done.is_err() {
                give_up.send_replace(true);
                return done;
            }
        }
        Ok(())
    };
    let mut failures =
        join_all(lanes(pods).into_iter().map(lane)).await.into_iter().filter_map(Result::err);
    let first = failures.next();
    for other in failures {
        player.cli.warn(&other.to_string());
    }
    first.map_or(Ok(()), Err)
}

/// Pods by their indexes: those of a set that wants it so are in a row, each other one is alone.
fn lanes(pods: &[PodPlan]) -> Vec<Vec<usize>> {
    let mut lanes: Vec<Vec<usize>> = Vec::new();
    for (index, pod) in pods.iter().enumerate() {
        match lanes.last_mut() {
            Some(lane) if pod.in_order && pods[lane[0]].owner == pod.owner => lane.push(index),
            _ => lanes.push(vec![index]),
        }
    }
    lanes
}

/// Waits until a pod says that it is ready, if it is one that says so.
async fn until_ready(player: &Player<'_>, pod: &PodPlan) -> Result<(), CliError> {
    let Some(name) = &pod.says_when_ready else { return Ok(()) };
    let path = format!("/containers/{}/json", path_segment(name));
    let ready = async {
        loop {
            let it: Value = player.client.get(&path).json().await?;
            if it.pointer("/State/Health/Status") == Some(&json!("healthy")) {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    };
    let words =
        || format!("{}: waits for pod {} to be ready before the next one", pod.owner, pod.name);
    player.slowly(words, ready).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_of_a_set_come_one_after_the_other() {
        let pod = |owner: &str, in_order| PodPlan {
            owner: owner.to_owned(),
            in_order,
            ..PodPlan::default()
        };
        let set = || pod("StatefulSet/a", true);
        let pods =
            [set(), set(), pod("StatefulSet/b", true), pod("Pod/c", false), pod("Pod/d", false)];
        assert_eq!(lanes(&pods), [vec![0, 1], vec![2], vec![3], vec![4]]);
    }

    #[tokio::test]
    async fn nobody_is_given_up_who_starts_alone() {
        let soon = Duration::from_millis(20);
        tokio::time::timeout(soon, Others::none().given_up()).await.expect_err("for ever");
        let (give_up, given_up) = watch::channel(false);
        give_up.send_replace(true);
        Others::of(given_up).given_up().await;
    }
}
