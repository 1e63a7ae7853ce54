//! `/containers`.

use std::time::Duration;

use bytes::Bytes;
use ferry_docker_api::{
    Connections, ContainerCreateRequest, ContainerCreated, ContainerPruneReport, PortsChange,
    TopResponse, UpdateConfig, UpdateResponse, WaitError, WaitResponse, WhyFinding,
};
use ferry_engine::{
    Finding,
    ops::container::{self as ops, RemoveRequest, StopRequest},
};
use ferry_errkind::Failure;
use ferry_model::container::{ListContainers, WaitCondition, WaitOutcome};
use http::StatusCode;

use super::now;
use crate::{
    body::Body,
    convert,
    query::Query,
    refuse::invalid,
    reply::{self, Reply},
    request::Request,
};

/// Filters of `ps`.
const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

pub(crate) async fn list(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let mut filters = query.filters(&FILTERS)?;
    check_words(filters.get("status"), "status", "state", &STATES)?;
    check_words(filters.get("health"), "health", "health", &HEALTHS)?;
    for (old, filter) in [("before", "before"), ("since", "since")] {
        if let Some(value) = query.text(old) {
            filters.add(filter, &value);
        }
    }
    // There is none on Linux.
    filters.0.remove("isolation");
    let wanted = ListContainers {
        all: query.flag("all"),
        // Ours: Docker has one space of names only.
        pods: query.flag("all-namespaces"),
        limit: query
            .integer("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|limit| *limit > 0),
        size: query.flag("size"),
        filters: filters.0,
    };
    let views = ops::list(&request.engine, wanted).await?;
    let now = now();
    let lines: Vec<_> = views.iter().map(|view| convert::container::summary(view, now)).collect();
    reply::json(&lines)
}

const STATES: [&str; 7] =
    ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

fn check_words(values: &[String], filter: &str, what: &str, words: &[&str]) -> Result<(), Failure> {
    match values.iter().find(|value| !words.contains(&value.as_str())) {
        Some(value) => Err(invalid(format!(
            "invalid filter '{filter}={value}': invalid value for {what} ({value}): must be one of {}",
            words.join(", ")
        ))),
        None => Ok(()),
    }
}

pub(crate) async fn create(mut request: Request) -> Result<Reply, Failure> {
    let wire: ContainerCreateRequest = request.required_json().await?;
    let (name, platform) = (request.query.text("name"), request.query.text("platform"));
    let (mut create, mut warnings) = convert::create::request(name, platform, wire)?;
    convert::mount::of_caller(&mut create.spec.host.mounts, request.peer);
    let made = ops::create(&request.engine, create).await?;
    warnings.splice(0..0, made.warnings);
    reply::created(&ContainerCreated { id: made.id, warnings })
}

pub(crate) async fn inspect(request: Request) -> Result<Reply, Failure> {
    let view = ops::inspect(&request.engine, request.name(), request.query.flag("size")).await?;
    reply::json(&convert::container::inspect(&view, &request.defaults))
}

pub(crate) async fn start(request: Request) -> Result<Reply, Failure> {
    if request.query.text("checkpoint").is_some() {
        return Err(crate::refuse::unsupported("starting from a checkpoint"));
    }
    let (engine, name) = (&request.engine, request.name());
    // Ours: nobody finds it until it is revealed.
    let changed = match request.query.flag("aside") {
        true => ops::start_aside(engine, name).await?,
        false => ops::start(engine, name).await?,
    };
    Ok(no_content_if(changed))
}

pub(crate) async fn stop(request: Request) -> Result<Reply, Failure> {
    let changed = ops::stop(&request.engine, request.name(), stop_request(&request.query)?).await?;
    Ok(no_content_if(changed))
}

pub(crate) async fn restart(request: Request) -> Result<Reply, Failure> {
    ops::restart(&request.engine, request.name(), stop_request(&request.query)?).await?;
    Ok(reply::no_content())
}

fn stop_request(query: &Query) -> Result<StopRequest, Failure> {
    Ok(StopRequest { timeout: query.integer("t")?, signal: query.text("signal") })
}

/// 304 when it was so already.
fn no_content_if(changed: bool) -> Reply {
    if changed { reply::no_content() } else { reply::status(StatusCode::NOT_MODIFIED) }
}

pub(crate) async fn kill(request: Request) -> Result<Reply, Failure> {
    let signal = request.query.text("signal");
    let name = request.name();
    let killed = ops::kill(&request.engine, name, signal.as_deref()).await;
    killed.map_err(|failure| failure.context(format_args!("cannot kill container: {name}")))?;
    Ok(reply::no_content())
}

pub(crate) async fn pause(request: Request) -> Result<Reply, Failure> {
    ops::pause(&request.engine, request.name()).await?;
    Ok(reply::no_content())
}

pub(crate) async fn unpause(request: Request) -> Result<Reply, Failure> {
    ops::unpause(&request.engine, request.name()).await?;
    Ok(reply::no_content())
}

pub(crate) async fn rename(request: Request) -> Result<Reply, Failure> {
    ops::rename(&request.engine, request.name(), request.query.get("name")).await?;
    Ok(reply::no_content())
}

pub(crate) async fn update(mut request: Request) -> Result<Reply, Failure> {
    let wire: UpdateConfig = request.required_json().await?;
    let (update, warnings) = convert::update::request(wire)?;
    ops::update(&request.engine, request.name(), update).await?;
    reply::json(&UpdateResponse { warnings: Some(warnings) })
}

/// Beyond Docker.
pub(crate) async fn ports(mut request: Request) -> Result<Reply, Failure> {
    let wire: PortsChange = request.required_json().await?;
    ops::publish(&request.engine, request.name(), convert::port::change(wire)?).await?;
    Ok(reply::no_content())
}

pub(crate) async fn remove(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let how = RemoveRequest {
        force: query.flag("force"),
        volumes: query.flag("v"),
        link: query.flag("link"),
    };
    ops::remove(&request.engine, request.name(), how).await?;
    Ok(reply::no_content())
}

/// The headers go out as soon as the wait has begun: `docker run` starts the container only then.
pub(crate) async fn wait(request: Request) -> Result<Reply, Failure> {
    let condition = match request.query.get("condition") {
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => return Err(invalid(format!("invalid condition: \"{other}\""))),
    };
    let wait = ops::wait(&request.engine, request.name(), condition).await?;
    let body = async move {
        let WaitOutcome { exit_code, error } = wait.finish().await;
        let error = error.map(|message| WaitError { message });
        let response = WaitResponse { error, status_code: i64::from(exit_code) };
        // A struct of a number and a text always has a JSON form.
        let mut text = serde_json::to_vec(&response).unwrap_or_default();
        text.push(b'\n');
        Bytes::from(text)
    };
    Ok(reply::json_stream(Body::Later(Box::pin(body))))
}

pub(crate) async fn resize(request: Request) -> Result<Reply, Failure> {
    let (height, width) = terminal_size(&request.query)?;
    ops::resize(&request.engine, request.name(), height, width).await?;
    Ok(reply::status(StatusCode::OK))
}

/// `h` and `w`.
pub(super) fn terminal_size(query: &Query) -> Result<(u32, u32), Failure> {
    let number = |name: &str, what: &str| {
        let text = query.get(name);
        let words = || format!("invalid resize {what} \"{text}\": invalid syntax");
        text.parse::<u32>().map_err(|_| invalid(words()))
    };
    Ok((number("h", "height")?, number("w", "width")?))
}

pub(crate) async fn top(request: Request) -> Result<Reply, Failure> {
    let args = request.query.text("ps_args").unwrap_or_else(|| "-ef".to_owned());
    let table = ops::top(&request.engine, request.name(), &args).await?;
    reply::json(&TopResponse { processes: Some(table.rows), titles: Some(table.titles) })
}

pub(crate) async fn prune(request: Request) -> Result<Reply, Failure> {
    let filters = request.query.filters(&["label", "label!", "until"])?;
    let pruned = ops::prune(&request.engine, &filters.0).await?;
    reply::json(&ContainerPruneReport {
        containers_deleted: convert_deleted(pruned.deleted),
        space_reclaimed: pruned.reclaimed,
    })
}

/// `null` when nothing was removed, as dockerd.
pub(super) fn convert_deleted(deleted: Vec<String>) -> Option<Vec<String>> {
    (!deleted.is_empty()).then_some(deleted)
}

/// How long connections may go on, unless the caller says.
const PATIENCE: i64 = 10;
/// Longer than a day nobody waits.
const LONGEST_PATIENCE: i64 = 86_400;

fn patience(query: &Query) -> Result<Duration, Failure> {
    let seconds = query.integer("t")?.unwrap_or(PATIENCE).clamp(0, LONGEST_PATIENCE);
    Ok(Duration::from_secs(seconds.unsigned_abs()))
}

pub(crate) async fn reveal(request: Request) -> Result<Reply, Failure> {
    let (from, patience) = (request.query.text("from"), patience(&request.query)?);
    let left = ops::reveal(&request.engine, request.name(), from.as_deref(), patience).await?;
    reply::json(&Connections { left })
}

pub(crate) async fn withdraw(request: Request) -> Result<Reply, Failure> {
    let patience = patience(&request.query)?;
    let left = ops::withdraw(&request.engine, request.name(), patience).await?;
    reply::json(&Connections { left })
}

/// Beyond Docker: why a container ended, cause first.
pub(crate) async fn why(request: Request) -> Result<Reply, Failure> {
    let findings = ops::why(&request.engine, request.name()).await?;
    let findings: Vec<WhyFinding> = findings
        .into_iter()
        .map(|Finding { cause, what, hint }| WhyFinding { cause: cause.to_owned(), what, hint })
        .collect();
    reply::json(&findings)
}
