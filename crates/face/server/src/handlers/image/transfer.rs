//! Images on their way: pull, import, load, save. Answers are progress messages or tars.

use bytes::Bytes;
use ferry_docker_api::{DistributionInspect, JsonMessage, SearchResult, handed::HANDED};
use ferry_engine::{
    Engine,
    ops::image::{self as ops, ImportRequest, LoadSource, PullRequest, PushRequest, SearchRequest},
};
use ferry_errkind::Failure;
use ferry_oci::Platform;
use rustix::fs::FileType;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    body::Body,
    convert::{auth, progress},
    handed::take,
    query::Query,
    read_body::BodyReader,
    refuse::{invalid, unsupported},
    reply::{self, Reply},
    request::Request,
};

/// Progress messages on their way to a slow client.
const BACKLOG: usize = 64;

/// Pull (`fromImage`) or import (`fromSrc`).
pub(crate) async fn create(request: Request) -> Result<Reply, Failure> {
    match request.query.text("fromImage") {
        Some(image) => pull(request, &image).await,
        None => import(request).await,
    }
}

async fn pull(request: Request, image: &str) -> Result<Reply, Failure> {
    let query = &request.query;
    let wanted = PullRequest {
        // `pull -a` of old clients leaves a colon behind.
        image: image.trim_end_matches(':').to_owned(),
        tag: query.text("tag"),
        platform: query.text("platform"),
        auth: request.registry_auth().map(auth::registry),
    };
    let engine = request.engine;
    let (sender, messages) = mpsc::channel(BACKLOG);
    let pull = tokio::spawn(async move { ops::pull(&engine, wanted, sender).await });
    progress_reply(pull, messages, progress::pull_message).await
}

async fn import(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let source = query.get("fromSrc");
    match source {
        "-" => {}
        "" => return Err(invalid("either fromImage or fromSrc must be given")),
        _ => return Err(unsupported("importing from a URL")),
    }
    let message = query.text("message").unwrap_or_else(|| format!("Imported from {source}"));
    let wanted = ImportRequest {
        reference: import_reference(query),
        message,
        changes: query.all("changes"),
        platform: query.text("platform"),
    };
    let engine = request.engine;
    let id = ops::import(&engine, wanted, BodyReader::new(request.body)).await?;
    let message = JsonMessage { status: id.to_string(), ..JsonMessage::default() };
    Ok(reply::json_stream(Body::Full(Some(progress::line(&message)))))
}

/// `repo` with `tag`, which may be a digest.
fn import_reference(query: &Query) -> Option<String> {
    let (repo, tag) = (query.text("repo")?, query.get("tag"));
    Some(match tag {
        "" => repo,
        digest if digest.contains(':') => format!("{repo}@{digest}"),
        tag => format!("{repo}:{tag}"),
    })
}

pub(crate) async fn load(request: Request) -> Result<Reply, Failure> {
    if request.query.text("platform").is_some() {
        return Err(unsupported("loading one platform of an image"));
    }
    let quiet = request.query.flag_or("quiet", true);
    let archive = match request.headers.get(HANDED) {
        Some(handed) => {
            let handed = serde_json::from_slice(handed.as_bytes())
                .map_err(|error| invalid(format!("invalid {HANDED}: {error}")))?;
            LoadSource::File(
                take(handed, request.peer.and_then(|peer| peer.pid), FileType::RegularFile)?.into(),
            )
        }
        None => LoadSource::Stream(Box::new(BodyReader::new(request.body))),
    };
    let engine = request.engine;
    let (sender, messages) = mpsc::channel(BACKLOG);
    let load = tokio::spawn(async move { ops::load(&engine, archive, quiet, sender).await });
    progress_reply(load, messages, progress::load_message).await
}

/// Push: one tag, or all of a repository.
pub(crate) async fn push(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let wanted = PushRequest {
        image: request.name().to_owned(),
        tag: query.text("tag"),
        platform: query.text("platform").map(|text| platform(&text)).transpose()?,
        auth: request.registry_auth().map(auth::registry),
        packing: packing(query)?,
    };
    let engine = request.engine;
    let (sender, messages) = mpsc::channel(BACKLOG);
    let push = tokio::spawn(async move { ops::push(&engine, wanted, sender).await });
    progress_reply(push, messages, progress::push_message).await
}

/// Beyond Docker: how layers are compressed.
fn packing(query: &Query) -> Result<ops::Packing, Failure> {
    ops::packing(|name| query.get(name))
}

/// The API has platforms as JSON here.
fn platform(text: &str) -> Result<Platform, Failure> {
    let platform: Platform = serde_json::from_str(text)
        .map_err(|error| invalid(format!("failed to parse platform: {error}")))?;
    Ok(platform.normalized())
}

/// What a registry has under a name.
pub(crate) async fn distribution(request: Request) -> Result<Reply, Failure> {
    let auth = request.registry_auth().map(auth::registry);
    let view = ops::distribution(&request.engine, request.name(), auth).await?;
    // Both always have a JSON form.
    let platforms = view.platforms.iter().filter_map(|it| serde_json::to_value(it).ok());
    let platforms = Some(platforms.collect());
    let descriptor = serde_json::to_value(&view.descriptor).unwrap_or_default();
    reply::json(&DistributionInspect { descriptor, platforms })
}

/// Beyond Docker: the tags that a registry has of a repository.
pub(crate) async fn tags(request: Request) -> Result<Reply, Failure> {
    let auth = request.registry_auth().map(auth::registry);
    let tags = ops::remote_tags(&request.engine, request.name(), auth).await?;
    reply::json(&serde_json::json!({ "Name": request.name(), "Tags": tags }))
}

/// Beyond Docker: the repositories that a registry tells of.
pub(crate) async fn catalog(request: Request) -> Result<Reply, Failure> {
    let auth = request.registry_auth().map(auth::registry);
    let registry = request.query.text("registry").unwrap_or_else(|| "docker.io".to_owned());
    let all = ops::remote_catalog(&request.engine, &registry, auth).await?;
    reply::json(&serde_json::json!({ "Registry": registry, "Repositories": all }))
}

/// Repositories that a registry finds by a word.
pub(crate) async fn search(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let filters = query.filters(&["is-automated", "is-official", "stars"])?;
    let values = |name: &str| filters.0.get(name).map(|values| values.to_vec());
    // Docker Hub builds nothing by itself any more.
    if yes_or_no("is-automated", values("is-automated"))? == Some(true) {
        return reply::json(&[(); 0]);
    }
    let mut stars = 0;
    for value in values("stars").unwrap_or_default() {
        let wrong = || invalid(format!("invalid filter 'stars={value}'"));
        stars = stars.max(value.parse::<i64>().map_err(|_| wrong())?);
    }
    let wanted = SearchRequest {
        term: query.get("term").to_owned(),
        limit: query.integer("limit")?.unwrap_or_default(),
        official: yes_or_no("is-official", values("is-official"))?,
        stars,
        auth: request.registry_auth().map(auth::registry),
    };
    let found = ops::search(&request.engine, wanted).await?;
    let found = found.into_iter().map(|result| SearchResult {
        name: result.name,
        description: result.description,
        star_count: result.star_count,
        is_official: result.is_official,
        ..SearchResult::default()
    });
    reply::json(&found.collect::<Vec<_>>())
}

/// A filter that is a switch.
fn yes_or_no(name: &str, values: Option<Vec<String>>) -> Result<Option<bool>, Failure> {
    let Some(values) = values else { return Ok(None) };
    match values.as_slice() {
        [value] if matches!(value.as_str(), "true" | "1") => Ok(Some(true)),
        [value] if matches!(value.as_str(), "false" | "0") => Ok(Some(false)),
        other => Err(invalid(format!("invalid filter '{name}={other:?}'"))),
    }
}

/// Progress as it comes. A failure before the first message is an answer of its own, a later one the last message. When the
/// client leaves, the work is given up, as in Docker.
async fn progress_reply<M: Send + 'static>(
    work: JoinHandle<Result<(), Failure>>,
    mut messages: mpsc::Receiver<M>,
    render: fn(M) -> JsonMessage,
) -> Result<Reply, Failure> {
    let Some(first) = messages.recv().await else {
        outcome(work).await?;
        return Ok(reply::json_stream(Body::empty()));
    };
    let (sender, pieces) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        let abort = work.abort_handle();
        let mut next = Some(first);
        while let Some(message) = next {
            if sender.send(progress::line(&render(message))).await.is_err() {
                abort.abort();
                return;
            }
            next = tokio::select! {
                message = messages.recv() => message,
                () = sender.closed() => {
                    abort.abort();
                    return;
                }
            };
        }
        if let Err(failure) = outcome(work).await {
            let message = JsonMessage::failure(failure.message());
            // The client may be gone by now.
            drop(sender.send(progress::line(&message)).await);
        }
    });
    Ok(reply::json_stream(Body::Pieces(pieces)))
}

async fn outcome(work: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    work.await.unwrap_or_else(|error| {
        Err(Failure::new(
            ferry_errkind::ErrorKind::Internal,
            format!("the work broke off: {error}"),
        ))
    })
}

/// `/images/{name}/get`.
pub(crate) async fn save(request: Request) -> Result<Reply, Failure> {
    let names = vec![request.name().to_owned()];
    tar_of(&request.engine, &request.query, names).await
}

/// `/images/get?names=…`.
pub(crate) async fn save_several(request: Request) -> Result<Reply, Failure> {
    let names = request.query.all("names");
    if names.is_empty() {
        return Err(invalid("no image is named"));
    }
    tar_of(&request.engine, &request.query, names).await
}

async fn tar_of(engine: &Engine, query: &Query, names: Vec<String>) -> Result<Reply, Failure> {
    if query.text("platform").is_some() {
        return Err(unsupported("saving one platform of an image"));
    }
    let pieces = ops::save_packed(engine, &names, packing(query)?).await?;
    // A tar that is cut off must not look whole.
    let broken: crate::body::RenderFailure = |_| None::<Bytes>;
    Ok(reply::content("application/x-tar", Body::Fallible(pieces, broken)))
}
