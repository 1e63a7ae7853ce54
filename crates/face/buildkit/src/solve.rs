//! From a frontend's attributes to a build of the engine, and what it says on its way.

mod call;
mod error;
mod progress;
mod request;

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ferry_engine::{
    Engine,
    ops::build::{
        self as ops, BuildError, BuildProgress, BuildRecord, BuildRequest, ContextSource,
        CurrentTree, Filled, NamedContext,
    },
};
use ferry_errkind::Failure;
use tokio::sync::mpsc;
use tonic::Status;

pub(crate) use self::error::{failed, of_proto, of_status, to_proto};
pub(crate) use self::{
    progress::Own,
    request::{cache_reference, credentials_of},
};
use self::{progress::Renderer, request::Asked};
use crate::{
    BuildKit,
    builds::{Build, Outcome},
    client::SessionClient,
    context::{self, Definition, Selection},
    export,
    proto::moby::buildkit::v1::{StatusResponse, frontend::CacheOptionsEntry},
    session::Session,
};

/// Messages between the engine and whoever follows.
const BACKLOG: usize = 256;

/// What a frontend is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) frontend: &'a str,
    pub(crate) attrs: &'a BTreeMap<String, String>,
    /// Whether definitions come along.
    pub(crate) inputs: bool,
    pub(crate) cache_imports: &'a [CacheOptionsEntry],
}

/// Runs a frontend.
pub(crate) async fn run(
    kit: &BuildKit,
    build: &Arc<Build>,
    wanted: Wanted<'_>,
) -> Result<Outcome, Status> {
    let asked = Asked::of(build, wanted).map_err(|why| failed(&why))?;
    let session =
        kit.shared.sessions.get(&build.asked.session).await.map_err(|why| failed(&why))?;
    let work = async {
        let definition = match asked.apart {
            true => Some(load_definition(build, &session, &asked).await?),
            false => None,
        };
        image(kit, build, &session, asked, definition).await
    };
    tokio::select! {
        outcome = work => outcome,
        () = session.gone() => Err(Status::cancelled("the client has left")),
    }
}

/// Fetches the Dockerfile.
async fn load_definition(
    build: &Build,
    session: &Session,
    asked: &Asked,
) -> Result<Definition, Status> {
    let own = Own::begin(build, format!("[internal] load build definition from {}", asked.shown()));
    let fetched =
        context::definition(session, &asked.definition, &asked.context, &asked.dockerfile);
    let fetched = fetched.await;
    if let Ok(definition) = &fetched {
        own.transferred(build, "transferring dockerfile:", definition.dockerfile.len() as u64);
    }
    own.end(build, fetched.as_ref().err());
    fetched.map_err(|why| failed(&why))
}

/// Builds.
async fn image(
    kit: &BuildKit,
    build: &Arc<Build>,
    session: &Session,
    asked: Asked,
    definition: Option<Definition>,
) -> Result<Outcome, Status> {
    let exporters = build.exporters();
    let names = export::names(&exporters);
    let text =
        definition.as_ref().map(|found| String::from_utf8_lossy(&found.dockerfile).into_owned());
    let text = text.unwrap_or_default();
    let engine = &kit.shared.engine;
    let (mut contexts, filled) = directories(kit, build, session, &asked).await?;
    contexts.extend(asked.request.contexts.clone());
    let request = BuildRequest {
        reference: build.id().to_owned(),
        auths: request::credentials(session, &text, &asked.request).await,
        client: Some(Arc::new(SessionClient::new(session.clone()))),
        dockerfile_text: definition.as_ref().map(|found| found.dockerfile.clone()),
        tags: names.clone(),
        contexts,
        ..asked.request.clone()
    };
    let renderer = Renderer { names: export::keeps_image(&exporters).then_some(names) };
    let (sender, messages) = mpsc::channel(BACKLOG);
    // What is said is said until the result goes: being recorded is a part of it.
    build.followed_by(tokio::spawn(follow(Arc::clone(build), renderer, messages)));
    let failed_build = |error: BuildError| error::of_build(&error, &asked.dockerfile, &text);
    if let Some(call) = &asked.call {
        let source = ContextSource::Tar(Box::new(tokio::io::empty()));
        let described = ops::describe(engine, request, source, sender).await;
        return described
            .map(|found| Outcome::Documents(call::documents(*call, &found)))
            .map_err(failed_build);
    }
    let (source, current, fetch) =
        context_of(engine, build, session, &asked, definition).await.map_err(|why| failed(&why))?;
    let mut fetch = std::pin::pin!(fetch);
    let mut work = std::pin::pin!(ops::solve(engine, request, source, sender));
    // A context that did not arrive whole is no context: the build must not go on with a part of it.
    let built = tokio::select! {
        biased;
        fetched = &mut fetch => {
            fetched.map_err(|why| failed(&why))?;
            work.await
        }
        built = &mut work => built,
    };
    drop((filled, current));
    built.map(|built| Outcome::Built(Arc::new(built))).map_err(failed_build)
}

/// Fetches the directories of `--build-context`, each into one of its own here.
async fn directories(
    kit: &BuildKit,
    build: &Arc<Build>,
    session: &Session,
    asked: &Asked,
) -> Result<(BTreeMap<String, NamedContext>, Vec<Here>), Status> {
    let (mut contexts, mut filled) = (BTreeMap::new(), Vec::new());
    let engine = &kit.shared.engine;
    for (name, directory) in &asked.directories {
        let own = Own::begin(build, format!("[context {name}] load from client"));
        let selection = Selection { directory: directory.clone(), ..Selection::default() };
        let whole = self::directory(engine, session, selection).await;
        own.end(build, whole.as_ref().err());
        let whole = whole.map_err(|why| failed(&why))?;
        contexts.insert(name.clone(), whole.context());
        filled.push(whole);
    }
    Ok((contexts, filled))
}

/// A directory of the client, here.
enum Here {
    /// Received for this build.
    Whole(Filled),
    /// Kept from build to build.
    Kept(CurrentTree),
}

impl Here {
    fn context(&self) -> NamedContext {
        match self {
            Here::Whole(filled) => filled.context(),
            Here::Kept(current) => current.named(),
        }
    }
}

async fn directory(
    engine: &Engine,
    session: &Session,
    selection: Selection,
) -> Result<Here, Failure> {
    if let Some(current) = context::fetch_changes(engine, session, &selection, |_| {}).await? {
        return Ok(Here::Kept(current));
    }
    let (tar, fetch) = context::piped(session.clone(), selection, |_| {});
    let (fetched, unpacked) = tokio::join!(fetch, ops::fill(engine, tar));
    fetched.and(unpacked).map(Here::Whole)
}

/// What has to be polled for a context to come.
type Fetch = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Where the engine finds the context.
async fn context_of(
    engine: &Engine,
    build: &Arc<Build>,
    session: &Session,
    asked: &Asked,
    definition: Option<Definition>,
) -> Result<(ContextSource, Option<CurrentTree>, Fetch), Failure> {
    let own = Own::begin(build, "[internal] load build context".to_owned());
    if let Some(url) = &asked.remote {
        let source = match url.strip_prefix("http://buildkit-session/") {
            Some(id) => {
                let tar = context::upload(session.clone(), id.to_owned()).await?;
                ContextSource::Tar(Box::new(tar))
            }
            None => ContextSource::Remote(url.clone()),
        };
        own.end(build, None);
        return Ok((source, None, Box::pin(async { Ok(()) })));
    }
    let selection = Selection {
        directory: asked.context.clone(),
        exclude: definition.unwrap_or_default().ignored,
        ..Selection::default()
    };
    let (told, follower) = (own.clone(), Arc::clone(build));
    let sum = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sum);
    let count = move |bytes: u64| {
        // One message for each MiB is enough.
        let before = counted.swap(bytes, Ordering::Relaxed);
        if before >> 20 != bytes >> 20 {
            told.transferring(&follower, "transferring context:", bytes);
        }
    };
    match context::fetch_changes(engine, session, &selection, &count).await {
        Ok(Some(current)) => {
            own.transferred(build, "transferring context:", sum.load(Ordering::Relaxed));
            own.end(build, None);
            return Ok((current.source()?, Some(current), Box::pin(async { Ok(()) })));
        }
        Ok(None) => {}
        Err(failure) => {
            own.end(build, Some(&failure));
            return Err(failure);
        }
    }
    let (tar, fetch) = context::piped(session.clone(), selection, count);
    let build = Arc::clone(build);
    let fetch = async move {
        let fetched = fetch.await;
        if fetched.is_ok() {
            own.transferred(&build, "transferring context:", sum.load(Ordering::Relaxed));
        }
        own.end(&build, fetched.as_ref().err());
        fetched
    };
    Ok((ContextSource::Tar(Box::new(tar)), None, Box::pin(fetch)))
}

/// Tells whoever follows the build what the engine says.
async fn follow(
    build: Arc<Build>,
    renderer: Renderer,
    mut messages: mpsc::Receiver<BuildProgress>,
) {
    while let Some(message) = messages.recv().await {
        for message in renderer.render(message) {
            build.status.say(message);
        }
    }
}

/// What was said of a build that an earlier daemon did.
pub(crate) fn replay(record: BuildRecord) -> Vec<StatusResponse> {
    let BuildRecord { tags, vertices, warnings, logs, .. } = record;
    let renderer = Renderer { names: Some(tags) };
    let events = vertices.into_iter().map(BuildProgress::Vertex);
    let events = events.chain(warnings.into_iter().map(BuildProgress::Warning));
    let events = events.chain(logs.head.into_iter().chain(logs.tail).map(BuildProgress::Log));
    events.flat_map(|event| renderer.render(event)).collect()
}

/// Refuses something by its name.
fn unsupported(what: impl std::fmt::Display) -> Failure {
    Failure::new(ferry_errkind::ErrorKind::NotImplemented, format!("{what} is not supported"))
}
