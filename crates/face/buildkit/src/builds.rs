//! The builds that are at work, and those that were: what `Status` follows and `history` lists. Those that ended some time ago are only in
//! the engine's history, and looked up there: what they said is on disk.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use ferry_engine::{
    Engine,
    ops::build::{self as ops, BuildRecord, Built},
};
use ferry_stdx::time::Timestamp;
use prost::Message;
use tokio::{
    sync::{Notify, broadcast, watch},
    task::JoinHandle,
};
use tonic::Status;

use crate::{
    proto::moby::buildkit::v1::{
        BuildHistoryEvent, BuildHistoryEventType, BuildHistoryRecord, Exporter, SolveRequest,
    },
    solve::failed,
    status::{StatusLog, stamp},
};

/// BuildKit's: builds that are remembered when they are done.
const REMEMBERED: usize = 50;
/// Builds that may be at work at once.
const AT_WORK: usize = 256;
/// How long a call waits for the build that it names: a client makes all its calls at once.
pub(crate) const ARRIVAL: Duration = Duration::from_secs(6);
/// Events that a slow listener may be behind.
const BACKLOG: usize = 256;
/// How long what the engine said may take to be heard.
const PARTING: Duration = Duration::from_secs(2);

/// What a frontend came to.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// Files and a configuration that nothing but this holds yet.
    Built(Arc<Built>),
    /// Documents: what `--call` shows.
    Documents(BTreeMap<String, Vec<u8>>),
}

/// What the client that runs the frontend returned.
pub(crate) type Returned = Result<Option<Outcome>, Status>;

/// A build.
#[derive(Debug)]
pub(crate) struct Build {
    /// What was asked for.
    pub(crate) asked: SolveRequest,
    pub(crate) created: Timestamp,
    pub(crate) status: StatusLog,
    /// Its record, if it ended some time ago, and the engine's name for it.
    kept: Option<(String, BuildHistoryRecord)>,
    state: Mutex<State>,
    returned: watch::Sender<Option<Returned>>,
}

#[derive(Debug, Default)]
struct State {
    /// What the gateway was asked for: buildx names the frontend there only.
    frontend: Option<(String, BTreeMap<String, String>)>,
    outcomes: Vec<Outcome>,
    /// Who takes down what the engine says.
    followers: Vec<JoinHandle<()>>,
    ended: Option<End>,
    pinned: bool,
}

/// How a build ended.
#[derive(Debug, Clone)]
struct End {
    at: Timestamp,
    response: Result<BTreeMap<String, String>, Status>,
}

/// All builds.
#[derive(Debug)]
pub(crate) struct Builds {
    all: Mutex<Vec<Arc<Build>>>,
    begun: Notify,
    events: broadcast::Sender<BuildHistoryEvent>,
}

impl Default for Builds {
    fn default() -> Self {
        let events = broadcast::Sender::new(BACKLOG);
        Builds { all: Mutex::default(), begun: Notify::new(), events }
    }
}

impl Builds {
    /// A new build.
    pub(crate) fn begin(&self, asked: SolveRequest) -> Result<Arc<Build>, Status> {
        let build = Arc::new(Build {
            asked,
            created: now(),
            status: StatusLog::new(),
            kept: None,
            state: Mutex::default(),
            returned: watch::Sender::new(None),
        });
        let mut all = self.lock();
        all.retain(|other| !other.is_past(build.created));
        if build.id().is_empty() || build.id().len() > 256 {
            return Err(Status::invalid_argument("the build has no reference"));
        }
        if all.iter().any(|other| other.id() == build.id()) {
            return Err(Status::already_exists(format!("job ID {} exists", build.id())));
        }
        if all.iter().filter(|other| !other.has_ended()).count() >= AT_WORK {
            return Err(Status::resource_exhausted(format!(
                "{AT_WORK} builds are at work already"
            )));
        }
        all.push(Arc::clone(&build));
        drop(all);
        self.begun.notify_waiters();
        self.tell(BuildHistoryEventType::Started, &build);
        Ok(build)
    }

    /// Takes the outcome of a build down.
    pub(crate) fn end(&self, build: &Build, response: Result<BTreeMap<String, String>, Status>) {
        build.let_go();
        build.close(now(), response);
        self.tell(BuildHistoryEventType::Complete, build);
        let mut all = self.lock();
        let counts =
            |other: &Build| other.has_ended() && !other.lock().pinned && !other.asked.internal;
        let done = all.iter().filter(|other| counts(other)).count();
        let mut over = done.saturating_sub(REMEMBERED);
        all.retain(|other| {
            let goes = over > 0 && counts(other);
            over -= usize::from(goes);
            !goes
        });
    }

    /// Lets go of builds that nobody can be following from their end any more, where the engine has all of them on disk.
    pub(crate) fn retire(&self, engine: &Engine) {
        let now = now();
        let on_disk = |build: &Build| {
            ops::called(engine, build.id()).and_then(Build::kept).is_some_and(|own| own.has_ended())
        };
        self.lock().retain(|build| !(build.ended_long_before(now) && on_disk(build)));
    }

    /// The build of a reference; waits for it a moment.
    pub(crate) async fn get(&self, id: &str) -> Result<Arc<Build>, Status> {
        let wait = async {
            loop {
                let mut begun = std::pin::pin!(self.begun.notified());
                begun.as_mut().enable();
                if let Some(build) = self.find(id) {
                    return build;
                }
                begun.await;
            }
        };
        tokio::time::timeout(ARRIVAL, wait)
            .await
            .map_err(|_| Status::not_found(format!("no such job {id}")))
    }

    /// The build of a reference.
    fn find(&self, id: &str) -> Option<Arc<Build>> {
        self.lock().iter().find(|build| build.id() == id).cloned()
    }

    /// The build of a reference, also one that ended some time ago.
    pub(crate) fn recall(&self, engine: &Engine, id: &str) -> Option<Arc<Build>> {
        self.find(id).or_else(|| ops::called(engine, id).and_then(Build::kept))
    }

    /// What `history` lists, oldest first, and what happens from now on.
    pub(crate) fn history(
        &self,
        engine: &Engine,
    ) -> (Vec<Arc<Build>>, broadcast::Receiver<BuildHistoryEvent>) {
        let events = self.events.subscribe();
        let records = ops::histories(engine).into_iter().rev();
        let all = self.lock();
        let known = |record: &BuildRecord| all.iter().any(|build| build.id() == record.reference);
        let kept = records.filter(|record| !known(record)).filter_map(Build::kept);
        let own = all.iter().filter(|build| !build.asked.internal).cloned();
        (kept.chain(own).collect(), events)
    }

    /// Forgets a build that has ended.
    pub(crate) async fn forget(&self, engine: &Engine, id: &str) -> Result<(), Status> {
        let missing = || Status::not_found(format!("no build record for {id}"));
        let gone = self.recall(engine, id).filter(|build| build.has_ended()).ok_or_else(missing)?;
        ops::forget(engine, id).await.map_err(|why| failed(&why))?;
        self.lock().retain(|build| !Arc::ptr_eq(build, &gone));
        self.tell(BuildHistoryEventType::Deleted, &gone);
        Ok(())
    }

    fn tell(&self, kind: BuildHistoryEventType, build: &Build) {
        if !build.asked.internal {
            let event = BuildHistoryEvent { r#type: kind.into(), record: Some(build.record()) };
            // Nobody may be listening.
            self.events.send(event).ok();
        }
    }

    /// A panic while the lock was held leaves a whole list.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Build>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Build {
    /// One that ended some time ago.
    fn kept(record: BuildRecord) -> Option<Arc<Build>> {
        let BuildRecord { id, started, ended, about, .. } = record;
        let own = BuildHistoryRecord::decode(about.as_slice()).ok();
        let own = own.filter(|own| !own.r#ref.is_empty() && own.completed_at.is_some())?;
        let response = match &own.error {
            Some(error) => Err(Status::unknown(error.message.clone())),
            None => Ok(own.exporter_response.clone()),
        };
        let ended = Some(End { at: ended.unwrap_or(started), response });
        let asked = SolveRequest { r#ref: own.r#ref.clone(), ..SolveRequest::default() };
        let state = State { ended, pinned: own.pinned, ..State::default() };
        Some(Arc::new(Build {
            asked,
            created: started,
            status: StatusLog::new(),
            kept: Some((id, own)),
            state: Mutex::new(state),
            returned: watch::Sender::new(None),
        }))
    }

    /// The engine's name for it, if it ended some time ago.
    pub(crate) fn kept_as(&self) -> Option<&str> {
        self.kept.as_ref().map(|(id, _)| id.as_str())
    }

    /// The reference that the client gave it.
    pub(crate) fn id(&self) -> &str {
        &self.asked.r#ref
    }

    /// Where the result is to go.
    pub(crate) fn exporters(&self) -> Vec<Exporter> {
        let SolveRequest { exporters, exporter_deprecated, exporter_attrs_deprecated, .. } =
            &self.asked;
        if !exporters.is_empty() || exporter_deprecated.is_empty() {
            return exporters.clone();
        }
        let (r#type, attrs) = (exporter_deprecated.clone(), exporter_attrs_deprecated.clone());
        vec![Exporter { r#type, attrs }]
    }

    /// Notes what is built, for the history.
    pub(crate) fn note_frontend(&self, frontend: &str, attrs: &BTreeMap<String, String>) {
        self.lock().frontend = Some((frontend.to_owned(), attrs.clone()));
    }

    /// Keeps what a frontend came to; answers the name it is returned by.
    pub(crate) fn keep(&self, outcome: Outcome) -> String {
        let mut state = self.lock();
        state.outcomes.push(outcome);
        format!("{}/{}", self.id(), state.outcomes.len())
    }

    /// What a frontend came to, by name.
    pub(crate) fn outcome(&self, name: &str) -> Option<Outcome> {
        let number: usize = name.rsplit_once('/')?.1.parse().ok()?;
        self.lock().outcomes.get(number.checked_sub(1)?).cloned()
    }

    /// Notes who takes down what the engine says of it.
    pub(crate) fn followed_by(&self, follower: JoinHandle<()>) {
        self.lock().followers.push(follower);
    }

    /// Waits until all that the engine said is taken down. It says things until nobody has the outcome any more.
    pub(crate) async fn hear_out(&self) {
        self.let_go();
        let followers = std::mem::take(&mut self.lock().followers);
        let all = async {
            for follower in followers {
                follower.await.ok();
            }
        };
        tokio::time::timeout(PARTING, all).await.ok();
    }

    /// Lets go of what the frontends came to.
    fn let_go(&self) {
        let outcomes = std::mem::take(&mut self.lock().outcomes);
        self.returned.send_replace(None);
        // With the last of them go the files of the build, which takes its time.
        drop(outcomes);
    }

    /// Nothing more will be said: whoever has heard the last message finds the build ended.
    fn close(&self, at: Timestamp, response: Result<BTreeMap<String, String>, Status>) {
        let mut state = self.lock();
        let error = response.as_ref().err().map(Status::message);
        self.status.close(error, at);
        state.ended = Some(End { at, response });
    }

    /// The client has decided.
    pub(crate) fn give(&self, returned: Returned) {
        self.returned.send_replace(Some(returned));
    }

    /// Waits for the client's decision.
    pub(crate) async fn returned(&self) -> Returned {
        let mut returned = self.returned.subscribe();
        let decided = returned.wait_for(Option::is_some).await;
        let decided = decided.ok().and_then(|decided| decided.clone());
        decided.unwrap_or_else(|| Err(Status::cancelled("context canceled")))
    }

    /// Whether nobody can want it any more: an internal build is no history, but the client's `Status` may come after its end.
    fn is_past(&self, now: Timestamp) -> bool {
        self.asked.internal && self.ended_long_before(now)
    }

    fn ended_long_before(&self, now: Timestamp) -> bool {
        let ended = self.lock().ended.as_ref().map(|end| end.at);
        ended.is_some_and(|at| now.since(at) > ARRIVAL)
    }

    /// Whether it is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended.is_some()
    }

    /// Keeps it in the history, or not any more.
    pub(crate) fn pin(&self, pinned: bool) {
        self.lock().pinned = pinned;
    }

    /// As `history` has it.
    pub(crate) fn record(&self) -> BuildHistoryRecord {
        if let Some((_, own)) = &self.kept {
            return BuildHistoryRecord { pinned: self.lock().pinned, ..own.clone() };
        }
        let state = self.lock();
        let counts = self.status.counts();
        let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        let (frontend, frontend_attrs) = state
            .frontend
            .clone()
            .unwrap_or_else(|| (self.asked.frontend.clone(), self.asked.frontend_attrs.clone()));
        let end = state.ended.as_ref();
        let error = end.and_then(|end| end.response.as_ref().err()).map(crate::solve::to_proto);
        let response = end.and_then(|end| end.response.as_ref().ok());
        BuildHistoryRecord {
            r#ref: self.id().to_owned(),
            frontend,
            frontend_attrs,
            exporters: self.exporters(),
            error,
            created_at: Some(stamp(self.created)),
            completed_at: end.map(|end| stamp(end.at)),
            exporter_response: response.cloned().unwrap_or_default(),
            pinned: state.pinned,
            num_cached_steps: count(counts.cached),
            num_total_steps: count(counts.total),
            num_completed_steps: count(counts.completed),
            num_warnings: count(counts.warnings),
            ..BuildHistoryRecord::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::moby::buildkit::v1::Vertex;

    #[tokio::test]
    async fn what_was_said_last_is_heard_before_the_end() {
        let builds = Builds::default();
        let asked = SolveRequest { r#ref: "x".to_owned(), ..SolveRequest::default() };
        let build = builds.begin(asked).unwrap();
        let slow = Arc::clone(&build);
        build.followed_by(tokio::spawn(async move {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            slow.status.vertex(Vertex { digest: "last".to_owned(), ..Vertex::default() });
        }));
        build.hear_out().await;
        builds.end(&build, Ok(BTreeMap::new()));
        let last = build.status.next(0).await.unwrap();
        assert_eq!(last.vertexes[0].digest, "last");
        assert!(build.status.next(1).await.is_none() && build.has_ended());
    }
}
