//! From a frontend's attributes to a build of the engine, and what it says on its way.

mod error;
mod progress;
mod request;

use std::{collections::BTreeMap, sync::Arc};

use ferry_engine::ops::build::{self as ops, BuildProgress, BuildRequest, ContextSource};
use ferry_errkind::Failure;
use ferry_oci::Digest;
use tokio::sync::mpsc;
use tonic::Status;

pub(crate) use self::error::{failed, of_proto, of_status, to_proto};
use self::{progress::Own, request::Asked};
use crate::{
    BuildKit,
    builds::{Build, Outcome},
    context::{self, Definition, Selection},
    export,
    proto::moby::buildkit::v1::frontend::CacheOptionsEntry,
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
        let definition = load_definition(build, &session, &asked).await?;
        image(kit, build, &session, asked, definition).await
    };
    tokio::select! {
        outcome = work => outcome.map(Outcome::Image),
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

/// Builds an image.
async fn image(
    kit: &BuildKit,
    build: &Arc<Build>,
    session: &Session,
    asked: Asked,
    definition: Definition,
) -> Result<Digest, Status> {
    let text = String::from_utf8_lossy(&definition.dockerfile).into_owned();
    let auths = request::credentials(session, &text, &asked.request.build_args).await;
    let request = BuildRequest {
        dockerfile_text: Some(definition.dockerfile),
        tags: export::names(&build.exporters()),
        auths,
        ..asked.request
    };
    let own = Own::begin(build, "[internal] load build context".to_owned());
    let selection = Selection {
        directory: asked.context.clone(),
        exclude: definition.ignored,
        ..Selection::default()
    };
    let status = (own.clone(), Arc::clone(build));
    let (tar, fetch) = context::piped(session.clone(), selection, move |bytes| {
        status.0.transferring(&status.1, "transferring context:", bytes);
    });
    let fetch = async {
        let fetched = fetch.await;
        own.end(build, fetched.as_ref().err());
        fetched
    };
    let engine = &kit.shared.engine;
    let (sender, messages) = mpsc::channel(BACKLOG);
    let source = ContextSource::Tar(Box::new(tar));
    let built = async { ops::build(engine, request, source, sender).await };
    let followed = follow(build, messages);
    let mut fetch = std::pin::pin!(fetch);
    let mut both = std::pin::pin!(async { tokio::join!(built, followed) });
    // A context that did not arrive whole is no context: the build must not go on with a part of it.
    let (built, ()) = tokio::select! {
        biased;
        fetched = &mut fetch => {
            fetched.map_err(|why| failed(&why))?;
            both.await
        }
        both = &mut both => both,
    };
    built.map_err(|error| error::of_build(&error, &asked.dockerfile, &text))
}

/// Tells whoever follows the build what the engine says.
async fn follow(build: &Build, mut messages: mpsc::Receiver<BuildProgress>) {
    while let Some(message) = messages.recv().await {
        if let Some(message) = progress::render(message) {
            build.status.say(message);
        }
    }
}

/// Refuses something by its name.
fn unsupported(what: impl std::fmt::Display) -> Failure {
    Failure::new(ferry_errkind::ErrorKind::NotImplemented, format!("{what} is not supported"))
}
