//! The keeper of a pod: probes and hooks, as a kubelet does them.

use std::{io::Read, os::unix::net::UnixStream, pin::Pin, time::Duration};

use ferry_cli::face::{Cli, CliError, Outcome};
use ferry_client::{Client, ClientError, path_segment};
use serde_json::Value;
use tokio::{
    io::AsyncWriteExt,
    net::UnixListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Changes,
    ask::{self, Refusal},
};
use crate::{
    plan::POD,
    play::is_missing,
    probes::{Action, Probe, Watch},
};

/// Where the health check of a pod's keeper asks whether the pod is ready.
const DOOR: &str = "/ready.sock";

/// After so long it is told what it was told before.
const QUIET: Duration = Duration::from_secs(10);

/// Who is ready, by the index of the watch.
type Ready = watch::Sender<Vec<bool>>;

/// Keeps a pod until it is killed.
pub(super) async fn keep(cli: &Cli, record: Value) -> Outcome {
    let watches = watches(&record)?;
    let mut stand_down = signal(SignalKind::hangup())
        .map_err(|error| CliError::new(format!("cannot wait for signals: {error}")))?;
    if !watches.is_empty() {
        let client = cli.client()?.clone();
        let pod = record["pod"].as_str().unwrap_or_default();
        let changed = Changes::of(&client, format!("{POD}={pod}"));
        let (ready, is_ready) = watch::channel(vec![false; watches.len()]);
        tokio::spawn(answer(door()?, is_ready));
        let mut all = JoinSet::new();
        for (index, watch) in watches.into_iter().enumerate() {
            let one = One { client: client.clone(), watch, index, ready: ready.clone() };
            all.spawn(one.keep(changed.clone()));
        }
        stand_down.recv().await;
        drop(all);
        // Services lead to nobody who is about to end.
        ready.send_modify(|all| all.fill(false));
        std::future::pending::<()>().await;
    }
    // The network is here; what else happens is nobody's concern any more.
    std::future::pending().await
}

/// Runs the hook before a container's end.
pub(super) async fn hook(cli: &Cli, record: Value, container: &str) -> Outcome {
    let watches = watches(&record)?;
    let found = watches.iter().find(|watch| watch.container == container);
    let Some((watch, action)) = found.and_then(|watch| Some((watch, watch.pre_stop.as_ref()?)))
    else {
        return Ok(0);
    };
    let grace = Duration::from_secs(watch.grace);
    let done = timeout(grace, ask::ask(cli.client()?, container, action)).await;
    match done {
        Ok(Ok(())) => Ok(0),
        Ok(Err(why)) => Err(CliError::new(format!("{container}: preStop: {why}"))),
        Err(_) => {
            Err(CliError::new(format!("{container}: preStop took more than {} s", watch.grace)))
        }
    }
}

fn watches(record: &Value) -> Result<Vec<Watch>, CliError> {
    serde_json::from_value(record["watches"].clone())
        .map_err(|error| CliError::new(format!("the record does not read: {error}")))
}

fn door() -> Result<UnixListener, CliError> {
    // It may be there from before.
    std::fs::remove_file(DOOR).ok();
    UnixListener::bind(DOOR)
        .map_err(|error| CliError::new(format!("cannot listen at {DOOR}: {error}")))
}

/// Answers each health check as soon as there is something new to say. The engine asks again at once, and so learns it at once.
async fn answer(door: UnixListener, mut ready: watch::Receiver<Vec<bool>>) {
    let is = |all: &Vec<bool>| all.iter().all(|one| *one);
    let mut told = None;
    loop {
        let Ok((mut asker, _)) = door.accept().await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        timeout(QUIET, ready.wait_for(|all| Some(is(all)) != told)).await.ok();
        let now = is(&ready.borrow());
        if asker.write_all(&[u8::from(now)]).await.is_ok() {
            told = Some(now);
        }
    }
}

/// The file that is there once a container's startup probe has succeeded.
fn started_mark(container: &str) -> String {
    format!("/started-{container}")
}

/// Waits until a container's startup probe has succeeded.
pub(super) async fn started(container: &str) -> Outcome {
    while !std::path::Path::new(&started_mark(container)).exists() {
        sleep(Duration::from_millis(100)).await;
    }
    Ok(0)
}

/// Asks it: the health check.
pub(super) fn is_ready() -> bool {
    let mut answer = [0];
    let asked = UnixStream::connect(DOOR).and_then(|mut door| {
        door.set_read_timeout(Some(2 * QUIET))?;
        door.read_exact(&mut answer)
    });
    if asked.is_err() {
        // Nobody is there yet; the next check comes at once.
        std::thread::sleep(Duration::from_secs(1));
    }
    asked.is_ok() && answer == [1]
}

fn say(words: &str) {
    use std::io::Write;
    writeln!(std::io::stdout(), "{words}").ok();
}

/// A container that is looked after.
struct One {
    client: Client,
    watch: Watch,
    index: usize,
    ready: Ready,
}

/// What a probe's failures lead to.
enum Verdict {
    Failed(&'static str, String, Option<u64>),
}

impl One {
    async fn keep(self, mut changed: Changes) {
        let born = super::now();
        // The run that was looked at last, by the time of its start.
        let mut seen = String::new();
        loop {
            match self.run().await {
                Ok(Some((started, at))) => {
                    // A kubelet that comes back does not run the hook again.
                    let is_new = started != seen && (!seen.is_empty() || at >= born - 1);
                    seen.clone_from(&started);
                    tokio::select! {
                        () = self.look_after(is_new) => {}
                        () = self.ended(&started, &mut changed) => {}
                    }
                    self.set(false);
                }
                Ok(None) => changed.wait(None).await,
                Err(_) => changed.wait(Some(1)).await,
            }
        }
    }

    /// When the container that runs was started; nothing when it does not run.
    async fn run(&self) -> Result<Option<(String, i64)>, ClientError> {
        let path = format!("/containers/{}/json", path_segment(&self.watch.container));
        let it: Value = match self.client.get(path).json().await {
            Err(error) if is_missing(&error) => return Ok(None),
            other => other?,
        };
        let runs = it.pointer("/State/Running").and_then(Value::as_bool) == Some(true);
        let started = it.pointer("/State/StartedAt").and_then(Value::as_str).filter(|_| runs);
        Ok(started.map(|started| (started.to_owned(), super::seconds(&it, "/State/StartedAt"))))
    }

    /// Waits for the end of a run. A daemon that does not answer says nothing about it.
    async fn ended(&self, started: &str, changed: &mut Changes) {
        loop {
            match self.run().await {
                Ok(Some((now, _))) if now == started => changed.wait(None).await,
                Ok(_) => return,
                Err(_) => changed.wait(Some(1)).await,
            }
        }
    }

    fn set(&self, ready: bool) {
        let changed = self.ready.send_if_modified(|all| match all.get_mut(self.index) {
            Some(one) if *one != ready => {
                *one = ready;
                true
            }
            _ => false,
        });
        if changed {
            let word = if ready { "ready" } else { "not ready" };
            say(&format!("{}: {word}", self.watch.container));
        }
    }

    /// Hook, start, then both other probes, until one says that the container must end.
    async fn look_after(&self, is_new: bool) {
        let name = &self.watch.container;
        if let (true, Some(action)) = (is_new, &self.watch.post_start)
            && let Err(why) = ask::ask(&self.client, name, action).await
        {
            say(&format!("{name}: postStart failed: {why}"));
            return self.end(None).await;
        }
        if let Some(probe) = &self.watch.startup
            && let Err(why) = self.succeed(probe).await
        {
            return self.fail(Verdict::Failed("startup", why, probe.grace)).await;
        }
        std::fs::write(started_mark(name), "").ok();
        let verdict = tokio::select! {
            verdict = self.alive() => verdict,
            never = self.readiness() => match never {},
        };
        self.fail(verdict).await;
    }

    async fn fail(&self, verdict: Verdict) {
        let Verdict::Failed(kind, why, grace) = verdict;
        say(&format!("{}: the {kind} probe failed: {why}", self.watch.container));
        self.end(grace).await;
    }

    /// Ends it, and starts it again where that is its pod's policy.
    async fn end(&self, grace: Option<u64>) {
        self.set(false);
        let Watch { container, pre_stop, restarts, .. } = &self.watch;
        let grace = grace.unwrap_or(self.watch.grace);
        if let Some(action) = pre_stop {
            let hook = ask::ask(&self.client, container, action);
            if let Ok(Err(why)) = timeout(Duration::from_secs(grace), hook).await {
                say(&format!("{container}: preStop failed: {why}"));
            }
        }
        let verb = if *restarts { "restart" } else { "stop" };
        let path = format!("/containers/{}/{verb}", path_segment(container));
        if let Err(error) = self.client.post(path).query("t", grace).done().await {
            say(&format!("{container}: {verb}: {}", error.message()));
            // Then it is looked after for longer.
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn asked<'p>(&'p self, kind: &'static str, probe: &'p Probe) -> Asked<'p> {
        Asked { one: self, kind, probe, hanging: None, is_told: false }
    }

    /// Waits for a probe's success.
    async fn succeed(&self, probe: &Probe) -> Result<(), String> {
        let mut asked = self.asked("startup", probe);
        sleep(Duration::from_secs(probe.delay)).await;
        let mut failures = 0;
        loop {
            match asked.ask().await {
                Some(Ok(())) => return Ok(()),
                Some(Err(why)) => {
                    failures += 1;
                    if failures >= probe.failures {
                        return Err(why);
                    }
                }
                None => {}
            }
            sleep(Duration::from_secs(probe.period)).await;
        }
    }

    async fn alive(&self) -> Verdict {
        let Some(probe) = &self.watch.liveness else { return std::future::pending().await };
        let mut asked = self.asked("liveness", probe);
        sleep(Duration::from_secs(probe.delay)).await;
        let mut failures = 0;
        loop {
            match asked.ask().await {
                Some(Ok(())) => failures = 0,
                Some(Err(why)) => {
                    failures += 1;
                    if failures >= probe.failures {
                        return Verdict::Failed("liveness", why, probe.grace);
                    }
                }
                None => {}
            }
            sleep(Duration::from_secs(probe.period)).await;
        }
    }

    async fn readiness(&self) -> std::convert::Infallible {
        let Some(probe) = &self.watch.readiness else {
            self.set(true);
            return std::future::pending().await;
        };
        let mut asked = self.asked("readiness", probe);
        sleep(Duration::from_secs(probe.delay)).await;
        let (mut failures, mut successes) = (0, 0);
        loop {
            match asked.ask().await {
                Some(Ok(())) => (failures, successes) = (0, successes + 1),
                Some(Err(_)) => (failures, successes) = (failures + 1, 0),
                None => {}
            }
            if successes >= probe.successes {
                self.set(true);
            } else if failures >= probe.failures {
                self.set(false);
            }
            sleep(Duration::from_secs(probe.period)).await;
        }
    }
}

/// What a probe is waited for, over its time.
type Question<'p> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'p>>;

/// A probe that is asked again and again.
struct Asked<'p> {
    one: &'p One,
    kind: &'static str,
    probe: &'p Probe,
    /// A program that did not end in time. No other one is started beside it: nobody can end it here, and they would pile up.
    hanging: Option<Question<'p>>,
    /// It was told already that nobody can be asked.
    is_told: bool,
}

impl Asked<'_> {
    /// What it says; nothing when it could not be asked.
    async fn ask(&mut self) -> Option<Result<(), String>> {
        let Asked { one, kind, probe, .. } = *self;
        let limit = Duration::from_secs(probe.timeout);
        let late = || Some(Err(format!("no answer within {} s", probe.timeout)));
        if let Some(hanging) = &mut self.hanging {
            if timeout(limit, hanging).await.is_err() {
                return late();
            }
            // It was about something else long ago.
            self.hanging = None;
        }
        let container = &one.watch.container;
        let mut question: Question<'_> = Box::pin(ask::ask(&one.client, container, &probe.action));
        let Ok(answer) = timeout(limit, &mut question).await else {
            self.hanging = matches!(probe.action, Action::Exec(_)).then_some(question);
            return late();
        };
        let was_told = self.is_told;
        self.is_told = matches!(answer, Err(Refusal::Unasked(_)));
        match answer {
            Ok(()) => Some(Ok(())),
            Err(Refusal::No(why)) => Some(Err(why)),
            Err(Refusal::Unasked(why)) => {
                if !was_told {
                    say(&format!("{container}: the {kind} probe cannot be asked: {why}"));
                }
                None
            }
        }
    }
}
