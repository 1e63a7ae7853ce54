//! `deploy.update_config`: containers of a service are replaced while it runs, some at a time; the old ones are only removed when all
//! of the new ones are well, and come back when one is not.
//!
//! Our daemon lets nobody notice: a new container starts aside, takes the names and ports of the old one when it is well, and the old one
//! is stopped when its connections have ended. Docker's has no such calls: there a new one is known from its start on.

use std::time::Duration;

use ferry_cli::face::CliError;
use futures_util::future::{join_all, try_join_all};

use super::{
    Change, Container, Session,
    converge::{self, Made, Plan, inherited, make, name_of},
    hooks,
    interrupted::{aside_name, temporary_name},
    wait::well,
};
use crate::{
    load::nanoseconds,
    model::{Project, Service, UpdateConfig},
};

/// A new container is watched for so long, where it says nothing of its health and the file nothing of a time.
const MONITOR: Duration = Duration::from_secs(5);

/// One container that is to be replaced, and why.
#[derive(Debug, Clone)]
pub(crate) struct Roll {
    pub(crate) old: Container,
    pub(crate) why: String,
}

/// What a service says about it.
pub(crate) fn config(service: &Service) -> Option<&UpdateConfig> {
    service.deploy.as_ref()?.update_config.as_ref()
}

/// Why the new container cannot be started beside the old one, where that is so. A port can be handed over.
pub(crate) fn not_side_by_side(service: &Service, hands_over: bool) -> Option<String> {
    let fixed = service.ports.iter().find(|port| port.published.is_some());
    if let Some(port) = fixed.filter(|_| !hands_over) {
        return Some(format!(
            "port {} can only be published once",
            port.published.as_deref().unwrap_or("")
        ));
    }
    let named = |on: &Option<crate::model::ServiceNetwork>| {
        on.as_ref().is_some_and(|on| !on.ipv4_address.is_empty() || !on.ipv6_address.is_empty())
    };
    service.networks.values().any(named).then(|| "it has a fixed address".to_owned())
}

fn time(text: Option<&String>) -> Duration {
    let nanos = text.and_then(|text| nanoseconds(text)).unwrap_or(0);
    Duration::from_nanos(nanos.unsigned_abs())
}

/// How many of `count` go at a time.
fn batch(config: &UpdateConfig, count: usize) -> usize {
    let batch = match config.parallelism {
        None => 1,
        Some(0) => count,
        Some(batch) => usize::try_from(batch).unwrap_or(usize::MAX),
    };
    batch.max(1)
}

/// How long connections may go on, in seconds: as long as the container may take to end.
pub(crate) fn patience(service: &Service, timeout: Option<i64>) -> u64 {
    let grace = service.stop_grace_period.as_ref();
    let seconds = grace.map_or(10, |text| time(Some(text)).as_secs());
    timeout.map_or(seconds, i64::unsigned_abs)
}

/// Makes a container known that may be known already, in the place of another one if that runs.
pub(crate) async fn reveal_again(
    session: &Session<'_>,
    (id, name): (&str, &str),
    from: Option<&str>,
    patience: u64,
    why: &str,
) -> Result<(), CliError> {
    let change = Change::container(id, name, "reveal").query("t", patience);
    let change = change.query_if(from.is_some(), "from", from.unwrap_or_default());
    let Some((call, _permit)) = session.change(&change, why).await? else { return Ok(()) };
    match call.done().await {
        // It has ended meanwhile, and is started as any other.
        Err(error) if error.status() != Some(409) => Err(error.into()),
        _ => Ok(()),
    }
}

/// A replaced container: the old one has stopped, the new one has its name.
struct Replaced<'a> {
    old: &'a Container,
    new: String,
    name: String,
}

/// The update of one service.
pub(crate) struct Update<'a> {
    session: &'a Session<'a>,
    project: &'a Project,
    service: &'a Service,
    image: &'a str,
    plan: &'a Plan,
    config: &'a UpdateConfig,
    hands_over: bool,
}

impl<'a> Update<'a> {
    /// None for a service that says nothing of it.
    pub(crate) fn new(
        session: &'a Session<'a>,
        project: &'a Project,
        service: &'a Service,
        image: &'a str,
        plan: &'a Plan,
    ) -> Option<Update<'a>> {
        let config = config(service)?;
        Some(Update { session, project, service, image, plan, config, hands_over: false })
    }

    /// Replaces containers, batch by batch.
    pub(crate) async fn run(mut self, rolls: &[Roll], hands_over: bool) -> Result<(), CliError> {
        self.hands_over = hands_over;
        let (config, session) = (self.config, self.session);
        let mut replaced: Vec<Replaced<'_>> = Vec::new();
        let mut failures = 0;
        for (at, batch) in rolls.chunks(batch(config, rolls.len())).enumerate() {
            if at > 0 && !session.dry {
                tokio::time::sleep(time(config.delay.as_ref())).await;
            }
            let mut last = None;
            // The whole batch, since all of it may have to go back.
            for outcome in join_all(batch.iter().map(|roll| self.one(roll))).await {
                match outcome {
                    Ok(done) => replaced.push(done),
                    Err(error) => {
                        failures += 1;
                        session.cli.warn(error.message());
                        last = Some(error);
                    }
                }
            }
            let ratio = f64::from(failures) / rolls.len() as f64;
            if let Some(error) = last.filter(|_| ratio > config.max_failure_ratio)
                && config.failure_action != "continue"
            {
                return self.failed(replaced, &error).await;
            }
        }
        let gone = replaced.iter().map(|done| {
            converge::remove_old(session, done.old, "all of the new containers are well")
        });
        try_join_all(gone).await.map(drop)
    }
}

impl Update<'_> {
    /// Replaces one. After an error the old one runs as before, and of the new one nothing is left.
    async fn one<'b>(&self, roll: &'b Roll) -> Result<Replaced<'b>, CliError> {
        let Update { session, project, service, image, .. } = *self;
        let (old, why) = (&roll.old, roll.why.as_str());
        let name = name_of(project, service, old.number);
        let temporary = temporary_name(old, &name);
        let side_by_side = self.config.order == "start-first"
            && not_side_by_side(service, self.hands_over).is_none();
        session.progress("Container", &old.name, "Updating");
        let kept = inherited(session, project, old).await?;
        let made = Made {
            number: Some(old.number),
            created_as: &temporary,
            name: &name,
            inherited: if self.plan.renew_anonymous { &[] } else { &kept },
        };
        let new = make(session, project, service, image, &made, why).await?;
        if let Err(error) = self.succeed((&new, &temporary), old, side_by_side, why).await {
            session.progress("Container", &old.name, "Error");
            let words = format!(
                "service {}: the new container is not well: {}",
                service.name,
                error.message()
            );
            self.put_back(old, (&new, &temporary), side_by_side).await?;
            return Err(CliError::new(words));
        }
        // The old one stays for a rollback, under a name that nothing else has.
        let aside = aside_name(old, &name);
        converge::rename(session, &old.id, &old.name, &aside, why).await?;
        converge::rename(session, &new, &temporary, &name, why).await?;
        session.progress("Container", &old.name, "Updated");
        Ok(Replaced { old, new, name })
    }

    /// Starts the new one, and stops the old one when it is well, or before.
    async fn succeed(
        &self,
        (new, name): (&str, &str),
        old: &Container,
        side_by_side: bool,
        why: &str,
    ) -> Result<(), CliError> {
        let session = self.session;
        if !side_by_side {
            if self.hands_over {
                self.withdraw(old, why).await?;
            }
            self.stop(old, why).await?;
        }
        let start = Change::container(new, name, "start");
        session.make(start.query_if(self.hands_over, "aside", 1), why).await?;
        hooks::post_start(session, Some(self.service), new, name).await?;
        if !session.dry {
            well(session, new, name, self.monitor()).await?;
        }
        self.reveal((new, name), side_by_side.then_some(old.id.as_str()), why).await?;
        if side_by_side { self.stop(old, why).await } else { Ok(()) }
    }

    /// Lets the old one be what it was, and removes the new one, however far that had come.
    async fn put_back(
        &self,
        old: &Container,
        (new, name): (&str, &str),
        side_by_side: bool,
    ) -> Result<(), CliError> {
        let (session, why) = (self.session, "the new one is not well");
        if !side_by_side {
            self.discard(new, name).await?;
            let start = Change::container(&old.id, &old.name, "start");
            session.make(start, why).await?;
        }
        if self.hands_over {
            let from = side_by_side.then_some(new);
            let known = (old.id.as_str(), old.name.as_str());
            reveal_again(session, known, from, self.patience(), why).await?;
        }
        if side_by_side { self.discard(new, name).await } else { Ok(()) }
    }

    fn monitor(&self) -> Duration {
        self.config.monitor.as_ref().map_or(MONITOR, |text| time(Some(text)))
    }

    fn patience(&self) -> u64 {
        patience(self.service, self.plan.timeout)
    }

    /// Makes the new one known in the place of the old one, where it was started aside.
    async fn reveal(
        &self,
        (new, name): (&str, &str),
        from: Option<&str>,
        why: &str,
    ) -> Result<(), CliError> {
        if !self.hands_over {
            return Ok(());
        }
        let change = Change::container(new, name, "reveal").query("t", self.patience());
        let change = change.query_if(from.is_some(), "from", from.unwrap_or_default());
        self.session.make(change, why).await
    }

    /// Lets nobody find the old one any more, and its connections end.
    async fn withdraw(&self, old: &Container, why: &str) -> Result<(), CliError> {
        let change = Change::container(&old.id, &old.name, "withdraw").query("t", self.patience());
        match self.session.make(change, why).await {
            // It has ended meanwhile.
            Err(_) if !self.session.inspect(&old.id).await?.state.unwrap_or_default().running => {
                Ok(())
            }
            other => other,
        }
    }

    async fn stop(&self, old: &Container, why: &str) -> Result<(), CliError> {
        hooks::pre_stop(self.session, Some(self.service), old).await?;
        let stop = Change::container(&old.id, &old.name, "stop");
        let timeout = self.plan.timeout;
        let stop = stop.query_if(timeout.is_some(), "t", timeout.unwrap_or(0));
        self.session.make_if_there(stop, why).await
    }

    async fn discard(&self, id: &str, name: &str) -> Result<(), CliError> {
        let change =
            Change::delete(format!("/containers/{id}")).shown_as(format!("/containers/{name}"));
        self.session.make_if_there(change.query("force", 1), "it is not well").await
    }

    /// Does what the file says of a failed update; the error tells what that was.
    async fn failed(&self, replaced: Vec<Replaced<'_>>, error: &CliError) -> Result<(), CliError> {
        let session = self.session;
        let service = &self.service.name;
        if self.config.failure_action != "rollback" {
            let gone = replaced
                .iter()
                .map(|done| converge::remove_old(session, done.old, "its replacement is well"));
            try_join_all(gone).await?;
            let words = format!("update of service {service} paused: {}", error.message());
            return Err(CliError::new(words));
        }
        let back = self.service.deploy.as_ref().and_then(|deploy| deploy.rollback_config.as_ref());
        let back = back.cloned().unwrap_or_default();
        for (at, batch) in replaced.chunks(batch(&back, replaced.len())).enumerate() {
            if at > 0 {
                tokio::time::sleep(time(back.delay.as_ref())).await;
            }
            try_join_all(batch.iter().map(|done| self.back(done, back.order == "start-first")))
                .await?;
        }
        Err(CliError::new(format!("update of service {service} rolled back: {}", error.message())))
    }

    async fn back(&self, done: &Replaced<'_>, start_first: bool) -> Result<(), CliError> {
        let session = self.session;
        session.progress("Container", &done.name, "Rolling back");
        let why = "the update is rolled back";
        let start = Change::container(&done.old.id, &done.name, "start");
        let first = start_first && not_side_by_side(self.service, self.hands_over).is_none();
        if first && self.hands_over {
            // It was well before, and is asked whether it is.
            session.make(start.clone().query("aside", 1), why).await?;
            well(session, &done.old.id, &done.name, self.monitor()).await?;
            self.reveal((&done.old.id, &done.name), Some(done.new.as_str()), why).await?;
        } else if first {
            session.make(start.clone(), why).await?;
        } else if self.hands_over {
            let change = Change::container(&done.new, &done.name, "withdraw");
            let withdrawn = session.make(change.query("t", self.patience()), why).await;
            // It is not well: it may have ended.
            drop(withdrawn);
        }
        self.discard(&done.new, &done.name).await?;
        if !first {
            session.make(start, why).await?;
        }
        converge::rename(session, &done.old.id, &done.name, &done.old.name, why).await?;
        session.progress("Container", &done.name, "Rolled back");
        Ok(())
    }
}
