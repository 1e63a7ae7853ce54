//! `ferry kube keep`: this program in a container of a pod, a job, a cron job or a service. Nobody calls it by hand.
//!
//! Everything that it must know again after a crash is in its record, in the engine, or in `state.json` beside the record.

mod ask;
mod cron;
mod front;
mod job;
mod pod;
mod starts;
mod state;

use std::time::Duration;

use ferry_cli::face::{Cli, CliError, Outcome};
use ferry_client::Client;
use ferry_docker_api::Filters;
use serde_json::Value;
use tokio::sync::watch;

use crate::{groups, infra::RECORD};

/// Longest time between two looks, in case that an event was missed.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs one of the keepers.
pub(crate) fn run(cli: &Cli, args: &[String]) -> Outcome {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["pod"] => cli.wait(pod::keep(cli, record()?)),
        ["job"] => cli.wait(job::keep(cli, record()?)),
        ["cron"] => cli.wait(cron::keep(cli, record()?)),
        ["group", group, when, places @ ..] => groups::change(group, when, places),
        ["hook", container] => cli.wait(pod::hook(cli, record()?, container)),
        ["ready"] => Ok(u8::from(!pod::is_ready())),
        ["started", container] => cli.wait(pod::started(container)),
        ["service", rules @ ..] => cli.wait(front::serve(cli, rules)),
        _ => Err(CliError::new(
            "usage: ferry kube keep pod|job|cron|ready|group GROUP WHEN PLACE...|hook CONTAINER|started CONTAINER|service RULE...",
        )),
    }
}

fn record() -> Result<Value, CliError> {
    let failed =
        |error: &dyn std::fmt::Display| CliError::new(format!("cannot read {RECORD}: {error}"));
    let text = std::fs::read_to_string(RECORD).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

/// Tells that something has happened to containers with a label. Everybody who waits has one of his own, and misses nothing that
/// happened since he waited last.
#[derive(Debug, Clone)]
struct Changes(watch::Receiver<()>);

impl Changes {
    /// Listens for ever. A daemon that is gone comes back.
    fn of(client: &Client, label: String) -> Changes {
        let (told, changes) = watch::channel(());
        let client = client.clone();
        tokio::spawn(async move {
            loop {
                let mut filters = Filters::default();
                filters.add("label", &label);
                filters.add("type", "container");
                if let Ok(mut lines) =
                    client.get("/events").filters(&filters).lines::<Value>().await
                {
                    // What was before is not known.
                    told.send_replace(());
                    while let Ok(Some(_)) = lines.next().await {
                        told.send_replace(());
                    }
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        Changes(changes)
    }

    /// Waits for something to happen, so many seconds at most.
    async fn wait(&mut self, most: Option<i64>) {
        let most = most
            .map_or(LONGEST, |most| Duration::from_secs(u64::try_from(most.max(0)).unwrap_or(0)));
        tokio::time::timeout(most.min(LONGEST), self.0.changed()).await.ok();
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    ferry_stdx::time::Timestamp::from_system(std::time::SystemTime::now()).seconds()
}

/// A time of the engine in seconds since 1970.
fn seconds(value: &Value, pointer: &str) -> i64 {
    let text = value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    ferry_stdx::time::Timestamp::parse_rfc3339(text).map_or(0, |at| at.seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_misses_what_happens_while_he_looks() {
        let (told, changes) = watch::channel(());
        let (mut first, mut second) = (Changes(changes.clone()), Changes(changes));
        told.send_replace(());
        let soon = Duration::from_secs(20);
        for one in [&mut first, &mut second] {
            tokio::time::timeout(soon, one.wait(None)).await.expect("both are told");
        }
        let short = Duration::from_millis(20);
        tokio::time::timeout(short, first.wait(None)).await.expect_err("of one thing once");
        first.wait(Some(0)).await;
    }
}
